"""From what to whom: collection and lots, the batches made of them for one order, and what was infused.

Belongs here: placing boxes in three columns. Does not belong here: who descends from what (`mart.genealogy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.theme.tokens import token

ROW_PX, FRAME_PX = 52, 28
COLUMNS = (0.17, 0.52, 0.86)
CLICKS = {"batch": "the batch", "lot": "where it was used"}
HEADS = ("Made of", "Batch", "Given as")


@dataclass(frozen=True)
class Box:
    """One box: what is written in it, its column, what it comes from (places of other boxes), how it is marked."""

    lines: tuple[str, ...]
    column: int
    parents: tuple[int, ...] = ()
    chosen: bool = False
    broken: bool = False
    customdata: tuple[str, ...] = ()


def genealogy(boxes: Sequence[Box]) -> dict[str, Any]:
    """Boxes and the lines between them, left to right. A broken one (unknown, expired) is dashed and says so."""
    per_column = [[b for b in boxes if b.column == c] for c in range(len(COLUMNS))]
    rows = max(len(column) for column in per_column) if boxes else 1
    at: dict[int, tuple[float, float]] = {}
    for c, column in enumerate(per_column):
        for place, b in enumerate(column):
            # Each column is spread over the whole height, so that lines stay short.
            at[boxes.index(b)] = (COLUMNS[c], rows - (place + 0.5) * rows / len(column))
    notes = [
        {
            "xref": "x", "yref": "paper", "x": x, "y": 1, "yanchor": "bottom", "showarrow": False, "text": head,
            "font": {"size": 12, "color": token("muted")},
        }
        for x, head in zip(COLUMNS, HEADS, strict=True)
    ]  # fmt: skip
    shapes: list[dict[str, Any]] = []
    links: list[dict[str, Any]] = []
    for place, b in enumerate(boxes):
        x, y = at[place]
        for parent in b.parents:
            x0, y0 = at[parent]
            shapes.append(
                {
                    "type": "path",
                    "path": f"M {x0} {y0} C {(x0 + x) / 2} {y0}, {(x0 + x) / 2} {y}, {x} {y}",
                    "line": {"color": token("axis"), "width": 1.2},
                    "layer": "below",
                }
            )
        colour = "bad" if b.broken else "accent" if b.chosen else "line"
        notes.append(
            {
                "x": x,
                "y": y,
                "showarrow": False,
                "text": "<br>".join(b.lines),
                "font": {"size": 11.5, "color": token("text")},
                "bgcolor": token("surface"),
                "bordercolor": token(colour),
                "borderwidth": 2 if b.chosen or b.broken else 1,
                "borderpad": 4,
                # The box lies over its point, which is what is clicked.
                "captureevents": False,
            }
        )
        if b.customdata:
            links.append({"x": x, "y": y, "customdata": list(b.customdata), "text": b.lines[0]})
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": [link["x"] for link in links],
                "y": [link["y"] for link in links],
                "customdata": [link["customdata"] for link in links],
                "text": [f"{link['text']}<br>Click: {CLICKS[link['customdata'][0]]}" for link in links],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"size": 40, "symbol": "square", "color": "rgba(0,0,0,0)"},
            }
        ],
        "layout": {
            "height": FRAME_PX + ROW_PX * rows,
            "margin": {"l": 4, "r": 4, "t": 22, "b": 4},
            "annotations": notes,
            "shapes": shapes,
            "hovermode": "closest",
            "showlegend": False,
            "xaxis": {"range": [0, 1], "visible": False, "fixedrange": True},
            "yaxis": {"range": [0, rows], "visible": False, "fixedrange": True},
        },
    }
