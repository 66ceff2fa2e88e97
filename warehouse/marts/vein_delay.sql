-- vein_delay: one row per site and step, with the hours lost in it, the largest first: a Pareto of delay.
-- Key: site_id, step. Sources: mart.vein_hours.
-- A delay is what an order took beyond the median of all the fleet's orders in that step. `share` is of all delay of the site,
-- `running_share` adds up from the largest. Steps that are still running count as far as they have come.
CREATE OR REPLACE TABLE {target}.mart.vein_delay AS
WITH usual AS (SELECT step, median(hours) AS fleet_median_h FROM {target}.mart.vein_hours WHERE NOT still_open GROUP BY step
), lost AS (
    SELECT h.site_id, h.step, any_value(h.category) AS category, count(*) AS orders, sum(h.hours) AS hours, median(h.hours) AS median_h, any_value(u.fleet_median_h) AS fleet_median_h,
           sum(greatest(h.hours - u.fleet_median_h, 0)) AS delay_h, arg_max(h.order_id, h.hours - u.fleet_median_h) AS worst_order_id, max(h.hours - u.fleet_median_h) AS worst_delay_h
    FROM {target}.mart.vein_hours h JOIN usual u USING (step) GROUP BY h.site_id, h.step
)
SELECT site_id, row_number() OVER largest AS rank_no, step, category, orders, hours, median_h, fleet_median_h, delay_h,
       delay_h / nullif(sum(delay_h) OVER (PARTITION BY site_id), 0) AS share, sum(delay_h) OVER largest / nullif(sum(delay_h) OVER (PARTITION BY site_id), 0) AS running_share,
       worst_order_id, worst_delay_h
FROM lost WINDOW largest AS (PARTITION BY site_id ORDER BY delay_h DESC, step ROWS UNBOUNDED PRECEDING)
ORDER BY site_id, rank_no;
