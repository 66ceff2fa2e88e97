"""Where something came from and where it was used: the genealogy walked both ways from any identifier.

Belongs here: the walk over `mart.genealogy` of a published snapshot. Does not belong here: what the links are
(`warehouse/marts/genealogy.sql`), how they are shown (`cli.py`).
"""

from __future__ import annotations

from typing import Any

import duckdb

# Any identifier that people have in hand, and what it stands for in the genealogy.
_NAMES = """
    SELECT site_id, parent_id AS id FROM mart.genealogy WHERE parent_id = $1
    UNION SELECT site_id, child_id FROM mart.genealogy WHERE child_id = $1
    UNION SELECT site_id, order_id FROM core.therapy_order WHERE $1 IN (order_id, coi_id, patient_key)
    UNION SELECT site_id, collection_id FROM core.collection WHERE din = $1
    UNION SELECT site_id, order_id FROM core.therapy_order
    WHERE coi_id IN (SELECT coi_id FROM core.custody_event WHERE event_id = $1)
    UNION SELECT r.site_id, r.sample_id FROM core.assay_result r WHERE r.result_id = $1
    UNION SELECT site_id, batch_id FROM core.release_decision WHERE release_id = $1
    UNION SELECT site_id, batch_id FROM core.deviation WHERE deviation_id = $1
    UNION SELECT g.site_id, g.child_id FROM mart.genealogy g WHERE g.record_id = $1
"""
# Upwards from a batch are its lots, and down again from them every other batch: so each way is walked alone.
_WALK = """
    WITH RECURSIVE walk AS (
        SELECT site_id, id, 0 AS steps, NULL::VARCHAR AS kind, NULL::VARCHAR AS via,
               NULL::VARCHAR AS source_file, NULL::BIGINT AS source_row, NULL::VARCHAR AS record_id
        FROM begun
        UNION
        SELECT g.site_id, g.{to}, w.steps + 1, g.genealogy_kind, w.id, g.source_file, g.source_row, g.record_id
        FROM walk w JOIN mart.genealogy g ON g.site_id = w.site_id AND g.{of} = w.id
        WHERE w.steps < 20 AND g.genealogy_kind NOT IN ('repeated_collection', 'repeated_batch')
    )
    SELECT * FROM walk WHERE steps > 0
    QUALIFY row_number() OVER (PARTITION BY site_id, id, kind ORDER BY steps, via) = 1
"""


def trace(con: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    """Everything that `name` came from and everything it went into, in the snapshot open as `con`.

    `name` is an order, chain of identity, patient key, collection, donation number, batch, lot, sample, result,
    release, deviation, custody event, infusion or record. Rows: way (`itself`, `came from`, `used in`, `repeated`),
    steps away, site, id, kind of link, via, and the file and row that tell it. Empty where nothing is called so.
    """
    con.execute(
        "CREATE OR REPLACE TEMP TABLE begun AS SELECT DISTINCT site_id, id FROM (" + _NAMES + ")", [name]
    )
    columns = "site_id AS site, id, kind, via, source_file, source_row, record_id"
    up, down = _WALK.format(to="parent_id", of="child_id"), _WALK.format(to="child_id", of="parent_id")
    sql = f"""
        SELECT * FROM (
            SELECT 'itself' AS way, 0 AS steps, site_id AS site, id, NULL AS kind, NULL AS via, NULL AS source_file,
                   NULL AS source_row, NULL AS record_id FROM begun
            UNION ALL SELECT 'came from', steps, {columns} FROM ({up})
            UNION ALL SELECT 'used in', steps, {columns} FROM ({down})
            UNION ALL
            SELECT 'repeated', 1, g.site_id, CASE WHEN g.child_id = b.id THEN g.parent_id ELSE g.child_id END,
                   g.genealogy_kind, b.id, g.source_file, g.source_row, g.record_id
            FROM begun b JOIN mart.genealogy g ON g.site_id = b.site_id AND b.id IN (g.parent_id, g.child_id)
            WHERE g.genealogy_kind IN ('repeated_collection', 'repeated_batch'))
        ORDER BY list_position(['itself', 'came from', 'used in', 'repeated'], way), steps, site, kind, id
    """
    cursor = con.execute(sql)
    names = [d[0] for d in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
