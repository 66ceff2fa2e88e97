"""What a page says where there is nothing to show: empty, partial, failed, not found."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component


def empty(sentence: str, mend: str = "") -> Component:
    """Nothing to show: why, and which filter to relax or what to run."""
    return html.Div(
        [html.P(sentence), html.P(mend, className="cf-muted") if mend else None], className="cf-state"
    )


def failed(request_id: str) -> Component:
    """Something went wrong in here; the rest of the page stays."""
    return html.Div(
        [
            html.P(html.Strong("This could not be shown.")),
            html.P(
                [
                    "The reason is in the server's log under request ",
                    html.Code(request_id),
                    ". ",
                    # The address of this very view: the page is made anew, whatever failed in it.
                    html.A("Try again", href=""),
                    ".",
                ]
            ),
        ],
        className="cf-state cf-state-bad",
        role="alert",
    )


def not_found() -> Component:
    """No such page, or none that this reader may see: the two look the same."""
    return html.Div(
        [
            html.H1("There is nothing here"),
            html.P(
                [
                    "No page or record of that name can be shown to you. ",
                    html.A("Go to the fleet", href="/"),
                    ".",
                ]
            ),
        ],
        className="cf-state",
    )


def no_snapshot(sentence: str) -> Component:
    """Nothing is published yet."""
    return html.Div([html.H1("No snapshot yet"), html.P(sentence)], className="cf-state", role="status")
