-- sensor_hour: one row per sensor channel and hour; minimum, mean and maximum of the readings whose quality the source calls good.
-- Key: site_id, batch_id, channel, quantity_name, hour_at. Source: current.reading.
CREATE OR REPLACE TABLE {target}.mart.sensor_hour AS
SELECT site_id, batch_id, channel, quantity_name, date_trunc('hour', read_at) AS hour_at, count(*) AS n_readings,
       min(reading) FILTER (reading_status = 'good') AS minimum, avg(reading) FILTER (reading_status = 'good') AS mean,
       max(reading) FILTER (reading_status = 'good') AS maximum,
       count(*) FILTER (reading_status = 'good') / count(*) AS share_good
FROM current.reading
GROUP BY ALL ORDER BY site_id, batch_id, channel, quantity_name, hour_at;
