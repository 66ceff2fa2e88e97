"""Control charts of a small fleet filled in by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.conftest import together
from tests.unit.marts.test_marts import FLEET, at
from warehouse import acts
from warehouse.marts.build import assembled, build
from warehouse.marts.charts import read_series, to_freeze
from warehouse.plan import Charts

DECLARED = Charts(dated="2025-10-01", approved_by_role="quality", baseline_batches=8, false_alarms_per_year=2)
CHARTED = FLEET.model_copy(update={"charts": DECLARED})
POINTS = "SELECT * FROM snap.mart.chart_point WHERE chart = '{chart}' ORDER BY batch_started_at"
VALUES = [90.0, 91.0, 89.5, 90.5, 91.5, 90.0, 89.0, 90.8, 90.2, 40.0]


def freeze(con: Any, role: str, *, again: bool = False) -> None:
    with assembled(con, CHARTED) as target:
        series = read_series(con, target, CHARTED)
        new = to_freeze(series, CHARTED, acts.of(con, "chart_act"), again=again)
    acts.add(con, "chart_act", [a | {"acted_by_role": role, "run_id": "test"} for a in new], "freeze")


def approve(con: Any, role: str) -> None:
    told = acts.of(con, "chart_act")
    new = [a | {"act": "approved", "acted_by_role": role} for a in told if a["act"] == "frozen"]
    acts.add(con, "chart_act", new, "approve")


@together
def batches(lake: Any, values: list[float], protocol: str, first: int = 0) -> None:
    """One batch a value; the later started ones are entered first."""
    late = list(reversed(list(enumerate(values, first))))
    lake.add("batch", *(
        {"site_id": "a", "batch_id": f"B{i:02d}", "order_id": f"O{i}", "batch_started_at": at(24 * i),
         "protocol_version": protocol, "product_id": "X"}
        for i, _ in late
    ))  # fmt: skip
    lake.add("sample", *(
        {"site_id": "a", "sample_id": f"S{i}", "batch_id": f"B{i:02d}", "sample_point": "release",
         "taken_at": at(24 * i + 200)}
        for i, _ in late
    ))  # fmt: skip
    lake.add("assay_result", *(
        {"site_id": "a", "result_id": f"R{i}", "sample_id": f"S{i}", "batch_id": f"B{i:02d}", "attribute": "cd3_pct",
         "value": value, "operator": "=", "replicate": 1, "result_at": at(24 * i + 210)}
        for i, value in late
    ))  # fmt: skip


def test_limits_rest_on_the_declared_baseline_and_find_the_batch_that_left(small_lake: Any) -> None:
    batches(small_lake, VALUES, "P-1")
    batches(small_lake, [90.0, 91.0, 90.5], "P-2", first=10)
    build(small_lake.con, "snap", CHARTED, 1)
    first, second = small_lake.all(
        "SELECT * FROM snap.mart.chart_limit WHERE kind = 'measured' ORDER BY phase"
    )
    logits = np.log(np.array(VALUES) / (100 - np.array(VALUES)))
    assert first["centre"] == pytest.approx(logits[:8].mean())
    assert first["sigma"] == pytest.approx(np.abs(np.diff(logits[:8])).mean() / 1.1283791670955126)
    assert (first["n_baseline"], first["declared_by_role"], first["refusal"]) == (8, "quality", None)
    assert (first["version"], first["state"], first["in_force"]) == (0, "provisional", True)
    assert second["centre"] is None
    assert "3 batches" in second["refusal"]
    points = small_lake.all(POINTS.format(chart="I"))
    assert [p["batch_id"] for p in points] == [f"B{i:02d}" for i in range(13)]
    assert [p["batch_id"] for p in points if p["outside"]] == ["B09"]
    assert (points[9]["side"], points[9]["nelson_rules"].split(",")[0]) == (-1, "1")
    assert points[9]["western_electric_rules"].split(",")[0] == "1"
    assert [p["in_baseline"] for p in points[:10]] == [True] * 8 + [False] * 2
    assert [p["outside"] for p in points[10:]] == [None] * 3
    for chart in ("EWMA", "CUSUM-"):
        assert [p["batch_id"] for p in small_lake.all(POINTS.format(chart=chart)) if p["outside"]] == ["B09"]
    (mean,) = small_lake.all(POINTS.format(chart="Xbar"))[1:]
    assert (mean["batch_id"], mean["n_batches"]) == ("B09", 5)
    assert mean["value"] == pytest.approx(logits[5:10].mean())


def test_frozen_limits_stay_when_batches_arrive_and_both_versions_are_kept(small_lake: Any) -> None:
    batches(small_lake, VALUES[:8], "P-1")
    con = small_lake.con
    freeze(con, role="engineer")
    batches(small_lake, [95.0], "P-1", first=-1)  # arrives late, started before all others
    build(con, "snap", CHARTED, 1)
    limit = small_lake.one("SELECT * FROM snap.mart.chart_limit WHERE kind = 'measured'")
    logits = np.log(np.array(VALUES[:8]) / (100 - np.array(VALUES[:8])))
    assert limit["centre"] == pytest.approx(logits.mean())
    assert (limit["version"], limit["state"], limit["frozen_by_role"]) == (1, "frozen", "engineer")
    points = small_lake.all(POINTS.format(chart="I"))
    assert [(p["batch_id"], p["in_baseline"]) for p in points[:2]] == [("B-1", False), ("B00", True)]
    approve(con, "quality")
    freeze(con, role="engineer", again=True)
    build(con, "snap", CHARTED, 2)
    old, new = small_lake.all("SELECT * FROM snap.mart.chart_limit WHERE kind = 'measured' ORDER BY version")
    assert (old["state"], old["in_force"], old["approved_by_role"]) == ("approved", True, "quality")
    assert (new["state"], new["in_force"]) == ("frozen", False)
    assert new["centre"] != old["centre"]


def test_the_fleet_s_false_alarms_keep_the_declared_budget(small_lake: Any) -> None:
    batches(small_lake, VALUES[:8], "P-1")
    freeze(small_lake.con, role="engineer")
    approve(small_lake.con, "quality")
    build(small_lake.con, "snap", CHARTED, 1)
    budget = small_lake.all("SELECT * FROM snap.mart.chart_budget WHERE rings")
    assert {row["chart"] for row in budget} == {"I", "EWMA"}
    (total,) = {row["fleet_false_alarms_per_year"] for row in budget}
    assert total == pytest.approx(CHARTED.charts.false_alarms_per_year, rel=0.02)
    rules = small_lake.all("SELECT * FROM snap.mart.chart_rule WHERE rule = 0 AND shift = 0")
    assert {r["family"]: r["arl"] for r in rules}["western electric"] == pytest.approx(91.75, rel=0.08)


def test_what_the_patient_brings_is_taken_out_where_the_fleet_declares_it(small_lake: Any) -> None:
    rng = np.random.default_rng(4)
    lines = [1.0, 2, 3, 4, 1, 2, 3, 4, 5, 1, 5, 3]
    values = [50.0 + 8 * x + e for x, e in zip(lines, rng.normal(0, 0.5, len(lines)), strict=True)]
    batches(small_lake, values, "P-1")
    small_lake.add("patient", *(
        {"site_id": "a", "patient_key": f"K{i}", "prior_lines": int(told)} for i, told in enumerate(lines)
    ))  # fmt: skip
    small_lake.add("therapy_order", *(
        {"site_id": "a", "order_id": f"O{i}", "patient_key": f"K{i}"} for i in range(len(lines))
    ))  # fmt: skip
    adjusted = DECLARED.model_copy(update={"adjusted": {"cd3": ("prior_lines",)}})
    build(small_lake.con, "snap", FLEET.model_copy(update={"charts": adjusted}), 1)
    limit = small_lake.one("SELECT * FROM snap.mart.chart_limit WHERE kind = 'measured'")
    assert limit["covariates"] == "prior_lines"
    assert limit["explained"] > 0.9
    plain = np.log(np.array(values) / (100 - np.array(values)))
    shown = [p["value"] for p in small_lake.all(POINTS.format(chart="I"))]
    assert np.std(shown) < 0.3 * np.std(plain)


def test_failures_and_deviations_are_charted_by_subgroups(small_lake: Any) -> None:
    batches(small_lake, [90.0] * 16, "P-1")
    failed = {3, 9, 12, 13, 14}
    small_lake.add("batch", *(
        {"site_id": "a", "batch_id": f"B{i:02d}", "order_id": f"O{i}", "batch_started_at": at(24 * i),
         "protocol_version": "P-1", "product_id": "X", "sent_at": "2026-07-01T00:00:00+00:00",
         "batch_status": "terminated" if i in failed else "complete", "disposition": "released"}
        for i in range(16)
    ))  # fmt: skip
    build(small_lake.con, "snap", CHARTED, 1)
    points = small_lake.all(POINTS.format(chart="p"))
    assert [(p["batch_id"], p["value"]) for p in points] == [("B04", 0.2), ("B09", 0.2), ("B14", 0.6)]
    limit = small_lake.one("SELECT * FROM snap.mart.chart_limit WHERE kind = 'rate'")
    assert "no events" in limit["refusal"]


def test_a_fleet_that_declares_no_charts_has_none(small_lake: Any) -> None:
    batches(small_lake, VALUES, "P-1")
    build(small_lake.con, "snap", FLEET, 1)
    assert small_lake.all("SELECT * FROM snap.mart.chart_point") == []
