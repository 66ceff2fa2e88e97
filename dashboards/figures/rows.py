"""What figures laid out in labelled rows share: words above the row's line, so that narrow screens keep the width.

Belongs here: placing words and rows. Does not belong here: what a row shows.
"""

from __future__ import annotations

import textwrap
from typing import Any

from dashboards.theme.tokens import token


def words(text: str, y: float, above: int, colour: str = "text") -> dict[str, Any]:
    """Words at the left end of row `y`, so many pixels above its line."""
    return {
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "xshift": 2,
        "yref": "y",
        "y": y,
        "yshift": above,
        "showarrow": False,
        "align": "left",
        "text": text,
        "font": {"size": 12, "color": token(colour)},
        # Words on the row's own line stand over what is drawn there, not in it.
        "bgcolor": token("surface") if not above else "rgba(0,0,0,0)",
    }


def spread(count: int, reach: float) -> list[float]:
    """Offsets of points that share a row, the same at every drawing: a golden-ratio sequence within ± reach."""
    return [((place * 0.618034) % 1.0 - 0.5) * 2 * reach for place in range(count)]


def wrapped(title: str, width: int = 44) -> str:
    """A long title over several lines, as Plotly breaks them; short enough for a phone."""
    return "<br>".join(textwrap.wrap(title, width))
