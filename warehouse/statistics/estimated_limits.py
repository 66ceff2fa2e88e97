"""Limits that rest on a short baseline: what estimating centre and spread does to alarms, and widths that allow for it.

Belongs here: false-alarm rates and run lengths averaged over baselines of n values, and the width that gives a wanted
rate. Does not belong here: run lengths with centre and spread known (arl.py), the charts themselves.

The centre is the mean of n normal values, the spread their mean moving range over d2 (independent of the mean). Rates
are per point and long-run: a chart restarts after each alarm, so with error (a, b) of centre and spread it rings once
in ARL(a, b) points, and the rate is the mean of 1/ARL. Run lengths are means of ARL itself; the two are not reciprocal.

Sources: Quesenberry 1993, J Qual Technol 25:237; Jones, Champ & Rigdon 2001, Technometrics 43:156.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import optimize, special, stats

from warehouse.statistics.arl import ewma_arl
from warehouse.statistics.chart_constants import d2
from warehouse.statistics.checked import FloatArray, positive
from warehouse.statistics.quadrature import nodes_of
from warehouse.statistics.refusal import StatisticsRefusal, probability

_DRAWS = 40_000
_SEED = 20_240_601
_SPREADS, _CENTRES = 15, 7
_FORGOTTEN = 1e-9  # of all charts, still without an alarm


def _checked(n: int, fitted: int) -> int:
    """Values that the spread rests on."""
    left = n - fitted
    if fitted < 0 or left < 5:
        raise StatisticsRefusal(
            f"A baseline of {n} values with {fitted} fitted slopes leaves too little; 5 values must remain."
        )
    return left


@lru_cache(maxsize=64)
def _spreads(n: int) -> FloatArray:
    """Estimated over true spread, drawn for baselines of n values, sorted; it has no closed form."""
    generator = np.random.default_rng(_SEED)
    drawn = [
        np.abs(np.diff(generator.standard_normal((min(4000, _DRAWS), n)), axis=1)).mean(axis=1) / d2(2)
        for _ in range(max(1, _DRAWS // 4000))
    ]
    return np.sort(np.concatenate(drawn))


def _wider(n: int, fitted: int) -> float:
    """Standard deviation of a new value less the estimated centre (and slopes at an average patient), true spread 1."""
    return math.sqrt(1.0 + (1.0 + fitted) / n)


def individuals_rate(k: float, n: int, fitted: int = 0, shift: float = 0.0) -> float:
    """Chance that a value lies outside centre +- k sigma estimated from n others, averaged over such baselines.

    fitted: slopes of covariates that were taken out. shift: of the value, in true standard deviations.
    """
    positive(k, "k")
    b, wide = _spreads(_checked(n, fitted)), _wider(n, fitted)
    outside = special.ndtr((-k * b - shift) / wide) + special.ndtr((-k * b + shift) / wide)
    return float(outside.mean())


@lru_cache(maxsize=256)
def individuals_width(rate: float, n: int, fitted: int = 0) -> float:
    """The k whose limits ring falsely at this rate per point."""
    probability(rate, "rate")
    _checked(n, fitted)
    gap = lambda k: math.log(individuals_rate(k, n, fitted) / rate)  # noqa: E731
    return float(optimize.brentq(gap, 0.01, 60.0, xtol=1e-6))


def individuals_delay(shift: float, k: float, n: int, fitted: int = 0) -> float:
    """Mean points from a step of `shift` true standard deviations to the first value outside, that one counted."""
    b = _spreads(_checked(n, fitted))[:: _DRAWS // 2000]
    # a: error of the centre; it stays the same for every point of a chart.
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    a = nodes * math.sqrt((1.0 + fitted) / n)
    away = shift - a[:, None]
    outside = special.ndtr(-k * b - away) + special.ndtr(-k * b + away)
    return float((weights / weights.sum()) @ (1.0 / outside).mean(axis=1))


@lru_cache(maxsize=64)
def _baselines(n: int, fitted: int) -> tuple[tuple[float, float, float], ...]:
    """(a, b, weight): errors of centre and spread, to average over."""
    b = _spreads(_checked(n, fitted))
    # Gauss-Legendre in the probability of b: small b, which ring most, are met by nodes near 0.
    nodes, weights = nodes_of(_SPREADS)
    spreads = np.interp((nodes + 1.0) / 2.0 * (b.size - 1), np.arange(b.size), b)
    places, heavy = np.polynomial.hermite_e.hermegauss(_CENTRES)
    places = places * math.sqrt((1.0 + fitted) / n)
    return tuple(
        (float(a), float(s), float(w * v / 2.0 / heavy.sum()))
        for s, w in zip(spreads, weights, strict=True)
        for a, v in zip(places, heavy, strict=True)
    )


def ewma_rate(width: float, weight: float, n: int, fitted: int = 0) -> float:
    """False alarms per point of an EWMA (exact limits, restarted after an alarm), as baselines of n values go."""
    # Mirror images ring alike: only a >= 0 is solved.
    return math.fsum(
        w * (2.0 if a > 1e-12 else 1.0) * _ewma_alone(a, weight, width * b)
        for a, b, w in _baselines(n, fitted)
        if a > -1e-12
    )


def _ewma_alone(error: float, weight: float, width: float) -> float:
    """1/ARL; 0 where it lies beyond the digits of the linear system, and so beyond counting."""
    try:
        return 1.0 / ewma_arl(error, weight, width, "exact")
    except StatisticsRefusal:
        return 0.0


@lru_cache(maxsize=256)
def ewma_width(rate: float, weight: float, n: int, fitted: int = 0) -> float:
    """The width (in standard errors of the EWMA) that rings falsely at this rate per point."""
    probability(rate, "rate")
    gap = lambda width: math.log(ewma_rate(width, weight, n, fitted) / rate)  # noqa: E731
    return float(optimize.brentq(gap, 1.0, 8.0, xtol=1e-3))


def ewma_delay(shift: float, width: float, weight: float, n: int, fitted: int = 0) -> float:
    """Mean points from a step, there from the EWMA's start, to the alarm, averaged over baselines of n values."""
    return math.fsum(w * ewma_arl(shift - a, weight, width * b, "exact") for a, b, w in _baselines(n, fitted))


def individuals_drift_delay(slope: float, k: float, n: int, fitted: int = 0) -> float:
    """Mean points from the start of a drift of `slope` true standard deviations a point to the first value outside.

    The first point has drifted by one slope. The sum over t of the chance that no value up to t lay outside.
    """
    _drifting(slope)
    b = _spreads(_checked(n, fitted))[:: _DRAWS // 2000]
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    a = (nodes * math.sqrt((1.0 + fitted) / n))[:, None]
    alive, total, t = np.ones((nodes.size, b.size)), 0.0, 0
    while (share := float((weights / weights.sum()) @ alive.mean(axis=1))) > _FORGOTTEN:
        total, t = total + share, t + 1
        away = slope * t - a
        alive = alive * (1.0 - special.ndtr(-k * b - away) - special.ndtr(-k * b + away))
    return total


def ewma_drift_delay(slope: float, width: float, weight: float, n: int, fitted: int = 0) -> float:
    """As `individuals_drift_delay` for an EWMA (exact limits) that starts with the drift.

    The distribution of the surviving EWMA is carried from point to point by Gauss-Legendre collocation, as
    `ewma_arl` does before its limits have opened.
    """
    _drifting(slope)
    if not 0.0 < weight < 1.0:
        raise StatisticsRefusal(f"The weight of an EWMA lies between 0 and 1, got {weight:g}.")
    return math.fsum(w * _drifted(slope, a, width * b, weight) for a, b, w in _baselines(n, fitted))


def _drifting(slope: float) -> None:
    if not (math.isfinite(slope) and slope != 0.0):
        raise StatisticsRefusal("A drift has a slope that is finite and not 0.")


def _drifted(slope: float, error: float, width: float, weight: float) -> float:
    count = max(80, math.ceil(12.0 * width / math.sqrt(weight * (2.0 - weight))))
    nodes, weights = nodes_of(count)
    end = width * math.sqrt(weight / (2.0 - weight))
    source, mass, total, t = np.zeros(1), np.ones(1), 0.0, 0
    while (share := float(mass.sum())) > _FORGOTTEN:
        total, t = total + share, t + 1
        opened = math.sqrt(-math.expm1(2.0 * t * math.log1p(-weight)))
        target = end * opened * nodes
        step = (target[None, :] - (1.0 - weight) * source[:, None]) / weight - (slope * t - error)
        mass = (mass @ np.exp(-0.5 * step**2)) / (weight * math.sqrt(2.0 * math.pi)) * end * opened * weights
        source = target
    return total


def poisson_range(expected: float, confidence: float = 0.95) -> tuple[int, int]:
    """The range that chance gives a count with this mean."""
    probability(confidence, "confidence")
    tail = (1.0 - confidence) / 2.0
    low, high = stats.poisson.ppf([tail, 1.0 - tail], expected) if expected > 0.0 else (0.0, 0.0)
    return int(low), int(high)
