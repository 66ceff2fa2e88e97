-- lot_unknown: a batch used a lot that the site's own list of lots does not have.
-- What: a lot use without its reagent lot.
-- Why: its supplier, expiry and certificate are not known; no effect of the lot can be traced.
-- Severity: error. Judged only at sites that send reagent lots at all.
-- Cannot be seen: a lot number mistyped into another existing one.
SELECT u.site_id, 'lot_use' AS table_name, 'error' AS severity, u.batch_id || '|' || u.lot_id AS subject,
       'batch ' || u.batch_id || ' used lot ' || u.lot_id || ', which is not among the reagent lots' AS detail,
       arg_min(u.source_file, u.record_id) AS source_file, arg_min(u.source_row, u.record_id) AS source_row, min(u.record_id) AS record_id
FROM in_force_lot_use u ANTI JOIN in_force_reagent_lot l ON l.site_id = u.site_id AND l.lot_id = u.lot_id
WHERE u.site_id IN (SELECT site_id FROM in_force_reagent_lot)
GROUP BY u.site_id, u.batch_id, u.lot_id
