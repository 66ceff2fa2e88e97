-- edited_after_release: a result changed after the batch was decided on it.
-- What: a version of the result stamped after the first decision on the batch, released or rejected, replaces one from before it and
--   says something else; or, where the source keeps the newest version only, the result was obtained before the decision and is
--   stamped after it.
-- Why: the decision rested on another value than the one that stands in the record now. A rejection rests on results as a release
--   does: what is changed after it makes it look wrong, or right.
-- Severity: error. Both versions are kept; the one in force is named.
-- Cannot be seen: what the value was before, where the source overwrote it before the first version was received.
WITH decided AS (
    SELECT site_id, batch_id, min(signed_at) AS signed_at,
           CASE arg_min(decision, signed_at) WHEN 'rejected' THEN 'rejection' ELSE 'release' END AS decision
    FROM in_force_release_decision GROUP BY ALL
), version AS (
    SELECT v.*, d.signed_at, d.decision, concat_ws('|', v.attribute, v.operator, v.value::VARCHAR, v.result_code) AS told
    FROM live.assay_result v
    LEFT JOIN in_force_sample s USING (site_id, sample_id)
    JOIN decided d ON d.site_id = v.site_id AND d.batch_id = coalesce(v.batch_id, s.batch_id)
), edited AS (
    SELECT n.site_id, n.result_id, n.signed_at, n.decision, n.source_version, n.source_file, n.source_row, n.record_id, n.value_as_given, n.change_reason,
           arg_max(o.value_as_given, o.source_version) AS before
    FROM version n JOIN version o ON o.site_id = n.site_id AND o.result_id = n.result_id AND o.source_version < n.source_version AND o.told <> n.told
    WHERE n.source_version > n.signed_at AND o.source_version <= n.signed_at
    GROUP BY ALL
    UNION ALL
    SELECT site_id, result_id, signed_at, decision, source_version, source_file, source_row, record_id, value_as_given, change_reason, NULL
    FROM version WHERE source_version > signed_at AND result_at <= signed_at
)
SELECT site_id, 'assay_result' AS table_name, 'error' AS severity, result_id AS subject,
       'changed' || coalesce(' from ' || max(before), '') || ' to ' || coalesce(value_as_given, 'nothing') || ' on ' || shown(source_version)
           || ', after the ' || decision || ' of ' || shown(signed_at) || coalesce(' (' || change_reason || ')', '') AS detail, source_file, source_row, record_id
FROM edited GROUP BY site_id, result_id, signed_at, decision, source_version, source_file, source_row, record_id, value_as_given, change_reason
QUALIFY row_number() OVER (PARTITION BY site_id, result_id ORDER BY source_version DESC) = 1
