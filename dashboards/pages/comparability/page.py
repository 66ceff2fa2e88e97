"""Comparability: one attribute at a time, its difference, its lots, and the way from each lot to its file.

Belongs here: layout and its callbacks. Does not belong here: the verdict (`mart.comparability`), drawing (figures).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.graph import graph
from dashboards.components.lots import lot_charts
from dashboards.components.panel import panel
from dashboards.components.sent import sent
from dashboards.components.table import Column, Table, grid, html_table, printed
from dashboards.components.verdict import verdict
from dashboards.components.words import NoDayError, attribute_words, day, plural, unit
from dashboards.facts.comparison import Limit, Lot, PlanEntry, Verdict
from dashboards.figures.forest import forest
from dashboards.pages.comparability import beside
from dashboards.pages.fleet.verdicts import margin_words, verdict_table
from dashboards.providers.comparison import ComparisonProvider
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.guard import guarded
from dashboards.shell.visit import Desk, NotHere, Page, Visit, batch_href, query_of, source_href

NAMES = ("attr", "view", "from", "to")
CONTROLS = {name: {"type": "control", "page": "comparability", "name": name} for name in NAMES}
SITES = {"type": "control", "page": "all", "name": "sites"}
VIEWS = {"lots": "Lots", "cumulative": "Cumulative"}


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    plan = FleetProvider(visit.snapshot).plan(visit.scope)
    day: dict[str, Any] = {"size": "sm", "w": 140, "placeholder": "2026-01-31", "debounce": 300}
    controls = [
        dmc.Select(
            id=CONTROLS["attr"],
            label="Attribute",
            data=[{"value": p.attribute, "label": p.title} for p in plan],
            value=_chosen(plan, visit.get("attr")) or None,
            allowDeselect=False,
            searchable=True,
            size="sm",
            w=280,
        ),
        dmc.TextInput(id=CONTROLS["from"], label="Lots from, UTC", value=visit.get("from"), **day),
        dmc.TextInput(id=CONTROLS["to"], label="to, included", value=visit.get("to"), **day),
        html.Div(
            dmc.SegmentedControl(
                id=CONTROLS["view"],
                data=[{"value": view, "label": words} for view, words in VIEWS.items()],
                value=_view(visit),
                size="sm",
                **aria(label="How the lots are drawn"),
            )
        ),
    ]
    return html.Div(
        [
            html.H1("Are the sites making the same product, attribute by attribute?"),
            html.Div(controls, className="cf-filters"),
            html.Div(content(visit), id="comparability-content"),
        ]
    )


def _chosen(plan: Sequence[PlanEntry], asked: str) -> str:
    return asked if any(p.attribute == asked for p in plan) else (plan[0].attribute if plan else "")


def _view(visit: Visit) -> str:
    return visit.get("view") if visit.get("view") in VIEWS else "lots"


def content(visit: Visit) -> Any:
    """Verdicts, difference and lots of one attribute, and what stands beside them; made once for what was asked."""
    asked = ("comparability", *(visit.get(name) for name in NAMES))
    return visit.snapshot.kept(visit.scope, asked, lambda: sent(_content(visit)))


def _content(visit: Visit) -> Component:
    provider = FleetProvider(visit.snapshot)
    plan = provider.plan(visit.scope)
    entry = next((p for p in plan if p.attribute == _chosen(plan, visit.get("attr"))), None)
    if entry is None:
        return states.empty(
            "There is no comparability plan, so nothing is compared.", "Write one into fleet.yaml."
        )
    try:
        lots = in_window(provider.lots(visit.scope, entry.attribute), visit)
    except NoDayError as error:
        return states.empty(str(error))
    verdicts = provider.verdicts(visit.scope, entry.attribute)
    return html.Div(
        [
            html.P(_answer(visit, entry, verdicts), className="cf-lede"),
            html.Div([_difference(visit, entry, verdicts), _lots(visit, entry, lots)], className="cf-panels"),
            *beside.panels(visit, entry, verdicts),
            html.Div(_table(visit, entry, lots), className="cf-panels"),
            html.P(
                html.A(
                    "Make the dossier of this attribute", href=visit.href("/report", attrs=entry.attribute)
                ),
                className="cf-next",
            ),
        ]
    )


def in_window(lots: Sequence[Lot], visit: Visit) -> list[Lot]:
    """Lots harvested on the days of the address; one without a date is never left out. Raises NoDayError."""
    first, last = day(visit.get("from")), day(visit.get("to"))
    return [
        lot
        for lot in lots
        if lot.lot_at is None
        or ((first is None or first <= lot.lot_at.date()) and (last is None or lot.lot_at.date() <= last))
    ]


def _answer(visit: Visit, entry: PlanEntry, verdicts: Sequence[Verdict]) -> str:
    """The page's question answered for one attribute, in a sentence."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    if not verdicts:
        return f"{entry.title}: no site is compared here."
    by_word = {
        word: [names.get(v.site, v.site) for v in verdicts if v.verdict == word]
        for word in ("not comparable", "inconclusive", "comparable")
    }
    told = "; ".join(f"{word} at {', '.join(found)}" for word, found in by_word.items() if found)
    return f"{entry.title} against {names.get(entry.reference, entry.reference)}: {told}."


def _difference(visit: Visit, entry: PlanEntry, verdicts: Sequence[Verdict]) -> Component:
    names = {s.id: s.name for s in visit.snapshot.sites}
    if not verdicts:
        body: Component = states.empty(
            "No site in sight is compared with the reference.", "Choose another site above, or all of them."
        )
    else:
        said = "; ".join(f"{names.get(v.site, v.site)}: {v.verdict}" for v in verdicts)
        body = html.Div(
            [
                graph("difference", forest(verdicts, names), f"Forest plot of {entry.title}. {said}."),
                html_table(verdict_table(verdicts, visit, short=True), f"Verdicts on {entry.title}"),
                html.Details(
                    [
                        html.Summary("Each verdict in words, with its design"),
                        html.Ul([_in_words(v, names) for v in verdicts], className="cf-list"),
                    ]
                ),
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
        "must lie below the plan's limit. The reference is the plan's. "
        f"Table mart.comparability, snapshot {visit.snapshot.number}.",
    )


def _in_words(v: Verdict, names: Mapping[str, str]) -> Component:
    return html.Li(
        [
            html.Div([html.Strong(names.get(v.site, v.site)), verdict(v.verdict, v.reason)]),
            html.Div(v.sentence),
            html.Small(f"{v.design}. Measured as {_measured(v.measured_as)}.", className="cf-muted"),
        ]
    )


def _measured(names: str) -> str:
    return " against ".join(attribute_words(n.strip()) for n in names.split("/"))


def _lots(visit: Visit, entry: PlanEntry, lots: Sequence[Lot]) -> Component:
    names = {s.id: s.name for s in visit.snapshot.sites}
    limits = FleetProvider(visit.snapshot).limits(visit.scope, entry.attribute)
    charts = lot_charts(
        entry,
        lots,
        limits,
        ComparisonProvider(visit.snapshot).ranges(visit.scope, entry.attribute),
        names,
        cumulative=_view(visit) == "cumulative",
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
        html.Div(
            [*parts, _declared(limits), html.P(html.A("Show data", href="#lot-table"), className="cf-next")]
        )
        if parts
        else states.empty(
            "No lot of these sites has a result on these days.", "Choose other sites, or empty the days."
        )
    )
    return panel(
        "lots",
        "The lots behind it",
        "A point is a lot, a box the middle half with its median, a dotted bar the tolerance range. Shaded: the "
        "reference's quality range. Hollow lots are left out of the means. A dashed line is the site's own "
        "specification limit, which is no margin. Unlike methods stand apart. A click opens a lot.",
        body,
        csv=visit.csv("comparability", "lots", attr=entry.attribute, **_days(visit)),
        computed="One lot is one batch, failed ones included: the mean, on the attribute's scale, of all results of "
        f"its first sample at {entry.sample_point.replace('_', ' ')}. The days choose what is shown, never what the "
        "verdict or a range rests on. Tables mart.comparability_lots and mart.comparability_range, "
        f"snapshot {visit.snapshot.number}.",
    )


def _declared(limits: Sequence[Limit]) -> Component | None:
    """Who declared the limits that are drawn, and since when they hold."""
    told = dict.fromkeys(
        f"{x.spec_id} version {x.spec_version}, approved by the {x.approved_by_role or 'unnamed role'}, in force from "
        f"{printed(x.effective_from)} UTC"
        for x in limits
    )
    return (
        html.Details([html.Summary("Who declared the limits"), html.P(f"{'; '.join(told)}.")])
        if told
        else None
    )


def _days(visit: Visit) -> dict[str, str | None]:
    return {name: visit.get(name) or None for name in ("from", "to")}


def _table(visit: Visit, entry: PlanEntry, lots: Sequence[Lot]) -> Component:
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
        csv=visit.csv("comparability", "lots", attr=entry.attribute, **_days(visit)),
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
    try:
        return lots_table(visit, in_window(provider.lots(visit.scope, attribute), visit))
    except NoDayError as error:
        raise NotHere(str(error)) from error


def _verdicts_csv(visit: Visit) -> Table:
    provider = FleetProvider(visit.snapshot)
    attribute = _chosen(provider.plan(visit.scope), visit.get("attr"))
    return verdict_table(provider.verdicts(visit.scope, attribute), visit)


def callbacks(app: Dash, desk: Desk) -> None:
    """The controls redraw what is below them."""

    @app.callback(
        Output("comparability-content", "children"),
        *(Input(control, "value") for control in CONTROLS.values()),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded
    def redraw(*given: Any) -> Any:
        *values, sites = given
        return content(desk.visit(query_of(NAMES, values, sites)))


PAGE = Page(
    name="comparability",
    path="/comparability",
    title="Comparability",
    layout=layout,
    callbacks=callbacks,
    tables={"lots": _lots_csv, "verdicts": _verdicts_csv, **beside.TABLES},
    key="c",
)
