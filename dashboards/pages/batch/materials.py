"""What a batch was made of, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, printed
from dashboards.components.words import plain
from dashboards.facts.batch import Batch, Material
from dashboards.figures.genealogy import Box, genealogy
from dashboards.pages.batch.about import computed, csv_of, source_column
from dashboards.providers.batch import BatchProvider
from dashboards.shell.visit import Visit, batch_href, lot_href

SHOWN_USES = 4


def genealogy_panel(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    scope = visit.scope.whole()
    materials, attempts = provider.materials(scope, batch), provider.attempts(scope, batch)
    boxes = [
        Box(
            lines=(_material_word(m), m.material_id, *(("unknown lot",) if _unknown(m) else ())),
            column=0,
            broken=_unknown(m),
            customdata=("lot", batch.site, m.material_id),
        )
        for m in materials
    ]
    inputs = tuple(range(len(boxes)))
    for a in attempts:
        this = a.batch_id == batch.batch_id
        collected = tuple(
            place
            for place, m in enumerate(materials)
            if m.kind == "collection_to_batch" and m.material_id == a.collection_id
        )
        boxes.append(
            Box(
                lines=(a.batch_id, plain(a.state)),
                column=1,
                parents=inputs if this else collected,
                chosen=this,
                customdata=() if this else ("batch", a.site, a.batch_id),
            )
        )
    for a in attempts:
        if a.infused_at:
            place = next(i for i, b in enumerate(boxes) if b.column == 1 and b.lines[0] == a.batch_id)
            boxes.append(
                Box(
                    lines=("infusion", a.infusion_id or printed(a.infused_at)[:10]),
                    column=2,
                    parents=(place,),
                )
            )
    said = ", ".join(f"{_material_word(m)} {m.material_id}" for m in materials) or "nothing told"
    return panel(
        "genealogy",
        "What it was made of, and what became of it",
        "A click on a lot shows where else it was used, on a batch opens it.",
        html.Div(
            [
                graph("genealogy", genealogy(boxes), f"Genealogy. {batch.batch_id} was made of {said}."),
                html.Details(
                    [
                        html.Summary("Materials in a table, with the other batches made of them"),
                        html_table(material_table(visit, batch, materials), "Materials"),
                    ]
                )
                if materials
                else None,
            ]
        ),
        csv=csv_of(visit, "materials"),
        computed=computed(
            visit,
            "The collection is the order's last before the batch began. A second attempt is no child of "
            "the first.",
            "mart.genealogy",
        ),
    )


def _unknown(m: Material) -> bool:
    return m.kind == "lot_to_batch" and m.material is None


def _material_word(m: Material) -> str:
    return "collection" if m.kind == "collection_to_batch" else plain(m.material) or "lot"


def material_table(visit: Visit, batch: Batch, materials: Sequence[Material]) -> Table:
    rows = [
        {
            **vars(m),
            "word": _material_word(m),
            "others": len(m.used_by),
            "status": "not among the lots" if _unknown(m) else plain(m.lot_status),
        }
        for m in materials
    ]

    def also(r: dict[str, Any]) -> Any:
        if not r["used_by"]:
            return "none"
        shown: list[Any] = []
        for other in r["used_by"][:SHOWN_USES]:
            shown += [", " if shown else "", html.A(other, href=batch_href(visit, batch.site, other))]
        left = len(r["used_by"]) - SHOWN_USES
        return [*shown, f" and {left} more" if left > 0 else ""]

    return Table(
        "materials",
        (
            Column("word", "Material"),
            Column("material_id", "Number", link=lambda r: lot_href(visit, batch.site, r["material_id"])),
            Column("supplier", "Supplier"),
            Column("status", "Status"),
            Column("expires_on", "Expires"),
            Column("others", "Other batches", cell=also),
            source_column(visit),
        ),
        rows,
    )
