"""Control charts: is the process in control, since when, and against limits that who declared and approved.

Belongs here: the order of the panels, controls, callbacks, which tables can be downloaded. Does not belong here: limits
and rules (`mart.chart_limit`, `mart.chart_point`), the panels themselves (beside this module).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.table import Column, Table
from dashboards.components.words import NoDayError, plain
from dashboards.facts.charts import Series
from dashboards.pages.charts.overview import answer, overview_panel, overview_table
from dashboards.pages.charts.panels import content, signals_table
from dashboards.pages.charts.view import RULES, View, kinds, titles, view_of
from dashboards.pages.charts.watch import (
    capability_panel,
    capability_table,
    raised_panel,
    raised_table,
    rules_panel,
    rules_table,
)
from dashboards.providers.charts import ChartProvider
from dashboards.shell.guard import guarded_panel
from dashboards.shell.visit import Desk, NotHere, Page, Visit

SITES = {"type": "control", "page": "all", "name": "sites"}
DAYS = ("from", "to")


def _control(name: str) -> dict[str, str]:
    return {"type": "control", "page": "charts", "name": name}


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
    named = titles(visit)
    names = {s.id: s.name for s in visit.snapshot.sites}
    view, wrong = _view(provider, visit, all_series, visit.query)
    day: dict[str, Any] = {"size": "sm", "w": 130, "placeholder": "2026-01-31", "debounce": 300}
    controls = [
        dmc.Select(
            id=_control("series"),
            label="Site and attribute",
            data=[
                {
                    "group": names.get(site, site),
                    "items": [
                        {"value": f"{x.site}|{x.key}", "label": f"{named(x)}, {site}"}
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
            data=[{"value": c, "label": c} for c in kinds(provider.points(visit.scope, view.series))],
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
        dmc.TextInput(id=_control("from"), label="Batches from, UTC", value=visit.get("from"), **day),
        dmc.TextInput(id=_control("to"), label="to, included", value=visit.get("to"), **day),
    ]  # fmt: skip
    return html.Div(
        [
            head,
            html.P(answer(all_series), className="cf-lede"),
            html.Div(overview_panel(visit, all_series, named, view), className="cf-panels"),
            html.Div(controls, className="cf-filters cf-between"),
            html.Div(wrong or content(visit, provider, view), id="charts-content"),
            html.Div(
                [
                    raised_panel(visit, provider),
                    capability_panel(visit, provider),
                    rules_panel(visit, provider),
                ],
                className="cf-panels cf-between",
            ),
        ]
    )


def _view(
    provider: ChartProvider, visit: Visit, all_series: Sequence[Series], query: Mapping[str, Any]
) -> tuple[View, Component | None]:
    """The view that an address asks for, and what is wrong with its days."""
    try:
        return view_of(provider, visit, all_series, query), None
    except NoDayError as error:
        kept = {name: value for name, value in query.items() if name not in DAYS}
        return view_of(provider, visit, all_series, kept), states.empty(str(error))


def _table(visit: Visit, name: str) -> Table:
    """A table of the view that an address asks for. Raises NotHere where nothing is charted."""
    provider = ChartProvider(visit.snapshot)
    if name == "raised":
        return raised_table(visit, provider)
    if name == "capability":
        return capability_table(visit, provider.capability(visit.scope))
    if name == "run-lengths":
        return rules_table(visit, provider)
    all_series = provider.series(visit.scope) if provider.known else []
    if not all_series:
        raise NotHere("no series")
    if name == "overview":
        return overview_table(all_series)
    try:
        view = view_of(provider, visit, all_series, visit.query)
    except NoDayError as error:
        raise NotHere(str(error)) from error
    points = view.within(provider.points(visit.scope, view.series))
    limits = provider.limits(visit.scope, view.series)
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
    """Every control redraws what is below it; another series offers its own charts."""
    names = ("series", "charts", "rules", *DAYS)

    @app.callback(
        Output("charts-content", "children"),
        Output(_control("charts"), "data"),
        Output(_control("charts"), "value"),
        *(Input(_control(n), "value") for n in names),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded_panel(others=2)
    def redraw(*given: Any) -> Any:
        *values, sites = given
        visit = desk.visit(f"sites={','.join(sites or [])}")
        provider = ChartProvider(visit.snapshot)
        query = {**dict(zip(names, values, strict=True)), "charts": ",".join(values[1] or [])}
        view, wrong = _view(provider, visit, provider.series(visit.scope), query)
        told = [{"value": c, "label": c} for c in kinds(provider.points(visit.scope, view.series))]
        return wrong or content(visit, provider, view), told, list(view.charts)


PAGE = Page(
    name="charts",
    path="/charts",
    title="Control charts",
    layout=layout,
    callbacks=callbacks,
    tables={
        name: partial(_table, name=name)
        for name in ("overview", "points", "signals", "limits", "raised", "capability", "run-lengths")
    },
    key="h",
)
