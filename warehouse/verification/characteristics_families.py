"""Error rates of families of attributes: the chance that any of them is wrongly called comparable.

Belongs here: their simulation, by Welch's comparison of four attributes that vary by themselves. Does not belong here:
a single comparison (`characteristics`), the adjustments (`warehouse.statistics.multiplicity`).

`each` is judged where every attribute lies at its margin: all calls would be wrong. `all` is judged where one does and
the others do not differ at all, which is where a family passes wrongly most often. Power of `each` is the share of
attributes called at no difference, that of `all` the chance that the family is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import numpy as np

from warehouse.statistics import means
from warehouse.statistics.multiplicity import Adjustment, adjust
from warehouse.statistics.scales import Margin
from warehouse.verification.characteristics_line import ALPHA, MARGIN, Known, Line, generator, rate

REFERENCE, MEMBERS = 40, 4
LIMITS = Margin(-MARGIN, MARGIN)
SETTING = f"{MEMBERS} attributes, {REFERENCE} reference lots"
ALL = "family, all (intersection-union)"


def method_of(adjustment: Adjustment) -> str:
    """Title of the lines of an adjustment."""
    return f"family, each ({adjustment})"


def _p_values(rng: np.random.Generator, m: int, true: float) -> list[float]:
    """TOST's p of each attribute, all of them `true` away."""
    return [
        means.tost(means.welch(rng.normal(0, 1, REFERENCE), rng.normal(true, 1, m), alpha=ALPHA), LIMITS).p
        for _ in range(MEMBERS)
    ]


def _line(method: str, adjustment: Adjustment | None, m: int, *, runs: int, seed: int) -> Line:
    rng = generator(seed, method, SETTING, REFERENCE, m)
    wrong = right = 0
    for _ in range(runs):
        away, alike = _p_values(rng, m, MARGIN), _p_values(rng, m, 0.0)
        if adjustment is None:
            wrong += max([away[0], *alike[1:]]) < ALPHA
            right += max(alike) < ALPHA
        else:
            wrong += bool((adjust(away, adjustment) < ALPHA).any())
            right += int((adjust(alike, adjustment) < ALPHA).sum())
    size, power = rate(wrong, runs), rate(right, runs if adjustment is None else runs * MEMBERS)
    return Line(method, SETTING, REFERENCE, m, runs, 0, *size, None, None, 0.0, *power, None)


def lines(known: Known, runs: int, seed: int, sizes: tuple[int, ...]) -> Iterator[Line]:
    """Their lines; `known` has those that stand."""
    kinds: tuple[Adjustment | None, ...] = (None, *get_args(Adjustment))
    for kind in kinds:
        method = ALL if kind is None else method_of(kind)
        for m in sizes:
            yield known(method, SETTING, m) or _line(method, kind, m, runs=max(runs // 4, 1), seed=seed)
