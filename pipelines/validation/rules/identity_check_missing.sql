-- identity_check_missing: a hand-over without two people matching two identifiers.
-- What: the source records that the check was not done, or does not record it.
-- Why: this check is what keeps one patient's cells from another.
-- Severity: warning.
-- Cannot be seen: a check recorded and not done. Judged where a site records the check at all.
SELECT site_id, CASE WHEN event_id IS NULL THEN 'therapy_order' ELSE 'custody_event' END AS table_name, any_value(severity) AS severity,
       coalesce(event_id, order_id) AS subject, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail, source_file, source_row, record_id
FROM custody_fault WHERE reason = 'identity_check_missing' GROUP BY site_id, event_id, order_id, source_file, source_row, record_id
