-- out_of_specification: a result outside the limit of the specification in force.
-- What: see inputs.sql of the marts for which limit a result falls under and when a censored result can be judged.
-- Why: true, and what a release must answer; such lots stay in every comparison.
-- Severity: error where the limit blocks release, warning where not.
-- Cannot be seen: results without a limit, and censored ones whose limit of detection lies on the wrong side of the specification.
SELECT site_id, 'assay_result' AS table_name, CASE WHEN blocking THEN 'error' ELSE 'warning' END AS severity, result_id AS subject,
       attribute || ' ' || coalesce(operator, '') || coalesce(value::VARCHAR || coalesce(' ' || unit, ''), result_code) || ' of batch ' || batch_id || ', limit '
           || CASE WHEN low IS NULL AND high IS NULL THEN 'negative' ELSE coalesce(low::VARCHAR, '') || ' to ' || coalesce(high::VARCHAR, '') END
           || ' (' || spec_id || ' version ' || spec_version || ')' AS detail, source_file, source_row, record_id
FROM result_judged WHERE passes = false
