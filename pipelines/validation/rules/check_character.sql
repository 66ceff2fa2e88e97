-- check_character: an identifier whose check character does not fit it.
-- What: chain-of-identity identifiers of the ISBT 128 shape (CH, facility, year, six characters, check character) and donation
--   numbers printed with their check character, by ISO/IEC 7064 mod 37-2.
-- Why: the identifier was mistyped or cut; it may by chance be another patient's.
-- Severity: error.
-- Cannot be seen: errors in identifiers that have no check character; one wrong identifier in 37 fits by chance, though every single
--   wrong character and every exchange of two neighbours is seen.
WITH printed AS (
    SELECT site_id, 'therapy_order' AS table_name, order_id AS subject, 'coi_id' AS field, coi_id AS code, source_file, source_row, record_id
    FROM in_force_therapy_order WHERE regexp_full_match(coi_id, 'CH[A-Z0-9]{5}[0-9]{2}[A-Z0-9]{6}[A-Z0-9*]')
    UNION ALL
    SELECT site_id, 'custody_event', event_id, 'coi_id', coi_id, source_file, source_row, record_id
    FROM in_force_custody_event WHERE regexp_full_match(coi_id, 'CH[A-Z0-9]{5}[0-9]{2}[A-Z0-9]{6}[A-Z0-9*]')
    UNION ALL
    SELECT site_id, 'collection', collection_id, 'din', din, source_file, source_row, record_id
    FROM in_force_collection WHERE regexp_full_match(din, '[A-NP-Z1-9][A-Z0-9]{4}[0-9]{8}[A-Z0-9*]')
)
SELECT site_id, table_name, 'error' AS severity, subject, field || ' does not fit its check character' AS detail, source_file, source_row, record_id
FROM printed
WHERE list_sum(list_transform(range(1, length(code) + 1),
          lambda i: (strpos('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*', code[i]) - 1) * (1::BIGINT << (length(code) - i)))) % 37 <> 1
