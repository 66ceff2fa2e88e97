"""One new day at one site of a lake with many days of many sites, beside the same day in an empty lake.

The lake is filled as compaction leaves it: readings by site and month, other tables in few files, each site with its
files and accounts. Then real days are brought in by the real step. Run as `python -m benchmarks.bench.increment DAYS
SITES READINGS` it measures once and prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any

import duckdb

from benchmarks.bench.data import FIRST_DAY, write_day
from benchmarks.bench.figures import Figure, apart, count, figure
from benchmarks.bench.ingest import contract_of, folder_of
from pipelines.harmonise.contract import Contract
from warehouse import lake, lake_layout
from warehouse.dictionary import dictionary
from warehouse.settings import Settings

GOAL = 1.2
MEASURED = 5
# Readings of the measured day come within so many seconds of it: few batches, as at a site.
SECONDS = 7200
DAY_AFTER = "TIMESTAMPTZ '{first}' + to_days(day::INTEGER + 1)"
STORED = f"""
    CREATE OR REPLACE TABLE stored AS
    SELECT '{{site}}' AS site_id, printf('{{site}}-B-%05d', day // 9) AS batch_id, 'c' || c AS channel,
           'temperature_c' AS quantity_name,
           TIMESTAMPTZ '{{first}}' + to_days(day::INTEGER) + to_seconds(n * {{step}}) AS read_at,
           36.5 + hash(day, n) % 1000 / 1000 AS reading, 'good' AS reading_status, '{{system}}' AS source_system,
           md5(concat('{{site}}', day)) AS source_file_sha256, c * {{each}} + n + 1 AS source_row,
           {DAY_AFTER} AS sent_at, {DAY_AFTER} AS recorded_at, 'seed' AS run_id
    FROM range({{days}}) AS d(day), range(4) AS c(c), range({{each}}) AS r(n) ORDER BY batch_id, channel, read_at"""
FILES = f"""
    CREATE OR REPLACE TABLE seeded_file AS
    SELECT '{{site}}' AS site_id, 'sensor' AS feed, '{{system}}' AS source_system,
           printf('telemetry_%05d.csv', day) AS source_file, md5(concat('{{site}}', day)) AS source_file_sha256,
           200 * {{each}} AS bytes, {DAY_AFTER} AS sent_at, 'delimited' AS format, 4 * {{each}} AS received,
           'read' AS file_state, NULL::VARCHAR AS refusal, {DAY_AFTER} AS recorded_at, 'seed' AS run_id
    FROM range({{days}}) AS d(day)"""
ACCOUNTS = f"""
    CREATE OR REPLACE TABLE seeded_account AS
    SELECT '{{site}}' AS site_id, 'sensor' AS feed, (day + 1) * 4 * {{each}} AS received,
           (day + 1) * 4 * {{each}} AS promoted, 0 AS superseded, 0 AS duplicate, 0 AS quarantined,
           0 AS fields_quarantined, 0 AS findings, {DAY_AFTER} AS recorded_at, 'seed' AS run_id
    FROM range({{days}}) AS d(day)"""


def fill(con: duckdb.DuckDBPyConnection, contract: Contract, days: int, sites: int, readings: int) -> None:
    """So many days of so many sites before `FIRST_DAY`; the contract's site is one of them."""
    d = dictionary()
    system = contract.feeds["sensor"].system
    for n in range(sites):
        told = {
            "site": contract.site_id if n == 0 else f"site_{n}", "system": system, "days": days,
            "first": FIRST_DAY - timedelta(days=days), "each": readings // 4, "step": 86_400 * 4 // readings,
        }  # fmt: skip
        for sql in (STORED, FILES, ACCOUNTS):
            con.execute(sql.format(**told))
        written = lake_layout.write_files(con, d.tables["reading"], "stored")

        lake.commit(con, partial(_name, con, written), "benchmark", "seed")
    for name in ("file", "accounting"):
        lake.commit(con, partial(lake_layout.merge, con, d.tables[name]), "benchmark", "compact")


def _name(con: duckdb.DuckDBPyConnection, written: list[str]) -> None:
    d = dictionary()
    lake_layout.add_files(con, d.tables["reading"], written)
    lake.insert(con, d.tables["file"], "seeded_file")
    lake.insert(con, d.tables["accounting"], "seeded_account")


def measure(days: int, sites: int, readings: int) -> dict[str, Any]:
    """Middle seconds of a day's step in a lake with so much in it and in an empty one, in turn."""
    from pipelines.ingest.asset import ingest
    from pipelines.validation.engine import warm
    from pipelines.validation.suites import suite_of

    warm()
    suite_of("reading")
    contract = contract_of("csv")
    with tempfile.TemporaryDirectory() as place:
        homes = {
            name: Settings(home=f"{place}/{name}/home", sources=f"{place}/{name}/sources")
            for name in ("empty", "full")
        }
        with closing(lake.attach(homes["full"])) as con:
            fill(con, contract, days, sites, readings)
            stored = con.execute("SELECT count(*) FROM lake.core.reading").fetchall()[0][0]
        seconds: dict[str, list[float]] = {name: [] for name in homes}
        promoted = {}
        for n in range(MEASURED + 1):
            for name, chosen in homes.items():
                day = FIRST_DAY + timedelta(days=n)
                write_day(folder_of(contract, chosen), "csv", day, readings, seconds=SECONDS)
                began = time.perf_counter()
                outcome = ingest(contract, "sensor", chosen, f"day-{n}", progress=lambda _: None)
                seconds[name].append(time.perf_counter() - began)
                promoted[name] = outcome.accounting["promoted"]
    measured = (MEASURED + 1) * readings
    if promoted != {"empty": measured, "full": days * readings + measured}:
        raise RuntimeError(
            f"{promoted} readings are promoted after {days} + {MEASURED + 1} days of {readings}"
        )
    # The first day pays for what a process does once.
    return {name: sorted(laps[1:])[MEASURED // 2] for name, laps in seconds.items()} | {"stored": stored}


def dagster(readings: int) -> dict[str, Any]:
    """Middle seconds of a day's whole Dagster run and of the step inside it."""
    from dagster import DagsterInstance

    from pipelines.definitions import build_defs
    from pipelines.ingest import asset
    from pipelines.instance import dagster_home
    from pipelines.runner import QUIET, _whole_range
    from pipelines.validation.engine import warm
    from warehouse import settings as chosen_by

    warm()
    contract, inside = contract_of("csv"), []
    step = asset.ingest

    def timed(*args: Any, **named: Any) -> Any:
        began = time.perf_counter()
        done = step(*args, **named)
        inside.append(time.perf_counter() - began)
        return done

    asset.ingest = timed
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"CELLFLEET_HOME": f"{place}/home", "CELLFLEET_SOURCES": f"{place}/sources"}
        chosen = chosen_by.settings()
        dagster_home(chosen)
        job = build_defs(chosen).resolve_job_def(f"{contract.site_id}_readings")
        whole = []
        with DagsterInstance.get() as instance:
            for n in range(MEASURED + 1):
                write_day(
                    folder_of(contract, chosen),
                    "csv",
                    FIRST_DAY + timedelta(days=n),
                    readings,
                    seconds=SECONDS,
                )
                began = time.perf_counter()
                done = job.execute_in_process(instance=instance, tags=_whole_range(job), run_config=QUIET)
                whole.append(time.perf_counter() - began)
                assert done.success
    middle = MEASURED // 2
    return {"run": sorted(whole[1:])[middle], "step": sorted(inside[1:])[middle]}


def figures(lakes: list[tuple[int, int]], readings: int) -> Iterator[Figure]:
    """Each lake beside the empty one, and what Dagster adds to the step."""
    module = "benchmarks.bench.increment"
    for days, sites in lakes:
        told = apart(module, str(days), str(sites), str(readings))
        size = f"{days:,} days × {sites} sites, {count(told['stored'])} readings"
        yield figure(
            "increment: a day of readings", size, told["full"], "s", of=told["empty"],
            against="same day, empty lake", goal=GOAL,
        )  # fmt: skip
    run = apart(module, "dagster", str(readings))
    yield figure(
        "increment: Dagster beside the step", f"day of {count(readings)} readings", run["run"] - run["step"], "s",
        of=run["step"], against="the step itself",
    )  # fmt: skip


def main() -> None:
    """One measurement of this process."""
    if sys.argv[1] == "dagster":
        print(json.dumps(dagster(int(sys.argv[2]))))
    else:
        print(json.dumps(measure(*map(int, sys.argv[1:4]))))


if __name__ == "__main__":
    main()
