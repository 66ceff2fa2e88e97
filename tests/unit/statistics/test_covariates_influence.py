"""Routine lots with covariates, and leave-one-out influence."""

from __future__ import annotations

import numpy as np
import pytest

from warehouse.statistics.covariates import compare_routine
from warehouse.statistics.influence import leave_one_out
from warehouse.statistics.means import Estimate, pooled
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin


def _patients(seed: int = 0, n: int = 15) -> tuple[np.ndarray, list[str], list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    age = np.concatenate([rng.normal(55, 8, n), rng.normal(61, 8, n)])
    y = 0.1 * age + rng.normal(0, 0.5, 2 * n)
    return y, ["A"] * n + ["B"] * n, [f"P{i}" for i in range(2 * n)], age


def test_analysis_of_covariance_is_least_squares() -> None:
    y, site, patient, age = _patients()
    found = compare_routine(y, site, reference="A", patient=patient, numeric={"age": age})
    x = np.column_stack([np.ones(30), np.array(site) == "B", age]).astype(float)
    beta, rss, _, _ = np.linalg.lstsq(x, y, rcond=None)
    se = np.sqrt(rss[0] / 27 * np.linalg.inv(x.T @ x)[1, 1])
    assert found.estimates["B"].estimate == pytest.approx(beta[1])
    assert found.estimates["B"].se == pytest.approx(se)
    assert found.estimates["B"].df == pytest.approx(27)
    assert found.unadjusted["B"].estimate == pytest.approx(y[15:].mean() - y[:15].mean())


def test_the_design_never_passes_itself_off_as_a_split_study() -> None:
    y, site, patient, age = _patients()
    plain = compare_routine(y, site, reference="A", patient=patient)
    assert plain.design == "routine lots, unadjusted"
    adjusted = compare_routine(
        y, site, reference="A", patient=patient, numeric={"age": age}, categorical={"arm": ["x", "y"] * 15}
    )
    assert adjusted.design == "routine lots, adjusted for age, arm"
    shared = [*patient[:15], *patient[:15]]
    with pytest.raises(StatisticsRefusal, match="split study"):
        compare_routine(y, site, reference="A", patient=shared)


def test_replicate_assays_are_not_counted_as_lots() -> None:
    y, site, patient, age = _patients()
    rng = np.random.default_rng(1)
    twice = np.repeat(y, 2) + rng.normal(0, 0.05, 60)
    found = compare_routine(
        twice, [s for s in site for _ in "12"], reference="A",
        patient=[p for p in patient for _ in "12"], numeric={"age": np.repeat(age, 2)},
    )  # fmt: skip
    assert found.estimates["B"].n_test == 15
    assert found.estimates["B"].df == pytest.approx(27, rel=0.05)


def test_far_apart_patients_are_named_and_inseparable_ones_refused() -> None:
    y, site, patient, age = _patients()
    far = age + np.where(np.array(site) == "B", 30.0, 0.0)
    found = compare_routine(y, site, reference="A", patient=patient, numeric={"age": far})
    assert "age" in found.warnings[0]
    only = np.where(np.array(site) == "B", 1.0, 0.0)
    with pytest.raises(StatisticsRefusal, match="cannot be told"):
        compare_routine(y, site, reference="A", patient=patient, numeric={"dose": only})
    with pytest.raises(StatisticsRefusal, match="same for every patient"):
        compare_routine(y, site, reference="A", patient=patient, numeric={"dose": np.ones(30)})


def test_the_lot_that_carries_the_answer_comes_first() -> None:
    left = {"a": 1.0, "b": 1.1, "c": 0.9, "d": 1.05, "e": 5.0}
    right = [1.0, 1.05, 0.95, 1.1]

    def without(unit: str | None) -> Estimate:
        return pooled([value for name, value in left.items() if name != unit], right)

    rows = leave_one_out(left, without, margin=Margin(-0.5, 0.5))
    assert rows[0].unit == "e"
    assert rows[0].changes is True
    assert all(row.changes is False for row in rows[1:])
    assert abs(rows[0].shift or 0.0) > 3 * abs(rows[1].shift or 0.0)


def test_a_unit_without_which_nothing_is_left_is_reported() -> None:
    def without(unit: str | None) -> Estimate:
        return pooled([1.0] if unit == "b" else [1.0, 2.0], [3.0, 3.0])

    rows = leave_one_out(["a", "b"], lambda unit: without(None) if unit == "a" else without(unit))
    assert rows[0].unit == "b"
    assert rows[0].estimate is None
    assert rows[0].why is not None
