"""Quarantine and findings by reason and site, each count a link to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table
from dashboards.components.verdict import severity
from dashboards.components.words import age, plain, plural
from dashboards.facts.feeds import Tally
from dashboards.pages.quality.about import computed, names_of
from dashboards.shell.visit import Visit


def _matrix(visit: Visit, tallies: Sequence[Tally], kind: str, head: str, said: str) -> Component:
    """Reasons by site, each count a link to its rows."""
    names = names_of(visit)
    sites = [s for s in visit.scope.sites if any(t.site == s for t in tallies)]
    told = {(t.reason_code, t.site): t for t in tallies}
    worst = {t.reason_code: t.severity for t in reversed(tallies)}
    rows = []
    for reason in dict.fromkeys(t.reason_code for t in tallies):
        oldest = max((t.oldest_h or 0 for t in tallies if t.reason_code == reason), default=0)
        cells = [
            html.Td(_count(visit, told.get((reason, s)), kind, names.get(s, s)), className="cf-number")
            for s in sites
        ]
        weight = worst.get(reason)
        rows.append(
            html.Tr(
                [
                    html.Th([plain(reason), html.Small(f" {reason}", className="cf-muted")], scope="row"),
                    *([html.Td(severity(weight))] if weight else []),
                    *cells,
                    *([html.Td(age(oldest), className="cf-number")] if kind == "quarantine" else []),
                ]
            )
        )
    heads = [
        html.Th(head, scope="col"),
        *([html.Th("Weight", scope="col")] if kind == "findings" else []),
        *(html.Th(names.get(s, s), scope="col", className="cf-number") for s in sites),
        *([html.Th("Oldest", scope="col", className="cf-number")] if kind == "quarantine" else []),
    ]
    return html.Div(
        html.Table(
            [html.Caption(said, className="cf-hidden"), html.Thead(html.Tr(heads)), html.Tbody(rows)],
            className="cf-table cf-tight",
        ),
        className="cf-scroll",
        tabIndex="0",
        role="region",
        **aria(label=said),
    )


def _count(visit: Visit, tally: Tally | None, kind: str, name: str) -> Any:
    if tally is None:
        return "0"
    told = f"{tally.n} of {plain(tally.reason_code)} at {name}"
    # The rows of this reason at this site: the address narrows the sites looked at.
    return html.A(
        str(tally.n),
        href=visit.href("/quality", sites=tally.site, rows=kind, reason=tally.reason_code) + "#rows",
        title=told,
    )


def held_panel(visit: Visit, held: Sequence[Tally]) -> Component:
    return panel(
        "held",
        "Waiting in quarantine",
        f"{plural(sum(t.n for t in held), 'record or field', 'records and fields')}; a count leads to its "
        f"rows. What was sent again counts once."
        if held
        else None,
        _matrix(visit, held, "quarantine", "Reason", "Quarantine by reason and site")
        if held
        else states.empty("Nothing waits in quarantine."),
        csv=visit.csv("quality", "held"),
        computed=computed(
            visit,
            "Records set aside that no later run could promote, and fields of promoted records, each once, however "
            "often it was sent. Age: from the writing of the file to the fleet's newest regular file.",
            "mart.quarantine_open",
        ),
        wide=True,
    )


def found_panel(visit: Visit, found: Sequence[Tally]) -> Component:
    return panel(
        "found",
        "Found in what was promoted",
        f"{plural(sum(t.n for t in found), 'finding')}, the worst first; a count leads to its rows." if found else None,
        _matrix(visit, found, "findings", "Rule", "Findings by rule and site")
        if found
        else states.empty("No rule found anything."),
        csv=visit.csv("quality", "found"),
        computed=computed(
            visit,
            "A finding holds nothing back: its row is in every answer, since leaving out inconvenient "
            "truth would bias them.",
            "quality.finding",
        ),
        wide=True,
    )  # fmt: skip


def tally_table(name: str, tallies: Sequence[Tally]) -> Table:
    keys = ("site", "reason_code", "severity", "n", "oldest_h")
    return Table(name, tuple(Column(k, plain(k)) for k in keys), [vars(t) for t in tallies])
