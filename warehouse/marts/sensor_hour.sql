-- sensor_hour: one row per sensor channel and hour; minimum, mean, maximum and deviation are of the readings whose quality the
-- source calls good. Marts and findings read it as `channel_hour`.
-- Key: site_id, batch_id, channel, quantity_name, hour_at. Source: {readings} (in_force_reading, or some batches of it).
-- Hours are cut by whole numbers: a calendar would be asked reading by reading. Mean and deviation are rounded far below what
-- any sensor resolves: their last digits depend on the order in which threads add.
SELECT site_id, batch_id, channel, quantity_name, make_timestamptz(epoch_us(read_at) // 3600000000 * 3600000000) AS hour_at,
       count(*) AS n_readings, count(*) FILTER (reading_status = 'good') AS n_good,
       min(reading) FILTER (reading_status = 'good') AS minimum, round(favg(reading) FILTER (reading_status = 'good'), 9) AS mean,
       max(reading) FILTER (reading_status = 'good') AS maximum,
       round(stddev_samp(reading) FILTER (reading_status = 'good'), 9) AS deviation, n_good / n_readings AS share_good
FROM {readings}
GROUP BY ALL
ORDER BY site_id, batch_id, channel, quantity_name, hour_at
