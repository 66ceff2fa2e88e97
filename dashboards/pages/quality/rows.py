"""The rows behind the counts: of quarantine with file, row and hash, of findings with the way to their source."""

from __future__ import annotations

from collections.abc import Sequence

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.aria import aria
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid
from dashboards.components.words import plain, plural
from dashboards.facts.batch import Finding
from dashboards.facts.feeds import Held
from dashboards.pages.quality.about import computed, names_of
from dashboards.providers.quality import QualityProvider
from dashboards.shell.visit import Visit, source_href

KIND = {"type": "control", "page": "quality", "name": "rows"}
REASON = {"type": "control", "page": "quality", "name": "reason"}


def rows_panel(visit: Visit, provider: QualityProvider) -> Component:
    kind = "findings" if visit.get("rows") == "findings" else "quarantine"
    tallies = provider.finding_tally(visit.scope) if kind == "findings" else provider.held_tally(visit.scope)
    reasons = sorted({t.reason_code for t in tallies} | ({visit.get("reason")} - {""}))
    controls = html.Div(
        [
            dmc.SegmentedControl(
                id=KIND,
                data=[
                    {"value": "quarantine", "label": "Quarantine"},
                    {"value": "findings", "label": "Findings"},
                ],
                value=kind,
                size="sm",
            ),
            dmc.Select(
                id=REASON,
                data=[{"value": r, "label": plain(r)} for r in reasons],
                value=visit.get("reason") or None,
                placeholder="Every reason",
                clearable=True,
                searchable=True,
                size="sm",
                w=230,
                **aria(label="Reason"),
            ),
        ],
        className="cf-filters",
    )
    return panel(
        "rows",
        "The rows themselves",
        None,
        html.Div([controls, html.Div(rows_shown(visit, kind, visit.get("reason")), id="quality-rows")]),
        csv=None,
        computed=computed(
            visit,
            "Values as the source wrote them. The CSV of the table stands above it and follows its reason.",
            "mart.quarantine_open and quality.finding",
        ),
        wide=True,
    )


def rows_shown(visit: Visit, kind: str, reason: str) -> Component:
    """Rows of one kind and reason, with their CSV."""
    provider = QualityProvider(visit.snapshot)
    if kind == "findings":
        table = findings_table(visit, provider.findings(visit.scope, reason or None))
    else:
        table = held_table(visit, provider.held(visit.scope, reason or None))
    if not table.rows:
        where = f" for the reason {plain(reason)}" if reason else ""
        return states.empty(f"No rows{where} at these sites.", "Choose every reason, or other sites above.")
    return html.Div(
        [
            html.P(
                [
                    f"{plural(len(table.rows), 'row')}. ",
                    html.A(
                        "Download CSV",
                        href=visit.csv("quality", kind, reason=reason or None),
                        className="cf-csv",
                        download="",
                    ),
                ],
                className="cf-told",
            ),
            grid(table, f"Rows: {kind}", name="quality"),
        ]
    )


def held_table(visit: Visit, held: Sequence[Held]) -> Table:
    """Quarantine with file, row and hash: its records stand in no table but the raw one."""
    names = names_of(visit)
    rows = [
        {
            **vars(h),
            "name": names.get(h.site, h.site),
            "reason": plain(h.reason_code),
            "what": "record" if h.whole_record else "field",
        }
        for h in held
    ]  # fmt: skip
    return Table(
        "quarantine",
        (
            Column("name", "Site"),
            Column("feed", "Feed"),
            Column("reason", "Reason"),
            Column("what", "Set aside", width=130),
            Column("subject", "Subject"),
            Column("field_name", "Field"),
            Column("value_seen", "Seen"),
            Column("value_wanted", "Wanted"),
            Column("age_h", "Age, h", width=100),
            Column("sent_at", "File written, UTC"),
            Column("source_file", "File"),
            Column("source_row", "Row", width=90),
            Column("sha256", "SHA-256 of the file"),
        ),
        rows,
    )


def findings_table(visit: Visit, findings: Sequence[Finding]) -> Table:
    """Findings with the way to their row."""
    names = names_of(visit)
    rows = [
        {
            **vars(f),
            "name": names.get(f.site, f.site),
            "rule": plain(f.reason_code),
            "source": f"{f.source_file}, row {f.source_row}" if f.source_file else "no single row",
        }
        for f in findings
    ]
    return Table(
        "findings",
        (
            Column("severity", "Weight", width=105),
            Column("name", "Site"),
            Column("rule", "Rule"),
            Column("detail", "What was seen", width=520),
            Column("subject", "Subject"),
            Column("feed", "Feed"),
            Column(
                "source", "From", link=lambda r: source_href(visit, r["record_id"]) if r["record_id"] else ""
            ),
        ),
        rows,
    )
