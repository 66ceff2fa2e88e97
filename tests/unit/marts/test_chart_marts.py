"""Control charts of a small fleet filled in by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.marts.test_marts import FLEET, at
from warehouse.marts.build import build
from warehouse.plan import Charts

DECLARED = Charts(dated="2025-10-01", approved_by_role="quality", baseline_batches=8)
CHARTED = FLEET.model_copy(update={"charts": DECLARED})
VALUES = [90.0, 91.0, 89.5, 90.5, 91.5, 90.0, 89.0, 90.8, 90.2, 40.0]


def batches(lake: Any, values: list[float], protocol: str, first: int = 0) -> None:
    """One batch a value; the later started ones are entered first."""
    for i, value in reversed(list(enumerate(values, first))):
        batch = {"site_id": "a", "batch_id": f"B{i:02d}", "order_id": f"O{i}"}
        lake.add(
            "batch", batch | {"batch_started_at": at(24 * i), "protocol_version": protocol, "product_id": "X"}
        )
        lake.add("sample", {"site_id": "a", "sample_id": f"S{i}", "batch_id": f"B{i:02d}",
                            "sample_point": "release", "taken_at": at(24 * i + 200)})  # fmt: skip
        lake.add("assay_result", {"site_id": "a", "result_id": f"R{i}", "sample_id": f"S{i}",
                                  "batch_id": f"B{i:02d}", "attribute": "cd3_pct", "value": value,
                                  "operator": "=", "replicate": 1, "result_at": at(24 * i + 210)})  # fmt: skip


def test_limits_rest_on_the_declared_baseline_and_find_the_batch_that_left(small_lake: Any) -> None:
    batches(small_lake, VALUES, "P-1")
    batches(small_lake, [90.0, 91.0, 90.5], "P-2", first=10)
    build(small_lake.con, "snap", CHARTED, 1)
    first, second = small_lake.all("SELECT * FROM snap.mart.chart_limit ORDER BY phase")
    logits = np.log(np.array(VALUES) / (100 - np.array(VALUES)))
    assert first["centre"] == pytest.approx(logits[:8].mean())
    assert first["sigma"] == pytest.approx(np.abs(np.diff(logits[:8])).mean() / 1.1283791670955126)
    assert (first["n_baseline"], first["declared_by_role"], first["refusal"]) == (8, "quality", None)
    assert first["individuals_arl"] == pytest.approx(370.398, abs=1e-3)
    assert second["centre"] is None
    assert "3 batches" in second["refusal"]
    points = small_lake.all("SELECT * FROM snap.mart.chart_point WHERE chart = 'I' ORDER BY batch_started_at")
    assert [p["batch_id"] for p in points] == [f"B{i:02d}" for i in range(13)]
    assert [p["batch_id"] for p in points if p["outside"]] == ["B09"]
    assert points[9]["nelson_rules"].split(",")[0] == "1"
    assert [p["in_baseline"] for p in points[:10]] == [True] * 8 + [False] * 2
    assert [p["outside"] for p in points[10:]] == [None] * 3
    ewma = small_lake.all("SELECT * FROM snap.mart.chart_point WHERE chart = 'EWMA' AND outside")
    assert [p["batch_id"] for p in ewma] == ["B09"]


def test_a_fleet_that_declares_no_charts_has_none(small_lake: Any) -> None:
    batches(small_lake, VALUES, "P-1")
    build(small_lake.con, "snap", FLEET, 1)
    assert small_lake.all("SELECT * FROM snap.mart.chart_point") == []
