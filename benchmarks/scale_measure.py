"""What a reading, a record, a file and a night cost, measured on homes that ran: `benchmarks/results/scale.json`.

Run as `python benchmarks/scale_measure.py HOME …`: a demo's, or your own fleet's, so that a plan rests on your sites.
What taking in cost is read from the home's log, what lies where from its lake; a copy of it is published again, and
timed. A home is never written. Run it, and what it measures, on a quiet machine: the load is told with the figures.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from pipelines.harmonise.contract import load_contract
from pipelines.ingest.accounting import is_large
from pipelines.publication import publish_fleet
from pipelines.real_files import contract_paths
from warehouse import lake
from warehouse.settings import ROOT, Settings, settings

RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
METADATA = "__ducklake_metadata_lake"
Point = dict[str, Any]


def one(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The only value of a query."""
    row = con.execute(sql).fetchone()
    assert row is not None
    return int(row[0] or 0)


def taken_in(home: Path, large: set[tuple[str, str]]) -> tuple[list[Point], list[Point]]:
    """Of the home's log: each feed that brought something (records, seconds), and what each site's run took besides."""
    lines = [
        line
        for path in sorted((home / "logs").glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    told = [json.loads(line) for line in lines]
    feeds = [e for e in told if e["event"] == "feed taken in"]
    points = [
        {"site": e["site"], "feed": e["feed"], "large": (e["site"], e["feed"]) in large,
         "received": e["received"], "seconds": e["seconds"]}
        for e in feeds if e["received"]
    ]  # fmt: skip
    runs = []
    for e in (e for e in told if e["event"] == "run ended"):
        own = [f["seconds"] for f in feeds if f["run_id"] == e["run_id"]]
        if own:
            runs.append({"job": e["job"], "feeds": len(own), "besides_s": e["seconds"] - sum(own)})
    return points, runs


def stored(con: duckdb.DuckDBPyConnection, large: set[tuple[str, str]]) -> Point:
    """Rows, files and bytes of the lake, and of what the sites sent."""
    files = con.execute(f"""
        SELECT t.table_name = 'reading' AS readings, count(*), sum(f.file_size_bytes)
        FROM {METADATA}.ducklake_data_file AS f JOIN {METADATA}.ducklake_table AS t USING (table_id)
        WHERE f.end_snapshot IS NULL GROUP BY ALL""").fetchall()
    count = {bool(is_readings): (int(n), int(size)) for is_readings, n, size in files}
    sent = {True: 0, False: 0}
    for site, feed, size in con.execute(
        "SELECT site_id, feed, sum(bytes) FROM current.file GROUP BY ALL"
    ).fetchall():
        sent[(site, feed) in large] += int(size)
    return {
        "sites": one(con, "SELECT count(*) FROM current.site"),
        "batches": one(con, "SELECT count(*) FROM current.batch"),
        "readings": one(con, "SELECT count(*) FROM lake.core.reading"),
        "records": one(con, "SELECT count(*) FROM lake.raw.record"),
        "commits": one(con, f"SELECT count(*) FROM {METADATA}.ducklake_snapshot"),
        "files": sum(n for n, _ in count.values()),
        "readings_lake_bytes": count[True][1], "records_lake_bytes": count[False][1],
        "readings_vault_bytes": sent[True], "records_vault_bytes": sent[False],
    }  # fmt: skip


def copied_readings(con: duckdb.DuckDBPyConnection, path: Path) -> Point:
    """Copying the readings alone into a native file, as a snapshot does: CPU seconds and bytes."""
    cpu = time.process_time()
    con.execute(f"ATTACH '{path}' AS copy")
    con.execute(
        "CREATE TABLE copy.reading AS FROM lake.core.reading ORDER BY site_id, batch_id, channel, read_at"
    )
    con.execute("CHECKPOINT copy")
    con.execute("DETACH copy")
    return {"readings_copy_cpu_s": time.process_time() - cpu, "readings_copy_bytes": path.stat().st_size}


def measured(chosen: Settings) -> Point:
    """One home."""
    home = chosen.home_path
    contracts = [load_contract(p) for p in contract_paths(chosen)]
    large = {(c.site_id, name) for c in contracts for name, feed in c.feeds.items() if is_large(feed)}
    feeds, runs = taken_in(home, large)
    with tempfile.TemporaryDirectory() as folder:
        copy = replace(chosen, home=folder, sources=str(chosen.sources_path))
        shutil.copytree(home / "lake", Path(folder) / "lake")
        with closing(lake.attach(copy)) as con:
            told = stored(con, large)
            told |= copied_readings(con, Path(folder) / "readings.duckdb")
        catalog = Path(folder) / "lake"
        told["catalog_bytes"] = sum(p.stat().st_size for p in catalog.glob("catalog.sqlite*"))
        empty = replace(copy, home=str(Path(folder) / "empty"))
        lake.attach(empty).close()
        told["empty_catalog_bytes"] = sum(
            p.stat().st_size for p in (empty.home_path / "lake").glob("catalog.sqlite*")
        )
        cpu, started = time.process_time(), time.perf_counter()
        done = publish_fleet(copy, "benchmark")
        told |= {
            "publish_cpu_s": time.process_time() - cpu, "publish_s": time.perf_counter() - started,
            "snapshot_bytes": done.path.stat().st_size,
        }  # fmt: skip
    return told | {"feeds": feeds, "runs": runs}


def main() -> None:
    """Measure, and write what was seen."""
    homes = [Path(word) for word in sys.argv[1:]]
    if not homes:
        raise SystemExit("Name homes that ran: python benchmarks/scale_measure.py HOME …")
    load = f"{os.getloadavg()[0]:.1f}"
    told = {
        "machine": {
            "cores": os.cpu_count(), "load": load, "system": platform.system(), "python": platform.python_version(),
        },
        "duckdb": duckdb.__version__,
        "homes": [measured(replace(settings(), home=str(home))) for home in homes],
    }  # fmt: skip
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"Wrote {RESULTS}.")


if __name__ == "__main__":
    main()
