"""Sensors: did this run follow the usual course, what stands out, and where do its readings come from.

Belongs here: controls, the order of things, callbacks. Does not belong here: reading (`providers/sensors.py`), drawing
(`figures/traces.py`), the panels themselves (beside this module).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import figure_id, graph_id
from dashboards.components.table import Column, Table
from dashboards.pages.sensors.panels import channels_table, content, events_table, files_table
from dashboards.pages.sensors.view import MOST, STEPS, View, figure, looked_at, view_of
from dashboards.providers.sensors import SensorProvider
from dashboards.shell.guard import guarded
from dashboards.shell.router import browser, clientside
from dashboards.shell.visit import Desk, NotHere, Page, Visit

SITES = {"type": "control", "page": "all", "name": "sites"}


def _control(name: str) -> dict[str, str]:
    return {"type": "control", "page": "sensors", "name": name}


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    provider = SensorProvider(visit.snapshot)
    names = {s.id: s.name for s in visit.snapshot.sites}
    known = provider.batches(visit.scope.whole())
    view = view_of(visit, provider, visit.query)
    if not known:
        return html.Div(
            [
                html.H1("Did this run follow the usual course?"),
                states.empty(
                    "No batch of these sites has readings.",
                    "`cellfleet run` takes them in once files are sent.",
                ),
            ]
        )
    at_sites = [
        (site, b)
        for site, b in known
        if site in visit.scope.sites or any(r.key == f"{site}/{b}" for r in view.runs)
    ]
    controls = [
        dmc.MultiSelect(
            id=_control("batches"),
            label="Batches, the first one leads",
            data=[{"value": f"{s}/{b}", "label": f"{b}, {names.get(s, s)}"} for s, b in at_sites],
            value=[r.key for r in view.runs],
            searchable=True,
            clearable=True,
            maxValues=MOST,
            limit=200,
            size="sm",
            style={"minWidth": "min(100%, 300px)", "flex": "0 1 480px", "maxWidth": "min(100%, 620px)"},
        ),
        dmc.Select(
            id=_control("align"),
            label="Hour 0 is the start of",
            data=[{"value": "", "label": "the batch"}, *({"value": s, "label": s} for s in STEPS)],
            value=view.step or "",
            allowDeselect=False,
            size="sm",
            w=160,
        ),
        dmc.Select(
            id=_control("usual"),
            label="Beside it",
            data=[{"value": "", "label": "the site's usual course"}, {"value": "no", "label": "nothing"}],
            value="" if view.usual else "no",
            allowDeselect=False,
            size="sm",
            w=200,
        ),
        _hour("from", "From hour", view.window[0]),
        _hour("to", "To hour", view.window[1]),
    ]  # fmt: skip
    return html.Div(
        [
            html.H1("Did this run follow the usual course?"),
            html.Div(controls, className="cf-filters"),
            html.Div(content(visit, provider, view), id="sensors-content"),
        ]
    )


def _hour(name: str, label: str, hour: float | None) -> Component:
    value: Any = "" if hour is None else hour
    return dmc.NumberInput(id=_control(name), label=label, value=value, debounce=500, size="sm", w=100)


def _table(visit: Visit, name: str) -> Table:
    """A table of the view that an address asks for. Raises NotHere where it has no batch."""
    provider = SensorProvider(visit.snapshot)
    view = view_of(visit, provider, visit.query)
    if not view.runs:
        raise NotHere("no batch")
    if name == "channels":
        made = channels_table(visit, provider, view)
    elif name == "files":
        made = files_table(visit, provider, view)
    elif name == "events":
        made = events_table(visit, view, looked_at(visit, provider, view).events)
    else:
        rows = [
            {"batch": t.run.key, "channel": t.channel, "quantity": t.quantity, "hour": h, "value": v}
            for t in looked_at(visit, provider, view).drawn
            for h, v in zip(t.hours, t.values, strict=True)
            if v is not None
        ]
        columns = (
            Column("batch", "batch"),
            Column("channel", "channel"),
            Column("quantity", "quantity"),
            Column("hour", "hours since hour 0", digits=6),
            Column("value", "value", digits=6),
        )
        made = Table("traces", columns, rows)
    return Table(f"{view.runs[0].batch_id}-{made.name}", made.columns, made.rows)


def callbacks(app: Dash, desk: Desk) -> None:
    """Batches, hour 0 and course redraw all below; hours redraw the traces; a drag across them sets the hours."""
    names = ("batches", "align", "usual", "from", "to")

    def asked(values: Sequence[Any], sites: list[str] | None) -> tuple[Visit, SensorProvider, View]:
        visit = desk.visit(f"sites={','.join(sites or [])}")
        told = dict(zip(names, values, strict=True))
        told["batches"] = ",".join(told["batches"] or [])
        provider = SensorProvider(visit.snapshot)
        return visit, provider, view_of(visit, provider, told)

    @app.callback(
        Output("sensors-content", "children"),
        *(Input(_control(n), "value") for n in names[:3]),
        *(State(_control(n), "value") for n in names[3:]),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    @guarded
    def redraw(*values: Any) -> Any:
        return content(*asked(values[:5], values[5]))

    @app.callback(
        Output(figure_id("sensors"), "data"),
        *(State(_control(n), "value") for n in names[:3]),
        *(Input(_control(n), "value") for n in names[3:]),
        State(SITES, "value"),
        prevent_initial_call=True,
    )
    def zoom(*values: Any) -> Any:
        visit, provider, view = asked(values[:5], values[5])
        return figure(visit, provider, view, looked_at(visit, provider, view))

    clientside(
        app,
        browser("zoomed"),
        Output(_control("from"), "value"),
        Output(_control("to"), "value"),
        Input(graph_id("sensors"), "relayoutData"),
        prevent_initial_call=True,
    )


PAGE = Page(
    name="sensors",
    path="/sensors",
    title="Sensors",
    layout=layout,
    callbacks=callbacks,
    tables={name: partial(_table, name=name) for name in ("traces", "events", "channels", "files")},
    key="s",
)
