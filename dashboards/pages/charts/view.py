"""What is looked at on the Control charts page: one series, its charts, the rules at its points, the days shown.

Belongs here: from the address to a view and back, and what a series is called. Does not belong here: panels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from dashboards.components.table import number
from dashboards.components.words import day, plain, unit
from dashboards.facts.charts import ChartLimit, ChartPoint, Series
from dashboards.providers.charts import ChartProvider
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.visit import Visit
from warehouse.dictionary import dictionary

FIRST = ("I", "MR", "EWMA", "p'", "p", "u'", "u", "T2", "MEWMA")
RULES = {"": "limits only", "nelson": "Nelson rules", "western": "Western Electric rules"}
NAMES = {"failed_batches": "Failed batches", "deviations": "Deviations"}
LIMITS = re.compile(r"limits (\w+) (\S*?)\.\.(\S*)")


@dataclass(frozen=True)
class View:
    """One series, its charts from top to bottom, the rules written at its points, and the days that are shown."""

    series: Series
    charts: tuple[str, ...]
    rules: str
    first: date | None = None
    last: date | None = None

    def within(self, points: Sequence[ChartPoint]) -> list[ChartPoint]:
        """Points of batches started on the days shown; one without a date is never left out."""
        return [
            p
            for p in points
            if p.batch_started_at is None
            or (
                (self.first is None or self.first <= p.batch_started_at.date())
                and (self.last is None or p.batch_started_at.date() <= self.last)
            )
        ]

    def csv(self, visit: Visit, table: str) -> str:
        """Address of one of its tables as CSV."""
        return visit.csv(
            "charts",
            table,
            series=f"{self.series.site}|{self.series.key}",
            charts=",".join(self.charts),
            rules=self.rules or None,
            **{name: d.isoformat() for name, d in (("from", self.first), ("to", self.last)) if d},
        )


def titles(visit: Visit) -> Any:
    """What a series is called."""
    plan = {p.attribute: p.title for p in FleetProvider(visit.snapshot).plan(visit.scope)}

    def title(series: Series) -> str:
        if series.kind == "together":
            return f"{plain(series.attribute).capitalize()} ({len(series.measured_as.split('+'))} together)"
        return plan.get(series.attribute) or NAMES.get(series.attribute) or plain(series.attribute)

    return title


def place(chart: str) -> tuple[int, str]:
    """Where a chart stands among the others."""
    return (FIRST.index(chart) if chart in FIRST else len(FIRST), chart)


def kinds(points: Sequence[ChartPoint]) -> list[str]:
    """The charts that a series has, in their order."""
    return sorted({p.chart for p in points}, key=place)


def view_of(
    provider: ChartProvider, visit: Visit, all_series: Sequence[Series], query: Mapping[str, Any]
) -> View:
    """The view that an address asks for; else the series with the newest point outside its limits.

    Raises NoDayError for days that are none.
    """
    asked = str(query.get("series") or "")
    series = next((s for s in all_series if f"{s.site}|{s.key}" == asked), None)
    if series is None:
        series = max(
            all_series,
            key=lambda s: (s.n_outside > 0, str(s.newest_outside_at or ""), s.kind == "measured"),
        )
    points = provider.points(visit.scope, series)
    known = {p.chart for p in points}
    charts = tuple(c for c in str(query.get("charts") or "").split(",") if c in known)
    rules = str(query.get("rules") or "")
    first = tuple(c for c in FIRST if c in known)[:3]
    # A chart that signals now is shown without being asked for.
    ringing = {p.chart for p in points if p.outside and p.phase == series.phase} - set(first)
    first += tuple(sorted(ringing, key=place)) or (() if first else tuple(sorted(known))[:3])
    return View(
        series,
        charts or first,
        rules if rules in RULES else "",
        day(str(query.get("from") or "")),
        day(str(query.get("to") or "")),
    )


def series_unit(series: Series) -> str:
    """The unit of the attribute that is charted."""
    field = dictionary().attributes.get(series.measured_as)
    return unit(field.unit) if field else ""


def in_force(limits: Sequence[ChartLimit]) -> ChartLimit | None:
    """The limits of the newest phase that points are laid against."""
    return next((x for x in limits if x.in_force), None)


def marked(points: Sequence[ChartPoint], rules: str) -> dict[tuple[str, str], str]:
    """Numbers of the chosen rules at each point."""
    if not rules:
        return {}
    which = "nelson_rules" if rules == "nelson" else "western_electric_rules"
    return {(p.chart, p.batch_id): str(getattr(p, which)) for p in points if getattr(p, which)}


def phase_words(key: str) -> str:
    """What a phase is: protocol, method and specification limits, whose numbers are printed as everywhere."""

    def limit(found: re.Match[str]) -> str:
        low, high = (number(float(end), 3) if end else "" for end in found.group(2, 3))
        bounds = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}"
        return f"{found.group(1)} limit {bounds}"

    parts = [plain(part) for part in LIMITS.sub(limit, key).replace(" | ", " · ").split(" · ")]
    return ", ".join(dict.fromkeys(parts))
