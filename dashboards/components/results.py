"""Results and their limits in the words of a page, a chart or a report."""

from __future__ import annotations

from dashboards.components.table import exact, number
from dashboards.components.words import attribute_words, plain, unit
from dashboards.facts.batch import Result

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
    where = {"harvest": ", harvest", "ipc_day_5": ", day 5", "post_release": ", after release"}.get(
        r.sample_point or "", ""
    )
    return f"{attribute_words(r.attribute)}{where}"
