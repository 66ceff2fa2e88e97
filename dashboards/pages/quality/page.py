"""Data quality: is every record accounted for, what waits, what was found, how fresh is each feed; down to the rows.

Belongs here: the order of the panels and the callbacks. Does not belong here: deciding what is wrong
(`pipelines/validation`), the panels themselves (beside this module).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import stacks
from dashboards.components.words import plain, plural
from dashboards.facts.feeds import GRAVE, Feed, Tally
from dashboards.pages.quality.accounting import accounting_panel, feed_table
from dashboards.pages.quality.freshness import (
    freshness_panel,
    freshness_table,
    missing_panel,
    missing_table,
    runs_panel,
    runs_table,
)
from dashboards.pages.quality.rows import KIND, REASON, findings_table, held_table, rows_panel, rows_shown
from dashboards.pages.quality.tallies import found_panel, held_panel, tally_table
from dashboards.pages.quality.upkeep import upkeep_panel
from dashboards.providers.quality import QualityProvider
from dashboards.shell.guard import guarded_panel
from dashboards.shell.visit import Desk, Page, Visit

SITES = {"type": "control", "page": "all", "name": "sites"}


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    provider = QualityProvider(visit.snapshot)
    feeds = provider.feeds(visit.scope)
    if not feeds:
        return html.Div(
            [
                html.H1("Can I trust what I see?"),
                states.empty("These sites have sent nothing yet.", "Choose other sites above."),
            ]
        )
    held, found = provider.held_tally(visit.scope), provider.finding_tally(visit.scope)
    return html.Div(
        [
            html.H1("Can I trust what I see?"),
            html.P(_answer(feeds, held, found), className="cf-lede"),
            html.Div(
                [
                    accounting_panel(visit, feeds),
                    freshness_panel(visit, feeds),
                    held_panel(visit, held),
                    found_panel(visit, found),
                    rows_panel(visit, provider),
                ],
                className="cf-panels",
            ),
            stacks([missing_panel(visit, provider)], [runs_panel(visit, provider), upkeep_panel(visit, provider)]),
        ]
    )  # fmt: skip


def _answer(feeds: Sequence[Feed], held: Sequence[Tally], found: Sequence[Tally]) -> str:
    received = sum(f.received or 0 for f in feeds)
    off = sum(not f.adds_up for f in feeds)
    accounted = (
        f"{plural(off, 'feed')} do not add up"
        if off
        else f"each of {received:,} records received is accounted for"
    )
    waiting = sum(t.n for t in held)
    grave = sum(t.n for t in found if t.severity in GRAVE)
    late, refused = sum(f.late for f in feeds), sum(f.newest_refused for f in feeds)
    return (
        f"{accounted[0].upper()}{accounted[1:]}; {plural(waiting, 'entry', 'entries')} in quarantine, "
        f"{plural(grave, 'grave finding')}; {plural(late, 'feed')} overdue"
        + (f", of {plural(refused, 'feed')} the newest file refused." if refused else ".")
    )


def callbacks(app: Dash, desk: Desk) -> None:
    """Kind and reason redraw the rows; another kind offers its own reasons."""

    @app.callback(
        Output("quality-rows", "children"),
        Output(REASON, "data"),
        Input(KIND, "value"),
        Input(REASON, "value"),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded_panel(others=1)
    def redraw(kind: str, reason: str | None, sites: list[str] | None) -> Any:
        visit = desk.visit(f"sites={','.join(sites or [])}")
        provider = QualityProvider(visit.snapshot)
        tallies = (
            provider.finding_tally(visit.scope) if kind == "findings" else provider.held_tally(visit.scope)
        )
        reasons = sorted({t.reason_code for t in tallies} | ({reason or ""} - {""}))
        return rows_shown(visit, kind, reason or ""), [{"value": r, "label": plain(r)} for r in reasons]


PAGE = Page(
    name="quality",
    path="/quality",
    title="Data quality",
    layout=layout,
    callbacks=callbacks,
    tables={
        "feeds": lambda v: feed_table(v, QualityProvider(v.snapshot).feeds(v.scope)),
        "held": lambda v: tally_table(
            "quarantine-by-reason", QualityProvider(v.snapshot).held_tally(v.scope)
        ),
        "found": lambda v: tally_table(
            "findings-by-rule", QualityProvider(v.snapshot).finding_tally(v.scope)
        ),
        "quarantine": lambda v: held_table(
            v, QualityProvider(v.snapshot).held(v.scope, v.get("reason") or None)
        ),
        "findings": lambda v: findings_table(
            v, QualityProvider(v.snapshot).findings(v.scope, v.get("reason") or None)
        ),
        "freshness": freshness_table,
        "missing": missing_table,
        "runs": runs_table,
    },
    key="q",
)
