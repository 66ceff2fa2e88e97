-- channel_hour: what marts and findings share of the readings, as a temporary table made once for all; no mart of its own.
-- A row: one hour of one channel of one batch. Source: in_force_reading. Minimum, mean, maximum and deviation are of the
-- readings whose quality the source calls good. Hours are cut by whole numbers: a calendar would be asked reading by reading.
-- The mean is rounded far below what any sensor resolves: its last digits depend on the order in which threads add.
CREATE OR REPLACE TEMP TABLE channel_hour AS
SELECT site_id, batch_id, channel, quantity_name, make_timestamptz(epoch_us(read_at) // 3600000000 * 3600000000) AS hour_at,
       count(*) AS n_readings, count(*) FILTER (reading_status = 'good') AS n_good,
       min(reading) FILTER (reading_status = 'good') AS minimum, round(favg(reading) FILTER (reading_status = 'good'), 9) AS mean,
       max(reading) FILTER (reading_status = 'good') AS maximum, stddev_samp(reading) FILTER (reading_status = 'good') AS deviation
FROM in_force_reading
GROUP BY ALL;
