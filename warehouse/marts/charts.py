"""Control charts: each planned attribute of each site against limits from the baseline that the plan declares.

Belongs here: which lots are points, in which order and phase, and handing them to `warehouse.statistics`.
Does not belong here: limits and rules (there), the declared baseline (`warehouse.plan`), drawing (`dashboards`).

Points are the used lots of `mart.comparability_lots`, on the plan's scale, by start of manufacture. A change of
protocol version or measured attribute begins a new phase with its own baseline; no run crosses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import duckdb
import numpy as np

from warehouse.marts.rows import store
from warehouse.plan import Charts, Fleet
from warehouse.statistics.arl import ewma_arl, shewhart_arl
from warehouse.statistics.chart_rules import rule_set
from warehouse.statistics.charts import (
    Baseline,
    Chart,
    individuals_baseline,
    individuals_chart,
    moving_range_chart,
)
from warehouse.statistics.charts_memory import ewma_chart
from warehouse.statistics.refusal import StatisticsRefusal

WIDTH = 3.0
LOTS = """
SELECT l.site, l.attribute, l.measured_as, coalesce(b.protocol_version, '') AS protocol_version, l.batch_id,
       b.batch_started_at, l.value_on_scale, l.record_ids
FROM {target}.mart.comparability_lots l
JOIN {target}.mart.batch_wide b ON b.site_id = l.site AND b.batch_id = l.batch_id
WHERE l.used AND b.batch_started_at IS NOT NULL
ORDER BY l.site, l.attribute, l.measured_as, b.batch_started_at, l.batch_id
"""


class Lot(NamedTuple):
    """One point of a chart."""

    site: str
    attribute: str
    measured_as: str
    protocol_version: str
    batch_id: str
    at: datetime
    value: float
    record_ids: str


def build(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet) -> None:
    """Create marts `chart_limit` and `chart_point`; needs `comparability_lots` and `batch_wide`.

    Both are empty where the fleet declares no charts.
    """
    limits: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    if fleet.charts is not None:
        lots = [Lot(*row) for row in con.execute(LOTS.format(target=target)).fetchall()]
        for _, series in groupby(lots, key=lambda lot: lot[:3]):
            # A phase is an unbroken run of batches of one protocol: a return to an old one is a new phase.
            for number, (_, part) in enumerate(groupby(series, key=lambda lot: lot.protocol_version), 1):
                phase = list(part)
                limit, baseline = _limit(phase, number, fleet, fleet.charts)
                limits.append(limit)
                points += _points(phase, number, baseline, fleet.charts)
    store(con, target, "chart_limit", limits)
    store(con, target, "chart_point", points)


def _limit(
    phase: list[Lot], number: int, fleet: Fleet, charts: Charts
) -> tuple[dict[str, Any], Baseline | None]:
    """The row of a phase's limits, and its baseline; none where the phase is too young or never varies."""
    basis = phase[: charts.baseline_batches]
    baseline: Baseline | None = None
    refusal: str | None = None
    if len(basis) < charts.baseline_batches:
        refusal = (
            f"{len(basis)} batches of this phase; the declared baseline needs {charts.baseline_batches}."
        )
    else:
        try:
            baseline = individuals_baseline(np.array([lot.value for lot in basis]))
        except StatisticsRefusal as refused:
            refusal = str(refused)
    first = phase[0]
    row = {
        "site": first.site,
        "attribute": first.attribute,
        "measured_as": first.measured_as,
        "phase": number,
        "protocol_version": first.protocol_version or None,
        "scale": fleet.plan.attributes[first.attribute].scale,
        "phase_from": first.at,
        "baseline_until": basis[-1].at if baseline else None,
        "n_baseline": len(basis),
        "centre": baseline.centre if baseline else None,
        "sigma": baseline.sigma if baseline else None,
        "width": WIDTH,
        "ewma_weight": charts.ewma_weight,
        "individuals_arl": shewhart_arl(0.0, WIDTH) if baseline else None,
        "ewma_arl": ewma_arl(0.0, charts.ewma_weight, WIDTH, "exact") if baseline else None,
        "declared_on": charts.dated,
        "declared_by_role": charts.approved_by_role,
        "refusal": refusal,
    }
    return row, baseline


def _points(
    phase: list[Lot], number: int, baseline: Baseline | None, charts: Charts
) -> Iterator[dict[str, Any]]:
    values = np.array([lot.value for lot in phase])
    drawn: list[tuple[str, int, Chart | None]] = [("I", 0, None)]
    if baseline is not None:
        drawn = [
            ("I", 0, individuals_chart(values, baseline, WIDTH, rule_set("nelson"))),
            ("MR", 1, moving_range_chart(values, baseline, WIDTH)),
            ("EWMA", 0, ewma_chart(values, baseline, charts.ewma_weight, WIDTH)),
        ]
    for name, skipped, chart in drawn:
        failing = {s.index: s.rules for s in chart.signals} if chart else {}
        # The first moving range belongs to the second batch.
        for i, lot in enumerate(phase[skipped:]):
            rules = failing.get(i, ())
            yield {
                "site": lot.site,
                "attribute": lot.attribute,
                "measured_as": lot.measured_as,
                "chart": name,
                "batch_id": lot.batch_id,
                "phase": number,
                "batch_started_at": lot.at,
                "in_baseline": i + skipped < charts.baseline_batches,
                "value": float(chart.values[i]) if chart else lot.value,
                "centre": float(chart.centre[i]) if chart else None,
                "lower": float(chart.lower[i]) if chart else None,
                "upper": float(chart.upper[i]) if chart else None,
                "outside": 1 in rules if chart else None,
                "nelson_rules": ",".join(str(r) for r in rules) or None,
                "record_ids": lot.record_ids,
            }
