-- chain_fork: two custody events claim the same place in a chain.
-- What: another event of the chain has the same previous hash, or the same sequence number, and other content. The event that the
--   chain goes on from is taken as the chain, else the one sent first; the others are named.
-- Why: one of the two stories was written beside the chain, or replaced in it.
-- Severity: critical.
-- Cannot be seen: a chain rewritten whole; that needs a copy of its hashes kept elsewhere (the ledger).
WITH event AS (
    SELECT *, concat_ws('|', custody_object, custody_kind, from_party, to_party, place, happened_at::VARCHAR) AS content,
           leaf_hash IN (SELECT previous_hash FROM in_force_custody_event WHERE previous_hash IS NOT NULL) AS goes_on
    FROM in_force_custody_event
), ranked AS (
    SELECT *, row_number() OVER hashes AS hash_rank, first_value(event_id) OVER hashes AS hash_first, first_value(content) OVER hashes AS hash_content,
           row_number() OVER numbers AS number_rank, first_value(event_id) OVER numbers AS number_first, first_value(content) OVER numbers AS number_content
    FROM event
    WINDOW hashes AS (PARTITION BY site_id, coi_id, previous_hash ORDER BY goes_on DESC NULLS LAST, sent_at, source_row, event_id),
           numbers AS (PARTITION BY site_id, coi_id, sequence_no ORDER BY goes_on DESC NULLS LAST, sent_at, source_row, event_id)
)
SELECT site_id, 'custody_event' AS table_name, 'critical' AS severity, event_id AS subject,
       CASE WHEN previous_hash IS NOT NULL AND hash_rank > 1 THEN 'follows the same event as ' || hash_first || ' does'
            ELSE 'has the same sequence number ' || sequence_no || ' as ' || number_first END AS detail, source_file, source_row, record_id
FROM ranked
WHERE (previous_hash IS NOT NULL AND hash_rank > 1 AND content <> hash_content)
   OR (sequence_no IS NOT NULL AND number_rank > 1 AND content <> number_content)
