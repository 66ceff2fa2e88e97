"""The forest plot: each site's difference from the reference in margin units, with its 90 % interval.

Belongs here: placing and labelling. Does not belong here: verdicts (`warehouse.statistics`).
Source of the picture: two one-sided tests read from the 90 % interval (Schuirmann, J Pharmacokinet Biopharm 1987).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.facts.comparison import READS, Verdict
from dashboards.figures.rows import words
from dashboards.theme.tokens import token

COLOUR = {"comparable": "ok", "not comparable": "bad", "inconclusive": "unsure"}
SYMBOL = {"comparable": "circle", "not comparable": "x", "inconclusive": "diamond-open"}
ROW_PX, FRAME_PX = 58, 72
ABOVE_PX = 20  # words of a row above its line; the band leaves them free, so that nothing crosses them
BAND = (-0.2, 0.2)
LEAST, MOST = 1.6, 6.0
NO_INTERVAL = {"no_margin": "the plan gives no margin", "unlike_methods": "unlike methods, never pooled"}


def height(rows: int) -> int:
    """Height in pixels of a forest of so many rows."""
    return FRAME_PX + ROW_PX * max(rows, 1)


def forest(verdicts: Sequence[Verdict], names: Mapping[str, str]) -> dict[str, Any]:
    """Forest plot of one attribute's verdicts. `names`: what each row is called, by site.

    Zero is no difference, -1 and 1 are the plan's margins. A site without an estimate or margin keeps its row and
    says why. Intervals longer than the axis end in an arrow.
    """
    reach = [
        abs(e) for v in verdicts for e in (v.in_margins(v.ci_low), v.in_margins(v.ci_high)) if e is not None
    ]
    far = min(max([LEAST, *(1.12 * r for r in reach)]), MOST)
    traces: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for place, v in enumerate(verdicts):
        y = len(verdicts) - 1 - place
        notes.append(
            words(f"<b>{names.get(v.site, v.site)}</b>  n {v.n_site} / {v.n_reference}", y, ABOVE_PX, "text")
        )
        shapes += _margins(y, drawn=v.margin_low is not None)
        low, mid, high = (v.in_margins(d) for d in (v.ci_low, v.estimate, v.ci_high))
        if low is None or mid is None or high is None:
            notes.append(
                words(f"no interval: {NO_INTERVAL.get(v.reason or '', 'too few lots')}", y, 0, "muted")
            )
            continue
        colour = token(COLOUR.get(v.verdict, "unsure"))
        shown_low, shown_high = max(low, -far), min(high, far)
        if shown_low >= shown_high:  # the whole interval is beyond the axis: only an arrow says where
            shown_low = shown_high = far if low > 0 else -far
        ends = [x for x, cut in ((shown_low, low < -far), (shown_high, high > far)) if cut]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [shown_low, shown_high],
                "y": [y, y],
                "hoverinfo": "skip",
                "line": {"color": colour, "width": 3},
                "showlegend": False,
            }
        )
        for x in ends:
            arrow = "triangle-left" if x < 0 else "triangle-right"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [x],
                    "y": [y],
                    "hoverinfo": "skip",
                    "showlegend": False,
                    "marker": {"symbol": arrow, "size": 11, "color": colour},
                }
            )
        if -far <= mid <= far:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [mid],
                    "y": [y],
                    "showlegend": False,
                    "customdata": [[v.site, v.attribute]],
                    "marker": {
                        "symbol": SYMBOL.get(v.verdict, "diamond-open"),
                        "size": 13,
                        "color": colour,
                        "line": {"width": 2, "color": colour},
                    },
                    "hovertemplate": _hover(v, names.get(v.site, v.site)),
                }
            )
    return {"data": traces, "layout": _layout(len(verdicts), far, notes, shapes)}


def _margins(y: int, *, drawn: bool) -> list[dict[str, Any]]:
    """The row's zero and, where the plan gives them, its margins with the band between."""
    place = {"xref": "x", "yref": "y", "y0": y + BAND[0], "y1": y + BAND[1], "layer": "below"}
    zero = {
        "type": "line",
        "x0": 0,
        "x1": 0,
        **place,
        "line": {"color": token("axis"), "width": 1, "dash": "solid"},
    }
    if not drawn:
        return [zero]
    band = {"type": "rect", "x0": -1, "x1": 1, **place, "line": {"width": 0}, "fillcolor": token("band")}
    ends = [
        {**zero, "x0": x, "x1": x, "line": {"color": token("ok"), "width": 2, "dash": "dot"}} for x in (-1, 1)
    ]
    return [band, zero, *ends]


def _hover(v: Verdict, name: str) -> str:
    read = READS.get(v.scale, "difference")
    numbers = [v.as_read(d) for d in (v.estimate, v.ci_low, v.ci_high)]
    mid, low, high = (f"{n:.3g}" if n is not None else "?" for n in numbers)
    return (
        f"<b>{name}: {v.verdict}</b><br>{read} {mid}, 90 % interval {low} to {high}<br>"
        f"{v.n_site} lots against {v.n_reference}<extra></extra>"
    )


def _layout(
    rows: int, far: float, notes: list[dict[str, Any]], shapes: list[dict[str, Any]]
) -> dict[str, Any]:
    ticks = [-1, 0, 1] if far < 2.5 else [-round(far), -1, 0, 1, round(far)]
    words = {-1: "−1<br>margin", 0: "0<br>equal", 1: "+1<br>margin"}
    return {
        "height": height(rows),
        "margin": {"l": 12, "r": 12, "t": 8, "b": 44},
        "shapes": shapes,
        "annotations": notes,
        "hovermode": "closest",
        "showlegend": False,
        "dragmode": False,
        "xaxis": {
            "range": [-far, far],
            "zeroline": False,
            "showgrid": False,
            "tickvals": ticks,
            "tickangle": 0,
            "fixedrange": True,
            "ticktext": [words.get(t, f"{t:+d}".replace("-", "−")) for t in ticks],
        },
        "yaxis": {"range": [-0.4, rows - 0.4], "visible": False, "fixedrange": True},
    }
