-- sample_missing: a batch that was decided on without a sample, or without a result, on record.
-- What: a release decision of the site on a batch of which no sample, or no result of any of its samples, is in force; only where the
--   site sends samples and results at all.
-- Why: nothing that was received bears the decision out.
-- Severity: error.
-- Cannot be seen: a single missing test of a batch that has others; release readiness tells that, by the specification's limits.
SELECT d.site_id, 'release_decision' AS table_name, 'error' AS severity, d.release_id AS subject,
       d.decision || ', but batch ' || d.batch_id || ' has no ' || CASE WHEN s.site_id IS NULL THEN 'sample' ELSE 'result' END || ' on record' AS detail,
       d.source_file, d.source_row, d.record_id
FROM in_force_release_decision d
LEFT JOIN (SELECT DISTINCT site_id, batch_id FROM in_force_sample) s USING (site_id, batch_id)
LEFT JOIN (SELECT DISTINCT site_id, batch_id FROM result_judged) r USING (site_id, batch_id)
WHERE d.decision <> 'rejected' AND d.batch_id IS NOT NULL AND (s.site_id IS NULL OR r.site_id IS NULL)
  AND d.site_id IN (SELECT site_id FROM in_force_sample) AND d.site_id IN (SELECT site_id FROM in_force_assay_result)
