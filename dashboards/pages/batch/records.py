"""What was found in the records of a batch, what was changed later, what followed in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table
from dashboards.components.verdict import severity
from dashboards.components.words import in_words, plain, plural
from dashboards.facts.batch import Batch
from dashboards.pages.batch.about import computed, csv_of, source_column
from dashboards.providers.batch import BatchProvider
from dashboards.shell.visit import Visit


def findings(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    findings = provider.findings(visit.scope.whole(), batch)
    table = findings_table(visit, findings)
    return panel(
        "findings",
        "What was found in its records",
        f"{plural(len(findings), 'finding')}, the worst first." if findings else None,
        html_table(table, "Findings") if findings else states.empty("No rule found anything in its records."),
        csv=csv_of(visit, "findings"),
        computed=computed(
            visit,
            "Rules look at stored records and change nothing. Findings on any version of a record of "
            "this batch, its order, "
            "its custody or its readings.",
            "quality.finding",
        ),
    )


def findings_table(visit: Visit, findings: Sequence[Any]) -> Table:
    """Findings as a table."""
    return Table(
        "findings",
        (
            Column("severity", "Weight", cell=lambda r: severity(r["severity"])),
            Column("reason_code", "Rule", cell=lambda r: plain(r["reason_code"])),
            Column("detail", "What was seen", cell=lambda r: in_words(r["detail"])),
            source_column(visit),
        ),
        [vars(f) for f in findings],
    )


def edits(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    table = edits_table(visit, provider, batch)
    return panel(
        "edits",
        "What was changed later, and by whom",
        f"{plural(len(table.rows), 'field')} of later versions of its records, the newest change first."
        if table.rows
        else None,
        html_table(table, "Later changes", long=True)
        if table.rows
        else states.empty("No record of this batch was changed after it was first told."),
        csv=csv_of(visit, "edits"),
        computed=computed(
            visit,
            "Each stored version of a record beside the one before; fields about the patient are left out.",
            "mart.audit_trail",
        ),
    )


def edits_table(visit: Visit, provider: BatchProvider, batch: Batch) -> Table:
    rows = [{**vars(e), "became": _became(e)} for e in provider.edits(visit.scope.whole(), batch)]
    return Table(
        "edits",
        (
            Column("changed_at", "When, UTC"),
            Column("changed_by", "By"),
            Column(
                "subject",
                "Record",
                cell=lambda r: [r["subject"], html.Br(), html.Small(plain(r["table_name"]), className="cf-muted")],
            ),
            Column("field_name", "Field", cell=lambda r: html.Code(r["field_name"])),
            Column("became", "Was → is"),
            Column("why", "Why"),
            source_column(visit),
        ),
        rows,
    )  # fmt: skip


def _became(e: Any) -> str:
    was, now = ("nothing" if v is None else v for v in (e.old_value, e.new_value))
    return f"{was} → {now}"


def outcomes(visit: Visit, provider: BatchProvider, batch: Batch) -> Component:
    outcomes = provider.outcomes(visit.scope.whole(), batch)
    table = Table(
        "outcomes",
        (
            Column("endpoint", "Endpoint", cell=lambda r: plain(r["endpoint"])),
            Column("outcome_day", "Day after infusion"),
            Column("outcome_value", "Told"),
            Column("censored", "Censored"),
            source_column(visit),
        ),
        [vars(o) for o in outcomes],
    )
    if outcomes:
        body: Component = html_table(table, "Outcomes")
    elif batch.infused_at:
        body = states.empty("Nothing has been told of the patient since the infusion.")
    else:
        body = states.empty("This batch has not been infused.")
    return panel(
        "outcomes",
        "What followed in the patient",
        "Of one patient: it says nothing about cause." if outcomes else None,
        body,
        csv=csv_of(visit, "outcomes"),
        computed=computed(visit, "As the site's registry tells it.", "core.outcome"),
    )
