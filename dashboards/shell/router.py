"""From address to page: one server callback, and the browser functions that keep the address and the controls in step.

A page is made when the address, the sites looked at or the snapshot changes; a control inside a page redraws its
panel only. The address follows by `history.replaceState`, so any view can be copied as a link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State, html, no_update
from flask import g

from dashboards.components import states
from dashboards.providers.snapshot import NoSnapshot
from dashboards.shell import frame
from dashboards.shell.guard import guarded
from dashboards.shell.visit import Desk, NotHere, Page

Made = tuple[Any, Any, Any, Any]


def browser(name: str) -> ClientsideFunction:
    """A function of `assets/cellfleet.js`."""
    return ClientsideFunction("cellfleet", name)


def clientside(
    app: Dash, function: ClientsideFunction, *wiring: Any, prevent_initial_call: bool = False
) -> None:
    """Register a browser function as a callback."""
    add: Any = app.clientside_callback
    add(function, *wiring, prevent_initial_call=prevent_initial_call)


def register(app: Dash, desk: Desk, pages: Sequence[Page]) -> None:
    """Register the callbacks of the shell."""
    controls = {"type": "control", "page": ALL, "name": ALL}
    clientside(
        app,
        browser("place"),
        Output("place", "data"),
        Input("location", "pathname"),
        Input("location", "search"),
        Input(controls, "value"),
        Input("snapshot", "data"),
    )
    clientside(
        app,
        browser("poll"),
        Output("snapshot", "data"),
        Input("poll", "n_intervals"),
        State("snapshot", "data"),
    )
    clientside(
        app,
        browser("draw"),
        Output({"type": "graph", "name": MATCH}, "figure"),
        Input({"type": "figure", "name": MATCH}, "data"),
        Input("scheme", "computedColorScheme"),
        State("theme", "data"),
    )
    clientside(
        app,
        browser("navigation"),
        Output({"type": "nav", "path": ALL}, "href"),
        Input("place", "data"),
        State({"type": "nav", "path": ALL}, "id"),
    )
    clientside(
        app,
        browser("opened_point"),
        Output("location", "pathname"),
        Input({"type": "graph", "name": ALL}, "clickData"),
        prevent_initial_call=True,
    )
    clientside(app, browser("arrived"), Input("page", "children"))
    clientside(
        app,
        browser("copied"),
        Output("copy", "children"),
        Input("copy", "n_clicks"),
        prevent_initial_call=True,
    )
    clientside(
        app,
        browser("opened"),
        Output("keys", "opened"),
        Input("keys-open", "n_clicks"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("page", "children"),
        Output("facts", "children"),
        Output("scope", "children"),
        Output("notice", "children"),
        Input("place", "data"),
        prevent_initial_call=True,
    )
    def show(place: dict[str, Any]) -> Made:
        return made(desk, pages, place)


def made(desk: Desk, pages: Sequence[Page], place: dict[str, Any]) -> Made:
    """Page, facts, scope control and notice for a place of the browser: `{path, search, why}`."""
    why = place.get("why")
    g.asked = f"{place.get('path') or '/'}{place.get('search') or ''}"
    try:
        visit = desk.visit(place.get("search"))
    except NoSnapshot as error:
        return states.no_snapshot(str(error)), html.Span("No snapshot"), None, None
    page = guarded(_page)(desk, pages, str(place.get("path") or "/"), str(place.get("search") or ""))
    scope = no_update if why == "sites" else frame.scope_control(visit)
    notices = [frame.stale(visit), frame.partial(visit)]
    if why == "snapshot":
        notices[0] = html.Div(
            [
                html.Strong(f"Snapshot {visit.snapshot.number} is shown now. "),
                html.A("What changed?", href=visit.href("/") + "#changes"),
            ],
            className="cf-banner cf-banner-ok",
        )
    return page, frame.facts(visit, desk.reader()), scope, [n for n in notices if n is not None]


def _page(desk: Desk, pages: Sequence[Page], path: str, search: str) -> Any:
    for page in pages:
        args = page.match(path)
        if args is not None:
            return page.layout(desk.visit(search, args))
    raise NotHere(path)
