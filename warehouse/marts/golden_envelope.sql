-- golden_envelope: the path of the declared good batches of one product and process version, at one moment of one step.
-- Key: product_id, protocol_version, quantity_name, step, step_hour. Source: mart.trajectory. A moment at which fewer good
-- batches than the fleet declares have a reading has no envelope. Mean and deviation are between batches, in
-- one order: a sum depends on it in its last digits.
CREATE OR REPLACE TABLE {target}.mart.golden_envelope AS
WITH gathered AS (
    SELECT product_id, protocol_version, quantity_name, step, step_hour, list(mean ORDER BY site_id, batch_id) AS means
    FROM {target}.mart.trajectory
    WHERE good_batch AND mean IS NOT NULL
    GROUP BY product_id, protocol_version, quantity_name, step, step_hour
    HAVING count(*) >= (SELECT good_minimum FROM trajectory_setting)
)
SELECT product_id, protocol_version, quantity_name, step, step_hour, len(means) AS n_batches, list_avg(means) AS mean,
       CASE WHEN list_min(means) < list_max(means) THEN list_stddev_samp(means) ELSE 0 END AS deviation,
       list_aggregate(means, 'quantile_cont', 0.05) AS lower, list_median(means) AS median,
       list_aggregate(means, 'quantile_cont', 0.95) AS upper
FROM gathered
ORDER BY ALL;
