"""Charts, signals and limits of one series.

Does not belong here: drawing (`figures/control.py`), limits and rules (`warehouse/marts/charts.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid, html_table, number, printed
from dashboards.components.words import plain, plural
from dashboards.facts.charts import Capability, ChartLimit, ChartPoint
from dashboards.figures.control import IN_UNIT, Drawn, control, read_as
from dashboards.pages.charts.view import RULES, View, in_force, marked, phase_words, series_unit, titles
from dashboards.providers.charts import ChartProvider
from dashboards.shell.visit import Visit, batch_href, source_href


def content(visit: Visit, provider: ChartProvider, view: View) -> Component:
    """Charts, signals and limits of one series."""
    points = view.within(provider.points(visit.scope, view.series))
    limits = provider.limits(visit.scope, view.series)
    return html.Div(
        [
            _chart_panel(visit, provider, view, points, limits),
            _signals_panel(visit, provider, view, points, limits),
            _limits_panel(visit, view, limits),
        ],
        className="cf-panels",
    )


def _chart_panel(
    visit: Visit,
    provider: ChartProvider,
    view: View,
    points: Sequence[ChartPoint],
    limits: Sequence[ChartLimit],
) -> Component:
    series, newest = view.series, in_force(limits)
    name = next((s.name for s in visit.snapshot.sites if s.id == series.site), series.site)
    title = titles(visit)(series)
    spec = next(
        (c for c in provider.capability(visit.scope) if (c.site, c.attribute) == (series.site, series.measured_as)),
        None,
    )  # fmt: skip
    if not points:
        body: Component = states.empty("This series has no point on these days.", "Empty the days above.")
    else:
        outside = [p for p in points if p.outside and p.chart in view.charts]
        said = "; ".join(f"{p.chart} {p.batch_id}" for p in outside[:20]) or "none"
        drawn = Drawn(
            scale=newest.scale if newest else None,
            unit=series_unit(series),
            site=series.site,
            phases={x.phase: f"phase {x.phase}: {x.protocol_version or x.phase_key}" for x in limits},
            sigmas={x.phase: x.sigma for x in limits if x.in_force and x.sigma is not None},
            # A chart whose covariates are held equal shows no batch's own value, so no limit for one fits it.
            specification=(spec.low, spec.high)
            if spec and newest and not newest.covariates
            else (None, None),
        )
        body = html.Div(
            [
                graph(
                    "control",
                    control(view.charts, points, marked(points, view.rules), drawn),
                    f"Control charts {', '.join(view.charts)} of {title} at {name}. Outside the limits: {said}.",
                ),
                html.Details(
                    [
                        html.Summary("Show data"),
                        grid(
                            points_table(visit, view, points, limits), "Points of the charts", name="points"
                        ),
                    ]
                ),
            ]
        )
    told = [
        "Cross: outside the limits. Hollow: in the baseline that the limits rest on. Dashed: limits, with their "
        "numbers. Shaded: one, two and three sigma. A dotted line starts a phase.",
        _specified(spec, newest),
        _chance(provider, visit, view),
    ]
    return panel(
        "chart",
        f"{title}, {name}",
        " ".join(t for t in told if t),
        body,
        csv=view.csv(visit, "points"),
        computed=_computed_limits(newest)
        + f" Tables mart.chart_point, mart.chart_limit and mart.capability, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def _specified(c: Capability | None, newest: ChartLimit | None) -> str:
    """The specification that the attribute is under, and how well the site meets it."""
    if c is None:
        return ""
    ends = [number(v, 3) for v in (c.low, c.high) if v is not None]
    limit = (
        " to ".join(ends) if len(ends) == 2 else f"at {'least' if c.low is not None else 'most'} {ends[0]}"
    )
    told = f"pecification: {limit} ({c.specification}), which is no control limit"
    if newest is not None and newest.covariates:
        told = f"S{told}, and is not drawn: with covariates held equal, a point is no batch's own value"
    else:
        told = f"Long red dashes: the s{told}"
    if c.ppk is None:
        return f"{told}."
    ends = [number(v, 3) for v in (c.ppk_low, c.ppk_high) if v is not None]
    interval = f", 95 % interval {' to '.join(ends)}" if ends else ""
    return f"{told}. Ppk {number(c.ppk, 3)}{interval}, n {c.n}."


def points_table(
    visit: Visit, view: View, points: Sequence[ChartPoint], limits: Sequence[ChartLimit]
) -> Table:
    """Points of the charts shown, those of the attribute itself in its unit."""
    newest = in_force(limits)
    turned = read_as(newest.scale if newest else None, series_unit(view.series))
    rules = marked(points, view.rules)
    rows = []
    for p in points:
        if p.chart not in view.charts:
            continue
        in_unit = turned if p.chart in IN_UNIT else float
        rows.append(
            {
                **vars(p),
                **{
                    name: None if (level := getattr(p, name)) is None else in_unit(level)
                    for name in ("value", "centre", "lower", "upper")
                },
                "rules": rules.get((p.chart, p.batch_id), ""),
                "record": p.record_ids.split(",")[0] if p.record_ids else None,
            }
        )
    return Table(
        "points",
        (
            Column("chart", "Chart"),
            Column("batch_id", "Batch", link=lambda r: batch_href(visit, view.series.site, r["batch_id"])),
            Column("batch_started_at", "Started, UTC"),
            Column("phase", "Phase"),
            Column("value", "Value", digits=4),
            Column("centre", "Centre", digits=4),
            Column("lower", "Lower", digits=4),
            Column("upper", "Upper", digits=4),
            Column("z", "z"),
            Column("outside", "Outside"),
            Column("rules", "Rules"),
            Column("in_baseline", "In the baseline"),
            Column("record", "From", link=lambda r: source_href(visit, r["record"]) if r["record"] else ""),
        ),
        rows,
    )


def _computed_limits(x: ChartLimit | None) -> str:
    if x is None or x.centre is None:
        return "No limits are in force."
    scale = {
        "logit": " on the logit scale",
        "log": " on the log scale",
        "identity": " in the attribute's unit",
    }.get(x.scale or "", "")
    held = f", with {x.covariates.replace('_', ' ')} held equal" if x.covariates else ""
    spread = f", sigma {number(x.sigma, 3)} from the mean moving range" if x.sigma is not None else ""
    return (
        f"Limits in force: centre {number(x.centre, 4)}{scale}{spread}{held}, from "
        f"{plural(x.n_baseline or 0, 'batch', 'batches')} "
        "of the baseline. Axes of I, EWMA and means are labelled in the attribute's unit and spaced on "
        "that scale; "
        "a point in the baseline judges itself."
    )


def _chance(provider: ChartProvider, visit: Visit, view: View) -> str:
    """What the charts ring by chance, in a sentence."""
    budgets = [
        b
        for b in provider.budgets(visit.scope, view.series)
        if b.rings and b.false_alarms_per_year is not None
    ]
    if not budgets:
        return ""
    mine = sum(b.false_alarms_per_year or 0 for b in budgets)
    fleet, allowed = budgets[0].fleet_false_alarms_per_year, budgets[0].allowed_per_year
    told = f"By chance alone these charts ring {number(mine, 2)} times a year"
    if fleet is not None and allowed is not None:
        told += f", all of the fleet's {number(fleet, 2)}, of {number(allowed, 2)} allowed"
    extra = {"nelson": budgets[0].nelson_per_year, "western": budgets[0].western_electric_per_year}.get(
        view.rules
    )
    rules = f"; the {RULES[view.rules]} would add {number(extra, 2)}" if extra is not None else ""
    return f"{told}{rules}."  # fmt: skip


def _signals_panel(
    visit: Visit,
    provider: ChartProvider,
    view: View,
    points: Sequence[ChartPoint],
    limits: Sequence[ChartLimit],
) -> Component:
    table = signals_table(visit, provider, view, points, limits)
    return panel(
        "signals",
        "Signals, the newest first",
        f"{plural(len(table.rows), 'point')} outside the limits{' or failing a rule' if view.rules else ''}."
        if table.rows
        else None,
        html_table(table, "Signals")
        if table.rows
        else states.empty("No point of these charts signals."),
        csv=view.csv(visit, "signals"),
        computed="Points outside the limits in force"
        + (f", and those that fail the {RULES[view.rules]}, which are shown and ring nobody" if view.rules else "")
        + f". Table mart.chart_point, snapshot {visit.snapshot.number}.",
    )  # fmt: skip


def signals_table(
    visit: Visit,
    provider: ChartProvider,
    view: View,
    points: Sequence[ChartPoint],
    limits: Sequence[ChartLimit],
) -> Table:
    """Points that signal, with the batch and the results behind each."""
    numbered = marked(points, view.rules)
    words = provider.rules(visit.scope)
    family = "nelson" if view.rules == "nelson" else "western electric"
    newest = in_force(limits)
    turned = read_as(newest.scale if newest else None, series_unit(view.series))
    rows = []
    for p in points:
        rules = numbered.get((p.chart, p.batch_id), "")
        if p.chart not in view.charts or not (p.outside or rules):
            continue
        told = [words.get((family, int(r)), f"rule {r}") for r in rules.split(",") if r.strip().isdigit()]
        first = p.record_ids.split(",")[0] if p.record_ids else None
        rows.append(
            {
                "batch_id": p.batch_id,
                "started": p.batch_started_at,
                "chart": p.chart,
                "value": turned(p.value) if p.value is not None and p.chart in IN_UNIT else p.value,
                "unit": series_unit(view.series) if p.chart in IN_UNIT else "",
                "z": p.z,
                "phase": p.phase,
                "why": ("above the limit" if p.side == 1 else "below the limit" if p.side == -1 else "")
                + (f"; {plain(p.driver)} most" if p.driver else "")
                + ("; " if told and p.outside else "")
                + "; ".join(told)
                + (", in the baseline" if p.in_baseline else ""),
                "record": first,
            }
        )
    rows.sort(key=lambda r: (str(r["started"] or ""), r["chart"]), reverse=True)
    return Table(
        "signals",
        (
            Column("batch_id", "Batch", link=lambda r: batch_href(visit, view.series.site, r["batch_id"])),
            Column("started", "Started, UTC"),
            Column("chart", "Chart"),
            Column("value", "Value", digits=4, cell=_with_unit),
            # A sum or a spread has no z.
            *([Column("z", "z")] if any(r["z"] is not None for r in rows) else []),
            Column("why", "Why"),
            Column(
                "record",
                "From",
                cell=lambda r: (
                    html.Span(html.A("row", href=source_href(visit, r["record"]))) if r["record"] else ""
                ),
            ),
        ),
        rows,
    )


def _with_unit(row: dict[str, Any]) -> str:
    return f"{printed(row['value'], 4)} {row['unit']}".strip()


def _limits_panel(visit: Visit, view: View, limits: Sequence[ChartLimit]) -> Component:
    items = []
    for x in limits:
        who = [
            f"Declared {printed(x.declared_on)} by the {x.declared_by_role}"
            if x.declared_on
            else "No baseline declared",
            f"frozen {printed(x.frozen_at)} UTC by the {x.frozen_by_role} ({x.frozen_because})"
            if x.frozen_at
            else "not frozen",
            f"approved {printed(x.approved_at)} UTC by the {x.approved_by_role} ({x.approved_because})"
            if x.approved_at
            else "not approved",
        ]
        base = (
            f"{plural(x.n_baseline or 0, 'batch', 'batches')} from {printed(x.baseline_from)[:10]} to "
            f"{printed(x.baseline_until)[:10]}"
            if x.baseline_from
            else "no baseline"
        )
        items.append(
            html.Li(
                [
                    html.Div(
                        [
                            html.Strong(f"Phase {x.phase}, version {x.version}"),
                            html.Span(plain(x.state), className="cf-strong" if x.in_force else "cf-muted"),
                            html.Span("in force" if x.in_force else "not in force", className="cf-muted"),
                        ]
                    ),
                    html.Div(f"{'; '.join(who)}."),
                    html.Small(
                        f"{phase_words(x.phase_key)}. Baseline: {base}. {x.refusal or ''}",
                        className="cf-muted",
                    ),
                ]
            )
        )
    return panel(
        "limits",
        "Who declared these limits, and when",
        None,
        html.Ul(items, className="cf-list") if items else states.empty("No limits were ever set."),
        csv=view.csv(visit, "limits"),
        computed="A phase begins where protocol, method or specification limits change. Limits are "
        "provisional until frozen "
        f"and ring only once approved. Table mart.chart_limit, snapshot {visit.snapshot.number}.",
    )
