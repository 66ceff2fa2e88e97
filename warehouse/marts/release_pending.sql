-- release_pending: one row per test that may follow the release of a batch, followed to its end.
-- Key: site_id, batch_id, attribute. Sources: release_base, limit_version, result_judged.
-- Wanted are the post-release limits of the specification in force at the decision and the tests that the fleet's rule names, for
-- batches that were let go. The newest result counts. `given_before` says that the patient had the product before the result.
CREATE OR REPLACE TABLE {target}.mart.release_pending AS
WITH wanted AS (
    SELECT b.site_id, b.batch_id, l.attribute FROM release_base b
    JOIN limit_version l ON l.site_id = b.site_id AND l.spec_id = b.spec_id AND l.spec_version = b.spec_version AND l.stage = 'post_release'
    WHERE b.decision IN ('released', 'conditional')
    UNION
    SELECT site_id, batch_id, unnest(after_release) FROM release_base WHERE decision IN ('released', 'conditional')
), newest AS (
    SELECT w.*, r.result_id, r.judged_at AS result_at, l.low, l.high, inside(r.result_code, r.value, r.operator, l.low, l.high, l.inclusive) AS passes,
           l.attribute IS NOT NULL AS has_limit, r.value_as_given, r.unit_as_given, r.result_code, r.record_id, r.source_file, r.source_row
    FROM wanted w JOIN release_base b USING (site_id, batch_id)
    LEFT JOIN limit_version l ON l.site_id = w.site_id AND l.spec_id = b.spec_id AND l.spec_version = b.spec_version AND l.attribute = w.attribute AND l.stage = 'post_release'
    LEFT JOIN result_judged r ON r.site_id = w.site_id AND r.batch_id = w.batch_id AND r.attribute = w.attribute AND r.sample_point IS DISTINCT FROM 'ipc_day_5'
    QUALIFY row_number() OVER (PARTITION BY w.site_id, w.batch_id, w.attribute ORDER BY r.judged_at DESC NULLS LAST, r.result_id DESC) = 1
)
SELECT n.site_id, n.batch_id, b.order_id, n.attribute, b.signed_at, b.signed_at + to_microseconds((b.due_days * 8.64e10)::BIGINT) AS due_at, n.result_id, n.result_at,
       CASE WHEN n.result_id IS NULL THEN 'pending' WHEN n.passes THEN 'passed' WHEN n.passes = false THEN 'failed'
            WHEN n.result_code IS NULL AND NOT n.has_limit THEN 'no_limit' ELSE 'unclear' END AS outcome,
       n.result_id IS NULL AND b.newest_event_at > b.signed_at + to_microseconds((b.due_days * 8.64e10)::BIGINT) AS overdue,
       coalesce(b.infused_at < coalesce(n.result_at, b.newest_event_at), false) AS given_before, b.infused_at,
       coalesce(n.record_id, b.record_id) AS record_id, coalesce(n.source_file, b.source_file) AS source_file, coalesce(n.source_row, b.source_row) AS source_row
FROM newest n JOIN release_base b USING (site_id, batch_id)
ORDER BY n.site_id, n.batch_id, n.attribute;
