"""Exact rank equivalence against another implementation's exact tests, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics import ranks, wellek
from warehouse.statistics.means import Summary
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin

SETTINGS = settings(max_examples=40, deadline=None)


def _distinct(rng: np.random.Generator, size: int) -> list[float]:
    return [float(x) for x in rng.normal(100.0, 5.0, size)]


@SETTINGS
@given(st.integers(5, 20), st.integers(0, 10_000))
def test_signed_rank_is_scipys_exact_test_at_each_margin(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, test = _distinct(rng, n), _distinct(rng, n)
    result = ranks.signed_rank_tost(reference, test, Margin(-4.0, 6.0))
    difference = np.subtract(test, reference)
    lower = stats.wilcoxon(difference + 4.0, alternative="greater", method="exact")
    upper = stats.wilcoxon(difference - 6.0, alternative="less", method="exact")
    assert result.p_lower == pytest.approx(lower.pvalue, rel=1e-9)
    assert result.p_upper == pytest.approx(upper.pvalue, rel=1e-9)


@SETTINGS
@given(st.integers(3, 12), st.integers(3, 12), st.integers(0, 10_000))
def test_mann_whitney_is_scipys_exact_test_at_each_margin(m: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, test = _distinct(rng, m), _distinct(rng, n)
    result = ranks.mann_whitney_tost(reference, test, Margin(-4.0, 6.0))
    lower = stats.mannwhitneyu(np.add(test, 4.0), reference, alternative="greater", method="exact")
    upper = stats.mannwhitneyu(np.subtract(test, 6.0), reference, alternative="less", method="exact")
    assert result.p_lower == pytest.approx(lower.pvalue, rel=1e-9)
    assert result.p_upper == pytest.approx(upper.pvalue, rel=1e-9)


@SETTINGS
@given(st.integers(5, 12), st.integers(0, 10_000), st.booleans())
def test_the_interval_is_what_the_tests_do_not_reject(n: int, seed: int, paired: bool) -> None:
    rng = np.random.default_rng(seed)
    reference, test = _distinct(rng, n), _distinct(rng, n)
    make = ranks.signed_rank if paired else ranks.mann_whitney
    tost = ranks.signed_rank_tost if paired else ranks.mann_whitney_tost
    estimate = make(reference, test)
    assert estimate.ci_low <= estimate.estimate <= estimate.ci_high
    step = 1e-7
    wider = tost(reference, test, Margin(estimate.ci_low - step, estimate.ci_high + step))
    assert wider.equivalent
    narrower = tost(reference, test, Margin(estimate.ci_low + step, estimate.ci_high - step))
    assert narrower.p_lower > 0.05
    assert narrower.p_upper > 0.05


def test_too_few_for_the_level_is_refused_with_the_number_that_would_do() -> None:
    with pytest.raises(StatisticsRefusal, match="5 pairs"):
        ranks.signed_rank([1.0, 2.0, 3.0, 4.0], [1.1, 2.3, 2.9, 4.4])
    with pytest.raises(StatisticsRefusal, match="3 on each side"):
        ranks.mann_whitney([1.0, 2.0], [1.1, 2.3, 2.9])
    assert ranks.smallest_sizes() == (5, 3)


def test_ties_keep_an_exact_distribution() -> None:
    """All 32 assignments of signs to the ranks 1, 2.5, 2.5, 4, 5 are counted."""
    difference = [1.0, 2.0, 2.0, 3.0, -4.0]
    result = ranks.signed_rank_tost([0.0] * 5, difference, Margin(-1e-9, 100.0))
    weights = [1.0, 2.5, 2.5, 4.0, 5.0]
    sums = [sum(w for i, w in enumerate(weights) if bits >> i & 1) for bits in range(32)]
    assert result.statistic_lower == pytest.approx(10.0)
    assert result.p_lower == pytest.approx(sum(s >= 10.0 for s in sums) / 32)


def test_a_ratio_on_the_log_scale_ignores_the_unit() -> None:
    rng = np.random.default_rng(3)
    reference, test = np.exp(rng.normal(0, 0.3, 6)), np.exp(rng.normal(0.1, 0.3, 7))
    plain = ranks.mann_whitney(reference, test, scale="log")
    scaled = ranks.mann_whitney(reference * 1e6, test * 1e6, scale="log")
    assert scaled.ci_low == pytest.approx(plain.ci_low)


@pytest.mark.parametrize(
    ("m", "n", "eps1", "eps2"), [(12, 12, 0.5, 1.0), (3, 3, 1.5, 1.5), (2, 4, 0.7, 0.7), (40, 25, 0.4, 0.6)]
)
def test_wellek_t_holds_its_level_at_both_ends(m: int, n: int, eps1: float, eps2: float) -> None:
    constants = wellek.t_constants(m, n, eps1, eps2)
    factor, df = np.sqrt(m * n / (m + n)), m + n - 2
    for shift in (-eps1, eps2):
        held = stats.nct.cdf(constants.c2, df, shift * factor) - stats.nct.cdf(
            constants.c1, df, shift * factor
        )
        assert held == pytest.approx(0.05, abs=1e-8)


def test_wellek_dispersion_is_symmetric_and_refuses_no_spread() -> None:
    constants = wellek.dispersion_constants(9, 9, 0.5, 2.0)
    assert constants.c1 == pytest.approx(1 / constants.c2, rel=1e-8)
    with pytest.raises(StatisticsRefusal, match="no spread"):
        wellek.dispersion_test(Summary(1.0, 0.0, 5), Summary(1.0, 1.0, 5), 0.5, 2.0)


def test_wellek_tests_decide_by_their_constants() -> None:
    same = wellek.t_test(Summary(10.0, 1.0, 30), Summary(10.05, 1.0, 30), 0.8, 0.8)
    apart = wellek.t_test(Summary(10.0, 1.0, 30), Summary(11.0, 1.0, 30), 0.8, 0.8)
    assert same.equivalent
    assert not apart.equivalent
    with pytest.raises(StatisticsRefusal, match="overlap"):
        wellek.mann_whitney([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 0.2, 0.2)
