"""Hours of the way from order to infusion: median intervals end to end by site, and one interval order by order.

Belongs here: placing and labelling. Does not belong here: medians (the page takes them from the orders it shows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.figures.rows import spread, words
from dashboards.theme.tokens import site_mark, token

BAR_PX, STRIP_PX, FRAME_PX = 58, 92, 76
COLOURS = ("site1", "site2", "site3", "site4", "site5", "site6")
PATTERNS = ("", "/", "", "\\", "", ".")


def medians(
    sites: Sequence[tuple[str, str]], parts: Sequence[tuple[str, str, Mapping[str, tuple[float, int]]]]
) -> dict[str, Any]:
    """One bar a site: medians in days, end to end. `sites`: id and name; `parts`: interval's code and words, and by
    site its median and n. Medians of intervals do not add up to the median of the whole; the table has that."""
    data = []
    for n, (code, title, by_site) in enumerate(parts):
        known = [(place, by_site[site]) for place, (site, _) in enumerate(sites) if site in by_site]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": title,
                "x": [days for _, (days, _) in known],
                "y": [len(sites) - 1 - place for place, _ in known],
                "width": 0.42,
                "marker": {
                    "color": token(COLOURS[n % 6]),
                    "pattern": {
                        "shape": PATTERNS[n % 6],
                        "fillmode": "overlay",
                        "solidity": 0.12,
                    },
                    "line": {"width": 1, "color": token("surface")},
                },
                "texttemplate": [f"{days:.1f}" if days >= 1.5 else "" for _, (days, _) in known],
                "textposition": "inside",
                "insidetextanchor": "middle",
                "textangle": 0,
                "textfont": {"size": 11, "color": token("surface")},
                "customdata": [["step", code, count] for _, (_, count) in known],
                "hovertemplate": f"{title}: %{{x:.2f}} d, median of %{{customdata[2]}} orders<br>"
                "Click: its orders<extra></extra>",
            }
        )
    height = FRAME_PX + BAR_PX * max(len(sites), 1) + 56
    return {
        "data": data,
        "layout": {
            "height": height,
            "barmode": "stack",
            "margin": {"l": 12, "r": 14, "t": 8, "b": 116},
            "annotations": [
                words(f"<b>{name}</b>", len(sites) - 1 - place, 20) for place, (_, name) in enumerate(sites)
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
            "xaxis": {
                "title": {"text": "Days, medians end to end"},
                "zeroline": False,
                "rangemode": "tozero",
            },
            "yaxis": {"range": [-0.5, len(sites) - 0.3], "visible": False, "fixedrange": True},
        },
    }


def strips(
    rows: Sequence[tuple[str, str, Sequence[tuple[float, str, str | None]]]],
    axis: str,
    sites: tuple[str, ...],
) -> dict[str, Any]:
    """One interval, order by order. `rows`: site, its name, and of each order the hours, what it is called and its
    batch. A box is the middle half with its median."""
    data: list[dict[str, Any]] = []
    notes = []
    for place, (site, name, orders) in enumerate(rows):
        y = float(len(rows) - 1 - place)
        colour, symbol = site_mark(site, sites)
        notes.append(words(f"<b>{name}</b>  n {len(orders)}", y, 34))
        if not orders:
            continue
        hours = [h for h, _, _ in orders]
        data.append(
            {
                "type": "box",
                "orientation": "h",
                "x": hours,
                "y": [y - 0.3] * len(hours),
                "width": 0.16,
                "boxpoints": False,
                "line": {"color": colour, "width": 1.5},
                "fillcolor": "rgba(0,0,0,0)",
                "hoverinfo": "x",
                "showlegend": False,
            }
        )
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": hours,
                "y": [y + offset for offset in spread(len(hours), 0.14)],
                "marker": {"symbol": symbol, "size": 7, "color": colour, "opacity": 0.75},
                "customdata": [["batch", site, batch] if batch else [] for _, _, batch in orders],
                "text": [f"<b>{told}</b>, {h:.4g} h<br>Click: the batch" for h, told, _ in orders],
                "hovertemplate": "%{text}<extra></extra>",
                "showlegend": False,
            }
        )
    return {
        "data": data,
        "layout": {
            "height": FRAME_PX + STRIP_PX * max(len(rows), 1),
            "margin": {"l": 12, "r": 14, "t": 8, "b": 56},
            "annotations": notes,
            "hovermode": "closest",
            "showlegend": False,
            "xaxis": {"title": {"text": axis}, "zeroline": False, "nticks": 7},
            "yaxis": {"range": [-0.55, len(rows) - 0.4], "visible": False, "fixedrange": True},
        },
    }
