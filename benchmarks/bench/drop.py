"""From a file's arrival to its point on the Sensors page: by a command of its own, which looks at all of the site's
feeds, and by a process that is warm already, which runs what the site's sensor asks for and then the fleet's job, as
workers do.

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
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

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


def warm(defs: Any, instance: Any) -> Iterator[None]:
    """At each step but the first, which only looks, what a tick of the site's sensor asks for is run, then the fleet's
    job."""
    import dagster as dg

    from pipelines.runner import QUIET

    repository, cursor = defs.get_repository_def(), None
    for step in count():
        with dg.build_sensor_context(cursor=cursor, repository_def=repository, instance=instance) as context:
            told = repository.get_sensor_def(f"{SITE}_arrivals").evaluate_tick(context)
        cursor = told.cursor
        if step == 0:
            yield
            continue
        for request in told.run_requests or []:
            job = repository.get_implicit_job_def_for_assets(request.asset_selection)
            done = job.execute_in_process(
                instance=instance,
                asset_selection=request.asset_selection,
                tags=request.tags,
                run_config=QUIET,
            )
            assert done.success
        assert repository.get_job("fleet").execute_in_process(instance=instance, run_config=QUIET).success
        yield


def measure(scale: str) -> dict[str, float]:
    """Seconds of a drop with a process of its own, and with this one, that ran before."""
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"CELLFLEET_HOME": f"{place}/home", "CELLFLEET_SOURCES": f"{place}/sources"}
        import dagster as dg

        from pipelines.definitions import build_defs
        from pipelines.runner import locked, run
        from pipelines.simulator import simulate
        from warehouse.settings import settings

        chosen = settings()
        simulate(chosen.sources_path, scale=scale, progress=lambda _: None)
        with locked(chosen, "benchmark"):
            assert all(r.success for r in run(chosen, None, lambda _: None))
        command = [sys.executable, "-m", "pipelines.cli", "run", "--site", SITE]
        with dg.DagsterInstance.get() as instance:
            ticks = warm(build_defs(chosen), instance)
            ways: dict[str, Callable[[], object]] = {
                "cold": lambda: subprocess.run(command, check=True, capture_output=True),
                "warm": lambda: next(ticks),
            }
            told = {}
            for n, (way, run_now) in enumerate(ways.items()):
                batch = f"PR-B-9999{n}"
                if way == "warm":
                    run_now()
                dropped(chosen.sources_path, DAY + timedelta(days=n), batch)
                began = time.perf_counter()
                run_now()
                if not shown(chosen.home_path, batch):
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
