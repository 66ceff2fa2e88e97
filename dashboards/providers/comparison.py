"""What stands beside a verdict: ranges, families, all sites at once, looks, the split of the spread, other analyses.

Does not belong here: the verdicts and their lots (`providers/fleet.py`).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from dashboards.facts.comparison import (
    Analysis,
    BelowDetection,
    FailedLots,
    Look,
    Member,
    Pull,
    Range,
    Share,
    Together,
)
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope

T = TypeVar("T")
OWN = "site = ANY($sites)"
ATTRIBUTE = f"{OWN} AND attribute = $attribute"


class ComparisonProvider:
    """Questions about what stands beside verdicts, over one snapshot.

    A snapshot of an older program may lack a table: then there is nothing to tell.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def ranges(self, scope: Scope, attribute: str) -> list[Range]:
        """Ranges drawn from the lots of the sites, and of the reference for them."""
        order = "site, list_position(['quality range', 'tolerance'], range) NULLS LAST, range, of_site"
        return self._of(Range, "mart.comparability_range", ATTRIBUTE, order, scope, attribute=attribute)

    def families(self, scope: Scope) -> list[Member]:
        """Every attribute of every family of the plan."""
        return self._of(Member, "mart.comparability_family", OWN, "site, family, attribute", scope)

    def together(self, scope: Scope, attribute: str) -> list[Together]:
        """Each site with all of them judged at once."""
        return self._of(Together, "mart.comparability_network", ATTRIBUTE, "site", scope, attribute=attribute)

    def looks(self, scope: Scope, attribute: str) -> list[Look]:
        """The verdicts month by month, in their order."""
        return self._of(Look, "mart.comparability_look", ATTRIBUTE, "site, month", scope, attribute=attribute)

    def analyses(self, scope: Scope, attribute: str) -> list[Analysis]:
        """What each analysis says, the deciding one first."""
        order = "site, decides DESC, analysis"
        return self._of(Analysis, "mart.comparability_analysis", ATTRIBUTE, order, scope, attribute=attribute)

    def spread(self, scope: Scope, attribute: str) -> list[Share]:
        """What the spread is made of over the whole fleet, for readers who may see every site's figures."""
        where = "attribute = $attribute AND len($sites::VARCHAR[]) > 0"
        order = "measured_as, share DESC NULLS LAST, component"
        return self._of(Share, "mart.variance_component", where, order, scope, attribute=attribute)

    def influence(self, scope: Scope, attribute: str) -> list[Pull]:
        """The lots or donors that pull most on each site's estimate, those that would change its place first."""
        if "mart.comparability_influence" not in self._snapshot.tables:
            return []
        found = self._snapshot.rows(
            "SELECT i.site, i.unit_left_out, (SELECT any_value(l.site) FROM mart.comparability_lots l "
            "WHERE l.batch_id = i.unit_left_out AND l.attribute = i.attribute) AS unit_site, i.shift_in_se, "
            "i.place_without, i.changes_place, i.note FROM mart.comparability_influence i "
            "WHERE i.site = ANY($sites) AND i.attribute = $attribute "
            "ORDER BY i.changes_place DESC NULLS LAST, i.site, abs(i.shift_in_se) DESC NULLS LAST, i.unit_left_out",
            scope,
            attribute=attribute,
        )
        return [Pull(**row) for row in found]

    def failed(self, scope: Scope) -> list[FailedLots]:
        """Lots that were terminated or rejected."""
        return self._of(FailedLots, "mart.failed_lots", OWN, "site", scope)

    def below_detection(self, scope: Scope) -> list[BelowDetection]:
        """Attributes with results below detection."""
        return self._of(BelowDetection, "mart.censored_fit", OWN, "attribute, site", scope)

    def _of(self, kind: type[T], table: str, where: str, order: str, scope: Scope, **values: Any) -> list[T]:
        if table not in self._snapshot.tables:
            return []
        # A snapshot of an older program may lack a column: then it is empty.
        has = self._snapshot.columns_of[table]
        names = ", ".join(f.name if f.name in has else f"NULL AS {f.name}" for f in fields(kind))  # type: ignore[arg-type]
        asked = f"SELECT {names} FROM {table} WHERE {where} ORDER BY {order}"
        return self._snapshot.kept(
            scope,
            (table, *values.values()),
            lambda: [kind(**row) for row in self._snapshot.figures(asked, scope, **values)],
        )
