"""More than two sites: each against the reference, all pairs, all at once, and the site as a random draw.

Belongs here: comparisons of several groups of lots with one pooled spread. Does not belong here: shared
donors (`split_apheresis`), which family a claim belongs to (the plan), adjusted p-values of attributes.

For the claim "every site is comparable" each site passes its own two one-sided tests at alpha and nothing is
adjusted (intersection-union, Berger 1982). Dunnett's simultaneous intervals are for claims about single sites
chosen after looking. All pairs: alpha / (k - 1) bounds the chance of any false pair (Caffo et al. 2009).
Other sources: Dunnett (1955, 1964); Wellek (2010), section 7.2; Wald (1940) for the share of variance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from warehouse.statistics.means import Estimate, difference_on_scale, estimate_from_t, tost
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.quadrature import nodes_of
from warehouse.statistics.refusal import StatisticsRefusal, one_sided, probability
from warehouse.statistics.scales import Margin, Scale, forward, read


@dataclass(frozen=True, slots=True)
class SiteEstimate:
    """One site against the reference: its own interval, Dunnett's simultaneous one, and the TOST p-value.

    `adjusted_p` is Dunnett's two-sided p-value of no difference, for information: it never makes a verdict.
    """

    estimate: Estimate
    simultaneous_low: float
    simultaneous_high: float
    p: float | None
    adjusted_p: float


@dataclass(frozen=True)
class ReferenceVsEach:
    """`all_inside`: every site's own interval lies inside the margin (None without a margin).

    `critical` is Dunnett's two-sided quantile at `simultaneous_level`.
    """

    reference: str
    sites: dict[str, SiteEstimate]
    pooled_sd: float
    df: int
    critical: float
    simultaneous_level: float
    all_inside: bool | None


@dataclass(frozen=True)
class AllPairs:
    """Every pair, second minus first. `each` at alpha for the claim that all are alike, `bounded` at
    alpha / (k - 1) for claims about chosen pairs."""

    each: dict[tuple[str, str], Estimate]
    bounded: dict[tuple[str, str], Estimate]
    all_inside: bool | None


@dataclass(frozen=True, slots=True)
class Omnibus:
    """Wellek's F test: equivalent when `f` < `critical`. `p` is the chance of a smaller F at the bound."""

    f: float
    df_between: int
    df_within: int
    noncentrality: float
    critical: float
    p: float
    partial_eta_squared: float
    equivalent: bool


@dataclass(frozen=True, slots=True)
class RandomSites:
    """Share of the variance of a single lot that lies between sites, with a one-sided upper limit."""

    sites: int
    share: float
    upper: float
    level: float
    variance_between: float
    variance_within: float


@dataclass(frozen=True, slots=True)
class _Groups:
    names: tuple[str, ...]
    sizes: Floats
    means: Floats
    within: float
    df: int


def _groups(lots: Mapping[str, ArrayLike], scale: Scale = "identity", top: float = 1.0) -> _Groups:
    if len(lots) < 2:
        raise StatisticsRefusal(f"{len(lots)} site(s); a comparison needs at least 2.")
    arrays = {name: forward(values, scale, top=top, what=f"site {name}") for name, values in lots.items()}
    sizes = np.array([a.size for a in arrays.values()], dtype=np.float64)
    df = int(sizes.sum()) - len(arrays)
    if df < 1:
        raise StatisticsRefusal("One lot at every site leaves no spread to judge by; add lots.")
    means = np.array([a.mean() for a in arrays.values()])
    square = sum(float(((a - a.mean()) ** 2).sum()) for a in arrays.values() if np.ptp(a) > 0.0)
    if square <= 0.0:
        raise StatisticsRefusal("The lots of each site are all the same; there is no spread to judge by.")
    return _Groups(tuple(arrays), sizes, means, square / df, df)


def _difference(groups: _Groups, test: str, reference: str, *, scale: Scale, alpha: float) -> Estimate:
    i, j = groups.names.index(test), groups.names.index(reference)
    se = sqrt(groups.within * (1.0 / groups.sizes[i] + 1.0 / groups.sizes[j]))
    return estimate_from_t(
        "pooled-over-sites-t",
        float(groups.means[i] - groups.means[j]),
        se,
        float(groups.df),
        scale=scale,
        alpha=alpha,
        n_reference=int(groups.sizes[j]),
        n_test=int(groups.sizes[i]),
        df_method="lots - sites",
    )


def _all_inside(estimates: Sequence[Estimate], margin: Margin | None) -> bool | None:
    return None if margin is None else all(tost(e, margin).equivalent for e in estimates)


def reference_vs_each(
    lots: Mapping[str, ArrayLike],
    reference: str,
    *,
    margin: Margin | None = None,
    scale: Scale = "identity",
    top: float = 1.0,
    alpha: float = 0.05,
    simultaneous_level: float = 0.95,
) -> ReferenceVsEach:
    """Each site minus the reference with the spread pooled over all sites; `margin` as read."""
    if reference not in lots:
        raise StatisticsRefusal(f"The reference {reference!r} has no lots; there are {', '.join(lots)}.")
    groups = _groups(lots, scale, top)
    probability(simultaneous_level, "simultaneous level")
    base = groups.sizes[groups.names.index(reference)]
    others = [name for name in groups.names if name != reference]
    sizes = np.array([groups.sizes[groups.names.index(name)] for name in others])
    critical = dunnett_critical(sizes, float(base), groups.df, level=simultaneous_level)
    within = _dunnett_coverage(sizes, float(base), groups.df)
    sites = {}
    for name in others:
        found = _difference(groups, name, reference, scale=scale, alpha=alpha)
        assert found.se is not None
        centre, half = difference_on_scale(found), critical * found.se
        sites[name] = SiteEstimate(
            found,
            read(centre - half, scale),
            read(centre + half, scale),
            None if margin is None else tost(found, margin).p,
            min(1.0, max(0.0, 1.0 - within(abs(centre / found.se)))),
        )
    inside = _all_inside([site.estimate for site in sites.values()], margin)
    return ReferenceVsEach(
        reference, sites, sqrt(groups.within), groups.df, critical, simultaneous_level, inside
    )


def _dunnett_coverage(sizes: Floats, reference_size: float, df: int) -> Callable[[float], float]:
    """P(every |t_i| < c) as a function of c, by quadrature (no Monte-Carlo, so no seed).

    Correlations come from the shared reference, l_i l_j with l_i^2 = n_i / (n_0 + n_i): given the reference's
    deviation z and the pooled SD's ratio s the sites are independent.
    """
    loading = np.sqrt(sizes / (reference_size + sizes))
    rest = np.sqrt(1.0 - loading**2)
    x, w = nodes_of(80)
    z, wz = 8.0 * x, 8.0 * w * stats.norm.pdf(8.0 * x)
    u = (x + 1.0) / 2.0
    s = np.sqrt(stats.chi2.ppf(u, df) / df)

    def coverage(c: float) -> float:
        centre = loading * z[:, None]
        reach = (c * s)[:, None, None]
        inside = special.ndtr((centre + reach) / rest) - special.ndtr((centre - reach) / rest)
        return float((w / 2.0) @ inside.prod(axis=2) @ wz)

    return coverage


def dunnett_critical(sizes: ArrayLike, reference_size: float, df: int, *, level: float = 0.95) -> float:
    """Two-sided quantile of Dunnett's multivariate t."""
    return _critical(tuple(np.asarray(sizes, dtype=np.float64).tolist()), reference_size, df, level)


@lru_cache(maxsize=256)
def _critical(sizes: tuple[float, ...], reference_size: float, df: int, level: float) -> float:
    n = np.array(sizes)
    coverage = _dunnett_coverage(n, reference_size, df)
    low, high = (
        float(stats.t.ppf(0.5 + level / 2.0, df)),
        float(stats.t.isf((1.0 - level) / 2.0 / n.size, df)),
    )
    if n.size == 1:
        return low
    return float(optimize.brentq(lambda c: coverage(c) - level, 0.98 * low, 1.02 * high, xtol=1e-10))


def all_pairs(
    lots: Mapping[str, ArrayLike],
    *,
    margin: Margin | None = None,
    scale: Scale = "identity",
    top: float = 1.0,
    alpha: float = 0.05,
) -> AllPairs:
    """Every pair of sites with the spread pooled over all."""
    groups = _groups(lots, scale, top)
    pairs = list(combinations(groups.names, 2))
    less = one_sided(alpha) / (len(groups.names) - 1)
    each = {(a, b): _difference(groups, b, a, scale=scale, alpha=alpha) for a, b in pairs}
    bounded = {(a, b): _difference(groups, b, a, scale=scale, alpha=less) for a, b in pairs}
    return AllPairs(each, bounded, _all_inside(list(each.values()), margin))


def wellek_f(lots: Mapping[str, ArrayLike], epsilon: float, *, alpha: float = 0.05) -> Omnibus:
    """Are k means within `epsilon` SDs of each other? sum n_i (mu_i - mu)^2 / (nbar sigma^2) < epsilon^2."""
    groups = _groups(lots)
    between = float(groups.sizes @ (groups.means - groups.sizes @ groups.means / groups.sizes.sum()) ** 2)
    k = len(groups.names)
    f = between / (k - 1) / groups.within
    return wellek_f_from(f, k - 1, groups.df, float(groups.sizes.mean()), epsilon, alpha=alpha)


def wellek_f_from(
    f: float, df_between: int, df_within: int, mean_size: float, epsilon: float, *, alpha: float = 0.05
) -> Omnibus:
    """`wellek_f` from an analysis of variance: its F, degrees of freedom and lots per site on average."""
    if not epsilon > 0.0:
        raise StatisticsRefusal(f"The bound must be above 0 standard deviations, got {epsilon:g}.")
    probability(alpha, "alpha")
    noncentrality = mean_size * epsilon**2
    critical = float(stats.ncf.ppf(alpha, df_between, df_within, noncentrality))
    p = float(stats.ncf.cdf(f, df_between, df_within, noncentrality))
    eta = f * df_between / (f * df_between + df_within)
    return Omnibus(f, df_between, df_within, noncentrality, critical, p, eta, f < critical)


def partial_eta_equivalence(f: float, df_between: int, df_within: int, bound: float) -> float:
    """p-value that partial eta squared lies below `bound` (TOSTER's equ_ftest), from F and its df."""
    probability(bound, "bound on partial eta squared")
    noncentrality = bound / (1.0 - bound) * (df_between + df_within + 1)
    return float(stats.ncf.cdf(f, df_between, df_within, noncentrality))


def random_sites(lots: Mapping[str, ArrayLike], *, level: float = 0.95) -> RandomSites:
    """Share of variance between sites, its one-sided upper limit exact for unequal numbers of lots (Wald).

    Answers how alike a network is, not whether one site equals another; wide below five sites.
    """
    groups = _groups(lots)
    probability(level, "level")
    k, n = len(groups.names), groups.sizes
    quantile = float(stats.f.ppf(1.0 - level, k - 1, groups.df))

    def statistic(ratio: float) -> float:
        weight = n / (1.0 + n * ratio)
        centre = weight @ groups.means / weight.sum()
        return float(weight @ (groups.means - centre) ** 2 / (k - 1) / groups.within)

    between = statistic(0.0) * groups.within
    typical = (n.sum() - (n**2).sum() / n.sum()) / (k - 1)
    variance = max((between - groups.within) / typical, 0.0)
    ratio, high = 0.0, 1.0
    if statistic(0.0) > quantile:
        while statistic(high) > quantile:
            high *= 4.0
            if high > 1e12:
                raise StatisticsRefusal("The sites differ too much for an upper limit; treat them as fixed.")
        ratio = float(optimize.brentq(lambda t: statistic(t) - quantile, 0.0, high, xtol=1e-13, rtol=1e-12))
    return RandomSites(
        k, variance / (variance + groups.within), ratio / (1.0 + ratio), level, variance, groups.within
    )
