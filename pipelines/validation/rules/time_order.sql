-- time_order: times that cannot be in this order.
-- What: an end before its beginning (collection, operation, batch, deviation); manufacture before collection; a sample taken after
--   its result, after harvest (in-process), after the release decision (release) or before manufacture; a decision before harvest;
--   an infusion before harvest or formulation; a custody event out of its chain's sequence; any event later than the stamp of the
--   record that tells it (by more than an hour: stamps of an hour that occurs twice are uncertain) or than the file that brought it.
-- Why: a clock is wrong or two records were mixed up; every interval computed from them is wrong too.
-- Severity: error. One finding a record, with all that contradicts it.
-- Cannot be seen: a wrong clock that leaves the order possible; which of two records is wrong is judged (the sample rather than its
--   results; of two custody events the one that no other record of the therapy tells within the hour, else the one whose removal
--   leaves the gaps that are usual at the site).
WITH stamped AS (
    SELECT site_id, 'collection' AS table_name, collection_id AS subject, greatest(collection_started_at, collection_ended_at) AS moment,
           source_version, sent_at, source_file, source_row, record_id FROM in_force_collection
    UNION ALL SELECT site_id, 'batch', batch_id, greatest(batch_started_at, harvested_at, formulated_at), source_version, sent_at, source_file, source_row, record_id FROM in_force_batch
    UNION ALL SELECT site_id, 'unit_operation', operation_id, greatest(operation_started_at, operation_ended_at), source_version, sent_at, source_file, source_row, record_id FROM in_force_unit_operation
    UNION ALL SELECT site_id, 'sample', sample_id, taken_at, source_version, sent_at, source_file, source_row, record_id FROM in_force_sample
    UNION ALL SELECT site_id, 'assay_result', result_id, result_at, source_version, sent_at, source_file, source_row, record_id FROM in_force_assay_result
    UNION ALL SELECT site_id, 'deviation', deviation_id, greatest(opened_at, closed_at), source_version, sent_at, source_file, source_row, record_id FROM in_force_deviation
    UNION ALL SELECT site_id, 'release_decision', release_id, signed_at, source_version, sent_at, source_file, source_row, record_id FROM in_force_release_decision
    UNION ALL SELECT site_id, 'custody_event', event_id, happened_at, source_version, sent_at, source_file, source_row, record_id FROM in_force_custody_event
    UNION ALL SELECT site_id, 'infusion', infusion_id, infused_at, source_version, sent_at, source_file, source_row, record_id FROM in_force_infusion
), contradiction AS (
    SELECT site_id, table_name, subject, 'told on ' || shown(least(source_version, sent_at)) || ' as happening later, ' || shown(moment) AS what,
           source_file, source_row, record_id
    FROM stamped WHERE moment > source_version + INTERVAL 1 HOUR OR moment > sent_at
    UNION ALL
    SELECT site_id, 'collection', collection_id, 'ends ' || shown(collection_ended_at) || ' before it starts ' || shown(collection_started_at), source_file, source_row, record_id
    FROM in_force_collection WHERE collection_ended_at < collection_started_at
    UNION ALL
    SELECT site_id, 'unit_operation', operation_id, 'ends ' || shown(operation_ended_at) || ' before it starts ' || shown(operation_started_at), source_file, source_row, record_id
    FROM in_force_unit_operation WHERE operation_ended_at < operation_started_at
    UNION ALL
    SELECT site_id, 'deviation', deviation_id, 'closed ' || shown(closed_at) || ' before it was opened ' || shown(opened_at), source_file, source_row, record_id
    FROM in_force_deviation WHERE closed_at < opened_at
    UNION ALL
    SELECT site_id, 'batch', batch_id, 'harvested ' || shown(harvested_at) || ' before its start ' || shown(batch_started_at), source_file, source_row, record_id
    FROM in_force_batch WHERE harvested_at < batch_started_at
    UNION ALL
    SELECT site_id, 'batch', batch_id, 'formulated ' || shown(formulated_at) || ' before its harvest ' || shown(harvested_at), source_file, source_row, record_id
    FROM in_force_batch WHERE formulated_at < harvested_at
    UNION ALL
    SELECT b.site_id, 'batch', b.batch_id, 'started ' || shown(b.batch_started_at) || ' before any collection of its order, ' || shown(c.first_at), b.source_file, b.source_row, b.record_id
    FROM in_force_batch b JOIN (SELECT site_id, order_id, min(collection_started_at) AS first_at FROM in_force_collection GROUP BY ALL) c USING (site_id, order_id)
    WHERE b.batch_started_at < c.first_at
    UNION ALL
    SELECT s.site_id, 'sample', s.sample_id, 'taken ' || shown(s.taken_at) || ' after its first result ' || shown(r.first_at), s.source_file, s.source_row, s.record_id
    FROM in_force_sample s JOIN (SELECT site_id, sample_id, min(result_at) AS first_at FROM in_force_assay_result GROUP BY ALL) r USING (site_id, sample_id)
    WHERE s.taken_at > r.first_at
    UNION ALL
    SELECT s.site_id, 'sample', s.sample_id, 'taken ' || shown(s.taken_at) || ' in process, after harvest ' || shown(b.harvested_at), s.source_file, s.source_row, s.record_id
    FROM in_force_sample s JOIN in_force_batch b USING (site_id, batch_id) WHERE s.sample_point = 'ipc_day_5' AND s.taken_at > b.harvested_at
    UNION ALL
    SELECT s.site_id, 'sample', s.sample_id, 'taken ' || shown(s.taken_at) || ' before manufacture started ' || shown(b.batch_started_at), s.source_file, s.source_row, s.record_id
    FROM in_force_sample s JOIN in_force_batch b USING (site_id, batch_id) WHERE s.taken_at < b.batch_started_at
    UNION ALL
    SELECT s.site_id, 'sample', s.sample_id, 'taken ' || shown(s.taken_at) || ' for release, after the decision ' || shown(d.signed_at), s.source_file, s.source_row, s.record_id
    FROM in_force_sample s JOIN (SELECT site_id, batch_id, max(signed_at) AS signed_at FROM in_force_release_decision GROUP BY ALL) d USING (site_id, batch_id)
    WHERE s.sample_point IN ('ipc_day_5', 'harvest', 'release') AND s.taken_at > d.signed_at
    UNION ALL
    SELECT d.site_id, 'release_decision', d.release_id, 'signed ' || shown(d.signed_at) || ' before harvest ' || shown(b.harvested_at), d.source_file, d.source_row, d.record_id
    FROM in_force_release_decision d JOIN in_force_batch b USING (site_id, batch_id) WHERE d.decision <> 'rejected' AND d.signed_at < b.harvested_at
    UNION ALL
    SELECT i.site_id, 'infusion', i.infusion_id, 'given ' || shown(i.infused_at) || ' before harvest or formulation ' || shown(coalesce(b.formulated_at, b.harvested_at)), i.source_file, i.source_row, i.record_id
    FROM in_force_infusion i JOIN in_force_batch b USING (site_id, batch_id) WHERE i.infused_at < coalesce(b.formulated_at, b.harvested_at)
), chain AS (
    -- Forks and copies are judged elsewhere: one event a place in the chain.
    SELECT * FROM in_force_custody_event WHERE sequence_no IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY site_id, coi_id, sequence_no ORDER BY sent_at, source_row, event_id) = 1
), linked AS (
    SELECT *, lag(happened_at) OVER c AS t0, lead(happened_at) OVER c AS t2, lead(happened_at, 2) OVER c AS t3,
           lead(event_id) OVER c AS next_id, lead(custody_kind) OVER c AS kind2, lead(custody_kind, 2) OVER c AS kind3,
           lead(custody_object) OVER c AS object2, lead(custody_object, 2) OVER c AS object3
    FROM chain WINDOW c AS (PARTITION BY site_id, coi_id ORDER BY sequence_no)
), elsewhere AS (
    -- Steps of a therapy that another system tells too, with its own clock.
    SELECT site_id, order_id, 'apheresis' AS custody_object, 'collected' AS custody_kind, unnest([collection_started_at, collection_ended_at]) AS moment
    FROM in_force_collection
    UNION ALL SELECT site_id, order_id, 'apheresis', 'processed', batch_started_at FROM in_force_batch
    UNION ALL SELECT site_id, order_id, 'product', 'processed', unnest([harvested_at, formulated_at]) FROM in_force_batch
    UNION ALL SELECT b.site_id, b.order_id, 'product', 'released', d.signed_at FROM in_force_release_decision d JOIN in_force_batch b USING (site_id, batch_id)
    UNION ALL SELECT site_id, order_id, 'product', 'infused', infused_at FROM in_force_infusion
), confirmed AS (
    SELECT DISTINCT e.site_id, e.event_id
    FROM in_force_custody_event e JOIN in_force_therapy_order o USING (site_id, coi_id)
    JOIN elsewhere w ON w.site_id = e.site_id AND w.order_id = o.order_id AND w.custody_object = e.custody_object AND w.custody_kind = e.custody_kind
    WHERE abs(epoch(e.happened_at - w.moment)) <= 3600
), usual AS (
    SELECT site_id, custody_kind, custody_object, median(gap) AS gap, greatest(mad(gap), 0.5) AS spread
    FROM (SELECT site_id, custody_kind, custody_object, epoch(happened_at - t0) / 3600 AS gap FROM linked) WHERE gap > 0 GROUP BY ALL
), doubted AS (
    SELECT l.*, CASE
               WHEN c1.event_id IS NULL AND c2.event_id IS NOT NULL THEN true WHEN c1.event_id IS NOT NULL AND c2.event_id IS NULL THEN false
               ELSE coalesce(abs(epoch(t2 - t0) / 3600 - u1.gap - u2.gap) / (u1.spread + u2.spread), 0) + coalesce(abs(epoch(t3 - t2) / 3600 - u3.gap) / u3.spread, 0)
               <= coalesce(abs(epoch(happened_at - t0) / 3600 - u1.gap) / u1.spread, 0) + coalesce(abs(epoch(t3 - happened_at) / 3600 - u2.gap - u3.gap) / (u2.spread + u3.spread), 0) END AS first_is_wrong
    FROM linked l
    LEFT JOIN confirmed c1 ON c1.site_id = l.site_id AND c1.event_id = l.event_id
    LEFT JOIN confirmed c2 ON c2.site_id = l.site_id AND c2.event_id = l.next_id
    LEFT JOIN usual u1 ON u1.site_id = l.site_id AND u1.custody_kind = l.custody_kind AND u1.custody_object IS NOT DISTINCT FROM l.custody_object
    LEFT JOIN usual u2 ON u2.site_id = l.site_id AND u2.custody_kind = l.kind2 AND u2.custody_object IS NOT DISTINCT FROM l.object2
    LEFT JOIN usual u3 ON u3.site_id = l.site_id AND u3.custody_kind = l.kind3 AND u3.custody_object IS NOT DISTINCT FROM l.object3
    WHERE l.happened_at > l.t2
), out_of_sequence AS (
    SELECT d.site_id, 'custody_event' AS table_name, e.event_id AS subject,
           'event ' || d.sequence_no || ' of its chain at ' || shown(d.happened_at) || ' is later than the next at ' || shown(d.t2) AS what,
           e.source_file, e.source_row, e.record_id
    FROM doubted d JOIN in_force_custody_event e ON e.site_id = d.site_id AND e.event_id = CASE WHEN d.first_is_wrong THEN d.event_id ELSE d.next_id END
), found AS (
    SELECT * FROM contradiction UNION ALL SELECT * FROM out_of_sequence
)
SELECT site_id, table_name, 'error' AS severity, subject, string_agg(DISTINCT what, '; ' ORDER BY what) AS detail, source_file, source_row, record_id
FROM found GROUP BY site_id, table_name, subject, source_file, source_row, record_id
