"""Trends and changes in a series in time order: is it moving, since when, and how sure is the date.

Belongs here: Mann-Kendall, Sen's slope, Pettitt, SNHT, and one structural break of the mean with its
interval. Any number of changes is segmentation.py; control limits are charts.py.

Positions are counts of values before the change: a change at 28 lies between the 28th and the 29th value.
Sources: Mann 1945; Kendall 1975; Sen 1968; Gilbert 1987 (interval); Pettitt 1979; Alexandersson 1986; Bai
1997 (as in strucchange 1.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from warehouse.statistics.checked import FloatArray, same_length
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector

_SEED = 20_240_601


def _varying(values: ArrayLike, at_least: int) -> FloatArray:
    y = vector(values, "values", at_least=at_least)
    if np.ptp(y) == 0.0:
        raise StatisticsRefusal("All values are the same: there is no trend or change to look for.")
    return y


@dataclass(frozen=True)
class MannKendall:
    """S, its variance with tied values, the continuity-corrected z, two-sided p, and tau-b."""

    s: int
    variance: float
    z: float
    p: float
    tau: float
    n: int


def mann_kendall(values: ArrayLike) -> MannKendall:
    """Rank test of a monotone trend; S counts later values above earlier ones minus those below."""
    y = _varying(values, 3)
    n = y.size
    s = int(sum(np.sign(y[i + 1 :] - y[i]).sum() for i in range(n - 1)))
    ties = np.unique(y, return_counts=True)[1].astype(np.float64)
    tied = float(np.sum(ties * (ties - 1.0) * (2.0 * ties + 5.0)))
    variance = (n * (n - 1.0) * (2.0 * n + 5.0) - tied) / 18.0
    z = (s - np.sign(s)) / math.sqrt(variance)
    pairs = n * (n - 1.0) / 2.0
    tau = s / math.sqrt(pairs * (pairs - float(np.sum(ties * (ties - 1.0))) / 2.0))
    return MannKendall(s, variance, float(z), float(2.0 * stats.norm.sf(abs(z))), tau, int(n))


@dataclass(frozen=True)
class SenSlope:
    """Median slope per unit of time with Gilbert's rank interval."""

    slope: float
    lower: float
    upper: float
    confidence: float
    n: int


def sen_slope(values: ArrayLike, times: ArrayLike | None = None, confidence: float = 0.95) -> SenSlope:
    """Median of the slopes of all pairs; times are 1, 2, ... when None and must be strictly rising."""
    y = _varying(values, 3)
    probability(confidence, "confidence")
    t = np.arange(1.0, y.size + 1.0) if times is None else vector(times, "times")
    same_length(values=y, times=t)
    if (np.diff(t) <= 0.0).any():
        raise StatisticsRefusal("Times must rise from each value to the next.")
    first, second = np.triu_indices(y.size, 1)
    slopes = np.sort((y[second] - y[first]) / (t[second] - t[first]))
    reach = float(stats.norm.isf((1.0 - confidence) / 2.0)) * math.sqrt(mann_kendall(y).variance)
    low = round((slopes.size - reach) / 2.0)
    high = round((slopes.size + reach) / 2.0 + 1.0)
    if low < 1 or high > slopes.size:
        raise StatisticsRefusal(
            f"{y.size} values are too few for a {confidence:.0%} interval of Sen's slope."
        )
    return SenSlope(
        float(np.median(slopes)), float(slopes[low - 1]), float(slopes[high - 1]), confidence, int(y.size)
    )


@dataclass(frozen=True)
class Pettitt:
    """Largest |U|, the number of values before the change (the first of equals), and the approximate p."""

    u: int
    index: int
    p: float


def pettitt(values: ArrayLike) -> Pettitt:
    """Rank test for one change of location at an unknown time; p = 2 exp(-6 U^2 / (n^3 + n^2)), at most 1."""
    y = _varying(values, 3)
    n = y.size
    k = np.arange(1, n + 1)
    u = np.abs(2.0 * np.cumsum(stats.rankdata(y)) - k * (n + 1.0))
    top = float(u.max())
    p = min(1.0, 2.0 * math.exp(-6.0 * top**2 / (n**3 + n**2)))
    return Pettitt(round(top), int(np.argmax(u >= top - 1e-9)) + 1, p)


@dataclass(frozen=True)
class Snht:
    """Standard normal homogeneity test: statistic, values before the change, simulated p and its error."""

    statistic: float
    index: int
    p: float
    p_error: float
    draws: int
    seed: int


def _snht(rows: FloatArray) -> FloatArray:
    """T_k for k = 1..n-1 of each row."""
    n = rows.shape[-1]
    z = (rows - rows.mean(axis=-1, keepdims=True)) / rows.std(axis=-1, ddof=1, keepdims=True)
    k = np.arange(1, n)
    total = np.cumsum(z, axis=-1)[..., :-1]
    value: FloatArray = total**2 / k + total**2 / (n - k)
    return value


def snht(values: ArrayLike, draws: int = 5_000, seed: int = _SEED) -> Snht:
    """T_k = k zbar_1^2 + (n-k) zbar_2^2 at its largest (Alexandersson 1986); p by simulated normal series."""
    y = _varying(values, 3)
    if draws < 100:
        raise StatisticsRefusal(f"{draws} draws are too few for a p-value; use at least 100.")
    t = _snht(y)
    # The first of equal peaks, not the one that rounding lifts: the place depends on no unit.
    index = int((t >= t.max() * (1.0 - 1e-9)).argmax()) + 1
    generator = np.random.default_rng(seed)
    above, left = 0, draws
    while left:  # in blocks, so that a long series does not fill the memory
        block = min(left, max(1, 2_000_000 // y.size))
        above += int((_snht(generator.standard_normal((block, y.size))).max(axis=1) >= t.max()).sum())
        left -= block
    p = (above + 1.0) / (draws + 1.0)
    return Snht(float(t.max()), index, p, math.sqrt(p * (1.0 - p) / draws), draws, seed)


@dataclass(frozen=True)
class Break:
    """One break of the mean: values before it, its interval (same counting), and the means either side.

    The interval may leave the series (below 1 or above n-1): the break is then not located on that side.
    """

    index: int
    lower: int
    upper: int
    mean_before: float
    mean_after: float
    confidence: float


def _argmax_before(x: float, xi: float, phi: float) -> float:
    """P(argmax V <= x), x < 0, of Bai's (1997) two-sided Brownian motion with drift."""
    a, frac = -x, xi / phi
    one = -math.exp(math.log(a) / 2.0 - a / 8.0 - math.log(2.0 * math.pi) / 2.0)
    two = (phi / xi * (phi + 2.0 * xi) / (phi + xi)) * math.exp(
        frac * (1.0 + frac) * a / 2.0 + float(stats.norm.logcdf(-(0.5 + frac) * math.sqrt(a)))
    )
    three = math.exp(
        math.log(a / 2.0 - 2.0 + (phi + 2.0 * xi) ** 2 / ((phi + xi) * xi))
        + float(stats.norm.logcdf(-math.sqrt(a) / 2.0))
    )
    return one - two + three


def _argmax_after(x: float, xi: float, phi: float) -> float:
    """P(argmax V <= x), x > 0."""
    frac = xi**2 / phi
    one = math.sqrt(frac) * math.exp(math.log(x) / 2.0 - frac * x / 8.0 - math.log(2.0 * math.pi) / 2.0)
    two = (xi / phi * (2.0 * phi + xi) / (phi + xi)) * math.exp(
        (phi + xi) * x / 2.0 + float(stats.norm.logcdf(-(phi + xi / 2.0) / math.sqrt(phi) * math.sqrt(x)))
    )
    three = math.exp(
        math.log((2.0 * phi + xi) ** 2 / ((phi + xi) * phi) - 2.0 + frac * x / 2.0)
        + float(stats.norm.logcdf(-math.sqrt(frac) * math.sqrt(x) / 2.0))
    )
    return 1.0 + one + two - three


def argmax_quantile(level: float, variance_ratio: float = 1.0) -> float:
    """Quantile of the argmax of Bai's (1997) two-sided Brownian motion with drift.

    variance_ratio: noise variance after the break over that before. Published for 1: 97.5 % point 11.03.
    """
    phi = variance_ratio
    near = 1e-12
    if level < 0.5:
        reach = 1.0
        while _argmax_before(-reach, 1.0, phi) > level:
            reach *= 2.0
        return float(optimize.brentq(lambda x: _argmax_before(x, 1.0, phi) - level, -reach, -near))
    reach = 1.0
    while _argmax_after(reach, 1.0, phi) < level:
        reach *= 2.0
    return float(optimize.brentq(lambda x: _argmax_after(x, 1.0, phi) - level, near, reach))


def structural_break(values: ArrayLike, confidence: float = 0.95, trim: float = 0.15) -> Break:
    """The break of the mean with the least squared error, and Bai's interval.

    Each side holds at least the share `trim` of the values. Variances may differ either side. It locates a
    break supposed to exist; whether there is one is for pettitt or snht.
    """
    probability(confidence, "confidence")
    y = _varying(values, 6)
    if not 0.0 < trim < 0.5:
        raise StatisticsRefusal(f"trim lies between 0 and 0.5, got {trim:g}.")
    n = y.size
    shortest = max(2, math.floor(n * trim))
    candidates = np.arange(shortest, n - shortest + 1)
    centred = y - y.mean()
    partial = np.cumsum(centred)[candidates - 1]
    gain = partial**2 / candidates + partial**2 / (n - candidates)
    index = int(candidates[gain.argmax()])
    before, after = y[:index], y[index:]
    delta = float(after.mean() - before.mean())
    variance_before, variance_after = float(before.var()), float(after.var())
    if np.ptp(before) == 0.0 or np.ptp(after) == 0.0:
        raise StatisticsRefusal(
            "A side of the break never varies, so the break has no interval; its place is certain."
        )
    phi = variance_after / variance_before
    tail = (1.0 - confidence) / 2.0
    if delta**2 <= 1e-24 * (variance_before + variance_after):
        raise StatisticsRefusal(
            "The means either side of the best place are equal, so there is no break to locate."
        )
    at_zero = _argmax_after(1e-12, 1.0, phi)
    if not tail < at_zero < 1.0 - tail:
        raise StatisticsRefusal(
            "The spreads either side of the break differ too much for an interval of its place."
        )
    scale = variance_before / delta**2
    upper = argmax_quantile(1.0 - tail, phi) * scale
    lower = argmax_quantile(tail, phi) * scale
    return Break(
        index,
        index - math.ceil(upper),
        index - math.floor(lower),
        float(before.mean()),
        float(after.mean()),
        confidence,
    )
