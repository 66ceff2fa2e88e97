"""What changed since the previous snapshot, and why: one row a verdict that moved or whose lots changed.

Belongs here: the comparison of two snapshots' verdicts. Does not belong here: showing it (`dashboards`).
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from warehouse.dictionary.render import quoted

SQL = """
CREATE OR REPLACE TABLE {target}.mart.change AS
WITH pairs AS (
  SELECT
    coalesce(n.attribute, o.attribute) AS attribute,
    coalesce(n.site, o.site) AS site,
    o.verdict AS verdict_before, n.verdict AS verdict_after,
    o.reason AS reason_before, n.reason AS reason_after,
    o.estimate AS estimate_before, n.estimate AS estimate_after,
    o.n_site AS n_site_before, n.n_site AS n_site_after,
    o.n_reference AS n_reference_before, n.n_reference AS n_reference_after,
    o.inputs_hash IS NOT DISTINCT FROM n.inputs_hash AS same_inputs,
    o.plan_hash IS NOT DISTINCT FROM n.plan_hash AS same_plan
  FROM {target}.mart.comparability AS n
  FULL JOIN {before} AS o ON o.attribute = n.attribute AND o.site = n.site
)
SELECT
  attribute, site, verdict_before, verdict_after, reason_before, reason_after, estimate_before, estimate_after,
  n_site_before, n_site_after, n_reference_before, n_reference_after,
  verdict_before IS DISTINCT FROM verdict_after AS moved,
  CASE
    WHEN verdict_before IS NULL THEN 'first time this is judged'
    WHEN verdict_after IS NULL THEN 'no longer in the plan'
    WHEN NOT same_plan THEN 'the comparability plan changed'
    WHEN n_site_after <> n_site_before OR n_reference_after <> n_reference_before THEN
      concat_ws(', ',
        CASE WHEN n_site_after <> n_site_before THEN printf('%+d lots of the site', n_site_after - n_site_before) END,
        CASE WHEN n_reference_after <> n_reference_before
             THEN printf('%+d lots of the reference', n_reference_after - n_reference_before) END)
    ELSE 'results of the same lots were corrected'
  END AS why
FROM pairs
WHERE NOT (same_inputs AND same_plan AND verdict_before IS NOT DISTINCT FROM verdict_after)
ORDER BY moved DESC, attribute, site
"""


def build(con: duckdb.DuckDBPyConnection, target: str, previous: Path | None) -> int:
    """Build `mart.change` in database `target` against the snapshot file `previous`; returns the number of rows.

    Without a previous snapshot nothing has changed: the table is empty.
    """
    before = f"(SELECT * FROM {target}.mart.comparability)"
    if previous is not None:
        con.execute(f"ATTACH {quoted(str(previous))} AS before (READ_ONLY)")
        before = "before.mart.comparability"
    try:
        con.execute(SQL.format(target=target, before=before))
        count = con.execute(f"SELECT count(*) FROM {target}.mart.change").fetchone()
    finally:
        if previous is not None:
            con.execute("DETACH before")
    return int(count[0]) if count else 0
