"""Charts of an attribute's lots, one for each way it is measured, as pages and reports show them.

Belongs here: which lots go into which chart and what its axis is called. Does not belong here: drawing
(`figures/strip.py`), reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.components.words import unit
from dashboards.facts.comparison import Limit, Lot, PlanEntry, Range
from dashboards.figures.steps import steps
from dashboards.figures.strip import strip
from warehouse.dictionary import dictionary


@dataclass(frozen=True)
class LotChart:
    """Lots measured in one way: by site, and drawn."""

    measured: str
    rows: tuple[tuple[str, str, tuple[Lot, ...]], ...]
    axis: str
    figure: dict[str, Any]


def lot_charts(
    entry: PlanEntry,
    lots: Sequence[Lot],
    limits: Sequence[Limit],
    ranges: Sequence[Range],
    names: Mapping[str, str],
    *,
    cumulative: bool = False,
) -> list[LotChart]:
    """Charts of the lots of a plan attribute; unlike methods stand apart. `names`: of all sites, in their order.

    `cumulative`: the share of lots up to each value instead of the lots themselves.
    """
    by_site = {(limit.site, limit.attribute): limit for limit in limits}
    charts = []
    for measured in dict.fromkeys(m.strip() for m in entry.measured_by.split(",")):
        rows = tuple(
            (site, measured, found)
            for site in names
            if (found := tuple(lot for lot in lots if lot.site == site and lot.measured_as == measured))
        )
        if not rows:
            continue
        field = dictionary().attributes[measured]
        told = f" ({unit(field.unit)})" if unit(field.unit) else ""
        axis = f"{field.description.rstrip('.')}{told}"
        log, sites = entry.scale == "log", tuple(names)
        figure = (
            steps(rows, names, axis, log=log, sites=sites)
            if cumulative
            else strip(rows, by_site, names, axis, log=log, sites=sites, ranges=ranges)
        )
        charts.append(LotChart(measured, rows, axis, figure))
    return charts
