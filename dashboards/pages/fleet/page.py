"""Fleet, the first page: is any site making another product, what changed, and what needs somebody today.

Belongs here: the order of the panels, counts, callbacks. Does not belong here: reading (`providers/fleet.py`), drawing
(`figures/forest.py`), the panels themselves (beside this module).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import ALL, Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components.panel import stacks
from dashboards.components.verdict import SYMBOL
from dashboards.components.words import plural
from dashboards.facts.comparison import PlanEntry, Verdict
from dashboards.facts.fleet import Need
from dashboards.pages.fleet.attention import (
    changes_panel,
    changes_table,
    moved_panel,
    moved_table,
    needs_panel,
    needs_table,
)
from dashboards.pages.fleet.counts import WEEKS, cards, counts_table
from dashboards.pages.fleet.verdicts import ATTRIBUTE, forest_content, forest_panel, matrix, verdict_table
from dashboards.providers.fleet import FleetProvider
from dashboards.shell.guard import guarded
from dashboards.shell.router import browser, clientside
from dashboards.shell.visit import Desk, Page, Visit

SITES = {"type": "control", "page": "all", "name": "sites"}


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    provider = FleetProvider(visit.snapshot)
    plan, verdicts = provider.plan(visit.scope), provider.verdicts(visit.scope)
    chosen = (
        visit.get("attr") if any(p.attribute == visit.get("attr") for p in plan) else _worst(plan, verdicts)
    )
    return html.Div(
        [
            html.H1("Is the product the same at every site?"),
            html.P(_answer(verdicts, provider.needs(visit.scope)), className="cf-lede"),
            cards(visit, provider),
            html.P(
                [
                    "By site: batches by where they stand, signals that wait, and batches started in each of the last "
                    f"{WEEKS} weeks, the hatched part failed. ",
                    html.A("Download CSV", href=visit.csv("fleet", "sites"), className="cf-csv", download=""),
                ],
                className="cf-told",
            ),
            stacks(
                [needs_panel(visit, provider), moved_panel(visit, provider), changes_panel(visit, provider)],
                [matrix(visit, plan, verdicts, chosen), forest_panel(visit, plan, chosen)],
            ),
        ]
    )


def _answer(verdicts: Sequence[Verdict], needs: Sequence[Need]) -> str:
    """The page's question answered in words: verdicts first, then what needs somebody."""
    grave = sum(n.severity in ("critical", "error") for n in needs)
    waiting = f" {plural(len(needs), 'point')} open, {grave} of them grave." if needs else " Nothing is open."
    return _compared(verdicts) + waiting


def _compared(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return (
            "Nothing is compared: there is no comparability plan, or no site but the reference is in sight."
        )
    counts = {word: sum(v.verdict == word for v in verdicts) for word in SYMBOL}
    told = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    return f"{plural(len(verdicts), 'comparison')} with the reference site: {told}."


def _worst(plan: Sequence[PlanEntry], verdicts: Sequence[Verdict]) -> str:
    """The attribute to look at first: the not comparable one farthest from its margin, else the plan's first."""
    red = [
        (abs(v.in_margins(v.estimate) or 0.0), v.attribute) for v in verdicts if v.verdict == "not comparable"
    ]
    return max(red)[1] if red else (plan[0].attribute if plan else "")


def callbacks(app: Dash, desk: Desk) -> None:
    """A cell or the list chooses an attribute; its panel alone is drawn again."""
    clientside(
        app,
        browser("picked"),
        Output(ATTRIBUTE, "value"),
        Input({"type": "pick", "attribute": ALL, "site": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("forest-content", "children"),
        Input(ATTRIBUTE, "value"),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded
    def redraw(attribute: str | None, sites: list[str] | None) -> Any:
        return forest_content(desk.visit(f"sites={','.join(sites or [])}"), attribute or "")


PAGE = Page(
    name="fleet",
    path="/",
    title="Fleet",
    layout=layout,
    callbacks=callbacks,
    tables={
        "verdicts": lambda visit: verdict_table(FleetProvider(visit.snapshot).verdicts(visit.scope), visit),
        "changes": changes_table,
        "sites": counts_table,
        "moved": moved_table,
        "needs": lambda visit: needs_table(FleetProvider(visit.snapshot).needs(visit.scope), visit),
    },
    key="f",
)
