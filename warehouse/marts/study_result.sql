-- study_result: one result in force of a comparability study, with the attribute of the plan that it bears on.
-- Key: attribute, site, result_id. Sources: core.study_result, mart.plan (through planned_measure).
-- Results below or above a limit, or without a place on the plan's scale, are kept and not used.
CREATE OR REPLACE TABLE {target}.mart.study_result AS
SELECT p.attribute, s.study_id, s.study_arm, s.donor_id, s.study_lot_id, s.site_id AS site, s.result_id, s.attribute AS measured_as,
       w.unit, s.value, s.operator, s.method_id, s.lab_site, s.replicate, s.result_at,
       s.operator = '=' AND s.value IS NOT NULL AND (p.scale = 'identity' OR s.value > 0) AND (p.scale <> 'logit' OR s.value < 100) AS used,
       s.record_id, s.source_file, s.source_row
FROM in_force_study_result s
JOIN planned_measure p ON p.measured_as = s.attribute AND (len(p.methods) = 0 OR list_contains(p.methods, s.method_id))
LEFT JOIN attribute_word w ON w.attribute = s.attribute
ORDER BY p.attribute, s.study_id, s.donor_id, s.site_id, s.replicate, s.result_id;
