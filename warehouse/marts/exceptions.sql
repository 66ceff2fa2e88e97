-- exceptions: one row per thing that needs somebody at a site today: blocked, late, out of specification,
-- pending, open deviation, finding, slow, ready.
-- Key: site_id, exception_kind, batch_id, subject. Sources: mart.batch_status, mart.assay_long, in_force_deviation, quality.finding.
-- Only what is still open: a batch that ended or was infused appears no more, except for post-release results that are due.
-- `since` is when it began, `age_h` runs to the newest event that the site has told of, never to the machine's clock.
CREATE OR REPLACE TABLE {target}.mart.exceptions AS
WITH open_batch AS (
    SELECT * FROM {target}.mart.batch_status WHERE state NOT IN ('infused', 'terminated', 'rejected')
), raised AS (
    SELECT site_id, batch_id, 'late' AS exception_kind, d.deadline AS subject, 'more than ' || d.hours || ' h since ' || d.begins || ': ' || d.why AS what,
           CASE d.ends WHEN 'signed_at' THEN 'quality assurance' WHEN 'infused_at' THEN 'clinical liaison' ELSE 'manufacturing' END AS owner_role,
           d.severity, m.reached_at + to_microseconds((d.hours * 3.6e9)::BIGINT) AS since, b.record_id, b.source_file, b.source_row
    FROM (SELECT *, unnest(string_split(missed_deadlines, ', ')) AS missed FROM open_batch) b JOIN deadline d ON d.deadline = b.missed
    JOIN (UNPIVOT (SELECT site_id, batch_id, ordered_at, collection_started_at, collection_ended_at, batch_started_at, harvested_at,
                          formulated_at, signed_at, infused_at FROM {target}.mart.batch_wide)
          ON COLUMNS(* EXCLUDE (site_id, batch_id)) INTO NAME milestone VALUE reached_at) m USING (site_id, batch_id)
    WHERE m.milestone = d.begins
    UNION ALL BY NAME
    SELECT site_id, batch_id, 'slow' AS exception_kind, state AS subject,
           'in state ' || state || ' for ' || round(state_age_h, 1) || ' h; nine of ten finished batches took less than ' || round(usual_h, 1) || ' h' AS what,
           CASE state WHEN 'in_process' THEN 'manufacturing' WHEN 'released' THEN 'clinical liaison'
                      WHEN 'awaiting_results' THEN 'quality control' ELSE 'quality assurance' END AS owner_role,
           'info' AS severity, state_since AS since, record_id, source_file, source_row
    FROM open_batch WHERE slow
    UNION ALL BY NAME
    SELECT site_id, batch_id, 'ready' AS exception_kind, state AS subject, 'every release result is there and passes; a decision is due' AS what,
           'quality assurance' AS owner_role, 'info' AS severity, state_since AS since, record_id, source_file, source_row
    FROM open_batch WHERE state = 'ready_for_decision'
    UNION ALL BY NAME
    SELECT site_id, batch_id, 'pending_result' AS exception_kind, attribute AS subject, 'no result of ' || attribute || ' yet' AS what,
           'quality control' AS owner_role, 'info' AS severity, state_since AS since, record_id, source_file, source_row
    FROM (SELECT *, unnest(string_split(pending_attributes, ', ')) AS attribute
          FROM {target}.mart.batch_status WHERE state NOT IN ('terminated', 'rejected'))
    UNION ALL BY NAME
    SELECT a.site_id, a.batch_id, CASE WHEN a.blocking THEN 'blocked' ELSE 'out_of_specification' END AS exception_kind, a.attribute || ' ' || a.result_id AS subject,
           a.attribute || ' ' || coalesce(a.value_as_given || ' ' || coalesce(a.unit_as_given, ''), a.result_code) || ' is outside '
               || coalesce(a.low::VARCHAR, '') || ' to ' || coalesce(a.high::VARCHAR, '') || ' of ' || a.spec_id || ' version ' || a.spec_version AS what,
           'quality assurance' AS owner_role, CASE WHEN a.blocking THEN 'critical' ELSE 'error' END AS severity,
           coalesce(a.result_at, a.taken_at) AS since, a.record_id, a.source_file, a.source_row
    FROM {target}.mart.assay_long a JOIN open_batch b USING (site_id, batch_id) WHERE a.passes = false
    UNION ALL BY NAME
    SELECT d.site_id, d.batch_id, CASE WHEN d.deviation_class = 'minor' THEN 'open_deviation' ELSE 'blocked' END AS exception_kind, d.deviation_id AS subject,
           coalesce(d.deviation_class, 'unclassified') || ' deviation is open' AS what, 'quality assurance' AS owner_role,
           CASE d.deviation_class WHEN 'critical' THEN 'critical' WHEN 'major' THEN 'error' ELSE 'warning' END AS severity,
           d.opened_at AS since, d.record_id, d.source_file, d.source_row
    FROM in_force_deviation d JOIN open_batch b USING (site_id, batch_id) WHERE d.closed_at IS NULL
    UNION ALL BY NAME
    SELECT f.site_id, b.batch_id, 'finding' AS exception_kind, f.reason_code || ' ' || f.subject AS subject, f.detail AS what,
           'quality assurance' AS owner_role, f.severity, r.seen_at AS since, f.record_id, f.source_file, f.source_row
    FROM lake.quality.finding f
    JOIN (SELECT site_id, record_id, batch_id, coalesce(result_at, taken_at) AS seen_at FROM {target}.mart.assay_long
          UNION ALL BY NAME SELECT site_id, record_id, batch_id, signed_at AS seen_at FROM in_force_release_decision
          UNION ALL BY NAME SELECT site_id, record_id, batch_id, NULL AS seen_at FROM in_force_lot_use) r USING (site_id, record_id)
    JOIN open_batch b ON b.site_id = r.site_id AND b.batch_id = r.batch_id
    WHERE f.severity IN ('error', 'critical') AND f.reason_code <> 'out_of_specification'
)
SELECT r.site_id, r.exception_kind, r.batch_id, r.subject, b.order_id, b.state, r.what, r.owner_role, r.severity, r.since,
       date_diff('second', r.since, b.as_of) / 3600.0 AS age_h, b.as_of, r.record_id, r.source_file, r.source_row
FROM raised r JOIN {target}.mart.batch_status b USING (site_id, batch_id)
ORDER BY r.site_id, list_position(['critical', 'error', 'warning', 'info'], r.severity), r.since, r.batch_id, r.subject;
