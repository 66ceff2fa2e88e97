-- missing_hand_over: a link of a custody chain is not there.
-- What: who gave is not who last received, or the sequence jumps, between two events in sequence (time where there is none).
--   A collection begins anew: a second apheresis for the same order has the patient as giver.
-- Why: for some time nobody is on record as holding the patient's material.
-- Severity: error.
-- Cannot be seen: a hand-over that neither side ever recorded.
WITH chain AS (
    -- Forks and copies are judged elsewhere: one event a place in the chain.
    SELECT * FROM in_force_custody_event
    QUALIFY row_number() OVER (PARTITION BY site_id, coi_id, coalesce(sequence_no::VARCHAR, event_id) ORDER BY sent_at, source_row, event_id) = 1
        AND row_number() OVER (PARTITION BY coi_id, custody_object, custody_kind, from_party, to_party, place, happened_at ORDER BY sequence_no NULLS LAST, sent_at, source_row) = 1
), linked AS (
    SELECT *, lag(to_party) OVER c AS holder, lag(sequence_no) OVER c AS previous_no, lag(event_id) OVER c AS previous_id
    FROM chain WINDOW c AS (PARTITION BY site_id, coi_id ORDER BY sequence_no NULLS LAST, happened_at, event_id)
), known AS (SELECT site_id, coi_id, sequence_no FROM in_force_custody_event)
SELECT site_id, 'custody_event' AS table_name, 'error' AS severity, event_id AS subject,
       CASE WHEN from_party <> holder AND custody_kind <> 'collected' THEN 'given by ' || from_party || ', last held by ' || holder || ' (' || previous_id || ')'
            ELSE 'follows number ' || previous_no || ' as number ' || sequence_no END AS detail, source_file, source_row, record_id
FROM linked
WHERE (from_party <> holder AND custody_kind <> 'collected')
   OR (sequence_no - previous_no > 1 AND NOT EXISTS (FROM known k WHERE k.site_id = linked.site_id AND k.coi_id = linked.coi_id AND k.sequence_no = linked.sequence_no - 1))
