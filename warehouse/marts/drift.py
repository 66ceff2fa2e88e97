"""Drift of results against the site's own past: the newest whole block of lots against the lots before it.

Belongs here: which lots are compared, and the rate of false alarms. Does not belong here: the test (exact
Mann-Whitney, `warehouse.statistics.ranks`), control charts against a declared baseline (`charts.py`), files in another
unit (`pipelines/validation/drift.py`).

Lots of one attribute, method and sample point of a site are counted in blocks of eight from the first; only the newest
whole block is compared, with up to 60 lots before it, so each lot is judged as new once. Where nothing drifts, a block
of a site raises an alarm on any of its attributes with a probability of at most 1 %: each of its m attributes is
tested at 1 % / m (Bonferroni), by an exact test.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import duckdb
import numpy as np

from warehouse.marts.rows import store
from warehouse.statistics.ranks import mann_whitney
from warehouse.statistics.refusal import StatisticsRefusal

BLOCK, PAST = 8, 60
FALSE_ALARMS = 0.01
LOTS = """
SELECT site_id, attribute, method_id, sample_point, batch_id, any_value(unit) AS unit, avg(value) AS value,
       min(coalesce(result_at, taken_at)) AS measured_at
FROM {target}.mart.assay_long
WHERE operator = '=' AND value IS NOT NULL AND batch_id IS NOT NULL AND coalesce(result_at, taken_at) IS NOT NULL
GROUP BY ALL ORDER BY site_id, attribute, method_id, sample_point, measured_at, batch_id"""


def build(con: duckdb.DuckDBPyConnection, target: str) -> None:
    """Create `<target>.mart.drift`; needs `assay_long`."""
    lots = con.execute(LOTS.format(target=target)).fetchall()
    rows: list[dict[str, Any]] = []
    for _, of_site in groupby(lots, key=lambda lot: lot[0]):
        series = [list(each) for _, each in groupby(of_site, key=lambda lot: lot[:4])]
        judged = [s for s in series if len(s) >= 2 * BLOCK]
        rows += [_compared(s, len(judged)) for s in judged]
    store(con, target, "drift", rows)


def _compared(lots: list[tuple[Any, ...]], tests: int) -> dict[str, Any]:
    """The row of one attribute whose site judges `tests` of them."""
    end = len(lots) // BLOCK * BLOCK
    block, before = lots[end - BLOCK : end], lots[max(0, end - BLOCK - PAST) : end - BLOCK]
    new, old = np.array([lot[6] for lot in block]), np.array([lot[6] for lot in before])
    site, attribute, method, point, _, unit = block[0][:6]
    level = FALSE_ALARMS / tests
    row: dict[str, Any] = {
        "site_id": site, "attribute": attribute, "method_id": method, "sample_point": point, "unit": unit,
        "n_before": len(old), "n_block": len(new), "block_from": block[0][7], "block_to": block[-1][7],
        "median_before": float(np.median(old)), "median_block": float(np.median(new)), "level": level,
        "shift": None, "shift_low": None, "shift_high": None, "drifted": None, "severity": "info",
    }  # fmt: skip
    try:
        # Two-sided at `level`: the interval leaves half of it on each side.
        e = mann_whitney(old, new, alpha=level / 2)
    except StatisticsRefusal:
        return row | {"sentence": f"{len(old)} lots before are too few to test at {level:.2g}"}
    drifted = e.ci_low > 0 or e.ci_high < 0
    said = "has drifted" if drifted else "has not drifted"
    row |= {"shift": e.estimate, "shift_low": e.ci_low, "shift_high": e.ci_high, "drifted": drifted}
    row["severity"] = "warning" if drifted else "info"
    row["sentence"] = (
        f"{attribute} {said}: the newest {len(new)} lots have a median of {row['median_block']:.4g} against "
        f"{row['median_before']:.4g} of the {len(old)} before (shift {e.estimate:+.3g} {unit or ''})"
    ).rstrip()
    return row
