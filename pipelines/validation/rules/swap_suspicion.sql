-- swap_suspicion: a custody event that fits another patient's record, not its own.
-- What: it differs from its own order's collection, start, formulation, release or infusion by more than an hour or in the suite, and fits
--   that of another order (15 minutes, same suite) of which no event fits that record.
-- Why: the label, or the cells, of two patients may have been exchanged.
-- Severity: critical.
-- Cannot be seen: an exchange within the hour at one place; one where every record was exchanged too; one before anything was labelled.
SELECT site_id, CASE WHEN event_id IS NULL THEN 'therapy_order' ELSE 'custody_event' END AS table_name, any_value(severity) AS severity,
       coalesce(event_id, order_id) AS subject, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail, source_file, source_row, record_id
FROM custody_fault WHERE reason = 'swap_suspicion' GROUP BY site_id, event_id, order_id, source_file, source_row, record_id
