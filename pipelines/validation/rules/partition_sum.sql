-- partition_sum: shares that together are a whole, and do not add up to it.
-- What: attributes that the dictionary declares as the parts of one partition, of one sample by one method (means of replicates): all
--   parts are there and their sum is more than 2 points from 100 %, or some are and exceed it.
-- Why: a gate, a column or a sample was mixed up, or the parts are not of the same whole.
-- Severity: warning.
-- Cannot be seen: parts exchanged with each other; shares that nobody declared as parts of a whole are never added up.
WITH part AS (
    SELECT r.site_id, r.sample_id, r.method_id, w.partition, r.attribute, avg(r.value) AS share, min(r.result_id) AS result_id, arg_min(r.source_file, r.result_id) AS source_file,
           arg_min(r.source_row, r.result_id) AS source_row, arg_min(r.record_id, r.result_id) AS record_id
    FROM result_judged r JOIN attribute_word w USING (attribute)
    WHERE w.partition IS NOT NULL AND r.operator = '=' AND r.value IS NOT NULL GROUP BY ALL
), summed AS (
    SELECT site_id, sample_id, partition, count(*) AS parts, sum(share) AS whole, string_agg(attribute || ' ' || round(share, 2), ', ' ORDER BY attribute) AS told,
           min(result_id) AS result_id, arg_min(source_file, result_id) AS source_file, arg_min(source_row, result_id) AS source_row, arg_min(record_id, result_id) AS record_id
    FROM part GROUP BY site_id, sample_id, method_id, partition
)
SELECT s.site_id, 'assay_result' AS table_name, 'warning' AS severity, s.result_id AS subject,
       'parts of ' || s.partition || ' add up to ' || round(s.whole, 2) || ' %: ' || s.told AS detail, s.source_file, s.source_row, s.record_id
FROM summed s JOIN (SELECT partition, count(*) AS parts FROM attribute_word WHERE partition IS NOT NULL GROUP BY ALL) d USING (partition)
WHERE (s.parts = d.parts AND abs(s.whole - 100) > 2) OR s.whole > 102
