"""Results below detection: lognormal likelihood, regression on order statistics, Kaplan-Meier.

Belongs here: estimates from values of which some are only known to lie below a limit, with any number of
limits. Does not belong here: substitution (0, LOD/2) in any form; censored mixed models.

`censored[i]` true means "below values[i]". Sources: Cohen (1959) Technometrics 1:217; Helsel & Cohn (1988)
Water Resour Res 24:1997; Helsel (2012), Statistics for Censored Environmental Data, 2nd ed., with NADA's
conventions for Kaplan-Meier's mean and SD.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, expm1, log, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from scipy.optimize import minimize
from scipy.special import log_ndtr

from warehouse.statistics.means import Summary
from warehouse.statistics.refusal import Floats, StatisticsRefusal, spread, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Maximum likelihood of a lognormal sample; standard errors from the observed information."""

    meanlog: float
    sdlog: float
    se_meanlog: float
    se_sdlog: float
    mean: float
    median: float
    sd: float
    loglik: float
    n: int
    n_censored: int


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean, SD and median by a method that names no parameters; the median None where it is not reached."""

    method: str
    mean: float
    sd: float
    median: float | None
    n: int
    n_censored: int


def _checked(values: ArrayLike, censored: ArrayLike, *, distinct: int) -> tuple[Floats, NDArray[np.bool_]]:
    array = vector(values, "values", at_least=2)
    below = np.asarray(censored, dtype=bool)
    if below.shape != array.shape:
        raise StatisticsRefusal(f"{array.size} values need as many censoring flags, got {below.size}.")
    if (array <= 0).any():
        raise StatisticsRefusal("A value or a limit is zero or negative; give the detection limit itself.")
    if below.all():
        raise StatisticsRefusal(
            "Every result is below its detection limit: only the limits are known, no mean and no spread. "
            "Report the highest limit and the count."
        )
    seen = np.unique(array[~below]).size
    if seen < distinct:
        raise StatisticsRefusal(
            f"Only {seen} distinct result(s) above detection; at least {distinct} are needed for a spread."
        )
    return array, below


def lognormal_mle(values: ArrayLike, censored: ArrayLike) -> Lognormal:
    """Left-censored lognormal maximum likelihood; `loglik` is on the values' own scale, as survreg gives it.

    Raises StatisticsRefusal when all are censored or fewer than 2 distinct values were detected.
    """
    array, below = _checked(values, censored, distinct=2)
    x = np.log(array)
    seen, limits = x[~below], x[below]
    start = np.array([float(seen.mean()), log(max(spread(seen), 1e-3))])

    def negative(theta: Floats) -> tuple[float, Floats]:
        sigma = exp(theta[1])
        z, c = (seen - theta[0]) / sigma, (limits - theta[0]) / sigma
        lower = log_ndtr(c)
        mills = np.exp(-c * c / 2 - 0.5 * log(2 * pi) - lower)
        value = seen.size * (theta[1] + 0.5 * log(2 * pi)) + 0.5 * float(z @ z) - float(lower.sum())
        slope = np.array([-z.sum() + mills.sum(), seen.size - z @ z + (mills * c).sum()])
        slope[0] /= sigma
        return float(value), slope

    fit = minimize(negative, start, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 500})
    theta = np.asarray(fit.x, dtype=np.float64)
    hessian = _information(theta, seen, limits)
    for _ in range(20):
        # Newton's last steps: BFGS stops at the precision of the value, Newton at that of the slope.
        step = np.linalg.solve(hessian, negative(theta)[1])
        theta = theta - step
        hessian = _information(theta, seen, limits)
        if float(np.abs(step).max()) < 1e-13 * (1 + float(np.abs(theta).max())):
            break
    if not np.isfinite(theta).all() or np.linalg.eigvalsh(hessian)[0] <= 0:
        raise StatisticsRefusal(
            "The likelihood has no maximum for these results: too few lie above detection."
        )
    mu, sigma = float(theta[0]), exp(theta[1])
    covariance = np.linalg.inv(hessian)
    mean = exp(mu + sigma**2 / 2)
    return Lognormal(
        meanlog=mu,
        sdlog=sigma,
        se_meanlog=sqrt(covariance[0, 0]),
        se_sdlog=sigma * sqrt(covariance[1, 1]),
        mean=mean,
        median=exp(mu),
        sd=mean * sqrt(expm1(sigma**2)),
        loglik=-negative(theta)[0] - float(seen.sum()),
        n=int(array.size),
        n_censored=int(below.sum()),
    )


def _information(theta: Floats, seen: Floats, limits: Floats) -> Floats:
    """Observed information of (mean, log SD) of the logarithms."""
    sigma = exp(theta[1])
    z, c = (seen - theta[0]) / sigma, (limits - theta[0]) / sigma
    mills = np.exp(-c * c / 2 - 0.5 * log(2 * pi) - log_ndtr(c))
    curve = mills * (c + mills)
    first = (seen.size + float(curve.sum())) / sigma**2
    cross = (2 * float(z.sum()) + float((c * curve - mills).sum())) / sigma
    second = 2 * float(z @ z) + float((c * c * curve - c * mills).sum())
    return np.array([[first, cross], [cross, second]])


def regression_on_order_statistics(values: ArrayLike, censored: ArrayLike) -> Moments:
    """Lognormal regression on Helsel-Cohn plotting positions; only the censored results are imputed by it.

    Limits above the highest detected value say nothing and are refused, not dropped.
    """
    array, below = _checked(values, censored, distinct=2)
    if below.any() and array[below].max() > array[~below].max():
        raise StatisticsRefusal("A detection limit lies above every detected value; use maximum likelihood.")
    detected, limits = np.sort(array[~below]), np.sort(array[below])
    seen_at, below_at = _plotting_positions(detected, limits)
    line = stats.linregress(stats.norm.ppf(seen_at), np.log(detected))
    imputed = np.exp(line.intercept + line.slope * stats.norm.ppf(below_at))
    whole = np.concatenate([detected, imputed])
    return Moments(
        "regression on order statistics",
        float(whole.mean()),
        spread(whole),
        float(np.median(whole)),
        int(array.size),
        int(below.sum()),
    )


def _plotting_positions(detected: Floats, limits: Floats) -> tuple[Floats, Floats]:
    """Helsel-Cohn positions of detected values (ascending) and of censored ones (by ascending limit)."""
    if limits.size == 0:
        return (np.arange(detected.size) + 0.5) / detected.size, limits
    steps = [float(limit) for limit in np.unique(limits)]
    if detected[0] < steps[0]:
        steps.insert(0, 0.0)
    edges = [*steps, np.inf]
    above = [int(((detected >= a) & (detected < b)).sum()) for a, b in pairwise(edges)]
    # A value detected at the limit itself lies above it.
    under = [int((detected < step).sum() + (limits <= step).sum()) for step in steps]
    exceed = [0.0] * (len(steps) + 1)
    for i in reversed(range(len(steps))):
        share = above[i] / (above[i] + under[i])
        exceed[i] = exceed[i + 1] + share * (1 - exceed[i + 1])
    seen = [
        1 - exceed[i] + (exceed[i] - exceed[i + 1]) * rank / (above[i] + 1)
        for i in range(len(steps))
        for rank in range(1, above[i] + 1)
    ]
    counts = [int((limits == step).sum()) for step in steps]
    hidden = [
        (1 - exceed[i]) * rank / (counts[i] + 1)
        for i in range(len(steps))
        for rank in range(1, counts[i] + 1)
    ]
    return np.array(seen), np.array(hidden)


def kaplan_meier(values: ArrayLike, censored: ArrayLike) -> Moments:
    """Kaplan-Meier on the values turned round; what lies below the lowest detected value is taken as it.

    The mean is therefore an upper bound when the lowest results are censored. The SD is sqrt(n) times the
    mean's standard error (NADA's convention), 0 detected spread is refused.
    """
    array, below = _checked(values, censored, distinct=2)
    points = np.unique(array[~below])[::-1]
    events = np.array([float(((array == point) & ~below).sum()) for point in points])
    at_risk = np.array([float((array <= point).sum()) for point in points])
    under = np.cumprod(1 - events / at_risk)
    gaps = -np.diff(points)
    mean = float(points[0] - gaps @ under[:-1])
    # Greenwood's variance of the area, with NADA's n / (n - 1) on the detected.
    areas = np.append(np.cumsum((gaps * under[:-1])[::-1])[::-1], 0.0)
    left = at_risk - events
    hazard = np.where(left > 0, events / (at_risk * np.maximum(left, 1.0)), 0.0)
    hazard[-1] = 0.0
    detected = float(events.sum())
    se = sqrt(float((areas**2) @ hazard) * detected / (detected - 1))
    reached = np.flatnonzero(under < 0.5 - 1e-12)
    median = float(points[reached[0]]) if reached.size else None
    return Moments("kaplan-meier", mean, sqrt(array.size) * se, median, int(array.size), int(below.sum()))


def log_summary(fit: Lognormal) -> Summary:
    """The fit as mean, SD and the number of detected results, for display beside uncensored summaries."""
    return Summary(fit.meanlog, fit.sdlog, fit.n - fit.n_censored)
