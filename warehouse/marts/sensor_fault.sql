-- sensor_fault: a stretch in which readings of one channel of one batch cannot be relied on, and why. This file finds those of
-- `judged_batch` that readings tell, and adds them to `new_fault`; `sensor_fault_hours.sql` those that hours tell.
-- Key: site_id, batch_id, channel, fault, started_at. Sources: lake.core.reading, channel_hour; judged_batch.
-- The median step and change of the first 400 readings of the channel are the measure. `gap`: more than three steps without a
-- reading. `wrong_rate`: five or more steps in a row shorter than 0.6 or longer than 1.6 of the median. `spike`: a reading that
-- leaves both neighbours on the same side by ten times the median change. `bad_quality`: what the source itself does not call good.
-- `duplicated_stamp`: two values under one time. `clock_jump`: time runs backwards within the file, where it otherwise runs forwards.
-- What cannot be at all (out of range) is in quarantine and leaves a gap.
-- Times are counted in microseconds, and a channel of a batch is a number: texts and calendars would cost several times as much.
CREATE OR REPLACE TEMP TABLE channel_run AS
SELECT row_number() OVER (ORDER BY site_id, batch_id, channel)::INTEGER AS run_no, site_id, batch_id, channel
FROM (SELECT DISTINCT site_id, batch_id, channel FROM channel_hour SEMI JOIN judged_batch USING (site_id, batch_id));

CREATE OR REPLACE TEMP TABLE stepped AS
SELECT run_no, at_us, good, lag(at_us) OVER run AS before_us, (at_us - lag(at_us) OVER run) / 1e6 AS since,
       reading - lag(reading) OVER run AS rose, reading - lead(reading) OVER run AS fell, row_number() OVER run AS place,
       coalesce(file_no = lag(file_no) OVER run AND source_row < lag(source_row) OVER run, false) AS back
FROM (
    SELECT c.run_no, epoch_us(r.read_at) AS at_us, r.reading, r.reading_status = 'good' AS good, hash(r.source_file_sha256) AS file_no, r.source_row
    FROM lake.core.reading r JOIN channel_run c ON c.site_id = r.site_id AND c.batch_id = r.batch_id AND c.channel = r.channel
)
WINDOW run AS (PARTITION BY run_no ORDER BY at_us, source_row, file_no);

CREATE OR REPLACE TEMP TABLE channel_usual AS
SELECT run_no, median(since) FILTER (since > 0) AS step_s, median(abs(rose)) AS change, avg(back::INT) AS share_back
FROM stepped WHERE place <= 400 GROUP BY ALL HAVING count(since) >= 10;

INSERT INTO new_fault BY NAME
WITH told AS (
    SELECT s.*, u.step_s, (u.step_s * 1e6)::BIGINT AS step_us, back AND share_back < 0.05 AS jump,
           CASE WHEN since = 0 THEN 'duplicated_stamp' WHEN since > 3 * step_s THEN 'gap' WHEN since < 0.6 * step_s OR since > 1.6 * step_s THEN 'wrong_rate' END AS timing,
           change > 0 AND sign(rose) = sign(fell) AND least(abs(rose), abs(fell)) > 10 * change AND good AS spike
    FROM stepped s JOIN channel_usual u USING (run_no)
), remarkable AS (
    SELECT * FROM told WHERE timing IS NOT NULL OR NOT good OR spike OR jump
), stretch AS (
    SELECT run_no, 'gap' AS fault, before_us AS from_us, at_us AS to_us, 0 AS n_readings FROM remarkable WHERE timing = 'gap'
    UNION ALL
    SELECT run_no, 'spike', at_us, at_us + step_us, 1 FROM remarkable WHERE spike
    UNION ALL
    SELECT run_no, 'bad_quality', min(at_us), max(at_us + step_us), count(*)
    FROM (SELECT *, place - row_number() OVER (PARTITION BY run_no ORDER BY at_us) AS island FROM remarkable WHERE NOT good)
    GROUP BY run_no, island
    UNION ALL
    SELECT run_no, 'wrong_rate', min(before_us), max(at_us), count(*)
    FROM (SELECT *, place - row_number() OVER (PARTITION BY run_no ORDER BY at_us) AS island FROM remarkable WHERE timing = 'wrong_rate')
    GROUP BY run_no, island HAVING count(*) >= 5
    UNION ALL
    SELECT run_no, 'duplicated_stamp', at_us, at_us, 1 + count(*) FROM remarkable WHERE timing = 'duplicated_stamp'
    GROUP BY run_no, at_us
    UNION ALL
    SELECT run_no, 'clock_jump', before_us, at_us, 1 FROM remarkable WHERE jump
)
SELECT c.site_id, c.batch_id, c.channel, s.fault, make_timestamptz(s.from_us) AS started_at, make_timestamptz(max(s.to_us)) AS ended_at,
       (max(s.to_us) - s.from_us) / 3.6e9 AS duration_h, sum(s.n_readings)::BIGINT AS n_readings
FROM stretch s JOIN channel_run c USING (run_no) GROUP BY c.site_id, c.batch_id, c.channel, s.fault, s.from_us;
DROP TABLE stepped;
