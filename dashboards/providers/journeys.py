"""What the Vein-to-vein page asks: every order's way from order to infusion, forecasts, local against central.

Does not belong here: how milestones are found (`mart.vein_to_vein`), one batch (`providers/batch.py`).
"""

from __future__ import annotations

from dataclasses import fields

from dashboards.facts.journeys import Contrast, Journey
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope


class JourneyProvider:
    """Questions about orders, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def all(self, scope: Scope) -> list[Journey]:
        """Every order of the sites of the scope, in the order of their ordering."""
        names = ", ".join(f.name for f in fields(Journey))
        found = self._snapshot.rows(
            f"SELECT {names} FROM (SELECT v.*, v.site_id AS site, s.missed_deadlines AS late, f.due_at, f.risk, "
            "f.in_time, f.in_time_low, f.in_time_high, f.expected_at, f.basis, f.n AS alike FROM mart.vein_to_vein v "
            "LEFT JOIN mart.batch_status s USING (site_id, batch_id) "
            "LEFT JOIN mart.order_forecast f ON f.site_id = v.site_id AND f.order_id = v.order_id) "
            "WHERE site = ANY($sites) ORDER BY ordered_at, site, order_id",
            scope,
        )
        return [Journey(**row) for row in found]

    def contrasts(self, scope: Scope) -> list[Contrast]:
        """Local sites against contract manufacturers; nothing for a reader who may not see every site's figures."""
        names = ", ".join(f.name for f in fields(Contrast))
        found = self._snapshot.rows(
            f"SELECT {names} FROM mart.vein_contrast WHERE len($sites) > 0 ORDER BY rowid", scope
        )
        return [Contrast(**row) for row in found]
