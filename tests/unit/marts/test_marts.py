"""What each mart says of a small fleet filled in by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.unit.conftest import together
from warehouse.dictionary.render import SQL_TYPES
from warehouse.marts.build import ORDER, build, mart_columns
from warehouse.plan import Fleet

FLEET = Fleet.model_validate(
    {
        "name": "Test",
        "reference_site": "a",
        "plan": {
            "id": "P", "version": "1", "dated": "2025-01-01", "approved_by_role": "quality", "basis": "none",
            "attributes": {
                "cd3": {
                    "title": "CD3", "measured_by": ["cd3_pct"], "sample_point": "release", "scale": "logit",
                    "margin_low": -0.6, "margin_high": 0.6, "criticality": "key", "rationale": "none",
                }
            },
        },
        "deadlines": {"apheresis": {"from": "collection_ended_at", "to": "signed_at", "hours": 230,
                                    "severity": "error", "why": "It ages."}},
    }
)  # fmt: skip
START = datetime(2026, 2, 1, tzinfo=UTC)


def at(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat()


@together
def journey(lake: Any, site: str = "a", n: str = "1", **batch: Any) -> None:
    """An order, a collection and a batch that was harvested."""
    base = {"site_id": site, "order_id": f"O{n}"}
    lake.add(
        "therapy_order",
        base
        | {
            "patient_key": "PAAAAAAAAAAAA",
            "product_id": "X",
            "coi_id": f"COI{n}",
            "ordered_at": at(-100),
            "order_status": "open",
        },
    )
    lake.add(
        "collection",
        base | {"collection_id": f"C{n}", "collection_started_at": at(-10), "collection_ended_at": at(-6)},
    )
    row = {
        "batch_id": f"B{n}",
        "product_id": "X",
        "attempt_no": 1,
        "batch_status": "complete",
        "batch_started_at": at(0),
        "harvested_at": at(200),
    }
    lake.add("batch", base | row | batch)


@together
def sample(lake: Any, point: str, n: str = "1", site: str = "a", hours: float = 200) -> None:
    lake.add(
        "sample",
        {
            "site_id": site,
            "sample_id": f"S{n}{point}",
            "batch_id": f"B{n}",
            "sample_point": point,
            "taken_at": at(hours),
        },
    )


def result(
    lake: Any, point: str, attribute: str, value: float | None, n: str = "1", site: str = "a", **more: Any
) -> None:
    row = {
        "site_id": site,
        "result_id": f"R{n}{point}{attribute}{lake.rows}",
        "sample_id": f"S{n}{point}",
        "batch_id": f"B{n}",
        "attribute": attribute,
    }
    lake.add(
        "assay_result",
        row
        | {
            "value": value,
            "operator": "=" if value is not None else None,
            "replicate": 1,
            "result_at": at(210),
        }
        | more,
    )


def specify(
    lake: Any,
    attribute: str,
    low: float | None,
    high: float | None,
    stage: str = "release",
    version: str = "1",
    begins: float = -5000,
    **more: Any,
) -> None:
    lake.add(
        "specification",
        {
            "site_id": "a",
            "spec_id": "SP",
            "product_id": "X",
            "spec_version": version,
            "effective_from": at(begins),
        },
    )
    limit = {
        "site_id": "a",
        "spec_id": "SP",
        "spec_version": version,
        "attribute": attribute,
        "stage": stage,
        "low": low,
        "high": high,
    }
    lake.add("spec_limit", limit | {"inclusive": True, "blocking": True} | more)


def test_every_mart_has_the_columns_and_types_that_are_declared(small_lake: Any) -> None:
    built = build(small_lake.con, "snap", FLEET, 1)
    declared = {
        *ORDER,
        "plan",
        "comparability",
        "comparability_lots",
        "chart_limit",
        "chart_point",
        "chart_budget",
        "chart_rule",
        "capability",
        "variance_component",
        "trajectory",
        "golden_envelope",
        "trajectory_deviation",
        "trajectory_score",
        "trajectory_model",
        "trajectory_contribution",
        "metabolic_rate",
        "excursion",
        "sensor_fault",
        "sensor_usable",
        "signal",
        "signal_evidence",
        "change",
        "vein_measure",
        "vein_incidence",
        "vein_contrast",
        "order_forecast",
        "audit_trail",
        "comparability_analysis",
        "comparability_look",
        "comparability_range",
        "comparability_influence",
        "comparability_family",
        "comparability_network",
        "censored_fit",
        "failed_lots",
        "study_result",
        "drift",
        "sensor_hour",
    }
    assert set(mart_columns()) == declared
    assert set(built) == {f"mart.{name}" for name in declared}
    for name, mart in mart_columns().items():
        found = small_lake.all(f"DESCRIBE snap.mart.{name}")
        types = [
            (c["column_name"], c["column_type"].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"))
            for c in found
        ]
        assert types == [(f.name, SQL_TYPES[f.type]) for f in mart.fields], name
        assert set(mart.key) <= set(mart.columns)
        commented = small_lake.all(
            f"SELECT comment FROM duckdb_columns() WHERE database_name = 'snap' AND table_name = '{name}'"
        )
        assert all(c["comment"] for c in commented), name


def test_batch_wide_averages_replicates_on_the_attributes_scale(small_lake: Any) -> None:
    journey(small_lake)
    for point in ("harvest", "release"):
        sample(small_lake, point)
    for value in (2.0, 8.0):
        result(small_lake, "release", "vcn_per_cell", value)
    for value in (50.0, 90.0):
        result(small_lake, "release", "car_pos_pct", value)
    result(small_lake, "harvest", "car_pos_pct", 10.0)
    result(small_lake, "harvest", "fold_expansion", 33.3)
    build(small_lake.con, "snap", FLEET, 1)
    row = small_lake.one("SELECT * FROM snap.mart.batch_wide")
    assert row["vcn_per_cell"] == pytest.approx(4.0)
    odds = sqrt(50 / 50 * 90 / 10)
    assert row["car_pos_pct"] == pytest.approx(100 * odds / (1 + odds))
    assert row["fold_expansion"] == 33.3
    assert row["n_results"] == 5
    assert row["culture_days"] == pytest.approx(200 / 24)


def test_batch_wide_never_shows_a_limit_of_detection_as_measured(small_lake: Any) -> None:
    journey(small_lake)
    sample(small_lake, "release")
    result(small_lake, "release", "endotoxin_eu_ml", 0.05, operator="<")
    result(small_lake, "release", "endotoxin_eu_ml", 0.07)
    result(small_lake, "release", "ifn_gamma_pg_ml", 5000.0, operator=">")
    result(small_lake, "release", "sterility", None, result_code="negative")
    sample(small_lake, "post_release")
    result(small_lake, "post_release", "sterility", None, result_code="positive")
    build(small_lake.con, "snap", FLEET, 1)
    row = small_lake.one("SELECT * FROM snap.mart.batch_wide")
    assert (row["endotoxin_eu_ml"], row["endotoxin_eu_ml_operator"]) == (0.07, "<")
    assert row["ifn_gamma_pg_ml"] is None
    assert row["sterility"] == "positive"


def test_inputs_hash_moves_with_a_result_and_only_then(small_lake: Any) -> None:
    journey(small_lake)
    sample(small_lake, "release")
    result(small_lake, "release", "vcn_per_cell", 2.0)
    hashes = []
    for _ in range(2):
        build(small_lake.con, "snap", FLEET, 1)
        hashes.append(small_lake.one("SELECT inputs_hash FROM snap.mart.batch_wide")["inputs_hash"])
    result(small_lake, "release", "cd3_pct", 95.0)
    build(small_lake.con, "snap", FLEET, 1)
    hashes.append(small_lake.one("SELECT inputs_hash FROM snap.mart.batch_wide")["inputs_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_result_passes_only_where_that_can_be_told(small_lake: Any) -> None:
    cases: list[tuple[str, float, str, float | None, float | None, bool, bool | None]] = [
        ("car_pos_pct", 80.0, "=", 80.0, None, True, True),
        ("cd3_pct", 80.0, "=", 80.0, None, False, False),
        ("viability_flow_pct", 79.9, "=", 80.0, None, True, False),
        ("endotoxin_eu_ml", 0.05, "<", None, 5.0, True, True),
        ("residual_beads_per_3e6", 6.0, "<", None, 5.0, True, None),
        ("vcn_per_cell", 5.0, ">", None, 5.0, True, False),
        ("ifn_gamma_pg_ml", 5.0, ">", 4.0, None, True, True),
        ("fold_expansion", 0.5, "<", 0.5, None, True, False),
        ("killing_pct", 60.0, "=", 50.0, 70.0, True, True),
    ]
    journey(small_lake)
    sample(small_lake, "release")
    small_lake.add(
        "specification",
        {"site_id": "a", "spec_id": "SP", "product_id": "X", "spec_version": "1", "effective_from": at(-9)},
    )
    for attribute, value, operator, low, high, inclusive, _ in cases:
        limit = {
            "site_id": "a",
            "spec_id": "SP",
            "spec_version": "1",
            "attribute": attribute,
            "stage": "release",
        }
        small_lake.add(
            "spec_limit", limit | {"low": low, "high": high, "inclusive": inclusive, "blocking": True}
        )
        result(small_lake, "release", attribute, value, operator=operator)
    result(small_lake, "release", "cd4_cd8_ratio", 1.0)
    build(small_lake.con, "snap", FLEET, 1)
    found = {r["attribute"]: r["passes"] for r in small_lake.all("SELECT * FROM snap.mart.assay_long")}
    assert found == {case[0]: case[-1] for case in cases} | {"cd4_cd8_ratio": None}


def test_the_limit_is_that_of_the_version_in_force(small_lake: Any) -> None:
    journey(small_lake)
    sample(small_lake, "release")
    specify(small_lake, "car_pos_pct", 10.0, None, version="1")
    specify(small_lake, "car_pos_pct", 20.0, None, version="2", begins=100)
    specify(small_lake, "car_pos_pct", 30.0, None, version="3", begins=9000)
    result(small_lake, "release", "car_pos_pct", 15.0)
    build(small_lake.con, "snap", FLEET, 1)
    row = small_lake.one("SELECT * FROM snap.mart.assay_long")
    assert (row["spec_version"], row["low"], row["passes"]) == ("2", 20.0, False)


def test_vein_to_vein_counts_hours_between_milestones(small_lake: Any) -> None:
    journey(small_lake)
    small_lake.add(
        "unit_operation",
        {
            "site_id": "a",
            "operation_id": "U1",
            "batch_id": "B1",
            "unit_procedure": "receipt",
            "operation_started_at": at(-2),
        },
    )
    small_lake.add(
        "release_decision",
        {
            "site_id": "a",
            "release_id": "Q1",
            "batch_id": "B1",
            "decision": "conditional",
            "signed_at": at(230),
        },
    )
    small_lake.add(
        "infusion",
        {"site_id": "a", "infusion_id": "I1", "order_id": "O1", "batch_id": "B1", "infused_at": at(250)},
    )
    journey(small_lake, n="2", batch_status="terminated", harvested_at=None)
    build(small_lake.con, "snap", FLEET, 1)
    row = small_lake.one("SELECT * FROM snap.mart.vein_to_vein WHERE order_id = 'O1'")
    assert row["order_to_collection_h"] == 94
    assert row["collection_to_receipt_h"] == 4
    assert row["receipt_to_start_h"] == 2
    assert row["start_to_harvest_h"] == 200
    assert row["harvest_to_release_h"] == 30
    assert row["release_to_infusion_h"] == 20
    assert row["vein_to_vein_h"] == 256
    assert row["status"] == "infused"
    assert (
        small_lake.one("SELECT status FROM snap.mart.vein_to_vein WHERE order_id = 'O2'")["status"]
        == "failed"
    )


def test_genealogy_joins_what_a_batch_is_made_of_and_where_it_went(small_lake: Any) -> None:
    journey(small_lake)
    small_lake.add(
        "lot_use", *({"site_id": "a", "batch_id": "B1", "lot_id": "L1", "phase": p} for p in ("one", "two"))
    )
    small_lake.add(
        "infusion",
        {"site_id": "a", "infusion_id": "I1", "order_id": "O1", "batch_id": "B1", "infused_at": at(250)},
    )
    build(small_lake.con, "snap", FLEET, 1)
    links = small_lake.all("SELECT parent_id, child_id, genealogy_kind FROM snap.mart.genealogy ORDER BY ALL")
    assert [tuple(r.values()) for r in links] == [
        ("B1", "I1", "batch_to_infusion"), ("C1", "B1", "collection_to_batch"), ("L1", "B1", "lot_to_batch"),
        ("O1", "C1", "order_to_collection"),
    ]  # fmt: skip


def test_a_second_attempt_comes_from_the_collection_before_it(small_lake: Any) -> None:
    journey(small_lake)
    again = {"site_id": "a", "order_id": "O1"}
    small_lake.add(
        "collection",
        again | {"collection_id": "C2", "collection_started_at": at(400), "collection_ended_at": at(404)},
    )
    small_lake.add(
        "batch",
        again
        | {"batch_id": "B1-2", "attempt_no": 2, "batch_started_at": at(410), "batch_status": "in_process"},
    )
    build(small_lake.con, "snap", FLEET, 1)
    rows = small_lake.all("SELECT batch_id, collection_id FROM snap.mart.batch_wide ORDER BY batch_id")
    assert [r["collection_id"] for r in rows] == ["C1", "C2"]


def test_exceptions_name_what_holds_a_batch_and_who_is_asked(small_lake: Any) -> None:
    journey(small_lake)
    sample(small_lake, "release")
    specify(small_lake, "car_pos_pct", 10.0, None)
    specify(small_lake, "cd3_pct", 80.0, None)
    result(small_lake, "release", "car_pos_pct", 5.0)
    small_lake.add(
        "deviation",
        {
            "site_id": "a",
            "deviation_id": "D1",
            "batch_id": "B1",
            "deviation_class": "minor",
            "opened_at": at(180),
        },
    )
    small_lake.add(
        "deviation",
        {
            "site_id": "a",
            "deviation_id": "D2",
            "batch_id": "B1",
            "deviation_class": "major",
            "opened_at": at(180),
            "closed_at": at(212),
        },
    )
    build(small_lake.con, "snap", FLEET, 1)
    status = small_lake.one("SELECT * FROM snap.mart.batch_status")
    assert (status["state"], status["pending_attributes"], status["failed_attributes"]) == (
        "blocked",
        "cd3_pct",
        "car_pos_pct",
    )
    assert status["state_age_h"] == 12
    rows = {r["exception_kind"]: r for r in small_lake.all("SELECT * FROM snap.mart.exceptions")}
    assert set(rows) == {"blocked", "pending_result", "open_deviation"}
    assert rows["pending_result"]["owner_role"] == "quality control"
    assert (rows["open_deviation"]["age_h"], rows["open_deviation"]["as_of"]) == (
        32,
        START + timedelta(hours=212),
    )


def test_a_batch_is_slow_by_its_sites_own_past_and_late_by_a_deadline(small_lake: Any) -> None:
    for i in range(9):
        journey(small_lake, n=str(i), harvested_at=at(190 + i), disposition="rejected")
    journey(small_lake, n="slow", harvested_at=None, batch_status="in_process", batch_started_at=at(-5))
    journey(small_lake, n="young", harvested_at=None, batch_status="in_process", batch_started_at=at(150))
    build(small_lake.con, "snap", FLEET, 1)
    found = small_lake.all("SELECT * FROM snap.mart.batch_status WHERE state = 'in_process'")
    assert {r["batch_id"]: r["slow"] for r in found} == {"Bslow": True, "Byoung": False}
    assert not any(r["late"] for r in found)
    small_lake.add(
        "sample",
        {
            "site_id": "a",
            "sample_id": "S",
            "batch_id": "Byoung",
            "sample_point": "ipc_day_5",
            "taken_at": at(226),
        },
    )
    build(small_lake.con, "snap", FLEET, 1)
    late = small_lake.all(
        "SELECT * FROM snap.mart.exceptions WHERE exception_kind = 'late' ORDER BY batch_id"
    )
    assert [(r["batch_id"], r["subject"], r["severity"], r["age_h"]) for r in late] == [
        ("Bslow", "apheresis", "error", 2), ("Byoung", "apheresis", "error", 2),
    ]  # fmt: skip


def test_sensor_hours_count_all_readings_and_average_the_good(small_lake: Any) -> None:
    readings = [(0.0, 36.0, "good"), (0.25, 38.0, "good"), (0.5, 99.0, "bad"), (1.5, 37.0, "good")]
    small_lake.add("reading", *(
        {"site_id": "a", "batch_id": "B1", "channel": "T", "quantity_name": "temperature_c", "read_at": at(h),
         "reading": v, "reading_status": s}
        for h, v, s in readings
    ))  # fmt: skip
    build(small_lake.con, "snap", FLEET, 1)
    first, second = small_lake.all("SELECT * FROM snap.mart.sensor_hour ORDER BY hour_at")
    assert (first["n_readings"], first["minimum"], first["mean"], first["maximum"]) == (3, 36.0, 37.0, 38.0)
    assert first["share_good"] == pytest.approx(2 / 3)
    assert (second["n_readings"], second["mean"]) == (1, 37.0)


def test_faults_of_a_sensor_are_stretches_and_leave_a_share_of_usable_time(small_lake: Any) -> None:
    rng = np.random.default_rng(7)
    minutes = [float(m) for m in range(0, 24 * 60, 5)]
    value = {m: 37 + rng.normal(0, 0.05) for m in minutes}
    status = dict.fromkeys(minutes, "good")
    for m in minutes:
        if 120 < m < 180:
            del value[m]
        elif 300 <= m < 330:
            status[m] = "bad"
    value[600.0] += 8
    # From 15 to 16 h a reading a minute.
    value |= {900.0 + m: 37 + rng.normal(0, 0.05) for m in range(1, 60)}
    order = sorted(value)
    late = order.index(1200.0)
    order[late : late + 2] = [order[late + 1], order[late]]
    small_lake.add("reading", *(
        {"site_id": "a", "batch_id": "B1", "channel": "T", "quantity_name": "temperature_c", "read_at": at(m / 60),
         "reading": value[m], "reading_status": status.get(m, "good")}
        for m in order
    ))  # fmt: skip
    small_lake.add("unit_operation", *(
        {"site_id": "a", "batch_id": "B1", "operation_id": n, "unit_procedure": "expansion",
         "operation_started_at": at(f), "operation_ended_at": at(t)}
        for n, f, t in (("early", 0, 12), ("late", 12, 25))
    ))  # fmt: skip
    build(small_lake.con, "snap", FLEET, 1)
    told = small_lake.all(
        "SELECT *, epoch(started_at - ?::TIMESTAMPTZ) / 60 AS m FROM snap.mart.sensor_fault", [at(0)]
    )
    assert {(r["fault"], r["m"], round(r["duration_h"] * 60, 6), r["n_readings"]) for r in told} == {
        ("gap", 120, 60, 0), ("bad_quality", 300, 30, 6), ("spike", 600, 5, 1), ("wrong_rate", 900, 60, 60),
        ("clock_jump", 1200, 5, 1),
    }  # fmt: skip
    usable = {r["operation_id"]: r for r in small_lake.all("SELECT * FROM snap.mart.sensor_usable")}
    assert usable["early"]["share_usable"] == pytest.approx(1 - 95 / 720)
    assert usable["early"]["faults"] == "bad_quality, gap, spike"
    # An hour at a wrong rate, five minutes told twice over, the last hour not recorded.
    assert usable["late"]["lost_h"] == pytest.approx(1 + 5 / 60 + 1)


def test_feed_status_is_the_newest_accounting(small_lake: Any) -> None:
    counts = {
        "received": 5,
        "promoted": 3,
        "superseded": 0,
        "duplicate": 0,
        "quarantined": 2,
        "fields_quarantined": 1,
        "findings": 0,
    }
    feed = {"site_id": "a", "feed": "assay"}
    small_lake.add("accounting", feed | counts | {"run_id": "1", "recorded_at": at(0)})
    small_lake.add(
        "accounting", feed | counts | {"run_id": "2", "recorded_at": at(1), "promoted": 5, "quarantined": 0}
    )
    small_lake.add(
        "file",
        feed | {"bytes": 1, "sent_at": at(-3), "format": "delimited", "received": 5, "file_state": "read"},
    )
    # Two entries once; one of them was closed since.
    refused = feed | {"reason_code": "not_a_number", "field_name": "value", "whole_record": False}
    for record in ("r1", "r2"):
        small_lake.add("quarantine", refused | {"record_id": record, "recorded_at": at(0)})
    small_lake.add(
        "resolution",
        feed
        | {
            "reason_code": "not_a_number",
            "field_name": "value",
            "record_id": "r2",
            "quarantined_at": at(0),
            "recorded_at": at(1),
        },
    )
    build(small_lake.con, "snap", FLEET, 1)
    row = small_lake.one("SELECT * FROM snap.mart.feed_status")
    assert (row["promoted"], row["quarantine_open"], row["files"]) == (5, 1, 1)
    assert row["last_file_at"] == START - timedelta(hours=3)


def test_failed_lots_and_deviations_are_held_against_the_references(small_lake: Any) -> None:
    for site, n in (("a", 10), ("b", 8)):
        small_lake.add("batch", *(
            {"site_id": site, "batch_id": f"{site}{i}", "order_id": f"{site}O{i}", "batch_started_at": at(24 * i),
             "batch_status": "terminated" if i == 0 else "complete"}
            for i in range(n)
        ))  # fmt: skip
    deviations = [("a", 1), ("a", 2), *(("b", i) for i in (1, 1, 2, 3, 4, 4))]
    small_lake.add("deviation", *(
        {"site_id": s, "deviation_id": f"D{k}", "batch_id": f"{s}{i}", "deviation_class": "minor", "opened_at": at(k)}
        for k, (s, i) in enumerate(deviations)
    ))  # fmt: skip
    build(small_lake.con, "snap", FLEET, 1)
    home, away = small_lake.all("SELECT * FROM snap.mart.failed_lots ORDER BY site")
    assert (home["n"], home["n_failed"], home["n_deviations"], home["rate_ratio"]) == (10, 1, 2, None)
    assert (away["n"], away["n_failed"], away["n_deviations"]) == (8, 1, 6)
    assert away["rate_ratio"] == (6 / 8) / (2 / 10)
    # Clopper-Pearson of 6 of 8 deviations, at odds of 8 to 10 lots.
    low = stats.beta.ppf(0.05, 6, 3)
    assert away["rate_low"] == pytest.approx(low / (1 - low) * 10 / 8)
    assert away["difference"] == pytest.approx(1 / 8 - 1 / 10)
    assert away["low"] < away["difference"] < away["high"]
