"""Ranges and spread: printed sizes, simulated confidence, and refusals."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics import tolerance, variability
from warehouse.statistics.means import Summary
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin

UNIT = Summary(0.0, 1.0, 10)


def test_wilks_sizes_are_the_printed_ones() -> None:
    sizes = [
        tolerance.wilks_size(p, 0.95, side=side) for p in (0.9, 0.95, 0.99) for side in ("upper", "two-sided")
    ]
    assert sizes == [29, 46, 59, 93, 299, 473]


@pytest.mark.parametrize(("n", "coverage"), [(3, 0.9), (6, 0.95), (20, 0.99)])
@pytest.mark.parametrize("side", ["two-sided", "upper"])
def test_tolerance_limits_hold_with_their_confidence(n: int, coverage: float, side: tolerance.Side) -> None:
    rng = np.random.default_rng(11)
    runs = 40_000
    mean, sd = rng.normal(0, 1 / sqrt(n), runs), np.sqrt(rng.chisquare(n - 1, runs) / (n - 1))
    k = tolerance.normal_tolerance(Summary(0.0, 1.0, n), coverage, 0.95, side=side).k
    assert k is not None
    low = stats.norm.cdf(mean - k * sd) if side == "two-sided" else 0.0
    held = (stats.norm.cdf(mean + k * sd) - low >= coverage).mean()
    assert held == pytest.approx(0.95, abs=4 * sqrt(0.95 * 0.05 / runs))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 200), st.floats(0.5, 0.99), st.floats(0.5, 0.99))
def test_factors_order_as_they_must(n: int, coverage: float, confidence: float) -> None:
    two = tolerance.two_sided_factor(n, coverage, confidence)
    assert np.isfinite(two)
    assert two > tolerance.two_sided_factor(n + 1, coverage, confidence)
    assert two > tolerance.one_sided_factor(n, coverage, confidence)
    assert two > stats.norm.ppf((1 + coverage) / 2) * 0.5


@pytest.mark.parametrize("lots", [1, 3, 10])
@pytest.mark.parametrize("side", ["two-sided", "lower"])
def test_prediction_intervals_hold_all_of_the_next_lots(lots: int, side: tolerance.Side) -> None:
    rng = np.random.default_rng(12)
    runs, n = 40_000, 6
    mean, sd = rng.normal(0, 1 / sqrt(n), runs), np.sqrt(rng.chisquare(n - 1, runs) / (n - 1))
    k = tolerance.prediction(Summary(0.0, 1.0, n), 0.9, lots=lots, side=side).k
    assert k is not None
    z = (rng.normal(size=(runs, lots)) - mean[:, None]) / sd[:, None]
    held = ((np.abs(z) if side == "two-sided" else -z) <= k).all(axis=1).mean()
    assert held == pytest.approx(0.9, abs=4 * sqrt(0.09 / runs))
    wider = tolerance.prediction(Summary(0.0, 1.0, n), 0.9, lots=lots, side=side, exact=False).k
    assert wider is not None
    assert wider >= k - 1e-9


def test_the_quality_range_and_its_acceptance() -> None:
    limits = tolerance.quality_range(UNIT, 3.0)
    assert (limits.low, limits.high) == (-3.0, 3.0)
    assert limits.inside(3.0)
    assert not limits.inside(3.01)
    rng = np.random.default_rng(13)
    runs = 40_000
    mean, sd = rng.normal(0, 1 / sqrt(10), runs), np.sqrt(rng.chisquare(9, runs) / 9)
    inside = np.abs(rng.normal(1.5, 1.0, (runs, 5)) - mean[:, None]) <= 3 * sd[:, None]
    simulated = (inside.mean(axis=1) >= 0.9).mean()
    assert tolerance.quality_range_acceptance(10, 5, 3.0, shift=1.5) == pytest.approx(simulated, abs=0.01)


def test_nonparametric_limits_draw_in_as_lots_allow() -> None:
    values = list(range(1, 94))
    assert tolerance.nonparametric_tolerance(values, 0.95, 0.95).low == 1.0
    longer = tolerance.nonparametric_tolerance(list(range(1, 301)), 0.95, 0.95)
    assert longer.low is not None
    assert longer.low > 1.0
    assert longer.confidence is not None
    assert longer.confidence >= 0.95
    upper = tolerance.nonparametric_tolerance(list(range(1, 60)), 0.95, 0.95, side="upper")
    assert (upper.low, upper.high) == (None, 59.0)
    with pytest.raises(StatisticsRefusal, match="93 can"):
        tolerance.nonparametric_tolerance(values[:-1], 0.95, 0.95)


def test_ranges_without_spread_or_lots_are_refused() -> None:
    with pytest.raises(StatisticsRefusal, match="no width"):
        tolerance.normal_tolerance(Summary(1.0, 0.0, 5), 0.95, 0.95)
    with pytest.raises(StatisticsRefusal, match="at least 2"):
        tolerance.two_sided_factor(1, 0.95, 0.95)
    with pytest.raises(StatisticsRefusal, match="no logarithm"):
        tolerance.lognormal_tolerance([1.0, 0.0, 2.0], 0.95, 0.95)


def test_the_sd_ratio_interval_inverts_its_tests_and_ignores_units() -> None:
    reference, test = Summary(10.0, 1.3, 8), Summary(11.0, 1.6, 5)
    estimate = variability.sd_ratio(reference, test)
    tost = variability.sd_ratio_tost(estimate, Margin(estimate.ci_low, estimate.ci_high))
    assert (tost.p_lower, tost.p_upper) == pytest.approx((0.05, 0.05), rel=1e-9)
    scaled = variability.sd_ratio(Summary(0.0, 1300.0, 8), Summary(0.0, 1600.0, 5))
    assert scaled.ci_high == pytest.approx(estimate.ci_high)


def test_sd_ratio_power_and_lots_by_simulation() -> None:
    rng = np.random.default_rng(14)
    runs, margin = 100_000, Margin(0.5, 2.0)
    ratio = np.sqrt(rng.chisquare(29, runs) / 29 / (rng.chisquare(24, runs) / 24))
    low, high = stats.f.isf(0.05, 29, 24) ** 0.5, stats.f.ppf(0.05, 29, 24) ** 0.5
    simulated = ((ratio / low > 0.5) & (ratio / high < 2.0)).mean()
    assert variability.sd_ratio_power(margin, 25, 30) == pytest.approx(simulated, abs=0.01)
    assert variability.sd_ratio_power(margin, 25, inf) == pytest.approx(
        variability.sd_ratio_power(margin, 25, 10**7), abs=1e-4
    )
    estimate = variability.sd_ratio(Summary(0.0, 1.0, 60), Summary(0.0, 1.0, 5))
    lots = variability.variability_lots(estimate, margin)
    assert lots is not None
    reached = [variability.sd_ratio_power(margin, 60, 5 + lots - less) for less in (0, 1)]
    assert reached[0] >= 0.8 > reached[1]
    hopeless = variability.sd_ratio(Summary(0.0, 1.0, 3), Summary(0.0, 1.0, 5))
    assert variability.variability_lots(hopeless, margin) is None


def test_homogeneity_tests_are_scipys_and_refuse_no_spread() -> None:
    groups = [[1.0, 2.0, 4.0, 3.5], [2.0, 2.5, 8.0], [1.0, 1.1, 0.9, 1.3, 1.0]]
    assert variability.levene(groups).p == pytest.approx(stats.levene(*groups).pvalue)
    assert variability.levene(groups, center="mean").p == pytest.approx(
        stats.levene(*groups, center="mean").pvalue
    )
    assert variability.bartlett(groups).p == pytest.approx(stats.bartlett(*groups).pvalue)
    with pytest.raises(StatisticsRefusal, match="no spread"):
        variability.bartlett([[1.0, 1.0], [1.0, 2.0]])
    with pytest.raises(StatisticsRefusal, match="same"):
        variability.variance_ratio(Summary(0.0, 0.0, 4), Summary(0.0, 1.0, 4))
