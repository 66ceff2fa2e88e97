"""Where used, both ways: what came from a lot, what a product was made of, what was repeated."""

from __future__ import annotations

from typing import Any

import duckdb

from pipelines.trace import trace
from tests.unit.marts.test_marts import FLEET, at, journey
from warehouse.marts.build import build


def published(lake: Any) -> duckdb.DuckDBPyConnection:
    """The marts and core tables as a snapshot shows them, read through the same connection."""
    build(lake.con, "snap", FLEET, 1)
    lake.con.execute("CREATE SCHEMA snap.core")
    for name in (
        "therapy_order",
        "collection",
        "custody_event",
        "assay_result",
        "release_decision",
        "deviation",
    ):
        lake.con.execute(f"CREATE TABLE snap.core.{name} AS SELECT * FROM current.{name}")
    lake.con.execute("USE snap")
    con: duckdb.DuckDBPyConnection = lake.con
    return con


def test_a_lot_leads_to_every_patient_and_a_patient_to_every_lot(small_lake: Any) -> None:
    journey(small_lake)
    journey(small_lake, n="2")
    site = {"site_id": "a"}
    again = site | {"order_id": "O2", "batch_id": "B2-2", "attempt_no": 2, "batch_started_at": at(500)}
    small_lake.add("batch", again)
    uses = [("B1", "L1"), ("B2", "L1"), ("B2", "L2")]
    small_lake.add("lot_use", *(site | {"batch_id": b, "lot_id": lot, "phase": "p"} for b, lot in uses))
    small_lake.add(
        "sample", site | {"sample_id": "S2", "batch_id": "B2", "sample_point": "release", "taken_at": at(9)}
    )
    small_lake.add(
        "assay_result", site | {"result_id": "R2", "sample_id": "S2", "attribute": "cd3_pct", "value": 9.0}
    )
    small_lake.add(
        "infusion", site | {"infusion_id": "I2", "order_id": "O2", "batch_id": "B2", "infused_at": at(250)}
    )
    con = published(small_lake)
    used = {(r["steps"], r["id"]) for r in trace(con, "L1") if r["way"] == "used in"}
    assert used == {(1, "B1"), (1, "B2"), (2, "S2"), (2, "I2")}
    told = trace(con, "I2")
    assert {r["id"] for r in told if r["way"] == "came from"} == {"B2", "L1", "L2", "C2", "O2"}
    assert not [r for r in told if r["way"] == "used in"]
    assert {(r["way"], r["id"]) for r in trace(con, "R2")} >= {
        ("itself", "S2"),
        ("came from", "L2"),
        ("came from", "O2"),
    }
    assert [(r["id"], r["kind"]) for r in trace(con, "B2") if r["way"] == "repeated"] == [
        ("B2-2", "repeated_batch")
    ]
    order = trace(con, "COI2")
    assert {r["id"] for r in order if r["way"] == "used in"} == {"C2", "B2", "B2-2", "S2", "I2"}
    assert all(r["source_row"] for r in order if r["steps"])
    assert trace(con, "nobody") == []
