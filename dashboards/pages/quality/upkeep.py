"""The panel of the Data quality page that tells of maintenance: when it was last done, and what was past its time.

Does not belong here: doing it (`pipelines/maintenance.py`).
"""

from __future__ import annotations

from dash.development.base_component import Component

from dashboards.components import states
from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, html_table
from dashboards.components.words import plural
from dashboards.providers.quality import QualityProvider
from dashboards.shell.visit import Visit

COLUMNS = (
    Column("what", "Kept for a time"),
    Column("rule", "How long"),
    Column("there", "There were", thousands=True),
    Column("past", "Past it, removed", thousands=True),
    Column("size", "MB"),
)


def upkeep_panel(visit: Visit, provider: QualityProvider) -> Component:
    """What the last maintenance before this snapshot did; no row of the lake is ever among it."""
    done = provider.maintenance(visit.scope)
    body = (
        html_table(Table("maintenance", COLUMNS, done), "Maintenance by kind")
        if done
        else states.empty(
            "It was not done before this snapshot.", "Run `cellfleet maintenance --apply`, or its job."
        )
    )
    return panel(
        "maintenance",
        "Maintenance",
        f"{done[0]['done_at']:%Y-%m-%d %H:%M} UTC: {plural(sum(r['past'] for r in done), 'thing')} past their time."
        if done
        else None,
        body,
        csv=None,
        computed="The last maintenance before this snapshot. Rows of the lake, vaults and ledger are never part of it. "
        f"Times are UTC. Table meta.maintenance, snapshot {visit.snapshot.number}.",
        wide=True,
    )  # fmt: skip
