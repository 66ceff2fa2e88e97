"""The share of lots up to each value, one line a site: where two lines part, the sites' lots do.

Belongs here: placing and labelling. Does not belong here: which lots count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.facts.comparison import Lot
from dashboards.figures.rows import wrapped
from dashboards.theme.tokens import site_mark

HEIGHT = 360


def steps(
    rows: Sequence[tuple[str, str, Sequence[Lot]]],
    names: Mapping[str, str],
    axis: str,
    *,
    log: bool,
    sites: tuple[str, ...],
) -> dict[str, Any]:
    """Empirical distribution of the lots that count. A log axis leaves out values that have no logarithm."""
    traces = []
    for site, _, lots in rows:
        values = sorted(
            lot.value for lot in lots if lot.used and lot.value is not None and (not log or lot.value > 0)
        )
        colour, symbol = site_mark(site, sites)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{names.get(site, site)}, n {len(values)}",
                "x": values,
                "y": [100 * (place + 1) / len(values) for place in range(len(values))],
                "line": {"color": colour, "width": 2, "shape": "hv"},
                "marker": {"symbol": symbol, "size": 5, "color": colour},
                "hovertemplate": "%{y:.0f} % of lots up to %{x:.4g}<extra>%{fullData.name}</extra>",
            }
        )
    return {
        "data": traces,
        "layout": {
            "height": HEIGHT,
            "margin": {"l": 56, "r": 18, "t": 8, "b": 66},
            "hovermode": "closest",
            "showlegend": True,
            "legend": {"x": 0.02, "y": 0.98, "bgcolor": "rgba(0,0,0,0)"},
            "xaxis": {
                "type": "log" if log else "linear",
                "title": {"text": wrapped(axis)},
                "zeroline": False,
            },
            "yaxis": {"range": [0, 104], "title": {"text": "Lots up to this value (%)"}, "fixedrange": True},
        },
    }
