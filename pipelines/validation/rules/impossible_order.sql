-- impossible_order: custody events in an order that cannot be.
-- What: an event after infusion or disposal of the same object; infusion before release; starting material moved after the product was made of it.
-- Why: an event is missing, or belongs to another chain.
-- Severity: error.
-- Cannot be seen: a wrong order that is possible. Wrong times alone are `time_order`.
SELECT site_id, CASE WHEN event_id IS NULL THEN 'therapy_order' ELSE 'custody_event' END AS table_name, any_value(severity) AS severity,
       coalesce(event_id, order_id) AS subject, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail, source_file, source_row, record_id
FROM custody_fault WHERE reason = 'impossible_order' GROUP BY site_id, event_id, order_id, source_file, source_row, record_id
