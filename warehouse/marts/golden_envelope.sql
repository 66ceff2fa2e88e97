-- golden_envelope: the path of the declared good batches of one product and process version, at one moment of one step.
-- Key: product_id, protocol_version, quantity_name, step, step_hour. Source: mart.trajectory. A moment at which fewer good
-- batches than the fleet declares have a reading has no envelope. Mean and deviation are between batches, and do not
-- hang on the order of rows: the one is compensated, the other has twelve digits.
CREATE OR REPLACE TABLE {target}.mart.golden_envelope AS
SELECT product_id, protocol_version, quantity_name, step, step_hour, count(*) AS n_batches, favg(mean) AS mean,
       CASE WHEN min(mean) < max(mean) THEN round(stddev_samp(mean), 11 - floor(log10(stddev_samp(mean)))::INT) ELSE 0 END AS deviation,
       quantile_cont(mean, 0.05) AS lower, median(mean) AS median, quantile_cont(mean, 0.95) AS upper
FROM {target}.mart.trajectory
WHERE good_batch AND mean IS NOT NULL
GROUP BY product_id, protocol_version, quantity_name, step, step_hour
HAVING count(*) >= (SELECT good_minimum FROM trajectory_setting)
ORDER BY ALL;
