"""Publishing after one new batch, beside publishing the same fleet from nothing.

The fleet is written to the lake as compaction leaves it: batches at the demo's sites, each with nine days of readings
and a result of every attribute of the demo's plan. Run as `python -m benchmarks.bench.publishing BATCHES` it measures
once and prints JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing

import duckdb

from benchmarks.bench.data import FIRST_DAY
from benchmarks.bench.figures import Figure, apart, count, figure
from warehouse import lake, lake_layout
from warehouse.dictionary import dictionary
from warehouse.plan import load_plan
from warehouse.settings import Settings

EACH, CHANNELS, DAYS = 50_000, 4, 9
SITES = ("northgate", "meridian", "prairie", "rhein")
STARTED = f"TIMESTAMPTZ '{FIRST_DAY}' + to_hours((6 * b)::INTEGER)"
BATCH = (
    "SELECT ['" + "', '".join(SITES) + "'][b % 4 + 1] AS site_id, printf('B-%06d', b) AS batch_id, b, "
    f"{STARTED} AS started FROM range({{start}}, {{end}}) AS r(b)"
)
TECHNICAL = (
    "'historian' AS source_system, md5(batch_id) AS source_file_sha256, started + INTERVAL 10 DAY AS sent_at, "
    "started + INTERVAL 10 DAY AS recorded_at, 'seed' AS run_id"
)
OF_RECORD = f"{TECHNICAL}, b AS source_row, 'seed' AS recorded_by, 'seed.csv' AS source_file"
ROWS = {
    "batch": "SELECT site_id, batch_id, batch_id AS order_id, 'PROD' AS product_id, 'P-1' AS protocol_version, "
    "'complete' AS batch_status, 'released' AS disposition, started AS batch_started_at, batch_id AS record_id, "
    f"{OF_RECORD} FROM ({BATCH})",
    "unit_operation": "SELECT site_id, batch_id || '-E' AS operation_id, batch_id, 'expansion' AS unit_procedure, "
    f"started AS operation_started_at, started + INTERVAL {DAYS} DAY AS operation_ended_at, batch_id AS record_id, "
    f"{OF_RECORD} FROM ({BATCH})",
    "sample": "SELECT site_id, batch_id || '-S' AS sample_id, batch_id, 'release' AS sample_point, "
    f"started + INTERVAL {DAYS} DAY AS taken_at, batch_id AS record_id, {OF_RECORD} FROM ({BATCH})",
    "assay_result": "SELECT site_id, batch_id || attribute AS result_id, batch_id || '-S' AS sample_id, batch_id, "
    "attribute, 50 + hash(b, attribute) % 1000 / 100 AS value, '=' AS operator, 1 AS replicate, "
    f"started + INTERVAL {DAYS} DAY AS result_at, batch_id || attribute AS record_id, {OF_RECORD} "
    f"FROM ({BATCH}), (SELECT unnest(['{{attributes}}']) AS attribute)",
}
READINGS = f"""
    CREATE OR REPLACE TEMP TABLE stored AS
    SELECT site_id, batch_id, 'c' || c AS channel,
           ['temperature_c', 'ph', 'glucose_mmol_l', 'dissolved_oxygen_pct'][c + 1] AS quantity_name,
           started + to_seconds((n * {DAYS * 86_400 * CHANNELS // EACH})::INTEGER) AS read_at,
           [36.8, 7.1, 10.0, 50.0][c + 1] + hash(b, c, n) % 1000 / 5000 AS reading,
           'good' AS reading_status, n AS source_row, {TECHNICAL}
    FROM ({BATCH}), range({CHANNELS}) AS c(c), range({EACH // CHANNELS}) AS n(n)
    ORDER BY site_id, batch_id, channel, read_at"""


def add(con: duckdb.DuckDBPyConnection, start: int, end: int, attributes: list[str]) -> None:
    """Write batches `start` to `end` to the lake."""
    table, told = (
        dictionary().tables["reading"],
        {"start": start, "end": end, "attributes": "', '".join(attributes)},
    )
    con.execute(READINGS.format(**told))
    written = lake_layout.write_files(con, table, "stored")

    def write() -> None:
        lake_layout.add_files(con, table, written)
        for name, rows in ROWS.items():
            con.execute(f"INSERT INTO lake.core.{name} BY NAME {rows.format(**told)}")

    lake.commit(con, write, "benchmark", "seed")


def measure(batches: int) -> dict[str, float]:
    """Seconds of the processor for publishing so many batches from nothing, and after one more."""
    from pipelines.publication import publish_fleet

    attributes = sorted({m for a in load_plan(Settings().sites_path / "fleet.yaml").plan.attributes.values()
                         for m in a.measured_by})  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        chosen = Settings(home=place)
        for start, end in ((0, batches), (batches, batches + 1)):
            with closing(lake.attach(chosen)) as con:
                add(con, start, end, attributes)
            # What a process does once is done in the first.
            began = time.process_time()
            done = publish_fleet(chosen, "benchmark")
            one = time.process_time() - began
        if (done.rolled_up, done.rows["core.reading"]) != (1, (batches + 1) * EACH):
            raise RuntimeError(
                f"{done.rolled_up} batches of {done.rows['core.reading']} readings are rolled up"
            )
        shutil.rmtree(chosen.published_path)
        began = time.process_time()
        publish_fleet(chosen, "benchmark")
        return {"one": one, "all": time.process_time() - began}


def figures(fleets: list[int]) -> Iterator[Figure]:
    """One new batch beside the whole fleet, at each size: one that leaves the new batch to a site that is not the
    reference, whose new lot would change every verdict."""
    for batches in fleets:
        told = apart("benchmarks.bench.publishing", str(batches))
        yield figure(
            "increment: publish after one new batch", f"{batches} batches, {count(batches * EACH)} readings",
            told["one"], "s of processor", of=told["all"], against="publishing all",
        )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
