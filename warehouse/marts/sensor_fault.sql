-- sensor_fault: a stretch in which readings of one channel of one batch cannot be relied on, and why.
-- Key: site_id, batch_id, channel, fault, started_at. Sources: lake.core.reading, faulty_hour.
-- The median step and change of the first 400 readings of the channel are the measure. `gap`: more than three steps without a
-- reading. `wrong_rate`: five or more steps in a row shorter than 0.6 or longer than 1.6 of the median. `spike`: a reading that
-- leaves both neighbours on the same side by ten times the median change. `bad_quality`: what the source itself does not call good.
-- `duplicated_stamp`: two values under one time. `clock_jump`: time runs backwards within the file, where it otherwise runs forwards.
-- `sensor_flat_line`, `sensor_drift`: as the findings say. What cannot be at all (out of range) is in quarantine and leaves a gap.
CREATE OR REPLACE TEMP TABLE stepped AS
SELECT site_id, batch_id, channel, read_at, reading_status, lag(read_at) OVER run AS before_at, epoch(read_at - lag(read_at) OVER run) AS since,
       reading - lag(reading) OVER run AS rose, reading - lead(reading) OVER run AS fell, row_number() OVER run AS place,
       coalesce(source_file_sha256 = lag(source_file_sha256) OVER run AND source_row < lag(source_row) OVER run, false) AS back
FROM lake.core.reading WINDOW run AS (PARTITION BY site_id, batch_id, channel ORDER BY read_at, source_row);

CREATE OR REPLACE TEMP TABLE channel_usual AS
SELECT site_id, batch_id, channel, median(since) FILTER (since > 0) AS step_s, median(abs(rose)) AS change, avg(back::INT) AS share_back
FROM stepped WHERE place <= 400 GROUP BY ALL HAVING count(since) >= 10;

CREATE OR REPLACE TABLE {target}.mart.sensor_fault AS
WITH told AS (
    SELECT s.*, u.step_s, back AND share_back < 0.05 AS jump,
           CASE WHEN since = 0 THEN 'duplicated_stamp' WHEN since > 3 * step_s THEN 'gap' WHEN since < 0.6 * step_s OR since > 1.6 * step_s THEN 'wrong_rate' END AS timing,
           reading_status <> 'good' AS bad,
           change > 0 AND sign(rose) = sign(fell) AND least(abs(rose), abs(fell)) > 10 * change AND reading_status = 'good' AS spike
    FROM stepped s JOIN channel_usual u USING (site_id, batch_id, channel)
), remarkable AS (
    SELECT * FROM told WHERE timing IS NOT NULL OR bad OR spike OR jump
), stretch AS (
    SELECT site_id, batch_id, channel, 'gap' AS fault, before_at AS started_at, read_at AS ended_at, 0 AS n_readings FROM remarkable WHERE timing = 'gap'
    UNION ALL
    SELECT site_id, batch_id, channel, 'spike', read_at, read_at + to_microseconds((step_s * 1e6)::BIGINT), 1 FROM remarkable WHERE spike
    UNION ALL
    SELECT site_id, batch_id, channel, 'bad_quality', min(read_at), max(read_at + to_microseconds((step_s * 1e6)::BIGINT)), count(*)
    FROM (SELECT *, place - row_number() OVER (PARTITION BY site_id, batch_id, channel ORDER BY read_at) AS island FROM remarkable WHERE bad)
    GROUP BY site_id, batch_id, channel, island
    UNION ALL
    SELECT site_id, batch_id, channel, 'wrong_rate', min(before_at), max(read_at), count(*)
    FROM (SELECT *, place - row_number() OVER (PARTITION BY site_id, batch_id, channel ORDER BY read_at) AS island FROM remarkable WHERE timing = 'wrong_rate')
    GROUP BY site_id, batch_id, channel, island HAVING count(*) >= 5
    UNION ALL
    SELECT site_id, batch_id, channel, 'duplicated_stamp', read_at, read_at, 1 + count(*) FROM remarkable WHERE timing = 'duplicated_stamp'
    GROUP BY site_id, batch_id, channel, read_at
    UNION ALL
    SELECT site_id, batch_id, channel, 'clock_jump', before_at, read_at, 1 FROM remarkable WHERE jump
    UNION ALL
    SELECT site_id, batch_id, channel, fault, min(hour_at), max(hour_at) + INTERVAL 1 HOUR, NULL
    FROM (SELECT *, hour_at - to_hours(row_number() OVER (PARTITION BY site_id, batch_id, channel, fault ORDER BY hour_at)) AS island
          FROM (SELECT DISTINCT site_id, batch_id, channel, fault, hour_at FROM faulty_hour))
    GROUP BY site_id, batch_id, channel, fault, island
)
SELECT s.site_id, s.batch_id, s.channel, fault, started_at, max(ended_at) AS ended_at, epoch(max(ended_at) - started_at) / 3600 AS duration_h,
       sum(n_readings)::BIGINT AS n_readings
FROM stretch s GROUP BY s.site_id, s.batch_id, s.channel, fault, started_at
ORDER BY s.site_id, s.batch_id, s.channel, started_at, fault;
DROP TABLE stepped;
