-- sensor_usable: one channel during one unit operation, and the share of its time with readings that can be relied on.
-- Key: site_id, operation_id, channel. Sources: in_force_unit_operation, channel_hour, mart.sensor_fault.
-- A channel is expected in an operation where half of the site's operations of that procedure or more have readings of it
-- over half of their time.
-- Faulty is the time inside the operation before the first reading, after the last, and under any fault, overlaps counted once.
CREATE OR REPLACE TABLE {target}.mart.sensor_usable AS
WITH operation AS (
    SELECT site_id, batch_id, operation_id, unit_procedure, operation_started_at AS from_at, operation_ended_at AS to_at
    FROM in_force_unit_operation WHERE operation_ended_at > operation_started_at
), seen AS (
    SELECT o.site_id, o.operation_id, o.unit_procedure, h.channel, min(h.hour_at) AS first_hour, max(h.hour_at) + INTERVAL 1 HOUR AS last_hour,
           2 * epoch(least(max(h.hour_at) + INTERVAL 1 HOUR, o.to_at) - greatest(min(h.hour_at), o.from_at)) >= epoch(o.to_at - o.from_at) AS covered
    FROM operation o JOIN channel_hour h ON h.site_id = o.site_id AND h.batch_id = o.batch_id AND h.hour_at < o.to_at AND h.hour_at + INTERVAL 1 HOUR > o.from_at
    GROUP BY o.site_id, o.operation_id, o.unit_procedure, h.channel, o.from_at, o.to_at
), expected AS (
    SELECT s.site_id, s.unit_procedure, s.channel
    FROM seen s JOIN (SELECT site_id, unit_procedure, count(*) AS n FROM operation GROUP BY ALL) a USING (site_id, unit_procedure)
    WHERE s.covered
    GROUP BY s.site_id, s.unit_procedure, s.channel, a.n HAVING count(*) >= a.n / 2
), wanted AS (
    SELECT o.*, e.channel, s.first_hour, s.last_hour
    FROM operation o JOIN expected e USING (site_id, unit_procedure) LEFT JOIN seen s USING (site_id, operation_id, channel)
), lost AS (
    SELECT site_id, operation_id, channel, from_at AS f, CASE WHEN first_hour IS NULL THEN to_at ELSE least(first_hour, to_at) END AS t, 'not recorded' AS fault
    FROM wanted WHERE first_hour IS NULL OR first_hour > from_at
    UNION ALL
    SELECT site_id, operation_id, channel, greatest(last_hour, from_at), to_at, 'not recorded' FROM wanted WHERE last_hour < to_at
    UNION ALL
    SELECT w.site_id, w.operation_id, w.channel, greatest(x.started_at, w.from_at), least(x.ended_at, w.to_at), x.fault
    FROM wanted w JOIN {target}.mart.sensor_fault x
      ON x.site_id = w.site_id AND x.batch_id = w.batch_id AND x.channel = w.channel AND x.started_at < w.to_at AND x.ended_at > w.from_at
), merged AS (
    -- What of a stretch no stretch before it covered.
    SELECT *, greatest(f, coalesce(max(t) OVER (PARTITION BY site_id, operation_id, channel ORDER BY f, t, fault ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), f)) AS new_from
    FROM lost
), summed AS (
    SELECT site_id, operation_id, channel, sum(greatest(epoch(t - new_from), 0)) / 3600 AS lost_h, list_sort(list_distinct(list(fault))) AS faults
    FROM merged GROUP BY ALL
)
SELECT w.site_id, w.batch_id, w.operation_id, w.unit_procedure, w.channel, w.from_at AS operation_started_at, w.to_at AS operation_ended_at,
       epoch(w.to_at - w.from_at) / 3600 AS operation_h, coalesce(s.lost_h, 0) AS lost_h,
       1 - least(coalesce(s.lost_h, 0) / (epoch(w.to_at - w.from_at) / 3600), 1) AS share_usable, array_to_string(s.faults, ', ') AS faults
FROM wanted w LEFT JOIN summed s USING (site_id, operation_id, channel)
ORDER BY w.site_id, w.batch_id, w.from_at, w.operation_id, w.channel;
