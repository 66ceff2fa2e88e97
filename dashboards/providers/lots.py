"""What the page of a lot asks: what is told of it, and every batch that it went into.

Does not belong here: what one batch was made of (`providers/batch.py`).
"""

from __future__ import annotations

from dataclasses import fields

from dashboards.facts.lots import MaterialLot, Use
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope

KINDS = ("lot_to_batch", "collection_to_batch")


class LotProvider:
    """Questions about lots and collections, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def find(self, scope: Scope, site: str, lot_id: str) -> MaterialLot | None:
        """A lot or a collection of a site of the scope; None where neither a row nor a use names it."""
        found = self._snapshot.rows(
            f"SELECT {', '.join(f.name for f in fields(MaterialLot))} FROM ("
            "SELECT site_id AS site, lot_id, 'lot' AS kind, true AS told, material, supplier, gtin, lot_status, "
            "received_on, expires_on, NULL AS collected_at, NULL AS order_id, record_id, source_file, source_row, "
            "1 AS place FROM core.reagent_lot WHERE site_id = $site AND lot_id = $lot AND site_id = ANY($sites) "
            "UNION ALL BY NAME SELECT site_id AS site, collection_id AS lot_id, 'collection' AS kind, true AS told, "
            "'collection' AS material, collection_ended_at AS collected_at, order_id, record_id, source_file, "
            "source_row, 2 AS place FROM core.collection "
            "WHERE site_id = $site AND collection_id = $lot AND site_id = ANY($sites) "
            "UNION ALL BY NAME SELECT site_id AS site, parent_id AS lot_id, 'lot' AS kind, false AS told, 3 AS place "
            "FROM mart.genealogy WHERE site_id = $site AND parent_id = $lot AND site_id = ANY($sites) "
            "AND list_contains($kinds, genealogy_kind)) ORDER BY place LIMIT 1",
            scope,
            site=site,
            lot=lot_id,
            kinds=list(KINDS),
        )
        return MaterialLot(**found[0]) if found else None

    def uses(self, scope: Scope, lot: MaterialLot) -> list[Use]:
        """Every batch that it went into, the newest first."""
        found = self._snapshot.rows(
            "SELECT g.child_id AS batch_id, s.state, s.failed_attributes, w.batch_started_at, w.infused_at, "
            "u.phase, u.quantity, CAST(w.batch_started_at AS DATE) > CAST($expires AS DATE) AS after_expiry, "
            "coalesce(u.record_id, g.record_id) AS record_id, coalesce(u.source_file, g.source_file) AS source_file, "
            "coalesce(u.source_row, g.source_row) AS source_row FROM mart.genealogy g "
            "LEFT JOIN mart.batch_status s ON s.site_id = g.site_id AND s.batch_id = g.child_id "
            "LEFT JOIN mart.batch_wide w ON w.site_id = g.site_id AND w.batch_id = g.child_id "
            "LEFT JOIN core.lot_use u ON u.site_id = g.site_id AND u.batch_id = g.child_id AND u.lot_id = g.parent_id "
            "AND g.genealogy_kind = 'lot_to_batch' "
            "WHERE g.site_id = $site AND g.parent_id = $lot AND g.site_id = ANY($sites) "
            "AND list_contains($kinds, g.genealogy_kind) "
            "ORDER BY w.batch_started_at DESC NULLS LAST, g.child_id, u.phase",
            scope,
            site=lot.site,
            lot=lot.lot_id,
            expires=lot.expires_on,
            kinds=list(KINDS),
        )
        return [Use(**row) for row in found]
