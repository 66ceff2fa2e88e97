-- Chains of custody that marts and findings share, as temporary tables; no mart of its own.
-- A row: `custody_link` one custody event at its place in its chain, with the event before it; `custody_anchor` one moment that
-- another record of an order tells too (collection, start, formulation, release, infusion); `custody_fault` one fault of a chain
-- with the row that shows it.
-- Sources: in_force_custody_event, therapy_order, collection, batch, release_decision, infusion, assay_result, sample; custody_limit.
-- A chain is all events of one chain of identity. Where one site tells it, its sequence is that of the site's own numbers, else of
-- time. Copies (the same said again) and forks (a second event at one place of the chain) are no links of it. A collection begins
-- anew. Aspects: identity (whose cells), custody (who holds them), condition (how they were kept).
CREATE OR REPLACE TEMP TABLE custody_link AS
WITH ordered AS (
    SELECT coi_id, arg_min(site_id, (ordered_at, site_id, order_id)) AS order_site_id, arg_min(order_id, (ordered_at, site_id, order_id)) AS order_id
    FROM in_force_therapy_order WHERE coi_id IS NOT NULL GROUP BY coi_id
), event AS (
    SELECT e.*, o.order_site_id, o.order_id,
           min(e.site_id) OVER (PARTITION BY e.coi_id) = max(e.site_id) OVER (PARTITION BY e.coi_id) AS one_site,
           concat_ws('|', custody_object, custody_kind, from_party, to_party, place, happened_at::VARCHAR) AS content,
           coalesce(leaf_hash IN (SELECT previous_hash FROM in_force_custody_event WHERE previous_hash IS NOT NULL), false) AS goes_on
    FROM in_force_custody_event e LEFT JOIN ordered o USING (coi_id)
), ranked AS (
    SELECT *, row_number() OVER copies > 1 AS is_copy,
           (previous_hash IS NOT NULL AND count(*) OVER hashes > 1) OR (sequence_no IS NOT NULL AND count(*) OVER numbers > 1) AS forked,
           (previous_hash IS NOT NULL AND row_number() OVER hash_order > 1 AND content <> first_value(content) OVER hash_order)
               OR (sequence_no IS NOT NULL AND row_number() OVER number_order > 1 AND content <> first_value(content) OVER number_order) AS is_fork
    FROM event
    WINDOW copies AS (PARTITION BY coi_id, content ORDER BY sequence_no NULLS LAST, sent_at, source_row, event_id),
           hashes AS (PARTITION BY site_id, coi_id, previous_hash), numbers AS (PARTITION BY site_id, coi_id, sequence_no),
           hash_order AS (PARTITION BY site_id, coi_id, previous_hash ORDER BY goes_on DESC, sent_at, source_row, event_id),
           number_order AS (PARTITION BY site_id, coi_id, sequence_no ORDER BY goes_on DESC, sent_at, source_row, event_id)
), linked AS (
    SELECT *, NOT is_copy AND NOT is_fork AS is_link, row_number() OVER chain AS place_in_chain,
           count(*) FILTER (custody_kind = 'collected' AND NOT is_copy AND NOT is_fork) OVER so_far AS collection_no,
           lag(CASE WHEN NOT is_copy AND NOT is_fork THEN event_id END IGNORE NULLS) OVER chain AS previous_event_id,
           lag(CASE WHEN NOT is_copy AND NOT is_fork THEN happened_at END IGNORE NULLS) OVER chain AS previous_at,
           lag(CASE WHEN NOT is_copy AND NOT is_fork THEN {'party': to_party} END IGNORE NULLS) OVER chain AS received,
           lag(sequence_no) OVER chain AS previous_no, lag(leaf_hash) OVER chain AS previous_leaf_hash, lag(site_id) OVER chain AS previous_site_id
    FROM ranked
    WINDOW chain AS (PARTITION BY coi_id ORDER BY CASE WHEN one_site THEN sequence_no END NULLS LAST, happened_at, event_id),
           so_far AS (chain ROWS UNBOUNDED PRECEDING)
)
SELECT * EXCLUDE (received), received.party AS holder, date_diff('second', previous_at, happened_at) / 3600.0 AS gap_h FROM linked;

CREATE OR REPLACE TEMP TABLE custody_anchor AS
SELECT c.site_id, o.order_id, o.coi_id, 'collected' AS custody_kind, 'apheresis' AS custody_object, c.collection_ended_at AS moment,
       CAST(NULL AS VARCHAR) AS place, 'collection ' || c.collection_id AS told_by
FROM in_force_collection c JOIN in_force_therapy_order o USING (site_id, order_id)
UNION ALL
SELECT b.site_id, o.order_id, o.coi_id, 'processed', 'apheresis', b.batch_started_at, b.suite_id, 'batch ' || b.batch_id
FROM in_force_batch b JOIN in_force_therapy_order o USING (site_id, order_id)
UNION ALL
SELECT b.site_id, o.order_id, o.coi_id, 'processed', 'product', coalesce(b.formulated_at, b.harvested_at), b.suite_id, 'batch ' || b.batch_id
FROM in_force_batch b JOIN in_force_therapy_order o USING (site_id, order_id)
UNION ALL
SELECT d.site_id, o.order_id, o.coi_id, 'released', 'product', d.signed_at, NULL, 'release ' || d.release_id
FROM in_force_release_decision d JOIN in_force_batch b USING (site_id, batch_id) JOIN in_force_therapy_order o ON o.site_id = b.site_id AND o.order_id = b.order_id
WHERE d.decision <> 'rejected'
UNION ALL
SELECT i.site_id, o.order_id, o.coi_id, 'infused', 'product', i.infused_at, NULL, 'infusion ' || i.infusion_id
FROM in_force_infusion i JOIN in_force_therapy_order o USING (site_id, order_id);
DELETE FROM custody_anchor WHERE moment IS NULL OR coi_id IS NULL;

-- Events that another record of their order tells too: does it agree (an hour, and the suite where the event names one)?
CREATE OR REPLACE TEMP TABLE custody_told AS
WITH suite AS (SELECT DISTINCT site_id, suite_id FROM in_force_batch WHERE suite_id IS NOT NULL
), event AS (
    SELECT l.*, s.suite_id IS NOT NULL AS place_is_suite
    FROM custody_link l LEFT JOIN suite s ON s.site_id = l.site_id AND s.suite_id = l.place
    WHERE is_link AND (custody_kind, custody_object) IN (('collected', 'apheresis'), ('processed', 'apheresis'), ('processed', 'product'), ('released', 'product'), ('infused', 'product'))
), own AS (
    SELECT e.site_id, e.event_id, a.moment, a.told_by, a.place,
           abs(epoch(a.moment - e.happened_at)) <= 3600 AND (a.place IS NULL OR NOT e.place_is_suite OR a.place = e.place) AS agrees
    FROM event e LEFT JOIN custody_anchor a ON a.coi_id = e.coi_id AND a.custody_kind = e.custody_kind AND a.custody_object = e.custody_object
    QUALIFY row_number() OVER (PARTITION BY e.site_id, e.event_id ORDER BY abs(epoch(a.moment - e.happened_at)) NULLS LAST, a.told_by) = 1
), judged AS (
    SELECT e.*, o.moment, o.told_by, o.place AS told_place, coalesce(o.agrees, false) AS agrees,
           -- Only where a site's records of the kind agree as a rule: else its events mean another moment.
           avg(coalesce(o.agrees, false)::INT) FILTER (o.moment IS NOT NULL) OVER (PARTITION BY e.site_id, e.custody_kind, e.custody_object) AS usual_agreement,
           count(o.moment) OVER (PARTITION BY e.site_id, e.custody_kind, e.custody_object) AS compared
    FROM event e JOIN own o USING (site_id, event_id)
)
SELECT * FROM judged WHERE compared >= 3 AND usual_agreement >= 0.6;

CREATE OR REPLACE TEMP TABLE custody_fault AS
WITH swapped AS (
    -- It contradicts its own order and agrees with another, of which no event agrees with that record.
    SELECT t.site_id, t.event_id, min(a.order_id) AS other_order_id, arg_min(a.told_by, a.order_id) AS other_told_by
    FROM custody_told t
    JOIN custody_anchor a ON a.site_id = t.site_id AND a.coi_id <> t.coi_id AND a.custody_kind = t.custody_kind AND a.custody_object = t.custody_object
     AND abs(epoch(a.moment - t.happened_at)) <= 900 AND (a.place IS NULL OR NOT t.place_is_suite OR a.place = t.place)
    WHERE NOT t.agrees AND NOT EXISTS (FROM custody_told x WHERE x.coi_id = a.coi_id AND x.custody_kind = a.custody_kind AND x.custody_object = a.custody_object
                                       AND x.agrees AND x.told_by = a.told_by)
    GROUP BY t.site_id, t.event_id
), given_twice AS (
    -- The same party gave the same object to two, and did not get it back in between.
    SELECT site_id, event_id, earlier, earlier_to FROM (
        SELECT l.site_id, l.event_id, p.event_id AS earlier, p.to_party AS earlier_to
        FROM custody_link l JOIN custody_link p
          ON p.coi_id = l.coi_id AND p.collection_no = l.collection_no AND p.is_link AND p.custody_object = l.custody_object
         AND p.from_party = l.from_party AND p.to_party <> l.to_party AND p.place_in_chain < l.place_in_chain
        WHERE l.is_link AND l.holder <> l.from_party AND l.custody_kind <> 'collected'
          AND NOT EXISTS (FROM custody_link b WHERE b.coi_id = l.coi_id AND b.is_link AND b.to_party = l.from_party
                          AND b.place_in_chain > p.place_in_chain AND b.place_in_chain < l.place_in_chain)
        QUALIFY row_number() OVER (PARTITION BY l.site_id, l.event_id ORDER BY p.place_in_chain DESC) = 1)
), ended AS (
    SELECT coi_id, collection_no, custody_object, arg_min(event_id, place_in_chain) AS end_id, min(place_in_chain) AS end_place, arg_min(custody_kind, place_in_chain) AS end_kind
    FROM custody_link WHERE is_link AND custody_kind IN ('infused', 'disposed') GROUP BY ALL
), event_fault AS (
    SELECT site_id, event_id, 'identity' AS aspect, 'identity_check_missing' AS reason, 'warning' AS severity,
           'two people did not match two identifiers when ' || coalesce(custody_object, 'the material') || ' was ' || custody_kind AS detail
    FROM custody_link WHERE is_link AND NOT coalesce(verified_by_two, false) AND site_id IN (SELECT site_id FROM in_force_custody_event WHERE verified_by_two IS NOT NULL)
    UNION ALL
    SELECT t.site_id, t.event_id, 'identity', 'swap_suspicion', 'critical',
           'told of order ' || t.order_id || ' at ' || shown(t.happened_at) || ', but fits ' || s.other_told_by || ' of order ' || s.other_order_id
    FROM swapped s JOIN custody_told t USING (site_id, event_id)
    UNION ALL
    SELECT t.site_id, t.event_id, 'custody', 'custody_contradiction', 'warning',
           t.custody_kind || ' ' || shown(t.happened_at) || coalesce(' in ' || t.place, '') || ', but ' || t.told_by || ' says ' || shown(t.moment) || coalesce(' in ' || t.told_place, '')
    FROM custody_told t ANTI JOIN swapped s USING (site_id, event_id) WHERE NOT t.agrees AND t.moment IS NOT NULL
    UNION ALL
    SELECT site_id, event_id, 'custody', 'custody_break', 'error', t.custody_kind || ' ' || shown(t.happened_at) || ', but no other record of order ' || t.order_id || ' tells of it'
    FROM custody_told t ANTI JOIN swapped s USING (site_id, event_id) WHERE t.moment IS NULL AND t.order_id IS NOT NULL
    UNION ALL
    SELECT l.site_id, l.event_id, 'custody', 'missing_hand_over', 'error',
           CASE WHEN l.from_party <> l.holder THEN 'given by ' || l.from_party || ', last held by ' || l.holder || ' (' || l.previous_event_id || ')'
                ELSE 'follows number ' || l.previous_no || ' as number ' || l.sequence_no END
    FROM custody_link l ANTI JOIN given_twice g USING (site_id, event_id)
    WHERE l.is_link AND ((l.from_party <> l.holder AND l.custody_kind <> 'collected') OR (l.one_site AND l.sequence_no - l.previous_no > 1))
    UNION ALL
    SELECT l.site_id, l.event_id, 'custody', 'custody_overlap', 'critical',
           'given by ' || l.from_party || ' to ' || l.to_party || ', which had given it to ' || g.earlier_to || ' (' || g.earlier || ') and not got it back'
    FROM given_twice g JOIN custody_link l USING (site_id, event_id)
    UNION ALL
    SELECT site_id, event_id, 'custody', 'chain_fork', 'critical', 'another event stands at the same place of the chain' FROM custody_link WHERE is_fork AND NOT is_copy
    UNION ALL
    SELECT site_id, event_id, 'custody', 'custody_break', 'error', 'its hash of the event before is not that event''s hash'
    FROM custody_link WHERE is_link AND previous_hash <> previous_leaf_hash AND previous_site_id = site_id
      AND NOT EXISTS (FROM custody_link f WHERE f.coi_id = custody_link.coi_id AND f.leaf_hash = custody_link.previous_hash)
    UNION ALL
    SELECT site_id, event_id, 'custody', 'time_order', 'error', 'it happened ' || shown(happened_at) || ', before ' || previous_event_id || ' that it follows' FROM custody_link WHERE is_link AND gap_h < 0
    UNION ALL
    SELECT l.site_id, l.event_id, 'custody', 'impossible_order', 'error', l.custody_object || ' was ' || l.custody_kind || ' after it had been ' || e.end_kind || ' (' || e.end_id || ')'
    FROM custody_link l JOIN ended e ON e.coi_id = l.coi_id AND e.collection_no = l.collection_no AND e.custody_object = l.custody_object AND l.place_in_chain > e.end_place
    WHERE l.is_link
    UNION ALL
    SELECT l.site_id, l.event_id, 'custody', 'impossible_order', 'error', 'product was infused, and released only afterwards (' || r.event_id || ')'
    FROM custody_link l JOIN custody_link r ON r.coi_id = l.coi_id AND r.collection_no = l.collection_no AND r.is_link AND r.custody_kind = 'released' AND r.place_in_chain > l.place_in_chain
    WHERE l.is_link AND l.custody_kind = 'infused'
    UNION ALL
    SELECT l.site_id, l.event_id, 'custody', 'impossible_order', 'error', 'apheresis was ' || l.custody_kind || ' after the product had been made of it'
    FROM custody_link l
    WHERE l.is_link AND l.custody_object = 'apheresis' AND l.custody_kind <> 'disposed'
      AND EXISTS (FROM custody_link p WHERE p.coi_id = l.coi_id AND p.collection_no = l.collection_no AND p.is_link AND p.custody_object = 'product' AND p.place_in_chain < l.place_in_chain)
    UNION ALL
    SELECT site_id, event_id, 'custody', 'custody_break', 'error', 'the chain begins with ' || custody_kind || ': no collection before it'
    FROM custody_link WHERE is_link AND collection_no = 0 AND previous_event_id IS NULL
    UNION ALL
    SELECT site_id, event_id, 'custody', 'custody_break', 'error',
           concat_ws(' and ', CASE WHEN from_party IS NULL THEN 'no giver' END, CASE WHEN to_party IS NULL THEN 'no receiver' END, CASE WHEN place IS NULL THEN 'no place' END) || ' on record'
    FROM custody_link
    WHERE is_link AND (from_party IS NULL OR to_party IS NULL OR place IS NULL) AND site_id IN (SELECT site_id FROM in_force_custody_event WHERE place IS NOT NULL)
    UNION ALL
    SELECT l.site_id, l.event_id, 'condition', 'excursion', 'error',
           l.custody_temperature_c || ' Cel when ' || l.custody_kind || ', allowed ' || coalesce(c.low_c::VARCHAR, '') || ' to ' || coalesce(c.high_c::VARCHAR, '')
    FROM custody_link l JOIN custody_limit c USING (custody_kind) WHERE l.is_link AND (l.custody_temperature_c < c.low_c OR l.custody_temperature_c > c.high_c)
    UNION ALL
    SELECT l.site_id, l.event_id, 'condition', 'time_out_of_control', 'error',
           round(l.gap_h, 1) || ' h since ' || l.previous_event_id || ', allowed ' || c.within_h || ' h'
    FROM custody_link l JOIN custody_limit c USING (custody_kind) WHERE l.is_link AND l.gap_h > c.within_h AND l.custody_kind <> 'collected'
), order_fault AS (
    -- What an order's own records tell and its chain does not.
    SELECT a.site_id, a.order_id, 'custody' AS aspect, 'custody_break' AS reason, 'error' AS severity,
           a.told_by || ' tells that ' || a.custody_object || ' was ' || a.custody_kind || ' ' || shown(a.moment) || ': no custody event does' AS detail, a.moment
    FROM custody_anchor a
    WHERE a.custody_kind IN ('collected', 'processed', 'infused') AND a.site_id IN (SELECT site_id FROM custody_told t WHERE t.custody_kind = a.custody_kind AND t.custody_object = a.custody_object)
      AND NOT EXISTS (FROM custody_told t WHERE t.coi_id = a.coi_id AND t.custody_kind = a.custody_kind AND t.custody_object = a.custody_object AND (t.told_by = a.told_by OR NOT t.agrees))
      -- A batch that failed before harvest has no product.
      AND (a.custody_object, a.custody_kind) <> ('product', 'processed')
    UNION ALL
    -- A batch that ended without infusion, where a site records disposals: the fleet allows so long for one.
    SELECT b.site_id, b.order_id, 'custody', 'custody_break', 'error',
           'batch ' || b.batch_id || ' was ' || b.ended_as || ' by ' || shown(b.ended_at) || ': no custody event tells of its disposal within ' || c.within_h || ' h', b.ended_at
    FROM (
        SELECT b.site_id, b.order_id, b.batch_id, b.batch_started_at, CASE WHEN d.signed_at IS NULL THEN 'terminated' ELSE 'rejected' END AS ended_as,
               coalesce(d.signed_at, b.harvested_at, u.last_at, b.batch_started_at) AS ended_at,
               lead(b.batch_started_at) OVER (PARTITION BY b.site_id, b.order_id ORDER BY b.batch_started_at, b.batch_id) AS next_at
        FROM in_force_batch b
        LEFT JOIN (SELECT site_id, batch_id, max(signed_at) AS signed_at FROM in_force_release_decision GROUP BY ALL HAVING bool_and(decision = 'rejected')) d USING (site_id, batch_id)
        LEFT JOIN (SELECT site_id, batch_id, max(operation_ended_at) AS last_at FROM in_force_unit_operation GROUP BY ALL) u USING (site_id, batch_id)
        QUALIFY d.signed_at IS NOT NULL OR b.batch_status = 'terminated') b
    JOIN custody_limit c ON c.custody_kind = 'disposed' JOIN site_clock k USING (site_id) JOIN in_force_therapy_order o ON o.site_id = b.site_id AND o.order_id = b.order_id
    WHERE date_diff('second', b.ended_at, k.newest_event_at) / 3600.0 > c.within_h AND b.site_id IN (SELECT site_id FROM custody_link WHERE custody_kind = 'disposed')
      AND NOT EXISTS (FROM custody_link e WHERE e.coi_id = o.coi_id AND e.is_link AND e.custody_kind IN ('disposed', 'infused') AND e.happened_at >= b.batch_started_at
                      AND e.happened_at < coalesce(b.next_at, TIMESTAMPTZ 'infinity'))
    UNION ALL
    SELECT i.site_id, o.order_id, 'identity', 'identity_conflict', 'critical', 'infusion ' || i.infusion_id || ' was given for order ' || i.order_id || ', its batch ' || i.batch_id || ' was made for ' || b.order_id, i.infused_at
    FROM in_force_infusion i JOIN in_force_batch b USING (site_id, batch_id) JOIN in_force_therapy_order o ON o.site_id = i.site_id AND o.order_id IN (i.order_id, b.order_id)
    WHERE i.order_id <> b.order_id
    UNION ALL
    SELECT r.site_id, b.order_id, 'identity', 'identity_conflict', 'critical', 'result ' || r.result_id || ' names batch ' || r.batch_id || ', its sample was taken from ' || s.batch_id, coalesce(r.result_at, s.taken_at)
    FROM in_force_assay_result r JOIN in_force_sample s USING (site_id, sample_id) JOIN in_force_batch b ON b.site_id = r.site_id AND b.batch_id IN (r.batch_id, s.batch_id)
    WHERE r.batch_id <> s.batch_id
    UNION ALL
    SELECT site_id, order_id, 'identity', 'identity_conflict', 'critical', 'its chain of identity stands for ' || patients || ' patients', ordered_at
    FROM (SELECT *, len(list_distinct(list(patient_key) OVER (PARTITION BY coi_id))) AS patients FROM in_force_therapy_order WHERE coi_id IS NOT NULL) WHERE patients > 1
    UNION ALL
    SELECT site_id, order_id, 'identity', 'identity_conflict', 'critical', 'the donation number of collection ' || collection_id || ' stands for ' || patients || ' patients', collection_ended_at
    FROM (SELECT c.*, len(list_distinct(list(o.patient_key) OVER (PARTITION BY c.din))) AS patients FROM in_force_collection c JOIN in_force_therapy_order o USING (site_id, order_id) WHERE c.din IS NOT NULL)
    WHERE patients > 1
)
SELECT f.site_id, l.coi_id, coalesce(l.order_site_id, f.site_id) AS order_site_id, l.order_id, f.event_id, f.aspect, f.reason, f.severity, f.detail, l.happened_at AS moment,
       l.record_id, l.source_file, l.source_row
FROM event_fault f JOIN custody_link l USING (site_id, event_id)
UNION ALL
SELECT f.site_id, o.coi_id, f.site_id, f.order_id, NULL, f.aspect, f.reason, f.severity, f.detail, f.moment, o.record_id, o.source_file, o.source_row
FROM order_fault f JOIN in_force_therapy_order o USING (site_id, order_id);
