"""Parts of a whole, whose cells they are, feeds that fell silent, sensors that read otherwise or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.validation.findings import find
from tests.unit.conftest import together
from warehouse import lake as store
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import polars_schema

START = datetime(2026, 2, 1, tzinfo=UTC)
MEMORY = ("t_naive_pct", "t_central_memory_pct", "t_effector_memory_pct", "t_terminal_effector_pct")


def at(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat()


def found(lake: Any, code: str) -> dict[str, str]:
    find(lake.con, "run")
    rows = lake.all("SELECT subject, detail FROM lake.quality.finding WHERE reason_code = ?", [code])
    return {r["subject"]: r["detail"] for r in rows}


@together
def batch(lake: Any, n: int, sex: str = "female") -> None:
    site = {"site_id": "a"}
    key = f"P{n:A>12}"
    lake.add("patient", site | {"patient_key": key, "sex": sex})
    lake.add("therapy_order", site | {"order_id": f"O{n}", "patient_key": key, "product_id": "X"})
    lake.add("batch", site | {"batch_id": f"B{n}", "order_id": f"O{n}", "product_id": "X"})
    lake.add("sample", site | {"sample_id": f"S{n}", "batch_id": f"B{n}", "sample_point": "release"})


@together
def result(lake: Any, n: int, attribute: str, **told: Any) -> str:
    name = f"R{n}-{attribute}"
    base = {"site_id": "a", "result_id": name, "sample_id": f"S{n}", "attribute": attribute, "method_id": "m"}
    lake.add("assay_result", base | {"result_at": at(n)} | told)
    return name


def shares(lake: Any, n: int, *values: float | None) -> None:
    for attribute, value in zip(MEMORY, values, strict=True):
        if value is not None:
            result(lake, n, attribute, value=value, operator="=")


def test_only_declared_parts_of_one_whole_must_add_up(small_lake: Any) -> None:
    for n in range(1, 7):
        batch(small_lake, n)
    shares(small_lake, 1, 20.1, 40.4, 30.2, 10.1)  # rounding
    shares(small_lake, 2, 20.0, 40.0, 30.0, 2.0)
    shares(small_lake, 3, 60.0, 50.0, None, None)
    shares(small_lake, 4, 20.0, 40.0, None, None)  # parts are missing: nothing can be said
    shares(small_lake, 5, None, None, None, 99.0)
    result(small_lake, 5, "cd3_pct", value=97.0, operator="=")
    result(small_lake, 5, "viability_flow_pct", value=95.0, operator="=")
    told = found(small_lake, "partition_sum")
    assert set(told) == {f"R2-{min(MEMORY)}", "R3-t_central_memory_pct"}
    assert "add up to 92.0 %" in told[f"R2-{min(MEMORY)}"]


def test_cells_that_are_not_the_patient_s_are_told(small_lake: Any) -> None:
    for n, sex in enumerate(("female", "male", "female", "male", "unknown"), 1):
        batch(small_lake, n, sex)
    wrong = {
        result(small_lake, 1, "y_chromosome_dna", result_code="positive"),
        result(small_lake, 2, "y_chromosome_dna", result_code="negative"),
        result(small_lake, 3, "hla_mismatch", result_code="positive"),
    }
    result(small_lake, 3, "y_chromosome_dna", result_code="negative")
    result(small_lake, 4, "y_chromosome_dna", result_code="positive")
    result(small_lake, 4, "hla_mismatch", result_code="negative")
    result(small_lake, 5, "y_chromosome_dna", result_code="positive")
    told = found(small_lake, "identity_conflict")
    assert set(told) == wrong
    assert "whose patient is female" in told["R1-y_chromosome_dna"]


def files(lake: Any, sent: dict[str, list[float]]) -> None:
    d = dictionary()
    table = d.tables["file"]
    rows = [
        {"site_id": "a", "feed": feed, "source_file": f"{feed}_{day}.csv", "source_file_sha256": f"{feed}{day}",
         "sent_at": START + timedelta(days=day), "format": "delimited", "received": 5, "file_state": "read",
         "recorded_at": START, "run_id": "r"}
        for feed, days in sent.items()
        for day in days
    ]  # fmt: skip
    schema = {name: polars_schema(d, "file")[name] for name in table.columns}
    frame = pl.DataFrame([{n: r.get(n) for n in schema} for r in rows], schema=schema, orient="row")
    lake.con.register("files", frame)
    lake.con.execute("CREATE OR REPLACE TABLE new_files AS SELECT * FROM files")
    store.commit(lake.con, lambda: store.insert(lake.con, table, "new_files") and None, "test", "files")
    lake.con.execute("DROP TABLE new_files")


def test_a_feed_that_fell_silent_is_told_once(small_lake: Any) -> None:
    daily = [float(n) for n in range(40)]
    seldom = [0, 1, 9, 10, 12, 20, 21, 25, 26, 27.0]  # paused for 8 days before; 13 now
    files(small_lake, {"goes_on": daily, "stopped": daily[:30], "seldom": seldom, "few": [0.0, 1.0, 2.0]})
    assert set(found(small_lake, "feed_silent")) == {"stopped since 2026-03-02 00:00 UTC"}
    files(small_lake, {"goes_on": [40.0, 41.0]})
    assert len(found(small_lake, "feed_silent")) == 1


def readings(
    lake: Any, n: int, step_min: float, hours: int = 48, left_out: tuple[int, int] | None = None
) -> None:
    """Readings of one channel of batch n, without those between two hours."""
    rng = np.random.default_rng(n)
    rows = []
    for k in range(int(hours * 60 / step_min)):
        hour = k * step_min / 60
        if left_out is None or not left_out[0] <= hour < left_out[1]:
            rows.append(
                {"site_id": "a", "batch_id": f"B{n}", "channel": "T", "quantity_name": "temperature_c",
                 "read_at": at(200 * n + hour), "reading": 37 + 0.05 * rng.standard_normal(), "reading_status": "good"}
            )  # fmt: skip
    lake.add("reading", *rows)


@pytest.mark.parametrize(("step_min", "named"), [(10, set()), (12, set()), (60, {"B8|T"}), (5, {"B8|T"})])
def test_a_channel_read_at_another_rate_is_told(small_lake: Any, step_min: float, named: set[str]) -> None:
    for n in range(8):
        # A gap of a day is none of the rate's.
        readings(small_lake, n, 10, left_out=(10, 34) if n == 3 else None)
    readings(small_lake, 8, step_min)
    assert set(found(small_lake, "sampling_rate")) == named


def test_a_step_without_the_usual_readings_is_told(small_lake: Any) -> None:
    for n in range(12):
        small_lake.add(
            "unit_operation",
            {"site_id": "a", "batch_id": f"B{n}", "operation_id": f"U{n}", "unit_procedure": "expansion",
             "operation_started_at": at(200 * n), "operation_ended_at": at(200 * n + 48)},
        )  # fmt: skip
        readings(small_lake, n, 30, left_out={4: (10, 40), 5: (10, 20)}.get(n))
    told = found(small_lake, "sensor_missing")
    assert set(told) == {"U4|T"}
    assert "of the hours of expansion, unlike 11 others" in told["U4|T"]


def test_a_step_whose_readings_may_still_come_is_not_told(small_lake: Any) -> None:
    for n in range(13):
        small_lake.add(
            "unit_operation",
            {"site_id": "a", "batch_id": f"B{n}", "operation_id": f"U{n}", "unit_procedure": "expansion",
             "operation_started_at": at(200 * n), "operation_ended_at": at(200 * n + 48)},
        )  # fmt: skip
        readings(small_lake, n, 60, hours=5 if n == 12 else 60)
    assert found(small_lake, "sensor_missing") == {}
