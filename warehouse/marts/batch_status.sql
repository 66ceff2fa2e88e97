-- batch_status: one row per batch, with where it stands, since when, and what holds it.
-- Key: site_id, batch_id. Sources: mart.batch_wide, mart.assay_long, in_force_deviation, release_decision, specification, spec_limit.
-- Pending tests: attributes of the specification in force for the product that have no result yet, release ones once the batch is
-- harvested and undecided, post-release ones once it is released. Late: past a deadline of the fleet's file (temporary table
-- `deadline`) whose end has not come. Slow: longer in its state than the 90th percentile of the site's own finished batches (5
-- at least, else the fleet's). Ages count to the newest event that the site has told of.
CREATE OR REPLACE TABLE {target}.mart.batch_status AS
WITH hours AS (
    SELECT site_id, date_diff('second', batch_started_at, harvested_at) / 3600.0 AS h1,
           date_diff('second', harvested_at, signed_at) / 3600.0 AS h2, date_diff('second', signed_at, infused_at) / 3600.0 AS h3
    FROM {target}.mart.batch_wide
), usual AS (
    SELECT s.site_id,
           CASE WHEN l.made >= 5 THEN l.culture ELSE f.culture END AS usual_culture_h,
           CASE WHEN l.decided >= 5 THEN l.release ELSE f.release END AS usual_release_h,
           CASE WHEN l.given >= 5 THEN l.infusion ELSE f.infusion END AS usual_infusion_h
    FROM (SELECT DISTINCT site_id FROM {target}.mart.batch_wide) s
    LEFT JOIN (SELECT site_id, count(h1) AS made, count(h2) AS decided, count(h3) AS given, quantile_cont(h1, 0.9) AS culture,
                      quantile_cont(h2, 0.9) AS release, quantile_cont(h3, 0.9) AS infusion FROM hours GROUP BY site_id) l USING (site_id)
    CROSS JOIN (SELECT quantile_cont(h1, 0.9) AS culture, quantile_cont(h2, 0.9) AS release, quantile_cont(h3, 0.9) AS infusion FROM hours) f
), standing AS (
    SELECT b.*, k.newest_event_at, o.order_status,
           coalesce(b.batch_status = 'terminated', false) OR coalesce(b.disposition = 'rejected', false) OR coalesce(b.decision = 'rejected', false) AS ended,
           coalesce(b.decision IN ('released', 'conditional'), false) AS is_released
    FROM {target}.mart.batch_wide b
    LEFT JOIN site_clock k USING (site_id)
    LEFT JOIN in_force_therapy_order o USING (site_id, order_id)
), wanted AS (
    SELECT DISTINCT s.site_id, s.batch_id, l.attribute
    FROM standing s JOIN limit_version l
      ON l.site_id = s.site_id AND l.product_id = s.product_id AND l.effective_from <= s.newest_event_at
     AND (l.effective_to IS NULL OR l.effective_to > s.newest_event_at)
     AND l.stage = CASE WHEN s.is_released THEN 'post_release' ELSE 'release' END
    WHERE NOT s.ended AND s.harvested_at IS NOT NULL
), pending AS (
    SELECT w.site_id, w.batch_id, string_agg(w.attribute, ', ' ORDER BY w.attribute) AS pending
    FROM wanted w ANTI JOIN (SELECT site_id, batch_id, attribute FROM {target}.mart.assay_long WHERE sample_point <> 'ipc_day_5') r
      ON r.site_id = w.site_id AND r.batch_id = w.batch_id AND r.attribute = w.attribute
    GROUP BY w.site_id, w.batch_id
), failed AS (
    SELECT site_id, batch_id, string_agg(DISTINCT attribute, ', ' ORDER BY attribute) AS failing,
           count(DISTINCT attribute) FILTER (blocking) AS n_blocking
    FROM {target}.mart.assay_long WHERE passes = false GROUP BY site_id, batch_id
), open_deviation AS (
    SELECT site_id, batch_id, count(*) AS open_deviations, count(*) FILTER (deviation_class IN ('major', 'critical')) AS n_holding
    FROM in_force_deviation WHERE closed_at IS NULL GROUP BY site_id, batch_id
), milestone AS (
    UNPIVOT (SELECT site_id, batch_id, ordered_at, collection_started_at, collection_ended_at, batch_started_at, harvested_at,
                    formulated_at, signed_at, infused_at FROM {target}.mart.batch_wide)
    ON COLUMNS(* EXCLUDE (site_id, batch_id)) INTO NAME milestone VALUE reached_at
), overdue AS (
    SELECT s.site_id, s.batch_id, string_agg(d.deadline, ', ' ORDER BY d.deadline) AS missed
    FROM standing s CROSS JOIN deadline d
    JOIN milestone b ON b.site_id = s.site_id AND b.batch_id = s.batch_id AND b.milestone = d.begins
    ANTI JOIN milestone e ON e.site_id = s.site_id AND e.batch_id = s.batch_id AND e.milestone = d.ends
    WHERE NOT s.ended AND s.infused_at IS NULL AND coalesce(s.order_status NOT IN ('died', 'withdrawn'), true)
      AND date_diff('second', b.reached_at, s.newest_event_at) / 3600.0 > d.hours
    GROUP BY s.site_id, s.batch_id
), facts AS (
    SELECT s.*, p.pending AS pending_attributes, f.failing AS failed_attributes,
           coalesce(f.n_blocking, 0) AS n_blocking, coalesce(d.open_deviations, 0) AS open_deviations, coalesce(d.n_holding, 0) AS n_holding,
           v.missed AS missed_deadlines, u.usual_culture_h, u.usual_release_h, u.usual_infusion_h
    FROM standing s
    LEFT JOIN overdue v USING (site_id, batch_id) LEFT JOIN pending p USING (site_id, batch_id) LEFT JOIN failed f USING (site_id, batch_id)
    LEFT JOIN open_deviation d USING (site_id, batch_id) LEFT JOIN usual u USING (site_id)
), named AS (
    SELECT *, CASE WHEN infused_at IS NOT NULL THEN 'infused'
                   WHEN batch_status = 'terminated' THEN 'terminated'
                   WHEN ended THEN 'rejected'
                   WHEN is_released THEN 'released'
                   WHEN harvested_at IS NULL THEN 'in_process'
                   WHEN n_blocking > 0 OR n_holding > 0 THEN 'blocked'
                   WHEN pending_attributes IS NOT NULL THEN 'awaiting_results'
                   ELSE 'ready_for_decision' END AS state
    FROM facts
), dated AS (
    SELECT *, CASE state WHEN 'infused' THEN infused_at WHEN 'released' THEN signed_at WHEN 'in_process' THEN batch_started_at
                         WHEN 'terminated' THEN coalesce(harvested_at, batch_started_at) WHEN 'rejected' THEN coalesce(signed_at, harvested_at)
                         ELSE harvested_at END AS state_since,
              CASE state WHEN 'in_process' THEN usual_culture_h WHEN 'released' THEN usual_infusion_h
                         WHEN 'infused' THEN NULL WHEN 'terminated' THEN NULL WHEN 'rejected' THEN NULL ELSE usual_release_h END AS usual_h
    FROM named
)
SELECT site_id, batch_id, attempt_no, order_id, product_id, suite_id, state, state_since,
       date_diff('second', state_since, newest_event_at) / 3600.0 AS state_age_h, usual_h,
       coalesce(date_diff('second', state_since, newest_event_at) / 3600.0 > usual_h
                AND NOT (state = 'released' AND order_status IN ('died', 'withdrawn')), false) AS slow,
       missed_deadlines IS NOT NULL AS late, missed_deadlines,
       pending_attributes, failed_attributes, n_blocking, open_deviations, n_holding AS holding_deviations,
       disposition, decision, newest_event_at AS as_of, record_id, source_file, source_row
FROM dated ORDER BY site_id, batch_id;
