-- signal_alarm (a query): one thing that rings, with its cause: while a signal of the cause is open, it raises no second.
-- Key: signal_kind, site_id, alarm_cause, batch_id, from_at. Sources: mart.chart_point, chart_limit, chart_budget, trajectory_score,
-- excursion. Charts ring by approved limits alone, outside their baseline, and only those that the false-alarm budget counts. One
-- cause is one series, phase and side, whatever charts show it; of sensors one batch. A quantity that left its declared limits is not
-- told of once more for leaving the path of the good batches.
SELECT 'control_chart' AS signal_kind, p.site AS site_id,
       concat_ws(' · ', p.site, p.attribute, p.measured_as, l.phase_key, CASE p.side WHEN 1 THEN 'high' ELSE 'low' END) AS alarm_cause,
       p.attribute AS about, p.measured_as, p.chart, CAST(NULL AS VARCHAR) AS quantity_name, p.batch_id, p.batch_started_at AS from_at,
       p.batch_started_at AS until_at, p.value, CASE WHEN p.side < 0 THEN p.lower ELSE p.upper END AS limit_value, p.side, 'warning' AS severity,
       p.record_ids
FROM {target}.mart.chart_point p
JOIN {target}.mart.chart_limit l ON l.site = p.site AND l.attribute = p.attribute AND l.measured_as = p.measured_as
     AND l.phase = p.phase AND l.version = p.version AND l.in_force AND l.state = 'approved'
WHERE p.outside AND NOT p.in_baseline AND list_contains(string_split((SELECT charts FROM ringing), ','), p.chart)
UNION ALL BY NAME
SELECT 'trajectory' AS signal_kind, site_id, concat_ws(' · ', site_id, batch_id, 'trajectory') AS alarm_cause, 'trajectory' AS about, quantity_name, batch_id,
       deviates_from AS from_at, judged_at AS until_at, score AS value, score_limit AS limit_value, 1 AS side, 'warning' AS severity
FROM {target}.mart.trajectory_score t WHERE deviates AND NOT EXISTS (
    FROM {target}.mart.excursion e WHERE e.site_id = t.site_id AND e.batch_id = t.batch_id AND e.quantity_name = t.quantity_name)
UNION ALL BY NAME
SELECT 'excursion' AS signal_kind, site_id, concat_ws(' · ', site_id, batch_id, quantity_name, side) AS alarm_cause, 'excursion' AS about, quantity_name, batch_id,
       started_at AS from_at, ended_at AS until_at, extreme AS value, limit_value, CASE side WHEN 'above' THEN 1 ELSE -1 END AS side,
       'warning' AS severity
FROM {target}.mart.excursion
ORDER BY alarm_cause, from_at, batch_id, chart, quantity_name
