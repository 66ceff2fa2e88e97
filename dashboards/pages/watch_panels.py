"""Panels of the watch: open signals with who dealt with them, and what each site delivers against its limits.

Belongs here: two tables of the Control charts page. Does not belong here: acts on signals (`cellfleet signals`), which
no dashboard does; indices (`mart.capability`).
"""

from __future__ import annotations

from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table, number
from dashboards.components.words import plain, plural
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
        html_table(table, "Signals raised")
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
    return Table(
        "signals-raised",
        (
            Column("signal_id", "Id"),
            Column("state", "State", cell=lambda r: LIFE.get(r["state"], r["state"])),
            Column("detail", "What rang"),
            Column("subject", "First batch", link=lambda r: batch_href(visit, r["site_id"], r["subject"])),
            Column("first_at", "Since, UTC"),
            Column("n_alarms", "Alarms"),
            Column("who", "Dealt with by"),
        ),
        [r | {"who": _who(r)} for r in provider.raised(visit.scope)],
    )


def _who(row: dict[str, Any]) -> str:
    for act in ("closed", "acknowledged"):
        if row[f"{act}_by_role"]:
            return f"{act} by the {row[f'{act}_by_role']}: {row[f'{act}_because']}"
    return "nobody yet"


def capability_panel(visit: Visit, provider: ChartProvider) -> Component:
    """What each site delivers against the limits in force."""
    table = capability_table(visit, provider)
    low = [r for r in table.rows if r["ppk_high"] is not None and r["ppk_high"] < 1]
    return panel(
        "capability",
        "Against the specification",
        f"Of {plural(len(table.rows), 'attribute and site', 'attributes and sites')}, {len(low)} surely below a "
        "Ppk of 1."
        if table.rows
        else None,
        html_table(table, "Capability")
        if table.rows
        else states.empty("No attribute of these sites has limits and results."),
        csv=visit.csv("charts", "capability"),
        computed="Ppk and Cpk with 95 % intervals over the newest batches that the fleet declares, on the attribute's "
        "own scale, where the normal law is declared to hold; the chance of a batch out of specification by that law. "
        f"The trend is against the period before. Table mart.capability, snapshot {visit.snapshot.number}.",
        wide=True,
    )


def capability_table(visit: Visit, provider: ChartProvider) -> Table:
    """Indices by site and attribute, the lowest first."""
    return Table(
        "capability",
        (
            Column("site", "Site"),
            Column("attribute", "Attribute", cell=lambda r: html.Span(plain(r["attribute"]))),
            Column("n", "Batches"),
            Column("ppk", "Ppk", cell=lambda r: _ranged(r, "ppk")),
            Column("cpk", "Cpk", cell=lambda r: _ranged(r, "cpk")),
            Column("p_out", "Chance out, %", cell=_percent),
            Column("trend", "Trend"),
            Column("refusal", "Why not"),
        ),
        provider.capability(visit.scope),
    )


def _ranged(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return ""
    ends = [row[f"{name}_low"], row[f"{name}_high"]]
    told = " to ".join(number(e, 3) for e in ends if e is not None)
    return f"{number(row[name], 3)} ({told})" if told else number(row[name], 3)


def _percent(row: dict[str, Any]) -> str:
    if row["p_out"] is None:
        return ""
    low, high = row["p_out_low"], row["p_out_high"]
    told = (
        f" ({number(100 * low, 2)} to {number(100 * high, 2)})"
        if low is not None and high is not None
        else ""
    )
    return f"{number(100 * row['p_out'], 2)}{told}"
