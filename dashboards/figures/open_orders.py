"""Open orders by their age: the intervals that each has gone through, where it waits now, and when it is due.

Belongs here: placing and labelling. Does not belong here: which orders are late (the page), deadlines (`fleet.yaml`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.figures.hours import COLOURS, PATTERNS
from dashboards.figures.rows import words
from dashboards.theme.tokens import token

ROW_PX, FRAME_PX, ABOVE_PX = 40, 84, 15
STANDS = {
    "late": ("x", "bad"),
    "slow": ("diamond", "unsure"),
    "usual": ("circle", "ok"),
    "unknown": ("circle-open", "axis"),
}


@dataclass(frozen=True)
class Aged:
    """One open order: days since it was ordered at the ends of its intervals, in order, and when it is due.

    `parts`: place of the interval among all, its words, first and last day; the last one runs on. `stands`: late, slow,
    usual or unknown. `batch` is what a click opens, nothing before there is one.
    """

    title: str
    parts: tuple[tuple[int, str, float, float], ...]
    due: float | None
    stands: str
    told: str
    batch: tuple[str, ...] = ()


def open_orders(rows: Sequence[Aged]) -> dict[str, Any]:
    """One row an order, the first at the top; intervals in the colours of the medians, the due day a thick tick."""
    last = len(rows) - 1
    data: list[dict[str, Any]] = []
    shown = sorted({(n, title) for r in rows for n, title, _, _ in r.parts})
    for n, title in shown:
        mine = [(last - place, r, p) for place, r in enumerate(rows) for p in r.parts if p[0] == n]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": title,
                "y": [y for y, _, _ in mine],
                "x": [round(p[3] - p[2], 3) for _, _, p in mine],
                "base": [round(p[2], 3) for _, _, p in mine],
                "width": 0.3,
                "marker": {
                    "color": token(COLOURS[n % len(COLOURS)]),
                    "pattern": {
                        "shape": PATTERNS[n % len(PATTERNS)],
                        "fillmode": "overlay",
                        "solidity": 0.12,
                    },
                    "line": {"width": 1, "color": token("surface")},
                },
                "customdata": [list(r.batch) for _, r, _ in mine],
                "text": [f"<b>{r.title}</b><br>{title}: {p[3] - p[2]:.1f} d" for _, r, p in mine],
                "textposition": "none",
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    for stands, (symbol, colour) in STANDS.items():
        mine_now = [(last - place, r) for place, r in enumerate(rows) if r.stands == stands and r.parts]
        if mine_now:
            data.append(_now(mine_now, symbol, colour))
    due = [(last - place, r) for place, r in enumerate(rows) if r.due is not None]
    if due:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "due",
                "x": [r.due for _, r in due],
                "y": [y for y, _ in due],
                "marker": {
                    "symbol": "line-ns-open",
                    "size": 17,
                    "color": token("text"),
                    "line": {"width": 3},
                },
                "text": [f"<b>{r.title}</b><br>due {r.due:.1f} d after the order" for _, r in due],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    height = FRAME_PX + ROW_PX * max(len(rows), 1) + 56
    return {
        "data": data,
        "layout": {
            "height": height,
            "barmode": "overlay",
            "margin": {"l": 12, "r": 18, "t": 8, "b": 116},
            "annotations": [
                words(f"<b>{r.title}</b>  {r.told}", last - place, ABOVE_PX) for place, r in enumerate(rows)
            ],
            "hovermode": "closest",
            "showlegend": True,
            "legend": {
                "orientation": "h",
                "y": -54 / (height - 124),
                "yanchor": "top",
                "x": 0,
                "traceorder": "normal",
            },
            "xaxis": {"title": {"text": "Days since the order"}, "zeroline": False, "rangemode": "tozero"},
            "yaxis": {"range": [-0.5, len(rows) - 0.25], "visible": False, "fixedrange": True},
        },
    }


def _now(rows: Sequence[tuple[int, Aged]], symbol: str, colour: str) -> dict[str, Any]:
    """Where each order stands now, at the end of its row."""
    return {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": [r.parts[-1][3] for _, r in rows],
        "y": [y for y, _ in rows],
        "customdata": [list(r.batch) for _, r in rows],
        "marker": {
            "symbol": symbol,
            "size": 12,
            "color": token(colour),
            "line": {"width": 2, "color": token(colour)},
        },
        "text": [f"<b>{r.title}</b><br>{r.told}{'<br>Click: the batch' if r.batch else ''}" for _, r in rows],
        "hovertemplate": "%{text}<extra></extra>",
    }
