"""Batches: the list from which each batch is reached, all of them or those that stand at one point.

Belongs here: the list. Does not belong here: one batch (`batch/`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid
from dashboards.components.words import attribute_words, plain, plural
from dashboards.facts.batch import Batch
from dashboards.providers.batch import BatchProvider
from dashboards.shell.guard import guarded
from dashboards.shell.visit import Desk, Page, Visit, batch_href, query_of, source_href

SITES = {"type": "control", "page": "all", "name": "sites"}
STATE = {"type": "control", "page": "batches", "name": "state"}
# What may be asked for: its words, and which batches it is.
CHOICES: dict[str, tuple[str, Callable[[Batch], bool]]] = {
    "": ("Every batch", lambda b: True),
    "open": ("Not decided yet", lambda b: b.state not in ("infused", "rejected", "terminated", "released")),
    "in_process": ("In process", lambda b: b.state == "in_process"),
    "waiting": (
        "Waiting for results or a decision",
        lambda b: b.state in ("awaiting_results", "ready_for_decision"),
    ),
    "blocked": ("Blocked", lambda b: b.state == "blocked"),
    "slow": ("Late or slow", lambda b: b.late or b.slow),
    "released": ("Released or infused", lambda b: b.state in ("released", "infused")),
    "failed": ("Rejected or terminated", lambda b: b.state in ("rejected", "terminated")),
    "outside": ("With a result out of specification", lambda b: bool(b.failed_attributes)),
}


def layout(visit: Visit) -> Component:
    """Batches of the sites looked at, all or those that stand at one point."""
    batches = BatchProvider(visit.snapshot).all(visit.scope)
    open_now = sum(b.state not in ("infused", "rejected", "terminated", "released") for b in batches)
    held = sum(b.state == "blocked" or b.late or b.slow for b in batches)
    told = (
        f"{plural(len(batches), 'batch', 'batches')}, {open_now} not decided yet; "
        f"{held} blocked, late or slow."
    )
    control = dmc.Select(
        id=STATE,
        data=[{"value": value, "label": words} for value, (words, _) in CHOICES.items()],
        value=_choice(visit.get("state")),
        allowDeselect=False,
        size="sm",
        w=230,
        **aria(label="Which batches"),
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
                    html.Div(content(visit), id="batches-list"),
                    tools=control,
                    csv=None,
                    computed="One row a batch, failed ones included. Ages run to the newest event that "
                    "the site has told of, "
                    f"not to now. Times are UTC. Table mart.batch_status, snapshot {visit.snapshot.number}.",
                    wide=True,
                ),
                className="cf-panels",
            ),
        ]
    )


def _choice(asked: str) -> str:
    return asked if asked in CHOICES else ""


def content(visit: Visit) -> Component:
    """The batches chosen, with their CSV."""
    choice = _choice(visit.get("state"))
    batches = chosen(visit)
    if not batches:
        return states.empty(
            "No batch of these sites stands so." if choice else "These sites have no batch yet.",
            "Choose every batch." if choice else "Choose other sites above.",
        )
    return html.Div(
        [
            html.P(
                [
                    f"{plural(len(batches), 'batch', 'batches')}. ",
                    html.A(
                        "Download CSV",
                        href=visit.csv("batches", "batches", state=choice or None),
                        className="cf-csv",
                        download="",
                    ),
                ],
                className="cf-told",
            ),
            grid(batch_table(visit, batches), "Batches", name="batches"),
        ]
    )


def chosen(visit: Visit) -> list[Batch]:
    """Batches that the address asks for."""
    keep = CHOICES[_choice(visit.get("state"))][1]
    return [b for b in BatchProvider(visit.snapshot).all(visit.scope) if keep(b)]


def batch_table(visit: Visit, batches: Sequence[Batch]) -> Table:
    """Batches with links."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    rows = [
        {
            **vars(b),
            "name": names.get(b.site, b.site),
            "state": plain(b.state),
            "outside": ", ".join(attribute_words(a) for a in (b.failed_attributes or "").split(", ") if a),
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
        Column("outside", "Outside limits"),
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


def callbacks(app: Dash, desk: Desk) -> None:
    """Another choice shows other batches."""

    @app.callback(
        Output("batches-list", "children"),
        Input(STATE, "value"),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded
    def redraw(state: str | None, sites: list[str] | None) -> Any:
        return content(desk.visit(query_of(("state",), (state,), sites)))


PAGE = Page(
    name="batches",
    path="/batch",
    title="Batches",
    layout=layout,
    callbacks=callbacks,
    tables={"batches": lambda visit: batch_table(visit, chosen(visit))},
    key="b",
)
