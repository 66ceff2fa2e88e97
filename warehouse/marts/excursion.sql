-- excursion: an unbroken stretch of readings beyond a declared limit, with its duration and depth.
-- Key: site_id, batch_id, channel, side, started_at. Sources: in_force_reading, channel_hour, batch_step; excursion_limit (from
-- fleet.yaml). Only readings of good quality of sound sensors during the steps of the process; a reading inside the limits ends a
-- stretch, and so does a gap longer than declared. Duration is from the first to the last reading outside; what lasted less
-- than declared is left out.
CREATE OR REPLACE TABLE {target}.mart.excursion AS
WITH suspect AS (
    -- Most channels never leave their limits: hours tell which do, and only those are read again.
    SELECT DISTINCT c.site_id, c.batch_id, c.channel FROM channel_hour c JOIN excursion_limit l USING (quantity_name)
    WHERE c.minimum < l.low OR c.maximum > l.high
), reading AS (
    SELECT r.site_id, r.batch_id, r.channel, r.quantity_name, r.read_at, r.reading, l.low, l.high, l.gap_minutes, l.shortest_minutes, p.step
    FROM in_force_reading r
    SEMI JOIN suspect s ON s.site_id = r.site_id AND s.batch_id = r.batch_id AND s.channel = r.channel
    JOIN excursion_limit l USING (quantity_name)
    JOIN batch_step p ON p.site_id = r.site_id AND p.batch_id = r.batch_id AND r.read_at >= p.from_at AND r.read_at < p.until_at
    ANTI JOIN faulty_hour f
      ON f.site_id = r.site_id AND f.batch_id = r.batch_id AND f.channel = r.channel AND f.hour_at = date_trunc('hour', r.read_at)
    WHERE r.reading_status = 'good' AND p.step IN ('activation', 'transduction', 'expansion')
), sided AS (
    SELECT *, 'above' AS side, high AS limit_, reading - high AS beyond FROM reading WHERE high IS NOT NULL
    UNION ALL SELECT *, 'below', low, low - reading FROM reading WHERE low IS NOT NULL
), marked AS (
    SELECT *, beyond > 0 AS out, epoch(read_at - lag(read_at) OVER run) / 60 AS since, lag(beyond) OVER run AS beyond_before,
           lag(beyond > 0) OVER run AS out_before
    FROM sided WINDOW run AS (PARTITION BY site_id, batch_id, channel, side ORDER BY read_at)
), numbered AS (
    SELECT *, sum((NOT coalesce(out_before AND since <= gap_minutes, false))::INT) OVER (
                  PARTITION BY site_id, batch_id, channel, side ORDER BY read_at) AS stretch
    FROM marked WHERE out
)
SELECT site_id, batch_id, channel, any_value(quantity_name) AS quantity_name, side, any_value(limit_) AS limit_value,
       arg_min(step, read_at) AS step, min(read_at) AS started_at, max(read_at) AS ended_at,
       epoch(max(read_at) - min(read_at)) / 3600 AS duration_h, count(*) AS n_readings, max(beyond) AS depth, arg_max(reading, beyond) AS extreme,
       coalesce(sum((beyond + beyond_before) / 2 * since / 60) FILTER (out_before AND since <= gap_minutes), 0) AS area
FROM numbered
GROUP BY site_id, batch_id, channel, side, stretch
HAVING epoch(max(read_at) - min(read_at)) / 60 >= any_value(shortest_minutes)
ORDER BY site_id, batch_id, started_at, channel, side;
