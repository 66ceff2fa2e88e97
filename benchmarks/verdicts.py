"""Times every verdict of the demo's plan, with all analyses beside it, over 10,000 batches at four sites; prints JSON.

Run as `python benchmarks/verdicts.py [batches]`. Lots are drawn by the simulator's products and assays. The target is
5 s for every attribute x site x declared method on two cores; figures are medians of three runs after one to warm up.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

# One thread, as where many fits run side by side; on a busy machine waiting threads cost more than they give.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from planted_truth import fleet_of, lots_of

from pipelines.simulator.sites import SITES
from warehouse.marts.comparability import analysis_row, judged, row_of
from warehouse.plan import load_plan
from warehouse.settings import ROOT

MOST_BATCHES = 10_000
RUNS = 3
TARGET_SECONDS = 5.0


def main() -> int:
    """Time them; exit 1 when the median misses the target."""
    batches = int(sys.argv[1]) if len(sys.argv) > 1 else MOST_BATCHES
    fleet = load_plan(ROOT / "pipelines" / "defs" / "sites" / "fleet.yaml")
    rng = np.random.default_rng(20240101)
    drawn = {site.name: lots_of(rng, site, batches // len(SITES)) for site in SITES.values()}
    lots = fleet_of(fleet, drawn, {site.name: site.unlike for site in SITES.values()})
    others = [name for name in SITES if name != fleet.reference_site]
    seconds, verdicts, analyses = [], 0, 0
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        made = [judged(lots, attribute, site) for site in others for attribute in fleet.plan.attributes]
        rows = [row_of(lots, one) for one in made]
        beside = [analysis_row(one, a) for one in made for a in one.analyses(lots.alpha)]
        seconds.append(time.perf_counter() - began)
        verdicts, analyses = len(rows), len(beside)
    median = statistics.median(seconds[1:])
    told = {
        "batches": batches,
        "verdicts": verdicts,
        "analyses": analyses,
        "median_seconds": round(median, 3),
        "worst_seconds": round(max(seconds[1:]), 3),
        "target_seconds": TARGET_SECONDS,
        "met": median <= TARGET_SECONDS,
    }
    print(json.dumps(told, indent=2))
    return 0 if told["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
