-- custody_break: a chain of custody does not lead from collection to infusion.
-- What: a chain that begins without a collection; a collection, start or infusion that the site's own records tell and no custody event does,
--   or the reverse; a batch that failed or was rejected whose disposal nobody recorded; an event without giver, receiver or place; a hash that is not that of the event before.
-- Why: nobody can say where the patient's cells were.
-- Severity: error.
-- Cannot be seen: what neither the chain nor any other record tells. Judged where a site's custody events and records agree as a rule, parties and places where it
--   records places at all.
SELECT site_id, CASE WHEN event_id IS NULL THEN 'therapy_order' ELSE 'custody_event' END AS table_name, any_value(severity) AS severity,
       coalesce(event_id, order_id) AS subject, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail, source_file, source_row, record_id
FROM custody_fault WHERE reason = 'custody_break' GROUP BY site_id, event_id, order_id, source_file, source_row, record_id
