"""What is made of every reading: hours of sensor channels, and stretches at fault. Kept batch by batch.

Belongs here: which batches are made anew. Does not belong here: what an hour or a fault is (the SQL files), what is
made of hours (`trajectories.py`, findings).

Readings are too many to be rolled up every night. A batch whose readings are what they were has the hours and faults
that it had; the few found by hours (flat lines, drifts) hang on findings too and are always made anew.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

HERE = Path(__file__).parent
BY_HOURS = "('sensor_flat_line', 'sensor_drift')"


def of_lake(con: duckdb.DuckDBPyConnection) -> None:
    """`channel_hour`: the hours of all readings in force, held in memory; needs `in_force_reading`."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE held_hour AS {_rolled_up('in_force_reading')}")
    _seen_as_channel_hour(con, "temp.held_hour")


def build(con: duckdb.DuckDBPyConnection, target: str, touched: str | None) -> None:
    """Create mart `sensor_hour`, seen as `channel_hour` too; `touched` as `warehouse.marts.build.build` has it."""
    hour = f"{target}.mart.sensor_hour"
    con.execute("DROP TABLE IF EXISTS temp.held_hour")
    if touched is None:
        con.execute(f"CREATE OR REPLACE TABLE {hour} AS {_rolled_up('in_force_reading')}")
    else:
        again = f"(FROM in_force_reading SEMI JOIN {touched} USING (site_id, batch_id))"
        con.execute(f"DELETE FROM {hour} WHERE (site_id, batch_id) IN (FROM {touched})")
        con.execute(f"INSERT INTO {hour} BY NAME {_rolled_up(again)}")
    _seen_as_channel_hour(con, hour)


def build_faults(con: duckdb.DuckDBPyConnection, target: str, touched: str | None) -> None:
    """Create mart `sensor_fault`; needs `channel_hour` and `faulty_hour`."""
    fault, again = f"{target}.mart.sensor_fault", touched or "channel_hour"
    sql = (HERE / "sensor_fault.sql").read_text("utf-8")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE new_fault (site_id VARCHAR, batch_id VARCHAR, channel VARCHAR, fault VARCHAR, "
        "started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, duration_h DOUBLE, n_readings BIGINT)"
    )
    # A site at a time: every reading is laid beside its neighbours, which for all at once fills the memory.
    for (site,) in con.execute(f"SELECT DISTINCT site_id FROM {again} ORDER BY ALL").fetchall():
        con.execute(
            "CREATE OR REPLACE TEMP TABLE judged_batch AS "
            f"SELECT DISTINCT site_id, batch_id FROM {again} WHERE site_id = ?",
            [site],
        )
        con.execute(sql)
    con.execute((HERE / "sensor_fault_hours.sql").read_text("utf-8"))
    if touched is None:
        con.execute(f"CREATE OR REPLACE TABLE {fault} AS FROM new_fault ORDER BY ALL")
    else:
        con.execute(
            f"DELETE FROM {fault} WHERE fault IN {BY_HOURS} OR (site_id, batch_id) IN (FROM {touched})"
        )
        con.execute(f"INSERT INTO {fault} BY NAME FROM new_fault ORDER BY ALL")
    con.execute("DROP TABLE new_fault")


def _rolled_up(readings: str) -> str:
    return (HERE / "sensor_hour.sql").read_text("utf-8").replace("{readings}", readings)


def _seen_as_channel_hour(con: duckdb.DuckDBPyConnection, hour: str) -> None:
    con.execute(f"CREATE OR REPLACE TEMP VIEW channel_hour AS SELECT * EXCLUDE (share_good) FROM {hour}")
