-- capability_values (a query): one value of one batch of one attribute at one stage, under the site's newest limits.
-- Key: site, attribute, stage, batch_id. Sources: limit_version, attribute_word; mart.assay_long, mart.batch_wide. Rows in order of start.
WITH limited AS (
    SELECT site_id, product_id, attribute, stage, arg_max(low, effective_from) AS low, arg_max(high, effective_from) AS high,
           arg_max(spec_id || ' ' || spec_version, effective_from) AS specification
    FROM limit_version GROUP BY ALL HAVING low IS NOT NULL OR high IS NOT NULL
)
SELECT a.site_id AS site, a.attribute, l.stage, any_value(w.scale) AS scale, any_value(a.unit) AS unit, a.batch_id,
       any_value(b.batch_started_at) AS started_at, list(a.value) AS results, bool_or(a.operator <> '=') AS censored,
       any_value(l.low) AS low, any_value(l.high) AS high, any_value(l.specification) AS specification,
       string_agg(a.record_id, ',' ORDER BY a.record_id) AS records
FROM {target}.mart.assay_long a
JOIN attribute_word w USING (attribute)
JOIN {target}.mart.batch_wide b ON b.site_id = a.site_id AND b.batch_id = a.batch_id
JOIN limited l ON l.site_id = a.site_id AND l.product_id = a.product_id AND l.attribute = a.attribute
     AND a.sample_point = CASE l.stage WHEN 'ipc' THEN 'ipc_day_5' ELSE l.stage END
WHERE a.value IS NOT NULL AND b.batch_started_at IS NOT NULL
GROUP BY a.site_id, a.attribute, l.stage, a.batch_id
ORDER BY site, attribute, stage, started_at, batch_id
