-- identity_conflict: identifiers that contradict each other.
-- What: a result names another batch than its sample does; an infusion names another order than its batch was made for; one chain
--   of identity, or one donation number, stands for two patients; a test of the cells themselves (DNA of the Y chromosome, HLA types,
--   where a laboratory reports them) does not fit the patient. Who was given another's cells before (a transplant) has that one's.
-- Why: somebody may have got, or been judged by, another patient's cells.
-- Severity: critical.
-- Cannot be seen: two samples exchanged together with the batch they name; that needs a test of the material (sex, HLA, STR),
--   and two patients of one sex look alike to a test of sex.
SELECT r.site_id, 'assay_result' AS table_name, 'critical' AS severity, r.result_id AS subject,
       'names batch ' || r.batch_id || ', its sample ' || r.sample_id || ' was taken from ' || s.batch_id AS detail, r.source_file, r.source_row, r.record_id
FROM in_force_assay_result r JOIN in_force_sample s USING (site_id, sample_id)
WHERE r.batch_id <> s.batch_id
UNION ALL
SELECT i.site_id, 'infusion', 'critical', i.infusion_id, 'given for order ' || i.order_id || ', but batch ' || i.batch_id || ' was made for ' || b.order_id,
       i.source_file, i.source_row, i.record_id
FROM in_force_infusion i JOIN in_force_batch b USING (site_id, batch_id)
WHERE i.order_id <> b.order_id
UNION ALL
SELECT site_id, 'therapy_order', 'critical', order_id, 'its chain of identity also stands for another patient, order ' || first_value(order_id) OVER same, source_file, source_row, record_id
FROM in_force_therapy_order WHERE coi_id IS NOT NULL
WINDOW same AS (PARTITION BY coi_id ORDER BY ordered_at, site_id, order_id)
QUALIFY patient_key <> first_value(patient_key) OVER same
UNION ALL
SELECT c.site_id, 'collection', 'critical', c.collection_id, 'its donation number also stands for another patient, collection ' || first_value(c.collection_id) OVER donation,
       c.source_file, c.source_row, c.record_id
FROM in_force_collection c JOIN in_force_therapy_order o USING (site_id, order_id) WHERE c.din IS NOT NULL
WINDOW donation AS (PARTITION BY c.din ORDER BY c.collection_started_at, c.site_id, c.collection_id)
QUALIFY o.patient_key <> first_value(o.patient_key) OVER donation
UNION ALL
SELECT r.site_id, 'assay_result', 'critical', r.result_id,
       CASE WHEN r.attribute = 'hla_mismatch' THEN 'HLA types of the cells of batch ' || r.batch_id || ' are not the patient''s'
            ELSE 'DNA of the Y chromosome was ' || CASE r.result_code WHEN 'positive' THEN 'found' ELSE 'not found' END || ' in batch ' || r.batch_id || ', whose patient is ' || p.sex END,
       r.source_file, r.source_row, r.record_id
FROM result_judged r JOIN in_force_therapy_order o USING (site_id, order_id) LEFT JOIN in_force_patient p USING (site_id, patient_key)
WHERE (r.attribute = 'hla_mismatch' AND r.result_code = 'positive')
   OR (r.attribute = 'y_chromosome_dna' AND ((r.result_code = 'positive' AND p.sex = 'female') OR (r.result_code = 'negative' AND p.sex = 'male')))
