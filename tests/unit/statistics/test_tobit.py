"""The mixed Tobit model: REML's cousin without censoring, the censored sample without groups, truth, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from warehouse.statistics.censored import lognormal_mle
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.tobit import mixed_tobit


def drawn(seed: int, groups: int = 60, each: int = 3) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(groups), each)
    site = (code % 2).astype(float)
    y = 1 + 0.5 * site + rng.normal(0, 0.8, groups)[code] + rng.normal(0, 0.4, code.size)
    return y, np.column_stack([np.ones(code.size), site]), [str(c) for c in code]


def test_without_censoring_it_is_the_balanced_anova() -> None:
    y, x, group = drawn(1)
    fit = mixed_tobit(y, np.zeros(y.size, bool), x, group)
    means = y.reshape(60, 3).mean(axis=1)
    side = np.arange(60) % 2 == 1
    assert fit.beta[1] == pytest.approx(means[side].mean() - means[~side].mean(), abs=2e-3)
    within = y.reshape(60, 3).var(axis=1, ddof=1).mean()
    assert fit.sd_residual == pytest.approx(np.sqrt(within), rel=1e-2)
    # Maximum likelihood: group means about their side's, divided by their number.
    left = np.where(side, means - means[side].mean(), means - means[~side].mean())
    assert fit.sd_group == pytest.approx(np.sqrt((left**2).mean() - within / 3), rel=2e-2)


def test_one_result_a_group_is_the_censored_sample() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(0, 1, 40)
    below = y < -0.5
    y = np.where(below, -0.5, y)
    alone = mixed_tobit(y, below, np.ones((40, 1)), [str(i) for i in range(40)])
    sample = lognormal_mle(np.exp(y), below)
    assert alone.beta[0] == pytest.approx(sample.meanlog, abs=1e-4)
    assert alone.sd_residual == pytest.approx(sample.sdlog, rel=1e-4)
    assert alone.se[0] == pytest.approx(sample.se_meanlog, rel=1e-3)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(20):
        y, x, group = drawn(seed, groups=40, each=2)
        below = y < 0.8
        low, high = mixed_tobit(np.where(below, 0.8, y), below, x, group).interval(1)
        held += low <= 0.5 <= high
    assert held >= 15


def test_refusals_are_words() -> None:
    y, x, group = drawn(3, groups=4, each=1)
    with pytest.raises(StatisticsRefusal, match="Every result is below"):
        mixed_tobit(y, np.ones(4, bool), x, group)
    with pytest.raises(StatisticsRefusal, match="One side has no result"):
        mixed_tobit(y, x[:, 1] == 1, x, group)
    with pytest.raises(StatisticsRefusal, match="Too few different"):
        mixed_tobit([1.0, 1.0, 1.0], [False, False, True], np.ones((3, 1)), ["a", "b", "c"])
    with pytest.raises(StatisticsRefusal, match="not independent"):
        mixed_tobit(y, np.zeros(4, bool), np.ones((4, 2)), group)
