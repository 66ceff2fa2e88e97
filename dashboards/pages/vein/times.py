"""Where the time goes: medians of the intervals by site, one interval order by order, local against central."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid, html_table, number
from dashboards.components.words import plain
from dashboards.facts.journeys import Contrast, Journey
from dashboards.figures.hours import medians, strips
from dashboards.pages.vein.about import STEPS, WHOLE, hours_of, names_of, sites_of
from dashboards.providers.journeys import JourneyProvider
from dashboards.shell.visit import Visit, batch_href, source_href


def contrast(visit: Visit) -> list[Component]:
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
                html_table(contrast_table(rows, short=True), "Local sites against contract manufacturers"),
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


def contrast_table(rows: Sequence[Contrast], *, short: bool = False) -> Table:
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


def medians_panel(visit: Visit, journeys: Sequence[Journey]) -> Component:
    names = names_of(visit)
    sites = [(s, names.get(s, s)) for s in sites_of(visit, journeys)]
    parts = [
        (
            step,
            title,
            {
                s: (statistics.median(hours) / 24, len(hours))
                for s, _ in sites
                if (hours := hours_of(journeys, s, step))
            },
        )
        for step, title in STEPS.items()
    ]
    said = "; ".join(
        f"{names.get(s, s)}, {title}: {days:.1f} d"
        for _, title, by_site in parts
        for s, (days, _) in by_site.items()
    )
    return panel(
        "medians",
        "Where the time goes",
        "Median days of each interval, end to end. Medians do not add up to the median of the whole, "
        "which the table has. A click on an interval shows its orders.",
        html.Div(
            [
                graph("medians", medians(sites, parts), f"Median intervals by site. {said}."),
                html_table(median_table(visit, journeys, short=True), "Median intervals by site"),
            ]
        ),
        csv=visit.csv("vein", "medians"),
        computed="Medians over orders whose interval has ended, failed attempts and withdrawn orders "
        "included as far as "
        "they went. The batch is the one infused, else the last attempt. "
        f"Table mart.vein_to_vein, snapshot {visit.snapshot.number}.",
    )  # fmt: skip


def median_table(visit: Visit, journeys: Sequence[Journey], *, short: bool = False) -> Table:
    sites = sites_of(visit, journeys)
    rows = []
    for step, title in {**STEPS, **WHOLE}.items():
        row: dict[str, Any] = {"interval": title}
        for s in sites:
            hours = hours_of(journeys, s, step)
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


def orders(visit: Visit, journeys: Sequence[Journey], step: str) -> Component:
    names = names_of(visit)
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
        for s in sites_of(visit, journeys)
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
                    grid(orders_table(visit, journeys), "Orders", name="orders"),
                ]
            ),
        ]
    )


def orders_table(visit: Visit, journeys: Sequence[Journey]) -> Table:
    names = names_of(visit)
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
