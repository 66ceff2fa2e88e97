"""What the Data quality page asks: accounting of every feed, open quarantine, findings, how fresh the files are.

Does not belong here: findings of one batch (`providers/batch.py`), a record's versions (`providers/sources.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from dashboards.facts.batch import Finding
from dashboards.facts.comparison import PlanEntry
from dashboards.facts.feeds import GRAVE, Feed, Held, Missing, Report, Tally, reports
from dashboards.providers.snapshot import RHYTHM, Snapshot
from dashboards.security.scope import Scope


# Ages run to the fleet's newest regular file: what a site is behind by, not how long ago a demo was simulated.
def _behind(written: str) -> str:
    """SQL of the hours from a file's writing to the clock; one that came later is not behind."""
    hours = f"epoch($clock::TIMESTAMPTZ - {written}) / 3600"
    return f"CASE WHEN {hours} < 0 THEN 0 ELSE {hours} END"


OPEN = (
    "SELECT site_id AS site, feed, reason_code, subject, field_name, value_seen, value_wanted, whole_record, "
    "source_file, source_row, source_file_sha256 AS sha256, waiting_since AS sent_at, "
    f"{_behind('waiting_since')} AS age_h, record_id FROM mart.quarantine_open WHERE site_id = ANY($sites)"
)


class QualityProvider:
    """Questions about feeds and what is wrong with their records, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def feeds(self, scope: Scope) -> list[Feed]:
        """Every feed of the sites of the scope."""
        return self._snapshot.kept(scope, "feeds", lambda: self._feeds(scope))

    def _feeds(self, scope: Scope) -> list[Feed]:
        found = self._snapshot.rows(
            f"WITH usual AS ({RHYTHM}), newest AS (SELECT site_id, feed, "
            "arg_max(file_state, sent_at) = 'refused' AS newest_refused FROM raw.file GROUP BY ALL) "
            "SELECT s.site_id AS site, s.feed, s.received, s.promoted, s.superseded, s.duplicate, s.quarantined, "
            "s.fields_quarantined, s.findings, s.files, s.files_refused, s.last_file_at, "
            "coalesce(n.newest_refused, false) AS newest_refused, "
            f"{_behind('s.last_file_at')} AS lag_h, u.usual_h FROM mart.feed_status s "
            "LEFT JOIN usual u USING (site_id, feed) LEFT JOIN newest n USING (site_id, feed) "
            "WHERE s.site_id = ANY($sites) ORDER BY s.site_id, s.feed",
            scope,
            clock=self._snapshot.clock,
        )
        return [Feed(**row) for row in found]

    def reports(self, scope: Scope) -> list[Report]:
        """Which sites of the scope have reported, of those that send regularly."""
        return reports(self.feeds(scope))

    def failing(self, scope: Scope) -> int:
        """How many checks fail: rules with grave findings, and feeds whose accounting is off."""
        return self._snapshot.kept(
            scope,
            "failing",
            lambda: (
                len({t.reason_code for t in self.finding_tally(scope) if t.severity in GRAVE})
                + sum(not f.adds_up for f in self.feeds(scope))
            ),
        )

    def missing(self, scope: Scope, plan: Sequence[PlanEntry]) -> list[Missing]:
        """Harvested batches without a result of each attribute of the plan, by site."""
        has = self._snapshot.columns_of.get("mart.batch_wide", frozenset())
        asked = [
            (entry, [c for name in entry.measured_by.split(",") if (c := name.strip()) in has])
            for entry in plan
        ]
        asked = [(entry, columns) for entry, columns in asked if columns]
        counts = "".join(
            f", count(*) FILTER (coalesce({', '.join(columns)}) IS NULL) AS lacking_{n}"
            for n, (_, columns) in enumerate(asked)
        )
        found = self._snapshot.rows(
            f"SELECT site_id AS site, count(*) AS harvested{counts} FROM mart.batch_wide "
            "WHERE site_id = ANY($sites) AND harvested_at IS NOT NULL GROUP BY site_id ORDER BY site_id",
            scope,
        )
        return [
            Missing(row["site"], entry.attribute, entry.title, row["harvested"], row[f"lacking_{n}"])
            for n, (entry, _) in enumerate(asked)
            for row in found
        ]

    def runs(self, scope: Scope) -> list[dict[str, Any]]:
        """Runs that took files in, by site, the newest first."""
        return self._snapshot.rows(
            "SELECT max(recorded_at) AS taken_at, site_id AS site, count(DISTINCT feed) AS feeds, count(*) AS files, "
            "coalesce(sum(received), 0)::BIGINT AS received, count(*) FILTER (file_state = 'refused') AS refused, "
            "run_id FROM raw.file WHERE site_id = ANY($sites) GROUP BY site_id, run_id "
            "ORDER BY taken_at DESC, site, run_id",
            scope,
        )

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
            f"SELECT {', '.join(f.name for f in fields(Held))} FROM ({OPEN}) "
            "WHERE $reason IS NULL OR reason_code = $reason "
            "ORDER BY age_h DESC NULLS LAST, site, feed, source_file, source_row, field_name",
            scope,
            reason=reason,
            clock=self._snapshot.clock,
        )
        return [Held(**row) for row in found]

    def held_tally(self, scope: Scope) -> list[Tally]:
        """Open quarantine by site and reason."""
        return self._snapshot.kept(scope, "held tally", lambda: self._held_tally(scope))

    def _held_tally(self, scope: Scope) -> list[Tally]:
        found = self._snapshot.rows(
            "SELECT site, reason_code, NULL AS severity, count(*) AS n, max(age_h) AS oldest_h "
            f"FROM ({OPEN}) GROUP BY ALL ORDER BY reason_code, site",
            scope,
            clock=self._snapshot.clock,
        )
        return [Tally(**row) for row in found]

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
        return self._snapshot.kept(scope, "finding tally", lambda: self._finding_tally(scope))

    def _finding_tally(self, scope: Scope) -> list[Tally]:
        found = self._snapshot.rows(
            "SELECT site_id AS site, reason_code, arg_min(severity, list_position(['critical', 'error', 'warning', "
            "'info'], severity)) AS severity, count(*) AS n, NULL AS oldest_h FROM quality.finding "
            "WHERE site_id = ANY($sites) GROUP BY site_id, reason_code ORDER BY min(list_position("
            "['critical', 'error', 'warning', 'info'], severity)), reason_code, site_id",
            scope,
        )
        return [Tally(**row) for row in found]
