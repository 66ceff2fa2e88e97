-- sensor_drift: a controlled quantity that slowly leaves its own early level, as no other batch does.
-- What: temperature, pH, dissolved oxygen, agitation or carbon dioxide. Means of 6 h, less the site's median at the same age of the
--   culture (where 5 batches at least reach it; as they are where no 8 ages have that many), against age: a slope with |t| above 5, and a difference of the last fifth from
--   the first of at least 1 deviation of the channel's own noise and of 6 robust deviations of that difference over the fleet's
--   channels of the quantity. Two days of readings at least.
-- Why: either the sensor or the culture left its set point; the loop then controls to the wrong value.
-- Severity: warning.
-- Cannot be seen: drift of uncontrolled quantities (glucose, lactate, cell density move by themselves), drift smaller than how
--   batches differ, a sensor that is wrong from the start.
WITH hour AS (
    SELECT * FROM channel_hour
    WHERE n_good > 0 AND quantity_name IN ('temperature_c', 'ph', 'dissolved_oxygen_pct', 'agitation_rpm', 'carbon_dioxide_pct')
), born AS (
    SELECT site_id, batch_id, min(hour_at) AS first_at FROM hour GROUP BY ALL
), windowed AS (
    SELECT site_id, batch_id, channel, quantity_name, floor(epoch(hour_at - first_at) / 21600) AS age,
           sum(mean * n_good) / sum(n_good) AS level, sum(n_good) AS n,
           -- Deviation inside the window: within hours, and between hours where an hour has one reading.
           sqrt((sum(coalesce(deviation, 0) ^ 2 * (n_good - 1)) + coalesce(var_pop(mean) * sum(n_good), 0)) / greatest(sum(n_good) - 1, 1)) AS deviation
    FROM hour JOIN born USING (site_id, batch_id)
    GROUP BY ALL HAVING sum(n_good) >= 3
), peer AS (
    SELECT site_id, quantity_name, age, median(level) AS level FROM windowed GROUP BY ALL HAVING count(DISTINCT batch_id) >= 5
), compared AS (
    SELECT w.*, p.level AS usual_level, count(p.level) OVER (PARTITION BY w.site_id, w.batch_id, w.channel, w.quantity_name) AS ages_with_peers
    FROM windowed w LEFT JOIN peer p USING (site_id, quantity_name, age)
), residual AS (
    SELECT *, CASE WHEN ages_with_peers >= 8 THEN level - usual_level ELSE level END AS left_over,
           row_number() OVER (PARTITION BY site_id, batch_id, channel, quantity_name ORDER BY age) AS place,
           count(*) OVER (PARTITION BY site_id, batch_id, channel, quantity_name) AS windows
    FROM compared WHERE usual_level IS NOT NULL OR ages_with_peers < 8
), fitted AS (
    SELECT site_id, batch_id, channel, quantity_name, count(*) AS windows, median(deviation) AS noise, regr_slope(left_over, age) AS slope,
           regr_r2(left_over, age) AS r2, median(left_over) FILTER (place <= ceil(windows / 5)) AS early,
           median(left_over) FILTER (place > windows - ceil(windows / 5)) AS late
    FROM residual GROUP BY ALL HAVING count(*) >= 8
), measured AS (
    SELECT *, (late - early) / nullif(noise, 0) AS left_by, sign(slope) * sqrt(r2 * (windows - 2) / greatest(1 - r2, 1e-12)) AS t FROM fitted
), usual AS (
    SELECT quantity_name, median(left_by) AS middle, 1.4826 * mad(left_by) AS spread FROM measured GROUP BY ALL
)
SELECT m.site_id, 'reading' AS table_name, 'warning' AS severity, m.batch_id || '|' || m.channel AS subject,
       m.quantity_name || ' moved by ' || round(m.late - m.early, 3) || ', ' || round(abs(m.left_by), 1) || ' times its noise, over ' || round(m.windows / 4, 1) || ' days' AS detail,
       CAST(NULL AS VARCHAR) AS source_file, CAST(NULL AS BIGINT) AS source_row, CAST(NULL AS VARCHAR) AS record_id
FROM measured m JOIN usual u USING (quantity_name)
WHERE abs(m.t) > 5 AND abs(m.left_by) >= 1 AND sign(m.t) = sign(m.left_by) AND abs(m.left_by - u.middle) > 6 * u.spread
