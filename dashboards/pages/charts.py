"""Control charts: is the process in control, since when, and against limits that who declared and approved.

Belongs here: layout and its callbacks. Does not belong here: limits and rules (`mart.chart_limit`, `mart.chart_point`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, number, printed
from dashboards.components.words import plain, plural, unit
from dashboards.facts.charts import ChartLimit, ChartPoint, Series
from dashboards.figures.control import control, read_as
from dashboards.pages import watch_panels
from dashboards.providers.charts import ChartProvider
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.guard import guarded_panel
from dashboards.shell.visit import Desk, NotHere, Page, Visit, batch_href, source_href
from warehouse.dictionary import dictionary

SITES = {"type": "control", "page": "all", "name": "sites"}
FIRST = ("I", "MR", "EWMA", "p'", "p", "u'", "u", "T2", "MEWMA")
RULES = {"": "limits only", "nelson": "Nelson rules", "western": "Western Electric rules"}
NAMES = {"failed_batches": "Failed batches", "deviations": "Deviations"}


def _control(name: str) -> dict[str, str]:
    return {"type": "control", "page": "charts", "name": name}


@dataclass(frozen=True)
class View:
    """What is looked at: one series, its charts, and the rules written at its points."""

    series: Series
    charts: tuple[str, ...]
    rules: str


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    provider = ChartProvider(visit.snapshot)
    head = html.H1("Is the process in control, and since when?")
    if not provider.known:
        return html.Div(
            [
                head,
                states.empty(
                    "This snapshot was published by a program without control charts.", "Run `cellfleet run`."
                ),
            ]
        )
    all_series = provider.series(visit.scope)
    if not all_series:
        return html.Div(
            [head, states.empty("No series is charted at these sites.", "Choose other sites above.")]
        )
    titles = _titles(visit)
    names = {s.id: s.name for s in visit.snapshot.sites}
    view = _view(provider, visit, all_series, visit.query)
    kinds = sorted({p.chart for p in provider.points(visit.scope, view.series)}, key=_place)
    controls = [
        dmc.Select(
            id=_control("series"),
            label="Site and attribute",
            data=[
                {
                    "group": names.get(site, site),
                    "items": [
                        {"value": f"{x.site}|{x.key}", "label": f"{titles(x)}, {site}"}
                        for x in all_series
                        if x.site == site
                    ],
                }
                for site in dict.fromkeys(x.site for x in all_series)
            ],
            value=f"{view.series.site}|{view.series.key}",
            allowDeselect=False,
            searchable=True,
            size="sm",
            w=330,
        ),
        dmc.MultiSelect(
            id=_control("charts"),
            label="Charts",
            data=[{"value": c, "label": c} for c in kinds],
            value=list(view.charts),
            size="sm",
            style={"minWidth": "min(100%, 240px)"},
        ),
        dmc.Select(
            id=_control("rules"),
            label="Marked at points",
            data=[{"value": key, "label": label} for key, label in RULES.items()],
            value=view.rules,
            allowDeselect=False,
            size="sm",
            w=210,
        ),
    ]  # fmt: skip
    return html.Div(
        [
            head,
            html.P(_answer(all_series), className="cf-lede"),
            html.Div(_overview(visit, all_series, titles, view), className="cf-panels"),
            html.Div(controls, className="cf-filters cf-between"),
            html.Div(content(visit, provider, view), id="charts-content"),
            html.Div(
                [watch_panels.raised_panel(visit, provider), watch_panels.capability_panel(visit, provider)],
                className="cf-panels cf-between",
            ),
        ]
    )


def _place(chart: str) -> tuple[int, str]:
    return (FIRST.index(chart) if chart in FIRST else len(FIRST), chart)


def _titles(visit: Visit) -> Any:
    plan = {p.attribute: p.title for p in FleetProvider(visit.snapshot).plan(visit.scope)}

    def title(series: Series) -> str:
        if series.kind == "together":
            return f"{plain(series.attribute).capitalize()} ({len(series.measured_as.split('+'))} together)"
        return plan.get(series.attribute) or NAMES.get(series.attribute) or plain(series.attribute)

    return title


def _view(
    provider: ChartProvider, visit: Visit, all_series: Sequence[Series], query: Mapping[str, Any]
) -> View:
    """The view that an address asks for; else the series with the newest point outside its limits."""
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
    first += tuple(sorted(ringing, key=_place)) or (() if first else tuple(sorted(known))[:3])
    return View(series, charts or first, rules if rules in RULES else "")


def _answer(all_series: Sequence[Series]) -> str:
    ringing = [s for s in all_series if s.n_outside]
    newest = max((s.newest_outside_at for s in ringing if s.newest_outside_at), default=None)
    quiet = sum(s.refusal is not None for s in all_series)
    told = (
        f"{len(ringing)} of {len(all_series)} series have points outside their limits in the newest phase"
        + (f", the newest of a batch started {newest:%Y-%m-%d}" if newest else "")
        if ringing
        else f"no point of {len(all_series)} series lies outside its limits in the newest phase"
    )
    return f"{told[0].upper()}{told[1:]}; {plural(quiet, 'series', 'series')} without limits yet."


def _overview(visit: Visit, all_series: Sequence[Series], titles: Any, view: View) -> Component:
    sites = list(dict.fromkeys(s for s in visit.scope.sites if any(x.site == s for x in all_series)))
    names = {s.id: s.name for s in visit.snapshot.sites}
    told: dict[str, dict[str, Series]] = {}
    for s in all_series:
        told.setdefault(titles(s), {})[s.site] = s
    rows = [
        html.Tr(
            [
                html.Th(title, scope="row"),
                *(html.Td(_state(visit, by_site.get(site), view)) for site in sites),
            ]
        )
        for title, by_site in sorted(told.items())
    ]
    table = html.Table(
        [
            html.Caption("Series by site", className="cf-hidden"),
            html.Thead(
                html.Tr(
                    [
                        html.Th("Charted", scope="col"),
                        *(html.Th(s, scope="col", title=names.get(s, s)) for s in sites),
                    ]
                )
            ),
            html.Tbody(rows),
        ],
        className="cf-table cf-tight",
    )
    return panel(
        "overview",
        "Every series, in its newest phase",
        "Batches outside the limits of any chart of the series, of all its batches. Choose one to see "
        "its charts.",
        html.Div(table, className="cf-scroll", tabIndex="0", role="region", **aria(label="Series by site")),
        csv=visit.csv("charts", "overview"),
        computed="Limits rest on a baseline that is declared, frozen and approved by roles; each point "
        "is laid against the "
        "version in force. A signal asks for a look and decides nothing; control limits are no "
        "specification. "
        f"Tables mart.chart_limit and mart.chart_point, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def _state(visit: Visit, series: Series | None, view: View) -> Any:
    if series is None:
        return html.Span("not charted", className="cf-muted")
    if series.refusal:
        symbol, word, kind = "◇", "no limits", "unsure"
    elif series.n_outside:
        symbol, word, kind = "✕", f"{series.n_outside} of {series.n_points}", "bad"
    else:
        symbol, word, kind = "●", f"0 of {series.n_points}", "ok"
    here = series == view.series
    newest = f", newest outside {series.newest_outside_at:%Y-%m-%d}" if series.newest_outside_at else ""
    return html.A(
        [html.Span(f"{symbol} ", **aria(hidden="true")), word],
        href=visit.href("/charts", series=f"{series.site}|{series.key}") + "#chart",
        className=f"cf-verdict cf-{kind}",
        title=f"{series.state} limits{newest}",
        **(aria(current="true") if here else {}),
    )  # fmt: skip


def content(visit: Visit, provider: ChartProvider, view: View) -> Component:
    """Charts, signals and limits of one series."""
    scope = visit.scope
    points, limits = provider.points(scope, view.series), provider.limits(scope, view.series)
    return html.Div(
        [
            _chart_panel(visit, provider, view, points, limits),
            _signals_panel(visit, provider, view, points, limits),
            _limits_panel(visit, view, limits),
        ],
        className="cf-panels",
    )


def _series_unit(series: Series) -> str:
    field = dictionary().attributes.get(series.measured_as)
    return unit(field.unit) if field else ""


def _in_force(limits: Sequence[ChartLimit]) -> ChartLimit | None:
    return next((x for x in limits if x.in_force), None)


def _marked(points: Sequence[ChartPoint], rules: str) -> dict[tuple[str, str], str]:
    """Numbers of the chosen rules at each point."""
    if not rules:
        return {}
    which = "nelson_rules" if rules == "nelson" else "western_electric_rules"
    return {(p.chart, p.batch_id): str(getattr(p, which)) for p in points if getattr(p, which)}


def _chart_panel(
    visit: Visit,
    provider: ChartProvider,
    view: View,
    points: Sequence[ChartPoint],
    limits: Sequence[ChartLimit],
) -> Component:
    series, newest = view.series, _in_force(limits)
    name = next((s.name for s in visit.snapshot.sites if s.id == series.site), series.site)
    title = _titles(visit)(series)
    if not points:
        body: Component = states.empty("This series has no point yet.")
    else:
        phases = {x.phase: f"phase {x.phase}: {x.protocol_version or x.phase_key}" for x in limits}
        outside = [p for p in points if p.outside and p.chart in view.charts]
        said = "; ".join(f"{p.chart} {p.batch_id}" for p in outside[:20]) or "none"
        body = graph(
            "control",
            control(
                view.charts,
                points,
                _marked(points, view.rules),
                newest.scale if newest else None,
                _series_unit(series),
                phases,
                series.site,
            ),
            f"Control charts {', '.join(view.charts)} of {title} at {name}. Outside the limits: {said}.",
        )
    return panel(
        "chart",
        f"{title}, {name}",
        "Cross: outside the limits. Hollow: in the baseline that the limits rest on. Dashed: limits, "
        "with their numbers; "
        "a dotted line starts a phase. " + _chance(provider, visit, view),
        body,
        csv=_csv(visit, view, "points"),
        computed=_computed_limits(newest)
        + f" Tables mart.chart_point and mart.chart_limit, snapshot {visit.snapshot.number}.",
        wide=True,
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


def _csv(visit: Visit, view: View, table: str) -> str:
    return visit.csv(
        "charts",
        table,
        series=f"{view.series.site}|{view.series.key}",
        charts=",".join(view.charts),
        rules=view.rules or None,
    )


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
        csv=_csv(visit, view, "signals"),
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
    marked = _marked(points, view.rules)
    words = provider.rules(visit.scope)
    family = "nelson" if view.rules == "nelson" else "western electric"
    newest = _in_force(limits)
    turned = read_as(newest.scale if newest else None, _series_unit(view.series))
    rows = []
    for p in points:
        rules = marked.get((p.chart, p.batch_id), "")
        if p.chart not in view.charts or not (p.outside or rules):
            continue
        told = [words.get((family, int(r)), f"rule {r}") for r in rules.split(",") if r.strip().isdigit()]
        first = p.record_ids.split(",")[0] if p.record_ids else None
        rows.append(
            {
                "batch_id": p.batch_id,
                "started": p.batch_started_at,
                "chart": p.chart,
                "value": turned(p.value)
                if p.value is not None and p.chart in ("I", "EWMA", "Xbar")
                else p.value,
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
    title = f"Value{f', {_series_unit(view.series)}' if _series_unit(view.series) else ''}"
    return Table(
        "signals",
        (
            Column("batch_id", "Batch", link=lambda r: batch_href(visit, view.series.site, r["batch_id"])),
            Column("started", "Started, UTC"),
            Column("chart", "Chart"),
            Column("value", title, digits=4),
            Column("z", "z"),
            Column("why", "Why"),
            Column(
                "record",
                "From",
                cell=lambda r: html.A("row", href=source_href(visit, r["record"])) if r["record"] else "",
            ),
        ),
        rows,
    )


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
                        f"{x.phase_key.replace(' · ', ', ')}. Baseline: {base}. {x.refusal or ''}",
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
        csv=_csv(visit, view, "limits"),
        computed="A phase begins where protocol, method or specification limits change. Limits are "
        "provisional until frozen "
        f"and ring only once approved. Table mart.chart_limit, snapshot {visit.snapshot.number}.",
    )


def _table(visit: Visit, name: str) -> Table:
    """A table of the view that an address asks for. Raises NotHere where nothing is charted."""
    provider = ChartProvider(visit.snapshot)
    if name == "raised":
        return watch_panels.raised_table(visit, provider)
    if name == "capability":
        return watch_panels.capability_table(visit, provider)
    all_series = provider.series(visit.scope) if provider.known else []
    if not all_series:
        raise NotHere("no series")
    if name == "overview":
        keys: tuple[str, ...] = (
            "site", "attribute", "measured_as", "kind", "phase", "state", "n_points", "n_outside", "newest_outside_at",
            "refusal",
        )  # fmt: skip
        return Table("charts", tuple(Column(k, plain(k)) for k in keys), [vars(s) for s in all_series])
    view = _view(provider, visit, all_series, visit.query)
    points, limits = provider.points(visit.scope, view.series), provider.limits(visit.scope, view.series)
    if name == "signals":
        made = signals_table(visit, provider, view, points, limits)
    elif name == "limits":
        keys = tuple(vars(limits[0])) if limits else ("phase",)
        made = Table("limits", tuple(Column(k, plain(k), digits=4) for k in keys), [vars(x) for x in limits])
    else:
        keys = tuple(vars(points[0])) if points else ("chart",)
        made = Table("points", tuple(Column(k, plain(k), digits=5) for k in keys), [vars(p) for p in points])
    return Table(f"{view.series.site}-{view.series.attribute}-{made.name}", made.columns, made.rows)


def callbacks(app: Dash, desk: Desk) -> None:
    """Series, charts and rules redraw what is below them; another series offers its own charts."""
    names = ("series", "charts", "rules")

    @app.callback(
        Output("charts-content", "children"),
        Output(_control("charts"), "data"),
        Output(_control("charts"), "value"),
        *(Input(_control(n), "value") for n in names),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded_panel(others=2)
    def redraw(series: str, charts: list[str] | None, rules: str, sites: list[str] | None) -> Any:
        visit = desk.visit(f"sites={','.join(sites or [])}")
        provider = ChartProvider(visit.snapshot)
        query = {"series": series, "charts": ",".join(charts or []), "rules": rules}
        view = _view(provider, visit, provider.series(visit.scope), query)
        kinds = sorted({p.chart for p in provider.points(visit.scope, view.series)}, key=_place)
        told = [{"value": c, "label": c} for c in kinds]
        return content(visit, provider, view), told, list(view.charts)


PAGE = Page(
    name="charts",
    path="/charts",
    title="Control charts",
    layout=layout,
    callbacks=callbacks,
    tables={
        name: partial(_table, name=name)
        for name in ("overview", "points", "signals", "limits", "raised", "capability")
    },
    key="h",
)
