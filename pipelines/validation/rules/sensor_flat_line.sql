-- sensor_flat_line: a sensor that stood still while its kind never does.
-- What: at least 6 h and 6 readings of good quality in a row with one identical value, in a channel of a quantity whose readings
--   at the site vary: chance repetition, as often as the site's median channel repeats itself from hour to hour, would give such a
--   run less than once in a hundred batches. Found by hours (channel_hour), measured on the readings.
-- Why: nobody knows what the culture did meanwhile.
-- Severity: warning.
-- Cannot be seen: standing still for less than 6 h; a channel whose resolution is so coarse that it rightly repeats for hours.
WITH hour AS (
    SELECT *, CASE WHEN minimum = maximum THEN minimum END AS held FROM channel_hour WHERE n_good > 0
), stepped AS (
    SELECT *, coalesce(held = lag(held) OVER run, false) AS same_as_before, lag(held) OVER run IS NOT NULL AS before_held FROM hour
    WINDOW run AS (PARTITION BY site_id, batch_id, channel, quantity_name ORDER BY hour_at)
), usual AS (
    -- How often an hour that held one value is followed by another with the same.
    SELECT site_id, quantity_name, median(coalesce(share, 0)) AS repeats
    FROM (SELECT site_id, quantity_name, avg(same_as_before::INT) FILTER (before_held) AS share
          FROM stepped GROUP BY site_id, quantity_name, batch_id, channel)
    GROUP BY ALL
), island AS (
    SELECT *, sum((NOT same_as_before)::INT) OVER (PARTITION BY site_id, batch_id, channel, quantity_name ORDER BY hour_at) AS run_no,
           count(*) OVER (PARTITION BY site_id, batch_id, channel, quantity_name) AS hours
    FROM stepped
), candidate AS (
    SELECT i.site_id, i.batch_id, i.channel, i.quantity_name, any_value(i.held) AS held, min(i.hour_at) AS from_hour, max(i.hour_at) AS to_hour
    FROM island i JOIN usual u USING (site_id, quantity_name)
    WHERE i.held IS NOT NULL
    GROUP BY i.site_id, i.batch_id, i.channel, i.quantity_name, i.run_no, i.hours, u.repeats
    HAVING count(*) >= 5 AND i.hours * power(u.repeats, count(*) - 1) < 0.01
), reading AS (
    -- The hours around the run too: it seldom begins on the hour.
    SELECT c.site_id, c.batch_id, c.channel, c.quantity_name, c.held, c.from_hour, r.read_at, r.source_file_sha256, r.source_row, r.reading = c.held AS holds,
           sum((r.reading <> c.held)::INT) OVER (PARTITION BY c.site_id, c.batch_id, c.channel, c.from_hour ORDER BY r.read_at) AS run_no
    FROM candidate c JOIN in_force_reading r
      ON r.site_id = c.site_id AND r.batch_id = c.batch_id AND r.channel = c.channel AND r.quantity_name = c.quantity_name
     AND r.read_at BETWEEN c.from_hour - INTERVAL 2 HOUR AND c.to_hour + INTERVAL 3 HOUR AND r.reading_status = 'good'
), run AS (
    SELECT site_id, batch_id, channel, quantity_name, held, min(read_at) AS from_at, max(read_at) AS to_at, count(*) AS n,
           arg_min(source_file_sha256, read_at) AS sha, arg_min(source_row, read_at) AS source_row
    FROM reading WHERE holds GROUP BY site_id, batch_id, channel, quantity_name, held, from_hour, run_no
    -- n readings hold for n steps.
    HAVING count(*) >= 6 AND epoch(max(read_at) - min(read_at)) * count(*) / (count(*) - 1) >= 6 * 3600
), longest AS (
    SELECT *, count(*) OVER one AS runs FROM run
    WINDOW one AS (PARTITION BY site_id, batch_id, channel)
    QUALIFY row_number() OVER (PARTITION BY site_id, batch_id, channel ORDER BY n DESC, from_at) = 1
)
SELECT l.site_id, 'reading' AS table_name, 'warning' AS severity, l.batch_id || '|' || l.channel AS subject,
       l.quantity_name || ' stood at ' || l.held || ' from ' || shown(l.from_at) || ' to ' || shown(l.to_at) || ' (' || l.n || ' readings)'
           || CASE WHEN l.runs > 1 THEN ', the longest of ' || l.runs || ' times' ELSE '' END AS detail,
       f.source_file, l.source_row, CAST(NULL AS VARCHAR) AS record_id
FROM longest l
LEFT JOIN (SELECT site_id, source_file_sha256 AS sha, min(source_file) AS source_file FROM lake.raw.file GROUP BY ALL) f ON f.site_id = l.site_id AND f.sha = l.sha
