"""A verdict month by month: the interval of each look, in margins, at the level that was spent on it.

Belongs here: placing and labelling, one row a site. Does not belong here: which look may decide
(`warehouse.statistics`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dashboards.facts.comparison import Look
from dashboards.figures.forest import COLOUR, SYMBOL
from dashboards.figures.rows import words
from dashboards.theme.tokens import token

ROW_PX, FRAME_PX, LABEL_PX = 132, 54, 52
# A row shows one and a half margins on either side; what is longer ends there, below the site's name.
MOST, UNIT = 1.5, 0.18


def looks(
    rows: Sequence[tuple[str, Sequence[Look]]],
    names: Mapping[str, str],
    in_margins: Callable[[float | None], float | None],
) -> dict[str, Any]:
    """Intervals by month. `rows`: site and its looks in order; `in_margins`: a difference in units of the margin."""
    traces: list[dict[str, Any]] = []
    notes, shapes = [], []
    for place, (site, told) in enumerate(rows):
        y = float(len(rows) - 1 - place)
        notes.append(words(f"<b>{names.get(site, site)}</b>", y, LABEL_PX))
        shapes += _margins(y)
        for look in told:
            low, mid, high = (in_margins(v) for v in (look.ci_low, look.estimate, look.ci_high))
            if low is None or mid is None or high is None:
                continue
            traces += _look(look, y, low, mid, high)
    return {
        "data": traces,
        "layout": {
            "height": FRAME_PX + ROW_PX * max(len(rows), 1),
            "margin": {"l": 12, "r": 18, "t": 8, "b": 40},
            "annotations": notes,
            "shapes": shapes,
            "hovermode": "closest",
            "showlegend": False,
            "dragmode": False,
            "xaxis": {"type": "date", "showgrid": False, "fixedrange": True, "nticks": 8},
            "yaxis": {"range": [-0.45, len(rows) - 0.4], "visible": False, "fixedrange": True},
        },
    }


def _margins(y: float) -> list[dict[str, Any]]:
    across = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y", "layer": "below"}
    band = {
        "type": "rect",
        **across,
        "y0": y - UNIT,
        "y1": y + UNIT,
        "fillcolor": token("band"),
        "line": {"width": 0},
    }
    zero = {"type": "line", **across, "y0": y, "y1": y, "line": {"color": token("axis"), "width": 1}}
    ends = [
        {**zero, "y0": e, "y1": e, "line": {"color": token("ok"), "width": 1.5, "dash": "dot"}}
        for e in (y - UNIT, y + UNIT)
    ]
    return [band, zero, *ends]


def _look(look: Look, y: float, low: float, mid: float, high: float) -> list[dict[str, Any]]:
    colour, month = token(COLOUR.get(look.verdict, "unsure")), look.month.isoformat()
    low, shown, high = (y + UNIT * max(-MOST, min(MOST, v)) for v in (low, mid, high))
    said = (
        f"{month[:7]}: {look.verdict}<br>{mid:+.2f} margins, {look.n_site} lots against {look.n_reference}<br>"
        f"tested at {100 * (look.nominal or 0):.2g} %"
    )
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [month, month],
            "y": [low, high],
            "line": {"color": colour, "width": 2},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": [month],
            "y": [shown],
            "marker": {
                "symbol": SYMBOL.get(look.verdict, "diamond-open"),
                "size": 9,
                "color": colour,
                "line": {"width": 1.5, "color": colour},
            },
            "text": [said],
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]
