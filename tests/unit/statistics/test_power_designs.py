"""Exact power of each design: published constants, agreement with the tests themselves, smallest sizes."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics import means, ranks, sites, wellek
from warehouse.statistics.covariates import compare_routine
from warehouse.statistics.lots import t_tost_power
from warehouse.statistics.power import covariate_power, fieller_power, power_tost
from warehouse.statistics.power_ranks import (
    mann_whitney_lots,
    mann_whitney_power,
    signed_rank_pairs,
    signed_rank_power,
)
from warehouse.statistics.power_sites import all_pairs_power, each_power, site_share_power
from warehouse.statistics.power_wellek import (
    dispersion_lots,
    dispersion_power,
    f_power,
    paired_t_pairs,
    paired_t_power,
    t_lots,
    t_power,
)
from warehouse.statistics.rates import Exposure, rate_lots, rate_power, rate_tost
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin

LIMITS = Margin(-1.0, 1.0)


def within(hits: float, runs: int, power: float) -> None:
    """A share of `runs` agrees with a power: 4 standard errors are passed by chance in 6 of 100,000."""
    assert hits / runs == pytest.approx(power, abs=4 * sqrt(max(power * (1 - power), 1 / runs) / runs))


def test_wellek_at_no_effect_is_the_published_power() -> None:
    """Wellek's own programs (EQUIVNONINF): 0.2101268 for the t of 12 and 12, 0.2609846 for the F of 40 and 45."""
    assert t_power(12, 12, 0.5, 1.0) == pytest.approx(0.2101268, abs=1e-7)
    assert dispersion_power(40, 45, 0.5625, 1.7689) == pytest.approx(0.2609846, abs=1e-6)


@given(n=st.integers(3, 30), eps=st.floats(0.3, 2.0))
@settings(max_examples=30, deadline=None)
def test_wellek_at_the_margin_has_its_level_and_grows_inwards(n: int, eps: float) -> None:
    for power in (
        lambda e: t_power(n, n + 2, eps, eps, effect=e * eps),
        lambda e: paired_t_power(n, -eps, eps, effect=e * eps),
        lambda e: dispersion_power(n, n + 3, 1 / (1 + eps), 1 + eps, ratio=(1 + eps) ** e),
        lambda e: f_power(4, n, eps, effect=e * eps),
    ):
        assert power(1.0) == pytest.approx(0.05, abs=1e-7)
        assert power(0.0) >= power(0.5) >= power(1.0) >= power(1.5)


def test_wellek_power_is_how_often_the_test_accepts() -> None:
    rng, runs = np.random.default_rng(1), 2000
    hits = np.zeros(4)
    constants = wellek.t_constants(9, 12, 1.2, 1.2), wellek.paired_t_constants(9, -1.0, 1.0)
    spread = wellek.dispersion_constants(8, 11, 0.2, 5.0)
    for _ in range(runs):
        x, y, z = rng.normal(0.4, 1, 9), rng.normal(0, 1, 12), rng.normal(0, 1, 10)
        pooled = sqrt((8 * x.var(ddof=1) + 11 * y.var(ddof=1)) / 19 * (1 / 9 + 1 / 12))
        hits[0] += constants[0].c1 < (x.mean() - y.mean()) / pooled < constants[0].c2
        hits[1] += constants[1].c1 < x.mean() * 3 / x.std(ddof=1) < constants[1].c2
        hits[2] += spread.c1 < x.var(ddof=1) / y.var(ddof=1) < spread.c2
        hits[3] += sites.wellek_f({"x": x - 0.4, "y": y[:9], "z": z[:9]}, 1.2).equivalent
    powers = (
        t_power(9, 12, 1.2, 1.2, effect=0.4), paired_t_power(9, -1.0, 1.0, effect=0.4),
        dispersion_power(8, 11, 0.2, 5.0), f_power(3, 9, 1.2),
    )  # fmt: skip
    for hit, power in zip(hits, powers, strict=True):
        within(hit, runs, power)


def test_rank_power_is_how_often_the_interval_lies_inside() -> None:
    rng, runs = np.random.default_rng(2), 1500
    unpaired = paired = 0
    for _ in range(runs):
        ref, new = rng.normal(0, 1, 12), rng.normal(0.2, 1, 8)
        found = ranks.mann_whitney(ref, new)
        unpaired += LIMITS.low < found.ci_low and found.ci_high < LIMITS.high
        pairs = ranks.signed_rank(ref[:8], ref[:8] + rng.normal(0.2, 1, 8))
        paired += LIMITS.low < pairs.ci_low and pairs.ci_high < LIMITS.high
    for hits, told in (
        (unpaired, mann_whitney_power(12, 8, 1.0, LIMITS, true=0.2)),
        (paired, signed_rank_power(8, 1.0, LIMITS, true=0.2)),
    ):
        error = sqrt(told.mc_error**2 + told.power * (1 - told.power) / runs)
        assert hits / runs == pytest.approx(told.power, abs=4 * error)
    # For normal lots ranks cost little: about 5 % more lots than t.
    t = t_tost_power(LIMITS, sqrt(1 / 20), 19)
    assert signed_rank_power(20, 1.0, LIMITS).power == pytest.approx(t, abs=0.05)


def test_rank_power_refuses_what_cannot_reach_the_level() -> None:
    with pytest.raises(StatisticsRefusal, match="5 pairs reach"):
        signed_rank_power(4, 1.0, LIMITS)
    with pytest.raises(StatisticsRefusal, match="cannot reach"):
        mann_whitney_power(2, 2, 1.0, LIMITS)
    assert signed_rank_pairs(1.0, Margin(-0.05, 0.05)) is None
    assert mann_whitney_lots(5, 1.0, Margin(-0.2, 0.2)) is None


def test_the_power_of_rates_is_how_often_the_exact_test_accepts() -> None:
    rng, runs, margin = np.random.default_rng(3), 1200, Margin(0.5, 2.0)
    for ratio in (1.0, 1.3, 2.0):
        hits = 0
        for b, a in zip(rng.poisson(40, runs), rng.poisson(20 * ratio, runs), strict=True):
            hits += rate_tost(Exposure(int(a), 20), Exposure(int(b), 40), margin).equivalent
        within(hits, runs, rate_power(1.0, 40, 20, margin, ratio=ratio))
    assert rate_power(1.0, 40, 20, margin, ratio=2.0) <= 0.05
    # Three times the events or a third of the lots: the exposure is one and the same.
    assert rate_power(3.0, 40, 20, margin) == pytest.approx(rate_power(1.0, 120, 60, margin))


def test_power_of_several_sites_is_how_often_all_pass() -> None:
    rng, runs = np.random.default_rng(4), 60
    sizes, true = {"a": 8, "b": 10, "c": 12}, (0.2, 0.0, -0.3)
    each = pairs = share = 0
    for _ in range(runs):
        lots = {name: rng.normal(d, 1, n) for (name, n), d in zip(sizes.items(), true, strict=True)}
        each += bool(
            sites.reference_vs_each({"r": rng.normal(0, 1, 20)} | lots, "r", margin=LIMITS).all_inside
        )
        alike = {name: rng.normal(0, 1, 12) for name in "wxyz"}
        pairs += bool(sites.all_pairs(alike, margin=LIMITS).all_inside)
        share += sites.random_sites(alike).upper < 0.3
    within(each, runs, each_power(20, list(sizes.values()), 1.0, LIMITS, true=true))
    within(pairs, runs, all_pairs_power(4, 12, 1.0, 1.0))
    within(share, runs, site_share_power(4, 12, 0.3))


def test_one_site_is_the_pooled_test_and_two_sites_are_one_pair() -> None:
    pooled = power_tost("parallel", 1.0, 24, LIMITS)
    assert each_power(12, [12], 1.0, LIMITS) == pytest.approx(pooled, abs=1e-8)
    assert all_pairs_power(2, 12, 1.0, 1.0) == pytest.approx(pooled, abs=1e-8)
    assert each_power(12, [12], 1.0, LIMITS, true=[1.0]) == pytest.approx(0.05, abs=1e-3)


def test_power_with_covariates_is_how_often_the_adjusted_interval_lies_inside() -> None:
    rng, runs, hits = np.random.default_rng(5), 300, 0
    names = ["reference"] * 12 + ["site"] * 8
    for _ in range(runs):
        sick = np.concatenate([rng.normal(0, 1, 12), rng.normal(0.8, 1, 8)])
        found = compare_routine(
            2 * sick + rng.normal(0, 1, 20), names, reference="reference",
            patient=[str(i) for i in range(20)], numeric={"sick": sick},
        ).estimates["site"]  # fmt: skip
        hits += LIMITS.low < found.ci_low and found.ci_high < LIMITS.high
    within(hits, runs, covariate_power(LIMITS, 1.0, 12, 8, 1, apart=0.8))
    assert covariate_power(LIMITS, 1.0, 12, 12, 0) == power_tost("parallel", 1.0, 24, LIMITS)


def test_power_of_a_ratio_of_means_is_how_often_fieller_lies_inside() -> None:
    rng, runs, margin = np.random.default_rng(6), 2000, Margin(0.8, 1.25)
    for ratio in (1.0, 0.9, 1.25):
        hits = 0
        for _ in range(runs):
            ref, new = means.summarise(rng.normal(1, 0.2, 15)), means.summarise(rng.normal(ratio, 0.2, 10))
            found = means.fieller(ref, new)
            hits += margin.low < found.ci_low and found.ci_high < margin.high
        within(hits, runs, fieller_power(margin, 0.2, 15, 10, ratio=ratio))


Sized = tuple[Callable[[], int | None], Callable[[int], float]]


@pytest.mark.parametrize(
    "sized",
    [
        (lambda: t_lots(None, 0.8, 0.8), lambda n: t_power(n, n, 0.8, 0.8)),
        (lambda: t_lots(40, 0.8, 0.8), lambda n: t_power(n, 40, 0.8, 0.8)),
        (lambda: paired_t_pairs(-0.7, 0.7), lambda n: paired_t_power(n, -0.7, 0.7)),
        (lambda: dispersion_lots(60, 0.3, 3.3), lambda n: dispersion_power(n - 1, 59, 0.3, 3.3)),
        (lambda: rate_lots(1.0, 40, Margin(0.5, 2.0)), lambda n: rate_power(1.0, 40, n, Margin(0.5, 2.0))),
        (lambda: mann_whitney_lots(40, 1.0, LIMITS), lambda n: mann_whitney_power(40, n, 1.0, LIMITS).power),
        (lambda: signed_rank_pairs(1.0, LIMITS), lambda n: signed_rank_power(n, 1.0, LIMITS).power),
    ],
)
def test_sizes_are_the_smallest_that_do(sized: Sized) -> None:
    size, power_at = sized
    n = size()
    assert n is not None
    assert power_at(n) >= 0.8 > power_at(n - 1)


def test_no_number_of_lots_mends_a_small_reference() -> None:
    assert t_lots(5, 0.5, 0.5) is None
    assert rate_lots(0.2, 5, Margin(0.5, 2.0)) is None
    assert dispersion_lots(5, 0.5, 2.0) is None
