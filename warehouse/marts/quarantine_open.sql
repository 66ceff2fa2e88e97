-- quarantine_open: one row per open reason why a record, or one field of it, is not promoted.
-- Key: site_id, feed, record_id, reason_code, field_name. Sources: quality.quarantine and .resolution (through current.quarantine), raw.file.
-- Closed are entries that were promoted when the record was read again, replaced by a newer version from the source, or withdrawn.
-- Age runs from when the site wrote the file to when it wrote its newest one, never to the clock of the machine.
-- Whom it waits for follows from the reason: what the contract does not say yet is for who keeps the contract, the rest for the site.
CREATE OR REPLACE TABLE {target}.mart.quarantine_open AS
WITH file AS (
    SELECT site_id, feed, source_file, source_file_sha256, max(sent_at) AS sent_at FROM current.file GROUP BY ALL
), clock AS (
    SELECT site_id, max(sent_at) AS as_of FROM file GROUP BY site_id
)
SELECT q.site_id, q.feed, q.record_id, q.subject, q.reason_code, q.field_name, any_value(q.value_seen) AS value_seen,
       any_value(q.value_wanted) AS value_wanted, bool_or(q.whole_record) AS whole_record,
       CASE WHEN q.reason_code IN ('column_missing', 'no_table_for_record', 'code_unknown', 'unit_not_declared', 'zone_missing',
                                   'time_format', 'boolean_format', 'file_unreadable', 'bad_encoding')
            THEN 'data engineering' ELSE 'site' END AS owner_role,
       min(f.sent_at) AS waiting_since, date_diff('second', min(f.sent_at), any_value(c.as_of)) / 3600.0 AS age_h, any_value(c.as_of) AS as_of,
       q.source_file, q.source_row, q.source_file_sha256, any_value(q.contract_version) AS contract_version, min(q.recorded_at) AS recorded_at
FROM current.quarantine q
LEFT JOIN file f USING (site_id, feed, source_file, source_file_sha256)
LEFT JOIN clock c USING (site_id)
GROUP BY q.site_id, q.feed, q.record_id, q.subject, q.reason_code, q.field_name, q.source_file, q.source_row, q.source_file_sha256
QUALIFY row_number() OVER (PARTITION BY q.site_id, q.feed, q.record_id, q.reason_code, q.field_name ORDER BY waiting_since, q.source_file, q.source_row) = 1
ORDER BY site_id, feed, waiting_since, source_file, source_row, reason_code, field_name;
