"""How much one lot or donor carries: every comparison made again without it.

Belongs here: leave-one-out over any estimate. Does not belong here: leaving anything out for good (outliers
are flagged, never dropped), and how the estimate is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from warehouse.statistics.means import Estimate, difference_on_scale
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.statistics.verdict import Place, place


@dataclass(frozen=True, slots=True)
class Influence:
    """The comparison without `unit`. `shift` is the change of the estimate in whole-data standard errors.

    `estimate` is None, with `why`, where the rest carries no interval. `changes` says that the interval's
    place against the margin is another one without this unit (None without a margin).
    """

    unit: str
    estimate: Estimate | None
    shift: float | None
    place: Place | None
    changes: bool | None
    why: str | None


def leave_one_out(
    units: Iterable[str],
    estimate_without: Callable[[str | None], Estimate],
    *,
    margin: Margin | None = None,
) -> tuple[Influence, ...]:
    """Each unit's influence, largest shift first. `estimate_without(None)` is the estimate from all data.

    Raises StatisticsRefusal when the whole has no standard error; a refusal without one unit is reported.
    """
    whole = estimate_without(None)
    if whole.se is None:
        raise StatisticsRefusal(f"{whole.method} has no standard error to measure influence in.")
    centre, home = difference_on_scale(whole), None if margin is None else place(whole, margin)
    rows = []
    for unit in units:
        try:
            rest = estimate_without(unit)
        except StatisticsRefusal as refusal:
            rows.append(Influence(unit, None, None, None, None if margin is None else True, str(refusal)))
            continue
        where = None if margin is None else place(rest, margin)
        shift = (difference_on_scale(rest) - centre) / whole.se
        rows.append(Influence(unit, rest, shift, where, None if margin is None else where != home, None))
    return tuple(sorted(rows, key=lambda row: (row.shift is not None, -abs(row.shift or 0.0), row.unit)))
