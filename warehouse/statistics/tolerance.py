"""Ranges that hold a share of lots: quality range, tolerance and prediction intervals.

Belongs here: exact normal tolerance factors, lognormal and non-parametric limits, Wilks sizes, the quality
range with its false acceptance, prediction intervals for the next lots. Does not belong here: intervals for a
mean (means.py), ranges with variance components.

Exact means exact: Howe's and Natrella's formulas are given only so that a printed value can be recognised.
Sources: ISO 16269-6; Krishnamoorthy & Mathew (2009) ch. 2; Howe (1969) JASA 64:610; Natrella (1963); Wilks
(1941) Ann Math Stat 12:91; Hahn & Meeker (1991).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp, pi, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import chdtrc, ndtr

from warehouse.statistics.means import Summary, summarise
from warehouse.statistics.quadrature import unit_nodes
from warehouse.statistics.refusal import Floats, StatisticsRefusal, probability, vector
from warehouse.statistics.versions import version_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Side = Literal["two-sided", "lower", "upper"]


@dataclass(frozen=True, slots=True)
class Range:
    """Limits of a range; None where it is open. `k` is its factor, None for order statistics."""

    method: str
    side: Side
    low: float | None
    high: float | None
    k: float | None
    coverage: float | None
    confidence: float | None
    n: int

    @property
    def version(self) -> int:
        """Version of the method that made it."""
        return version_of(self.method)

    def inside(self, value: float) -> bool:
        """Whether one lot lies in the range, its limits included."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def one_sided_factor(n: int, coverage: float, confidence: float) -> float:
    """Exact one-sided factor: noncentral t quantile over sqrt(n)."""
    _size(n, coverage, confidence)
    shift = float(stats.norm.ppf(coverage)) * sqrt(n)
    return float(stats.nct.ppf(confidence, n - 1, shift)) / sqrt(n)


def _size(n: int, coverage: float, confidence: float) -> None:
    probability(coverage, "coverage")
    probability(confidence, "confidence")
    if n < 2 or n != int(n):
        raise StatisticsRefusal(f"A tolerance factor needs at least 2 lots, got {n}.")


def _density(z: Floats) -> Floats:
    """Standard normal density, without the checks that a distribution object repeats at every step."""
    return np.asarray(np.exp(-z * z / 2) / sqrt(2 * pi))


def _half_width(z: Floats, coverage: float) -> Floats:
    """r with Phi(z + r) - Phi(z - r) = coverage, by Newton steps kept inside a bracket."""
    low, high = np.zeros_like(z), np.abs(z) + float(stats.norm.ppf((1 + coverage) / 2)) + 1.0
    r = np.abs(z) + float(stats.norm.ppf(coverage)) if coverage > 0.5 else (low + high) / 2
    r = np.clip(r, low, high)
    for _ in range(100):
        error = ndtr(z + r) - ndtr(z - r) - coverage
        low, high = np.where(error < 0, r, low), np.where(error < 0, high, r)
        slope = _density(z + r) + _density(z - r)
        step = r - error / np.maximum(slope, 1e-300)
        new = np.where((step > low) & (step < high), step, (low + high) / 2)
        settled = np.max(np.abs(new - r)) < 1e-13 * (1 + np.max(np.abs(r)))
        r = new
        if settled:  # the step just taken was quadratic: its error is rounding
            break
    return np.asarray(r)


@lru_cache(maxsize=512)
def two_sided_factor(n: int, coverage: float, confidence: float, df: float | None = None) -> float:
    """Exact two-sided factor: confidence that mean ± k sd holds at least `coverage` of the lots.

    The mean's error z / sqrt(n) is integrated out; given it, the SD must exceed r(z) / k. `df` is n - 1
    unless the SD comes from elsewhere.
    """
    _size(n, coverage, confidence)
    freedom = float(n - 1 if df is None else df)
    # Beyond 9 standard errors of the mean nothing is left (1e-19); the integrand is even.
    x, w = unit_nodes(200)
    u = 9.0 * x
    weight = 9.0 * w * 2 * _density(u)
    r2 = _half_width(u / sqrt(n), coverage) ** 2

    def gap(log_k: float) -> float:
        return float((weight * chdtrc(freedom, freedom * r2 * exp(-2 * log_k))).sum()) - confidence

    return exp(float(brentq(gap, -20.0, 40.0, xtol=1e-15, rtol=1e-14)))


def howe_factor(n: int, coverage: float, confidence: float) -> float:
    """Howe's approximate two-sided factor with Guenther's correction left out, as handbooks print it."""
    _size(n, coverage, confidence)
    z = float(stats.norm.ppf((1 + coverage) / 2))
    return z * sqrt((n - 1) * (1 + 1 / n) / float(stats.chi2.ppf(1 - confidence, n - 1)))


def natrella_factor(n: int, coverage: float, confidence: float) -> float:
    """Natrella's approximate one-sided factor. Raises StatisticsRefusal where its formula has no solution."""
    _size(n, coverage, confidence)
    zp, zc = float(stats.norm.ppf(coverage)), float(stats.norm.ppf(confidence))
    a, b = 1 - zc * zc / (2 * (n - 1)), zp * zp - zc * zc / n
    if a <= 0 or zp * zp - a * b < 0:
        raise StatisticsRefusal(f"Natrella's approximation has no value for {n} lots; use the exact factor.")
    return (zp + sqrt(zp * zp - a * b)) / a


def _limits(summary: Summary, k: float, side: Side) -> tuple[float | None, float | None]:
    low = None if side == "upper" else summary.mean - k * summary.sd
    high = None if side == "lower" else summary.mean + k * summary.sd
    return low, high


def _spread_needed(summary: Summary) -> Summary:
    if summary.sd <= 0:
        raise StatisticsRefusal("Every lot has the same value: a range from it would have no width.")
    return summary


def normal_tolerance(
    summary: Summary, coverage: float, confidence: float, *, side: Side = "two-sided"
) -> Range:
    """Range that holds `coverage` of normal lots with `confidence`, exact factors."""
    _spread_needed(summary)
    factor = two_sided_factor if side == "two-sided" else one_sided_factor
    k = factor(summary.n, coverage, confidence)
    low, high = _limits(summary, k, side)
    return Range("normal tolerance, exact", side, low, high, k, coverage, confidence, summary.n)


def lognormal_tolerance(
    values: ArrayLike, coverage: float, confidence: float, *, side: Side = "two-sided"
) -> Range:
    """As `normal_tolerance` on logarithms, limits in the attribute's unit; values must be above 0."""
    logs = normal_tolerance(summarise(values, "log", what="lots"), coverage, confidence, side=side)
    low = None if logs.low is None else exp(logs.low)
    high = None if logs.high is None else exp(logs.high)
    return Range("lognormal tolerance, exact", side, low, high, logs.k, coverage, confidence, logs.n)


def wilks_size(coverage: float, confidence: float, *, side: Side = "two-sided") -> int:
    """Lots from which the extremes are a non-parametric tolerance interval: 93 (59 one-sided) for 95/95."""
    probability(coverage, "coverage")
    probability(confidence, "confidence")
    drawn = 2 if side == "two-sided" else 1
    n = drawn
    while stats.binom.cdf(n - drawn, n, coverage) < confidence:
        n += 1
    return n


def nonparametric_tolerance(
    values: ArrayLike, coverage: float, confidence: float, *, side: Side = "two-sided"
) -> Range:
    """Order statistics that hold `coverage` with `confidence`, drawn in as far as the lots allow.

    Raises StatisticsRefusal with the number of lots needed where there are too few.
    """
    ordered = np.sort(vector(values, "lots"))
    n, needed = ordered.size, wilks_size(coverage, confidence, side=side)
    if n < needed:
        raise StatisticsRefusal(
            f"{n} lots cannot show a range for {coverage:.0%} of lots with {confidence:.0%} confidence "
            f"without a distribution; {needed} can."
        )
    # P(the range leaving out `out` order statistics holds the coverage) = P(Bin(n, coverage) <= n - out).
    out = n - int(stats.binom.ppf(confidence, n, coverage))
    below = 0 if side == "upper" else (out // 2 if side == "two-sided" else out)
    above = out - below if side != "lower" else 0
    low = None if side == "upper" else float(ordered[below - 1])
    high = None if side == "lower" else float(ordered[n - above])
    held = float(stats.binom.cdf(n - out, n, coverage))
    return Range("non-parametric tolerance", side, low, high, None, coverage, held, n)


def quality_range(reference: Summary, k: float = 3.0) -> Range:
    """Reference mean ± k sd. Widens when the reference is noisy: show its acceptance beside it."""
    if k <= 0:
        raise StatisticsRefusal(f"A quality range needs k above 0, got {k:g}.")
    low, high = _limits(_spread_needed(reference), k, "two-sided")
    return Range("quality range", "two-sided", low, high, k, None, None, reference.n)


def quality_range_acceptance(
    n_reference: int, n_test: int, k: float, *, share: float = 0.9, shift: float = 0.0, sd_ratio: float = 1.0
) -> float:
    """Chance that at least `share` of the test lots fall in the reference's mean ± k sd.

    `shift` is the true difference in reference SDs, `sd_ratio` test over reference. By integration over the
    reference's mean and SD; one point of the range's operating characteristic.
    """
    probability(share, "share")
    if n_reference < 2 or n_test < 1 or k <= 0 or sd_ratio <= 0:
        raise StatisticsRefusal("A quality range needs 2 reference lots, 1 test lot, k and sd_ratio above 0.")
    u, w = unit_nodes(64)
    df = n_reference - 1
    mean = stats.norm.ppf(u) / sqrt(n_reference)
    sd = np.sqrt(stats.chi2.ppf(u, df) / df)
    low = (mean[:, None] - k * sd[None, :] - shift) / sd_ratio
    high = (mean[:, None] + k * sd[None, :] - shift) / sd_ratio
    needed = int(np.ceil(share * n_test - 1e-9))
    passed = stats.binom.sf(needed - 1, n_test, ndtr(high) - ndtr(low))
    return float((w[:, None] * w[None, :] * passed).sum())


def prediction(
    summary: Summary, confidence: float, *, lots: int = 1, side: Side = "two-sided", exact: bool = True
) -> Range:
    """Range that all of the next `lots` lots fall in with `confidence`.

    For more than one lot the exact factor integrates the shared mean and SD; `exact=False` gives
    Bonferroni's, which is wider.
    """
    probability(confidence, "confidence")
    if lots < 1:
        raise StatisticsRefusal(f"A prediction interval is for at least 1 lot, got {lots}.")
    _size(summary.n, 0.5, confidence)
    _spread_needed(summary)
    tails = 2 if side == "two-sided" else 1
    bonferroni = float(stats.t.isf((1 - confidence) / tails / lots, summary.n - 1)) * sqrt(1 + 1 / summary.n)
    k = (
        bonferroni
        if lots == 1 or not exact
        else _simultaneous(summary.n, lots, confidence, tails, bonferroni)
    )
    low, high = _limits(summary, k, side)
    name = "prediction" if lots == 1 else ("prediction, exact" if exact else "prediction, Bonferroni")
    return Range(name, side, low, high, k, None, confidence, summary.n)


def _simultaneous(n: int, lots: int, confidence: float, tails: int, highest: float) -> float:
    """Factor for all of the next lots: the mean's error and the sample SD are integrated out."""
    x, w = unit_nodes(80)
    z = 18.0 * (x - 0.5)
    weight_z = 18.0 * w * _density(z)
    df = n - 1
    low, high = stats.chi2.ppf([1e-14, 1 - 1e-14], df) ** 0.5
    root = low + x * (high - low)
    weight_s = (high - low) * w * stats.chi.pdf(root, df)
    sd = root / sqrt(df)

    def gap(k: float) -> float:
        middle = z[:, None] / sqrt(n)
        held = ndtr(middle + k * sd) - (ndtr(middle - k * sd) if tails == 2 else 0.0)
        return float(weight_z @ held**lots @ weight_s) - confidence

    return float(brentq(gap, 1e-6, highest * (1 + 1e-6), xtol=1e-12))
