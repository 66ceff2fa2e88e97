"""A lot or a collection: what is told of it, and every batch that it went into.

Belongs here: "where used", from a lot's side. Does not belong here: what a batch was made of (`batch/materials.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, printed
from dashboards.components.words import attribute_words, plain, plural, state
from dashboards.facts.lots import MaterialLot, Use
from dashboards.providers.lots import LotProvider
from dashboards.shell.visit import NotHere, Page, Visit, batch_href, source_href


def layout(visit: Visit) -> Component:
    """The whole page of one lot. Raises NotHere for one that the reader may not see."""
    provider, lot = _lot(visit)
    uses = provider.uses(visit.scope.whole(), lot)
    return html.Div(
        [
            html.P(
                [html.A("Batches", href=visit.href("/batch")), f" / {_site(visit, lot)} / {lot.lot_id}"],
                className="cf-crumbs",
            ),
            html.H1(f"Where did {plain(lot.material) or 'lot'} {lot.lot_id} go?"),
            html.P(_answer(lot, uses), className="cf-lede"),
            html.Div([_about(visit, lot), _used(visit, lot, uses)], className="cf-panels"),
        ]
    )


def _lot(visit: Visit) -> tuple[LotProvider, MaterialLot]:
    provider = LotProvider(visit.snapshot)
    site, lot_id = (visit.args.get(k) or visit.get(k) for k in ("site", "lot_id"))
    lot = provider.find(visit.scope.whole(), site or "", lot_id or "")
    if lot is None:
        raise NotHere(f"{site}/{lot_id}")
    return provider, lot


def _site(visit: Visit, lot: MaterialLot) -> str:
    return next((s.name for s in visit.snapshot.sites if s.id == lot.site), lot.site)


def _answer(lot: MaterialLot, uses: Sequence[Use]) -> str:
    batches = {u.batch_id: u for u in uses}
    if not batches:
        return "No batch that you may see was made of it."
    outside = sum(bool(u.failed_attributes) for u in batches.values())
    infused = sum(u.infused_at is not None for u in batches.values())
    late = sum(bool(u.after_expiry) for u in batches.values())
    told = (
        f"Into {plural(len(batches), 'batch', 'batches')}: {infused} infused, {outside} with a result out of "
    )
    told += "specification"
    unknown = "" if lot.told else " Its site's records of lots do not know it."
    return f"{told}{f', {late} begun after it expired' if late else ''}.{unknown}"


def _about(visit: Visit, lot: MaterialLot) -> Component:
    facts: list[tuple[str, Any]] = [
        ("Site", _site(visit, lot)),
        ("Material", plain(lot.material)),
        ("Supplier", lot.supplier),
        ("GTIN", lot.gtin),
        ("Status", plain(lot.lot_status)),
        ("Received", printed(lot.received_on)),
        ("Expires", printed(lot.expires_on)),
        ("Collected", f"{printed(lot.collected_at)} UTC" if lot.collected_at else None),
        ("Order", lot.order_id),
        (
            "From",
            html.A(
                f"{lot.source_file}, row {lot.source_row}",
                href=source_href(visit, lot.record_id),
                className="cf-from",
            )
            if lot.record_id
            else None,
        ),
    ]
    rows = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts if value]
    return panel(
        "about",
        "What is told of it",
        None if lot.told else "Only the records of its uses name it.",
        html.Dl(rows, className="cf-facts-list"),
        csv=None,
        computed="As its site's records have it. Tables core.reagent_lot and core.collection, "
        f"snapshot {visit.snapshot.number}.",
    )


def _used(visit: Visit, lot: MaterialLot, uses: Sequence[Use]) -> Component:
    return panel(
        "used",
        "Where it was used",
        None,
        html_table(uses_table(visit, lot, uses), "Uses of the lot", long=True)
        if uses
        else states.empty("No batch that you may see was made of it."),
        csv=visit.csv("lot", "uses"),
        computed="Every use that a batch record tells of; a collection went into the batches of its order that began "
        f"after it. Times are UTC. Tables mart.genealogy and core.lot_use, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def uses_table(visit: Visit, lot: MaterialLot, uses: Sequence[Use]) -> Table:
    """Uses, each with the way to its batch and its row."""
    return Table(
        "uses",
        (
            Column("batch_id", "Batch", link=lambda r: batch_href(visit, lot.site, r["batch_id"])),
            Column("state", "Stands", cell=lambda r: state(r["state"]) if r["state"] else ""),
            Column("failed_attributes", "Out of specification", cell=_outside),
            Column("batch_started_at", "Started, UTC"),
            Column("phase", "Phase", cell=lambda r: plain(r["phase"])),
            Column("quantity", "Quantity"),
            Column("after_expiry", "After expiry", cell=_expired),
            Column(
                "source_file",
                "From",
                cell=lambda r: html.A(
                    f"{r['source_file']}, row {r['source_row']}", href=source_href(visit, r["record_id"])
                ),
            ),
        ),
        [vars(u) for u in uses],
    )


def _outside(row: dict[str, Any]) -> str:
    return ", ".join(attribute_words(a) for a in (row["failed_attributes"] or "").split(", ") if a)


def _expired(row: dict[str, Any]) -> Any:
    return html.Span("✕ yes", className="cf-bad cf-strong") if row["after_expiry"] else ""


def _table(visit: Visit) -> Table:
    provider, lot = _lot(visit)
    return uses_table(visit, lot, provider.uses(visit.scope.whole(), lot))


PAGE = Page(
    name="lot",
    path="/lot/<site>/<lot_id>",
    title="Lot",
    layout=layout,
    tables={"uses": _table},
    in_navigation=False,
)
