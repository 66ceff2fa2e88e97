"""From a record back to the file and row it came from, with the file's hash and every stored version.

Belongs here: looking a record up. Does not belong here: the file itself, which stays in its site's vault.
"""

from __future__ import annotations

from dashboards.facts.feeds import Source
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope
from warehouse.dictionary import dictionary

# A patient's fields are not needed to find a row, so they are never read here.
SHOWN = ("open", "operational")


def _lookup(snapshot: Snapshot) -> str:
    """SQL that finds which table holds a record: one scan of each table's identifiers.

    A snapshot that was published before the dictionary learnt a table has none of it.
    """
    tables = dictionary().tables.values()
    small = [t.name for t in tables if t.volume == "small" and f"history.{t.name}" in snapshot.tables]
    each = (
        f"SELECT '{name}' AS name FROM history.{name} WHERE record_id = $record_id AND site_id = ANY($sites)"
        for name in small
    )
    return " UNION ".join(each)


class SourceProvider:
    """Questions about where a record comes from, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def find(self, scope: Scope, record_id: str) -> Source | None:
        """The stored row of a record, in force or superseded; None where no site of the scope sent it."""
        found = self._snapshot.rows(_lookup(self._snapshot), scope, record_id=record_id)
        if not found:
            return None
        table = dictionary().tables[found[0]["name"]]
        row = self._snapshot.rows(
            f"SELECT h.*, c.record_id IS NOT NULL AS in_force, later.record_id AS superseded_by, "
            "(SELECT any_value(feed) FROM raw.file f WHERE f.source_file_sha256 = h.source_file_sha256 "
            f"AND f.source_file = h.source_file AND f.site_id = h.site_id) AS feed FROM history.{table.name} h "
            f"LEFT JOIN core.{table.name} c USING (record_id) "
            f"LEFT JOIN history.{table.name} later ON later.supersedes = h.record_id "
            "WHERE h.record_id = $record_id AND h.site_id = ANY($sites) ORDER BY h.recorded_at DESC",
            scope,
            record_id=record_id,
        )[0]
        fields = dictionary().fields
        shown = tuple((n, row[n]) for n in table.fields if fields[n].privacy in SHOWN)
        return Source(
            site=row["site_id"],
            feed=row["feed"] or "",
            table=table.name,
            record_id=record_id,
            source_system=row["source_system"],
            source_file=row["source_file"],
            source_row=row["source_row"],
            sha256=row["source_file_sha256"],
            source_version=row["source_version"],
            sent_at=row["sent_at"],
            recorded_at=row["recorded_at"],
            in_force=row["in_force"],
            supersedes=row["supersedes"],
            superseded_by=row["superseded_by"],
            reason=row["reason"],
            fields=shown,
            hidden=len(table.fields) - len(shown),
        )
