"""Equivalence of variability: a site that is equal on average but noisier must fail.

Belongs here: the ratio of two standard deviations with its F interval, TOST and lots needed; Levene,
Brown-Forsythe and Bartlett as description. Does not belong here: variance components (varcomp.py), Wellek's
dispersion test (wellek.py).

The F interval and test assume normal lots on the analysis scale and are sensitive to that; the homogeneity
tests look for a difference and never prove there is none. Sources: Snedecor & Cochran; Levene (1960); Brown &
Forsythe (1974) JASA 69:364; Bartlett (1937) Proc Roy Soc A 160:268.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, log, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from warehouse.statistics.lots import first_enough
from warehouse.statistics.means import Estimate, Summary, interval_name
from warehouse.statistics.refusal import StatisticsRefusal, one_sided, probability, spread, vector
from warehouse.statistics.scales import Margin

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class VarianceRatio:
    """Ratio of variances, test over reference, with the two-sided interval at `level`."""

    ratio: float
    ci_low: float
    ci_high: float
    level: float
    df_test: int
    df_reference: int


@dataclass(frozen=True, slots=True)
class SpreadTost:
    """Two one-sided F tests of a ratio of SDs against a margin (as read); a low limit of 0 is not tested."""

    estimate: Estimate
    margin: Margin
    p_lower: float
    p_upper: float
    p: float
    equivalent: bool


@dataclass(frozen=True, slots=True)
class Homogeneity:
    """A test of equal variances across groups: statistic, degrees of freedom and p. Description only."""

    method: Literal["levene", "brown-forsythe", "bartlett"]
    statistic: float
    df1: float
    df2: float | None
    p: float


def variance_ratio(test: Summary, reference: Summary, *, level: float = 0.95) -> VarianceRatio:
    """Variance of `test` over that of `reference` with the F interval; means are not used.

    Raises StatisticsRefusal when a side has fewer than 2 values or no spread: the ratio has no interval then.
    """
    probability(level, "level")
    for name, group in (("test", test), ("reference", reference)):
        if group.n < 2:
            raise StatisticsRefusal(f"{name}: {group.n} value(s), a variance needs at least 2.")
        if not isfinite(group.sd) or group.sd <= 0:
            raise StatisticsRefusal(
                f"{name}: every value is the same, so the ratio of variances has no interval."
            )
    ratio = (test.sd / reference.sd) ** 2
    d1, d2 = test.n - 1, reference.n - 1
    tail = (1 - level) / 2
    return VarianceRatio(
        ratio,
        ratio / float(stats.f.isf(tail, d1, d2)),
        ratio / float(stats.f.ppf(tail, d1, d2)),
        level,
        d1,
        d2,
    )


def sd_ratio(reference: Summary, test: Summary, *, alpha: float = 0.05) -> Estimate:
    """Ratio of SDs, test over reference, with its two-sided 1 - 2 alpha F interval, for the verdict."""
    level = one_sided(alpha)
    ratio = variance_ratio(test, reference, level=1 - 2 * level)
    return Estimate(
        method="sd-ratio-f",
        scale="log",
        reading="ratio",
        estimate=sqrt(ratio.ratio),
        ci_low=sqrt(ratio.ci_low),
        ci_high=sqrt(ratio.ci_high),
        alpha=level,
        interval=interval_name(level),
        n_reference=reference.n,
        n_test=test.n,
        df_method="n1 - 1, n2 - 1",
        sd_reference=reference.sd,
        sd_test=test.sd,
    )


def sd_ratio_tost(estimate: Estimate, margin: Margin) -> SpreadTost:
    """Two one-sided F tests that the true ratio of SDs lies inside `margin`."""
    if not 0 <= margin.low < margin.high or not isfinite(margin.high):
        raise StatisticsRefusal("A margin for a ratio of SDs needs 0 <= low < high.")
    d1, d2, ratio = estimate.n_test - 1, estimate.n_reference - 1, estimate.estimate
    p_lower = float(stats.f.sf((ratio / margin.low) ** 2, d1, d2)) if margin.low > 0 else 0.0
    p_upper = float(stats.f.cdf((ratio / margin.high) ** 2, d1, d2))
    p = max(p_lower, p_upper)
    return SpreadTost(estimate, margin, p_lower, p_upper, p, p < estimate.alpha)


def sd_ratio_power(
    margin: Margin, n_reference: int, n_test: float, *, true_ratio: float = 1.0, alpha: float = 0.05
) -> float:
    """Exact power of the two one-sided F tests; with infinite `n_test` only the reference is uncertain."""
    d1, d2 = n_test - 1, n_reference - 1
    if d1 == inf:
        # F(inf, d2) is d2 / chi2(d2).
        low = margin.low**2 * d2 / stats.chi2.ppf(alpha, d2)
        high = margin.high**2 * d2 / stats.chi2.isf(alpha, d2)
        below = stats.chi2.cdf(d2 * true_ratio**2 / low, d2) if low > 0 else 1.0
        above = stats.chi2.cdf(d2 * true_ratio**2 / high, d2)
        return max(0.0, float(below - above))
    low = margin.low**2 * float(stats.f.isf(alpha, d1, d2)) / true_ratio**2
    high = margin.high**2 * float(stats.f.ppf(alpha, d1, d2)) / true_ratio**2
    return max(0.0, float(stats.f.cdf(high, d1, d2) - stats.f.cdf(low, d1, d2)))


def variability_lots(
    estimate: Estimate, margin: Margin, *, true_ratio: float = 1.0, power: float = 0.8
) -> int | None:
    """Further lots of the site, reference fixed, for `power` to show that SDs in `true_ratio` lie inside `margin`.

    None when the reference has too few lots for any number of the site's to do.
    """
    n_reference, n_test, alpha = estimate.n_reference, estimate.n_test, estimate.alpha
    limit = sd_ratio_power(margin, n_reference, inf, true_ratio=true_ratio, alpha=alpha)

    def power_at(n: int) -> float:
        return sd_ratio_power(margin, n_reference, n, true_ratio=true_ratio, alpha=alpha)

    found = first_enough(power_at, start=n_test, limit=limit, power=power)
    return None if found is None else found - n_test


def _groups(groups: Sequence[ArrayLike]) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    if len(groups) < 2:
        raise StatisticsRefusal(f"Homogeneity of variances needs at least 2 groups, got {len(groups)}.")
    return [vector(group, f"group {i + 1}", at_least=2) for i, group in enumerate(groups)]


def levene(groups: Sequence[ArrayLike], *, center: Literal["median", "mean"] = "median") -> Homogeneity:
    """One-way ANOVA of absolute deviations from the group median (Brown-Forsythe) or mean (Levene)."""
    arrays = _groups(groups)
    middle = np.median if center == "median" else np.mean
    deviations = [np.abs(array - middle(array)) for array in arrays]
    if all(np.ptp(part) == 0 for part in deviations):
        raise StatisticsRefusal(
            "Every group's deviations are the same: Levene's test has no error to judge by."
        )
    statistic, p = stats.f_oneway(*deviations)
    total = sum(array.size for array in arrays)
    method: Literal["levene", "brown-forsythe"] = "brown-forsythe" if center == "median" else "levene"
    return Homogeneity(method, float(statistic), len(arrays) - 1, total - len(arrays), float(p))


def bartlett(groups: Sequence[ArrayLike]) -> Homogeneity:
    """Bartlett's K2, chi-square with k - 1 df. Sensitive to non-normal lots."""
    arrays = _groups(groups)
    sds = [spread(array) for array in arrays]
    if min(sds) <= 0:
        raise StatisticsRefusal("A group has no spread at all: Bartlett's test takes its logarithm.")
    df = np.array([array.size - 1 for array in arrays], dtype=float)
    variances = np.square(sds)
    total = float(df.sum())
    pooled = float((df * variances).sum() / total)
    correction = 1 + (float((1 / df).sum()) - 1 / total) / (3 * (len(arrays) - 1))
    k2 = (total * log(pooled) - float((df * np.log(variances)).sum())) / correction
    return Homogeneity("bartlett", k2, len(arrays) - 1, None, float(stats.chi2.sf(k2, len(arrays) - 1)))
