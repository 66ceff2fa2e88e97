-- golden_envelope: the path of the declared good batches of one product and process version, at one moment of one step.
-- Key: product_id, protocol_version, quantity_name, step, step_hour. Source: mart.trajectory. A moment at which fewer good
-- batches than the fleet declares have a reading has no envelope. Mean and deviation are between batches.
CREATE OR REPLACE TABLE {target}.mart.golden_envelope AS
SELECT product_id, protocol_version, quantity_name, step, step_hour, count(*) AS n_batches, avg(mean) AS mean,
       CASE WHEN min(mean) < max(mean) THEN stddev_samp(mean) ELSE 0 END AS deviation,
       quantile_cont(mean, 0.05) AS lower, median(mean) AS median, quantile_cont(mean, 0.95) AS upper
FROM {target}.mart.trajectory
WHERE good_batch AND mean IS NOT NULL
GROUP BY product_id, protocol_version, quantity_name, step, step_hour
HAVING count(*) >= (SELECT good_minimum FROM trajectory_setting)
ORDER BY ALL;
