-- feed_status: one row per site and feed, with its newest accounting, its newest file and what waits in quarantine.
-- Key: site_id, feed. Sources: quality.accounting, mart.quarantine_open, raw.file.
-- `quarantine_open` counts what is open now (records whole, and fields of promoted records), not what ever was refused.
CREATE OR REPLACE TABLE {target}.mart.feed_status AS
WITH newest AS (
    SELECT * FROM lake.quality.accounting
    QUALIFY row_number() OVER (PARTITION BY site_id, feed ORDER BY recorded_at DESC, run_id DESC) = 1
), files AS (
    SELECT site_id, feed, count(*) AS files, count(*) FILTER (file_state = 'refused') AS files_refused, max(sent_at) AS last_file_at
    FROM current.file GROUP BY site_id, feed
), held AS (
    SELECT site_id, feed, count(DISTINCT record_id) FILTER (whole_record) + count(DISTINCT (record_id, field_name)) FILTER (NOT whole_record) AS n,
           min(waiting_since) AS oldest_quarantined_at, mode(reason_code) AS commonest_reason
    FROM {target}.mart.quarantine_open GROUP BY site_id, feed
)
SELECT coalesce(n.site_id, f.site_id) AS site_id, coalesce(n.feed, f.feed) AS feed,
       n.received, n.promoted, n.superseded, n.duplicate, n.quarantined, n.fields_quarantined, n.findings,
       coalesce(h.n, 0) AS quarantine_open, h.oldest_quarantined_at, h.commonest_reason,
       coalesce(f.files, 0) AS files, coalesce(f.files_refused, 0) AS files_refused, f.last_file_at
FROM newest n FULL JOIN files f ON f.site_id = n.site_id AND f.feed = n.feed
LEFT JOIN held h ON h.site_id = coalesce(n.site_id, f.site_id) AND h.feed = coalesce(n.feed, f.feed)
ORDER BY 1, 2;
