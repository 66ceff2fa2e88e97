"""Comparability: one attribute at a time, its difference, its lots, and the way from each lot to its file.

Belongs here: layout and its callbacks. Does not belong here: the verdict (`mart.comparability`), drawing (figures).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import graph
from dashboards.components.lots import lot_charts
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid, html_table
from dashboards.components.verdict import verdict
from dashboards.components.words import attribute_words, plural, unit
from dashboards.facts.comparison import Lot, PlanEntry, Verdict
from dashboards.figures.forest import forest
from dashboards.pages.fleet import margin_words, verdict_table
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.guard import guarded
from dashboards.shell.visit import Desk, Page, Visit, batch_href, source_href

ATTRIBUTE = {"type": "control", "page": "comparability", "name": "attr"}
SITES = {"type": "control", "page": "all", "name": "sites"}


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    plan = FleetProvider(visit.snapshot).plan(visit.scope)
    chosen = _chosen(plan, visit.get("attr"))
    control = dmc.Select(
        id=ATTRIBUTE,
        label="Attribute",
        data=[{"value": p.attribute, "label": p.title} for p in plan],
        value=chosen or None,
        allowDeselect=False,
        searchable=True,
        size="sm",
        w=280,
    )
    return html.Div(
        [
            html.H1("Are the sites making the same product, attribute by attribute?"),
            html.Div(control, className="cf-filters"),
            html.Div(content(visit, chosen), id="comparability-content"),
        ]
    )


def _chosen(plan: Sequence[PlanEntry], asked: str) -> str:
    return asked if any(p.attribute == asked for p in plan) else (plan[0].attribute if plan else "")


def content(visit: Visit, attribute: str) -> Component:
    """Verdicts, difference and lots of one attribute."""
    provider = FleetProvider(visit.snapshot)
    entry = next((p for p in provider.plan(visit.scope) if p.attribute == attribute), None)
    if entry is None:
        return states.empty(
            "There is no comparability plan, so nothing is compared.", "Write one into fleet.yaml."
        )
    verdicts = provider.verdicts(visit.scope, attribute)
    return html.Div(
        [_answers(visit, entry, verdicts), _lots(visit, provider, entry), _table(visit, provider, entry)],
        className="cf-panels",
    )


def _answers(visit: Visit, entry: PlanEntry, verdicts: Sequence[Verdict]) -> Component:
    names = {s.id: s.name for s in visit.snapshot.sites}
    if not verdicts:
        body: Component = states.empty(
            "Only the reference site is in sight.", "Choose another site above, or all of them."
        )
    else:
        said = "; ".join(f"{names.get(v.site, v.site)}: {v.verdict}" for v in verdicts)
        body = html.Div(
            [
                html.Ul(
                    [
                        html.Li(
                            [
                                html.Div(
                                    [html.Strong(names.get(v.site, v.site)), verdict(v.verdict, v.reason)]
                                ),
                                html.Div(v.sentence),
                                html.Small(
                                    f"{v.design}. Measured as {_measured(v.measured_as)}.",
                                    className="cf-muted",
                                ),
                            ]
                        )
                        for v in verdicts
                    ],
                    className="cf-list",
                ),
                graph("difference", forest(verdicts, names), f"Forest plot of {entry.title}. {said}."),
                html_table(verdict_table(verdicts, visit, short=True), f"Verdicts on {entry.title}"),
            ]
        )
    return panel(
        "answers",
        f"{entry.title}: the difference",
        margin_words(entry),
        body,
        csv=visit.csv("comparability", "verdicts", attr=entry.attribute),
        computed="90 % interval of the difference of means on the attribute's scale by the plan's design, in margins. "
        "A site that is equal on average but noisier does not pass: the interval of the ratio of standard deviations "
        "must lie below the plan's limit. "
        f"Table mart.comparability, snapshot {visit.snapshot.number}.",
    )


def _measured(names: str) -> str:
    return " against ".join(attribute_words(n.strip()) for n in names.split("/"))


def _lots(visit: Visit, provider: FleetProvider, entry: PlanEntry) -> Component:
    names = {s.id: s.name for s in visit.snapshot.sites}
    charts = lot_charts(
        entry,
        provider.lots(visit.scope, entry.attribute),
        provider.limits(visit.scope, entry.attribute),
        names,
    )
    parts: list[Any] = []
    for chart in charts:
        counts = "; ".join(f"{names.get(s, s)}: {plural(len(found), 'lot')}" for s, _, found in chart.rows)
        said = f"Lots by site, {chart.measured}. {counts}. The table below holds them."
        parts += [
            html.H3(attribute_words(chart.measured)) if len(entry.measured_by.split(",")) > 1 else None,
            graph(f"lots-{chart.measured}", chart.figure, said),
        ]
    body = (
        html.Div(parts)
        if parts
        else states.empty("No lot of these sites has a result.", "Choose other sites.")
    )
    return panel(
        "lots",
        "The lots behind it",
        "A point is a lot, a box the middle half with its median. Hollow lots are left out of the means; a dashed line "
        "is the site's own specification limit, which is no margin. Unlike methods stand apart. A click opens a lot.",
        body,
        csv=visit.csv("comparability", "lots", attr=entry.attribute),
        computed="One lot is one batch, failed ones included: the mean, on the attribute's scale, of all results of "
        f"its first sample at {entry.sample_point.replace('_', ' ')}. "
        f"Table mart.comparability_lots, snapshot {visit.snapshot.number}.",
    )


def _table(visit: Visit, provider: FleetProvider, entry: PlanEntry) -> Component:
    lots = provider.lots(visit.scope, entry.attribute)
    body = (
        grid(lots_table(visit, lots), f"Lots of {entry.title}", name="lots")
        if lots
        else states.empty("No lot.")
    )
    return panel(
        "lot-table",
        "Every lot, with the row it came from",
        None,
        body,
        csv=visit.csv("comparability", "lots", attr=entry.attribute),
        computed=f"As above. Times are UTC. Table mart.comparability_lots, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def lots_table(visit: Visit, lots: Sequence[Lot]) -> Table:
    """Lots with links to their batch and their file."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    rows = [
        {
            **vars(lot),
            "name": names.get(lot.site, lot.site),
            "unit": unit(lot.unit),
            "source": f"{lot.source_file}, row {lot.source_row}",
        }
        for lot in lots
    ]
    columns = (
        Column("name", "Site"),
        Column("batch_id", "Batch", link=lambda r: batch_href(visit, r["site"], r["batch_id"])),
        Column("measured_as", "Measured as"),
        Column("value", "Value", digits=4, width=110),
        Column("unit", "Unit", width=100),
        Column("used", "Counts", width=95),
        Column("left_out_because", "Left out because"),
        Column("replicates", "Results", width=95),
        Column("lot_at", "Harvest, UTC"),
        Column("disposition", "Disposition"),
        Column("labs", "Laboratory"),
        Column("source", "From", width=260, link=lambda r: source_href(visit, r["record_id"])),
    )
    return Table("lots", columns, rows)


def _lots_csv(visit: Visit) -> Table:
    provider = FleetProvider(visit.snapshot)
    attribute = _chosen(provider.plan(visit.scope), visit.get("attr"))
    return lots_table(visit, provider.lots(visit.scope, attribute))


def _verdicts_csv(visit: Visit) -> Table:
    provider = FleetProvider(visit.snapshot)
    attribute = _chosen(provider.plan(visit.scope), visit.get("attr"))
    return verdict_table(provider.verdicts(visit.scope, attribute), visit)


def callbacks(app: Dash, desk: Desk) -> None:
    """The list redraws what is below it."""

    @app.callback(
        Output("comparability-content", "children"),
        Input(ATTRIBUTE, "value"),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded
    def redraw(attribute: str | None, sites: list[str] | None) -> Any:
        return content(desk.visit(f"sites={','.join(sites or [])}"), attribute or "")


PAGE = Page(
    name="comparability",
    path="/comparability",
    title="Comparability",
    layout=layout,
    callbacks=callbacks,
    tables={"lots": _lots_csv, "verdicts": _verdicts_csv},
    key="c",
)
