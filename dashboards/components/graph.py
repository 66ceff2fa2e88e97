"""The one place that makes a graph: no chart is ever sent to another host, the browser puts the theme in.

Belongs here: the graph and its settings. Does not belong here: what is drawn (`dashboards/figures`).
plotly.js 4 offers by default to upload a chart's data to a cloud service; both settings that switch it off stand here.
"""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from dashboards.components.aria import aria

CONFIG: dict[str, Any] = {
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "displaylogo": False,
    "responsive": True,
    "scrollZoom": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"],
}
EMPTY: dict[str, Any] = {"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}}


def graph(name: str, figure: dict[str, Any], said: str) -> html.Div:
    """A figure under an id, with the sentence that stands for it where it cannot be seen.

    The height is fixed by the figure, so that nothing moves when it is drawn. Callbacks update `figure_id(name)`.
    """
    height = int(figure["layout"]["height"])
    config: Any = {**CONFIG, "toImageButtonOptions": {"format": "svg", "filename": f"cellfleet-{name}"}}
    return html.Div(
        [
            dcc.Store(id=figure_id(name), data=figure),
            dcc.Graph(id=graph_id(name), figure=EMPTY, config=config, style={"height": f"{height}px"}),
        ],
        className="cf-graph",
        role="figure",
        **aria(label=said),
    )


def figure_id(name: str) -> dict[str, str]:
    """Id of the store that holds the figure without a theme: the output of server callbacks."""
    return {"type": "figure", "name": name}


def graph_id(name: str) -> dict[str, str]:
    """Id of the drawn graph: the input for clicks and zooming."""
    return {"type": "graph", "name": name}
