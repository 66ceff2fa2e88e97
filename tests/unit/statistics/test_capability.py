"""Capability: identities, coverage of intervals by simulation, and the refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics import capability, capability_tails, charts
from warehouse.statistics.capability import Specification
from warehouse.statistics.refusal import StatisticsRefusal

LIMITS = Specification(-3.0, 4.0, 0.0)
STABLE = np.random.default_rng(1).normal(0, 1, 60)


def test_indices_of_a_known_process() -> None:
    found = capability.indices(0.5, 1.0, 100, LIMITS)
    assert found.ratio is not None
    assert found.to_target is not None
    assert found.ratio.value == pytest.approx(7 / 6)
    assert found.worst.value == pytest.approx(3.5 / 3)
    assert found.to_target.value == pytest.approx(7 / 6 / np.sqrt(1.25))


def test_an_open_side_has_only_its_own_index() -> None:
    found = capability.indices(1.0, 1.0, 30, Specification(upper=4.0))
    assert (found.ratio, found.lower_side, found.to_target) == (None, None, None)
    assert found.worst.value == 1.0


def test_exact_lower_bound_holds_as_often_as_it_says() -> None:
    """True index 1 from 15 values: 95 % of lower bounds lie below it; 2,000 runs, error 0.5 %."""
    generator = np.random.default_rng(3)
    samples = generator.normal(0, 1, (2000, 15))
    found = (3.0 - samples.mean(axis=1)) / (3 * samples.std(axis=1, ddof=1))
    threshold = stats.nct.ppf(0.95, 14, 3 * np.sqrt(15)) / (3 * np.sqrt(15))
    assert capability.one_sided_lower_bound(float(threshold), 15) == pytest.approx(1.0, abs=1e-7)
    assert np.mean(found <= threshold) == pytest.approx(0.95, abs=4 * 0.005)


@pytest.mark.simulation
def test_out_of_specification_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(4)
    truth = stats.norm.sf(2.0) + stats.norm.cdf(-3.0)
    inside = 0
    for _ in range(400):
        found = capability_tails.out_of_specification(
            generator.normal(0, 1, 20), Specification(-3.0, 2.0), draws=4000
        )
        inside += found.normal[1] <= truth <= found.normal[2]
    assert inside / 400 == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 400))


def test_counted_interval_is_clopper_pearson() -> None:
    """0 of 20: the upper 97.5 % bound is 1 - 0.025^(1/20) = 0.1684."""
    found = capability_tails.out_of_specification(np.linspace(0, 1, 20), Specification(-5, 5))
    assert found.counted == pytest.approx((0.0, 0.0, 0.16843), abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(-1000, 1000))
def test_unit_and_origin_change_no_index(scale: float, shift: float) -> None:
    moved = Specification(-3.0 * scale + shift, 4.0 * scale + shift, shift)
    plain = capability.performance(STABLE, LIMITS)
    other = capability.performance(STABLE * scale + shift, moved)
    assert other.worst.value == pytest.approx(plain.worst.value, rel=1e-8)
    assert other.worst_lower_bound == pytest.approx(plain.worst_lower_bound, rel=1e-7)


def test_percentiles_of_the_normal_law_give_the_normal_indices() -> None:
    found = capability_tails.percentile_indices(STABLE, LIMITS, "normal")
    plain = capability.performance(STABLE, LIMITS)
    assert plain.ratio is not None
    assert found.pp is not None
    assert found.pp[0] == pytest.approx(plain.ratio.value, rel=1e-4)
    assert found.ppk[0] == pytest.approx(plain.worst.value, rel=1e-4)


def test_lognormal_index_is_not_fooled_by_skew() -> None:
    values = np.random.default_rng(9).lognormal(0.0, 0.8, 400)
    top = Specification(upper=float(np.exp(3 * 0.8)))  # exactly the 99.865 % point: a true index of 1
    assert capability_tails.percentile_indices(values, top, "lognormal").ppk[0] == pytest.approx(
        1.0, abs=0.15
    )
    assert capability.performance(values, top).worst.value > 1.5


@pytest.mark.parametrize("law", ["weibull", "gamma"])
def test_other_laws_find_their_own_percentiles(law: capability_tails.Law) -> None:
    true = stats.weibull_min(2.0, 0, 3.0) if law == "weibull" else stats.gamma(4.0, 0, 2.0)
    values = true.rvs(3000, random_state=np.random.default_rng(2))
    found = capability_tails.percentile_indices(values, Specification(0.0, 100.0), law, resamples=100)
    assert found.percentiles[1:] == pytest.approx(true.ppf([0.5, 0.99865]), rel=0.05)
    assert found.anderson_darling < 2.5


def test_cpk_is_refused_for_an_unstable_process_and_ppk_is_not() -> None:
    values = np.concatenate([STABLE, [12.0]])
    base = charts.individuals_baseline(STABLE)
    signals = charts.individuals_chart(values, base).signals
    with pytest.raises(StatisticsRefusal, match="not stable"):
        capability.capability(values, base, LIMITS, unstable_points=len(signals))
    assert capability.performance(values, LIMITS).worst.value < 1


def test_change_between_periods_covers_no_change() -> None:
    first = capability.performance(STABLE[:30], LIMITS)
    second = capability.performance(STABLE[30:], LIMITS)
    change = capability.change_of(first, second)
    assert change.lower < 0 < change.upper
    assert change.difference == pytest.approx(second.worst.value - first.worst.value)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: capability.performance(STABLE[:5], LIMITS),
        lambda: capability.performance([1.0] * 30, LIMITS),
        lambda: capability.capability(
            STABLE[:20], charts.individuals_baseline(STABLE), LIMITS, unstable_points=0
        ),
        lambda: Specification(target=1.0),
        lambda: Specification(2.0, 1.0),
        lambda: Specification(float("nan"), 1.0),
        lambda: capability_tails.percentile_indices(STABLE, LIMITS, "lognormal"),
        lambda: capability_tails.out_of_specification([2.0, 2.0, 2.0], LIMITS),
    ],
)
def test_what_cannot_be_judged_is_refused_in_words(attempt: object) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        attempt()  # type: ignore[operator]
