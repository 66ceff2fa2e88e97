"""Results and their limits in the words of a page, a chart or a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboards.components.table import exact, number
from dashboards.components.words import attribute_words, plain, unit
from dashboards.facts.batch import Measured, Result
from dashboards.figures.bullet import bullet

MANY = 1e5


def limit_words(r: Result) -> str:
    """The limit of a result with its unit."""
    low, high = (None if v is None else _short_number(v) for v in (r.low, r.high))
    if low and high:
        told = f"{low} to {high}"
    elif low:
        told = f"{'≥' if r.inclusive else '>'} {low}"
    elif high:
        told = f"{'≤' if r.inclusive else '<'} {high}"
    else:
        return ""
    return f"{told} {unit(r.unit)}".strip()


def value_words(r: Result) -> str:
    """A result as a person reads it, without its unit."""
    if r.value is None:
        return plain(r.result_code) or "no value"
    return (r.operator if r.operator in ("<", ">") else "") + _short_number(r.value)


def _short_number(value: float) -> str:
    """All digits as told, but for cell counts, of which four are enough to read."""
    return number(value, 4) if abs(value) >= MANY else exact(value)


def result_name(r: Result) -> str:
    """What a result measures, and where in the process."""
    where = {"harvest": ", harvest", "ipc_day_5": ", day 5", "post_release": ", after release"}.get(
        r.sample_point or "", ""
    )
    return f"{attribute_words(r.attribute)}{where}"


def with_limit(measured: Sequence[Measured]) -> list[Measured]:
    """Those that can be drawn against a limit."""
    return [m for m in measured if any(r.value is not None for r in m.results) and limit_words(m.first)]


def limits_figure(drawn: Sequence[Measured]) -> dict[str, Any]:
    """Results against their limits, each row with its numbers."""
    titles = {}
    for place, m in enumerate(drawn):
        values = ", ".join(value_words(r) for r in m.results)
        titles[place] = (
            f"<b>{result_name(m.first)}</b><br>{values} {unit(m.first.unit)}".rstrip()
            + (" <b>✕ outside</b>" if m.passes is False else ""),
            f"limit {limit_words(m.first)}",
        )
    return bullet(drawn, titles)
