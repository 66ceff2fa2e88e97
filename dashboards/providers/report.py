"""What a dossier is made of: its words and tables, read in the reader's own scope, and the rows it rests on as files.

Does not belong here: what a dossier says (`warehouse/reports`), jobs and charts (`dashboards/reports`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.facts.batch import Batch
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope
from warehouse.reports.dossier import Choice, batch_report, comparability_report
from warehouse.reports.tables import OF_BATCH, OF_CHOICE, data_files, has
from warehouse.reports.typeset import Report

FORMATS = ("csv", "parquet")


class ReportProvider:
    """Dossiers over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def comparability(
        self,
        scope: Scope,
        choice: Choice,
        cover: Sequence[tuple[str, Any]],
        pictures: Mapping[tuple[str, str], Sequence[str]],
    ) -> Report:
        """The comparability dossier of sites and attributes; verdicts of other sites as the reader is compared."""
        con = self._snapshot.cursor(scope)
        return comparability_report(con, choice, self._snapshot.facts, cover=cover, pictures=pictures)

    def batch(
        self, scope: Scope, batch: Batch, cover: Sequence[tuple[str, Any]], pictures: Sequence[str]
    ) -> Report:
        """The dossier of a batch of the scope."""
        con = self._snapshot.cursor(scope)
        return batch_report(con, _about(batch), self._snapshot.facts, cover=cover, pictures=pictures)

    def comparability_data(self, scope: Scope, choice: Choice) -> dict[str, bytes]:
        """Rows behind it, each table as CSV and Parquet."""
        return self._data(scope, OF_CHOICE, choice.values)

    def batch_data(self, scope: Scope, batch: Batch) -> dict[str, bytes]:
        """Rows behind it, each table as CSV and Parquet."""
        return self._data(scope, OF_BATCH, _about(batch))

    def _data(self, scope: Scope, tables: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, bytes]:
        con = self._snapshot.cursor(scope)
        return data_files(con, {t: where for t, where in tables.items() if has(con, t)}, values, FORMATS)


def _about(batch: Batch) -> dict[str, str]:
    return {"site": batch.site, "batch": batch.batch_id, "order": batch.order_id or ""}
