"""The audit trail names each changed field once, with who, when, old, new and why."""

from __future__ import annotations

from typing import Any

from warehouse.marts import audit_trail

FIRST, LATER = "2026-02-01T00:00:00+00:00", "2026-02-03T00:00:00+00:00"


def result(stamp: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "site_id": "a", "result_id": "R1", "sample_id": "S1", "attribute": "cd3_pct", "value": value,
        "operator": "=", "source_version": stamp, **more,
    }  # fmt: skip


def trail(lake: Any) -> list[dict[str, Any]]:
    lake.con.execute("CREATE SCHEMA IF NOT EXISTS snap.mart")
    audit_trail.build(lake.con, "snap")
    found: list[dict[str, Any]] = lake.all("SELECT * FROM snap.mart.audit_trail")
    return found


def test_a_changed_value_is_told_with_who_when_old_new_and_why(small_lake: Any) -> None:
    small_lake.add("assay_result", result(FIRST, 91.0), result(FIRST, 80.0, result_id="R2"))
    assert trail(small_lake) == []
    small_lake.add("assay_result", result(LATER, 88.5, analyst_role="analyst", reason="typing error"))
    told = {row["field_name"]: row for row in trail(small_lake)}
    assert set(told) == {"value", "analyst_role"}
    value = told["value"]
    assert (value["subject"], value["old_value"], value["new_value"]) == ("R1", "91.0", "88.5")
    assert (value["changed_by"], value["why"]) == ("analyst", "typing error")
    assert value["changed_at"].isoformat().startswith("2026-02-03")
    assert value["supersedes"] == "r000001"
    assert told["analyst_role"]["old_value"] is None


def test_the_order_is_the_sources_own_however_late_a_version_comes(small_lake: Any) -> None:
    small_lake.add("assay_result", result(LATER, 88.5))
    small_lake.add("assay_result", result(FIRST, 91.0))
    row = (
        small_lake.one("SELECT old_value, new_value FROM (FROM snap.mart.audit_trail)")
        if trail(small_lake)
        else {}
    )
    assert row == {"old_value": "91.0", "new_value": "88.5"}


def test_a_version_that_says_the_same_is_no_change(small_lake: Any) -> None:
    small_lake.add("assay_result", result(FIRST, 91.0), result(LATER, 91.0))
    assert trail(small_lake) == []


def test_what_a_contract_changed_is_told_apart_from_what_the_source_did(small_lake: Any) -> None:
    """Two versions, both read again as ten times as much, then a third from the source."""
    early, late = "2026-06-02T00:00:00+00:00", "2026-06-03T00:00:00+00:00"
    first = {"record_id": "r1", **result(FIRST, 9.1)}
    second = {"record_id": "r2", **result(LATER, 8.8)}
    small_lake.add("assay_result", first, second)
    again = {"recorded_at": early, "reason": "contract vabc", "recorded_by": "cellfleet"}
    small_lake.add("assay_result", {**first, "value": 91.0, **again}, {**second, "value": 88.0, **again})
    third = {"record_id": "r3", "recorded_at": late, **result("2026-02-05T00:00:00+00:00", 87.0)}
    small_lake.add("assay_result", third)
    told = [(r["old_value"], r["new_value"], r["why"]) for r in trail(small_lake)]
    assert sorted(told) == [
        ("8.8", "88.0", "contract vabc"),
        ("88.0", "87.0", "newer version from the source"),
        ("9.1", "8.8", "newer version from the source"),
        ("9.1", "91.0", "contract vabc"),
    ]
