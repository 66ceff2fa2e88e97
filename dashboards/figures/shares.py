"""What a spread is made of: one bar a way of measuring, its parts side by side, each named in it.

Belongs here: placing and labelling. Does not belong here: how the parts were estimated (`warehouse.statistics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboards.facts.comparison import Share
from dashboards.figures.rows import words
from dashboards.theme.tokens import token

ROW_PX, FRAME_PX, LABEL_PX = 84, 40, 30
NAMED = 0.09


def shares(rows: Sequence[tuple[str, Sequence[Share]]]) -> dict[str, Any]:
    """Bars of 100 %. `rows`: what is measured, and its parts, the largest first; the smallest go unnamed."""
    notes, shapes = [], []
    for place, (measured, parts) in enumerate(rows):
        y = float(len(rows) - 1 - place)
        notes.append(words(f"<b>{measured}</b>", y, LABEL_PX))
        begun = 0.0
        for number, part in enumerate(p for p in parts if p.share):
            end = begun + 100 * (part.share or 0)
            shapes.append(
                {
                    "type": "rect",
                    "xref": "x",
                    "yref": "y",
                    "x0": begun,
                    "x1": end,
                    "y0": y - 0.22,
                    "y1": y + 0.12,
                    "fillcolor": token("band" if number % 2 else "raised"),
                    "line": {"color": token("axis"), "width": 1},
                    "layer": "below",
                }
            )
            if part.share and part.share >= NAMED:
                told = f"{part.component.replace('_', ' ')}<br>{100 * part.share:.0f} %"
                middle = {
                    "xref": "x",
                    "x": (begun + end) / 2,
                    "xanchor": "center",
                    "align": "center",
                    "xshift": 0,
                }
                notes.append(words(told, y - 0.05, 0) | middle | {"bgcolor": "rgba(0,0,0,0)"})
            begun = end
    return {
        "data": [],
        "layout": {
            "height": FRAME_PX + ROW_PX * max(len(rows), 1),
            "margin": {"l": 12, "r": 18, "t": 4, "b": 34},
            "annotations": notes,
            "shapes": shapes,
            "showlegend": False,
            "dragmode": False,
            "xaxis": {"range": [0, 100], "ticksuffix": " %", "showgrid": False, "fixedrange": True},
            "yaxis": {"range": [-0.35, len(rows) - 0.45], "visible": False, "fixedrange": True},
        },
    }
