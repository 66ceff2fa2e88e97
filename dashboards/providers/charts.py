"""What the Control charts page asks: which series signal, the points of one, its limits and its false alarms.

Does not belong here: limits and rules (`warehouse/marts/charts.py`).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dashboards.facts.charts import Capability, ChartBudget, ChartLimit, ChartPoint, Series
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope

# What stands for a column that the snapshot does not have: limits as declared, never frozen, one version a phase.
INSTEAD = {
    "kind": "'measured'",
    "phase_key": "coalesce(protocol_version, '')",
    "version": "1",
    "state": "'as declared'",
    "in_force": "true",
    "n_batches": "1",
    "n_points": "0",
}


class ChartProvider:
    """Questions about control charts, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def _names(self, cls: type, table: str, but: tuple[str, ...] = ()) -> str:
        """Columns of a table for a class, with what stands for those that the snapshot does not have."""
        has = self._snapshot.columns_of.get(table, frozenset())
        names = [f.name for f in fields(cls) if f.name not in but]
        return ", ".join(n if n in has else f"{INSTEAD.get(n, 'NULL')} AS {n}" for n in names)

    @property
    def known(self) -> bool:
        """Whether this snapshot has control charts: one published by an older program has none."""
        return {"mart.chart_point", "mart.chart_limit"} <= self._snapshot.tables

    def series(self, scope: Scope) -> list[Series]:
        """Every series of the sites of the scope in its newest phase; batches outside any chart are counted once."""
        return self._snapshot.kept(scope, "series", lambda: self._series(scope))

    def _series(self, scope: Scope) -> list[Series]:
        has = self._snapshot.columns_of["mart.chart_limit"]
        found = self._snapshot.rows(
            f"WITH told AS (SELECT {self._names(Series, 'mart.chart_limit')} FROM mart.chart_limit "
            f"WHERE {'in_force' if 'in_force' in has else 'true'} AND site = ANY($sites)), newest AS (FROM told "
            "QUALIFY row_number() OVER (PARTITION BY site, attribute, measured_as ORDER BY phase DESC) = 1) "
            "SELECT l.site, l.attribute, l.measured_as, l.kind, l.phase, l.state, l.refusal, "
            "count(DISTINCT p.batch_id) AS n_points, count(DISTINCT p.batch_id) FILTER (p.outside) AS "
            "n_outside, "
            "max(p.batch_started_at) FILTER (p.outside) AS newest_outside_at, max(p.batch_started_at) AS "
            "last_at "
            "FROM newest l LEFT JOIN mart.chart_point p ON p.site = l.site AND p.attribute = l.attribute "
            "AND p.measured_as = l.measured_as AND p.phase = l.phase GROUP BY ALL "
            "ORDER BY l.attribute, l.measured_as, l.site",
            scope,
        )
        return [Series(**row) for row in found]

    def points(self, scope: Scope, series: Series) -> list[ChartPoint]:
        """All points of a series, in the order of the charts' batches."""
        return self._snapshot.kept(
            scope, ("points", series.site, series.key), lambda: self._points(scope, series)
        )

    def _points(self, scope: Scope, series: Series) -> list[ChartPoint]:
        found = self._snapshot.rows(
            f"SELECT {self._names(ChartPoint, 'mart.chart_point')} FROM mart.chart_point "
            "WHERE site = $site AND site = ANY($sites) AND attribute = $attribute AND measured_as = $measured "
            "ORDER BY chart, phase, batch_started_at, batch_id",
            scope,
            site=series.site,
            attribute=series.attribute,
            measured=series.measured_as,
        )
        return [ChartPoint(**row) for row in found]

    def limits(self, scope: Scope, series: Series) -> list[ChartLimit]:
        """Every version of the limits of every phase of a series, the newest phase first."""
        found = self._snapshot.rows(
            f"SELECT {self._names(ChartLimit, 'mart.chart_limit')} FROM mart.chart_limit "
            "WHERE site = $site AND site = ANY($sites) AND attribute = $attribute "
            "AND measured_as = $measured ORDER BY phase DESC, version DESC",
            scope,
            site=series.site,
            attribute=series.attribute,
            measured=series.measured_as,
        )
        return [ChartLimit(**row) for row in found]

    def budgets(self, scope: Scope, series: Series) -> list[ChartBudget]:
        """What the charts of a series ring by chance; nothing where the snapshot does not tell."""
        if "mart.chart_budget" not in self._snapshot.tables:
            return []
        found = self._snapshot.rows(
            f"SELECT {self._names(ChartBudget, 'mart.chart_budget')} FROM mart.chart_budget "
            "WHERE site = $site AND site = ANY($sites) AND attribute = $attribute "
            "AND measured_as = $measured ORDER BY chart",
            scope,
            site=series.site,
            attribute=series.attribute,
            measured=series.measured_as,
        )
        return [ChartBudget(**row) for row in found]

    def raised(self, scope: Scope) -> list[dict[str, Any]]:
        """Signals with their life: those that wait first, then the newest; none where the snapshot has none."""
        if "mart.signal" not in self._snapshot.tables:
            return []
        return self._snapshot.rows(
            "SELECT signal_id, site_id, signal_kind, state, subject, detail, first_at, n_alarms, "
            "acknowledged_by_role, acknowledged_because, closed_by_role, closed_because FROM mart.signal "
            "WHERE site_id = ANY($sites) "
            "ORDER BY list_position(['raised', 'acknowledged', 'closed'], state), first_at DESC, signal_id",
            scope,
        )

    def capability(self, scope: Scope) -> list[Capability]:
        """Indices of every attribute with limits, the lowest first; none where the snapshot has none."""
        return self._snapshot.kept(scope, "capability", lambda: self._capability(scope))

    def _capability(self, scope: Scope) -> list[Capability]:
        if "mart.capability" not in self._snapshot.tables:
            return []
        found = self._snapshot.rows(
            f"SELECT {self._names(Capability, 'mart.capability', but=('approved_by_role', 'effective_from'))}, "
            "s.approved_by_role, s.effective_from FROM mart.capability c LEFT JOIN (SELECT site_id, "
            "spec_id || ' ' || spec_version AS told, approved_by_role, effective_from FROM core.specification) s "
            "ON s.site_id = c.site AND s.told = c.specification "
            "WHERE site = ANY($sites) ORDER BY ppk NULLS LAST, site, attribute, stage",
            scope,
        )
        return [Capability(**row) for row in found]

    def rules(self, scope: Scope) -> dict[tuple[str, int], str]:
        """Rules in words, by family and number."""
        if "mart.chart_rule" not in self._snapshot.tables:
            return {}
        found = self._snapshot.rows(
            "SELECT DISTINCT family, rule, words FROM mart.chart_rule WHERE rule > 0 AND "
            "len($sites::VARCHAR[]) > 0",
            scope,
        )
        return {(row["family"], int(row["rule"])): row["words"] for row in found}

    def run_lengths(self, scope: Scope) -> list[dict[str, Any]]:
        """Mean points to an alarm of each whole set of rules, by shift of the mean in sigma."""
        if "mart.chart_rule" not in self._snapshot.tables:
            return []
        return self._snapshot.rows(
            "SELECT n.shift, n.arl AS nelson, n.arl_error AS nelson_error, w.arl AS western, w.arl_error AS "
            "western_error FROM mart.chart_rule n JOIN mart.chart_rule w ON w.shift = n.shift AND w.rule = 0 AND "
            "w.family = 'western electric' WHERE n.rule = 0 AND n.family = 'nelson' AND len($sites::VARCHAR[]) > 0 "
            "ORDER BY n.shift",
            scope,
        )
