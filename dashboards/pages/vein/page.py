"""Vein to vein: where the time goes from order to infusion, site by site, and which open orders are at risk.

Belongs here: the order of the panels and the callback. Does not belong here: milestones (`mart.vein_to_vein`),
deadlines (`fleet.yaml`), the panels themselves (beside this module).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.panel import panel
from dashboards.components.table import number
from dashboards.components.words import plural
from dashboards.facts.journeys import Journey
from dashboards.pages.vein.about import STEPS, WHOLE, hours_of, names_of, sites_of
from dashboards.pages.vein.risk import at_risk, in_doubt, risk_panel, risk_table
from dashboards.pages.vein.times import (
    contrast,
    contrast_table,
    median_table,
    medians_panel,
    orders,
    orders_table,
)
from dashboards.providers.journeys import JourneyProvider
from dashboards.shell.guard import guarded
from dashboards.shell.visit import Desk, Page, Visit

SITES = {"type": "control", "page": "all", "name": "sites"}
STEP = {"type": "control", "page": "vein", "name": "step"}


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
            html.Div([risk_panel(visit, open_orders)], className="cf-panels"),
            *contrast(visit),
            html.Div(
                [
                    medians_panel(visit, journeys),
                    panel(
                        "orders",
                        "One interval, order by order",
                        "A point is an order, a box the middle half with its median. A click opens its "
                        "batch.",
                        html.Div(orders(visit, journeys, step), id="vein-orders"),
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


def _answer(visit: Visit, journeys: Sequence[Journey], open_orders: Sequence[dict[str, Any]]) -> str:
    names = names_of(visit)
    told = []
    for site in sites_of(visit, journeys):
        hours = hours_of(journeys, site, "vein_to_vein_h")
        if hours:
            told.append(
                f"{names.get(site, site)} {number(statistics.median(hours) / 24, 3)} d (n {len(hours)})"
            )
    late = sum(bool(r["late"]) for r in open_orders)
    slow = sum(r["slow"] for r in open_orders)
    doubt = sum(in_doubt(r) for r in open_orders)
    waiting = (
        f"{plural(len(open_orders), 'open order')}: {late} past a deadline, {doubt} at risk of missing the window, "
        f"{slow} slower than nine of ten"
    )
    return f"Vein to vein, median: {', '.join(told) or 'nobody infused yet'}. {waiting}."


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
        return orders(visit, JourneyProvider(visit.snapshot).all(visit.scope), _step(step or ""))


def _all(visit: Visit) -> list[Journey]:
    return JourneyProvider(visit.snapshot).all(visit.scope)


PAGE = Page(
    name="vein",
    path="/vein-to-vein",
    title="Vein to vein",
    layout=layout,
    callbacks=callbacks,
    tables={
        "orders": lambda visit: orders_table(visit, _all(visit)),
        "medians": lambda visit: median_table(visit, _all(visit)),
        "contrast": lambda v: contrast_table(JourneyProvider(v.snapshot).contrasts(v.scope)),
        "open": lambda visit: risk_table(visit, at_risk(_all(visit))),
    },
    key="v",
)
