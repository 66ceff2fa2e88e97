-- lot_expired_at_use: a lot was past its expiry when the batch that used it was started, or had not been received when it ended.
-- What: expiry before the day manufacture began (a use later in the process is later still); receipt after the day of harvest.
-- Why: the material may not do what its certificate says; or the lot number is wrong.
-- Severity: error.
-- Cannot be seen: an expiry during manufacture, since a use carries no time of its own.
SELECT u.site_id, 'lot_use' AS table_name, 'error' AS severity, u.batch_id || '|' || u.lot_id AS subject,
       CASE WHEN l.expires_on < CAST(timezone('UTC', b.batch_started_at) AS DATE)
            THEN 'lot ' || u.lot_id || ' expired ' || l.expires_on || ', batch ' || u.batch_id || ' started ' || shown(b.batch_started_at)
            ELSE 'lot ' || u.lot_id || ' was received ' || l.received_on || ', batch ' || u.batch_id || ' was harvested ' || shown(b.harvested_at) END AS detail,
       arg_min(u.source_file, u.record_id) AS source_file, arg_min(u.source_row, u.record_id) AS source_row, min(u.record_id) AS record_id
FROM in_force_lot_use u
JOIN in_force_reagent_lot l ON l.site_id = u.site_id AND l.lot_id = u.lot_id
JOIN in_force_batch b ON b.site_id = u.site_id AND b.batch_id = u.batch_id
-- A day of tolerance: dates are local, times UTC.
WHERE l.expires_on + 1 < CAST(timezone('UTC', b.batch_started_at) AS DATE) OR l.received_on > CAST(timezone('UTC', b.harvested_at) AS DATE) + 1
GROUP BY u.site_id, u.batch_id, u.lot_id, l.expires_on, l.received_on, b.batch_started_at, b.harvested_at
