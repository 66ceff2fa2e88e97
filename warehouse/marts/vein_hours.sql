-- vein_hours: one row per order and step from order to infusion, with its hours and what kind of time they are.
-- Key: site_id, order_id, step. Sources: mart.vein_to_vein, mart.custody_step, mart.assay_long, in_force_batch.
-- Categories: process (hands or reactor on the cells), waiting (nothing happens), transit (between places), testing (until the last
-- release result), administration (order to slot, review and decision). A step begins where the one before it ended; where a
-- milestone is not on record the hours fall to the next step that has one. The last step of an open order runs on until the
-- newest event that its site told of. Steps are of the attempt that was infused, else of the
-- last; those before it are one step, from the first collection to the next.
CREATE OR REPLACE TABLE {target}.mart.vein_hours AS
WITH moved AS (
    SELECT v.site_id, v.order_id,
           max(s.happened_at) FILTER (s.custody_kind = 'shipped' AND s.custody_object IS DISTINCT FROM 'product' AND s.happened_at BETWEEN v.collected_at AND v.received_at) AS sent_in_at,
           min(s.happened_at) FILTER (s.custody_kind = 'shipped' AND s.happened_at >= v.released_at) AS sent_out_at,
           min(s.happened_at) FILTER (s.custody_kind IN ('handed_over', 'received') AND s.happened_at > v.released_at AND s.happened_at <= coalesce(v.infused_at, v.observed_until)) AS delivered_at
    FROM {target}.mart.vein_to_vein v JOIN {target}.mart.custody_step s ON s.order_site_id = v.site_id AND s.order_id = v.order_id AND s.is_link
    GROUP BY v.site_id, v.order_id
), tested AS (
    SELECT v.site_id, v.order_id, max(a.result_at) AS tested_at
    FROM {target}.mart.vein_to_vein v JOIN {target}.mart.assay_long a ON a.site_id = v.site_id AND a.batch_id = v.batch_id
    WHERE a.sample_point IN ('harvest', 'release') AND a.result_at >= v.harvested_at AND (v.released_at IS NULL OR a.result_at <= v.released_at)
    GROUP BY v.site_id, v.order_id
), milestone AS (
    SELECT v.site_id, v.order_id, v.ordered_at, v.first_collected_at, v.collection_started_at, v.collected_at, m.sent_in_at, v.received_at, v.started_at, v.harvested_at, b.formulated_at,
           t.tested_at, v.released_at, m.sent_out_at, m.delivered_at, v.infused_at, v.end_kind, v.ended_at, v.observed_until, v.record_id, v.source_file, v.source_row
    FROM {target}.mart.vein_to_vein v LEFT JOIN moved m USING (site_id, order_id) LEFT JOIN tested t USING (site_id, order_id)
    LEFT JOIN in_force_batch b ON b.site_id = v.site_id AND b.batch_id = v.batch_id
), step AS (
    SELECT site_id, order_id, end_kind, ended_at, observed_until, record_id, source_file, source_row,
           unnest([{'n': 0, 'step': 'order to collection', 'category': 'administration',
                    'at': CASE WHEN first_collected_at < collected_at THEN first_collected_at ELSE collection_started_at END},
                   {'n': 1, 'step': 'earlier attempts', 'category': 'process', 'at': CASE WHEN first_collected_at < collected_at THEN collection_started_at END},
                   {'n': 2, 'step': 'collection', 'category': 'process', 'at': collected_at},
                   {'n': 3, 'step': 'waiting for the courier', 'category': 'waiting', 'at': sent_in_at},
                   {'n': 4, 'step': 'way to the laboratory', 'category': 'transit', 'at': received_at},
                   {'n': 5, 'step': 'waiting for the suite', 'category': 'waiting', 'at': started_at},
                   {'n': 6, 'step': 'manufacture', 'category': 'process', 'at': harvested_at},
                   {'n': 7, 'step': 'formulation', 'category': 'process', 'at': formulated_at},
                   {'n': 8, 'step': 'release testing', 'category': 'testing', 'at': tested_at},
                   {'n': 9, 'step': 'review and decision', 'category': 'administration', 'at': released_at},
                   {'n': 10, 'step': 'waiting to leave', 'category': 'waiting', 'at': sent_out_at},
                   {'n': 11, 'step': 'way to the ward', 'category': 'transit', 'at': delivered_at},
                   {'n': 12, 'step': 'at the ward', 'category': 'waiting', 'at': infused_at}], recursive := true), ordered_at
    FROM milestone
), reached AS (
    SELECT *, coalesce(lag("at") OVER (PARTITION BY site_id, order_id ORDER BY n), ordered_at) AS began_at FROM step WHERE "at" IS NOT NULL
), last AS (
    SELECT site_id, order_id, max(n) AS n, arg_max("at", n) AS "at" FROM reached GROUP BY site_id, order_id
), running AS (
    -- What an order that is not over is in now: the step after the last milestone reached.
    SELECT s.site_id, s.order_id, s.n, s.step, s.category, coalesce(l."at", s.ordered_at) AS began_at, s.observed_until AS ended_at, true AS still_open,
           s.record_id, s.source_file, s.source_row
    FROM step s LEFT JOIN last l USING (site_id, order_id) WHERE s.end_kind IS NULL AND s.n = coalesce(l.n + CASE l.n WHEN 0 THEN 2 ELSE 1 END, 0)
)
SELECT site_id, order_id, n::BIGINT AS step_no, step, category, began_at, ended_at, date_diff('second', began_at, ended_at) / 3600.0 AS hours, still_open, record_id, source_file, source_row
FROM (SELECT site_id, order_id, n, step, category, began_at, "at" AS ended_at, false AS still_open, record_id, source_file, source_row FROM reached
      UNION ALL BY NAME SELECT * FROM running)
WHERE began_at IS NOT NULL
ORDER BY site_id, order_id, step_no;
