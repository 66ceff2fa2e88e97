"""Lots of each site as points over a box of quartiles, one row a site; limits of the specification and ranges beside.

Belongs here: placing and labelling. Does not belong here: which lots count (`warehouse.marts.comparability`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.facts.comparison import Limit, Lot, Range
from dashboards.figures.rows import spread, words, wrapped
from dashboards.theme.tokens import site_mark, token

ROW_PX, FRAME_PX = 132, 88
POINTS_REACH, BOX_Y, TOLERANCE_Y, LABEL_PX = 0.14, -0.27, -0.42, 46
QUALITY, TOLERANCE = "quality range", "tolerance"


def strip(
    rows: Sequence[tuple[str, str, Sequence[Lot]]],
    limits: Mapping[tuple[str, str], Limit],
    names: Mapping[str, str],
    axis: str,
    *,
    log: bool,
    sites: tuple[str, ...],
    ranges: Sequence[Range] = (),
) -> dict[str, Any]:
    """Strip and box of lots. `rows`: site, what it measured, its lots; `axis`: title with the unit.

    `ranges`: the reference's quality range is a band behind the lots, a tolerance range a bar below the box.

    `limits` by site and measured attribute; `sites`: all of the fleet, which fixes colours. Lots that do not count
    in the means are hollow. A log axis leaves out values that have no logarithm; the table beside it has them.
    """
    traces: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for place, (site, measured, lots) in enumerate(rows):
        y = float(len(rows) - 1 - place)
        drawn = [lot for lot in lots if lot.value is not None and (not log or lot.value > 0)]
        used = [lot for lot in drawn if lot.used]
        left_out = sum(not lot.used for lot in lots)
        told = f"<b>{names.get(site, site)}</b>  n {sum(lot.used for lot in lots)}"
        notes.append(words(told + (f", {left_out} left out" if left_out else ""), y, LABEL_PX))
        colour, symbol = site_mark(site, sites)
        if used:
            traces.append(_box(used, y, colour))
        for group, hollow in ((used, False), ([lot for lot in drawn if not lot.used], True)):
            if group:
                traces.append(
                    _points(group, y, colour, symbol + "-open" if hollow else symbol, names.get(site, site))
                )
        shapes += _limit_lines(limits.get((site, measured)), y, log=log)
        for r in ranges:
            if (r.site, r.measured_as) == (site, measured) and r.low is not None and r.high is not None:
                if r.range == QUALITY:
                    shapes.append(_quality(r.low, r.high, y))
                elif r.range == TOLERANCE:
                    traces.append(_tolerance(r, y, colour))
    return {"data": traces, "layout": _layout(len(rows), axis, notes, shapes, log=log)}


def _box(lots: Sequence[Lot], y: float, colour: str) -> dict[str, Any]:
    return {
        "type": "box",
        "orientation": "h",
        "x": [lot.value for lot in lots],
        "y": [y + BOX_Y] * len(lots),
        "width": 0.16,
        "boxpoints": False,
        "line": {"color": colour, "width": 1.5},
        "fillcolor": "rgba(0,0,0,0)",
        "hoverinfo": "x",
        "showlegend": False,
    }


def _points(lots: Sequence[Lot], y: float, colour: str, symbol: str, name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [lot.value for lot in lots],
        "y": [y + offset for offset in spread(len(lots), POINTS_REACH)],
        "marker": {
            "symbol": symbol,
            "size": 9,
            "color": colour,
            "opacity": 0.85,
            "line": {"width": 1, "color": token("surface")},
        }
        if not symbol.endswith("-open")
        else {"symbol": symbol, "size": 9, "color": colour, "line": {"width": 2}},
        "customdata": [["batch", lot.site, lot.batch_id] for lot in lots],
        "text": [_hover(lot, name) for lot in lots],
        "hovertemplate": "%{text}<extra></extra>",
        "showlegend": False,
    }


def _quality(low: float, high: float, y: float) -> dict[str, Any]:
    band = {"type": "rect", "xref": "x", "yref": "y", "x0": low, "x1": high, "y0": y - 0.19, "y1": y + 0.19}
    return {**band, "fillcolor": token("band"), "line": {"width": 0}, "layer": "below"}


def _tolerance(r: Range, y: float, colour: str) -> dict[str, Any]:
    said = f"tolerance range {r.low:.4g} to {r.high:.4g}<br>{r.method}, n {r.n}"
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [r.low, r.high],
        "y": [y + TOLERANCE_Y] * 2,
        "line": {"color": colour, "width": 2, "dash": "dot"},
        "marker": {"symbol": "line-ns-open", "size": 10, "color": colour, "line": {"width": 2}},
        "text": [said] * 2,
        "hovertemplate": "%{text}<extra></extra>",
        "showlegend": False,
    }


def _hover(lot: Lot, name: str) -> str:
    day = f"{lot.lot_at:%Y-%m-%d}" if lot.lot_at else "no date"
    why = "" if lot.used else f"<br>left out: {lot.left_out_because}"
    told = f"{lot.value:.3g}, {day}, {lot.disposition or 'undecided'}{why}"
    return f"<b>{lot.batch_id}</b>, {name}<br>{told}<br>Click: the batch"


def _limit_lines(limit: Limit | None, y: float, *, log: bool) -> list[dict[str, Any]]:
    """Specification limits of the row: dashes in another colour than anything about margins."""
    sides = ((limit.low, "left"), (limit.high, "right")) if limit else ()
    values = [(v, side) for v, side in sides if v is not None and (not log or v > 0)]
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "y",
            "x0": v,
            "x1": v,
            "y0": y + 0.2,
            "y1": y - 0.5,
            "line": {"color": token("bad"), "width": 1.5, "dash": "dash"},
            "label": {
                "text": f"limit {v:.4g}",
                "textposition": "end",
                # Beneath the row, where neither lots nor the site's name stand.
                "yanchor": "bottom",
                # The label stays inside of the axis, whose end a limit often is.
                "xanchor": side,
                "textangle": 0,
                "font": {"size": 11, "color": token("bad")},
            },
        }
        for v, side in values
    ]


def _layout(
    rows: int, axis: str, notes: list[dict[str, Any]], shapes: list[dict[str, Any]], *, log: bool
) -> dict[str, Any]:
    return {
        "height": FRAME_PX + ROW_PX * max(rows, 1),
        "margin": {"l": 12, "r": 18, "t": 8, "b": 66},
        "annotations": notes,
        "shapes": shapes,
        "hovermode": "closest",
        "showlegend": False,
        "xaxis": {
            "type": "log" if log else "linear",
            "title": {"text": wrapped(axis)},
            "zeroline": False,
            "nticks": 6,
            "dtick": None,
        },
        "yaxis": {"range": [-0.58, rows - 0.5], "visible": False, "fixedrange": True},
    }
