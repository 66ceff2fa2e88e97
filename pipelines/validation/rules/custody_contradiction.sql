-- custody_contradiction: a custody event and another record of the same order tell different stories.
-- What: collection, start, formulation, release or infusion differ by more than an hour, or in the suite, and no other order fits.
-- Why: one of the two is wrong, and every interval from it.
-- Severity: warning.
-- Cannot be seen: differences of less than an hour. Judged where a site's custody events and records agree as a rule.
SELECT site_id, CASE WHEN event_id IS NULL THEN 'therapy_order' ELSE 'custody_event' END AS table_name, any_value(severity) AS severity,
       coalesce(event_id, order_id) AS subject, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail, source_file, source_row, record_id
FROM custody_fault WHERE reason = 'custody_contradiction' GROUP BY site_id, event_id, order_id, source_file, source_row, record_id
