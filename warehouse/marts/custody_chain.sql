-- custody_chain: one row per custody event, in its chain's order, with the gap to the event before and what is wrong with the link.
-- Key: site_id, event_id. Sources: in_force_custody_event, therapy_order, batch.
-- A collection begins anew: its giver is the patient. The order is that of the source's sequence where it gives one, else of time. A long gap is one beyond the 99th percentile of
-- all gaps that end in the same kind of event at the site (20 gaps at least).
CREATE OR REPLACE TABLE {target}.mart.custody_chain AS
WITH chained AS (
    SELECT e.*, o.site_id AS order_site_id, o.order_id,
           row_number() OVER chain AS place_in_chain,
           lag(happened_at) OVER chain AS previous_at, lag(to_party) OVER chain AS previous_to_party,
           lag(e.leaf_hash) OVER chain AS previous_leaf_hash, lag(e.event_id) OVER chain AS previous_event_id,
           count(*) OVER (PARTITION BY e.site_id, e.coi_id, e.sequence_no) AS same_sequence,
           count(*) OVER (PARTITION BY e.site_id, e.coi_id, e.previous_hash) AS same_previous
    FROM in_force_custody_event e
    LEFT JOIN (SELECT coi_id, any_value(site_id) AS site_id, any_value(order_id) AS order_id FROM in_force_therapy_order GROUP BY coi_id) o USING (coi_id)
    WINDOW chain AS (PARTITION BY e.site_id, e.coi_id ORDER BY e.sequence_no NULLS LAST, e.happened_at, e.event_id)
), gaps AS (
    SELECT *, date_diff('second', previous_at, happened_at) / 3600.0 AS gap_h FROM chained
), usual AS (
    SELECT site_id, custody_kind, quantile_cont(gap_h, 0.99) AS usual_gap_h FROM gaps WHERE gap_h IS NOT NULL
    GROUP BY site_id, custody_kind HAVING count(*) >= 20
)
SELECT g.site_id, g.event_id, g.coi_id, g.order_id, g.order_site_id, g.place_in_chain, g.sequence_no, g.custody_kind, g.custody_object,
       g.from_party, g.to_party, g.place, g.happened_at, g.custody_temperature_c, g.verified_by_two,
       g.previous_event_id, g.gap_h, u.usual_gap_h,
       coalesce(g.gap_h < 0, false) AS out_of_order,
       coalesce(g.gap_h > u.usual_gap_h, false) AS long_gap,
       coalesce(g.from_party <> g.previous_to_party AND g.custody_kind <> 'collected', false) AS giver_differs,
       coalesce((g.sequence_no IS NOT NULL AND g.same_sequence > 1) OR (g.previous_hash IS NOT NULL AND g.same_previous > 1), false) AS forked,
       coalesce(g.previous_hash <> g.previous_leaf_hash, false) AS hash_broken,
       NOT coalesce(g.verified_by_two, false) AS not_verified_by_two,
       g.previous_hash, g.leaf_hash, g.record_id, g.source_file, g.source_row
FROM gaps g LEFT JOIN usual u USING (site_id, custody_kind)
ORDER BY g.site_id, g.coi_id, g.place_in_chain;
