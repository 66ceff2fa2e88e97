"""Runs rules: which points of a control chart signal, and by which numbered rule.

Belongs here: Nelson's eight rules (Nelson 1984) and the four Western Electric rules (1956), each with its
published number, evaluated on any array whose last axis is time. Does not belong here: limits (charts.py)
and what the rules cost in false alarms (arl.py).

A rule that needs several points names the point that completes the pattern, and every later point
that keeps it. In "k of m beyond" rules the completing point is itself beyond. A point exactly on the
centre line is on neither side. "Beyond" is strict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from warehouse.statistics.checked import BoolArray, FloatArray
from warehouse.statistics.refusal import StatisticsRefusal

RuleFamily = Literal["nelson", "western electric"]


def _windowed(flags: BoolArray, length: int, needed: int) -> BoolArray:
    """True where at least `needed` of the last `length` flags are set and the last one is."""
    total = np.cumsum(flags, axis=-1, dtype=np.int64)
    before = np.zeros_like(total)
    before[..., length:] = total[..., :-length] if length < flags.shape[-1] else total[..., :0]
    enough: BoolArray = (total - before >= needed) & flags
    if needed == length:
        enough[..., : length - 1] = False
    return enough


def _one_side(z: FloatArray, beyond: float, length: int, needed: int) -> BoolArray:
    return _windowed(z > beyond, length, needed) | _windowed(z < -beyond, length, needed)


def _steps(z: FloatArray) -> FloatArray:
    """Sign of the step into each point; 0 for the first point and for ties."""
    steps = np.zeros_like(z)
    steps[..., 1:] = np.sign(np.diff(z, axis=-1))
    return steps


def _trend(z: FloatArray, points: int) -> BoolArray:
    steps = _steps(z)
    return _windowed(steps > 0, points - 1, points - 1) | _windowed(steps < 0, points - 1, points - 1)


def _alternating(z: FloatArray, points: int) -> BoolArray:
    steps = _steps(z)
    turns = np.zeros(z.shape, dtype=np.bool_)
    turns[..., 1:] = steps[..., 1:] * steps[..., :-1] < 0
    return _windowed(turns, points - 2, points - 2)


def _all_of(flags: BoolArray, length: int) -> BoolArray:
    return _windowed(flags, length, length)


@dataclass(frozen=True)
class Rule:
    """One numbered rule: its words and its test on standardised values (last axis is time)."""

    family: RuleFamily
    number: int
    text: str
    test: Callable[[FloatArray], BoolArray]


NELSON: tuple[Rule, ...] = (
    Rule("nelson", 1, "one point more than 3 sigma from the centre", lambda z: np.abs(z) > 3.0),
    Rule("nelson", 2, "nine points in a row on one side of the centre", lambda z: _one_side(z, 0.0, 9, 9)),
    Rule("nelson", 3, "six points in a row rising, or falling", lambda z: _trend(z, 6)),
    Rule("nelson", 4, "fourteen points in a row alternating up and down", lambda z: _alternating(z, 14)),
    Rule("nelson", 5, "two of three points beyond 2 sigma on one side", lambda z: _one_side(z, 2.0, 3, 2)),
    Rule("nelson", 6, "four of five points beyond 1 sigma on one side", lambda z: _one_side(z, 1.0, 5, 4)),
    Rule("nelson", 7, "fifteen points in a row within 1 sigma", lambda z: _all_of(np.abs(z) < 1.0, 15)),
    Rule(
        "nelson",
        8,
        "eight points in a row beyond 1 sigma, either side",
        lambda z: _all_of(np.abs(z) > 1.0, 8),
    ),
)

WESTERN_ELECTRIC: tuple[Rule, ...] = (
    Rule("western electric", 1, "one point more than 3 sigma from the centre", lambda z: np.abs(z) > 3.0),
    Rule(
        "western electric",
        2,
        "two of three points beyond 2 sigma on one side",
        lambda z: _one_side(z, 2.0, 3, 2),
    ),
    Rule(
        "western electric",
        3,
        "four of five points beyond 1 sigma on one side",
        lambda z: _one_side(z, 1.0, 5, 4),
    ),
    Rule(
        "western electric",
        4,
        "eight points in a row on one side of the centre",
        lambda z: _one_side(z, 0.0, 8, 8),
    ),
)

_FAMILIES: dict[str, tuple[Rule, ...]] = {"nelson": NELSON, "western electric": WESTERN_ELECTRIC}


@dataclass(frozen=True)
class PointSignal:
    """A point that fails: its position (0-based) and the numbers of every rule it fails, lowest first."""

    index: int
    rules: tuple[int, ...]


def rule_set(family: RuleFamily = "nelson", numbers: tuple[int, ...] | None = None) -> tuple[Rule, ...]:
    """The rules of a family by their numbers (all of them when none are named)."""
    if family not in _FAMILIES:
        raise StatisticsRefusal(f"There is no rule family {family!r}; use 'nelson' or 'western electric'.")
    known = {rule.number: rule for rule in _FAMILIES[family]}
    wanted = tuple(known) if numbers is None else numbers
    missing = [number for number in wanted if number not in known]
    if missing:
        raise StatisticsRefusal(
            f"The {family} rules have no number {missing[0]}; they run from 1 to {len(known)}."
        )
    return tuple(known[number] for number in sorted(set(wanted)))


def run_of(z: FloatArray, length: int) -> BoolArray:
    """True from the point that completes `length` in a row on one side of the centre (z is centred)."""
    if length < 2:
        raise StatisticsRefusal(f"A run needs at least 2 points, got {length}.")
    return _one_side(np.asarray(z, dtype=np.float64), 0.0, length, length)


def signals_of(
    z: FloatArray, rules: tuple[Rule, ...], outside_limits: BoolArray | None = None
) -> tuple[PointSignal, ...]:
    """The points of one series that fail, each with all its rule numbers.

    z: standardised values, shape (points,). outside_limits: when given it replaces rule 1, for charts whose
    limits are not at 3 sigma or not symmetric (a lower limit of a proportion stops at 0).
    """
    failed: dict[int, list[int]] = {}
    for rule in rules:
        hits = outside_limits if rule.number == 1 and outside_limits is not None else rule.test(z)
        for index in np.flatnonzero(hits):
            failed.setdefault(int(index), []).append(rule.number)
    return tuple(PointSignal(index, tuple(sorted(failed[index]))) for index in sorted(failed))
