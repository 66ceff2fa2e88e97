"""Mixed models of results of which some are only known to lie below detection (Tobit with a random intercept).

Belongs here: maximum likelihood with one random intercept (donor, lot or batch) and left-censored normal errors. Does
not belong here: censored samples without groups (`censored`), substitution of any kind, REML (`mixed_fit`).

The random intercept is integrated out by Gauss-Hermite quadrature. Intervals are Wald's from the observed information,
so they are for some dozens of results, not for three. Sources: Tobin (1958) Econometrica 26:24; Hughes (1999)
Biometrics 55:625; Thiebaut & Jacqmin-Gadda (2004) Comput Methods Programs Biomed 74:255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, stats
from scipy.special import log_ndtr, logsumexp

from warehouse.statistics.refusal import Floats, StatisticsRefusal, probability, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NODES = 40


@dataclass(frozen=True)
class MixedTobit:
    """Coefficients with standard errors, SDs between groups and within them, log likelihood, counts."""

    beta: tuple[float, ...]
    se: tuple[float, ...]
    sd_group: float
    sd_residual: float
    loglik: float
    rows: int
    n_censored: int
    groups: int

    def interval(self, index: int, *, level: float = 0.90) -> tuple[float, float]:
        """Wald interval of one coefficient."""
        half = float(stats.norm.ppf(0.5 + probability(level, "level") / 2)) * self.se[index]
        return self.beta[index] - half, self.beta[index] + half


def mixed_tobit(y: ArrayLike, censored: ArrayLike, x: ArrayLike, group: Sequence[str]) -> MixedTobit:
    """Fit y = x beta + intercept of the group + error, where `censored[i]` means "below y[i]".

    `y` is on the analysis scale (logarithms for concentrations), `x` has one row a result and full column rank. Raises
    StatisticsRefusal where all is censored, where too few values were detected for the coefficients and a
    spread, or where the likelihood has no maximum.
    """
    values = vector(y, "results", at_least=3)
    below = np.asarray(censored, dtype=bool)
    design = np.atleast_2d(np.asarray(x, dtype=np.float64))
    if below.shape != values.shape or design.shape[0] != values.size or len(group) != values.size:
        raise StatisticsRefusal(f"{values.size} results need as many flags, rows of x and groups.")
    if not np.isfinite(design).all() or np.linalg.matrix_rank(design) < design.shape[1]:
        raise StatisticsRefusal("The columns of x are not independent; leave one out.")
    if below.all():
        raise StatisticsRefusal("Every result is below its detection limit: there is nothing to fit.")
    seen = ~below
    if np.linalg.matrix_rank(design[seen]) < design.shape[1]:
        raise StatisticsRefusal("One side has no result above detection, so its mean has no lower bound.")
    start = np.linalg.lstsq(design[seen], values[seen], rcond=None)[0]
    left = values[seen] - design[seen] @ start
    if int(seen.sum()) <= design.shape[1] or float(np.ptp(left)) <= 1e-12:
        raise StatisticsRefusal("Too few different results lie above detection for a spread.")
    names, codes = np.unique(np.asarray(group), return_inverse=True)
    p, alone = design.shape[1], names.size == values.size
    negative = _likelihood(values, below, design, codes)

    spread = max(float(left.std()), 1e-3)
    first = [*start, log(spread)] if alone else [*start, log(spread * 0.7), log(spread * 0.7)]
    lowest = log(spread) - 8
    bounds = [(None, None)] * p + [(lowest, log(spread) + 6)] * (len(first) - p)
    found = optimize.minimize(
        negative, np.array(first), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}
    )
    if not np.isfinite(found.fun):
        raise StatisticsRefusal("The likelihood of the censored results has no maximum here.")
    theta = np.asarray(found.x)
    # A variance between groups at its lower bound is 0: it carries no information about the rest.
    free = [i for i in range(theta.size) if i != p + 1 or theta[i] > lowest + 1e-6]
    information = _hessian(negative, theta, free)
    try:
        covariance = np.linalg.inv(information)
    except np.linalg.LinAlgError as error:
        raise StatisticsRefusal("The censored results do not determine the model.") from error
    variances = np.diag(covariance)[:p]
    if not np.isfinite(variances).all() or (variances <= 0).any():
        raise StatisticsRefusal("The censored results do not determine the model.")
    between = 0.0 if alone or p + 1 not in free else exp(theta[p + 1])
    return MixedTobit(
        tuple(float(b) for b in theta[:p]), tuple(sqrt(v) for v in variances), between, exp(theta[p]),
        -float(found.fun), values.size, int(below.sum()), names.size,
    )  # fmt: skip


def _likelihood(
    values: Floats, below: NDArray[np.bool_], design: Floats, codes: NDArray[np.intp]
) -> Callable[[Floats], tuple[float, Floats]]:
    """Negative log likelihood and its slope as a function of (beta, log SD, log SD between groups)."""
    alone, p = int(codes.max()) + 1 == values.size, design.shape[1]
    # A result of its own group has no intercept beside its error: one node stands for all.
    z, w = np.polynomial.hermite_e.hermegauss(1 if alone else NODES)
    logw = np.log(w) - 0.5 * log(2 * pi)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(int(codes.max()) + 1))
    hidden = below[:, None]

    def negative(theta: Floats) -> tuple[float, Floats]:
        sd, between = exp(theta[p]), 0.0 if alone else exp(theta[p + 1])
        error = ((values - design @ theta[:p])[:, None] - between * z[None, :]) / sd
        each = np.where(hidden, log_ndtr(error), -0.5 * error**2 - log(sd) - 0.5 * log(2 * pi))
        by_group = np.add.reduceat(each[order], starts, axis=0) + logw
        total = logsumexp(by_group, axis=1)
        # Slope of each result by its standardised error, weighed by the chance of its group's intercept.
        mills = np.exp(np.where(hidden, -0.5 * error**2 - 0.5 * log(2 * pi) - each, 0.0))
        slope = np.exp(by_group - total[:, None])[codes] * np.where(hidden, mills, -error)
        rise = [*(-(slope.sum(axis=1) @ design) / sd), -float((slope * error).sum()) - float((~below).sum())]
        if not alone:
            rise.append(-float((slope * z).sum()) * between / sd)
        return -float(total.sum()), -np.array(rise)

    return negative


def _hessian(f: Callable[[Floats], tuple[float, Floats]], theta: Floats, free: Sequence[int]) -> Floats:
    """Second derivatives over the free parameters by central differences of the slope."""
    out = np.empty((len(free), len(free)))
    for a, i in enumerate(free):
        step = np.zeros_like(theta)
        step[i] = 1e-5 * max(1.0, abs(float(theta[i])))
        out[a] = (f(theta + step)[1] - f(theta - step)[1])[list(free)] / (2 * step[i])
    return (out + out.T) / 2
