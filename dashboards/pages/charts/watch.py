"""Panels of the watch: open signals with who dealt with them, what each site delivers, how soon the rules ring.

Belongs here: tables of the Control charts page. Does not belong here: acts on signals (`cellfleet signals`), which
no dashboard does; indices (`mart.capability`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, number, printed
from dashboards.components.words import attribute_words, in_words, plain, plural, unit
from dashboards.facts.charts import Capability
from dashboards.providers.charts import ChartProvider
from dashboards.shell.visit import Visit, batch_href

LIFE = {"raised": "● raised", "acknowledged": "◐ acknowledged", "closed": "○ closed"}


def raised_panel(visit: Visit, provider: ChartProvider) -> Component:
    """Signals of charts, trajectories and excursions with their life."""
    table = raised_table(visit, provider)
    waiting = sum(r["state"] == "raised" for r in table.rows)
    return panel(
        "raised",
        "Signals raised, and who dealt with them",
        [
            f"{plural(waiting, 'signal waits', 'signals wait')} for somebody to look. A role acts on one with ",
            html.Code("cellfleet signals ack"),
            " or ",
            html.Code("close"),
            "; these pages only read.",
        ]
        if table.rows
        else None,
        html_table(table, "Signals raised", long=True)
        if table.rows
        else states.empty("No signal was raised at these sites."),
        csv=visit.csv("charts", "raised"),
        computed="One row a cause: approved charts outside their baseline, batches that left the path of the good "
        "ones, excursions beyond the fleet's declared limits by sound sensors. Tables mart.signal and "
        f"mart.signal_evidence, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def raised_table(visit: Visit, provider: ChartProvider) -> Table:
    """Signals of the scope, those that wait first."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    return Table(
        "signals-raised",
        (
            Column("state", "State", cell=lambda r: html.Span(LIFE.get(r["state"], r["state"]), className="cf-nowrap")),
            Column("name", "Site"),
            Column("told", "What rang"),
            Column("subject", "First batch", link=lambda r: batch_href(visit, r["site_id"], r["subject"])),
            Column("first_at", "Since, UTC"),
            Column("n_alarms", "Alarms"),
            Column("who", "Dealt with by"),
            Column("signal_id", "Id"),
        ),
        [
            r
            | {
                "who": _who(r),
                "name": names.get(r["site_id"], r["site_id"]),
                "told": in_words(r["detail"]).replace(f" at {r['site_id']}", ""),
            }
            for r in provider.raised(visit.scope)
        ],
    )  # fmt: skip


def _who(row: dict[str, Any]) -> str:
    for act in ("closed", "acknowledged"):
        if row[f"{act}_by_role"]:
            return f"{act} by the {row[f'{act}_by_role']}: {row[f'{act}_because']}"
    return "nobody yet"


def capability_panel(visit: Visit, provider: ChartProvider) -> Component:
    """What each site delivers against the limits in force."""
    found = provider.capability(visit.scope)
    low = [c for c in found if c.ppk_high is not None and c.ppk_high < 1]
    return panel(
        "capability",
        "Against the specification",
        f"Of {plural(len(found), 'attribute and site', 'attributes and sites')}, {len(low)} surely below a "
        "Ppk of 1. The lowest first, each with its 95 % interval."
        if found
        else None,
        html_table(capability_table(visit, found, _charted(visit, provider)), "Capability", long=True)
        if found
        else states.empty("No attribute of these sites has limits and results."),
        csv=visit.csv("charts", "capability"),
        computed="Ppk and Cpk with 95 % intervals over the newest batches that the fleet declares, on the attribute's "
        "own scale, where the normal law is declared to hold; the chance of a batch out of specification by that law; "
        "the CSV also tells the posterior predictive probability that the next one lies inside. "
        f"The trend is against the period before. Table mart.capability, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def _charted(visit: Visit, provider: ChartProvider) -> dict[tuple[str, str], str]:
    """Addresses of the charts of what is measured, by site and attribute."""
    return {
        (s.site, s.measured_as): visit.href("/charts", series=f"{s.site}|{s.key}") + "#chart"
        for s in provider.series(visit.scope)
    }


def capability_table(
    visit: Visit, found: Sequence[Capability], charted: Mapping[tuple[str, str], str] | None = None
) -> Table:
    """Indices by site and attribute, the lowest first; with the addresses of charts as people read them, else every
    figure."""
    names = {s.id: s.name for s in visit.snapshot.sites}
    if charted is None:
        told = [vars(c) for c in found]
        return Table(
            "capability", tuple(Column(f.name, plain(f.name), digits=4) for f in fields(Capability)), told
        )
    rows = [
        vars(c)
        | {"href": charted.get((c.site, c.attribute))}
        | {"name": names.get(c.site, c.site), "why": " ".join(w for w in (c.refusal, c.cpk_refusal) if w)}
        for c in found
    ]  # fmt: skip
    return Table(
        "capability",
        (
            Column("attribute", "Attribute", cell=_attribute, width=180),
            Column("name", "Site"),
            Column("low", "Limit", cell=_limit),
            Column("n", "n"),
            Column("ppk", "Ppk", cell=lambda r: _ranged(r, "ppk")),
            Column("cpk", "Cpk", cell=lambda r: _ranged(r, "cpk")),
            Column("p_out", "Chance out, %", cell=_percent),
            Column("trend", "Trend"),
            Column("why", "Why there is none", width=200),
        ),
        rows,
    )


def rules_panel(visit: Visit, provider: ChartProvider) -> Component:
    """What the run rules cost: how soon each set rings, by chance and after a shift."""
    table = rules_table(visit, provider)
    quiet = next((r for r in table.rows if r["shift"] == 0), None)
    told = (
        f"With nothing wrong, all Nelson rules together ring every {number(quiet['nelson'], 2)} batches of one chart, "
        f"all Western Electric rules every {number(quiet['western'], 2)}; a point beyond 3 sigma alone every 370. "
        "So the rules are shown and do not ring."
        if quiet
        else None
    )
    return panel(
        "run-lengths",
        "How soon the rules ring",
        told,
        html_table(table, "Mean number of batches to an alarm")
        if table.rows
        else states.empty("This snapshot does not tell run lengths."),
        csv=visit.csv("charts", "run-lengths"),
        computed="Mean run lengths by simulation with one standard error, normal values, centre and spread known; the "
        f"ringing charts' own are set by the fleet's budget. Table mart.chart_rule, snapshot {visit.snapshot.number}.",
    )


def rules_table(visit: Visit, provider: ChartProvider) -> Table:
    """Mean batches to an alarm by shift."""
    return Table(
        "run-lengths",
        (
            Column("shift", "Shift of the mean, sigma"),
            Column("nelson", "All Nelson rules"),
            Column("nelson_error", "±"),
            Column("western", "All Western Electric rules"),
            Column("western_error", "±"),
        ),
        provider.run_lengths(visit.scope),
    )


def _attribute(row: dict[str, Any]) -> list[Any]:
    """What is measured, as a way to the batches behind it where it is charted."""
    words = attribute_words(row["attribute"])
    stage = html.Small(plain(row["stage"]), className="cf-muted")
    return [html.Span(html.A(words, href=row["href"])) if row["href"] else words, html.Br(), stage]


def _limit(row: dict[str, Any]) -> list[Any]:
    """The limit with its unit, and the specification that declares it."""
    low, high = (None if row[end] is None else number(row[end], 3) for end in ("low", "high"))
    told = f"{low} to {high}" if low and high else f"≥ {low}" if low else f"≤ {high}"
    since = (
        f"in force from {printed(row['effective_from'])} UTC"
        if row["effective_from"]
        else "in force since no date"
    )
    declared = html.Small(
        row["specification"],
        className="cf-muted",
        title=f"Approved by the {row['approved_by_role'] or 'unnamed role'}, {since}",
    )
    return [html.Span(f"{told} {unit(row['unit'])}".strip(), className="cf-nowrap"), html.Br(), declared]


def _ranged(row: dict[str, Any], name: str) -> Any:
    if row[name] is None:
        return ""
    ends = [row[f"{name}_low"], row[f"{name}_high"]]
    return _with_interval(number(row[name], 3), [number(e, 3) for e in ends if e is not None])


def _percent(row: dict[str, Any]) -> Any:
    if row["p_out"] is None:
        return ""
    ends = [row["p_out_low"], row["p_out_high"]]
    return _with_interval(
        number(100 * row["p_out"], 2), [number(100 * e, 2) for e in ends] if None not in ends else []
    )


def _with_interval(told: str, ends: Sequence[str]) -> Any:
    interval = [html.Br(), html.Small(" to ".join(ends), className="cf-muted")] if ends else []
    return html.Span([told, *interval], className="cf-nowrap")
