"""Traces of sensors: one row a quantity over the hours of the culture, with steps, the usual course, gaps, excursions.

Belongs here: placing and labelling. Does not belong here: thinning, what counts as a gap or excursion (the provider).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.facts.batch import Step
from dashboards.facts.runs import Envelope, Event, Run, Trace
from dashboards.theme.tokens import token

ROW_PX, FRAME_PX, SHARE = 128, 138, 0.74
COLOURS = 6
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SHADE = {"gap": ("raised", "muted"), "unusual": ("unsureground", "unsure")}


def traces(
    quantities: Sequence[tuple[str, str]],
    drawn: Sequence[Trace],
    envelopes: Sequence[Envelope],
    events: Sequence[Event],
    steps: Sequence[Step],
    run: Run,
    axis: str,
    window: tuple[float | None, float | None],
) -> dict[str, Any]:
    """One row for each of `quantities` (code and title with unit), in their order. `run` is the first batch: its steps
    and events are drawn. `window`: hours shown; an open side ends with the data."""
    height = FRAME_PX + ROW_PX * max(len(quantities), 1)
    rows: dict[str, int] = {code: n + 1 for n, (code, _) in enumerate(quantities)}
    order = list(dict.fromkeys([run.key, *(t.run.key for t in drawn)]))
    hours = [h for t in drawn for h in (t.hours[:1] + t.hours[-1:])]
    ends = (
        window[0] if window[0] is not None else min(hours, default=0.0),
        window[1] if window[1] is not None else max(hours, default=1.0),
    )
    data: list[dict[str, Any]] = []
    for e in envelopes:
        if e.quantity in rows:
            data += _usual(e, rows[e.quantity])
    several = len(order) > 1
    named: set[str] = set()
    for t in drawn:
        if t.quantity in rows:
            data.append(
                _line(t, rows[t.quantity], order.index(t.run.key), several, first=t.run.key not in named)
            )
            named.add(t.run.key)
            if t.bad_hours:
                data.append(_bad(t, rows[t.quantity]))
    layout: dict[str, Any] = {
        "height": height,
        "margin": {"l": 62, "r": 12, "t": 38, "b": 62},
        "hovermode": "closest",
        "showlegend": several,
        "legend": {"orientation": "h", "y": -66 / (height - 100), "yanchor": "top", "x": 0},
        "shapes": _ribbon(steps, run, ends) + _shades(events, rows, quantities),
        "annotations": _names(steps, run, ends) + _titles(quantities),
        "xaxis": {
            "title": {"text": axis},
            "range": list(ends),
            "anchor": f"y{len(quantities)}" if len(quantities) > 1 else "y",
            "zeroline": False,
        },
    }
    if several:
        layout["margin"]["b"] = 96 + 20 * (len(order) // 3)
        layout["height"] += layout["margin"]["b"] - 62
    for n in range(len(quantities)):
        top, bottom = _domain(n, len(quantities))
        layout["yaxis" if n == 0 else f"yaxis{n + 1}"] = {
            "domain": [bottom, top],
            "anchor": "x",
            "nticks": 4,
            "zeroline": False,
            "automargin": False,
        }
    return {"data": data, "layout": layout}


def _domain(row: int, count: int) -> tuple[float, float]:
    """Top and bottom of a row in the plot, the title's room left free above it."""
    each = 1 / max(count, 1)
    return 1 - row * each - each * (1 - SHARE), 1 - (row + 1) * each


def _axis(row: int) -> str:
    return "y" if row == 1 else f"y{row}"


def _usual(e: Envelope, row: int) -> list[dict[str, Any]]:
    common = {
        "type": "scatter",
        "mode": "lines",
        "x": list(e.hours),
        "yaxis": _axis(row),
        "hoverinfo": "skip",
    }
    quiet = {"showlegend": False}
    return [
        {**common, **quiet, "y": list(e.low), "line": {"width": 0, "color": token("axis")}},
        {
            **common,
            **quiet,
            "y": list(e.high),
            "line": {"width": 0, "color": token("axis")},
            "fill": "tonexty",
            "fillcolor": token("band"),
        },
        {**common, **quiet, "y": list(e.middle), "line": {"width": 1, "dash": "dot", "color": token("axis")}},
    ]  # fmt: skip


def _line(t: Trace, row: int, place: int, several: bool, *, first: bool) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": t.run.batch_id,
        "legendgroup": t.run.key,
        "showlegend": first,
        "x": list(t.hours),
        "y": list(t.values),
        "yaxis": _axis(row),
        "connectgaps": False,
        "line": {
            "width": 1.3 if several else 1,
            "color": token(f"site{place % COLOURS + 1}"),
            "dash": DASHES[place // COLOURS % len(DASHES)] if several else "solid",
        },
        "hovertemplate": f"<b>{t.run.batch_id}</b> {t.channel}<br>hour %{{x:.2f}}: %{{y:.5~g}}<extra></extra>",
    }


def _bad(t: Trace, row: int) -> dict[str, Any]:
    """Where the source calls a reading uncertain or bad: crosses at the row's foot, for its value says nothing."""
    low = min((v for v in t.values if v is not None), default=0.0)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(t.bad_hours),
        "y": [low] * len(t.bad_hours),
        "yaxis": _axis(row),
        "showlegend": False,
        "marker": {"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": token("bad")}},
        "hovertemplate": f"<b>{t.run.batch_id}</b> {t.channel}<br>hour %{{x:.2f}}: not a good reading, by the source"
        "<extra></extra>",
    }


def _placed(s: Step, run: Run, ends: tuple[float, float]) -> tuple[float, float] | None:
    """Hours of a step within what is shown; None where it lies outside."""
    if s.operation_started_at is None:
        return None
    start = (s.operation_started_at - run.zero).total_seconds() / 3600
    end = (s.operation_ended_at - run.zero).total_seconds() / 3600 if s.operation_ended_at else ends[1]
    start, end = max(start, ends[0]), min(end, ends[1])
    return (start, end) if end > start else None


def _ribbon(steps: Sequence[Step], run: Run, ends: tuple[float, float]) -> list[dict[str, Any]]:
    """Ends of the steps through all rows."""
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": place[0],
            "x1": place[0],
            "y0": 0,
            "y1": 1.02,
            "line": {"color": token("axis"), "width": 1, "dash": "dot"},
            "layer": "below",
        }
        for place in (_placed(s, run, ends) for s in steps)
        if place
    ]


def _names(steps: Sequence[Step], run: Run, ends: tuple[float, float]) -> list[dict[str, Any]]:
    """Names of steps above the rows, those wide enough to be read; the timeline of the batch has all."""
    notes: list[dict[str, Any]] = []
    for s in steps:
        place = _placed(s, run, ends)
        if place and place[1] - place[0] > 0.07 * (ends[1] - ends[0]):
            notes.append(
                {
                    "xref": "x",
                    "yref": "paper",
                    "x": place[0],
                    "xanchor": "left",
                    "y": 1,
                    "yanchor": "bottom",
                    # By turns on two lines: on a phone neighbours would run into each other.
                    "yshift": 4 + 13 * (len(notes) % 2),
                    "showarrow": False,
                    "text": (s.unit_procedure or "step").replace("_", " "),
                    "font": {"size": 11, "color": token("muted")},
                }
            )
    return notes


def _titles(quantities: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "xref": "paper",
            "yref": "paper",
            "x": 0,
            "xanchor": "left",
            "y": _domain(n, len(quantities))[0],
            "yanchor": "bottom",
            "yshift": 1,
            "showarrow": False,
            "text": f"<b>{title}</b>",
            "font": {"size": 12, "color": token("text")},
        }
        for n, (_, title) in enumerate(quantities)
    ]


def _shades(
    events: Sequence[Event], rows: Mapping[str, int], quantities: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Stretches to look at behind their own row, with an edge as well as a ground."""
    shapes = []
    for e in events:
        if e.quantity not in rows:
            continue
        top, bottom = _domain(rows[e.quantity] - 1, len(quantities))
        ground, edge = SHADE.get(e.kind, ("badground", "bad"))
        shapes.append(
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": e.from_h,
                "x1": e.to_h,
                "y0": bottom,
                "y1": top,
                "fillcolor": token(ground),
                "line": {
                    "color": token(edge),
                    "width": 1,
                    "dash": "dot" if e.kind == "unusual" else "solid",
                },
                "layer": "below",
            }
        )
    return shapes
