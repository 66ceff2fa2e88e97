"""What happened to a batch when: milestones, unit operations, custody and deviations over one axis of time.

Belongs here: placing and labelling. Does not belong here: which times hold (the marts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from dashboards.facts.batch import Custody, Deviation, Step
from dashboards.figures.rows import words
from dashboards.theme.tokens import token

ROW_PX, FRAME_PX, ABOVE_PX = 44, 74, 16
SPOTS = 12


def both(moment: datetime | None, zone: str) -> str:
    """A moment in UTC and, where it differs, at the site."""
    if moment is None:
        return "no time"
    local = moment.astimezone(ZoneInfo(zone))
    told = f"{moment:%Y-%m-%d %H:%M} UTC"
    return told if not local.utcoffset() else f"{told}, {local:%H:%M} {local.tzname()} there"


def timeline(
    milestones: Sequence[tuple[str, datetime]],
    steps: Sequence[Step],
    custody: Sequence[Custody],
    deviations: Sequence[Deviation],
    zone: str,
    sensors: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    run: str = "",
) -> dict[str, Any]:
    """Milestones (word and time), one row a unit procedure, then custody and deviations; times are UTC.

    `zone` is the site's, told in the hover. Broken links of the chain are crosses, deviations without an end run to
    the edge. `sensors`: by the record of a step, the hours whose sensors a click on it shows, of the batch `run`.
    """
    procedures = list(dict.fromkeys(s.unit_procedure or "operation" for s in steps if s.operation_started_at))
    rows = [
        *(["milestones"] if milestones else []),
        *procedures,
        *(["custody"] if custody else []),
        *(["deviations"] if deviations else []),
    ]
    at = {row: float(len(rows) - 1 - place) for place, row in enumerate(rows)}
    if milestones:
        at["milestones"] += 0.2
    seen = [
        *(m for _, m in milestones),
        *(s.operation_started_at for s in steps if s.operation_started_at),
        *(s.operation_ended_at for s in steps if s.operation_ended_at),
        *(c.happened_at for c in custody if c.happened_at),
    ]
    if not seen:
        return _layout([], [], [], rows, None)
    pad = max((max(seen) - min(seen)) * 0.03, timedelta(hours=2))
    ends = (min(seen) - pad, max(seen) + pad)
    traces: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for s in steps:
        if s.operation_started_at is None:
            continue
        y = at[s.unit_procedure or "operation"]
        end = s.operation_ended_at or ends[1]
        shapes.append(
            _bar(
                s.operation_started_at,
                end,
                y,
                "accent" if s.operation_ended_at else "unsure",
                dash="solid" if s.operation_ended_at else "dot",
            )
        )
        places = [s.operation_started_at, *([s.operation_ended_at] if s.operation_ended_at else [])]
        told_s, hours = _step_words(s, zone), sensors.get(s.record_id)
        leads = f"{told_s}<br>Click: its sensors" if hours else told_s
        ends_of = _marks([(m, leads) for m in places], y, "line-ns-open", "accent")
        if hours:
            # What is clicked lies over the whole bar, unseen.
            spots = [
                s.operation_started_at + (end - s.operation_started_at) * n / SPOTS for n in range(SPOTS + 1)
            ]
            bar = _marks([(m, leads) for m in spots], y, "square", "accent")
            bar["marker"] = {"size": 14, "color": "rgba(0,0,0,0)"}
            for trace in (ends_of, bar):
                trace["customdata"] = [["sensors", run, *hours]] * len(trace["x"])
            traces.append(bar)
        traces.append(ends_of)
    if milestones:
        told = [(m, f"<b>{word}</b><br>{both(m, zone)}") for word, m in milestones]
        # Words above and below by turns, so that neighbours do not run into each other.
        named = {
            "mode": "markers+text",
            "texttemplate": [word for word, _ in milestones],
            "textposition": [f"{'top' if i % 2 else 'bottom'} center" for i in range(len(milestones))],
            "cliponaxis": False,
        }
        traces.append(_marks(told, at["milestones"], "diamond", "text") | named)
    if custody:
        for broken, symbol, colour in ((False, "circle-open", "text"), (True, "x", "bad")):
            told = [
                (c.happened_at, _custody_words(c, zone))
                for c in custody
                if c.happened_at and bool(c.breaks) is broken
            ]
            if told:
                traces.append(_marks(told, at["custody"], symbol, colour))
    for d in deviations:
        if d.opened_at is None:
            continue
        y = at["deviations"]
        shapes.append(_bar(d.opened_at, min(d.closed_at or ends[1], ends[1]), y, "bad", dash="dot"))
        closed = f"closed {both(d.closed_at, zone)}" if d.closed_at else "still open"
        told_d = (
            f"<b>{d.deviation_id}</b>, {d.deviation_class}: {d.cause}<br>{both(d.opened_at, zone)}, {closed}"
        )
        traces.append(_marks([(d.opened_at, told_d)], y, "triangle-right", "bad"))
    notes = [words(f"<b>{row}</b>", at[row], ABOVE_PX) for row in rows if row != "milestones"]
    return _layout(traces, notes, shapes, rows, ends)


def _step_words(s: Step, zone: str) -> str:
    doing = ", ".join(
        w.replace("_", " ") for w in (s.phase, s.equipment_id, s.operator_role, s.automation_level) if w
    )
    return (
        f"<b>{(s.unit_procedure or '').replace('_', ' ')}</b> {doing}<br>from {both(s.operation_started_at, zone)}"
        f"<br>to {both(s.operation_ended_at, zone) if s.operation_ended_at else 'now, not ended'}"
    )


def _custody_words(c: Custody, zone: str) -> str:
    heat = "" if c.custody_temperature_c is None else f", {c.custody_temperature_c:.3g} °C"
    broken = f"<br><b>{'; '.join(c.breaks)}</b>" if c.breaks else ""
    return (
        f"<b>{c.custody_kind.replace('_', ' ')}</b> {c.from_party or '?'} → {c.to_party or '?'}{heat}<br>"
        f"{both(c.happened_at, zone)}{broken}"
    )


def _bar(start: datetime, end: datetime, y: float, colour: str, *, dash: str) -> dict[str, Any]:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "y",
        "x0": _plotted(start),
        "x1": _plotted(end),
        "y0": y - 0.14,
        "y1": y + 0.14,
        "line": {"color": token(colour), "width": 1.5, "dash": dash},
        "fillcolor": token("band") if dash == "solid" else "rgba(0,0,0,0)",
    }


def _marks(points: Sequence[tuple[datetime, str]], y: float, symbol: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_plotted(m) for m, _ in points],
        "y": [y] * len(points),
        "marker": {"symbol": symbol, "size": 11, "color": token(colour), "line": {"width": 2}},
        "text": [told for _, told in points],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _plotted(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _layout(
    traces: list[dict[str, Any]],
    notes: list[dict[str, Any]],
    shapes: list[dict[str, Any]],
    rows: list[str],
    ends: tuple[datetime, datetime] | None,
) -> dict[str, Any]:
    axis: dict[str, Any] = {"type": "date", "title": {"text": "Time, UTC"}, "nticks": 8}
    if ends:
        axis["range"] = [_plotted(ends[0]), _plotted(ends[1])]
    return {
        "data": traces,
        "layout": {
            "height": FRAME_PX + ROW_PX * max(len(rows), 1),
            "margin": {"l": 34, "r": 34, "t": 8, "b": 48},
            "annotations": notes,
            "shapes": shapes,
            "hovermode": "closest",
            "showlegend": False,
            "xaxis": axis,
            "yaxis": {"range": [-0.45, len(rows) - 0.1], "visible": False, "fixedrange": True},
        },
    }
