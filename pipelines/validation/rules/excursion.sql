-- excursion: material was too warm or too cold.
-- What: the temperature at a custody event lies outside the fleet's limits for its kind (`custody` in `fleet.yaml`).
-- Why: the cells may not be what was tested.
-- Severity: error.
-- Cannot be seen: what happened between two readings.
SELECT site_id, CASE WHEN event_id IS NULL THEN 'therapy_order' ELSE 'custody_event' END AS table_name, any_value(severity) AS severity,
       coalesce(event_id, order_id) AS subject, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail, source_file, source_row, record_id
FROM custody_fault WHERE reason = 'excursion' GROUP BY site_id, event_id, order_id, source_file, source_row, record_id
