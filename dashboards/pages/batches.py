"""Batches: the list from which each batch is reached, those that need somebody first.

Belongs here: the list. Does not belong here: one batch (`batch.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid
from dashboards.components.words import plain, plural
from dashboards.facts.batch import Batch
from dashboards.providers.batch import BatchProvider
from dashboards.shell.visit import Page, Visit, batch_href, source_href


def layout(visit: Visit) -> Component:
    """All batches of the sites looked at."""
    batches = BatchProvider(visit.snapshot).all(visit.scope)
    open_now = sum(b.state not in ("infused", "rejected", "terminated", "released") for b in batches)
    held = sum(b.state == "blocked" or b.late or b.slow for b in batches)
    told = (
        f"{plural(len(batches), 'batch', 'batches')}, {open_now} not decided yet; "
        f"{held} blocked, late or slow."
    )
    body = (
        grid(batch_table(visit, batches), "Batches", name="batches")
        if batches
        else states.empty("These sites have no batch yet.", "Choose other sites above.")
    )
    return html.Div(
        [
            html.H1("Where does each batch stand?"),
            html.P(told, className="cf-lede"),
            html.Div(
                panel(
                    "batches",
                    "Batches, the newest first",
                    "Filter or sort by any column; a batch's number opens it.",
                    body,
                    csv=visit.csv("batches", "batches"),
                    computed="One row a batch, failed ones included. Ages run to the newest event that "
                    "the site has told of, "
                    f"not to now. Times are UTC. Table mart.batch_status, snapshot {visit.snapshot.number}.",
                    wide=True,
                ),
                className="cf-panels",
            ),
        ]
    )


def batch_table(visit: Visit, batches: Sequence[Batch]) -> Table:
    """Batches with links."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    rows = [
        {
            **vars(b),
            "name": names.get(b.site, b.site),
            "state": plain(b.state),
            "held": ", ".join(
                w for w, yes in (("late", b.late), ("slow", b.slow)) if yes
            ),
            "source": f"{b.source_file}, row {b.source_row}",
        }
        for b in batches
    ]  # fmt: skip
    columns = (
        Column("batch_id", "Batch", link=lambda r: batch_href(visit, r["site"], r["batch_id"])),
        Column("name", "Site"),
        Column("state", "State", width=180),
        Column("state_age_h", "In this state, h", width=170),
        Column("held", "Late or slow"),
        Column("failed_attributes", "Outside limits"),
        Column("open_deviations", "Open deviations", width=180),
        Column("attempt_no", "Attempt", width=110),
        Column("order_id", "Order"),
        Column("batch_started_at", "Started, UTC"),
        Column("harvested_at", "Harvested, UTC"),
        Column("signed_at", "Decided, UTC"),
        Column("infused_at", "Infused, UTC"),
        Column("source", "From", link=lambda r: source_href(visit, r["record_id"])),
    )
    return Table("batches", columns, rows)


PAGE = Page(
    name="batches",
    path="/batch",
    title="Batches",
    layout=layout,
    tables={"batches": lambda visit: batch_table(visit, BatchProvider(visit.snapshot).all(visit.scope))},
    key="b",
)
