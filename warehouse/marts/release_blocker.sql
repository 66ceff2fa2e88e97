-- release_blocker: one row per thing that blocks the release of a batch, with the row that shows it.
-- Key: site_id, batch_id, code, subject. Sources: in_force_batch, release_decision, deviation, lot_use, reagent_lot, infusion;
-- limit_version and result_judged (inputs.sql), custody_fault (custody.sql), release_rule (fleet.yaml), mart.audit_trail.
-- A batch is judged at its first decision, else at the newest event its site told of; under the version of the specification and
-- of the fleet's rule in force then, with what was on record then. Results are those of release samples, else of harvest; the
-- last sample decides, and an earlier failure beside it stays a blocker until a person has resolved it. Never a decision.
CREATE OR REPLACE TEMP TABLE release_base AS
WITH decided AS (
    -- The decision that let the batch go, else the one that refused it.
    SELECT * FROM in_force_release_decision WHERE signed_at IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY site_id, batch_id ORDER BY decision = 'rejected', signed_at, release_id) = 1
), moment AS (
    SELECT b.site_id, b.batch_id, b.order_id, b.product_id, b.attempt_no, b.batch_status, b.disposition, b.batch_started_at, b.harvested_at, b.formulated_at,
           d.release_id, d.decision, d.signed_at, d.spec_version AS cited_version, d.conditional_on, coalesce(d.signed_at, k.newest_event_at) AS evaluated_at, k.newest_event_at,
           i.infused_at, b.record_id, b.source_file, b.source_row
    FROM in_force_batch b LEFT JOIN decided d USING (site_id, batch_id) LEFT JOIN site_clock k USING (site_id)
    LEFT JOIN (SELECT site_id, batch_id, min(infused_at) AS infused_at FROM in_force_infusion GROUP BY ALL) i USING (site_id, batch_id)
)
SELECT m.*, s.spec_id, s.spec_version, r.rule_version, coalesce(r.holding, ['major', 'critical']) AS holding, coalesce(r.after_release, []) AS after_release,
       coalesce(r.due_days, 21) AS due_days,
       CASE WHEN m.batch_status = 'terminated' THEN 'terminated' WHEN m.harvested_at IS NULL AND m.decision IS NULL THEN 'in_process' ELSE 'judged' END AS phase
FROM moment m
LEFT JOIN in_force_specification s ON s.site_id = m.site_id AND s.product_id = m.product_id AND s.effective_from <= m.evaluated_at
     AND (s.effective_to IS NULL OR s.effective_to + INTERVAL 1 DAY > m.evaluated_at)
LEFT JOIN release_rule r ON r.effective_from <= m.evaluated_at
QUALIFY row_number() OVER (PARTITION BY m.site_id, m.batch_id ORDER BY s.effective_from DESC NULLS LAST, s.spec_version DESC, r.effective_from DESC NULLS LAST) = 1;

-- Whether a result lies inside a limit; empty where that cannot be told (see inputs.sql).
CREATE OR REPLACE TEMP MACRO inside(code, value, operator, low, high, inclusive) AS CASE
    WHEN code IS NOT NULL THEN CASE code WHEN 'negative' THEN true WHEN 'positive' THEN false END
    WHEN value IS NULL THEN NULL
    WHEN operator = '<' THEN CASE WHEN low IS NOT NULL AND value <= low THEN false WHEN low IS NULL AND value <= high THEN true END
    WHEN operator = '>' THEN CASE WHEN high IS NOT NULL AND value >= high THEN false WHEN high IS NULL AND value >= low THEN true END
    ELSE (low IS NULL OR value > low OR (inclusive AND value = low)) AND (high IS NULL OR value < high OR (inclusive AND value = high)) END;

CREATE OR REPLACE TEMP TABLE release_result AS
WITH told AS (
    SELECT b.site_id, b.batch_id, l.attribute, l.blocking, l.low, l.high, r.result_id, r.sample_id, r.taken_at, r.judged_at, r.record_id, r.source_file, r.source_row,
           r.value_as_given, r.unit_as_given, r.result_code, inside(r.result_code, r.value, r.operator, l.low, l.high, l.inclusive) AS passes,
           coalesce(bool_or(r.sample_point = 'release') OVER (PARTITION BY b.site_id, b.batch_id, l.attribute), false) AS has_release, r.sample_point
    FROM release_base b JOIN limit_version l ON l.site_id = b.site_id AND l.spec_id = b.spec_id AND l.spec_version = b.spec_version AND l.stage = 'release'
    LEFT JOIN result_judged r ON r.site_id = b.site_id AND r.batch_id = b.batch_id AND r.attribute = l.attribute
         AND r.sample_point IN ('harvest', 'release') AND (r.judged_at IS NULL OR r.judged_at <= b.evaluated_at)
    WHERE b.phase = 'judged'
)
SELECT *, sample_id IS NOT DISTINCT FROM last_value(sample_id) OVER (PARTITION BY site_id, batch_id, attribute ORDER BY taken_at NULLS FIRST, sample_id
                                                                    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS is_last
FROM told WHERE result_id IS NULL OR NOT has_release OR sample_point = 'release';

CREATE OR REPLACE TABLE {target}.mart.release_blocker AS
WITH attribute AS (
    SELECT site_id, batch_id, attribute, any_value(blocking) AS blocking, any_value(low) AS low, any_value(high) AS high, count(result_id) AS n,
           count(*) FILTER (is_last AND passes = false) AS n_fail, count(*) FILTER (is_last AND passes IS NULL AND result_id IS NOT NULL) AS n_unclear,
           count(*) FILTER (NOT is_last AND passes = false) AS n_failed_before,
           arg_min(struct_pack(shown := coalesce(value_as_given || coalesce(' ' || unit_as_given, ''), result_code), at := judged_at, record_id := record_id, source_file := source_file, source_row := source_row),
                   CASE WHEN is_last AND passes = false THEN 0 WHEN is_last AND passes IS NULL THEN 1 WHEN passes = false THEN 2 ELSE 3 END) AS worst
    FROM release_result GROUP BY site_id, batch_id, attribute
), change AS (
    SELECT b.site_id, b.batch_id, t.subject, min(t.changed_at) AS changed_at, string_agg(DISTINCT t.field_name || ' from ' || coalesce(t.old_value, 'nothing') || ' to ' || coalesce(t.new_value, 'nothing'), '; ') AS what,
           any_value(t.record_id) AS record_id, any_value(t.source_file) AS source_file, any_value(t.source_row) AS source_row
    FROM {target}.mart.audit_trail t
    JOIN in_force_assay_result r ON r.site_id = t.site_id AND r.result_id = t.subject
    LEFT JOIN in_force_sample s ON s.site_id = r.site_id AND s.sample_id = r.sample_id
    JOIN release_base b ON b.site_id = t.site_id AND b.batch_id = coalesce(r.batch_id, s.batch_id)
    JOIN lake.core.assay_result v ON v.site_id = t.site_id AND v.result_id = t.subject AND v.record_id = t.record_id
    WHERE t.table_name = 'assay_result' AND t.field_name IN ('value', 'operator', 'result_code', 'sample_id', 'batch_id') AND t.changed_at <= b.evaluated_at
      AND coalesce(v.change_reason, '') = '' AND b.phase = 'judged'
    GROUP BY b.site_id, b.batch_id, t.subject
), raised AS (
    SELECT site_id, batch_id, 'not_harvested' AS code, batch_id AS subject, 'manufacture is not finished' AS detail, batch_started_at AS since, record_id, source_file, source_row
    FROM release_base WHERE phase = 'in_process'
    UNION ALL BY NAME
    SELECT site_id, batch_id, 'no_specification' AS code, coalesce(product_id, 'no product') AS subject,
           'no version of a specification for ' || coalesce(product_id, 'the product') || ' is in force at ' || shown(evaluated_at) AS detail, harvested_at AS since, record_id, source_file, source_row
    FROM release_base WHERE phase = 'judged' AND spec_id IS NULL
    UNION ALL BY NAME
    SELECT a.site_id, a.batch_id, CASE WHEN a.n = 0 THEN 'result_missing' WHEN a.n_fail > 0 THEN 'result_fails' WHEN a.n_unclear > 0 THEN 'result_unclear' ELSE 'result_contradicted' END AS code,
           a.attribute AS subject,
           CASE WHEN a.n = 0 THEN 'no result of ' || a.attribute
                WHEN a.n_fail > 0 THEN a.attribute || ' ' || coalesce(a.worst.shown, '') || ' is outside ' || coalesce(a.low::VARCHAR, '') || ' to ' || coalesce(a.high::VARCHAR, '')
                WHEN a.n_unclear > 0 THEN a.attribute || ' ' || coalesce(a.worst.shown, '') || ' cannot be judged'
                ELSE a.attribute || ' passes in the last sample and failed before: ' || coalesce(a.worst.shown, '') END AS detail,
           coalesce(a.worst.at, b.harvested_at) AS since, coalesce(a.worst.record_id, b.record_id) AS record_id, coalesce(a.worst.source_file, b.source_file) AS source_file,
           coalesce(a.worst.source_row, b.source_row) AS source_row
    FROM attribute a JOIN release_base b USING (site_id, batch_id) WHERE a.blocking AND (a.n = 0 OR a.n_fail > 0 OR a.n_unclear > 0 OR a.n_failed_before > 0)
    UNION ALL BY NAME
    SELECT d.site_id, d.batch_id, 'deviation_open' AS code, d.deviation_id AS subject, coalesce(d.deviation_class, 'unclassified') || ' deviation is open: ' || coalesce(d.cause, 'no cause given') AS detail,
           d.opened_at AS since, d.record_id, d.source_file, d.source_row
    FROM in_force_deviation d JOIN release_base b USING (site_id, batch_id)
    WHERE b.phase = 'judged' AND (d.deviation_class IS NULL OR list_contains(b.holding, d.deviation_class))
      AND coalesce(d.opened_at <= b.evaluated_at, true) AND (d.closed_at IS NULL OR d.closed_at > b.evaluated_at)
    UNION ALL BY NAME
    SELECT b.site_id, b.batch_id, CASE f.aspect WHEN 'identity' THEN 'identity_in_doubt' WHEN 'custody' THEN 'custody_broken' ELSE 'condition_excursion' END AS code,
           f.reason || ' ' || coalesce(f.event_id, f.order_id) AS subject, string_agg(DISTINCT f.detail, '; ' ORDER BY f.detail) AS detail, min(f.moment) AS since,
           any_value(f.record_id) AS record_id, any_value(f.source_file) AS source_file, any_value(f.source_row) AS source_row
    FROM custody_fault f JOIN release_base b ON b.site_id = f.order_site_id AND b.order_id = f.order_id
    WHERE b.phase = 'judged' AND coalesce(f.moment <= b.evaluated_at, true)
    GROUP BY b.site_id, b.batch_id, f.aspect, f.reason, f.event_id, f.order_id
    UNION ALL BY NAME
    SELECT site_id, batch_id, 'change_unexplained' AS code, subject, 'changed without a reason: ' || what AS detail, changed_at AS since, record_id, source_file, source_row FROM change
    UNION ALL BY NAME
    SELECT u.site_id, u.batch_id, 'lot_not_acceptable' AS code, u.lot_id AS subject,
           CASE WHEN l.lot_id IS NULL THEN 'lot ' || u.lot_id || ' is not among the lots of the site' ELSE 'lot ' || u.lot_id || ' had expired on ' || l.expires_on END AS detail,
           b.batch_started_at AS since, min(u.record_id) AS record_id, arg_min(u.source_file, u.record_id) AS source_file, arg_min(u.source_row, u.record_id) AS source_row
    FROM in_force_lot_use u JOIN release_base b USING (site_id, batch_id) LEFT JOIN in_force_reagent_lot l USING (site_id, lot_id)
    WHERE b.phase = 'judged' AND u.site_id IN (SELECT site_id FROM in_force_reagent_lot)
      -- A day of tolerance: dates are local, times UTC.
      AND (l.lot_id IS NULL OR l.expires_on + 1 < CAST(timezone('UTC', b.batch_started_at) AS DATE))
    GROUP BY u.site_id, u.batch_id, u.lot_id, l.lot_id, l.expires_on, b.batch_started_at
)
SELECT site_id, batch_id, code, subject, detail, since, record_id, source_file, source_row FROM raised ORDER BY site_id, batch_id, code, subject;
