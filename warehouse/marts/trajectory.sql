-- trajectory: one roll-up of one quantity of one batch, aligned to the step of the process that it was read in.
-- Key: site_id, batch_id, quantity_name, step, step_hour. Sources: channel_hour, in_force_unit_operation, in_force_deviation,
-- quality.finding, mart.batch_wide; trajectory_setting (from fleet.yaml). An hour of readings belongs to the step that its middle
-- lies in. Readings that the source does not call good are left out, and so are those of a sensor at fault: a channel with a
-- finding sensor_drift whole, one with sensor_flat_line in the hours that it stood still and one hour around them. What no sound
-- sensor saw is no deviation: such a bin has no mean.
CREATE OR REPLACE TEMP TABLE faulty_hour AS
WITH told AS (
    SELECT DISTINCT site_id, reason_code, split_part(subject, '|', 1) AS batch_id, split_part(subject, '|', 2) AS channel
    FROM lake.quality.finding WHERE reason_code IN ('sensor_drift', 'sensor_flat_line')
), still AS (
    SELECT c.site_id, c.batch_id, c.channel, c.hour_at,
           c.minimum = c.maximum AND coalesce(c.minimum = lag(c.maximum) OVER run OR c.maximum = lead(c.minimum) OVER run, false) AS stands
    FROM channel_hour c SEMI JOIN told t ON t.site_id = c.site_id AND t.batch_id = c.batch_id AND t.channel = c.channel
         AND t.reason_code = 'sensor_flat_line'
    WINDOW run AS (PARTITION BY c.site_id, c.batch_id, c.channel, c.quantity_name ORDER BY c.hour_at)
)
SELECT c.site_id, c.batch_id, c.channel, c.hour_at, 'sensor_drift' AS fault
FROM channel_hour c SEMI JOIN told t ON t.site_id = c.site_id AND t.batch_id = c.batch_id AND t.channel = c.channel
     AND t.reason_code = 'sensor_drift'
UNION
SELECT site_id, batch_id, channel, hour_at + to_hours(around), 'sensor_flat_line' FROM still, range(-1, 2) r(around) WHERE stands;

CREATE OR REPLACE TEMP TABLE batch_step AS
SELECT site_id, batch_id, unit_procedure AS step, min(operation_started_at) AS from_at, max(operation_ended_at) AS until_at
FROM in_force_unit_operation WHERE operation_started_at IS NOT NULL GROUP BY ALL;

CREATE OR REPLACE TEMP TABLE good_batch AS
SELECT b.site_id, b.batch_id FROM {target}.mart.batch_wide b, trajectory_setting s
WHERE (s.good_until IS NULL OR b.batch_started_at < s.good_until + INTERVAL 1 DAY)
  AND CASE WHEN len(s.good_batches) > 0 THEN list_contains(s.good_batches, b.batch_id)
      ELSE b.disposition = 'released' AND NOT EXISTS (
          SELECT 1 FROM in_force_deviation d
          WHERE d.site_id = b.site_id AND d.batch_id = b.batch_id AND d.deviation_class IN ('major', 'critical')) END;

CREATE OR REPLACE TABLE {target}.mart.trajectory AS
WITH placed AS (
    -- In microseconds: a difference of times with a zone asks the calendar, row by row.
    SELECT c.*, p.step, p.from_at, floor(((epoch_us(c.hour_at) - epoch_us(p.from_at)) / 3.6e9 + 0.5) / s.bin_hours) * s.bin_hours AS step_hour,
           f.fault IS NOT NULL AS faulty
    FROM channel_hour c
    JOIN batch_step p ON p.site_id = c.site_id AND p.batch_id = c.batch_id
         AND epoch_us(c.hour_at) + 1800000000 >= epoch_us(p.from_at) AND epoch_us(c.hour_at) + 1800000000 < epoch_us(p.until_at)
    LEFT JOIN (SELECT site_id, batch_id, channel, hour_at, min(fault) AS fault FROM faulty_hour GROUP BY ALL) f
      ON f.site_id = c.site_id AND f.batch_id = c.batch_id AND f.channel = c.channel AND f.hour_at = c.hour_at
    CROSS JOIN trajectory_setting s
), rolled AS (
    SELECT site_id, batch_id, quantity_name, step, min(from_at) AS from_at, step_hour, sum(n_readings)::BIGINT AS n_readings,
           coalesce(sum(n_good) FILTER (NOT faulty), 0)::BIGINT AS n_used, coalesce(sum(n_readings) FILTER (faulty), 0)::BIGINT AS n_faulty,
           min(minimum) FILTER (NOT faulty) AS minimum,
           -- Compensated: the plain sum's last digits depend on the order, and what is the same must stay the same.
           fsum(mean * n_good) FILTER (NOT faulty) / nullif(sum(n_good) FILTER (NOT faulty), 0) AS mean,
           max(maximum) FILTER (NOT faulty) AS maximum
    FROM placed GROUP BY site_id, batch_id, quantity_name, step, step_hour
)
SELECT r.site_id, r.batch_id, b.product_id, b.protocol_version, r.quantity_name, r.step, r.step_hour::DOUBLE AS step_hour,
       r.from_at + to_seconds(r.step_hour * 3600) AS bin_at, (epoch_us(r.from_at) - epoch_us(b.batch_started_at)) / 3.6e9 + r.step_hour AS elapsed_h,
       r.n_readings, r.n_used, r.n_faulty, r.minimum, r.mean, r.maximum, g.batch_id IS NOT NULL AS good_batch
FROM rolled r
JOIN {target}.mart.batch_wide b ON b.site_id = r.site_id AND b.batch_id = r.batch_id
LEFT JOIN good_batch g ON g.site_id = r.site_id AND g.batch_id = r.batch_id
ORDER BY r.site_id, r.batch_id, r.quantity_name, bin_at;
