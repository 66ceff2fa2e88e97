"""Equivalence of means: what holds for any data, and the sampled coverage of the default interval."""

from __future__ import annotations

from math import log, sqrt
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from warehouse.statistics import means
from warehouse.statistics.means import Summary
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin, Scale

LOTS = st.lists(st.floats(50, 150), min_size=2, max_size=12)
SETTINGS = settings(max_examples=60, deadline=None)


def _varied(*groups: list[float]) -> None:
    assume(all(np.ptp(group) > 1e-3 for group in groups))


@SETTINGS
@given(LOTS, LOTS, st.floats(0.01, 1000), st.floats(-500, 500))
def test_a_change_of_unit_changes_the_numbers_and_no_answer(
    reference: list[float], test: list[float], factor: float, shift: float
) -> None:
    _varied(reference, test)
    plain = means.tost(means.welch(reference, test), Margin(-10, 12))
    moved = means.tost(
        means.welch([factor * x + shift for x in reference], [factor * x + shift for x in test]),
        Margin(-10 * factor, 12 * factor),
    )
    assert moved.p == pytest.approx(plain.p, rel=1e-6, abs=1e-12)
    assert moved.estimate.ci_low == pytest.approx(plain.estimate.ci_low * factor, rel=1e-6, abs=1e-6 * factor)


@SETTINGS
@given(LOTS, LOTS, st.randoms())
def test_the_order_of_lots_does_not_matter(reference: list[float], test: list[float], random: Random) -> None:
    _varied(reference, test)
    first = means.welch(reference, test, scale="log")
    random.shuffle(reference)
    random.shuffle(test)
    second = means.welch(reference, test, scale="log")
    assert second.ci_low == pytest.approx(first.ci_low, rel=1e-10)
    assert second.df == pytest.approx(first.df, rel=1e-8)


@SETTINGS
@given(LOTS, LOTS)
def test_swapping_the_sides_turns_the_interval_round(reference: list[float], test: list[float]) -> None:
    _varied(reference, test)
    one, other = means.welch(reference, test, scale="log"), means.welch(test, reference, scale="log")
    assert one.estimate == pytest.approx(1 / other.estimate, rel=1e-9)
    assert one.ci_low == pytest.approx(1 / other.ci_high, rel=1e-9)


@SETTINGS
@given(LOTS, LOTS, st.floats(1, 30), st.floats(0, 10))
def test_a_wider_margin_never_takes_equivalence_away(
    reference: list[float], test: list[float], width: float, more: float
) -> None:
    _varied(reference, test)
    estimate = means.welch(reference, test)
    narrow = means.tost(estimate, Margin(-width, width))
    wide = means.tost(estimate, Margin(-width - more, width + more))
    assert wide.p <= narrow.p + 1e-12
    assert wide.equivalent or not narrow.equivalent


@SETTINGS
@given(LOTS, LOTS, st.floats(0.5, 40))
def test_both_one_sided_tests_agree_with_the_interval(
    reference: list[float], test: list[float], width: float
) -> None:
    _varied(reference, test)
    result = means.tost(means.welch(reference, test), Margin(-width, width))
    inside = -width < result.estimate.ci_low and result.estimate.ci_high < width
    assume(abs(result.p - 0.05) > 1e-9)
    assert result.equivalent == inside


def test_paired_is_the_one_sample_test_of_the_differences() -> None:
    reference, test = [90.0, 92.5, 88.1, 95.0], [91.2, 91.9, 90.0, 94.1]
    paired = means.paired(reference, test)
    single = means.one_sample([b - a for a, b in zip(reference, test, strict=True)], 0.0)
    assert (paired.estimate, paired.ci_low, paired.df) == (single.estimate, single.ci_low, single.df)


def test_pooled_and_welch_agree_when_sizes_and_spreads_do() -> None:
    one, two = Summary(10.0, 2.0, 6), Summary(11.0, 2.0, 6)
    pooled, welch = means.pooled_from_summaries(one, two), means.welch_from_summaries(one, two)
    assert pooled.ci_low == pytest.approx(welch.ci_low)
    assert welch.df == pytest.approx(10.0)


def test_fieller_solves_the_equation_it_inverts() -> None:
    reference, test = Summary(10.0, 1.5, 8), Summary(11.0, 1.2, 6)
    estimate = means.fieller(reference, test)
    at_the_limits = means.fieller_tost(reference, test, Margin(estimate.ci_low, estimate.ci_high))
    assert at_the_limits.p_lower == pytest.approx(0.05, rel=1e-9)
    assert at_the_limits.p_upper == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "test", "scale", "words"),
    [
        ([5.0, 5.0, 5.0], [5.0, 5.0], "identity", "no spread"),
        ([5.0], [5.0, 6.0], "identity", "at least 2"),
        ([5.0, float("nan")], [5.0, 6.0], "identity", "missing"),
        ([5.0, 0.0], [5.0, 6.0], "log", "no logarithm"),
        ([0.5, 1.0], [0.4, 0.6], "logit", "no logit"),
        ([], [0.4, 0.6], "identity", "at least"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_words(
    reference: list[float],
    test: list[float],
    scale: Scale,
    words: str,
) -> None:
    with pytest.raises(StatisticsRefusal, match=words):
        means.welch(reference, test, scale=scale)


def test_fieller_refuses_a_reference_that_may_be_nothing() -> None:
    with pytest.raises(StatisticsRefusal, match="cannot be told from 0"):
        means.fieller(Summary(0.1, 1.0, 4), Summary(1.0, 1.0, 4))


def test_one_side_without_spread_still_has_an_interval() -> None:
    estimate = means.welch([5.0, 5.0, 5.0], [5.0, 6.0, 7.0])
    assert estimate.df == pytest.approx(2.0)
    assert estimate.ci_low < 1.0 < estimate.ci_high


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("n_reference", "n_test", "sd_test"), [(3, 3, 1.0), (20, 4, 2.0), (8, 8, 0.5), (5, 12, 3.0)]
)
def test_the_welch_interval_covers_what_it_promises(n_reference: int, n_test: int, sd_test: float) -> None:
    """Coverage of the 90 % interval for a ratio over 4,000 samples: within 4 errors and Welch's own.

    Welch's approximation is conservative or liberal by at most about 2 % at these sizes.
    """
    rng = np.random.default_rng(20240917)
    runs, covered, truth = 4000, 0, 0.2
    for _ in range(runs):
        reference = rng.normal(0.0, 1.0, n_reference)
        test = rng.normal(truth, sd_test, n_test)
        estimate = means.welch(np.exp(reference), np.exp(test), scale="log")
        covered += log(estimate.ci_low) <= truth <= log(estimate.ci_high)
    error = sqrt(0.9 * 0.1 / runs)
    assert abs(covered / runs - 0.9) < 4 * error + 0.02
