-- sampling_rate: a sensor that reads more or less often than its kind did at the site.
-- What: the median number of readings an hour of a batch's channel (hours with readings, the first and the last left out, six at least)
--   is less than two thirds or more than one and a half times that of the site's channels of the quantity in batches begun before it,
--   five at least, of which the newest twenty agree within a tenth.
-- Why: a historian compresses, a logger was set otherwise; spikes and short excursions may no longer be seen.
-- Severity: warning. The readings are promoted; rates inside one channel are judged in mart.sensor_fault.
-- Cannot be seen: changes smaller than that; sites whose channels of a quantity never had one rate.
WITH hour AS (
    SELECT *, min(hour_at) OVER one AS first_at, max(hour_at) OVER one AS last_at
    FROM channel_hour WINDOW one AS (PARTITION BY site_id, batch_id, channel, quantity_name)
), rate AS (
    SELECT site_id, batch_id, channel, quantity_name, first_at, median(n_readings) AS per_hour
    FROM hour WHERE hour_at > first_at AND hour_at < last_at GROUP BY ALL HAVING count(*) >= 6
), compared AS (
    SELECT *, list(per_hour) OVER before AS earlier, count(*) OVER before AS n
    FROM rate
    WINDOW before AS (PARTITION BY site_id, quantity_name ORDER BY first_at, batch_id, channel ROWS BETWEEN 20 PRECEDING AND 1 PRECEDING)
), judged AS (
    SELECT *, list_median(earlier) AS usual FROM compared WHERE n >= 5 AND list_max(earlier) <= 1.1 * list_min(earlier)
)
SELECT site_id, 'reading' AS table_name, 'warning' AS severity, batch_id || '|' || channel AS subject,
       quantity_name || ' is read ' || round(per_hour, 1) || ' times an hour, in the ' || n || ' channels before ' || round(usual, 1) || ' times' AS detail,
       CAST(NULL AS VARCHAR) AS source_file, CAST(NULL AS BIGINT) AS source_row, CAST(NULL AS VARCHAR) AS record_id
FROM judged WHERE per_hour * 3 < usual * 2 OR per_hour * 2 > usual * 3
