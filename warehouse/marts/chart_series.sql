-- chart_series (temporary): one value of one batch in one series of control charts, with what makes its phase.
-- Key: kind, site, attribute, measured_as, batch_id. Sources: mart.comparability_lots, assay_long, batch_wide; limit_version.
-- kind: measured (an attribute of the plan, on its scale), proportion (did the batch fail), rate (its deviations). A phase is one
-- protocol version, one set of assay methods and one set of specification limits; counts have the protocol version alone.
CREATE OR REPLACE TEMP TABLE chart_series AS
WITH method AS (
    SELECT l.site, l.attribute, l.measured_as, l.batch_id, string_agg(DISTINCT a.method_id, '+' ORDER BY a.method_id) AS methods
    FROM (SELECT site, attribute, measured_as, batch_id, unnest(string_split(record_ids, ',')) AS record_id
          FROM {target}.mart.comparability_lots WHERE used) l
    JOIN {target}.mart.assay_long a ON a.record_id = l.record_id AND a.site_id = l.site
    GROUP BY ALL
), limited AS (
    SELECT site_id, product_id, attribute, effective_from, effective_to,
           string_agg(stage || ' ' || coalesce(low::VARCHAR, '') || '..' || coalesce(high::VARCHAR, ''), ', ' ORDER BY stage) AS limits
    FROM limit_version GROUP BY ALL
), lot AS (
    SELECT l.site, l.attribute, l.measured_as, l.batch_id, b.batch_started_at, b.protocol_version, l.value_on_scale AS value,
           l.record_ids, m.methods, s.limits, {covariates}
    FROM {target}.mart.comparability_lots l
    JOIN {target}.mart.batch_wide b ON b.site_id = l.site AND b.batch_id = l.batch_id
    LEFT JOIN method m ON m.site = l.site AND m.attribute = l.attribute AND m.measured_as = l.measured_as AND m.batch_id = l.batch_id
    LEFT JOIN limited s ON s.site_id = l.site AND s.product_id = b.product_id AND s.attribute = l.measured_as
         AND s.effective_from <= b.batch_started_at AND (s.effective_to IS NULL OR s.effective_to > b.batch_started_at)
    WHERE l.used AND b.batch_started_at IS NOT NULL
    -- Of overlapping specifications the newest one holds.
    QUALIFY row_number() OVER (PARTITION BY l.site, l.attribute, l.measured_as, l.batch_id ORDER BY s.effective_from DESC NULLS LAST) = 1
), counted AS (
    SELECT site_id AS site, batch_id, batch_started_at, protocol_version, record_id, batch_status, disposition,
           (SELECT count(*) FROM in_force_deviation d WHERE d.site_id = b.site_id AND d.batch_id = b.batch_id) AS deviations
    FROM {target}.mart.batch_wide b WHERE batch_started_at IS NOT NULL
)
SELECT 'measured' AS kind, site, attribute, measured_as, batch_id, batch_started_at, protocol_version,
       concat_ws(' · ', protocol_version, methods, 'limits ' || limits) AS phase_key, value, record_ids, {names}
FROM lot
UNION ALL BY NAME
SELECT 'proportion' AS kind, site, 'failed_batches' AS attribute, 'batch_status' AS measured_as, batch_id, batch_started_at,
       protocol_version, coalesce(protocol_version, '') AS phase_key,
       (batch_status = 'terminated' OR disposition = 'rejected')::INT::DOUBLE AS value, record_id AS record_ids
FROM counted WHERE batch_status <> 'in_process' AND (disposition <> 'pending' OR batch_status = 'terminated')
UNION ALL BY NAME
SELECT 'rate' AS kind, site, 'deviations' AS attribute, 'deviation' AS measured_as, batch_id, batch_started_at, protocol_version,
       coalesce(protocol_version, '') AS phase_key, deviations::DOUBLE AS value, record_id AS record_ids
FROM counted WHERE batch_status <> 'in_process'
