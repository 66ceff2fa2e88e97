-- custody_step: one row per custody event, at its place in its chain, with the event before it and what is wrong with it.
-- Key: site_id, event_id. Sources: custody_link and custody_fault (see custody.sql).
-- The gap runs from the event before it in the chain; a long gap is one beyond the 99th percentile of all gaps that end in the
-- same kind of event at the site (20 gaps at least).
CREATE OR REPLACE TABLE {target}.mart.custody_step AS
WITH usual AS (
    SELECT site_id, custody_kind, quantile_cont(gap_h, 0.99) AS usual_gap_h FROM custody_link WHERE gap_h IS NOT NULL AND is_link
    GROUP BY site_id, custody_kind HAVING count(*) >= 20
), fault AS (
    SELECT site_id, event_id, string_agg(DISTINCT reason, ', ' ORDER BY reason) AS reasons, string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail
    FROM custody_fault WHERE event_id IS NOT NULL GROUP BY site_id, event_id
)
SELECT l.site_id, l.event_id, l.coi_id, l.order_id, l.order_site_id, l.place_in_chain, l.sequence_no, l.custody_kind, l.custody_object,
       l.from_party, l.to_party, l.place, l.happened_at, l.verified_by_two, l.custody_temperature_c, c.low_c, c.high_c,
       l.previous_event_id, l.holder AS held_by, l.gap_h, c.within_h, u.usual_gap_h,
       CASE WHEN l.is_link AND l.custody_kind <> 'collected' THEN greatest(l.gap_h - c.within_h, 0) END AS out_of_control_h,
       l.is_link, l.forked, coalesce(l.gap_h > u.usual_gap_h, false) AS long_gap, coalesce(l.gap_h < 0, false) AS out_of_order,
       coalesce(l.from_party <> l.holder AND l.custody_kind <> 'collected', false) AS giver_differs,
       coalesce(l.previous_hash <> l.previous_leaf_hash AND l.previous_site_id = l.site_id, false) AS hash_broken,
       NOT coalesce(l.verified_by_two, false) AS not_verified_by_two, f.reasons, f.detail,
       l.previous_hash, l.leaf_hash, l.record_id, l.source_file, l.source_row
FROM custody_link l
LEFT JOIN usual u USING (site_id, custody_kind) LEFT JOIN fault f USING (site_id, event_id) LEFT JOIN custody_limit c USING (custody_kind)
ORDER BY l.coi_id, l.place_in_chain, l.site_id, l.event_id;
