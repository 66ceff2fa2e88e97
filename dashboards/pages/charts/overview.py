"""Every series of the sites in its newest phase, each a link to its charts.

Does not belong here: the charts of one series (`panels.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components.aria import aria
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table
from dashboards.components.words import plain, plural
from dashboards.facts.charts import Series
from dashboards.pages.charts.view import View
from dashboards.shell.visit import Visit


def answer(all_series: Sequence[Series]) -> str:
    """The page's question answered in a sentence."""
    ringing = [s for s in all_series if s.n_outside]
    newest = max((s.newest_outside_at for s in ringing if s.newest_outside_at), default=None)
    quiet = sum(s.refusal is not None for s in all_series)
    told = (
        f"{len(ringing)} of {len(all_series)} series have points outside their limits in the newest phase"
        + (f", the newest of a batch started {newest:%Y-%m-%d}" if newest else "")
        if ringing
        else f"no point of {len(all_series)} series lies outside its limits in the newest phase"
    )
    return f"{told[0].upper()}{told[1:]}; {plural(quiet, 'series', 'series')} without limits yet."


def overview_panel(visit: Visit, all_series: Sequence[Series], titles: Any, view: View) -> Component:
    """Attribute by site: batches outside the limits of any chart."""
    sites = list(dict.fromkeys(s for s in visit.scope.sites if any(x.site == s for x in all_series)))
    names = {s.id: s.name for s in visit.snapshot.sites}
    told: dict[str, dict[str, Series]] = {}
    for s in all_series:
        told.setdefault(titles(s), {})[s.site] = s
    rows = [
        html.Tr(
            [
                html.Th(title, scope="row"),
                *(html.Td(_state(visit, by_site.get(site), view)) for site in sites),
            ]
        )
        for title, by_site in sorted(told.items())
    ]
    table = html.Table(
        [
            html.Caption("Series by site", className="cf-hidden"),
            html.Thead(
                html.Tr(
                    [
                        html.Th("Charted", scope="col"),
                        *(html.Th(s, scope="col", title=names.get(s, s)) for s in sites),
                    ]
                )
            ),
            html.Tbody(rows),
        ],
        className="cf-table cf-tight",
    )
    return panel(
        "overview",
        "Every series, in its newest phase",
        "Batches outside the limits of any chart of the series, of all its batches. Choose one to see "
        "its charts.",
        html.Div(table, className="cf-scroll", tabIndex="0", role="region", **aria(label="Series by site")),
        csv=visit.csv("charts", "overview"),
        computed="Limits rest on a baseline that is declared, frozen and approved by roles; each point "
        "is laid against the "
        "version in force. A signal asks for a look and decides nothing; control limits are no "
        "specification. "
        f"Tables mart.chart_limit and mart.chart_point, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def _state(visit: Visit, series: Series | None, view: View) -> Any:
    if series is None:
        return html.Span("not charted", className="cf-muted")
    if series.refusal:
        symbol, word, kind = "◇", "no limits", "unsure"
    elif series.n_outside:
        symbol, word, kind = "✕", f"{series.n_outside} of {series.n_points}", "bad"
    else:
        symbol, word, kind = "●", f"0 of {series.n_points}", "ok"
    here = series == view.series
    newest = f", newest outside {series.newest_outside_at:%Y-%m-%d}" if series.newest_outside_at else ""
    return html.A(
        [html.Span(f"{symbol} ", **aria(hidden="true")), word],
        href=visit.href("/charts", series=f"{series.site}|{series.key}") + "#chart",
        className=f"cf-verdict cf-{kind}",
        title=f"{series.state} limits{newest}",
        **(aria(current="true") if here else {}),
    )  # fmt: skip


def overview_table(all_series: Sequence[Series]) -> Table:
    """Every series, for the CSV."""
    keys = (
        "site", "attribute", "measured_as", "kind", "phase", "state", "n_points", "n_outside", "newest_outside_at",
        "refusal",
    )  # fmt: skip
    return Table("charts", tuple(Column(k, plain(k)) for k in keys), [vars(s) for s in all_series])
