"""Sensors: did this run follow the usual course, what stands out, and where do its readings come from.

Belongs here: layout and its callbacks. Does not belong here: reading (`providers/sensors.py`), drawing
(`figures/traces.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import figure_id, graph, graph_id
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, printed
from dashboards.components.words import plain, plural, unit
from dashboards.facts.runs import Envelope, Event, Run, Trace
from dashboards.figures.traces import traces
from dashboards.providers.sensors import AWAY_BATCHES, POINTS, SensorProvider
from dashboards.shell.guard import guarded
from dashboards.shell.router import browser, clientside
from dashboards.shell.visit import Desk, NotHere, Page, Visit, batch_href
from warehouse.dictionary import dictionary

MOST = 30
STEPS = ("enrichment", "activation", "transduction", "expansion", "harvest", "formulation")
KINDS = {
    "gap": "gap",
    "unusual": "unusual course",
    "sensor_flat_line": "stood still",
    "sensor_drift": "drifted",
}
SITES = {"type": "control", "page": "all", "name": "sites"}


def _control(name: str) -> dict[str, str]:
    return {"type": "control", "page": "sensors", "name": name}


@dataclass(frozen=True)
class View:
    """What is looked at: the chosen batches in their order, the step that is hour 0, which hours."""

    runs: tuple[Run, ...]
    step: str | None
    usual: bool
    window: tuple[float | None, float | None]


def layout(visit: Visit) -> Component:
    """The whole page for one address."""
    provider = SensorProvider(visit.snapshot)
    names = {s.id: s.name for s in visit.snapshot.sites}
    known = provider.batches(visit.scope.whole())
    view = _view(visit, provider, visit.query)
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


def _number(text: Any) -> float | None:
    try:
        return None if text in (None, "") else float(text)
    except (TypeError, ValueError):
        return None


def _view(visit: Visit, provider: SensorProvider, query: Mapping[str, Any]) -> View:
    """The view that an address asks for; without batches, the newest of the sites looked at."""
    scope = visit.scope.whole()
    asked = [tuple(key.split("/", 1)) for key in str(query.get("batches") or "").split(",") if "/" in key]
    chosen = [(site, batch) for site, batch in asked][:MOST] or provider.batches(visit.scope)[:1]
    step = str(query.get("align") or "")
    step_or_none = step if step in STEPS else None
    runs = tuple(provider.runs(scope, list(dict.fromkeys(chosen)), step_or_none)) if chosen else ()
    start, end = _number(query.get("from")), _number(query.get("to"))
    window = (start, end) if start is None or end is None or start < end else (None, None)
    return View(runs, step_or_none, query.get("usual") != "no", window)


def quantity_title(code: str) -> str:
    """What a quantity is called, with its unit."""
    field = dictionary().fields.get(code)
    if field is None:
        return plain(code)
    words = field.description.rstrip(".").split(" (")[0].split(",")[0].split(" of ")[0]
    return f"{words}, {unit(field.unit)}" if unit(field.unit) else words


@dataclass(frozen=True)
class Looked:
    """Everything that one view shows."""

    drawn: Sequence[Trace]
    envelopes: Sequence[Envelope]
    events: Sequence[Event]


def _looked(visit: Visit, provider: SensorProvider, view: View) -> Looked:
    scope = visit.scope.whole()
    run = view.runs[0]
    hourly = provider.hourly(scope, [run])
    drawn = (
        provider.traces(scope, run, *view.window)
        if len(view.runs) == 1
        else provider.hourly(scope, view.runs, *view.window)
    )
    envelopes = provider.envelopes(
        scope, run.site, [r.batch_id for r in view.runs if r.site == run.site], view.step
    )
    events = [
        *provider.findings(scope, run),
        *provider.gaps(scope, run),
        *provider.excursions(scope, run, envelopes, hourly),
    ]
    return Looked(drawn, envelopes if view.usual else (), events)


def _figure(visit: Visit, provider: SensorProvider, view: View, looked: Looked) -> dict[str, Any]:
    run = view.runs[0]
    quantities = [(q, quantity_title(q)) for q in dict.fromkeys(t.quantity for t in looked.drawn)]
    zero = f"start of {view.step}" if view.step else "start of the batch"
    return traces(
        quantities,
        looked.drawn,
        looked.envelopes,
        looked.events,
        provider.steps(visit.scope.whole(), run),
        run,
        f"Hours since the {zero}<br>({run.zero:%Y-%m-%d %H:%M} UTC for {run.batch_id})",
        view.window,
    )


def content(visit: Visit, provider: SensorProvider, view: View) -> Component:
    """Traces, what stands out, channels and files of the chosen batches."""
    if not view.runs:
        return states.empty(
            "None of these batches has readings" + (f" and a step {view.step}." if view.step else "."),
            "Choose another batch, or the start of the batch as hour 0.",
        )
    looked = _looked(visit, provider, view)
    if not looked.drawn:
        return states.empty(
            "There is no reading between these hours.", "Widen the hours above, or empty both."
        )
    return html.Div(
        [
            html.P(_answer(visit, view, looked), className="cf-lede"),
            html.Div(
                [
                    _traces_panel(visit, provider, view, looked),
                    _events_panel(visit, view, looked),
                    _channels_panel(visit, provider, view),
                    _files_panel(visit, provider, view),
                ],
                className="cf-panels",
            ),
        ]
    )


def _answer(visit: Visit, view: View, looked: Looked) -> str:
    run = view.runs[0]
    names = {s.id: s.name for s in visit.snapshot.sites}
    counts: dict[str, int] = {}
    for e in looked.events:
        counts[e.kind] = counts.get(e.kind, 0) + 1
    if not counts:
        told = "nothing stands out"
    else:
        words = {"gap": "gap", "unusual": "stretch of unusual course"}
        told = ", ".join(
            plural(n, words[kind], "stretches of unusual course" if kind == "unusual" else "")
            if kind in words
            else f"{plural(n, 'finding')} ({KINDS.get(kind, plain(kind))})"
            for kind, n in counts.items()
        )
    beside = (
        f"; {plural(len(view.runs) - 1, 'other batch', 'other batches')} beside it"
        if len(view.runs) > 1
        else ""
    )
    return f"{run.batch_id} of {names.get(run.site, run.site)}: {told}{beside}."


def _traces_panel(visit: Visit, provider: SensorProvider, view: View, looked: Looked) -> Component:
    run = view.runs[0]
    n = max((e.n_batches for e in looked.envelopes), default=0)
    usual = (
        f" Band and dots: 5th to 95th percentile and median of the site's {n} other batches, hour by hour."
        if n
        else ""
    )
    said = "; ".join(
        f"{quantity_title(t.quantity)}, {t.run.batch_id}: {printed(min(v for v in t.values if v is not None))} to "
        f"{printed(max(v for v in t.values if v is not None))}"
        for t in looked.drawn[:12]
    )
    return panel(
        "traces",
        "Readings over the hours of the culture",
        "Line: good readings"
        + (", thinned so that no spike is lost" if len(view.runs) == 1 else ", hourly means")
        + ". Cross: a reading the source does not call good. A break is a gap. Shaded: what stands out below. "
        "Drag across to zoom." + usual,
        html.Div(
            [
                graph("sensors", _figure(visit, provider, view, looked), f"Traces of sensors. {said}."),
                html.P(
                    html.A(f"Open batch {run.batch_id}", href=batch_href(visit, run.site, run.batch_id)),
                    className="cf-next",
                ),
            ]
        ),
        csv=_csv(visit, view, "traces"),
        computed=f"One batch: of each of {POINTS // 2} equal stretches the smallest and the largest good "
        f"reading, at most "
        f"{POINTS} points a channel; a zoom reads the readings again. Several batches: hourly means of "
        f"good readings. "
        f"Tables core.reading and mart.sensor_hour, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def _address(visit: Visit, view: View, **changed: Any) -> dict[str, str]:
    told = {
        "batches": ",".join(r.key for r in view.runs),
        "align": view.step or "",
        "usual": "" if view.usual else "no",
        "from": "" if view.window[0] is None else f"{view.window[0]:g}",
        "to": "" if view.window[1] is None else f"{view.window[1]:g}",
        **changed,
    }
    return {name: str(value) for name, value in told.items() if value != ""}


def _csv(visit: Visit, view: View, table: str) -> str:
    return visit.csv("sensors", table, **_address(visit, view))


def _events_panel(visit: Visit, view: View, looked: Looked) -> Component:
    table = events_table(visit, view, looked.events)
    return panel(
        "events",
        f"What stands out in {view.runs[0].batch_id}",
        "Choose a row's hours to zoom there. Times are UTC." if table.rows else None,
        html_table(table, "What stands out")
        if table.rows
        else states.empty("No gap, no unusual stretch, no finding of a rule."),
        csv=_csv(visit, view, "events"),
        computed="Gap: no reading for over three usual steps of the channel. Unusual course: three or "
        "more hourly means in "
        f"a row beyond everything that the site's other batches, {AWAY_BATCHES} at least, showed in the "
        f"same hours; it "
        "describes, and is no limit. Stood still, drifted: findings of the rules on readings. "
        f"Tables core.reading, mart.sensor_hour and quality.finding, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def events_table(visit: Visit, view: View, events: Sequence[Event]) -> Table:
    """Stretches to look at; the hours are links that zoom."""

    def zoom(r: dict[str, Any]) -> Component:
        pad = max(0.5 * (r["to_h"] - r["from_h"]), 1.0)
        to = _address(visit, view, **{"from": f"{r['from_h'] - pad:.4g}", "to": f"{r['to_h'] + pad:.4g}"})
        kept = {"sites": ",".join(visit.scope.chosen)} if visit.scope.chosen else {}
        return html.A(f"{r['from_h']:.1f} to {r['to_h']:.1f}", href=f"/sensors?{urlencode({**kept, **to})}")

    return Table(
        "events",
        (
            Column("kind", "Kind"),
            Column("quantity", "Quantity"),
            Column("channel", "Channel"),
            Column("hours", "Hours", cell=zoom),
            Column("from_at", "From, UTC"),
            Column("to_at", "To, UTC"),
            Column("what", "What was seen"),
        ),
        [
            {
                **vars(e),
                "kind": KINDS.get(e.kind, plain(e.kind)),
                "quantity": quantity_title(e.quantity).split(",")[0] if e.quantity else "",
                "hours": f"{e.from_h:.2f} to {e.to_h:.2f}",
            }
            for e in events
        ],
    )


def _channels_panel(visit: Visit, provider: SensorProvider, view: View) -> Component:
    return panel(
        "channels",
        f"Channels of {view.runs[0].batch_id} in numbers",
        "All hours of the batch, whatever is zoomed.",
        html_table(_channels_table(visit, provider, view), "Channels"),
        csv=_csv(visit, view, "channels"),
        computed="Minimum, mean and maximum of the readings that the source calls good. Times are UTC. "
        f"Table core.reading, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def _channels_table(visit: Visit, provider: SensorProvider, view: View) -> Table:
    rows = [
        {
            **vars(c),
            "quantity": quantity_title(c.quantity),
            "bad": c.n - c.n_good,
            "step": None if c.usual_step_s is None else c.usual_step_s / 60,
        }
        for c in provider.channels(visit.scope.whole(), view.runs[0])
    ]
    return Table(
        "channels",
        (
            Column("quantity", "Quantity, unit"),
            Column("channel", "Channel"),
            Column("minimum", "Minimum", digits=4),
            Column("mean", "Mean", digits=4),
            Column("maximum", "Maximum", digits=4),
            Column("n", "n"),
            Column("bad", "Not good"),
            Column("step", "Every, min"),
            Column("first_at", "First, UTC"),
            Column("last_at", "Last, UTC"),
        ),
        rows,
    )


def _files_panel(visit: Visit, provider: SensorProvider, view: View) -> Component:
    table = _files_table(visit, provider, view)
    return panel(
        "files",
        "The files behind it, with their hashes",
        f"{plural(len(table.rows), 'file')} of {view.runs[0].batch_id}. A reading is found by its time, "
        f"in the rows named.",
        html.Details(
            [
                html.Summary(f"{plural(len(table.rows), 'file')} in a table"),
                html_table(table, "Files of readings"),
            ]
        ),
        csv=_csv(visit, view, "files"),
        computed="Each reading keeps its file's hash and its row; the file lies byte for byte in the "
        "site's vault. "
        f"Tables core.reading and raw.file, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def _files_table(visit: Visit, provider: SensorProvider, view: View) -> Table:
    return Table(
        "files",
        (
            Column("source_file", "File"),
            Column("first_row", "From row"),
            Column("last_row", "To row"),
            Column("n", "Readings"),
            Column("from_at", "From, UTC"),
            Column("to_at", "To, UTC"),
            Column("sha256", "SHA-256", cell=lambda r: html.Code(r["sha256"])),
        ),
        [vars(f) for f in provider.files(visit.scope.whole(), view.runs[0])],
    )


def _table(visit: Visit, name: str) -> Table:
    """A table of the view that an address asks for. Raises NotHere where it has no batch."""
    provider = SensorProvider(visit.snapshot)
    view = _view(visit, provider, visit.query)
    if not view.runs:
        raise NotHere("no batch")
    if name == "channels":
        made = _channels_table(visit, provider, view)
    elif name == "files":
        made = _files_table(visit, provider, view)
    elif name == "events":
        made = events_table(visit, view, _looked(visit, provider, view).events)
    else:
        rows = [
            {"batch": t.run.key, "channel": t.channel, "quantity": t.quantity, "hour": h, "value": v}
            for t in _looked(visit, provider, view).drawn
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
        return visit, provider, _view(visit, provider, told)

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
        return _figure(visit, provider, view, _looked(visit, provider, view))

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
