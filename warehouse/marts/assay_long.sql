-- assay_long: one row per result in force, with the limit it falls under and whether it passes.
-- Key: site_id, result_id. Sources: in_force_assay_result, sample, batch, specification, spec_limit (see inputs.sql).
CREATE OR REPLACE TABLE {target}.mart.assay_long AS
SELECT site_id, result_id, batch_id, order_id, product_id, sample_id, sample_point, attribute, unit, scale,
       value, operator, result_code, replicate, method_id, lab_site, analyst_role, taken_at, result_at,
       spec_id, spec_version, stage, low, high, inclusive, blocking, passes,
       coalesce(sample_batch_id <> batch_id, false) AS identity_conflict,
       value_as_given, unit_as_given, source_version, change_reason, record_id, source_file, source_row
FROM result_judged
ORDER BY site_id, batch_id, attribute, sample_id, replicate, result_id;
