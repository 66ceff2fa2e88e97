"""What the Release page asks: how each batch stands, what blocks it, and what is followed after release.

Does not belong here: how a batch is judged (`mart.release_readiness`), the rest about one (`providers/batch.py`).
"""

from __future__ import annotations

from dataclasses import fields

from dashboards.facts.release import Blocker, Followed, Readiness
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope


def _names(cls: type) -> str:
    return ", ".join(f.name for f in fields(cls))


class ReleaseProvider:
    """Questions about release, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def readiness(self, scope: Scope) -> list[Readiness]:
        """Every batch of the sites of the scope: undecided ones first, then the newest."""
        found = self._snapshot.rows(
            f"SELECT {_names(Readiness)} FROM (SELECT *, site_id AS site FROM mart.release_readiness) "
            "WHERE site = ANY($sites) ORDER BY decision IS NOT NULL OR readiness = 'terminated', "
            "evaluated_at DESC NULLS LAST, site, batch_id",
            scope,
        )
        return [Readiness(**row) for row in found]

    def blockers(self, scope: Scope) -> list[Blocker]:
        """What blocks, or blocked at its decision, each batch of the sites of the scope; undecided ones first."""
        found = self._snapshot.rows(
            f"SELECT {_names(Blocker)} FROM (SELECT b.*, b.site_id AS site, r.decision, r.evaluated_at "
            "FROM mart.release_blocker b JOIN mart.release_readiness r USING (site_id, batch_id)) "
            "WHERE site = ANY($sites) ORDER BY decision IS NOT NULL, since NULLS LAST, site, batch_id, code, subject",
            scope,
        )
        return [Blocker(**row) for row in found]

    def followed(self, scope: Scope) -> list[Followed]:
        """Tests after release of the sites of the scope: failed, then overdue, then pending, then done."""
        found = self._snapshot.rows(
            f"SELECT {_names(Followed)} FROM (SELECT *, site_id AS site FROM mart.release_pending) "
            "WHERE site = ANY($sites) ORDER BY list_position(['failed', 'unclear', 'pending'], outcome) NULLS LAST, "
            "NOT coalesce(overdue, false), due_at, site, batch_id, attribute",
            scope,
        )
        return [Followed(**row) for row in found]
