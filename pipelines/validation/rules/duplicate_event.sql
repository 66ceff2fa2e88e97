-- duplicate_event: a custody event told again under another identifier.
-- What: same chain of identity, object, kind, giver, taker, place and time as an event before it in sequence (else as sent).
-- Why: hand-overs are counted twice, and a copy may hide a missing one.
-- Severity: warning.
-- Cannot be seen: a copy whose time or parties were changed too.
SELECT site_id, 'custody_event' AS table_name, 'warning' AS severity, event_id AS subject,
       'same content as event ' || first_value(event_id) OVER same || ', told again' AS detail, source_file, source_row, record_id
FROM in_force_custody_event
WINDOW same AS (PARTITION BY coi_id, custody_object, custody_kind, from_party, to_party, place, happened_at
                ORDER BY sequence_no NULLS LAST, sent_at, source_row, event_id)
QUALIFY row_number() OVER same > 1
