-- comparability_lots: one row per lot behind a verdict, with its value.
-- Key: attribute, measured_as, site, batch_id. Sources: mart.assay_long, mart.batch_wide, mart.plan (through planned_measure).
-- One lot is one batch, failed ones included. Its value is the mean, on the plan's scale, of all results of its first sample at
-- the plan's sample point by the plan's methods. A lot with a censored result, or with a value that has no place on the scale, is kept but not used.
CREATE OR REPLACE TABLE {target}.mart.comparability_lots AS
WITH result AS (
    SELECT p.attribute, p.measured_as, p.scale AS plan_scale, a.site_id AS site, a.batch_id, a.unit, a.value, a.operator, a.lab_site,
           b.batch_status, b.disposition, coalesce(b.harvested_at, b.batch_started_at) AS lot_at, a.record_id, a.source_file, a.source_row,
           rank() OVER (PARTITION BY p.attribute, p.measured_as, a.site_id, a.batch_id ORDER BY a.taken_at NULLS LAST, a.sample_id) AS turn
    FROM planned_measure p
    JOIN {target}.mart.assay_long a ON a.attribute = p.measured_as AND a.sample_point = p.sample_point
         AND (len(p.methods) = 0 OR list_contains(p.methods, a.method_id))
    JOIN {target}.mart.batch_wide b ON b.site_id = a.site_id AND b.batch_id = a.batch_id
    WHERE a.value IS NOT NULL
), lot AS (
    SELECT attribute, measured_as, any_value(plan_scale) AS plan_scale, site, batch_id, any_value(unit) AS unit, count(*) AS replicates,
           bool_or(operator <> '=') AS censored, min(value) AS lowest, max(value) AS highest, avg(value) AS plain,
           avg(CASE WHEN value > 0 THEN ln(value) END) AS mean_log,
           avg(CASE WHEN value > 0 AND value < 100 THEN ln(value / (100 - value)) END) AS mean_logit,
           any_value(lot_at) AS lot_at, any_value(batch_status) AS batch_status, any_value(disposition) AS disposition,
           list_sort(list(DISTINCT lab_site)) AS labs, string_agg(record_id, ',' ORDER BY record_id) AS record_ids,
           min(record_id) AS record_id, arg_min(source_file, record_id) AS source_file, arg_min(source_row, record_id) AS source_row
    FROM result WHERE turn = 1 GROUP BY attribute, measured_as, site, batch_id
), placed AS (
    SELECT *, CASE WHEN censored THEN 'censored'
                   WHEN plan_scale = 'log' AND lowest <= 0 THEN 'no logarithm'
                   WHEN plan_scale = 'logit' AND (lowest <= 0 OR highest >= 100) THEN 'no logit' END AS left_out_because
    FROM lot
)
SELECT attribute, measured_as, site, batch_id, unit,
       CASE WHEN left_out_because IS NOT NULL OR lowest = highest THEN plain WHEN plan_scale = 'log' THEN exp(mean_log)
            WHEN plan_scale = 'logit' THEN 100 / (1 + exp(-mean_logit)) ELSE plain END AS value,
       CASE WHEN left_out_because IS NOT NULL THEN NULL WHEN plan_scale = 'log' THEN mean_log
            WHEN plan_scale = 'logit' THEN mean_logit ELSE plain END AS value_on_scale,
       left_out_because IS NULL AS used, left_out_because, replicates, lot_at, batch_status, disposition, array_to_string(labs, ',') AS labs,
       record_ids, record_id, source_file, source_row
FROM placed ORDER BY attribute, measured_as, site, lot_at, batch_id;
