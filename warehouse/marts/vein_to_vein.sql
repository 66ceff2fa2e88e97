-- vein_to_vein: one row per order, with the milestones from order to infusion and the hours between them.
-- Key: site_id, order_id. Sources: in_force_therapy_order, patient, collection, batch, unit_operation, release_decision,
-- custody_event, infusion. The batch is the one infused, else the last attempt. Collected is the end of the batch's apheresis,
-- received the start of the receipt step (else the first custody reception after collection), released the first decision to
-- release, conditional ones included. Vein to vein runs from collected to infused. Hours may be negative where a clock was
-- wrong: shown as recorded, with a finding. `observed_until` closes the interval of an order that is still open.
-- How it ended: infused; else died; else failed (the last attempt was terminated or rejected); else withdrawn. A failure ends when
-- the batch did, the others when the source says so.
CREATE OR REPLACE TABLE {target}.mart.vein_to_vein AS
WITH attempt AS (
    SELECT b.*, coalesce(b.source_version, b.sent_at) AS stated_at, i.infused_at, i.infusion_id, i.record_id AS infusion_record,
           count(*) OVER (PARTITION BY b.site_id, b.order_id) AS attempts
    FROM in_force_batch b LEFT JOIN in_force_infusion i ON i.site_id = b.site_id AND i.batch_id = b.batch_id
    QUALIFY row_number() OVER (
        PARTITION BY b.site_id, b.order_id ORDER BY i.infused_at NULLS LAST, b.attempt_no DESC NULLS LAST, b.batch_id DESC) = 1
), collected AS (
    SELECT o.site_id, o.order_id, c.collection_started_at, c.collection_ended_at
    FROM in_force_therapy_order o JOIN in_force_collection c USING (site_id, order_id) LEFT JOIN attempt a USING (site_id, order_id)
    QUALIFY row_number() OVER (
        PARTITION BY o.site_id, o.order_id
        ORDER BY coalesce(c.collection_started_at > a.batch_started_at, false), abs(epoch(a.batch_started_at - c.collection_started_at)),
                 c.collection_started_at DESC, c.collection_id) = 1
), receipt AS (
    SELECT a.site_id, a.order_id, min(u.operation_started_at) AS received_at
    FROM attempt a JOIN in_force_unit_operation u ON u.site_id = a.site_id AND u.batch_id = a.batch_id AND u.unit_procedure = 'receipt'
    GROUP BY a.site_id, a.order_id
), custody AS (
    SELECT o.site_id, o.order_id,
           min(e.happened_at) FILTER (e.custody_kind = 'received' AND e.happened_at >= c.collection_ended_at) AS received_at,
           min(e.happened_at) FILTER (e.custody_kind = 'shipped' AND e.happened_at >= a.harvested_at) AS shipped_at
    FROM in_force_therapy_order o
    JOIN in_force_custody_event e ON e.coi_id = o.coi_id
    LEFT JOIN collected c ON c.site_id = o.site_id AND c.order_id = o.order_id
    LEFT JOIN attempt a ON a.site_id = o.site_id AND a.order_id = o.order_id
    GROUP BY o.site_id, o.order_id
), released AS (
    SELECT site_id, batch_id, min(signed_at) AS released_at FROM in_force_release_decision
    WHERE decision IN ('released', 'conditional') GROUP BY site_id, batch_id
), given AS (
    SELECT site_id, order_id, min(infused_at) AS infused_at FROM in_force_infusion GROUP BY site_id, order_id
), milestone AS (
    SELECT o.site_id, o.order_id, o.product_id, o.patient_key, p.indication, o.order_status, coalesce(a.attempts, 0) AS attempts,
           a.batch_id, a.batch_status, a.disposition, o.slot_on, o.ordered_at, c.collection_started_at, c.collection_ended_at AS collected_at,
           coalesce(t.received_at, e.received_at) AS received_at, a.batch_started_at AS started_at, a.harvested_at,
           r.released_at, e.shipped_at, coalesce(a.infused_at, g.infused_at) AS infused_at, k.newest_event_at AS observed_until, f.first_collected_at,
           CASE WHEN o.order_status IN ('died', 'withdrawn') THEN coalesce(o.source_version, o.sent_at) END AS closed_at,
           CASE WHEN a.batch_status = 'terminated' OR a.disposition = 'rejected' THEN a.stated_at END AS failed_at,
           o.record_id, o.source_file, o.source_row
    FROM in_force_therapy_order o
    LEFT JOIN in_force_patient p ON p.site_id = o.site_id AND p.patient_key = o.patient_key
    LEFT JOIN attempt a ON a.site_id = o.site_id AND a.order_id = o.order_id
    LEFT JOIN collected c ON c.site_id = o.site_id AND c.order_id = o.order_id
    LEFT JOIN receipt t ON t.site_id = o.site_id AND t.order_id = o.order_id
    LEFT JOIN custody e ON e.site_id = o.site_id AND e.order_id = o.order_id
    LEFT JOIN released r ON r.site_id = a.site_id AND r.batch_id = a.batch_id
    LEFT JOIN given g ON g.site_id = o.site_id AND g.order_id = o.order_id
    LEFT JOIN site_clock k ON k.site_id = o.site_id
    LEFT JOIN (SELECT site_id, order_id, min(collection_ended_at) AS first_collected_at FROM in_force_collection GROUP BY ALL) f
      ON f.site_id = o.site_id AND f.order_id = o.order_id
)
SELECT * EXCLUDE (record_id, source_file, source_row, closed_at, failed_at),
       date_diff('second', ordered_at, collected_at) / 3600.0 AS order_to_collection_h,
       date_diff('second', collected_at, received_at) / 3600.0 AS collection_to_receipt_h,
       date_diff('second', received_at, started_at) / 3600.0 AS receipt_to_start_h,
       date_diff('second', started_at, harvested_at) / 3600.0 AS start_to_harvest_h,
       date_diff('second', harvested_at, released_at) / 3600.0 AS harvest_to_release_h,
       date_diff('second', released_at, infused_at) / 3600.0 AS release_to_infusion_h,
       date_diff('second', collected_at, infused_at) / 3600.0 AS vein_to_vein_h,
       date_diff('second', ordered_at, infused_at) / 3600.0 AS order_to_infusion_h,
       CASE WHEN infused_at IS NOT NULL THEN 'infused'
            WHEN order_status = 'died' THEN 'died'
            WHEN order_status = 'withdrawn' THEN 'withdrawn'
            WHEN batch_id IS NULL THEN CASE WHEN collected_at IS NULL THEN 'awaiting_collection' ELSE 'awaiting_start' END
            WHEN batch_status = 'terminated' OR disposition = 'rejected' THEN 'failed'
            WHEN released_at IS NOT NULL THEN 'awaiting_infusion'
            WHEN harvested_at IS NOT NULL THEN 'awaiting_release'
            ELSE 'in_process' END AS status,
       CASE WHEN infused_at IS NOT NULL THEN 'infused' WHEN order_status = 'died' THEN 'died' WHEN failed_at IS NOT NULL THEN 'failed'
            WHEN order_status = 'withdrawn' THEN 'withdrawn' END AS end_kind,
       CASE WHEN infused_at IS NOT NULL THEN infused_at WHEN order_status = 'died' THEN closed_at ELSE coalesce(failed_at, closed_at) END AS ended_at,
       record_id, source_file, source_row
FROM milestone ORDER BY site_id, order_id;
