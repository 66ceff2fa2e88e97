"""What the Data quality page asks: accounting of every feed, open quarantine, findings, how fresh the files are.

Does not belong here: findings of one batch (`providers/batch.py`), a record's versions (`providers/sources.py`).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dashboards.facts.batch import Finding
from dashboards.facts.feeds import Feed, Held, Tally
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope

# Ages run to the newest file of the whole fleet: what a site is behind by, not how long ago a demo was simulated.
NEWEST = "(SELECT max(sent_at) FROM raw.file)"


class QualityProvider:
    """Questions about feeds and what is wrong with their records, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def newest_file_at(self, scope: Scope) -> Any:
        """When the newest file of the sites of the scope was written; None without any."""
        [row] = self._snapshot.rows(
            "SELECT max(sent_at) AS at FROM raw.file WHERE site_id = ANY($sites)", scope
        )
        return row["at"]

    def feeds(self, scope: Scope) -> list[Feed]:
        """Every feed of the sites of the scope."""
        found = self._snapshot.rows(
            "WITH days AS (SELECT DISTINCT site_id, feed, sent_at FROM raw.file WHERE sent_at IS NOT NULL), "
            "steps AS (SELECT site_id, feed, epoch(sent_at - lag(sent_at) OVER (PARTITION BY site_id, feed "
            "ORDER BY sent_at)) / 3600 AS step FROM days), "
            "usual AS (SELECT site_id, feed, median(step) AS usual_h FROM steps WHERE step IS NOT NULL "
            "GROUP BY ALL "
            "HAVING count(*) >= 3) "
            "SELECT s.site_id AS site, s.feed, s.received, s.promoted, s.superseded, s.duplicate, "
            "s.quarantined, "
            "s.fields_quarantined, s.findings, s.files, s.files_refused, s.last_file_at, "
            f"epoch({NEWEST} - s.last_file_at) / 3600 AS lag_h, u.usual_h FROM mart.feed_status s "
            "LEFT JOIN usual u USING (site_id, feed) WHERE s.site_id = ANY($sites) ORDER BY s.site_id, "
            "s.feed",
            scope,
        )
        return [Feed(**row) for row in found]

    def maintenance(self, scope: Scope) -> list[dict[str, Any]]:
        """What the last maintenance before this snapshot did, by kind; nothing where it was never done."""
        if "meta.maintenance" not in self._snapshot.tables:  # published before there was any
            return []
        return self._snapshot.rows(
            "SELECT done_at, what, rule, there, past, round(bytes / 1e6, 1) AS size FROM meta.maintenance "
            "WHERE $sites IS NOT NULL ORDER BY place",
            scope,
        )

    def held(self, scope: Scope, reason: str | None = None) -> list[Held]:
        """What waits in quarantine, the oldest first: refused records that were not promoted since, and fields."""
        found = self._snapshot.rows(
            f"SELECT {', '.join(f.name for f in fields(Held))} FROM ({self._open()}) "
            "WHERE $reason IS NULL OR reason_code = $reason "
            "ORDER BY age_h DESC NULLS LAST, site, feed, source_file, source_row, field_name",
            scope,
            reason=reason,
        )
        return [Held(**row) for row in found]

    def held_tally(self, scope: Scope) -> list[Tally]:
        """Open quarantine by site and reason."""
        found = self._snapshot.rows(
            "SELECT site, reason_code, NULL AS severity, count(*) AS n, max(age_h) AS oldest_h "
            f"FROM ({self._open()}) GROUP BY ALL ORDER BY reason_code, site",
            scope,
        )
        return [Tally(**row) for row in found]

    def _open(self) -> str:
        stored = " UNION ALL ".join(
            f"SELECT record_id FROM {name} WHERE site_id = ANY($sites)"
            for name in sorted(self._snapshot.tables)
            if name.startswith("history.")
        )
        return (
            "SELECT q.site_id AS site, q.feed, q.reason_code, q.subject, q.field_name, q.value_seen, "
            "q.value_wanted, "
            "q.whole_record, q.source_file, q.source_row, q.source_file_sha256 AS sha256, f.sent_at, "
            f"epoch({NEWEST} - f.sent_at) / 3600 AS age_h, q.record_id FROM quality.quarantine q "
            "LEFT JOIN (SELECT site_id, source_file_sha256, min(sent_at) AS sent_at FROM raw.file GROUP "
            "BY ALL) f "
            "USING (site_id, source_file_sha256) WHERE q.site_id = ANY($sites) "
            f"AND NOT (q.whole_record AND q.record_id IN ({stored}))"
        )

    def findings(self, scope: Scope, reason: str | None = None) -> list[Finding]:
        """Findings, the worst first, of one rule or all."""
        found = self._snapshot.rows(
            f"SELECT site_id AS site, {', '.join(f.name for f in fields(Finding)[1:])} FROM quality.finding "
            "WHERE site_id = ANY($sites) AND ($reason IS NULL OR reason_code = $reason) "
            "ORDER BY list_position(['critical', 'error', 'warning', 'info'], severity), reason_code, "
            "site_id, subject",
            scope,
            reason=reason,
        )
        return [Finding(**row) for row in found]

    def finding_tally(self, scope: Scope) -> list[Tally]:
        """Findings by site and rule, the worst first."""
        found = self._snapshot.rows(
            "SELECT site_id AS site, reason_code, arg_min(severity, list_position(['critical', 'error', 'warning', "
            "'info'], severity)) AS severity, count(*) AS n, NULL AS oldest_h FROM quality.finding "
            "WHERE site_id = ANY($sites) GROUP BY site_id, reason_code ORDER BY min(list_position("
            "['critical', 'error', 'warning', 'info'], severity)), reason_code, site_id",
            scope,
        )
        return [Tally(**row) for row in found]
