-- spec_not_effective: a decision cites a version of a specification that was not in force when it was signed.
-- What: the cited version becomes effective after the signature, or had ended before it (its last day counts whole).
-- Why: the product was judged by limits that nobody had put in force.
-- Severity: error.
-- Cannot be seen: a decision that judged by one version and cites another.
SELECT d.site_id, 'release_decision' AS table_name, 'error' AS severity, d.release_id AS subject,
       'signed ' || shown(d.signed_at) || ' by ' || d.spec_id || ' version ' || d.spec_version
           || CASE WHEN s.effective_from > d.signed_at THEN ', effective from ' || shown(s.effective_from) ELSE ', in force until ' || shown(s.effective_to) END AS detail,
       d.source_file, d.source_row, d.record_id
FROM in_force_release_decision d JOIN in_force_specification s USING (site_id, spec_id, spec_version)
WHERE s.effective_from > d.signed_at OR s.effective_to + INTERVAL 1 DAY <= d.signed_at
