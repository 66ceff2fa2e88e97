"""Times a mixed fit with Kenward-Roger degrees of freedom at 6,000 rows, and prints JSON.

Run as `python benchmarks/statistics_mixed.py`. Layouts: lots nested in donors (balanced, and with a fifth of
the rows missing), donors or lots crossed with assay runs, and a random laboratory above donors and lots.
Figures are medians of seven runs after one to warm up; the target is 0.1 s.
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
from numpy.typing import NDArray

from warehouse.statistics.mixed import contrast, fit_mixed

ROWS = 6_000
RUNS = 7
TARGET_SECONDS = 0.1


def layouts() -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64], dict[str, list[str]]]]:
    """(y, X, factors) by name, from a fixed seed."""
    rng = np.random.default_rng(20240101)
    donor = np.repeat(np.arange(1000), 6)
    site = np.tile(np.repeat([0, 1, 2], 2), 1000)
    lot = 3 * donor + site
    lab = donor // 125
    run = rng.integers(0, 30, ROWS)
    x = np.column_stack([np.ones(ROWS), site == 1, site == 2]).astype(np.float64)

    def effects(code: NDArray[np.intp], sd: float) -> NDArray[np.float64]:
        return np.asarray(rng.normal(0.0, sd, int(code.max()) + 1)[code])

    noise = rng.normal(0.0, 0.3, ROWS)
    nested = effects(donor, 1.0) + effects(lot, 0.5) + noise
    keep = np.sort(rng.permutation(ROWS)[: ROWS * 4 // 5])
    names = {"donor": donor.astype(str).tolist(), "lot": lot.astype(str).tolist()}
    crossed = {"donor": names["donor"], "run": run.astype(str).tolist()}
    return {
        "lots in donors": (nested, x, names),
        "lots in donors, a fifth missing": (
            nested[keep],
            x[keep],
            {k: [v[i] for i in keep] for k, v in names.items()},
        ),
        "donors crossed with runs": (effects(donor, 1.0) + effects(run, 0.4) + noise, x, crossed),
        "lots in donors in laboratories": (
            nested + effects(lab, 0.6),
            x,
            {**names, "lab": lab.astype(str).tolist()},
        ),
        "lots in donors crossed with runs": (
            nested + effects(run, 0.4),
            x,
            {**names, "run": crossed["run"]},
        ),
        "no donor variance": (effects(lot, 0.5) + noise, x, names),
    }


def main() -> int:
    """Time every layout; exit 1 when a median misses the target."""
    report = {}
    for name, (y, x, factors) in layouts().items():
        seconds = []
        for _ in range(RUNS + 1):
            began = time.perf_counter()
            found = contrast(fit_mixed(y, x, factors), [0.0, 1.0, 0.0])
            seconds.append(time.perf_counter() - began)
        report[name] = {
            "rows": y.size,
            "median_seconds": round(statistics.median(seconds[1:]), 4),
            "worst_seconds": round(max(seconds[1:]), 4),
            "df": round(found.df, 2),
        }
    met = all(entry["median_seconds"] <= TARGET_SECONDS for entry in report.values())
    print(json.dumps({"target_seconds": TARGET_SECONDS, "met": met, "layouts": report}, indent=2))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
