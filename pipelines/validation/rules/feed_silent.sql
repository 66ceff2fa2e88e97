-- feed_silent: a feed from which nothing came for far longer than ever before.
-- What: since its newest file the site has sent others for more than two days and more than twice the longest time that lay between two
--   files of the feed, nine files at least. Where the feed goes on as it was, its n-th pause is longer than all before it with a
--   probability of 1 / n at most, 11 % at n = 9; twice as long only if its pauses spread over orders of magnitude.
-- Why: an export stopped, and what it does not tell is not missed by anybody.
-- Severity: warning. Told once a silence: the next file begins another. Ages are counted from the site's newest file, never from the clock.
-- Cannot be seen: a site that sends nothing at all (the freshness policies of the assets tell that); feeds with less than nine files.
WITH sent AS (
    SELECT site_id, feed, sent_at, max(source_file) AS source_file FROM lake.raw.file WHERE file_state <> 'refused' GROUP BY ALL
), paused AS (
    SELECT *, sent_at - lag(sent_at) OVER (PARTITION BY site_id, feed ORDER BY sent_at) AS pause FROM sent
), usual AS (
    SELECT site_id, feed, count(*) AS files, max(pause) AS longest, max(sent_at) AS newest_at, arg_max(source_file, sent_at) AS source_file FROM paused GROUP BY ALL
), site AS (
    SELECT site_id, max(sent_at) AS now_at FROM sent GROUP BY ALL
)
SELECT site_id, feed AS table_name, 'warning' AS severity, feed || ' since ' || shown(newest_at) AS subject,
       'nothing came for ' || round(epoch(now_at - newest_at) / 86400, 1) || ' days; the longest of ' || (files - 1) || ' pauses before was '
           || round(epoch(longest) / 86400, 1) || ' days' AS detail,
       source_file, CAST(NULL AS BIGINT) AS source_row, CAST(NULL AS VARCHAR) AS record_id
FROM usual JOIN site USING (site_id)
WHERE files >= 9 AND now_at - newest_at > INTERVAL 2 DAY AND now_at - newest_at > 2 * longest
