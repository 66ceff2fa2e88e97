-- Inputs that marts and findings share, as temporary tables made once for all; no mart of its own.
-- A row: `limit_version` one limit of one version of a specification; `result_judged` one result in force with its sample,
-- batch and the limit it falls under; `site_clock` one site with its newest event.
-- Sources: in_force_assay_result, sample, batch, specification, spec_limit, and every table with a time for the clock.
-- The limit is that of the specification version in force for the batch's product when the result was obtained (the newest
-- where several are; the last day of a version counts whole). A limit of the sample's own stage is used; a harvest result stands for release where the batch has no
-- release result of the attribute, and release and post-release limits stand in for each other. `passes` is NULL where it
-- cannot be told: no limit, an invalid test, or a censored result whose limit lies on the wrong side of the specification.
CREATE OR REPLACE TEMP TABLE limit_version AS
SELECT s.site_id, s.product_id, s.spec_id, s.spec_version, s.effective_from, s.effective_to + INTERVAL 1 DAY AS effective_to,
       l.attribute, l.stage, l.low, l.high, coalesce(l.inclusive, true) AS inclusive, coalesce(l.blocking, false) AS blocking
FROM in_force_specification s JOIN in_force_spec_limit l USING (site_id, spec_id, spec_version);

CREATE OR REPLACE TEMP TABLE result_judged AS
WITH result AS (
    SELECT r.* EXCLUDE (batch_id), coalesce(r.batch_id, s.batch_id) AS batch_id, s.batch_id AS sample_batch_id,
           s.sample_point, s.taken_at, coalesce(r.result_at, s.taken_at) AS judged_at
    FROM in_force_assay_result r LEFT JOIN in_force_sample s USING (site_id, sample_id)
), placed AS (
    SELECT r.*, b.order_id, b.product_id, w.unit, w.scale, w.detection_limited,
           coalesce(bool_or(r.sample_point = 'release') OVER (PARTITION BY r.site_id, r.batch_id, r.attribute), false) AS has_release
    FROM result r
    LEFT JOIN in_force_batch b USING (site_id, batch_id)
    LEFT JOIN attribute_word w USING (attribute)
), limited AS (
    SELECT p.*, l.spec_id, l.spec_version, l.stage, l.low, l.high, l.inclusive, l.blocking, l.stage IS NOT NULL AS has_limit
    FROM placed p
    LEFT JOIN limit_version l
      ON l.site_id = p.site_id AND l.product_id = p.product_id AND l.attribute = p.attribute
     AND l.effective_from <= p.judged_at AND (l.effective_to IS NULL OR l.effective_to > p.judged_at)
     AND CASE p.sample_point
             WHEN 'ipc_day_5' THEN l.stage = 'ipc'
             WHEN 'harvest' THEN l.stage = 'release' AND NOT p.has_release
             ELSE l.stage IN ('release', 'post_release') END
    QUALIFY row_number() OVER (
        PARTITION BY p.site_id, p.result_id
        ORDER BY l.effective_from DESC NULLS LAST, l.stage = p.sample_point DESC, l.spec_version DESC) = 1
)
SELECT *, CASE
    WHEN NOT has_limit THEN NULL
    WHEN result_code IS NOT NULL THEN CASE result_code WHEN 'negative' THEN true WHEN 'positive' THEN false END
    WHEN value IS NULL THEN NULL
    WHEN operator = '<' THEN CASE WHEN low IS NOT NULL AND value <= low THEN false
                                  WHEN low IS NULL AND value <= high THEN true END
    WHEN operator = '>' THEN CASE WHEN high IS NOT NULL AND value >= high THEN false
                                  WHEN high IS NULL AND value >= low THEN true END
    ELSE (low IS NULL OR value > low OR (inclusive AND value = low))
     AND (high IS NULL OR value < high OR (inclusive AND value = high)) END AS passes
FROM limited;

-- Ages are counted from here, never from the clock of the machine: the newest event that a file sent by the site tells of,
-- and no later than that file (an event from the future is a clock that runs ahead).
CREATE OR REPLACE TEMP TABLE site_clock AS
WITH event AS (
    SELECT site_id, ordered_at AS moment, sent_at FROM in_force_therapy_order
    UNION ALL SELECT site_id, collection_ended_at, sent_at FROM in_force_collection
    UNION ALL SELECT site_id, greatest(batch_started_at, harvested_at, formulated_at), sent_at FROM in_force_batch
    UNION ALL SELECT site_id, greatest(operation_started_at, operation_ended_at), sent_at FROM in_force_unit_operation
    UNION ALL SELECT site_id, taken_at, sent_at FROM in_force_sample
    UNION ALL SELECT site_id, result_at, sent_at FROM in_force_assay_result
    UNION ALL SELECT site_id, greatest(opened_at, closed_at), sent_at FROM in_force_deviation
    UNION ALL SELECT site_id, signed_at, sent_at FROM in_force_release_decision
    UNION ALL SELECT site_id, happened_at, sent_at FROM in_force_custody_event
    UNION ALL SELECT site_id, infused_at, sent_at FROM in_force_infusion
    UNION ALL SELECT site_id, max(read_at), max(sent_at) FROM in_force_reading GROUP BY site_id
)
SELECT site_id, max(least(moment, sent_at)) AS newest_event_at FROM event WHERE moment IS NOT NULL GROUP BY site_id;

-- A time as a sentence shows it.
CREATE OR REPLACE TEMP MACRO shown(moment) AS strftime(timezone('UTC', moment), '%Y-%m-%d %H:%M') || ' UTC';
