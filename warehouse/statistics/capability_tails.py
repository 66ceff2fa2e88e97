"""Capability where the normal law does not hold, and the probability of a result out of specification.

Belongs here: percentile indices of a named distribution with a bootstrap interval, and the probability
beyond the limits with an interval, under the normal law and from the count alone. Normal indices are in
capability.py.

Sources: Clements 1989 and ISO 22514-2 (percentile indices); Weerahandi 1993 (generalised confidence
interval); Clopper & Pearson 1934.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from warehouse.statistics.capability import Specification
from warehouse.statistics.checked import FloatArray
from warehouse.statistics.refusal import StatisticsRefusal, probability, spread, vector

Law = Literal["normal", "lognormal", "weibull", "gamma"]
_TAIL = 0.00135  # the normal tail beyond 3 sigma, which the percentiles stand in for
_SEED = 20_240_601


def _fit_normal(y: FloatArray) -> Any:
    return stats.norm(y.mean(), spread(y))


def _fit_lognormal(y: FloatArray) -> Any:
    logs = np.log(y)
    return stats.lognorm(spread(logs), 0.0, math.exp(logs.mean()))


def _fit_weibull(y: FloatArray) -> Any:
    """Maximum likelihood: the shape c solves sum(x^c ln x)/sum(x^c) - 1/c = mean(ln x), on x / max(x)."""
    logs = np.log(y / y.max())

    def score(log_shape: float) -> float:
        shape = math.exp(log_shape)
        powers = np.exp(shape * logs)
        return float(powers @ logs / powers.sum() - 1.0 / shape - logs.mean())

    shape = math.exp(optimize.brentq(score, math.log(1e-3), math.log(1e7)))
    scale = float(y.max()) * math.exp(math.log(float(np.mean(np.exp(shape * logs)))) / shape)
    return stats.weibull_min(shape, 0.0, scale)


def _fit_gamma(y: FloatArray) -> Any:
    return stats.gamma(*stats.gamma.fit(y, floc=0.0))


_FITS: dict[str, Callable[[FloatArray], Any]] = {
    "normal": _fit_normal,
    "lognormal": _fit_lognormal,
    "weibull": _fit_weibull,
    "gamma": _fit_gamma,
}


@dataclass(frozen=True)
class PercentileIndices:
    """Pp and Ppk by percentiles of a fitted law, with parametric-bootstrap percentile intervals.

    percentiles: the 0.135 %, 50 % and 99.865 % points. anderson_darling: the fit's A2, information only.
    """

    law: str
    n: int
    percentiles: tuple[float, float, float]
    pp: tuple[float, float, float] | None
    ppk: tuple[float, float, float]
    confidence: float
    resamples: int
    seed: int
    anderson_darling: float


def _anderson_darling(y: FloatArray, law: Any) -> float:
    p = np.clip(law.cdf(np.sort(y)), 1e-300, 1.0 - 1e-16)
    i = np.arange(1, y.size + 1)
    return float(-y.size - np.mean((2 * i - 1) * (np.log(p) + np.log1p(-p[::-1]))))


def _percentile_ratio(law: Any, limits: Specification) -> tuple[float, float]:
    """Pp (NaN where a side is open, never returned to a caller) and Ppk."""
    low, middle, high = (float(q) for q in law.ppf([_TAIL, 0.5, 1.0 - _TAIL]))
    sides = []
    if limits.lower is not None:
        sides.append((middle - limits.lower) / (middle - low))
    if limits.upper is not None:
        sides.append((limits.upper - middle) / (high - middle))
    ratio = math.nan
    if limits.lower is not None and limits.upper is not None:
        ratio = (limits.upper - limits.lower) / (high - low)
    return ratio, min(sides)


def percentile_indices(
    values: ArrayLike,
    specification: Specification,
    law: Law,
    *,
    confidence: float = 0.95,
    minimum: int = 25,
    resamples: int = 400,
    seed: int = _SEED,
) -> PercentileIndices:
    """Pp = (U-L)/(q99.865 - q0.135), Ppk = worse of (U-median)/(q99.865-median) and
    (median-L)/(median-q0.135).

    The law is declared, not chosen from the data. Lognormal, Weibull and gamma have their origin at 0.
    """
    y = vector(values, "values", at_least=max(3, minimum))
    probability(confidence, "confidence")
    if law not in _FITS:
        raise StatisticsRefusal(f"There is no law {law!r}; use one of {', '.join(_FITS)}.")
    if np.ptp(y) == 0.0:
        raise StatisticsRefusal("All values are the same: no distribution can be fitted.")
    if law != "normal" and y.min() <= 0.0:
        raise StatisticsRefusal(f"A {law} law holds values above 0; the smallest here is {y.min():g}.")
    if resamples < 100:
        raise StatisticsRefusal(f"{resamples} resamples are too few for an interval; use at least 100.")
    fitted = _FITS[law](y)
    ratio, worst = _percentile_ratio(fitted, specification)
    generator = np.random.default_rng(seed)
    drawn = fitted.rvs(size=(resamples, y.size), random_state=generator)
    again = np.array([_percentile_ratio(_FITS[law](sample), specification) for sample in drawn])
    tail = (1.0 - confidence) / 2.0
    bounds = np.quantile(again, [tail, 1.0 - tail], axis=0)
    points = fitted.ppf([_TAIL, 0.5, 1.0 - _TAIL])
    return PercentileIndices(
        law=law,
        n=int(y.size),
        percentiles=(float(points[0]), float(points[1]), float(points[2])),
        pp=None if math.isnan(ratio) else (ratio, float(bounds[0, 0]), float(bounds[1, 0])),
        ppk=(worst, float(bounds[0, 1]), float(bounds[1, 1])),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        anderson_darling=_anderson_darling(y, fitted),
    )


@dataclass(frozen=True)
class OutOfSpecification:
    """Probability that the next result lies beyond the specification, two ways.

    normal: estimate and generalised confidence interval under the normal law. counted: share of the n
    values beyond, with the Clopper-Pearson interval, which assumes no law.
    """

    n: int
    beyond: int
    normal: tuple[float, float, float]
    counted: tuple[float, float, float]
    confidence: float
    draws: int
    seed: int


def out_of_specification(
    values: ArrayLike,
    specification: Specification,
    *,
    confidence: float = 0.95,
    minimum: int = 3,
    draws: int = 100_000,
    seed: int = _SEED,
) -> OutOfSpecification:
    """Probability of a result beyond the limits, with interval.

    Normal law: sigma^2 = (n-1) s^2 / chi2_(n-1) and mu = mean - z sigma/sqrt(n) drawn together, the
    probability computed for each draw, quantiles taken (exact for one limit, near exact for two).
    """
    y = vector(values, "values", at_least=max(3, minimum))
    probability(confidence, "confidence")
    low, high = specification.lower, specification.upper
    outside = np.zeros(y.size, dtype=np.bool_)
    outside |= False if low is None else y < low
    outside |= False if high is None else y > high
    beyond, n = int(outside.sum()), int(y.size)
    deviation = spread(y)
    if deviation == 0.0:
        raise StatisticsRefusal(
            "All values are the same: the chance of one beyond the limits cannot be judged."
        )
    if draws < 1_000:
        raise StatisticsRefusal(f"{draws} draws are too few for an interval; use at least 1000.")

    def chance(mean: FloatArray | float, sigma: FloatArray | float) -> FloatArray:
        total = np.zeros(np.shape(mean))
        total = total + (0.0 if low is None else special.ndtr((low - mean) / sigma))
        result: FloatArray = total + (0.0 if high is None else special.ndtr((mean - high) / sigma))
        return result

    generator = np.random.default_rng(seed)
    sigma = deviation * np.sqrt((n - 1) / generator.chisquare(n - 1, draws))
    mean = y.mean() - generator.standard_normal(draws) * sigma / math.sqrt(n)
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(chance(mean, sigma), [tail, 1.0 - tail])
    exact_low = float(stats.beta.ppf(tail, beyond, n - beyond + 1)) if beyond else 0.0
    exact_high = float(stats.beta.isf(tail, beyond + 1, n - beyond)) if beyond < n else 1.0
    return OutOfSpecification(
        n=n,
        beyond=beyond,
        normal=(float(chance(float(y.mean()), deviation)), float(lower), float(upper)),
        counted=(beyond / n, exact_low, exact_high),
        confidence=confidence,
        draws=draws,
        seed=seed,
    )
