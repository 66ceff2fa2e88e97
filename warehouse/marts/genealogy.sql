-- genealogy: one row per link from what something was made of, or came from, to what was made of it.
-- Key: site_id, parent_id, child_id, genealogy_kind. Sources: in_force_collection, batch, lot_use, sample, infusion, and
-- batch_genealogy where a source keeps links of its own (they win over those made here).
-- A batch comes from the order's last collection that started before it, else the first. A repeated collection or attempt is
-- linked to the one before it and to no material of it.
CREATE OR REPLACE TABLE {target}.mart.genealogy AS
WITH collected AS (
    SELECT b.site_id, c.collection_id, b.batch_id, b.record_id, b.source_file, b.source_row
    FROM in_force_batch b JOIN in_force_collection c USING (site_id, order_id)
    QUALIFY row_number() OVER (
        PARTITION BY b.site_id, b.batch_id
        ORDER BY c.collection_started_at > b.batch_started_at, abs(epoch(b.batch_started_at - c.collection_started_at)), c.collection_id) = 1
), link AS (
SELECT site_id, parent_id, child_id, genealogy_kind, record_id, source_file, source_row, true AS own FROM in_force_batch_genealogy
UNION ALL BY NAME
SELECT site_id, order_id AS parent_id, collection_id AS child_id, 'order_to_collection' AS genealogy_kind, record_id, source_file, source_row FROM in_force_collection
WHERE order_id IS NOT NULL
UNION ALL BY NAME
SELECT site_id, lag(collection_id) OVER turn AS parent_id, collection_id AS child_id, 'repeated_collection' AS genealogy_kind, record_id, source_file, source_row
FROM in_force_collection WINDOW turn AS (PARTITION BY site_id, order_id ORDER BY collection_started_at, collection_id) QUALIFY parent_id IS NOT NULL
UNION ALL BY NAME
SELECT site_id, lag(batch_id) OVER attempt AS parent_id, batch_id AS child_id, 'repeated_batch' AS genealogy_kind, record_id, source_file, source_row
FROM in_force_batch WINDOW attempt AS (PARTITION BY site_id, order_id ORDER BY attempt_no, batch_started_at, batch_id) QUALIFY parent_id IS NOT NULL
UNION ALL BY NAME
SELECT site_id, collection_id AS parent_id, batch_id AS child_id, 'collection_to_batch' AS genealogy_kind, record_id, source_file, source_row FROM collected
UNION ALL BY NAME
SELECT site_id, lot_id AS parent_id, batch_id AS child_id, 'lot_to_batch' AS genealogy_kind, min(record_id) AS record_id,
       arg_min(source_file, record_id) AS source_file, arg_min(source_row, record_id) AS source_row
FROM in_force_lot_use GROUP BY site_id, lot_id, batch_id
UNION ALL BY NAME
SELECT site_id, batch_id AS parent_id, sample_id AS child_id, 'batch_to_sample' AS genealogy_kind, record_id, source_file, source_row
FROM in_force_sample WHERE batch_id IS NOT NULL
UNION ALL BY NAME
SELECT site_id, batch_id AS parent_id, infusion_id AS child_id, 'batch_to_infusion' AS genealogy_kind, record_id, source_file, source_row
FROM in_force_infusion WHERE batch_id IS NOT NULL
)
SELECT * EXCLUDE (own) FROM link WHERE parent_id IS NOT NULL AND child_id IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY site_id, parent_id, child_id, genealogy_kind ORDER BY own NULLS LAST, record_id) = 1
ORDER BY site_id, genealogy_kind, parent_id, child_id;
