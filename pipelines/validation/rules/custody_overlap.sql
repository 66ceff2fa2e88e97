-- custody_overlap: the same material in two hands at once.
-- What: a party gives the same object to another receiver than before, and had not got it back.
-- Why: one of the two stories is not about this patient's material.
-- Severity: critical.
-- Cannot be seen: a second hand-over by a party that is never named as its giver.
SELECT site_id, CASE WHEN event_id IS NULL THEN 'therapy_order' ELSE 'custody_event' END AS table_name, any_value(severity) AS severity,
       coalesce(event_id, order_id) AS subject, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail, source_file, source_row, record_id
FROM custody_fault WHERE reason = 'custody_overlap' GROUP BY site_id, event_id, order_id, source_file, source_row, record_id
