"""From a file's arrival to its point on the Sensors page: a command of its own, and a process that is warm already.

Run as `python -m benchmarks.bench.drop SCALE` it brings in a fleet of that scale once, then drops files at one site and
asks the page's provider until the new point is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.bench.data import write_day
from benchmarks.bench.figures import Figure, apart, figure

GOAL_COLD, GOAL_WARM = 30.0, 10.0
SITE, READINGS = "prairie", 1_200
# The site's readings are brought in by month, up to this one.
DAY = datetime.now(UTC).date() - timedelta(days=2)


def shown(home: Path, batch: str) -> bool:
    """Whether the dashboards' provider has a trace of the batch."""
    from dashboards.providers.sensors import SensorProvider
    from dashboards.providers.snapshot import Snapshots
    from dashboards.security.scope import Scope

    provider, scope = SensorProvider(Snapshots(home / "published").current()), Scope((SITE,))
    return any(provider.traces(scope, run) for run in provider.runs(scope, [(SITE, batch)]))


def dropped(sources: Path, day: date, batch: str) -> None:
    """A file of the site's telemetry about a batch that nobody has heard of."""
    path = write_day(sources / SITE / "telemetry", "csv", day, READINGS, seconds=300)
    path.write_text(path.read_text("utf-8").replace("PR-B-00000", batch), "utf-8")


def measure(scale: str) -> dict[str, float]:
    """Seconds of a drop with a process of its own, and with this one, that ran before."""
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"CELLFLEET_HOME": f"{place}/home", "CELLFLEET_SOURCES": f"{place}/sources"}
        from pipelines.runner import locked, run
        from pipelines.simulator import simulate
        from warehouse.settings import settings

        chosen = settings()
        simulate(chosen.sources_path, scale=scale, progress=lambda _: None)
        with locked(chosen, "benchmark"):
            assert all(r.success for r in run(chosen, None, lambda _: None))
        told = {}
        for n, way in enumerate(("cold", "warm")):
            batch = f"PR-B-9999{n}"
            dropped(chosen.sources_path, DAY + timedelta(days=n), batch)
            began = time.perf_counter()
            if way == "cold":
                subprocess.run(
                    [sys.executable, "-m", "pipelines.cli", "run", "--site", SITE],
                    check=True,
                    capture_output=True,
                )
            else:
                with locked(chosen, "benchmark"):
                    assert all(r.success for r in run(chosen, [SITE], lambda _: None))
            while not shown(chosen.home_path, batch):
                raise RuntimeError(f"{batch} is not on the page")
            told[way] = time.perf_counter() - began
        return told


def figures(scales: list[str]) -> Iterator[Figure]:
    """Both ways at each scale, each beside the smallest."""
    least: dict[str, float] = {}
    for scale in scales:
        told = apart("benchmarks.bench.drop", scale)
        least = least or told
        for way, name, goal in (("cold", "a fresh process", GOAL_COLD), ("warm", "a warm worker", GOAL_WARM)):
            size = f"scale {scale}"
            yield figure(f"drop to dashboard, {name}", size, told[way], "s", goal=goal)
            yield figure(
                f"drop to dashboard, {name}, growth", size, told[way], "s", of=least[way], against=f"scale {scales[0]}"
            )  # fmt: skip


def main() -> None:
    """One measurement of this process."""
    print(json.dumps(measure(sys.argv[1])))


if __name__ == "__main__":
    main()
