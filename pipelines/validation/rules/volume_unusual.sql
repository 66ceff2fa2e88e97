-- volume_unusual: a file with far more or far fewer records than the feed's files before it.
-- What: more than three times the most, or less than a third of the least, of the feed's files before it, twenty at least. Where the
--   feed goes on as it was, a file lies outside all n files before it with a probability of at most 2 / (n + 1), 9.5 % at n = 20;
--   beyond three times that far only if its sizes spread over orders of magnitude.
-- Why: an export that was cut, filtered otherwise, or sent whole instead of what is new.
-- Severity: warning. Every record of the file is treated as usual.
-- Cannot be seen: a loss within the feed's usual spread; files of feeds with less than twenty before.
WITH sized AS (
    SELECT f.site_id, f.feed, f.source_file, f.source_file_sha256, f.received, count(*) OVER earlier AS n, min(f.received) OVER earlier AS least,
           max(f.received) OVER earlier AS most
    FROM lake.raw.file f WHERE f.file_state = 'read' AND f.format IS DISTINCT FROM 'archive'
    WINDOW earlier AS (PARTITION BY f.site_id, f.feed ORDER BY f.sent_at, f.source_file ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT site_id, feed AS table_name, 'warning' AS severity, source_file AS subject,
       received || ' records; the ' || n || ' files before it held ' || least || ' to ' || most AS detail,
       source_file, CAST(NULL AS BIGINT) AS source_row, CAST(NULL AS VARCHAR) AS record_id
FROM sized WHERE n >= 20 AND (received > 3 * most OR 3 * received < least)
