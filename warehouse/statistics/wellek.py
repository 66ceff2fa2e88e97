"""Wellek's optimal equivalence tests: standardised difference of means, dispersion, P(X > Y).

Belongs here: critical constants and decisions of the paired and two-sample t, F and Mann-Whitney equivalence
tests. Does not belong here: his k-sample F (sites.py), tests on the attribute's own scale (means.py).

The margins are in standard deviations, variance ratios or probabilities: say so beside every result, because
a margin in SDs widens when the process gets noisier. Source: Wellek (2010), Testing Statistical Hypotheses of
Equivalence and Noninferiority, 2nd ed., sections 5.3, 6.1, 6.2, 6.4, 6.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import inf, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr

from warehouse.statistics.means import Summary
from warehouse.statistics.quadrature import unit_nodes
from warehouse.statistics.refusal import Floats, StatisticsRefusal, one_sided, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Constants:
    """Reject non-equivalence when c1 < statistic < c2. `power0` is the power where the two are the same."""

    method: Literal["wellek-t", "wellek-paired-t", "wellek-dispersion"]
    c1: float
    c2: float
    power0: float


@dataclass(frozen=True, slots=True)
class WellekTest:
    """A statistic beside its constants."""

    constants: Constants
    statistic: float
    equivalent: bool


@dataclass(frozen=True, slots=True)
class WellekMannWhitney:
    """P(X > Y) estimated by `w`, its SD, the critical bound on |w - centre| / sd, and the decision."""

    w: float
    sd: float
    critical: float
    statistic: float
    equivalent: bool


def _solve(
    low: Callable[[float], float],
    high: Callable[[float], float],
    high_quantile: Callable[[float], float],
    start: float,
    alpha: float,
) -> tuple[float, float]:
    """(c1, c2) holding probability alpha between them at both ends of the margin.

    `low` and `high` are the distribution functions of the statistic at the lower and upper margin. c2 is tied
    to c1 by the upper one; what c1 to c2 holds at the lower margin falls as c1 grows (the likelihood ratio is
    monotone).
    """

    def upper(c1: float) -> float:
        return high_quantile(min(1.0, high(c1) + alpha))

    def excess(c1: float) -> float:
        return low(upper(c1)) - low(c1) - alpha

    last = high_quantile(1 - alpha)
    end = last - 1e-9 * max(1.0, abs(last))
    if not excess(start) > 0 > excess(end):
        raise StatisticsRefusal("Wellek's constants have no solution for this margin and these sizes.")
    c1 = float(brentq(excess, start, end, xtol=1e-13, rtol=1e-13))
    return c1, float(upper(c1))


@lru_cache(maxsize=64)
def _sample_sd(df: int) -> tuple[Floats, Floats]:
    """Nodes and probabilities of a sample SD on `df` degrees of freedom, true SD 1."""
    x, w = unit_nodes(128)
    lowest, highest = np.sqrt(stats.chi2.ppf([1e-15, 1 - 1e-15], df) / df)
    sd = lowest + x * (highest - lowest)
    return sd, (highest - lowest) * w * stats.chi.pdf(sd * sqrt(df), df) * sqrt(df)


def noncentral_t(value: float, df: int, shift: float) -> float:
    """P(T <= value), integrated over the SD: library functions give no number far out in the tails."""
    sd, weight = _sample_sd(df)
    return float(weight @ ndtr(value * sd - shift))


def _noncentral_t_quantile(p: float, df: int, shift: float) -> float:
    """The value `noncentral_t` gives `p` for; infinite at 1."""
    if p >= 1:
        return inf
    reach = 8.0
    while not noncentral_t(shift - reach, df, shift) < p < noncentral_t(shift + reach, df, shift):
        reach *= 4
        if reach > 1e9:
            return inf if p > 0.5 else -inf
    return float(
        brentq(lambda c: noncentral_t(c, df, shift) - p, shift - reach, shift + reach, xtol=1e-13, rtol=1e-13)
    )


def _t_constants(
    method: Literal["wellek-t", "wellek-paired-t"], df: int, low: float, high: float, level: float
) -> Constants:
    """Constants of a t statistic on `df` whose noncentrality lies between `low` and `high`."""
    c1, c2 = _solve(
        lambda c: noncentral_t(c, df, low),
        lambda c: noncentral_t(c, df, high),
        lambda p: _noncentral_t_quantile(p, df, high),
        _noncentral_t_quantile(1e-6, df, low),
        level,
    )
    return Constants(method, c1, c2, float(stats.t.cdf(c2, df) - stats.t.cdf(c1, df)))


def t_constants(m: int, n: int, eps1: float, eps2: float, *, alpha: float = 0.05) -> Constants:
    """Two-sample t: -eps1 < (mean1 - mean2) / sd < eps2 with groups of m and n, equal variances."""
    level = one_sided(alpha)
    if m < 1 or n < 1 or m + n < 3:
        raise StatisticsRefusal(f"Wellek's t needs at least 3 values in two groups, got {m} and {n}.")
    if eps1 <= 0 or eps2 <= 0:
        raise StatisticsRefusal("Wellek's t needs margins above 0 on both sides.")
    factor = sqrt(m * n / (m + n))
    return _t_constants("wellek-t", m + n - 2, -eps1 * factor, eps2 * factor, level)


def paired_t_constants(n: int, theta1: float, theta2: float, *, alpha: float = 0.05) -> Constants:
    """One-sample t of n paired differences: theta1 < mean / sd < theta2 (section 5.3)."""
    level = one_sided(alpha)
    if n < 2:
        raise StatisticsRefusal(f"Wellek's paired t needs at least 2 pairs, got {n}.")
    if not theta1 < theta2:
        raise StatisticsRefusal("Wellek's paired t needs theta1 < theta2.")
    return _t_constants("wellek-paired-t", n - 1, theta1 * sqrt(n), theta2 * sqrt(n), level)


def paired_t_test(difference: Summary, theta1: float, theta2: float, *, alpha: float = 0.05) -> WellekTest:
    """Wellek's t of paired differences, from their summary; raises StatisticsRefusal without a spread."""
    if difference.sd <= 0:
        raise StatisticsRefusal("All pairs differ by the same amount: an effect in SDs has no meaning.")
    statistic = difference.mean * sqrt(difference.n) / difference.sd
    constants = paired_t_constants(difference.n, theta1, theta2, alpha=alpha)
    return WellekTest(constants, statistic, constants.c1 < statistic < constants.c2)


def t_test(test: Summary, reference: Summary, eps1: float, eps2: float, *, alpha: float = 0.05) -> WellekTest:
    """Wellek's t of two groups on the analysis scale; raises StatisticsRefusal where there is no spread."""
    if min(test.n, reference.n) < 2:
        raise StatisticsRefusal("Wellek's t needs at least 2 values on each side.")
    df = test.n + reference.n - 2
    pooled = ((test.n - 1) * test.sd**2 + (reference.n - 1) * reference.sd**2) / df
    if pooled <= 0:
        raise StatisticsRefusal(
            "Every value is the same: a difference in standard deviations has no meaning."
        )
    statistic = (test.mean - reference.mean) / sqrt(pooled * (1 / test.n + 1 / reference.n))
    constants = t_constants(test.n, reference.n, eps1, eps2, alpha=alpha)
    return WellekTest(constants, statistic, constants.c1 < statistic < constants.c2)


def dispersion_constants(df1: int, df2: int, rho1: float, rho2: float, *, alpha: float = 0.05) -> Constants:
    """F test that the ratio of variances lies between rho1 and rho2, on df1 and df2 degrees of freedom."""
    level = one_sided(alpha)
    if df1 < 1 or df2 < 1:
        raise StatisticsRefusal("A ratio of variances needs at least 2 values on each side.")
    if not 0 < rho1 < rho2:
        raise StatisticsRefusal("A margin for a ratio of variances needs 0 < rho1 < rho2.")
    f = stats.f(df1, df2)
    c1, c2 = _solve(
        lambda c: float(f.cdf(c / rho1)),
        lambda c: float(f.cdf(c / rho2)),
        lambda p: rho2 * float(f.ppf(p)),
        rho1 * float(f.ppf(1e-9)),
        level,
    )
    return Constants("wellek-dispersion", c1, c2, float(f.cdf(c2) - f.cdf(c1)))


def dispersion_test(
    test: Summary, reference: Summary, rho1: float, rho2: float, *, alpha: float = 0.05
) -> WellekTest:
    """Wellek's F of the variance of `test` over that of `reference`."""
    if test.sd <= 0 or reference.sd <= 0:
        raise StatisticsRefusal("A side has no spread at all: the ratio of variances has no distribution.")
    constants = dispersion_constants(test.n - 1, reference.n - 1, rho1, rho2, alpha=alpha)
    statistic = (test.sd / reference.sd) ** 2
    return WellekTest(constants, statistic, constants.c1 < statistic < constants.c2)


def mann_whitney(
    x: ArrayLike, y: ArrayLike, eps1: float, eps2: float, *, alpha: float = 0.05, ties: bool = False
) -> WellekMannWhitney:
    """Asymptotic test that 1/2 - eps1 < P(X > Y) < 1/2 + eps2, for distributions of any shape.

    `ties` False counts a tie as "not greater", for continuous values; True tests P(X > Y | X != Y) (section
    6.4). Raises StatisticsRefusal when the two groups do not overlap, because the estimated standard
    deviation is then 0.
    """
    level = one_sided(alpha)
    if not (0 < eps1 <= 0.5 and 0 < eps2 <= 0.5):
        raise StatisticsRefusal("Wellek's Mann-Whitney test needs margins between 0 and 0.5.")
    first, second = vector(x, "x", at_least=2), vector(y, "y", at_least=2)
    above = (first[:, None] > second[None, :]).astype(float)
    tied = (first[:, None] == second[None, :]).astype(float)
    w, variance = float(above.mean()), _u_covariance(above, above)
    if ties:
        share = float(tied.mean())
        rest = 1.0 - share
        if rest <= 0.0:
            raise StatisticsRefusal("Every value of one group is tied with every one of the other.")
        variance = (
            variance / rest**2
            + w**2 * _u_covariance(tied, tied) / rest**4
            + 2.0 * w * _u_covariance(above, tied) / rest**3
        )
        w /= rest
    if variance <= 1e-15:
        raise StatisticsRefusal(
            "The two groups do not overlap (or are all tied): P(X > Y) has no estimated spread."
        )
    sd = sqrt(variance)
    half = (eps1 + eps2) / 2 / sd
    critical = float(np.sqrt(stats.ncx2.ppf(level, 1, half**2)))
    statistic = abs(w - 0.5 - (eps2 - eps1) / 2) / sd
    return WellekMannWhitney(w, sd, critical, statistic, statistic < critical)


def _u_covariance(a: Floats, b: Floats) -> float:
    """Estimated covariance of the means of two indicators of pairs (m x n each), as Wellek states it."""
    m, n = a.shape
    both = float((a * b).mean())
    # Pairs that share the same y, and those that share the same x.
    by_y = float((a.sum(axis=0) * b.sum(axis=0) - (a * b).sum(axis=0)).sum()) / (m * (m - 1) * n)
    by_x = float((a.sum(axis=1) * b.sum(axis=1) - (a * b).sum(axis=1)).sum()) / (n * (n - 1) * m)
    product = float(a.mean()) * float(b.mean())
    return float((both - (m + n - 1) * product + (m - 1) * by_y + (n - 1) * by_x) / (m * n))
