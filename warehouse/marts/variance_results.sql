-- variance_results (a query): one result behind a lot of the comparison, with the labels that its spread may come from.
-- Key: attribute, measured_as, site, record_id. Sources: mart.comparability_lots, assay_long, batch_wide; lot_use, reagent_lot.
WITH vector AS (
    SELECT u.site_id, u.batch_id, min(u.lot_id) AS lot
    FROM in_force_lot_use u JOIN in_force_reagent_lot l USING (site_id, lot_id) WHERE l.material = 'vector' GROUP BY ALL
), lot AS (
    SELECT attribute, measured_as, site, batch_id, unnest(string_split(record_ids, ',')) AS record_id
    FROM {target}.mart.comparability_lots WHERE used
)
SELECT l.attribute, l.measured_as, l.site, l.batch_id, a.value, a.record_id, b.suite_id AS suite, a.analyst_role AS operator, v.lot,
       strftime(timezone('UTC', b.batch_started_at), '%Y-%m') AS month, coalesce(b.patient_key, b.batch_id) AS patient
FROM lot l
JOIN {target}.mart.assay_long a ON a.site_id = l.site AND a.record_id = l.record_id
JOIN {target}.mart.batch_wide b ON b.site_id = l.site AND b.batch_id = l.batch_id
LEFT JOIN vector v ON v.site_id = l.site AND v.batch_id = l.batch_id
ORDER BY l.attribute, l.measured_as, l.site, l.batch_id, a.record_id
