"""Vein to vein: where the time goes from order to infusion, site by site, and which open orders are at risk.

Belongs here: layout and its callback. Does not belong here: milestones (`mart.vein_to_vein`), deadlines (`fleet.yaml`).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid, html_table, number
from dashboards.components.words import age, plain, plural
from dashboards.facts.journeys import Contrast, Journey
from dashboards.figures.hours import medians, strips
from dashboards.providers.journeys import JourneyProvider
from dashboards.shell.guard import guarded
from dashboards.shell.visit import Desk, Page, Visit, batch_href, source_href

SITES = {"type": "control", "page": "all", "name": "sites"}
STEP = {"type": "control", "page": "vein", "name": "step"}
STEPS = {
    "order_to_collection_h": "order to collection",
    "collection_to_receipt_h": "collection to receipt",
    "receipt_to_start_h": "receipt to start",
    "start_to_harvest_h": "start to harvest",
    "harvest_to_release_h": "harvest to release",
    "release_to_infusion_h": "release to infusion",
}
WHOLE = {"vein_to_vein_h": "vein to vein", "order_to_infusion_h": "order to infusion"}
# Where an open order stands, the milestone that it reached last, and the interval that it is in.
WAITS = {
    "awaiting_collection": ("ordered_at", "order_to_collection_h"),
    "awaiting_start": ("received_at", "receipt_to_start_h"),
    "in_process": ("started_at", "start_to_harvest_h"),
    "awaiting_release": ("harvested_at", "harvest_to_release_h"),
    "awaiting_infusion": ("released_at", "release_to_infusion_h"),
}
LEAST = 5


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    journeys = JourneyProvider(visit.snapshot).all(visit.scope)
    head = html.H1("Where does the time go, and which orders are at risk?")
    if not journeys:
        return html.Div([head, states.empty("These sites have no order yet.", "Choose other sites above.")])
    step = _step(visit.get("step"))
    open_orders = at_risk(journeys)
    return html.Div(
        [
            head,
            html.P(_answer(visit, journeys, open_orders), className="cf-lede"),
            html.Div([_risk(visit, open_orders)], className="cf-panels"),
            *_contrast(visit),
            html.Div(
                [
                    _medians_panel(visit, journeys),
                    panel(
                        "orders",
                        "One interval, order by order",
                        "A point is an order, a box the middle half with its median. A click opens its "
                        "batch.",
                        html.Div(_orders(visit, journeys, step), id="vein-orders"),
                        tools=dmc.Select(
                            id=STEP,
                            data=[{"value": k, "label": w} for k, w in {**WHOLE, **STEPS}.items()],
                            value=step,
                            allowDeselect=False,
                            size="sm",
                            w=210,
                            **aria(label="Interval"),
                        ),
                        csv=visit.csv("vein", "orders"),
                        computed="Hours between milestones as the site recorded them; negative where a "
                        "clock was wrong, "
                        "with a finding. Only intervals that have ended. "
                        f"Table mart.vein_to_vein, snapshot {visit.snapshot.number}.",
                    ),
                ],
                className="cf-panels",
            ),
        ]
    )


def _step(asked: str) -> str:
    return asked if asked in STEPS or asked in WHOLE else "vein_to_vein_h"


def _names(visit: Visit) -> dict[str, str]:
    return {s.id: s.name for s in visit.snapshot.sites}


def _sites(visit: Visit, journeys: Sequence[Journey]) -> list[str]:
    """Sites with orders, the reference first, as on every page."""
    known = {j.site for j in journeys}
    return [s for s in visit.scope.sites if s in known]


def _hours(journeys: Sequence[Journey], site: str | None, step: str) -> list[float]:
    return [h for j in journeys if (site is None or j.site == site) and (h := getattr(j, step)) is not None]


def _answer(visit: Visit, journeys: Sequence[Journey], open_orders: Sequence[dict[str, Any]]) -> str:
    names = _names(visit)
    told = []
    for site in _sites(visit, journeys):
        hours = _hours(journeys, site, "vein_to_vein_h")
        if hours:
            told.append(
                f"{names.get(site, site)} {number(statistics.median(hours) / 24, 3)} d (n {len(hours)})"
            )
    late = sum(bool(r["late"]) for r in open_orders)
    slow = sum(r["slow"] for r in open_orders)
    doubt = sum(_in_doubt(r) for r in open_orders)
    waiting = (
        f"{plural(len(open_orders), 'open order')}: {late} past a deadline, {doubt} at risk of missing the window, "
        f"{slow} slower than nine of ten"
    )
    return f"Vein to vein, median: {', '.join(told) or 'nobody infused yet'}. {waiting}."


def _in_doubt(row: dict[str, Any]) -> bool:
    return row["risk"] in ("at_risk", "likely_to_miss", "missed")


def at_risk(journeys: Sequence[Journey]) -> list[dict[str, Any]]:
    """Open orders: late ones, those at risk, then by how far beyond their site's ninth decile they waited."""
    rows = []
    for j in journeys:
        if j.status not in WAITS or j.observed_until is None:
            continue
        milestone, step = WAITS[j.status]
        since: datetime | None = getattr(j, milestone) or j.collected_at or j.ordered_at
        waited = (j.observed_until - since).total_seconds() / 3600 if since else None
        past = _hours(journeys, j.site, step)
        usual = statistics.median(past) if len(past) >= LEAST else None
        ninth = statistics.quantiles(past, n=10)[8] if len(past) >= 2 * LEAST else None
        rows.append(
            {
                "site": j.site,
                "order_id": j.order_id,
                "batch_id": j.batch_id,
                "status": plain(j.status),
                "since": since,
                "waited_h": waited,
                "usual_h": usual,
                "ninth_h": ninth,
                "n": len(past),
                "slow": waited is not None and ninth is not None and waited > ninth,
                "late": j.late,
                "due_at": j.due_at,
                "risk": j.risk,
                "in_time": j.in_time,
                "in_time_low": j.in_time_low,
                "in_time_high": j.in_time_high,
                "expected_at": j.expected_at,
                "basis": j.basis,
                "alike": j.alike,
                "total_h": (j.observed_until - j.ordered_at).total_seconds() / 3600 if j.ordered_at else None,
                "record_id": j.record_id,
                "source_file": j.source_file,
                "source_row": j.source_row,
            }
        )
    return sorted(
        rows,
        key=lambda r: (
            not r["late"],
            not _in_doubt(r),
            not r["slow"],
            -((r["waited_h"] or 0) / (r["ninth_h"] or 1e9)),
        ),
    )


def _state(r: dict[str, Any]) -> Component:
    symbol, word, kind = (
        ("✕", f"late: {plain(r['late'])}", "bad")
        if r["late"]
        else ("◆", "slow", "unsure")
        if r["slow"]
        else ("●", "as usual", "ok")
        if r["ninth_h"] is not None
        else ("◔", "too few to tell", "muted")
    )
    return html.Span([f"{symbol} ", word], className=f"cf-verdict cf-nowrap cf-{kind}")


RISKS = {
    "on_track": ("●", "ok"),
    "at_risk": ("◆", "unsure"),
    "likely_to_miss": ("✕", "bad"),
    "missed": ("✕", "bad"),
}


def _chance(r: dict[str, Any]) -> Component | str:
    """Chance to be infused in time: symbol, figure, interval."""
    if r["in_time"] is None:
        return plain(r["risk"])
    symbol, kind = RISKS.get(r["risk"], ("◔", "muted"))
    interval = f" {r['in_time_low']:.0%} to {r['in_time_high']:.0%}" if r["in_time_low"] is not None else ""
    return html.Span(
        [f"{symbol} ", f"{r['in_time']:.0%}", html.Small(interval, className="cf-muted")],
        className=f"cf-verdict cf-nowrap cf-{kind}",
    )


def _contrast(visit: Visit) -> list[Component]:
    """Local against central; nothing for a reader of some sites only."""
    rows = JourneyProvider(visit.snapshot).contrasts(visit.scope)
    if not rows:
        return []
    return [
        html.Div(
            panel(
                "contrast",
                "Made where the patient is, against made elsewhere",
                "Patients are randomised to neither: a difference may be theirs.",
                html_table(_contrast_table(rows, short=True), "Local sites against contract manufacturers"),
                csv=visit.csv("vein", "contrast"),
                computed="All sites of the fleet, whichever are looked at. Local: sites that make for themselves; "
                "central: contract manufacturers. 95 % intervals, by the method named: Newcombe for shares, Welch's t "
                "for means (of logarithms for ratios), Aalen-Johansen for infused by a day. "
                f"Table mart.vein_contrast, snapshot {visit.snapshot.number}.",
                wide=True,
            ),
            className="cf-panels",
        )
    ]


def _contrast_table(rows: Sequence[Contrast], *, short: bool = False) -> Table:
    told = [vars(r) for r in rows]
    if not short:
        keys = (
            "measure",
            "kind",
            "local",
            "central",
            "estimate",
            "low",
            "high",
            "n_local",
            "n_central",
            "method",
        )
        return Table("local-against-central", tuple(Column(k, plain(k), 4) for k in keys), told)
    return Table(
        "local-against-central",
        (
            Column("measure", "Measure", cell=lambda r: plain(r["measure"])),
            Column("local", "Local"),
            Column("central", "Central"),
            Column("estimate", "Estimate"),
            Column("interval", "95 % interval", cell=_interval),
            Column("kind", "As"),
            Column("n_local", "n local"),
            Column("n_central", "n central"),
            Column("method", "Method"),
        ),
        told,
    )


def _interval(r: dict[str, Any]) -> str:
    return f"{number(r['low'], 3)} to {number(r['high'], 3)}" if r["low"] is not None else "none"


def _risk(visit: Visit, open_orders: Sequence[dict[str, Any]]) -> Component:
    table = risk_table(visit, open_orders, short=True)
    return panel(
        "risk",
        "Open orders",
        f"{plural(len(open_orders), 'order')}, those past a deadline first, then those at risk of missing the "
        "window, then the slowest."
        if open_orders
        else None,
        html.Div(html_table(table, "Open orders"), className="cf-long")
        if open_orders
        else states.empty("No order is open at these sites."),
        csv=visit.csv("vein", "open"),
        computed="Waited: since the last milestone, to the newest event that the site has told of, not "
        "to now. Usual and "
        f"nine of ten: median and ninth decile of the site's own ended intervals of that kind, {LEAST} "
        f"and {2 * LEAST} at "
        "least. Late: past a deadline of the fleet's file. In the window: chance to be infused by the end of the "
        "fleet's window from order to infusion, with its 95 % interval, and half of those alike by Expected: "
        "Aalen-Johansen over the past orders that stood there as long, of the site or, where they are fewer than ten, "
        "of the fleet; patients lost meanwhile are counted. "
        f"Tables mart.vein_to_vein, mart.batch_status and mart.order_forecast, snapshot {visit.snapshot.number}.",
        wide=True,
    )  # fmt: skip


def risk_table(visit: Visit, rows: Sequence[dict[str, Any]], *, short: bool = False) -> Table:
    """Open orders; `short` as people read them, else every figure for the CSV."""
    names = _names(visit)
    told = [{**r, "name": names.get(r["site"], r["site"])} for r in rows]
    if not short:
        keys = (
            "site", "order_id", "batch_id", "status", "since", "waited_h", "usual_h", "ninth_h", "n", "slow", "late",
            "total_h", "due_at", "risk", "in_time", "in_time_low", "in_time_high", "expected_at", "basis", "alike",
            "source_file", "source_row", "record_id",
        )  # fmt: skip
        return Table("open-orders", tuple(Column(k, plain(k)) for k in keys), told)
    return Table(
        "open-orders",
        (
            Column("state", "State", cell=_state),
            Column("order_id", "Order", link=lambda r: source_href(visit, r["record_id"])),
            Column("name", "Site"),
            Column("status", "Stands at"),
            Column("waited_h", "Waited", cell=lambda r: age(r["waited_h"])),
            Column("usual_h", "Usual", cell=lambda r: age(r["usual_h"])),
            Column("ninth_h", "Nine of ten", cell=lambda r: age(r["ninth_h"])),
            Column("in_time", "In the window", cell=_chance),
            Column("expected_at", "Expected, UTC"),
            Column("total_h", "Since order", cell=lambda r: age(r["total_h"])),
            Column(
                "batch_id",
                "Batch",
                cell=lambda r: (
                    html.A(r["batch_id"], href=batch_href(visit, r["site"], r["batch_id"]))
                    if r["batch_id"]
                    else "none yet"
                ),
            ),
        ),
        told,
    )


def _medians_panel(visit: Visit, journeys: Sequence[Journey]) -> Component:
    names = _names(visit)
    sites = [(s, names.get(s, s)) for s in _sites(visit, journeys)]
    parts = [
        (
            title,
            {
                s: (statistics.median(hours) / 24, len(hours))
                for s, _ in sites
                if (hours := _hours(journeys, s, step))
            },
        )
        for step, title in STEPS.items()
    ]
    said = "; ".join(
        f"{names.get(s, s)}, {title}: {days:.1f} d"
        for title, by_site in parts
        for s, (days, _) in by_site.items()
    )
    return panel(
        "medians",
        "Where the time goes",
        "Median days of each interval, end to end. Medians do not add up to the median of the whole, "
        "which the table has.",
        html.Div(
            [
                graph("medians", medians(sites, parts), f"Median intervals by site. {said}."),
                html_table(_median_table(visit, journeys, short=True), "Median intervals by site"),
            ]
        ),
        csv=visit.csv("vein", "medians"),
        computed="Medians over orders whose interval has ended, failed attempts and withdrawn orders "
        "included as far as "
        "they went. The batch is the one infused, else the last attempt. "
        f"Table mart.vein_to_vein, snapshot {visit.snapshot.number}.",
    )  # fmt: skip


def _median_table(visit: Visit, journeys: Sequence[Journey], *, short: bool = False) -> Table:
    sites = _sites(visit, journeys)
    rows = []
    for step, title in {**STEPS, **WHOLE}.items():
        row: dict[str, Any] = {"interval": title}
        for s in sites:
            hours = _hours(journeys, s, step)
            row[s] = statistics.median(hours) / 24 if hours else None
            row[f"{s}_n"] = len(hours)
        rows.append(row)
    columns = [Column("interval", "Interval, days")]
    for s in sites:
        if short:
            columns.append(Column(s, s, cell=partial(_median_cell, site=s)))
        else:
            columns += [Column(s, f"{s}, median"), Column(f"{s}_n", f"{s}, n")]
    return Table("medians", tuple(columns), rows)


def _median_cell(row: dict[str, Any], site: str) -> Any:
    if row[site] is None:
        return html.Span("none", className="cf-muted")
    return [number(row[site], 3), html.Small(f"  n {row[f'{site}_n']}", className="cf-muted")]


def _orders(visit: Visit, journeys: Sequence[Journey], step: str) -> Component:
    names = _names(visit)
    title = {**STEPS, **WHOLE}[step]
    rows = [
        (
            s,
            names.get(s, s),
            [
                (h, j.order_id, j.batch_id)
                for j in journeys
                if j.site == s and (h := getattr(j, step)) is not None
            ],
        )
        for s in _sites(visit, journeys)
    ]
    if not any(orders for _, _, orders in rows):
        return states.empty(f"No order has ended the interval {title} yet.", "Choose another interval.")
    counts = "; ".join(f"{name}: {len(orders)}" for _, name, orders in rows)
    return html.Div(
        [
            graph(
                "orders",
                strips(rows, f"{title.capitalize()}, hours", tuple(s.id for s in visit.snapshot.sites)),
                f"{title.capitalize()} by site, orders. {counts}.",
            ),
            html.Details(
                [
                    html.Summary(f"All {len(journeys)} orders in a table"),
                    grid(_orders_table(visit, journeys), "Orders", name="orders"),
                ]
            ),
        ]
    )


def _orders_table(visit: Visit, journeys: Sequence[Journey]) -> Table:
    names = _names(visit)
    rows = [
        {
            **vars(j),
            "name": names.get(j.site, j.site),
            "status": plain(j.status),
            "batch_id": j.batch_id or "",
            "source": f"{j.source_file}, row {j.source_row}",
        }
        for j in journeys
    ]
    return Table(
        "orders",
        (
            Column("order_id", "Order"),
            Column("name", "Site"),
            Column("status", "Stands at"),
            Column(
                "batch_id",
                "Batch",
                link=lambda r: batch_href(visit, r["site"], r["batch_id"]) if r["batch_id"] else "",
            ),
            Column("attempts", "Attempts"),
            *(Column(k, f"{w.capitalize()}, h") for k, w in {**STEPS, **WHOLE}.items()),
            Column("ordered_at", "Ordered, UTC"),
            Column("infused_at", "Infused, UTC"),
            Column("source", "From", link=lambda r: source_href(visit, r["record_id"])),
        ),
        rows,
    )


def callbacks(app: Dash, desk: Desk) -> None:
    """Another interval redraws its orders."""

    @app.callback(
        Output("vein-orders", "children"),
        Input(STEP, "value"),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded
    def redraw(step: str | None, sites: list[str] | None) -> Any:
        visit = desk.visit(f"sites={','.join(sites or [])}")
        return _orders(visit, JourneyProvider(visit.snapshot).all(visit.scope), _step(step or ""))


def _all(visit: Visit) -> list[Journey]:
    return JourneyProvider(visit.snapshot).all(visit.scope)


PAGE = Page(
    name="vein",
    path="/vein-to-vein",
    title="Vein to vein",
    layout=layout,
    callbacks=callbacks,
    tables={
        "orders": lambda visit: _orders_table(visit, _all(visit)),
        "medians": lambda visit: _median_table(visit, _all(visit)),
        "contrast": lambda v: _contrast_table(JourneyProvider(v.snapshot).contrasts(v.scope)),
        "open": lambda visit: risk_table(visit, at_risk(_all(visit))),
    },
    key="v",
)
