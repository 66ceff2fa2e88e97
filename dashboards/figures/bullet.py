"""Each result of a batch in its own row: where it lies between its limits and among the site's other lots.

Belongs here: placing and labelling. Does not belong here: whether a result passes (`mart.assay_long`).
Every row has its own scale, so rows are not compared with each other; the numbers stand in the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.facts.batch import Measured
from dashboards.figures.rows import words
from dashboards.theme.tokens import token

ROW_PX, FRAME_PX, ABOVE_PX = 60, 22, 26
BAND = (-0.13, 0.13)
PAD = 0.06


def bullet(rows: Sequence[Measured], titles: Mapping[int, tuple[str, str]]) -> dict[str, Any]:
    """Rows of results. `titles`: by place, what stands left above a row and its limit on the right.

    Rows without a number are left out: the caller keeps them in the table. Thin ticks are the site's other lots,
    the band is what the specification allows, a cross is a result outside of it.
    """
    traces: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for place, m in enumerate(rows):
        y = float(len(rows) - 1 - place)
        scale = _scale(m)
        left, right = titles[place]
        notes.append(words(left, y, ABOVE_PX))
        notes.append(
            words(right, y, ABOVE_PX - 8, "muted")
            | {"x": 1, "xanchor": "right", "align": "right", "xshift": -2}
        )
        shapes += _allowed(m, y, scale)
        traces.append(_others(m, y, scale))
        traces.append(_results(m, y, scale))
    return {
        "data": traces,
        "layout": {
            "height": FRAME_PX + ROW_PX * max(len(rows), 1),
            "margin": {"l": 8, "r": 8, "t": 12, "b": 4},
            "annotations": notes,
            "shapes": shapes,
            "hovermode": "closest",
            "showlegend": False,
            "xaxis": {"range": [0, 1], "visible": False, "fixedrange": True},
            "yaxis": {"range": [-0.3, len(rows) - 0.3], "visible": False, "fixedrange": True},
        },
    }


class _Scale:
    """From a row's values to 0..1, linear or by logarithm."""

    def __init__(self, low: float, high: float, *, log: bool) -> None:
        self.log = log
        a, b = (math.log(low), math.log(high)) if log else (low, high)
        width = (b - a) or abs(a) or 1.0
        self.start, self.width = a - PAD * width, width * (1 + 2 * PAD)

    def at(self, value: float) -> float | None:
        """Place of a value; None where it has no logarithm."""
        if self.log and value <= 0:
            return None
        return ((math.log(value) if self.log else value) - self.start) / self.width


def _scale(m: Measured) -> _Scale:
    limits = [v for v in (m.first.low, m.first.high) if v is not None]
    seen = [*(r.value for r in m.results if r.value is not None), *m.others]
    log = m.first.scale == "log" and min(seen + limits) > 0
    # A limit far beyond all lots would squeeze them: it then stands at the end of the row, and its number says where.
    return _Scale(min(seen + limits), max(seen + limits), log=log)


def _allowed(m: Measured, y: float, scale: _Scale) -> list[dict[str, Any]]:
    low, high = m.first.low, m.first.high
    x0 = scale.at(low) if low is not None else 0.0
    x1 = scale.at(high) if high is not None else 1.0
    line = {"type": "line", "xref": "x", "yref": "y", "y0": y, "y1": y, "x0": 0, "x1": 1}
    shapes: list[dict[str, Any]] = [{**line, "line": {"color": token("line"), "width": 1}, "layer": "below"}]
    if low is None and high is None:
        return shapes
    shapes.append(
        {
            "type": "rect",
            "xref": "x",
            "yref": "y",
            "x0": x0 if x0 is not None else 0.0,
            "x1": x1 if x1 is not None else 1.0,
            "y0": y + BAND[0],
            "y1": y + BAND[1],
            "fillcolor": token("band"),
            "line": {"width": 0},
            "layer": "below",
        }
    )
    for limit in (x for x, v in ((x0, low), (x1, high)) if v is not None and x is not None):
        shapes.append(
            {
                **line,
                "x0": limit,
                "x1": limit,
                "y0": y + BAND[0] - 0.05,
                "y1": y + BAND[1] + 0.05,
                "line": {"color": token("bad"), "width": 1.5, "dash": "dash"},
            }
        )
    return shapes


def _others(m: Measured, y: float, scale: _Scale) -> dict[str, Any]:
    places = [x for x in (scale.at(v) for v in m.others) if x is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": places,
        "y": [y] * len(places),
        "marker": {
            "symbol": "line-ns-open",
            "size": 11,
            "color": token("axis"),
            "opacity": 0.55,
            "line": {"width": 1.2},
        },
        "hoverinfo": "skip",
    }


def _results(m: Measured, y: float, scale: _Scale) -> dict[str, Any]:
    shown = [(r, scale.at(r.value)) for r in m.results if r.value is not None]
    found = [(r, x) for r, x in shown if x is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x for _, x in found],
        "y": [y] * len(found),
        "marker": {
            "symbol": ["x" if r.passes is False else "circle" for r, _ in found],
            "size": 11,
            "color": [token("bad" if r.passes is False else "accent") for r, _ in found],
            "line": {"width": 1, "color": token("surface")},
        },
        "text": [
            f"{r.operator if r.operator in ('<', '>') else ''}{r.value:.4g}, "
            f"{'outside its limit' if r.passes is False else 'inside' if r.passes else 'no verdict'}"
            for r, _ in found
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }
