-- time_out_of_control: too long between two events of a chain.
-- What: more hours since the event before than the fleet allows for its kind (`custody` in `fleet.yaml`).
-- Why: nobody answers for the material in that time.
-- Severity: error.
-- Cannot be seen: a late event whose time was set back.
SELECT site_id, CASE WHEN event_id IS NULL THEN 'therapy_order' ELSE 'custody_event' END AS table_name, any_value(severity) AS severity,
       coalesce(event_id, order_id) AS subject, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail, source_file, source_row, record_id
FROM custody_fault WHERE reason = 'time_out_of_control' GROUP BY site_id, event_id, order_id, source_file, source_row, record_id
