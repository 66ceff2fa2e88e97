"""Exact power and sample size of Wellek's tests: t of two groups and of pairs, dispersion, k-sample F.

Belongs here: the chance that a statistic falls between its constants at a true effect, and the smallest size that
reaches a power. Does not belong here: the constants (`wellek`), the k-sample test itself (`sites`).

Effects are in the tests' own units: standard deviations, ratios of variances. Closed form by the noncentral t, the F
and the noncentral F; at an effect of 0 (a ratio of 1) it is `Constants.power0`. Wellek's Mann-Whitney test is
asymptotic and has none (see `power_ranks` for exact ranks). Source: Wellek (2010), sections 5.3, 6.1, 6.5, 7.2.
"""

from __future__ import annotations

from math import inf, sqrt

from scipy import stats

from warehouse.statistics.lots import first_enough
from warehouse.statistics.refusal import StatisticsRefusal, probability
from warehouse.statistics.wellek import dispersion_constants, noncentral_t, paired_t_constants, t_constants


def t_power(m: int, n: int, eps1: float, eps2: float, *, effect: float = 0.0, alpha: float = 0.05) -> float:
    """Power of the two-sample t at a true (mean1 - mean2) / sd of `effect`; the same side as `wellek.t_constants`."""
    found = t_constants(m, n, eps1, eps2, alpha=alpha)
    shift = effect * sqrt(m * n / (m + n))
    return noncentral_t(found.c2, m + n - 2, shift) - noncentral_t(found.c1, m + n - 2, shift)


def paired_t_power(
    n: int, theta1: float, theta2: float, *, effect: float = 0.0, alpha: float = 0.05
) -> float:
    """Power of the paired t of n differences at a true mean / sd of `effect`."""
    found = paired_t_constants(n, theta1, theta2, alpha=alpha)
    shift = effect * sqrt(n)
    return noncentral_t(found.c2, n - 1, shift) - noncentral_t(found.c1, n - 1, shift)


def dispersion_power(
    df1: int, df2: int, rho1: float, rho2: float, *, ratio: float = 1.0, alpha: float = 0.05
) -> float:
    """Power of the F of two variances at a true ratio of variances of `ratio`."""
    if not ratio > 0.0:
        raise StatisticsRefusal(f"A ratio of variances must be above 0, got {ratio:g}.")
    found = dispersion_constants(df1, df2, rho1, rho2, alpha=alpha)
    f = stats.f(df1, df2)
    return float(f.cdf(found.c2 / ratio) - f.cdf(found.c1 / ratio))


def f_power(sites: int, lots: float, epsilon: float, *, effect: float = 0.0, alpha: float = 0.05) -> float:
    """Power of the k-sample F with `lots` of each site, at a true spread of the sites' means of `effect`.

    `effect` is in the unit of `epsilon`: root of the sum of squared deviations from the common mean, in lots' SDs.
    """
    if sites < 2 or lots * sites - sites < 1 or not epsilon > 0.0 or effect < 0.0:
        raise StatisticsRefusal("The k-sample F needs two sites, a lot to spare, and a bound above 0.")
    between, within = sites - 1, lots * sites - sites
    critical = stats.ncf.ppf(probability(alpha, "alpha"), between, within, lots * epsilon**2)
    if effect == 0.0:
        return float(stats.f.cdf(critical, between, within))
    return float(stats.ncf.cdf(critical, between, within, lots * effect**2))


def t_lots(
    n_reference: int | None, eps1: float, eps2: float, *, effect: float = 0.0, alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:  # fmt: skip
    """Smallest number of test lots, the reference fixed (None: as many), with `power`; None when none would do."""
    probability(power, "power")

    def at(n: int) -> float:
        return t_power(n, n_reference or n, eps1, eps2, effect=effect, alpha=alpha)

    if not -eps1 < effect < eps2:
        return None
    if n_reference is None:
        return first_enough(at, start=2, limit=1.0, power=power)
    # With ever more test lots the statistic is that of the reference against a known mean and SD.
    root = sqrt(n_reference)
    limit = _known_power(-eps1 * root, eps2 * root, effect * root, alpha)
    return None if limit < power else first_enough(at, start=2, limit=limit, power=power)


def paired_t_pairs(
    theta1: float, theta2: float, *, effect: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Smallest number of pairs with `power`; None where the effect is not inside the margin."""
    probability(power, "power")
    if not theta1 < effect < theta2:
        return None
    return first_enough(
        lambda n: paired_t_power(n, theta1, theta2, effect=effect, alpha=alpha),
        start=2,
        limit=1.0,
        power=power,
    )


def dispersion_lots(
    n_reference: int | None, rho1: float, rho2: float, *, ratio: float = 1.0, alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:  # fmt: skip
    """Smallest number of test lots, the reference fixed (None: as many), with `power`; None when none would do."""
    probability(power, "power")
    if not rho1 < ratio < rho2:
        return None

    def at(n: int) -> float:
        return dispersion_power(n - 1, (n_reference or n) - 1, rho1, rho2, ratio=ratio, alpha=alpha)

    limit = 1.0 if n_reference is None else at(100_000)
    return first_enough(at, start=2, limit=limit, power=power)


def _known_power(low: float, high: float, true: float, alpha: float) -> float:
    """Power of the optimal test of a normal mean of known SD 1: the limit of infinitely many degrees of freedom."""
    z = stats.norm
    centre, half = (low + high) / 2.0, (high - low) / 2.0
    bound = sqrt(float(stats.ncx2.ppf(alpha, 1, half**2)))
    return float(z.cdf(centre + bound - true) - z.cdf(centre - bound - true)) if half < inf else 1.0
