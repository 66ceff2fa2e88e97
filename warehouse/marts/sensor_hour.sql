-- sensor_hour: one row per sensor channel and hour; minimum, mean and maximum of the readings whose quality the source calls good.
-- Key: site_id, batch_id, channel, quantity_name, hour_at. Source: current.reading (rolled up in inputs.sql).
CREATE OR REPLACE TABLE {target}.mart.sensor_hour AS
SELECT site_id, batch_id, channel, quantity_name, hour_at, n_readings, minimum, mean, maximum, n_good / n_readings AS share_good
FROM channel_hour
ORDER BY site_id, batch_id, channel, quantity_name, hour_at;
