"""Proportions and rates: published intervals, coverage of extremes, and agreement of tests with intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics import proportions as p
from warehouse.statistics import rates
from warehouse.statistics.power_proportions import score_power, tango_power
from warehouse.statistics.proportions import Count, Pairs
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin

SETTINGS = settings(max_examples=60, deadline=None)
COUNTS = st.integers(1, 30).flatmap(lambda n: st.builds(Count, st.integers(0, n), st.just(n)))
Interval = Callable[..., p.Difference]
INTERVALS: list[Interval] = [p.newcombe, p.miettinen_nurminen, p.mee, p.agresti_caffo]


@pytest.mark.parametrize(
    ("test", "reference", "low", "high"),
    [
        # Newcombe (1998) Table II, method 5 (Miettinen-Nurminen) and its degenerate rows.
        (Count(56, 70), Count(48, 80), 0.0528, 0.3382),
        (Count(9, 10), Count(3, 10), 0.1700, 0.8406),
        (Count(5, 56), Count(0, 29), -0.0326, 0.1933),
        (Count(0, 10), Count(0, 20), -0.1658, 0.2844),
        (Count(10, 10), Count(0, 20), 0.7156, 1.0000),
        (Count(10, 10), Count(0, 10), 0.6636, 1.0000),
    ],
)
def test_miettinen_nurminen_is_newcombes_table(
    test: Count, reference: Count, low: float, high: float
) -> None:
    result = p.miettinen_nurminen(test, reference)
    assert (result.ci_low, result.ci_high) == pytest.approx((low, high), abs=6e-5)


@SETTINGS
@given(COUNTS, COUNTS, st.sampled_from(INTERVALS))
def test_every_interval_is_finite_and_inside_what_is_possible(
    test: Count, reference: Count, make: Interval
) -> None:
    result = make(test, reference, level=0.9)
    assert -1.0 <= result.ci_low < result.ci_high <= 1.0
    turned = make(reference, test, level=0.9)
    assert turned.ci_low == pytest.approx(-result.ci_high, abs=1e-7)


@SETTINGS
@given(COUNTS, COUNTS, st.floats(-0.9, 0.9))
def test_the_restricted_proportions_maximise_the_likelihood(
    test: Count, reference: Count, gap: float
) -> None:
    one, two = p.restricted(test, reference, gap)
    assert one - two == pytest.approx(gap, abs=1e-9)

    def likelihood(x: float) -> float:
        lower = min(1.0, max(0.0, x - gap))
        return float(stats.binom.logpmf(test.events, test.n, x) + stats.binom.logpmf(*reference, lower))

    grid = np.linspace(max(0.0, gap), min(1.0, 1.0 + gap), 301)
    assert likelihood(one) >= max(likelihood(float(x)) for x in grid) - 1e-6


@SETTINGS
@given(COUNTS, COUNTS, st.floats(0.05, 0.6), st.floats(0.0, 0.3))
def test_score_tests_agree_with_their_interval_and_grow_with_the_margin(
    test: Count, reference: Count, width: float, more: float
) -> None:
    narrow = p.farrington_manning(test, reference, Margin(-width, width))
    interval = p.mee(test, reference, level=0.9)
    inside = -width < interval.ci_low and interval.ci_high < width
    if abs(narrow.p - 0.05) > 1e-6:
        assert narrow.equivalent == inside
    wide = p.farrington_manning(test, reference, Margin(-width - more, width + more))
    assert wide.p <= narrow.p + 1e-9


@pytest.mark.parametrize(("m", "n", "gap"), [(4, 5, 0.3), (8, 6, -0.4), (10, 10, 0.2)])
def test_the_exact_test_holds_its_level_for_every_nuisance_proportion(m: int, n: int, gap: float) -> None:
    """Over all tables Chan-Zhang's p rejects at most 5 % anywhere on the boundary."""
    rejected = np.array(
        [
            [
                p.chan_zhang_tost(Count(i, m), Count(j, n), Margin(gap, 0.95)).p_lower <= 0.05
                for j in range(n + 1)
            ]
            for i in range(m + 1)
        ]
    )
    for q in np.linspace(max(0.0, -gap), min(1.0, 1.0 - gap), 37):
        one = stats.binom.pmf(np.arange(m + 1), m, min(1.0, max(0.0, q + gap)))
        assert one @ rejected @ stats.binom.pmf(np.arange(n + 1), n, q) <= 0.05 + 1e-9


def test_the_power_of_a_share_is_that_of_every_table() -> None:
    rng = np.random.default_rng(1)
    margin, hits = Margin(-0.2, 0.2), 0
    for b, a in zip(rng.binomial(30, 0.9, 400), rng.binomial(20, 0.9, 400), strict=True):
        found = p.miettinen_nurminen(Count(int(a), 20), Count(int(b), 30), level=0.9)
        hits += margin.low < found.ci_low and found.ci_high < margin.high
    power = score_power((0.9, 30), (0.9, 20), margin)
    assert hits / 400 == pytest.approx(power, abs=4 * (power * (1 - power) / 400) ** 0.5)
    # With the site worse by the margin it is the size.
    assert score_power((0.9, 30), (0.7, 20), margin) < 0.05
    assert score_power((0.9, 30), (0.9, 3), margin) == 0.0


def test_the_power_of_pairs_is_that_of_every_table() -> None:
    rng = np.random.default_rng(2)
    margin, runs = Margin(-0.2, 0.2), 1500
    tables = rng.multinomial(20, [0.82, 0.08, 0.08, 0.02], runs)
    hits = sum(p.tango_tost(Pairs(*(int(v) for v in t)), margin).equivalent for t in tables)
    power = tango_power(20, 0.08, 0.08, margin)
    assert hits / runs == pytest.approx(power, abs=4 * (power * (1 - power) / runs) ** 0.5)
    assert tango_power(20, 0.04, 0.24, margin) < 0.05


def test_the_exact_interval_holds_the_estimate_and_is_wider_than_score() -> None:
    exact, score = p.chan_zhang(Count(6, 7), Count(2, 7)), p.miettinen_nurminen(Count(6, 7), Count(2, 7))
    assert exact.ci_low <= score.ci_low < exact.estimate < exact.ci_high
    nothing = p.chan_zhang(Count(0, 5), Count(0, 6))
    assert nothing.ci_low < 0 < nothing.ci_high


@pytest.mark.parametrize(
    ("pairs", "low", "high"),
    [
        # Tango (1998), Table: 44 pairs with one discordant; 54 pairs with none.
        (Pairs(43, 0, 1, 0), -0.1181, 0.0594),
        (Pairs(54, 0, 0, 0), -0.0664, 0.0664),
        (Pairs(36, 12, 2, 0), 0.0611, 0.3447),
    ],
)
def test_tango_on_paired_tables(pairs: Pairs, low: float, high: float) -> None:
    result = p.tango(pairs)
    assert (result.ci_low, result.ci_high) == pytest.approx((low, high), abs=6e-5)
    turned = p.tango(Pairs(pairs.both, pairs.reference_only, pairs.test_only, pairs.neither))
    assert turned.ci_low == pytest.approx(-result.ci_high, abs=1e-8)


def test_tango_tost_inverts_its_interval() -> None:
    pairs = Pairs(30, 3, 2, 5)
    interval = p.tango(pairs, level=0.9)
    result = p.tango_tost(pairs, Margin(interval.ci_low, interval.ci_high))
    assert result.p_lower == pytest.approx(0.05, abs=1e-9)
    assert result.p_upper == pytest.approx(0.05, abs=1e-9)


def test_impossible_counts_and_large_exact_tables_are_refused() -> None:
    with pytest.raises(StatisticsRefusal, match="not a count"):
        p.newcombe(Count(5, 4), Count(1, 4))
    with pytest.raises(StatisticsRefusal, match="beyond the exact"):
        p.chan_zhang_tost(Count(1, 200), Count(1, 200), Margin(-0.1, 0.1))


def test_rates_invert_their_tests_and_refuse_nothing_against_nothing() -> None:
    test, reference = rates.Exposure(7, 40.0), rates.Exposure(12, 90.0)
    ratio = rates.rate_ratio(test, reference)
    assert ratio.ci_high is not None
    tost = rates.rate_tost(test, reference, Margin(ratio.ci_low, ratio.ci_high))
    assert (tost.p_lower, tost.p_upper) == pytest.approx((0.05, 0.05), rel=1e-9)
    assert rates.rate_ratio(rates.Exposure(3, 10.0), rates.Exposure(0, 10.0)).ci_high is None
    with pytest.raises(StatisticsRefusal, match="Neither side"):
        rates.rate_ratio(rates.Exposure(0, 10.0), rates.Exposure(0, 10.0))


def test_dispersion_of_poisson_counts_is_about_one() -> None:
    counts = np.random.default_rng(5).poisson(4.0, 2000)
    assert rates.dispersion(counts).index == pytest.approx(1.0, abs=0.15)
