"""What the Fleet and Comparability pages ask: the plan, verdicts, what changed, what needs somebody, lots.

Does not belong here: a batch (`providers/batch.py`), feeds (`providers/quality.py`).
"""

from __future__ import annotations

from dataclasses import fields

from dashboards.facts.comparison import Change, Limit, Lot, PlanEntry, Verdict
from dashboards.facts.fleet import Moved, Need, SiteCounts, Week, moved
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope


def _names(cls: type) -> str:
    return ", ".join(f.name for f in fields(cls))


class FleetProvider:
    """Questions about the fleet, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def plan(self, scope: Scope) -> list[PlanEntry]:
        """The comparability plan in force, in its order. It names no lot, so each reader of any site sees all of it."""
        return self._snapshot.kept(scope, "plan", lambda: self._plan(scope))

    def _plan(self, scope: Scope) -> list[PlanEntry]:
        found = self._snapshot.figures(
            f"SELECT {_names(PlanEntry)} FROM mart.plan WHERE len($sites::VARCHAR[]) > 0 ORDER BY rowid",
            scope,
        )
        return [PlanEntry(**row) for row in found]

    def verdicts(self, scope: Scope, attribute: str | None = None) -> list[Verdict]:
        """Verdicts, of one attribute or all, on the sites that the reader is compared with: figures over lots."""
        return self._snapshot.kept(scope, ("verdicts", attribute), lambda: self._verdicts(scope, attribute))

    def _verdicts(self, scope: Scope, attribute: str | None) -> list[Verdict]:
        found = self._snapshot.figures(
            f"SELECT {_names(Verdict)} FROM mart.comparability WHERE site = ANY($sites) "
            "AND ($attribute IS NULL OR attribute = $attribute) ORDER BY attribute, site",
            scope,
            attribute=attribute,
        )
        return [Verdict(**row) for row in found]

    def changes(self, scope: Scope) -> list[Change]:
        """What changed since the previous snapshot, verdicts that moved first."""
        found = self._snapshot.figures(
            "SELECT c.* EXCLUDE (estimate_before, estimate_after, n_reference_before, n_reference_after), "
            "coalesce(p.title, c.attribute) AS title FROM mart.change c LEFT JOIN mart.plan p USING (attribute) "
            "WHERE c.site = ANY($sites) ORDER BY c.moved DESC, c.site, c.attribute",
            scope,
        )
        return [Change(**row) for row in found]

    def needs(self, scope: Scope) -> list[Need]:
        """What needs somebody, the worst and oldest first."""
        found = self._snapshot.rows(
            "SELECT site_id AS site, exception_kind AS kind, batch_id, subject, state, what, "
            "owner_role, severity, since, age_h, "
            "record_id, source_file, source_row FROM mart.exceptions WHERE site_id = ANY($sites) "
            "ORDER BY list_position(['critical', 'error', 'warning', 'info'], severity), since, batch_id, subject",
            scope,
        )
        return [Need(**row) for row in found]

    def moved(self, scope: Scope) -> list[Moved] | None:
        """Points that came and went since the snapshot before; None where there is none to compare with."""
        earlier = self._snapshot.before
        if earlier is None or not {"mart.exceptions", "mart.batch_status"} <= earlier.tables:
            return None
        before = FleetProvider(earlier)
        return moved(before.needs(scope), self.needs(scope), before.states(scope), self.states(scope))

    def states(self, scope: Scope) -> dict[tuple[str, str], str]:
        """Where each batch of the scope stands, by site and batch."""
        found = self._snapshot.rows(
            "SELECT site_id, batch_id, state FROM mart.batch_status WHERE site_id = ANY($sites)", scope
        )
        return {(row["site_id"], row["batch_id"]): row["state"] for row in found}

    def counts(self, scope: Scope) -> list[SiteCounts]:
        """Batches by where they stand, signals that wait, and the median days from vein to vein, by site."""
        signals = (
            "(SELECT count(*) FROM mart.signal g WHERE g.site_id = b.site_id AND g.state = 'raised')"
            if "mart.signal" in self._snapshot.tables
            else "NULL"
        )
        found = self._snapshot.rows(
            "SELECT b.site_id AS site, count(*) FILTER (state = 'in_process') AS in_process, "
            "count(*) FILTER (state IN ('awaiting_results', 'ready_for_decision')) AS waiting, "
            "count(*) FILTER (state = 'blocked') AS blocked, "
            "count(*) FILTER (state IN ('released', 'infused')) AS released, "
            "count(*) FILTER (state IN ('rejected', 'terminated')) AS failed, "
            f"count(*) FILTER (failed_attributes IS NOT NULL) AS outside, {signals} AS signals, "
            "any_value(v.days) AS vein_to_vein_d, coalesce(any_value(v.n), 0) AS n_vein_to_vein "
            "FROM mart.batch_status b LEFT JOIN (SELECT site_id, median(vein_to_vein_h) / 24 AS "
            "days, count(vein_to_vein_h) AS n "
            "FROM mart.vein_to_vein GROUP BY site_id) v USING (site_id) WHERE b.site_id = "
            "ANY($sites) GROUP BY b.site_id ORDER BY b.site_id",
            scope,
        )
        return [SiteCounts(**row) for row in found]

    def weeks(self, scope: Scope, count: int) -> list[Week]:
        """Batches started in each of the last `count` weeks, which end where the fleet's newest batch began."""
        found = self._snapshot.rows(
            "WITH started AS (SELECT site_id, state, w.batch_started_at AS at_ FROM mart.batch_status b "
            "JOIN mart.batch_wide w USING (site_id, batch_id) WHERE site_id = ANY($sites)), "
            "weeks AS (SELECT site_id AS site, state, floor(epoch((SELECT max(at_) FROM started) - at_) / 604800)::INT "
            "AS ago FROM started WHERE at_ IS NOT NULL) SELECT site, ago, count(*) AS started, "
            "count(*) FILTER (state IN ('rejected', 'terminated')) AS failed FROM weeks WHERE ago < $count "
            "GROUP BY ALL ORDER BY site, ago DESC",
            scope,
            count=count,
        )
        return [Week(**row) for row in found]

    def lots(self, scope: Scope, attribute: str) -> list[Lot]:
        """Lots of one plan attribute at the sites of the scope, in order of time."""
        found = self._snapshot.rows(
            f"SELECT {_names(Lot)} FROM mart.comparability_lots WHERE site = ANY($sites) AND attribute = $attribute "
            "ORDER BY site, lot_at, batch_id",
            scope,
            attribute=attribute,
        )
        return [Lot(**row) for row in found]

    def limits(self, scope: Scope, attribute: str) -> list[Limit]:
        """Newest specification limits of what a plan attribute is measured by, at the sites of the scope.

        A sample at harvest is judged by the release limit, as in `mart.assay_long`.
        """
        found = self._snapshot.rows(
            "SELECT s.site_id AS site, l.attribute, l.low, l.high, s.spec_id, s.spec_version, s.approved_by_role, "
            "s.effective_from "
            "FROM mart.plan p JOIN core.spec_limit l ON list_contains(string_split(p.measured_by, ', '), l.attribute) "
            "AND l.stage = CASE p.sample_point WHEN 'ipc_day_5' THEN 'ipc' WHEN 'harvest' THEN 'release' "
            "ELSE p.sample_point END "
            "JOIN core.specification s USING (site_id, spec_id, spec_version) "
            "WHERE p.attribute = $attribute AND s.site_id = ANY($sites) "
            "QUALIFY row_number() OVER (PARTITION BY s.site_id, l.attribute "
            "ORDER BY s.effective_from DESC NULLS LAST) = 1 "
            "ORDER BY ALL",
            scope,
            attribute=attribute,
        )
        return [Limit(**row) for row in found]
