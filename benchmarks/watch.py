"""Speed of the watching marts: `python -m benchmarks.watch`.

All charts of 10,000 batches at 8 sites with 20 attributes (target: 10 s), the path of 1,000 good batches from roll-ups
(target: 100 ms). Data are drawn; the code is what publishes the marts.
"""

from __future__ import annotations

import statistics
import time
from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import polars as pl

from warehouse.dictionary import dictionary
from warehouse.marts import charts
from warehouse.marts.memory import Memory
from warehouse.marts.trajectories import HERE, declared
from warehouse.plan import Charts, Fleet, Plan, PlannedAttribute, Trajectories

BATCHES, SITES, ATTRIBUTES = 10_000, 8, 20
GOOD, QUANTITIES, MOMENTS = 1_000, 8, 54
START = datetime(2020, 1, 1, tzinfo=UTC)


def _fleet() -> Fleet:
    measured = [n for n, f in dictionary().attributes.items() if f.type == "float"]
    attributes = {
        f"attribute_{i:02d}": PlannedAttribute(
            title="x", measured_by=(measured[i % len(measured)],), sample_point="release", scale="identity",
            margin_low=None, margin_high=None, criticality="key", rationale="benchmark",
        )
        for i in range(ATTRIBUTES)
    }  # fmt: skip
    plan = Plan(
        id="B", version="1", dated=date(2020, 1, 1), approved_by_role="x", basis="x", attributes=attributes
    )
    declared_charts = Charts(dated=date(2020, 1, 1), approved_by_role="x", baseline_batches=50)
    return Fleet(name="x", reference_site="site_0", plan=plan, charts=declared_charts)


def _lots(con: duckdb.DuckDBPyConnection, fleet: Fleet) -> None:
    rng = np.random.default_rng(1)
    site = [f"site_{i % SITES}" for i in range(BATCHES)]
    batch = [f"B{i:05d}" for i in range(BATCHES)]
    at = [START + timedelta(hours=2 * i) for i in range(BATCHES)]
    wide = pl.DataFrame({"site_id": site, "batch_id": batch, "batch_started_at": at}).with_columns(
        pl.lit("P-1").alias("protocol_version"), pl.lit("X").alias("product_id"),
        pl.lit("complete").alias("batch_status"), pl.lit("released").alias("disposition"),
        pl.col("batch_id").alias("record_id"),
    )  # fmt: skip
    frames = [
        pl.DataFrame({"site": site, "batch_id": batch, "value_on_scale": rng.standard_normal(BATCHES)}).with_columns(
            pl.lit(name).alias("attribute"), pl.lit(a.measured_by[0]).alias("measured_as"), pl.lit(True).alias("used"),
            (pl.lit(f"r{i:02d}-") + pl.col("batch_id")).alias("record_ids"),
        )
        for i, (name, a) in enumerate(fleet.plan.attributes.items())
    ]  # fmt: skip
    lots = pl.concat(frames)
    results = lots.select(
        pl.col("site").alias("site_id"),
        pl.col("record_ids").alias("record_id"),
        pl.lit("flow").alias("method_id"),
    )
    con.execute("ATTACH ':memory:' AS snap")
    con.execute("CREATE SCHEMA snap.mart")
    for name, frame in (("batch_wide", wide), ("comparability_lots", lots), ("assay_long", results)):
        con.register("drawn", frame)
        con.execute(f"CREATE TABLE snap.mart.{name} AS SELECT * FROM drawn")
    con.execute(
        "CREATE TEMP TABLE limit_version (site_id VARCHAR, product_id VARCHAR, attribute VARCHAR, stage VARCHAR, "
        "low DOUBLE, high DOUBLE, effective_from TIMESTAMPTZ, effective_to TIMESTAMPTZ)"
    )
    con.execute("CREATE TEMP TABLE in_force_deviation (site_id VARCHAR, batch_id VARCHAR)")


def all_charts() -> tuple[float, int]:
    """Seconds to build every chart mart, and points drawn."""
    fleet = _fleet()
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        _lots(con, fleet)
        began = time.perf_counter()
        charts.build(con, "snap", fleet, Memory(con, None))
        took = time.perf_counter() - began
        row = con.execute("SELECT count(*) FROM snap.mart.chart_point").fetchone()
    return took, int(row[0]) if row else 0


def envelope() -> tuple[float, int]:
    """Median seconds of seven to find the path of the good batches, and roll-ups read."""
    rng = np.random.default_rng(2)
    n = GOOD * QUANTITIES * MOMENTS
    index = np.arange(n)
    frame = pl.DataFrame(
        {
            "batch": index // (QUANTITIES * MOMENTS),
            "quantity": index // MOMENTS % QUANTITIES,
            "step_hour": (index % MOMENTS) * 4.0,
            "mean": rng.standard_normal(n),
        }
    ).with_columns(
        pl.format("B{}", "batch").alias("batch_id"), pl.format("q{}", "quantity").alias("quantity_name"),
        pl.lit("X").alias("product_id"), pl.lit("P-1").alias("protocol_version"), pl.lit("expansion").alias("step"),
        pl.lit(True).alias("good_batch"),
    )  # fmt: skip
    with duckdb.connect() as con:
        con.execute("ATTACH ':memory:' AS snap")
        con.execute("CREATE SCHEMA snap.mart")
        con.register("drawn", frame)
        con.execute("CREATE TABLE snap.mart.trajectory AS SELECT * FROM drawn")
        declared(con, Trajectories(dated=date(2020, 1, 1), approved_by_role="x"))
        sql = (HERE / "golden_envelope.sql").read_text("utf-8").replace("{target}", "snap")
        laps = []
        for _ in range(7):
            began = time.perf_counter()
            con.execute(sql)
            laps.append(time.perf_counter() - began)
    return statistics.median(laps), n


def main() -> None:
    """Print both figures."""
    took, drawn = all_charts()
    print(
        f"all charts of {BATCHES} batches x {ATTRIBUTES} attributes x {SITES} sites: {took:.1f} s, {drawn} points"
    )
    took, read = envelope()
    print(f"path of {GOOD} good batches, {QUANTITIES} quantities, {read} roll-ups: {1000 * took:.0f} ms")


if __name__ == "__main__":
    main()
