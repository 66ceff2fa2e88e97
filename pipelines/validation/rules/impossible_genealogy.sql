-- impossible_genealogy: links of what was made of what that cannot be.
-- What: something that is its own forebear; a collection linked to a batch of another order; a batch linked to an infusion of
--   another batch; a batch made of a batch of another patient.
-- Why: whose cells a product is made of is told by these links; one of them is wrong.
-- Severity: critical.
-- Cannot be seen: a wrong link that every other record of the order repeats; that needs a test of the material (sex, HLA, STR).
WITH RECURSIVE link AS (
    SELECT DISTINCT site_id, parent_id, child_id FROM in_force_batch_genealogy
), forebear AS (
    SELECT site_id, parent_id, child_id FROM link
    UNION
    SELECT f.site_id, f.parent_id, l.child_id FROM forebear f JOIN link l ON l.site_id = f.site_id AND l.parent_id = f.child_id
), wrong AS (
    SELECT g.site_id, g.parent_id, g.child_id, g.genealogy_kind, 'is its own forebear' AS what, g.source_file, g.source_row, g.record_id
    FROM in_force_batch_genealogy g JOIN forebear f ON f.site_id = g.site_id AND f.parent_id = g.child_id AND f.child_id = g.parent_id
    UNION ALL
    SELECT g.site_id, g.parent_id, g.child_id, g.genealogy_kind, 'was collected for order ' || c.order_id || ', the batch made for ' || b.order_id,
           g.source_file, g.source_row, g.record_id
    FROM in_force_batch_genealogy g
    JOIN in_force_collection c ON c.site_id = g.site_id AND c.collection_id = g.parent_id
    JOIN in_force_batch b ON b.site_id = g.site_id AND b.batch_id = g.child_id
    WHERE g.genealogy_kind = 'collection_to_batch' AND c.order_id <> b.order_id
    UNION ALL
    SELECT g.site_id, g.parent_id, g.child_id, g.genealogy_kind, 'was not given: the infusion names batch ' || i.batch_id, g.source_file, g.source_row, g.record_id
    FROM in_force_batch_genealogy g JOIN in_force_infusion i ON i.site_id = g.site_id AND i.infusion_id = g.child_id
    WHERE g.genealogy_kind = 'batch_to_infusion' AND i.batch_id <> g.parent_id
    UNION ALL
    SELECT g.site_id, g.parent_id, g.child_id, g.genealogy_kind, 'is another patient''s batch', g.source_file, g.source_row, g.record_id
    FROM in_force_batch_genealogy g
    JOIN in_force_batch p ON p.site_id = g.site_id AND p.batch_id = g.parent_id
    JOIN in_force_batch b ON b.site_id = g.site_id AND b.batch_id = g.child_id
    JOIN in_force_therapy_order po ON po.site_id = p.site_id AND po.order_id = p.order_id
    JOIN in_force_therapy_order bo ON bo.site_id = b.site_id AND bo.order_id = b.order_id
    WHERE g.genealogy_kind = 'batch_to_batch' AND po.patient_key <> bo.patient_key
)
SELECT site_id, 'batch_genealogy' AS table_name, 'critical' AS severity, parent_id || '|' || child_id || '|' || genealogy_kind AS subject,
       parent_id || ' ' || string_agg(DISTINCT what, '; ' ORDER BY what) AS detail, source_file, source_row, record_id
FROM wrong GROUP BY site_id, parent_id, child_id, genealogy_kind, source_file, source_row, record_id
