"""Charts of correlated attributes: Hotelling's T2 (phase I and II) and the multivariate EWMA.

Belongs here: the two statistics on the attributes themselves, their limits, and which attribute drove a
signal. Principal components are in mspc.py.

Sources: Tracy, Young & Mason 1992; Holmes & Mergen 1993 (successive differences); Mason, Tracy & Young 1995
(decomposition); Lowry et al. 1992 (MEWMA); Rigdon 1995 (its in-control run length).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, signal, stats

from warehouse.statistics.checked import FloatArray, finite_matrix, positive
from warehouse.statistics.mspc import t2_limit
from warehouse.statistics.quadrature import nodes_of
from warehouse.statistics.refusal import StatisticsRefusal

CovarianceFrom = Literal["all rows", "successive differences"]
_NODES = 60


@dataclass(frozen=True, eq=False)
class MultivariateBaseline:
    """Mean (p,) and covariance (p, p) of n stable rows, and how the covariance was estimated."""

    mean: FloatArray
    covariance: FloatArray
    n: int
    estimate: CovarianceFrom


@dataclass(frozen=True, eq=False)
class T2Chart:
    """T2 of each row with its limit. contributions (rows, p): what T2 would lose without that attribute."""

    t2: FloatArray
    limit: float
    limit_name: str
    signals: tuple[int, ...]
    contributions: FloatArray


def multivariate_baseline(rows: ArrayLike, estimate: CovarianceFrom = "all rows") -> MultivariateBaseline:
    """Mean and covariance of a declared stable period, rows x attributes in time order.

    'successive differences', V'V / (2(n-1)), is not widened by a shift within the baseline.
    """
    x = finite_matrix(rows, "baseline", 3, 1)
    n, p = x.shape
    if n <= p + 1:
        raise StatisticsRefusal(
            f"{n} baseline rows are too few for {p} attributes together; at least {p + 2} needed."
        )
    if estimate == "all rows":
        covariance = np.atleast_2d(np.cov(x, rowvar=False))
    elif estimate == "successive differences":
        steps = np.diff(x, axis=0)
        covariance = steps.T @ steps / (2.0 * (n - 1))
    else:
        raise StatisticsRefusal(f"There is no covariance from {estimate!r}.")
    spreads = np.sqrt(np.diag(covariance))
    if (np.ptp(x, axis=0) == 0.0).any() or not (spreads > 0.0).all():
        which = int(np.argmin(spreads)) + 1
        raise StatisticsRefusal(f"Attribute {which} never changes in the baseline; leave it out.")
    correlation = covariance / np.outer(spreads, spreads)
    if np.linalg.eigvalsh(correlation)[0] < 1e-10:
        raise StatisticsRefusal("One attribute is a combination of the others; leave one of them out.")
    return MultivariateBaseline(x.mean(axis=0), covariance, n, estimate)


def _t2(centred: FloatArray, covariance: FloatArray) -> FloatArray:
    if centred.shape[1] == 0:
        return np.zeros(centred.shape[0])
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), centred.T)
    squares: FloatArray = np.sum(whitened**2, axis=0)
    return squares


def _conditional(centred: FloatArray, covariance: FloatArray, total: FloatArray) -> FloatArray:
    """Mason-Tracy-Young conditional terms, T2 minus T2 without attribute j."""
    parts = np.empty_like(centred)
    for j in range(centred.shape[1]):
        keep = np.arange(centred.shape[1]) != j
        parts[:, j] = total - _t2(centred[:, keep], covariance[np.ix_(keep, keep)])
    return parts


def _rows_for(baseline: MultivariateBaseline, rows: ArrayLike) -> FloatArray:
    x = finite_matrix(rows, "rows", 1, 1)
    if x.shape[1] != baseline.mean.size:
        raise StatisticsRefusal(f"The baseline has {baseline.mean.size} attributes, the rows {x.shape[1]}.")
    return x - baseline.mean


def hotelling_chart(
    rows: ArrayLike, baseline: MultivariateBaseline | None = None, alpha: float = 0.0027
) -> T2Chart:
    """T2 chart of single rows. Without a baseline it is phase I: the rows judge themselves, beta limit.

    With one it is phase II: new rows, F limit. The limits are exact for 'all rows', approximate for
    successive differences. alpha is the chance of a false alarm per point; 0.0027 is the Shewhart 3 sigma.
    """
    base = baseline if baseline is not None else multivariate_baseline(rows)
    centred = _rows_for(base, rows)
    total = _t2(centred, base.covariance)
    if baseline is None:
        limit, name = t2_limit(base.n, base.mean.size, "phase I beta", alpha), "phase I beta"
    else:
        limit, name = t2_limit(base.n, base.mean.size, "phase II F", alpha), "phase II F"
    signals = tuple(int(i) for i in np.flatnonzero(total > limit))
    return T2Chart(total, limit, name, signals, _conditional(centred, base.covariance, total))


@lru_cache(maxsize=256)
def mewma_in_control_arl(attributes: int, weight: float, limit: float) -> float:
    """Mean points to a false alarm of a MEWMA with asymptotic covariance and limit on its T2.

    Rigdon's (1995) equation in the radius: from ||z||^2 = u the next ||z||^2 / weight^2 is noncentral
    chi-square with p degrees and noncentrality ((1-weight)/weight)^2 u.
    """
    if attributes < 1 or not 0.0 < weight <= 1.0:
        raise StatisticsRefusal("A MEWMA needs an attribute or more and a weight above 0, not above 1.")
    positive(limit, "limit")
    if weight == 1.0:
        return 1.0 / float(stats.chi2.sf(limit, attributes))
    radius = math.sqrt(limit * weight / (2.0 - weight))
    count = max(_NODES, math.ceil(6.0 * radius / weight))
    nodes, weights = nodes_of(count)
    r, w = 0.5 * radius * (nodes + 1.0), 0.5 * radius * weights
    start = np.concatenate(([0.0], r))
    noncentral = ((1.0 - weight) / weight * start) ** 2
    density = stats.ncx2.pdf((r[None, :] / weight) ** 2, attributes, np.maximum(noncentral, 1e-12)[:, None])
    kernel = density * 2.0 * r[None, :] / weight**2 * w
    lengths = np.linalg.solve(np.eye(count) - kernel[1:], np.ones(count))
    return float(1.0 + kernel[0] @ lengths)


@lru_cache(maxsize=256)
def mewma_limit(attributes: int, weight: float, in_control_arl: float) -> float:
    """The limit on a MEWMA's T2 that gives the wanted in-control run length."""
    if not in_control_arl > 2.0:
        raise StatisticsRefusal(f"An in-control run length of {in_control_arl:g} is an alarm at every point.")
    highest = float(stats.chi2.isf(1.0 / in_control_arl, attributes)) + 1.0
    gap = lambda limit: math.log(mewma_in_control_arl(attributes, weight, limit) / in_control_arl)  # noqa: E731
    return float(optimize.brentq(gap, 1e-3, highest, xtol=1e-9))


@dataclass(frozen=True, eq=False)
class MewmaChart:
    """T2 of the exponentially weighted mean vector, its limit, and the in-control run length that limit
    gives.
    """

    t2: FloatArray
    limit: float
    in_control_arl: float
    weight: float
    signals: tuple[int, ...]
    contributions: FloatArray


def mewma_chart(
    rows: ArrayLike, baseline: MultivariateBaseline, weight: float = 0.1, in_control_arl: float = 370.4
) -> MewmaChart:
    """MEWMA: z_t = weight (x_t - mean) + (1-weight) z_(t-1); T2_t = z' (weight/(2-weight) covariance)^-1 z.

    The limit takes mean and covariance as known and the asymptotic covariance of z, so that its run length
    is exact.
    """
    if not 0.0 < weight <= 1.0:
        raise StatisticsRefusal(f"The weight of a MEWMA lies above 0 and not above 1, got {weight:g}.")
    centred = _rows_for(baseline, rows)
    smoothed = signal.lfilter([weight], [1.0, weight - 1.0], centred, axis=0)
    covariance = baseline.covariance * weight / (2.0 - weight)
    total = _t2(smoothed, covariance)
    limit = mewma_limit(int(baseline.mean.size), weight, in_control_arl)
    signals = tuple(int(i) for i in np.flatnonzero(total > limit))
    return MewmaChart(
        total, limit, in_control_arl, weight, signals, _conditional(smoothed, covariance, total)
    )
