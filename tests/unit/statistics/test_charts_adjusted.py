"""Patient-adjusted charts: sick patients do not ring, a drift of the process still does."""

from __future__ import annotations

import numpy as np
import pytest

from warehouse.statistics import charts, charts_adjusted
from warehouse.statistics.refusal import StatisticsRefusal

GENERATOR = np.random.default_rng(1)
PATIENT = GENERATOR.normal(50, 10, (60, 1))
BASE = 0.8 * PATIENT[:, 0] + GENERATOR.normal(0, 1, 60)
FIT = charts_adjusted.adjustment(BASE, PATIENT, ["starting CD3 %"])


def test_slopes_are_those_of_ordinary_regression() -> None:
    slope = np.polyfit(PATIENT[:, 0], BASE, 1)[0]
    assert FIT.slopes[0] == pytest.approx(slope)
    assert FIT.explained == pytest.approx(np.corrcoef(PATIENT[:, 0], BASE)[0, 1] ** 2)
    assert FIT.applied(BASE, PATIENT).mean() == pytest.approx(BASE.mean())


def test_a_sick_patient_is_no_signal_and_a_drift_of_the_process_is() -> None:
    patients = np.array([[50.0], [5.0], [95.0], [50.0]])
    values = 0.8 * patients[:, 0] + [0.0, 0.0, 0.0, 8.0]
    plain = charts.individuals_chart(values, charts.individuals_baseline(BASE))
    baseline = charts.individuals_baseline(FIT.applied(BASE, PATIENT))
    adjusted = charts.individuals_chart(FIT.applied(values, patients), baseline)
    assert {1, 2} <= {signal.index for signal in plain.signals}
    assert [signal.index for signal in adjusted.signals] == [3]


def test_unit_of_a_covariate_changes_nothing() -> None:
    other = charts_adjusted.adjustment(BASE, PATIENT / 1000 + 3, ["fraction"])
    np.testing.assert_allclose(other.applied(BASE, PATIENT / 1000 + 3), FIT.applied(BASE, PATIENT))


@pytest.mark.parametrize(
    ("values", "covariates"),
    [
        (BASE[:6], PATIENT[:6]),
        (BASE, np.ones((60, 1))),
        (np.ones(60), PATIENT),
        (BASE, np.column_stack([PATIENT, 2 * PATIENT])),
        (BASE, PATIENT[:50]),
    ],
)
def test_what_cannot_be_adjusted_is_refused_in_words(values: np.ndarray, covariates: np.ndarray) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        charts_adjusted.adjustment(values, covariates, [f"x{i}" for i in range(covariates.shape[1])])
