-- trajectory_deviation: one moment of one quantity of one batch against the good batches.
-- Key: site_id, batch_id, quantity_name, step, step_hour. Sources: mart.trajectory, mart.golden_envelope. A good batch is judged by
-- the other good ones: mean and deviation without it follow from those with it. No reading, no row. The running score is the root
-- mean square of z up to the moment, so that a run is judged while it goes on; its limit lies four deviations of the logarithm of
-- the good batches' own running scores at that moment above their mean (one good moment in thirty thousand), given 20 of them.
-- trajectory_score: one quantity of one batch at the last moment that has such a limit.
CREATE OR REPLACE TABLE {target}.mart.trajectory_deviation AS
WITH paired AS (
    SELECT t.*, e.n_batches AS n, e.mean AS path, e.deviation, e.lower, e.median, e.upper, t.mean - e.mean AS away,
           greatest(e.deviation ^ 2 * (e.n_batches - 1) - (t.mean - e.mean) ^ 2 * e.n_batches / (e.n_batches - 1), 0) AS without
    FROM {target}.mart.trajectory t
    JOIN {target}.mart.golden_envelope e USING (product_id, protocol_version, quantity_name, step, step_hour)
    WHERE t.mean IS NOT NULL
), standardised AS (
    SELECT *, CASE WHEN deviation <= 0 THEN NULL
                   WHEN good_batch AND without <= 1e-18 * deviation ^ 2 * n THEN NULL
                   WHEN good_batch THEN away * n / (n - 1) / sqrt(without / (n - 2))
                   ELSE away / deviation END AS z
    FROM paired
), running AS (
    SELECT *, sqrt(avg(z ^ 2) OVER (PARTITION BY site_id, batch_id, quantity_name ORDER BY bin_at
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) AS running_score
    FROM standardised
), judged AS (
    SELECT product_id, protocol_version, quantity_name, step, step_hour, count(*) AS n_good, list(running_score) AS scores,
           list(ln(running_score) ORDER BY site_id, batch_id) AS logs,
           CASE WHEN count(*) >= 20 THEN exp(list_avg(logs) + 4 * list_stddev_samp(logs)) END AS score_limit
    FROM running WHERE good_batch AND running_score > 0 GROUP BY ALL
)
SELECT r.site_id, r.batch_id, r.product_id, r.protocol_version, r.quantity_name, r.step, r.step_hour, r.bin_at, r.elapsed_h, r.good_batch,
       r.mean AS value, r.median, r.lower, r.upper, r.z, r.mean < r.lower OR r.mean > r.upper AS outside, r.running_score, j.score_limit,
       j.n_good, len(list_filter(j.scores, lambda x: x < r.running_score)) / j.n_good AS rank
FROM running r LEFT JOIN judged j USING (product_id, protocol_version, quantity_name, step, step_hour)
ORDER BY r.site_id, r.batch_id, r.quantity_name, r.bin_at;

CREATE OR REPLACE TABLE {target}.mart.trajectory_score AS
SELECT site_id, batch_id, any_value(product_id) AS product_id, any_value(protocol_version) AS protocol_version, quantity_name,
       bool_or(good_batch) AS good_batch, count(z) AS n_compared, arg_max(running_score, bin_at) FILTER (score_limit IS NOT NULL) AS score,
       avg(outside::INT) AS share_outside, max(abs(z)) AS furthest, arg_max(bin_at, abs(z)) AS furthest_at,
       arg_max(step, abs(z)) AS furthest_step, max(bin_at) FILTER (score_limit IS NOT NULL) AS judged_at,
       arg_max(n_good, bin_at) FILTER (score_limit IS NOT NULL) AS n_good,
       arg_max(score_limit, bin_at) FILTER (score_limit IS NOT NULL) AS score_limit,
       arg_max(rank, bin_at) FILTER (score_limit IS NOT NULL) AS rank,
       arg_max(running_score > score_limit, bin_at) FILTER (score_limit IS NOT NULL) AS deviates,
       min(bin_at) FILTER (running_score > score_limit) AS deviates_from
FROM {target}.mart.trajectory_deviation GROUP BY site_id, batch_id, quantity_name
ORDER BY site_id, batch_id, quantity_name;
