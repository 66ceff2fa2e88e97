"""Scoring: a perfect, a silent and a noisy detector, told through the published tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.simulator.score import score

Named = tuple[str, str, str, str | None]  # site, reason, subject, file
REASON = {
    "unit_swap": "unit_implausible", "duplicate_custody_event": "duplicate_event", "clock_skew": "time_order",
    "dst": "nonexistent_local_time", "decimal_comma": "number_format", "sensor_flat_line": "sensor_flat_line",
    "sensor_drift": "sensor_drift", "swapped_sample": "identity_conflict",
    "result_edited_after_release": "edited_after_release", "missing_lot": "lot_unknown",
    "spec_not_effective": "spec_not_effective", "lod_as_zero": "zero_below_detection",
    "late_file": "late_file",
    "resent_changed_row": "changed_without_notice", "retired_code": "code_retired",
    "renamed_column": "column_missing", "phi_in_free_text": "identifier_in_free_text",
    "ledger_fork": "chain_fork", "custody_break": "custody_break", "custody_swap": "swap_suspicion",
    "custody_overlap": "custody_overlap", "missing_hand_over": "missing_hand_over",
    "impossible_order": "impossible_order", "temperature_excursion": "excursion",
    "time_out_of_control": "time_out_of_control",
}  # fmt: skip


def snapshot(found: Iterable[Named], truth: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """A database with the published tables' columns, holding what a detector named."""
    con = duckdb.connect()
    con.execute("CREATE SCHEMA quality")
    con.execute("CREATE SCHEMA mart")
    con.execute("CREATE TABLE quality.accounting (site_id TEXT, feed TEXT, received BIGINT)")
    for table in ("quarantine", "finding"):
        con.execute(
            f"CREATE TABLE quality.{table} (site_id TEXT, feed TEXT, reason_code TEXT, subject TEXT,"
            " source_file TEXT, source_row BIGINT)"
        )
    con.execute(
        "CREATE TABLE mart.comparability"
        " (attribute TEXT, site TEXT, verdict TEXT, reason TEXT, estimate DOUBLE,"
        " ci_low DOUBLE, ci_high DOUBLE)"
    )
    con.execute(
        "CREATE TABLE mart.excursion (site_id TEXT, batch_id TEXT, quantity_name TEXT, side TEXT,"
        " started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ)"
    )
    con.execute(
        "CREATE TABLE mart.chart_point (site TEXT, attribute TEXT, measured_as TEXT, phase BIGINT, version BIGINT,"
        " chart TEXT, batch_id TEXT, batch_started_at TIMESTAMPTZ, side BIGINT, outside BOOLEAN, in_baseline BOOLEAN)"
    )
    con.execute(
        "CREATE TABLE mart.chart_limit (site TEXT, attribute TEXT, measured_as TEXT, phase BIGINT, version BIGINT,"
        " in_force BOOLEAN, state TEXT)"
    )
    con.execute("CREATE TABLE mart.chart_budget (chart TEXT, rings BOOLEAN)")
    for site, feeds in truth["received"].items():
        for feed, n in feeds.items():
            con.execute("INSERT INTO quality.accounting VALUES (?, ?, ?)", [site, feed, n])
    for n, (site, reason, subject, file) in enumerate(found):
        table = "quarantine" if n % 2 else "finding"
        con.execute(
            f"INSERT INTO quality.{table} VALUES (?, 'x', ?, ?, ?, ?)", [site, reason, subject, file, n]
        )
    con.execute(
        "INSERT INTO mart.comparability VALUES"
        " ('car_pos_pct', 'meridian', 'not comparable', NULL, -0.6, -0.8, -0.5),"
        " ('total_viable_car_pos_cells', 'meridian', 'comparable', NULL, 0, -0.1, 0.1)"
    )
    return con


def test_perfect_detector(fleet: Path, truth: dict[str, Any]) -> None:
    found = [(d["site"], REASON[d["class"]], d["subject"], d["file"]) for d in truth["defects"]]
    told = score(fleet, snapshot(found + found, truth))
    for kind, entry in told["defects"].items():
        assert entry["planted"] == entry["found"] > 0, kind
        assert entry["false"] == 0
        assert entry["recall"] == entry["precision"] == 1.0
    for feeds in told["received"].values():
        assert all(f["written"] == f["received"] for f in feeds.values())


def test_silent_detector_has_no_precision(fleet: Path, truth: dict[str, Any]) -> None:
    told = score(fleet, snapshot([], truth))
    for entry in told["defects"].values():
        assert entry["recall"] == 0.0
        assert entry["precision"] is None


def test_false_alarms_count_once_and_natural_ones_do_not(fleet: Path, truth: dict[str, Any]) -> None:
    natural = next(n for n in truth["natural"] if n["class"] == "clock_skew")
    found = [
        ("rhein", "time_order", "RH-S-999999", "a.csv"),
        ("rhein", "time_order", "RH-S-999999", "b.csv"),
        (natural["site"], "time_order", natural["subject"], None),
        ("rhein", "some_other_reason", "RH-S-000001", None),
    ]
    told = score(fleet, snapshot(found, truth))
    entry = told["defects"]["clock_skew"]
    assert (entry["found"], entry["false"], entry["precision"]) == (0, 1, 0.0)
    assert told["other"] == {"some_other_reason": 1}


def test_a_file_is_found_once_whatever_row_is_named(fleet: Path, truth: dict[str, Any]) -> None:
    renamed = next(d for d in truth["defects"] if d["class"] == "renamed_column")
    found = [
        (renamed["site"], "column_missing", f"row {n}", f"some/folder/{renamed['file']}") for n in range(9)
    ]
    entry = score(fleet, snapshot(found, truth))["defects"]["renamed_column"]
    assert (entry["found"], entry["false"]) == (1, 0)


def test_recall_by_magnitude(fleet: Path, truth: dict[str, Any]) -> None:
    large = max((d for d in truth["defects"] if d["class"] == "clock_skew"), key=lambda d: d["magnitude"])
    told = score(fleet, snapshot([(large["site"], "time_order", large["subject"], None)], truth))
    bins = told["defects"]["clock_skew"]["by_magnitude"]
    assert [b["planted"] for b in bins] == [1, 1]
    assert [b["recall"] for b in bins] == [0.0, 1.0]
    assert told["defects"]["decimal_comma"]["by_magnitude"] is None


def test_verdicts_against_labels(fleet: Path, truth: dict[str, Any]) -> None:
    told = score(fleet, snapshot([], truth))["verdicts"]
    assert told["confusion"]["not comparable"] == {"not comparable": 1, "no verdict": 2}
    assert told["confusion"]["comparable"]["comparable"] == 1
    row = next(r for r in told["rows"] if r["site"] == "meridian" and r["attribute"] == "car_pct")
    assert row["verdict"] == "not comparable"
    assert row["estimate"] == pytest.approx(-0.6)


def test_excursions_by_batch_quantity_side_and_time(fleet: Path, truth: dict[str, Any]) -> None:
    con = snapshot([], truth)
    told = score(fleet, con)["watch"]["excursions"]
    assert (told["planted"], told["found"], told["precision"]) == (4, 0, None)
    names = {"temp": "temperature_c", "ph": "ph"}
    for e in truth["excursions"]:
        row = [e["site"], e["batch"], names[e["quantity"]], e["side"], e["from"], e["until"]]
        con.execute("INSERT INTO mart.excursion VALUES (?, ?, ?, ?, ?, ?)", row)
    other = {"above": "below", "below": "above"}[e["side"]]
    con.execute("INSERT INTO mart.excursion VALUES (?, ?, ?, ?, ?, ?)", [*row[:3], other, *row[4:]])
    told = score(fleet, con)["watch"]["excursions"]
    assert (told["found"], told["false"], told["recall"], told["precision"]) == (4, 1, 1.0, 0.8)


def test_a_drift_is_found_by_the_first_ring_of_an_approved_chart_on_its_side(
    fleet: Path, truth: dict[str, Any]
) -> None:
    con = snapshot([], truth)
    (drift,) = truth["drifts"]
    assert not score(fleet, con)["watch"]["drifts"][0]["watched"]
    begins = datetime.fromisoformat(drift["from"])
    con.execute(
        "INSERT INTO mart.chart_limit VALUES (?, 'vcn', 'x', 1, 1, true, 'approved')", [drift["site"]]
    )
    con.execute("INSERT INTO mart.chart_budget VALUES ('I', true)")
    for i, (side, outside) in enumerate(((0, False), (-1, True), (1, True))):
        con.execute(
            "INSERT INTO mart.chart_point VALUES (?, 'vcn', 'x', 1, 1, 'I', ?, ?, ?, ?, false)",
            [drift["site"], f"B{i}", begins + timedelta(days=i), side, outside],
        )
    (told,) = score(fleet, con)["watch"]["drifts"]
    assert (told["watched"], told["found"], told["batches"], told["days"]) == (True, True, 3, 2.0)
