-- genealogy: one row per link from what something was made of to what was made of it.
-- Key: site_id, parent_id, child_id, genealogy_kind. Sources: in_force_collection, batch, lot_use, infusion.
-- A batch comes from the order's last collection that started before it, else the first. A second attempt for an order is no
-- child of the first: no batch here is made of another.
CREATE OR REPLACE TABLE {target}.mart.genealogy AS
WITH collected AS (
    SELECT b.site_id, c.collection_id, b.batch_id, b.record_id, b.source_file, b.source_row
    FROM in_force_batch b JOIN in_force_collection c USING (site_id, order_id)
    QUALIFY row_number() OVER (
        PARTITION BY b.site_id, b.batch_id
        ORDER BY c.collection_started_at > b.batch_started_at, abs(epoch(b.batch_started_at - c.collection_started_at)), c.collection_id) = 1
)
SELECT site_id, collection_id AS parent_id, batch_id AS child_id, 'collection_to_batch' AS genealogy_kind, record_id, source_file, source_row FROM collected
UNION ALL BY NAME
SELECT site_id, lot_id AS parent_id, batch_id AS child_id, 'lot_to_batch' AS genealogy_kind, min(record_id) AS record_id,
       arg_min(source_file, record_id) AS source_file, arg_min(source_row, record_id) AS source_row
FROM in_force_lot_use GROUP BY site_id, lot_id, batch_id
UNION ALL BY NAME
SELECT site_id, batch_id AS parent_id, infusion_id AS child_id, 'batch_to_infusion' AS genealogy_kind, record_id, source_file, source_row
FROM in_force_infusion WHERE batch_id IS NOT NULL
ORDER BY site_id, genealogy_kind, parent_id, child_id;
