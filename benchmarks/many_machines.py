"""The tiny fleet taken in by 1, 2 and 4 workers over PostgreSQL, S3 and Redis: `benchmarks/results/workers.json`.

Run as `python benchmarks/many_machines.py [workers …]`. Every worker is warm when the clock starts and has a network
of its own where the machine allows it. What is timed is `cellfleet run` from the first run put onto the queue to the
last one done. Each fleet's content must be that of the first, or nothing is written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from tests.integration.hub import Hub, hub
from tests.integration.live_servers import POSTGRES_PASSWORD
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.settings import ROOT, Settings, read_file

RESULTS = ROOT / "benchmarks" / "results" / "workers.json"
READY_SECONDS = 300
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(group: int) -> float:
    """CPU seconds of a process group so far, with those of children that ended."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = stat.read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(told[2]) == group:
            total += sum(map(int, told[11:15]))
    return total / TICKS


def ready(started: Hub, fleet: str) -> None:
    """Wait until every worker takes runs."""
    end = time.monotonic() + READY_SECONDS
    waiting = [m for m in started.machines if started.log(fleet, m).exists()]
    while waiting:
        if time.monotonic() > end:
            raise SystemExit(
                f"{waiting[0].name} did not begin: {started.log(fleet, waiting[0]).read_text('utf-8')}"
            )
        time.sleep(0.5)
        waiting = [m for m in waiting if " ready." not in started.log(fleet, m).read_text("utf-8")]


def content(started: Hub, fleet: str) -> dict[str, str]:
    """Hashes of every table of a fleet's lake, of what was sent."""
    told = read_file(started.folder / fleet / "hub.env")
    chosen = Settings(
        home=str(started.folder / fleet / "look"), catalog=told["CELLFLEET_CATALOG"],
        lake_data=told["CELLFLEET_LAKE_DATA"], s3_endpoint=told["CELLFLEET_S3_ENDPOINT"],
    )  # fmt: skip
    with closing(lake.attach(chosen, read_only=True)) as con:
        tables = [t for t in dictionary().tables.values() if t.name not in ("accounting", "cursor")]
        return {t.qualified: lake.content_hash(con, dictionary(), t) for t in tables}


def timed(started: Hub, workers: int, number: int) -> tuple[dict[str, Any], dict[str, str]]:
    """One fleet taken in by so many workers."""
    fleet = f"by_{workers}"
    started.new_fleet(fleet, queue=number)
    for n, machine in enumerate(started.machines[:workers]):
        started.start_worker(fleet, machine, *(("hub", "sites") if n == 0 else ("sites",)))
    ready(started, fleet)
    before = [cpu_seconds(w.pid) for w in started.workers]
    environment = os.environ | started.environment(fleet, "commander")
    program = str(Path(sys.executable).parent / "cellfleet")
    subprocess.run([program, "run"], env=environment, check=True, capture_output=True)
    cpu = sum(cpu_seconds(w.pid) for w in started.workers) - sum(before)
    with psycopg.connect(
        host=started.address, port=started.catalog.port, user="lims", password=POSTGRES_PASSWORD,
        dbname=f"{fleet}_dagster",
    ) as con:  # fmt: skip
        row = con.execute(
            "SELECT count(*), max(end_time) - min(start_time) FROM runs WHERE status = 'SUCCESS'"
        ).fetchone()
    assert row is not None
    found = content(started, fleet)
    started.stop_workers()
    return {"workers": workers, "seconds": float(row[1]), "cpu_s": cpu, "jobs": int(row[0])}, found


def main() -> None:
    """Measure, compare, write."""
    asked = [int(word) for word in sys.argv[1:]] or [1, 2, 4]
    load = f"{os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory(prefix="cellfleet-many-") as held:
        folder = Path(held)
        folder.chmod(0o755)
        environment = os.environ | {"CELLFLEET_HOME": held, "CELLFLEET_SOURCES": str(folder / "sources")}
        program = str(Path(sys.executable).parent / "cellfleet")
        subprocess.run(
            [program, "simulate", "--scale", "tiny"], env=environment, check=True, capture_output=True
        )
        with hub(folder, [f"machine{n}" for n in range(max(asked))], folder / "sources") as started:
            os.environ |= started.environment("none", "none") | {"CELLFLEET_SETTINGS": ""}
            runs, contents = [], []
            for number, workers in enumerate(asked):
                told, found = timed(started, workers, number)
                print(json.dumps(told), flush=True)
                runs.append(told)
                contents.append(found)
            isolated = started.refused is None
    if any(found != contents[0] for found in contents):
        raise SystemExit("The fleets differ in content; nothing was written.")
    told = {"cores": os.cpu_count(), "load": load, "isolated": isolated, "runs": runs}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"Wrote {RESULTS}.")


if __name__ == "__main__":
    main()
