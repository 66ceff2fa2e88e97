"""A panel: heading, sentence, content, and how the numbers came to be with the CSV that rounds as it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components.aria import aria


def stacks(*columns: Sequence[Component]) -> Component:
    """Panels in columns of their own height; on a narrow screen one column after the other."""
    return html.Div(
        [html.Div(list(column), className="cf-stack") for column in columns], className="cf-panels"
    )


def panel(
    name: str,
    title: str,
    told: Any,
    content: Any,
    *,
    computed: str,
    csv: str | None = None,
    tools: Any = None,
    wide: bool = False,
) -> Component:
    """One panel of a page. `computed`: method, tables and limits of what is shown, in sentences."""
    foot: list[Component] = [
        html.Details([html.Summary("How computed"), html.P(computed)], className="cf-how")
    ]
    if csv:
        foot.append(html.A("Download CSV", href=csv, className="cf-csv", download=""))
    return html.Section(
        [
            html.Div(
                [html.H2(title, id=f"{name}-title"), *([tools] if tools is not None else [])],
                className="cf-panel-head",
            ),
            html.P(told, className="cf-told") if told else None,
            html.Div(content, id=f"{name}-content"),
            html.Div(foot, className="cf-panel-foot"),
        ],
        id=name,
        className="cf-panel cf-wide" if wide else "cf-panel",
        **aria(labelledby=f"{name}-title"),
    )
