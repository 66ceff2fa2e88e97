-- implausible_growth: cells that cannot have grown, or be there, as told.
-- What: more than two doublings a day from start to harvest (a T cell's fastest cycle is about half a day); more viable CAR+ cells
--   than a fifth above the viable cells of the same batch; more viable than total cells per millilitre in one sample.
-- Why: a unit, a dilution factor or a count is wrong, or the sample is another's.
-- Severity: warning.
-- Cannot be seen: errors that leave the growth possible.
WITH lot AS (
    SELECT r.site_id, r.batch_id, r.sample_id, r.attribute, r.result_id, r.value, r.record_id, r.source_file, r.source_row, b.batch_started_at, b.harvested_at
    FROM result_judged r LEFT JOIN in_force_batch b USING (site_id, batch_id)
    WHERE r.operator = '=' AND r.value > 0
)
SELECT site_id, 'assay_result' AS table_name, 'warning' AS severity, result_id AS subject,
       'fold expansion ' || value || ' in ' || round(epoch(harvested_at - batch_started_at) / 86400, 1) || ' days is more than two doublings a day' AS detail,
       source_file, source_row, record_id
FROM lot WHERE attribute = 'fold_expansion' AND harvested_at > batch_started_at AND log2(value) > 2 * epoch(harvested_at - batch_started_at) / 86400
UNION ALL
SELECT c.site_id, 'assay_result', 'warning', c.result_id, c.value || ' viable CAR+ cells of ' || v.value || ' viable cells', c.source_file, c.source_row, c.record_id
FROM lot c JOIN (SELECT site_id, batch_id, max(value) AS value FROM lot WHERE attribute = 'total_viable_cells' GROUP BY ALL) v USING (site_id, batch_id)
WHERE c.attribute = 'total_viable_car_pos_cells' AND c.value > 1.2 * v.value
UNION ALL
SELECT v.site_id, 'assay_result', 'warning', v.result_id, v.value || ' viable cells per mL of ' || t.value || ' cells per mL', v.source_file, v.source_row, v.record_id
FROM lot v JOIN (SELECT site_id, sample_id, max(value) AS value FROM lot WHERE attribute = 'total_cell_density_per_ml' GROUP BY ALL) t USING (site_id, sample_id)
WHERE v.attribute = 'viable_cell_density_per_ml' AND v.value > 1.01 * t.value
