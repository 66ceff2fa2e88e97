"""Every verdict of the demo's plan with all analyses beside it, by `benchmarks/verdicts.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.bench.figures import Figure, figure
from warehouse.settings import ROOT

GOAL_SECONDS = 5.0
SCRIPT = ROOT / "benchmarks" / "verdicts.py"


def figures(sizes: list[int]) -> Iterator[Figure]:
    """Each number of batches: the seconds, which are promised, and how they grow."""
    least = 0.0
    for size in sizes:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(size)], capture_output=True, text=True, check=False
        )
        told = json.loads(done.stdout)
        seconds = told["median_seconds"]
        least = least or seconds
        said = f"{size:,} batches, {told['verdicts']} verdicts, {told['analyses']:,} analyses"
        yield figure("verdict: all", said, seconds, "s", goal=GOAL_SECONDS)
        yield figure("verdict: all, growth", said, seconds, "s", of=least, against=f"{sizes[0]:,} batches")
