-- batch_wide: one row per batch and attempt, with patient covariates, milestones, disposition and every assay attribute as a column.
-- Key: site_id, batch_id. Sources: in_force_batch, therapy_order, patient, collection, release_decision, infusion; mart.assay_long.
-- An attribute is taken from the release sample, else harvest, else post-release (qualitative tests from all three: positive
-- outweighs invalid outweighs negative). Replicates are averaged on the attribute's scale (log: geometric mean; logit: back
-- from the mean logit; arithmetic where a value has no place on the scale). A value below or above a limit of detection is
-- shown only beside its `_operator` column, as the limit that surely bounds it; elsewhere it is left out, never taken as measured.
-- The collection is the order's last that started before the batch, else its first.
CREATE OR REPLACE TABLE {target}.mart.batch_wide AS
WITH usable AS (
    SELECT a.*, w.detection_limited, CASE sample_point WHEN 'release' THEN 1 WHEN 'harvest' THEN 2 ELSE 3 END AS place
    FROM {target}.mart.assay_long a JOIN attribute_word w USING (attribute)
    WHERE sample_point IN ('release', 'harvest', 'post_release') AND batch_id IS NOT NULL
      AND (result_code IS NOT NULL OR (value IS NOT NULL AND (operator = '=' OR w.detection_limited)))
), chosen AS (
    SELECT * FROM usable
    QUALIFY result_code IS NOT NULL OR place = min(place) OVER (PARTITION BY site_id, batch_id, attribute)
), averaged AS (
    SELECT site_id, batch_id, attribute, any_value(scale) AS scale, count(*) AS n, list(record_id) AS records,
           bool_or(operator = '<') AS below, bool_or(operator = '>') AS above, min(value) AS lowest, max(value) AS highest,
           avg(value) AS plain, avg(CASE WHEN value > 0 THEN ln(value) END) AS mean_log,
           avg(CASE WHEN value > 0 AND value < 100 THEN ln(value / (100 - value)) END) AS mean_logit,
           CASE WHEN bool_or(result_code = 'positive') THEN 'positive' WHEN bool_or(result_code = 'invalid') THEN 'invalid'
                WHEN bool_or(result_code = 'negative') THEN 'negative' END AS code
    FROM chosen GROUP BY site_id, batch_id, attribute
), valued AS (
    SELECT *, CASE WHEN below THEN highest WHEN above THEN lowest WHEN lowest = highest THEN lowest
                   WHEN scale = 'log' AND lowest > 0 THEN exp(mean_log)
                   WHEN scale = 'logit' AND lowest > 0 AND highest < 100 THEN 100 / (1 + exp(-mean_logit))
                   ELSE plain END AS number,
              CASE WHEN below THEN '<' WHEN above THEN '>' WHEN highest IS NOT NULL THEN '=' END AS sign
    FROM averaged
), wide AS (
    SELECT site_id, batch_id, sum(n) AS n_results, flatten(list(records)) AS records,
{attribute_columns}
    FROM valued GROUP BY site_id, batch_id
), collected AS (
    SELECT b.site_id, b.batch_id, c.* EXCLUDE (site_id, order_id)
    FROM in_force_batch b JOIN in_force_collection c USING (site_id, order_id)
    QUALIFY row_number() OVER (
        PARTITION BY b.site_id, b.batch_id
        ORDER BY c.collection_started_at > b.batch_started_at, abs(epoch(b.batch_started_at - c.collection_started_at)), c.collection_id) = 1
), decided AS (
    SELECT * FROM in_force_release_decision
    QUALIFY row_number() OVER (PARTITION BY site_id, batch_id ORDER BY signed_at DESC NULLS LAST, release_id DESC) = 1
), given AS (
    SELECT * FROM in_force_infusion WHERE batch_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY site_id, batch_id ORDER BY infused_at, infusion_id) = 1
)
SELECT b.site_id, b.batch_id, b.attempt_no, b.order_id, b.product_id, b.suite_id, b.protocol_version,
       o.patient_key, p.sex, p.birth_decade, p.indication, p.prior_lines, p.bendamustine_180d, p.ecog, p.ldh_band,
       o.coi_id, c.collection_id, c.tnc_e9, c.cd3_collected_e9, c.cd3_collected_pct, c.volume_ml, c.tbv_processed_l,
       o.ordered_at, c.collection_started_at, c.collection_ended_at, b.batch_started_at, b.harvested_at, b.formulated_at,
       d.signed_at, i.infused_at, b.batch_status, b.disposition, b.termination_cause, d.release_id, d.decision, d.spec_id, d.spec_version,
       i.infusion_id, i.car_pos_viable_cells_e6, i.dose_e6_per_kg, i.out_of_specification,
       date_diff('second', b.batch_started_at, b.harvested_at) / 86400.0 AS culture_days,
       coalesce(w.n_results, 0)::BIGINT AS n_results,
       w.* EXCLUDE (site_id, batch_id, n_results, records),
       md5(array_to_string(list_sort(list_distinct(list_filter(
           list_concat(coalesce(w.records, []), [b.record_id, o.record_id, p.record_id, c.record_id, d.record_id, i.record_id]),
           lambda r: r IS NOT NULL))), '|')) AS inputs_hash,
       b.record_id, b.source_file, b.source_row
FROM in_force_batch b
LEFT JOIN in_force_therapy_order o USING (site_id, order_id)
LEFT JOIN in_force_patient p ON p.site_id = o.site_id AND p.patient_key = o.patient_key
LEFT JOIN collected c ON c.site_id = b.site_id AND c.batch_id = b.batch_id
LEFT JOIN decided d ON d.site_id = b.site_id AND d.batch_id = b.batch_id
LEFT JOIN given i ON i.site_id = b.site_id AND i.batch_id = b.batch_id
LEFT JOIN wide w ON w.site_id = b.site_id AND w.batch_id = b.batch_id
ORDER BY b.site_id, b.batch_id;
