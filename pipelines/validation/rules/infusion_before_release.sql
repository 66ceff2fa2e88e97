-- infusion_before_release: a product given to a patient before anybody released it, or without a release on record.
-- What: the infusion is earlier than the batch's first decision to release (conditional ones included), or the batch has none.
-- Why: it is what quality assurance must see first; it stays in the data, since leaving it out would bias every outcome.
-- Severity: critical. Judged only at sites that send release decisions at all.
-- Cannot be seen: a release signed on paper and entered later with the time of entry looks the same.
SELECT i.site_id, 'infusion' AS table_name, 'critical' AS severity, i.infusion_id AS subject,
       CASE WHEN d.first_at IS NULL THEN 'batch ' || i.batch_id || ' was given ' || shown(i.infused_at) || ' and has no decision to release it'
            ELSE 'batch ' || i.batch_id || ' was given ' || shown(i.infused_at) || ', released ' || shown(d.first_at) END AS detail,
       i.source_file, i.source_row, i.record_id
FROM in_force_infusion i
JOIN in_force_batch b USING (site_id, batch_id)
LEFT JOIN (SELECT site_id, batch_id, min(signed_at) AS first_at FROM in_force_release_decision
           WHERE decision IN ('released', 'conditional') GROUP BY ALL) d USING (site_id, batch_id)
WHERE i.site_id IN (SELECT site_id FROM in_force_release_decision) AND (d.first_at IS NULL OR i.infused_at < d.first_at)
