"""Open orders: which are late, slow or at risk of missing their window, and how old each is against when it is due.

Does not belong here: the forecast (`mart.order_forecast`), drawing (`figures/open_orders.py`).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table
from dashboards.components.words import age, plain, plural
from dashboards.facts.journeys import Journey
from dashboards.figures.open_orders import Aged, open_orders
from dashboards.pages.vein.about import LEAST, STEPS, hours_of, names_of
from dashboards.shell.visit import Visit, batch_href, source_href

# Where an open order stands, the milestone that it reached last, and the interval that it is in.
WAITS = {
    "awaiting_collection": ("ordered_at", "order_to_collection_h"),
    "awaiting_start": ("received_at", "receipt_to_start_h"),
    "in_process": ("started_at", "start_to_harvest_h"),
    "awaiting_release": ("harvested_at", "harvest_to_release_h"),
    "awaiting_infusion": ("released_at", "release_to_infusion_h"),
}
# The batches that stand where an order does, as the Batches page calls them.
BATCHES = {"in_process": "in_process", "awaiting_release": "waiting", "awaiting_infusion": "released"}
MILESTONES = ("ordered_at", "collected_at", "received_at", "started_at", "harvested_at", "released_at")
DRAWN = 40


def in_doubt(row: dict[str, Any]) -> bool:
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
        past = hours_of(journeys, j.site, step)
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
                "journey": j,
                "record_id": j.record_id,
                "source_file": j.source_file,
                "source_row": j.source_row,
            }
        )
    return sorted(
        rows,
        key=lambda r: (
            not r["late"],
            not in_doubt(r),
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


def risk_panel(visit: Visit, found: Sequence[dict[str, Any]]) -> Component:
    table = risk_table(visit, found, short=True)
    return panel(
        "risk",
        "Open orders",
        f"{plural(len(found), 'order')}, those past a deadline first, then those at risk of missing the "
        "window, then the slowest."
        if found
        else None,
        html.Div(
            [
                _drawn(found),
                html.Details(
                    [html.Summary("Show data"), html_table(table, "Open orders", long=True)],
                    open=True,
                ),
            ]
        )
        if found
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


def _drawn(found: Sequence[dict[str, Any]]) -> Component:
    """How old each order is against when it is due, those of the table's top."""
    rows = [_aged(r) for r in found[:DRAWN]]
    said = "; ".join(f"{r.title}: {r.told}" for r in rows[:20])
    more = f" The first {DRAWN} of {len(found)} are drawn." if len(found) > DRAWN else ""
    return html.Div(
        [
            graph("open-orders", open_orders(rows), f"Open orders by age. {said}."),
            html.P(
                "A row is an order, its bars the intervals gone through and the one it waits in. The mark at the end "
                "says how it stands: ✕ late, ◆ slow, ● as usual, ○ too few to tell. The thick tick is the end of its "
                f"window.{more}",
                className="cf-told",
            ),
        ]
    )


def _aged(row: dict[str, Any]) -> Aged:
    j: Journey = row["journey"]
    zero = j.ordered_at or j.collected_at or j.observed_until
    assert zero is not None  # an order that nothing is observed of is not among the open ones

    def days(moment: datetime) -> float:
        return (moment - zero).total_seconds() / 86400

    seen = [(n, m) for n, key in enumerate(MILESTONES) if (m := getattr(j, key)) is not None]
    ends = [m for _, m in seen[1:]] + [j.observed_until]
    told = list(STEPS.values())
    parts = tuple(
        (n, told[n], days(start), days(end))
        for (n, start), end in zip(seen, ends, strict=True)
        if end is not None and end > start
    )
    stands = (
        "late"
        if row["late"]
        else "slow"
        if row["slow"]
        else "usual"
        if row["ninth_h"] is not None
        else "unknown"
    )
    late = f", late: {plain(row['late'])}" if row["late"] else ""
    return Aged(
        title=j.order_id,
        parts=parts,
        due=days(j.due_at) if j.due_at else None,
        stands=stands,
        told=f"{j.site}, {row['status']} for {age(row['waited_h'])}{late}",
        batch=("batch", j.site, j.batch_id) if j.batch_id else (),
    )


def _stands(visit: Visit, row: dict[str, Any]) -> Any:
    """Where an order stands, with the way to the site's batches that stand there too."""
    state = BATCHES.get(row["journey"].status)
    if state is None:
        return row["status"]
    return html.Span(html.A(row["status"], href=visit.href("/batch", sites=row["site"], state=state)))


def risk_table(visit: Visit, rows: Sequence[dict[str, Any]], *, short: bool = False) -> Table:
    """Open orders; `short` as people read them, else every figure for the CSV."""
    names = names_of(visit)
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
            Column("status", "Stands at", cell=lambda r: _stands(visit, r)),
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
