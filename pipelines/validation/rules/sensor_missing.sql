-- sensor_missing: a step of the process without the readings that such a step has.
-- What: a channel that nine of ten of the site's operations of the procedure (ten at least) have readings of in more than half of their
--   hours, and this one has in less than half of its own; operations of two hours or more that ended before the site's newest reading: later ones may still come.
-- Why: nobody knows what the culture did in that step; a trajectory, a mean or a release rests on less than it seems.
-- Severity: warning. How much of each step is usable, and why not, is mart.sensor_usable.
-- Cannot be seen: a channel that the site never records in that procedure.
WITH operation AS (
    SELECT site_id, batch_id, operation_id, unit_procedure, operation_started_at AS from_at, operation_ended_at AS to_at, source_file, source_row, record_id,
           count(*) OVER (PARTITION BY site_id, unit_procedure) AS n
    FROM in_force_unit_operation WHERE operation_ended_at >= operation_started_at + INTERVAL 2 HOUR
), seen AS (
    SELECT o.site_id, o.operation_id, h.channel, count(*) / greatest(epoch(any_value(o.to_at) - any_value(o.from_at)) / 3600, 1) AS share
    FROM operation o JOIN channel_hour h ON h.site_id = o.site_id AND h.batch_id = o.batch_id AND h.hour_at < o.to_at AND h.hour_at + INTERVAL 1 HOUR > o.from_at
    GROUP BY ALL
), expected AS (
    SELECT o.site_id, o.unit_procedure, s.channel
    FROM operation o JOIN seen s USING (site_id, operation_id) WHERE s.share > 0.5
    GROUP BY ALL HAVING any_value(o.n) >= 10 AND count(*) >= 0.9 * any_value(o.n)
)
SELECT o.site_id, 'unit_operation' AS table_name, 'warning' AS severity, o.operation_id || '|' || e.channel AS subject,
       e.channel || CASE WHEN s.share IS NULL THEN ' has no readings' ELSE ' has readings in ' || round(100 * s.share) || ' % of the hours' END || ' of ' || o.unit_procedure
           || ', unlike ' || (o.n - 1) || ' others of the site' AS detail, o.source_file, o.source_row, o.record_id
FROM operation o JOIN expected e USING (site_id, unit_procedure) LEFT JOIN seen s ON s.site_id = o.site_id AND s.operation_id = o.operation_id AND s.channel = e.channel
WHERE coalesce(s.share, 0) < 0.5 AND o.to_at <= (SELECT max(h.hour_at) + INTERVAL 1 HOUR FROM channel_hour h WHERE h.site_id = o.site_id)
