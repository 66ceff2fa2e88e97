"""Bayesian companions: closed forms against integration, partial pooling at its limits, size of the rule."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from warehouse.statistics.bayes import (
    hierarchical,
    next_lot_inside,
    posterior_of,
    probability_of_equivalence,
)
from warehouse.statistics.bayes_rules import pooled_rule_size, posterior_rule_size
from warehouse.statistics.means import paired, pooled, tost
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin

# Rubin (1981): coaching effects of eight schools and their standard errors.
EFFECTS = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
ERRORS = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]


def test_the_credible_interval_of_the_reference_prior_is_the_t_interval() -> None:
    rng = np.random.default_rng(1)
    found = pooled(rng.normal(0, 1, 6), rng.normal(0.2, 1, 5))
    assert posterior_of(found).interval(0.90) == pytest.approx((found.ci_low, found.ci_high))


def test_probability_is_at_least_that_of_the_two_one_sided_tests() -> None:
    """P(inside) = 1 - p_lower - p_upper, so P >= 0.95 implies that TOST passes at 5 %, not the reverse."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        left = rng.normal(0, 1, 5)
        found = paired(left, left + rng.normal(0, 0.7, 5))
        test = tost(found, Margin(-1.0, 1.0))
        value = probability_of_equivalence(found, Margin(-1.0, 1.0))
        assert value == pytest.approx(1.0 - test.p_lower - test.p_upper, abs=1e-12)
        assert value < 0.95 or test.equivalent


def test_margins_are_read_on_the_scale() -> None:
    lots = ([1.0, 1.2, 0.9, 1.1], [1.05, 1.15, 1.0, 0.95])
    plain = pooled(np.log(lots[0]), np.log(lots[1]))
    ratio = pooled(*lots, scale="log")
    low, high = Margin(0.8, 1.25)
    assert probability_of_equivalence(ratio, Margin(low, high)) == pytest.approx(
        posterior_of(plain).inside(np.log(low), np.log(high))
    )


def test_next_lot_agrees_with_sampling_the_posterior() -> None:
    lots = np.array([88.0, 91.0, 86.0, 93.0, 90.0])
    rng = np.random.default_rng(3)
    sigma = np.sqrt(4 * lots.var(ddof=1) / rng.chisquare(4, 200_000))
    draws = rng.normal(rng.normal(lots.mean(), sigma / np.sqrt(5)), sigma)
    assert next_lot_inside(lots, 80.0, None) == pytest.approx((draws > 80.0).mean(), abs=0.004)
    assert next_lot_inside(lots, 80.0, 95.0) == pytest.approx(
        ((draws > 80.0) & (draws < 95.0)).mean(), abs=0.004
    )


def test_partial_pooling_agrees_with_a_brute_grid() -> None:
    found = hierarchical(EFFECTS, ERRORS, mu_sd=5.0, tau_scale=5.0)
    mu, tau = np.linspace(-30, 30, 601)[:, None], np.linspace(0.005, 200, 20001)[None, :]
    log_post = stats.norm.logpdf(mu, 0, 5) + stats.halfcauchy.logpdf(tau, scale=5)
    for y, se in zip(EFFECTS, ERRORS, strict=True):
        log_post = log_post + stats.norm.logpdf(y, mu, np.sqrt(se**2 + tau**2))
    weight = np.exp(log_post - log_post.max())
    weight /= weight.sum()
    assert found.mu.mean == pytest.approx(float((weight * mu).sum()), abs=0.01)
    assert found.tau.mean == pytest.approx(float((weight * tau).sum()), abs=0.02)
    assert found.tau_below(3.0) == pytest.approx(float(weight[:, tau[0] < 3.0].sum()), abs=0.003)


def test_pooling_is_complete_or_absent_at_the_limits_of_tau() -> None:
    together = hierarchical(EFFECTS, ERRORS, tau_scale=1e-6, tau_prior="half-normal")
    weights = np.array(ERRORS) ** -2.0
    assert together.theta[0].mean == pytest.approx(float(weights @ EFFECTS / weights.sum()), rel=1e-5)
    # Effects far further apart than their errors keep their own values.
    far = [1000.0 * effect for effect in EFFECTS]
    apart = hierarchical(far, ERRORS, tau_scale=1e4, tau_prior="half-t4")
    for j, theta in enumerate(apart.theta):
        assert theta.mean == pytest.approx(far[j], abs=0.05 * ERRORS[j])
        assert theta.sd == pytest.approx(ERRORS[j], rel=0.01)
    assert together.difference_within(0, 1, 1.0) > 0.999
    assert together.difference_within(0, 1, 1.0) > apart.difference_within(0, 1, 1.0)


@pytest.mark.simulation
@pytest.mark.parametrize("n", [3, 5, 12])
def test_the_posterior_rule_holds_its_size(n: int) -> None:
    found = posterior_rule_size(n, n, margin_sd=2.0)
    assert found.share <= 0.05 + 3.0 * found.mc_error
    assert posterior_rule_size(n, n, margin_sd=2.0) == found


def test_the_size_of_partial_pooling_is_that_of_its_posteriors() -> None:
    """The same rule through the full posterior, study by study; pooling makes it accept far more than 5 %."""
    rng, hits, runs = np.random.default_rng(5), 0, 150
    sizes, sd = np.array([20, 5, 8, 6]), 1.0
    df = int(sizes.sum()) - sizes.size
    for _ in range(runs):
        told = sd * np.sqrt(rng.chisquare(df) / df)
        means = rng.normal([0.0, 1.5, 0.0, 0.0], sd / np.sqrt(sizes))
        found = hierarchical(means, told / np.sqrt(sizes), tau_scale=told, tau_prior="half-normal")
        hits += found.difference_inside(1, 0, -1.5, 1.5) >= 0.95
    size, error = pooled_rule_size(sizes.tolist(), 1, 0, sd=sd, limits=Margin(-1.5, 1.5), runs=4000)
    assert hits / runs == pytest.approx(size, abs=4 * np.sqrt(error**2 + size * (1 - size) / runs))
    assert size > 0.05 + 2 * error


def test_without_pooling_the_rule_holds_its_size_and_units_do_not_matter() -> None:
    size, error = pooled_rule_size([300, 300], 1, 0, sd=1.0, limits=Margin(-1.5, 1.5), runs=4000)
    assert size == pytest.approx(0.05, abs=0.015 + 3 * error)
    told = [
        pooled_rule_size([9, 4, 6], 1, 0, sd=1.0 * k, limits=Margin(-1.0 * k, 2.0 * k))[0]
        for k in (1.0, 1000.0)
    ]
    assert told[0] == told[1]
    with pytest.raises(StatisticsRefusal, match="two sites"):
        pooled_rule_size([9], 0, 0, sd=1.0, limits=Margin(-1.0, 1.0))


def test_degenerate_inputs_are_refused_in_words() -> None:
    with pytest.raises(StatisticsRefusal, match="same"):
        next_lot_inside([90.0, 90.0, 90.0], 80.0, None)
    with pytest.raises(StatisticsRefusal, match="standard error above 0"):
        hierarchical([1.0, 2.0], [1.0, 0.0], tau_scale=1.0)
    with pytest.raises(StatisticsRefusal, match="scales must be above 0"):
        hierarchical([1.0, 2.0], [1.0, 1.0], tau_scale=0.0)


def test_differences_of_pooled_sites_and_all_of_them_at_once() -> None:
    found = hierarchical([0.0, 0.1, -0.2, 0.4], [0.1, 0.2, 0.15, 0.3], tau_scale=1.0, tau_prior="half-normal")
    assert found.difference_inside(1, 0, -0.5, 0.5) == pytest.approx(found.difference_within(1, 0, 0.5))
    assert found.difference_inside(1, 0, -0.5, 0.3) == pytest.approx(found.difference_inside(0, 1, -0.3, 0.5))
    ends = found.difference(3, 0)
    assert found.difference_inside(3, 0, ends.q05, ends.q95) == pytest.approx(0.9, abs=1e-6)
    assert 0.0 < ends.mean < 0.4  # drawn towards the others
    each = [found.difference_inside(i, 0, -0.5, 0.5) for i in (1, 2, 3)]
    together = found.all_inside(0, -0.5, 0.5)
    # Within Bonferroni's bounds, and the same again: the draws have a seed.
    assert 1.0 - sum(1.0 - p for p in each) - 0.02 < together < min(each) + 0.02
    assert together == found.all_inside(0, -0.5, 0.5)
    assert hierarchical([0.0, 0.0], [1e-3, 1e-3], tau_scale=1e-3).all_inside(0, -1.0, 1.0) == 1.0
    with pytest.raises(StatisticsRefusal, match="two sites"):
        found.difference(1, 1)
    with pytest.raises(StatisticsRefusal, match="below the upper"):
        found.difference_inside(1, 0, 0.5, 0.5)
