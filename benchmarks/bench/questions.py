"""Questions of the Sensors page over a snapshot with many readings, asked through the page's own provider.

The snapshot is a published one of an empty fleet, into which readings are written and rolled up by the mart's own SQL.
Run as `python -m benchmarks.bench.questions READINGS` it measures once and prints JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.bench.data import FIRST_DAY
from benchmarks.bench.figures import Figure, apart, count, figure
from warehouse import lake, lake_layout, lake_readings
from warehouse.dictionary import dictionary
from warehouse.marts import hours
from warehouse.settings import Settings
from warehouse.vault import sha256_of

# Goals in milliseconds (p50).
GOALS = {"batch trace": 15.0, "30-batch overlay": 60.0, "golden envelope": 30.0}
ASKED, OVERLAID = 15, 30
CHANNELS, DAYS, SITES = 4, 9, 4
EACH = 100_000  # readings a batch: four channels, one each half minute for nine days
READINGS = """
    INSERT INTO core.reading BY NAME
    SELECT 'site_' || (b % {sites}) AS site_id, printf('B-%06d', b) AS batch_id, 'c' || c AS channel,
           ['temperature_c', 'ph', 'glucose_mmol_l', 'dissolved_oxygen_pct'][c + 1] AS quantity_name,
           TIMESTAMPTZ '{first}' + to_hours((7 * (b // {sites}))::INTEGER) + to_seconds(n * {step}) AS read_at,
           36.5 + hash(b, c, n) % 1000 / 1000 AS reading, 'good' AS reading_status, 'historian' AS source_system,
           md5(concat(b, n * {step} // 86400)) AS source_file_sha256, n AS source_row,
           TIMESTAMPTZ '{first}' AS sent_at, TIMESTAMPTZ '{first}' AS recorded_at, 'seed' AS run_id
    FROM range({start}, {end}) AS b(b), range({channels}) AS c(c), range({each}) AS r(n)
    ORDER BY site_id, batch_id, channel, read_at"""
BATCHES = """
    INSERT INTO mart.batch_wide BY NAME
    SELECT site_id, batch_id, min(read_at) AS batch_started_at FROM core.reading GROUP BY ALL"""
# What the page asks first of a batch: the smallest and largest good reading of each of a thousand stretches.
TRACE = """
    WITH r AS (SELECT channel, epoch_ms(read_at) AS e, reading FROM {reading}
               WHERE site_id = ? AND batch_id = ? AND reading_status = 'good' AND reading IS NOT NULL),
    span AS (SELECT channel, min(e) AS e0, max(e) AS e1 FROM r GROUP BY ALL)
    SELECT channel, least(999, (e - e0) * 1000 // (e1 - e0 + 1)) AS b, arg_min(e, reading), min(reading),
           arg_max(e, reading), max(reading) FROM r JOIN span USING (channel) GROUP BY ALL"""
# Batches whose readings are written at once.
PART = 100


def snapshot(folder: Path, readings: int) -> tuple[Path, float]:
    """A snapshot with so many readings and its hours; seconds of rolling them up."""
    from pipelines.publication import publish_fleet

    path = publish_fleet(Settings(home=str(folder)), "benchmark").path
    batches = -(-readings // EACH)
    with duckdb.connect(str(path)) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"SET temp_directory = '{folder / 'tmp'}'")
        for start in range(0, batches, PART):
            con.execute(
                READINGS.format(
                    sites=SITES, first=FIRST_DAY, step=DAYS * 86_400 * CHANNELS // EACH, channels=CHANNELS,
                    each=EACH // CHANNELS, start=start, end=min(start + PART, batches),
                )
            )  # fmt: skip
        con.execute(BATCHES)
        con.execute("CREATE TEMP VIEW in_force_reading AS FROM core.reading")
        began = time.perf_counter()
        hours.build(con, f'"{path.stem}"', None)
        took = time.perf_counter() - began
        con.execute("CHECKPOINT")
    return path, took


def from_lake(folder: Path, path: Path, batches: list[tuple[str, str]]) -> dict[str, float]:
    """Milliseconds (p50) of a trace's query over the file's own readings, and over the same in a compacted lake at a
    pinned snapshot; seconds of copying them from there into a file, as publishing does."""
    chosen, table = Settings(home=str(folder)), dictionary().tables["reading"]
    with closing(lake.attach(chosen)) as con:
        con.execute(f"ATTACH '{path}' AS published (READ_ONLY)")
        written = lake_layout.write_files(con, table, "published.core.reading")
        lake.commit(con, partial(lake_layout.add_files, con, table, written), "benchmark", "seed")
        pinned = lake.latest_snapshot(con)
        began = time.perf_counter()
        con.execute(f"ATTACH '{folder / 'copy.duckdb'}' AS copy (RECOVERY_MODE no_wal_writes)")
        con.execute("CREATE TABLE copy.reading AS FROM lake.core.reading")
        con.execute("CHECKPOINT copy")
        copied = time.perf_counter() - began
        con.execute("DETACH copy")
    (folder / "copy.duckdb").unlink()
    told = {"copy": copied}
    with closing(lake.attach(chosen, snapshot=pinned)) as con:
        con.execute(f"ATTACH '{path}' AS published (READ_ONLY)")
        for name, reading in (("file", "published.core.reading"), ("lake", "lake.core.reading")):
            sql = TRACE.format(reading=reading)
            told[name] = _p50(lambda n, sql=sql: con.execute(sql, list(batches[n % len(batches)])).fetchall())
    return told


def left_in_lake(folder: Path, path: Path) -> tuple[Path, float]:
    """The same snapshot with its readings left in the lake; seconds of leaving them."""
    left = path.with_name("fleet-2.duckdb")
    with closing(lake.attach(Settings(home=str(folder)))) as con:
        con.execute(f"ATTACH '{path}' AS published (READ_ONLY)")
        con.execute(f"ATTACH '{left}' AS snap")
        names = con.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'published'"
        ).fetchall()
        for schema, name in names:
            con.execute(f"CREATE SCHEMA IF NOT EXISTS snap.{schema}")
            if (schema, name) != ("core", "reading"):
                con.execute(f"CREATE TABLE snap.{schema}.{name} AS FROM published.{schema}.{name}")
        facts = {lake_readings.FACT: lake_readings.LEFT, "lake_snapshot": str(lake.latest_snapshot(con))}
        con.executemany("DELETE FROM snap.meta.snapshot WHERE fact = ?", [[fact] for fact in facts])
        con.executemany("INSERT INTO snap.meta.snapshot VALUES (?, ?)", list(facts.items()))
        began = time.perf_counter()
        lake_readings.leave(con, dictionary().tables["reading"])
        took = time.perf_counter() - began
    return left, took


def copied_again(path: Path) -> float:
    """Seconds of what a night does with a file's bytes: it is found sound, copied, made durable and hashed."""
    part, began = path.with_suffix(".part"), time.perf_counter()
    sha256_of(path)
    shutil.copyfile(path, part)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    sha256_of(part)
    took = time.perf_counter() - began
    part.unlink()
    return took


def measure(readings: int) -> dict[str, float]:
    """Milliseconds (p50) of each question, seconds of the roll-up."""
    from dashboards.providers.sensors import SensorProvider
    from dashboards.providers.snapshot import Snapshot
    from dashboards.security.scope import Scope

    with tempfile.TemporaryDirectory() as place:
        os.environ["CELLFLEET_HOME"] = place
        path, took = snapshot(Path(place), readings)
        provider = SensorProvider(Snapshot(path))
        scope = Scope(tuple(f"site_{n}" for n in range(SITES)))
        batches = provider.batches(scope)
        some = batches[:: -(-len(batches) // ASKED)]
        of_site = [b for b in batches if b[0] == "site_0"]
        runs = provider.runs(scope, some)
        overlaid = provider.runs(scope, batches[:OVERLAID])
        # What a site's hours take to be read and sorted; the page then keeps them, whatever is left out of them.
        began = time.perf_counter()
        provider.envelopes(scope, "site_0", [])
        first = 1000 * (time.perf_counter() - began)
        told = {
            "batch trace": _p50(lambda n: provider.traces(scope, runs[n % len(runs)])),
            "30-batch overlay": _p50(lambda n: provider.hourly(scope, overlaid)),
            "golden envelope": _p50(
                lambda n: provider.envelopes(scope, "site_0", [of_site[n % len(of_site)][1]])
            ),
            "first envelope": first,
        }
        told |= {f"trace {name}": value for name, value in from_lake(Path(place), path, some).items()}
        told["night's copy"] = copied_again(path)
        left, told["leaving"] = left_in_lake(Path(place), path)
        there = SensorProvider(Snapshot(left))
        told["batch trace left"] = _p50(lambda n: there.traces(scope, runs[n % len(runs)]))
        return told | {
            "roll-up": took,
            "batches": len(batches),
            "of_site": len(of_site),
            "bytes": path.stat().st_size,
        }


def _p50(ask: Callable[[int], Any]) -> float:
    laps = []
    for n in range(ASKED):
        began = time.perf_counter()
        if not ask(n):
            raise RuntimeError("a question has no answer")
        laps.append(1000 * (time.perf_counter() - began))
    return statistics.median(laps)


def figures(sizes: list[int]) -> Iterator[Figure]:
    """Each question at each size, beside the smallest."""
    least: dict[str, float] = {}
    for size in sizes:
        told = apart("benchmarks.bench.questions", str(size))
        least = least or told
        said = f"{count(size)} readings, {told['batches']:,} batches"
        against = f"{count(sizes[0])} readings"
        for name, goal in GOALS.items():
            # What the question takes is promised, not how it grows: the goal is of the value.
            yield Figure(f"question: {name}", said, round(told[name], 2), "ms", None, None, goal)
            yield figure(f"question: {name}, growth", said, told[name], "ms", of=least[name], against=against)
        yield figure(
            "question: golden envelope, a site's first since publication", said, told["first envelope"], "ms",
            of=least["first envelope"], against=against,
        )  # fmt: skip
        yield figure(
            "question: trace's query from the lake", said, told["trace lake"], "ms", of=told["trace file"],
            against="from the snapshot's own copy",
        )  # fmt: skip
        yield figure(
            "question: batch trace, readings left in the lake", said, told["batch trace left"], "ms",
            of=told["batch trace"], against="readings in the snapshot",
        )  # fmt: skip
        for name, key in (
            ("copying readings into a snapshot", "trace copy"),
            ("a night's copy of that snapshot", "night's copy"),
            ("leaving readings in the lake", "leaving"),
        ):
            yield figure(f"question: {name}", said, told[key], "s", of=least[key], against=against)
        yield figure(
            "question: bytes of that snapshot", said, told["bytes"] / 1e6, "MB", of=least["bytes"] / 1e6,
            against=against,
        )  # fmt: skip
        yield figure(
            "question: marts' rebuild (hours of channels)",
            said,
            told["roll-up"],
            "s",
            of=least["roll-up"],
            against=against,
        )


def main() -> None:
    """One measurement of this process."""
    print(json.dumps(measure(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
