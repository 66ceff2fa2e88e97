-- deleted_after_release: a result deleted at the source after the batch was decided on it.
-- What: the version in force of a result is a deletion, told after the first decision on its batch, released or rejected, and an
--   earlier version of the result was there before the decision.
-- Why: the decision rested on a result that the site's record no longer holds.
-- Severity: error. What the result said is kept, and named.
-- Cannot be seen: a deletion that the source does not tell, where the contract neither marks deletions nor compares keys; and when
--   exactly it was deleted, where only the missing key tells it.
WITH decided AS (
    SELECT site_id, batch_id, min(signed_at) AS signed_at,
           CASE arg_min(decision, signed_at) WHEN 'rejected' THEN 'rejection' ELSE 'release' END AS decision
    FROM in_force_release_decision GROUP BY ALL
), newest AS (
    SELECT *, coalesce(source_version, sent_at) AS told_at FROM live.assay_result
    QUALIFY row_number() OVER (PARTITION BY site_id, result_id ORDER BY source_version DESC NULLS LAST, sent_at DESC, recorded_at DESC, source_row DESC) = 1
), was AS (
    -- A deletion has the key alone: the version before it says whose result it was.
    SELECT v.site_id, v.result_id, coalesce(v.batch_id, s.batch_id) AS batch_id, v.attribute, v.value_as_given,
           min(least(coalesce(v.result_at, v.source_version, v.sent_at), coalesce(v.source_version, v.sent_at))) OVER (PARTITION BY v.site_id, v.result_id) AS first_at
    FROM live.assay_result v LEFT JOIN in_force_sample s USING (site_id, sample_id)
    WHERE v.attribute IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY v.site_id, v.result_id ORDER BY v.source_version DESC NULLS LAST, v.sent_at DESC) = 1
)
SELECT n.site_id, 'assay_result' AS table_name, 'error' AS severity, n.result_id AS subject,
       w.attribute || ' ' || coalesce(w.value_as_given, '') || ' was deleted on ' || shown(n.told_at) || ', after the ' || d.decision || ' of ' || shown(d.signed_at) AS detail,
       n.source_file, n.source_row, n.record_id
FROM newest n JOIN was w USING (site_id, result_id) JOIN decided d ON d.site_id = w.site_id AND d.batch_id = w.batch_id
WHERE n.reason = 'deleted at the source' AND n.told_at > d.signed_at AND w.first_at <= d.signed_at
