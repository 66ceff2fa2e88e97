"""Traces, what stands out, channels and files of the chosen batches.

Does not belong here: reading (`providers/sensors.py`), drawing (`figures/traces.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.graph import graph
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid, html_table, printed
from dashboards.components.words import plain, plural
from dashboards.facts.runs import Event, Trace
from dashboards.pages.sensors.view import (
    KINDS,
    Looked,
    View,
    address,
    csv_of,
    figure,
    looked_at,
    quantity_title,
)
from dashboards.providers.sensors import AWAY_BATCHES, POINTS, SensorProvider
from dashboards.shell.visit import Visit, batch_href

# What the lines are, of several batches and of one.
MEANS = "Line: hourly means of good readings."
SINGLE = (
    "Line: good readings, thinned so that no spike is lost. Cross: a reading the source does not call good. "
    "A break is a gap."
)
NONE = "No gap, no unusual stretch, no finding of a rule."
# Sentences where readings are left in the lake, and the lake is not there.
AWAY = (
    "Single readings lie in the lake, which cannot be read just now: hourly means are shown; gaps, channels and "
    "files are not.",
    "The reason is in the server's log. It is tried again each minute; reload the page then.",
)


def content(visit: Visit, provider: SensorProvider, view: View) -> Component:
    """Traces, what stands out, channels and files of the chosen batches."""
    if not view.runs:
        return states.empty(
            "None of these batches has readings" + (f" and a step {view.step}." if view.step else "."),
            "Choose another batch, or the start of the batch as hour 0.",
        )
    looked = looked_at(visit, provider, view)
    if not looked.drawn:
        return states.empty(
            "There is no reading between these hours.", "Widen the hours above, or empty both."
        )
    return html.Div(
        [
            html.P(_answer(visit, view, looked), className="cf-lede"),
            html.Div(
                [
                    html.Div(states.empty(*AWAY), className="cf-wide") if looked.away else None,
                    _traces_panel(visit, provider, view, looked),
                    _events_panel(visit, view, looked),
                    *(
                        ()
                        if looked.away
                        else (_channels_panel(visit, provider, view), _files_panel(visit, provider, view))
                    ),
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
        (MEANS if looked.away or len(view.runs) > 1 else SINGLE)
        + " Shaded: what stands out below. Drag across to zoom."
        + usual,
        html.Div(
            [
                graph("sensors", figure(visit, provider, view, looked), f"Traces of sensors. {said}."),
                html.Details(
                    [
                        html.Summary("Show data"),
                        html.P(
                            f"Hourly means of {run.batch_id}; the CSV has what is drawn.", className="cf-told"
                        ),
                        grid(hours_table(looked.hourly), "Hourly means", name="hours"),
                    ]
                ),
                html.P(
                    html.A(f"Open batch {run.batch_id}", href=batch_href(visit, run.site, run.batch_id)),
                    className="cf-next",
                ),
            ]
        ),
        csv=csv_of(visit, view, "traces"),
        computed=f"One batch: of each of {POINTS // 2} equal stretches the smallest and the largest good "
        f"reading, at most "
        f"{POINTS} points a channel; a zoom reads the readings again. Several batches: hourly means of "
        f"good readings. "
        f"Tables core.reading and mart.sensor_hour, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def hours_table(hourly: Sequence[Trace]) -> Table:
    """Hourly means of a batch: a row an hour, a column a channel."""
    rows: dict[float, dict[str, Any]] = {}
    for t in hourly:
        for hour, value in zip(t.hours, t.values, strict=True):
            rows.setdefault(hour, {"hour": hour})[t.channel] = value
    channels = [Column(t.channel, f"{quantity_title(t.quantity)}, {t.channel}", digits=4) for t in hourly]
    return Table("hours", (Column("hour", "Hour", digits=4), *channels), [rows[h] for h in sorted(rows)])


def _events_panel(visit: Visit, view: View, looked: Looked) -> Component:
    table = events_table(visit, view, looked.events)
    none = "No unusual stretch, no finding of a rule; gaps cannot be told just now." if looked.away else NONE
    return panel(
        "events",
        f"What stands out in {view.runs[0].batch_id}",
        "Choose a row's hours to zoom there. Times are UTC." if table.rows else None,
        html_table(table, "What stands out") if table.rows else states.empty(none),
        csv=csv_of(visit, view, "events"),
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
        to = address(view, **{"from": f"{r['from_h'] - pad:.4g}", "to": f"{r['to_h'] + pad:.4g}"})
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
        html_table(channels_table(visit, provider, view), "Channels"),
        csv=csv_of(visit, view, "channels"),
        computed="Minimum, mean and maximum of the readings that the source calls good. Times are UTC. "
        f"Table core.reading, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def channels_table(visit: Visit, provider: SensorProvider, view: View) -> Table:
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
    table = files_table(visit, provider, view)
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
        csv=csv_of(visit, view, "files"),
        computed="Each reading keeps its file's hash and its row; the file lies byte for byte in the "
        "site's vault. "
        f"Tables core.reading and raw.file, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def files_table(visit: Visit, provider: SensorProvider, view: View) -> Table:
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
