"""What is looked at on the Sensors page: batches, the step that is hour 0, the hours shown; and what there is to see.

Belongs here: from the address to a view and back, reading what it shows. Does not belong here: panels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.components.words import plain, unit
from dashboards.facts.runs import Envelope, Event, Run, Trace
from dashboards.figures.traces import traces
from dashboards.providers.left_readings import ReadingsAway
from dashboards.providers.sensors import SensorProvider
from dashboards.shell.visit import Visit
from warehouse.dictionary import dictionary

MOST = 30
STEPS = ("enrichment", "activation", "transduction", "expansion", "harvest", "formulation")
KINDS = {
    "gap": "gap",
    "unusual": "unusual course",
    "sensor_flat_line": "stood still",
    "sensor_drift": "drifted",
}


@dataclass(frozen=True)
class View:
    """What is looked at: the chosen batches in their order, the step that is hour 0, which hours."""

    runs: tuple[Run, ...]
    step: str | None
    usual: bool
    window: tuple[float | None, float | None]


def _number(text: Any) -> float | None:
    try:
        return None if text in (None, "") else float(text)
    except (TypeError, ValueError):
        return None


def view_of(visit: Visit, provider: SensorProvider, query: Mapping[str, Any]) -> View:
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
    """Everything that one view shows; `hourly` are the means of the first batch, whatever is zoomed.

    Where readings cannot be had (`away`) means are drawn, and gaps are not told.
    """

    drawn: Sequence[Trace]
    envelopes: Sequence[Envelope]
    events: Sequence[Event]
    hourly: Sequence[Trace]
    away: bool = False


def looked_at(visit: Visit, provider: SensorProvider, view: View) -> Looked:
    """What a view shows, read."""
    scope = visit.scope.whole()
    run = view.runs[0]
    hourly = provider.hourly(scope, [run])
    drawn: Sequence[Trace] = ()
    gaps: Sequence[Event] = ()
    away = False
    try:
        if len(view.runs) == 1:
            drawn = provider.traces(scope, run, *view.window)
        gaps = provider.gaps(scope, run)
    except ReadingsAway:
        away = True
    if away or len(view.runs) > 1:
        drawn = provider.hourly(scope, view.runs, *view.window)
    envelopes = provider.envelopes(
        scope, run.site, [r.batch_id for r in view.runs if r.site == run.site], view.step
    )
    events = [
        *provider.findings(scope, run),
        *gaps,
        *provider.excursions(scope, run, envelopes, hourly),
    ]
    return Looked(drawn, envelopes if view.usual else (), events, hourly, away)


def figure(visit: Visit, provider: SensorProvider, view: View, looked: Looked) -> dict[str, Any]:
    """Its traces, drawn."""
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


def address(view: View, **changed: Any) -> dict[str, str]:
    """The controls of a view in the address, some of them changed."""
    told = {
        "batches": ",".join(r.key for r in view.runs),
        "align": view.step or "",
        "usual": "" if view.usual else "no",
        "from": "" if view.window[0] is None else f"{view.window[0]:g}",
        "to": "" if view.window[1] is None else f"{view.window[1]:g}",
        **changed,
    }
    return {name: str(value) for name, value in told.items() if value != ""}


def csv_of(visit: Visit, view: View, table: str) -> str:
    """Address of one of its tables as CSV."""
    return visit.csv("sensors", table, **address(view))
