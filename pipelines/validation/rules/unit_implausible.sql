-- unit_implausible: a percentage that looks like the fraction it was computed from.
-- What: at most 1, while a hundred times the value lies among the site's other results of the attribute and the value itself lies
--   below a fifth of the least of them (5 results at least).
-- Why: the unit that was printed is not the unit of the number; every mean it enters is wrong.
-- Severity: error. Values below the dictionary's plausible minimum never come this far: they are set aside when read.
-- Cannot be seen: a fraction of an attribute that is rightly near 0 or 1 %.
WITH result AS (
    SELECT * FROM result_judged WHERE unit = '%' AND operator = '='
), usual AS (
    SELECT site_id, attribute, min(value) AS least, max(value) AS most, count(*) AS n FROM result WHERE value > 1 GROUP BY ALL
)
SELECT r.site_id, 'assay_result' AS table_name, 'error' AS severity, r.result_id AS subject,
       r.attribute || ' ' || r.value || ' % looks like a fraction: the site''s other results run from ' || u.least || ' to ' || u.most AS detail,
       r.source_file, r.source_row, r.record_id
FROM result r JOIN usual u USING (site_id, attribute)
WHERE r.value <= 1 AND u.n >= 5 AND 100 * r.value BETWEEN u.least - 5 AND u.most + 5 AND r.value < u.least / 5
