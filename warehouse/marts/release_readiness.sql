-- release_readiness: one row per batch: ready for a decision, or blocked by exactly these; and what is followed after release.
-- Key: site_id, batch_id. Sources: release_base, release_result, mart.release_blocker, mart.release_pending, mart.audit_trail.
-- Evidence, never a decision. A batch that was let go is shown as it stood when the decision was signed: `let_go_despite` names
-- what then blocked it. Out-of-specification path: none, open (a failing result, undecided), retest_passed (failed before, passes in
-- the last sample), rejected, or released_out_of_specification.
CREATE OR REPLACE TABLE {target}.mart.release_readiness AS
WITH blocked AS (
    SELECT site_id, batch_id, count(*) AS n_blockers, string_agg(code || ' ' || subject, '; ' ORDER BY code, subject) AS blockers,
           count(*) FILTER (code = 'change_unexplained') AS changes_unexplained
    FROM {target}.mart.release_blocker GROUP BY site_id, batch_id
), tested AS (
    SELECT site_id, batch_id, count(DISTINCT attribute) AS tests_wanted, count(DISTINCT attribute) FILTER (result_id IS NOT NULL) AS tests_done,
           coalesce(bool_or(passes = false AND is_last), false) AS failing, coalesce(bool_or(passes = false AND NOT is_last), false) AS failed_before,
           string_agg(DISTINCT attribute, ', ' ORDER BY attribute) FILTER (passes = false AND is_last AND NOT blocking) AS failing_not_blocking
    FROM release_result GROUP BY site_id, batch_id
), pending AS (
    SELECT site_id, batch_id, string_agg(attribute, ', ' ORDER BY attribute) FILTER (outcome = 'pending') AS pending_after_release,
           string_agg(attribute, ', ' ORDER BY attribute) FILTER (outcome IN ('failed', 'unclear')) AS failed_after_release, coalesce(bool_or(overdue), false) AS overdue
    FROM {target}.mart.release_pending GROUP BY site_id, batch_id
), change AS (
    SELECT b.site_id, b.batch_id, count(DISTINCT (t.table_name, t.subject, t.record_id)) AS changes
    FROM {target}.mart.audit_trail t JOIN in_force_assay_result r ON t.table_name = 'assay_result' AND r.site_id = t.site_id AND r.result_id = t.subject
    LEFT JOIN in_force_sample s ON s.site_id = r.site_id AND s.sample_id = r.sample_id
    JOIN release_base b ON b.site_id = t.site_id AND b.batch_id = coalesce(r.batch_id, s.batch_id) WHERE t.changed_at <= b.evaluated_at GROUP BY b.site_id, b.batch_id
)
SELECT b.site_id, b.batch_id, b.attempt_no, b.order_id, b.product_id,
       CASE WHEN b.phase = 'terminated' THEN 'terminated' WHEN coalesce(k.n_blockers, 0) > 0 THEN 'blocked' ELSE 'ready' END AS readiness,
       coalesce(k.n_blockers, 0) AS n_blockers, k.blockers, b.spec_id, b.spec_version, b.rule_version, b.evaluated_at, b.release_id, b.decision, b.signed_at, b.conditional_on,
       CASE WHEN b.decision IN ('released', 'conditional') THEN k.blockers END AS let_go_despite,
       coalesce(t.tests_wanted, 0) AS tests_wanted, coalesce(t.tests_done, 0) AS tests_done, t.failing_not_blocking,
       coalesce(c.changes, 0) AS changes, coalesce(k.changes_unexplained, 0) AS changes_unexplained,
       CASE WHEN b.disposition = 'released_out_of_specification' OR (t.failing AND b.decision IN ('released', 'conditional')) THEN 'released_out_of_specification'
            WHEN t.failing AND b.decision = 'rejected' THEN 'rejected' WHEN t.failing THEN 'open' WHEN t.failed_before THEN 'retest_passed' ELSE 'none' END AS oos_path,
       p.pending_after_release, p.failed_after_release,
       CASE WHEN b.decision IS NULL OR b.decision = 'rejected' THEN NULL WHEN p.failed_after_release IS NOT NULL THEN 'failed' WHEN p.overdue THEN 'overdue'
            WHEN p.pending_after_release IS NOT NULL THEN 'pending' ELSE 'complete' END AS after_release,
       b.infused_at, b.record_id, b.source_file, b.source_row
FROM release_base b LEFT JOIN blocked k USING (site_id, batch_id) LEFT JOIN tested t USING (site_id, batch_id)
LEFT JOIN pending p USING (site_id, batch_id) LEFT JOIN change c USING (site_id, batch_id)
ORDER BY b.site_id, b.batch_id;
