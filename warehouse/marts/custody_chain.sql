-- custody_chain: one row per order, with the verdict on its chain of identity and custody and every reason for it.
-- Key: site_id, order_id. Sources: in_force_therapy_order, custody_link and custody_fault (see custody.sql).
-- unbroken: from collection to infusion or disposal, with nothing against it. open: nothing against it, and its end is not on
-- record yet. broken: at least one fault of identity or custody. not_begun: nothing was collected and no event is on record.
-- Condition (temperature, time out of control) is judged beside the verdict: kept, excursion, or not_known where no limit or no
-- temperature is on record.
CREATE OR REPLACE TABLE {target}.mart.custody_chain AS
WITH fault AS (
    SELECT order_site_id AS site_id, order_id, string_agg(DISTINCT reason, ', ' ORDER BY reason) FILTER (aspect <> 'condition') AS reasons,
           count(*) FILTER (aspect <> 'condition') AS n_faults, count(*) FILTER (aspect = 'identity') AS n_identity, count(*) FILTER (aspect = 'custody') AS n_custody,
           string_agg(DISTINCT reason, ', ' ORDER BY reason) FILTER (aspect = 'condition') AS condition_reasons,
           string_agg(DISTINCT detail, '; ' ORDER BY detail) AS detail
    FROM custody_fault GROUP BY order_site_id, order_id
), chain AS (
    SELECT order_site_id AS site_id, order_id, count(*) AS n_events, count(*) FILTER (is_link AND from_party <> to_party) AS n_hand_overs,
           string_agg(DISTINCT site_id, ', ' ORDER BY site_id) AS sites, min(happened_at) AS begun_at, max(happened_at) FILTER (is_link) AS last_event_at,
           arg_max(to_party, place_in_chain) FILTER (is_link) AS held_by, arg_max(place, place_in_chain) FILTER (is_link) AS place,
           arg_max(custody_kind, place_in_chain) FILTER (is_link) AS last_kind, count(*) FILTER (is_link AND NOT coalesce(verified_by_two, false)) AS n_not_checked,
           min(custody_temperature_c) AS coldest_c, max(custody_temperature_c) AS warmest_c, max(gap_h) FILTER (is_link AND custody_kind <> 'collected') AS longest_gap_h,
           count(custody_temperature_c) AS n_temperatures
    FROM custody_link GROUP BY order_site_id, order_id
), uncontrolled AS (
    SELECT order_site_id AS site_id, order_id, sum(out_of_control_h) AS out_of_control_h FROM {target}.mart.custody_step GROUP BY order_site_id, order_id
)
SELECT o.site_id, o.order_id, o.coi_id, o.patient_key, o.product_id, o.order_status,
       CASE WHEN f.n_faults > 0 THEN 'broken'
            WHEN c.n_events IS NULL THEN 'not_begun'
            WHEN c.last_kind IN ('infused', 'disposed') THEN 'unbroken' ELSE 'open' END AS verdict,
       CASE WHEN f.n_identity > 0 THEN 'in_doubt' WHEN c.n_events > 0 THEN 'kept' END AS identity,
       CASE WHEN f.n_custody > 0 THEN 'broken' WHEN c.n_events > 0 THEN 'kept' END AS custody,
       CASE WHEN f.condition_reasons IS NOT NULL THEN 'excursion' WHEN c.n_events IS NULL THEN NULL
            WHEN c.n_temperatures < c.n_events OR NOT EXISTS (FROM custody_limit) THEN 'not_known' ELSE 'kept' END AS condition,
       concat_ws(', ', f.reasons, f.condition_reasons) AS reasons, f.detail, coalesce(f.n_faults, 0) AS n_faults,
       coalesce(c.n_events, 0) AS n_events, coalesce(c.n_hand_overs, 0) AS n_hand_overs, coalesce(c.n_not_checked, 0) AS n_not_checked, c.sites,
       c.begun_at, c.last_event_at, c.last_kind, c.held_by, c.place, c.coldest_c, c.warmest_c, c.longest_gap_h, u.out_of_control_h,
       o.record_id, o.source_file, o.source_row
FROM in_force_therapy_order o
LEFT JOIN fault f USING (site_id, order_id) LEFT JOIN chain c USING (site_id, order_id) LEFT JOIN uncontrolled u USING (site_id, order_id)
ORDER BY o.site_id, o.order_id;
