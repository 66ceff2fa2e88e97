"""Equivalence of proportions: success, sterility, out-of-specification rates of two sites.

Belongs here: intervals for a difference of two independent or paired proportions, score and exact tests
against a margin. Does not belong here: rates per exposure (rates.py), power
(power_proportions.py), exact tests on tables of any size.

One direction everywhere: test minus reference. Score methods restrict the two proportions to the margin under
test (closed-form cubic), which is what the score interval of a well-known library gets wrong. Sources:
Newcombe (1998) Stat Med 17:873; Miettinen & Nurminen (1985) Stat Med 4:213; Mee (1984) Biometrics 40:1175;
Farrington & Manning (1990) Stat Med 9:1447; Agresti & Caffo (2000) Am Stat 54:280; Tango (1998) Stat Med
17:891; Chan & Zhang (1999) Biometrics 55:1202.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import acos, cos, inf, pi, sqrt
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from warehouse.statistics.refusal import Floats, StatisticsRefusal, one_sided, probability
from warehouse.statistics.scales import Margin
from warehouse.statistics.versions import version_of

DifferenceMethod = Literal[
    "wald", "newcombe", "miettinen-nurminen", "mee", "agresti-caffo", "chan-zhang", "tango"
]
_EXACT_CELLS = 4000
_GRID = 400


class Count(NamedTuple):
    """`events` of `n` independent lots."""

    events: int
    n: int


class Pairs(NamedTuple):
    """A 2x2 table of pairs: both, only the test, only the reference, neither."""

    both: int
    test_only: int
    reference_only: int
    neither: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of proportions, test minus reference, with its two-sided interval at `level`."""

    method: DifferenceMethod
    estimate: float
    ci_low: float
    ci_high: float
    level: float
    n_reference: int
    n_test: int

    @property
    def version(self) -> int:
        """Version of the method that made it."""
        return version_of(self.method)


@dataclass(frozen=True, slots=True)
class ProportionTost:
    """Two one-sided tests of a difference of proportions against a margin. `z`s are None for exact tests."""

    method: Literal["farrington-manning", "chan-zhang", "tango"]
    estimate: float
    margin: Margin
    z_lower: float | None
    z_upper: float | None
    p_lower: float
    p_upper: float
    p: float
    alpha: float
    equivalent: bool


def _checked(count: Count, what: str) -> Count:
    whole = count.n == int(count.n) and count.events == int(count.events)
    if count.n < 1 or not 0 <= count.events <= count.n or not whole:
        raise StatisticsRefusal(f"{what}: {count.events} of {count.n} is not a count of lots.")
    return Count(int(count.events), int(count.n))


def _margin(margin: Margin) -> Margin:
    if not -1 < margin.low < margin.high < 1:
        raise StatisticsRefusal("A margin for a difference of proportions needs -1 < low < high < 1.")
    return margin


def _difference(
    method: DifferenceMethod, interval: tuple[float, float], level: float, test: Count, reference: Count
) -> Difference:
    estimate = test.events / test.n - reference.events / reference.n
    return Difference(method, estimate, interval[0], interval[1], level, reference.n, test.n)


def wilson(count: Count, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for one proportion."""
    a, n = _checked(count, "count")
    z = float(stats.norm.isf((1 - probability(level, "level")) / 2))
    p = a / n
    middle = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (middle - half) / scale, (middle + half) / scale
    return (0.0 if a == 0 else low), (1.0 if a == n else high)


def wald(test: Count, reference: Count, *, level: float = 0.95) -> Difference:
    """The textbook interval, for contrast only: too short with few lots, and of no width at 0 or 100 %."""
    (a, m), (b, n) = _checked(test, "test"), _checked(reference, "reference")
    z = float(stats.norm.isf((1 - probability(level, "level")) / 2))
    p, q = a / m, b / n
    half = z * sqrt(p * (1 - p) / m + q * (1 - q) / n)
    return _difference("wald", (p - q - half, p - q + half), level, test, reference)


def newcombe(test: Count, reference: Count, *, level: float = 0.95) -> Difference:
    """Newcombe's hybrid of two Wilson intervals (method 10, no continuity correction)."""
    (a, m), (b, n) = _checked(test, "test"), _checked(reference, "reference")
    (l1, u1), (l2, u2) = wilson(Count(a, m), level=level), wilson(Count(b, n), level=level)
    p, q = a / m, b / n
    low = p - q - sqrt((p - l1) ** 2 + (u2 - q) ** 2)
    high = p - q + sqrt((u1 - p) ** 2 + (q - l2) ** 2)
    return _difference("newcombe", (low, high), level, test, reference)


def agresti_caffo(test: Count, reference: Count, *, level: float = 0.95) -> Difference:
    """Wald's interval after one success and one failure are added to each side."""
    (a, m), (b, n) = _checked(test, "test"), _checked(reference, "reference")
    z = float(stats.norm.isf((1 - probability(level, "level")) / 2))
    p, q = (a + 1) / (m + 2), (b + 1) / (n + 2)
    half = z * sqrt(p * (1 - p) / (m + 2) + q * (1 - q) / (n + 2))
    low, high = max(-1.0, p - q - half), min(1.0, p - q + half)
    return _difference("agresti-caffo", (low, high), level, test, reference)


def restricted(test: Count, reference: Count, difference: float) -> tuple[float, float]:
    """Maximum-likelihood proportions (test, reference) given that they differ by `difference`.

    Closed form of Farrington & Manning (1990), appendix.
    """
    (a, m), (b, n) = test, reference
    theta = n / m
    p, q = a / m, b / n
    third = 1 + theta
    second = -(1 + theta + p + theta * q + difference * (theta + 2))
    first = difference**2 + difference * (2 * p + theta + 1) + p + theta * q
    zeroth = -p * difference * (1 + difference)
    v = second**3 / (3 * third) ** 3 - second * first / (6 * third**2) + zeroth / (2 * third)
    inner = second**2 / (3 * third) ** 2 - first / (3 * third)
    u = (1.0 if v > 0 else -1.0) * sqrt(max(inner, 0.0))
    ratio = 0.0 if u == 0 else v / u**3
    w = (pi + acos(min(1.0, max(-1.0, ratio)))) / 3
    one = 2 * u * cos(w) - second / (3 * third)
    one = min(1.0, 1.0 + difference, max(0.0, difference, one))
    return one, min(1.0, max(0.0, one - difference))


def score(test: Count, reference: Count, difference: float, *, corrected: bool = False) -> float:
    """Score statistic of the observed difference against `difference`; `corrected` by N / (N - 1).

    0 where observed and hypothesised agree, infinite where the restricted variance is 0 and they do not.
    """
    (a, m), (b, n) = test, reference
    one, two = restricted(test, reference, difference)
    variance = one * (1 - one) / m + two * (1 - two) / n
    if corrected:
        variance *= (m + n) / (m + n - 1)
    gap = a / m - b / n - difference
    if abs(gap) < 1e-15:
        return 0.0
    return gap / sqrt(variance) if variance > 1e-300 else (inf if gap > 0 else -inf)


def _invert(statistic: Callable[[float], float], estimate: float, z: float) -> tuple[float, float]:
    """The differences whose score is z and -z; the end of [-1, 1] where the score stays inside."""
    edge = 1 - 1e-12

    def root(target: float, low: float, high: float) -> float:
        return float(brentq(lambda d: max(-1e6, min(1e6, statistic(d))) - target, low, high, xtol=1e-13))

    low = root(z, -edge, estimate) if estimate > -edge and statistic(-edge) > z else -1.0
    high = root(-z, estimate, edge) if estimate < edge and statistic(edge) < -z else 1.0
    return low, high


def _score_interval(
    method: Literal["miettinen-nurminen", "mee"], test: Count, reference: Count, level: float
) -> Difference:
    one, two = _checked(test, "test"), _checked(reference, "reference")
    z = float(stats.norm.isf((1 - probability(level, "level")) / 2))
    corrected = method == "miettinen-nurminen"
    estimate = one.events / one.n - two.events / two.n
    interval = _invert(lambda d: score(one, two, d, corrected=corrected), estimate, z)
    return _difference(method, interval, level, one, two)


def miettinen_nurminen(test: Count, reference: Count, *, level: float = 0.95) -> Difference:
    """Score interval with Miettinen & Nurminen's N / (N - 1): the default for two independent proportions."""
    return _score_interval("miettinen-nurminen", test, reference, level)


def mee(test: Count, reference: Count, *, level: float = 0.95) -> Difference:
    """Score interval without the correction; it inverts Farrington & Manning's test."""
    return _score_interval("mee", test, reference, level)


def farrington_manning(
    test: Count, reference: Count, margin: Margin, *, alpha: float = 0.05
) -> ProportionTost:
    """Two one-sided score tests of the difference against `margin`, normal approximation."""
    one, two = _checked(test, "test"), _checked(reference, "reference")
    limits, level = _margin(margin), one_sided(alpha)
    z_lower, z_upper = score(one, two, limits.low), score(one, two, limits.high)
    p_lower, p_upper = float(stats.norm.sf(z_lower)), float(stats.norm.cdf(z_upper))
    p = max(p_lower, p_upper)
    estimate = one.events / one.n - two.events / two.n
    return ProportionTost(
        "farrington-manning", estimate, limits, z_lower, z_upper, p_lower, p_upper, p, level, p < level
    )


def _exact_p(test: Count, reference: Count, difference: float, *, upper: bool) -> float:
    """Chan-Zhang: the largest probability, over the nuisance proportion, of a table at least as extreme.

    Tables are ordered by the score statistic at `difference`; `upper` tests that the truth is below.
    """
    (a, m), (b, n) = test, reference
    if (m + 1) * (n + 1) > _EXACT_CELLS:
        raise StatisticsRefusal(
            f"chan-zhang: {m} and {n} lots are beyond the exact method here; use the score interval."
        )
    table = np.array(
        [[score(Count(i, m), Count(j, n), difference) for j in range(n + 1)] for i in range(m + 1)]
    )
    observed = table[a, b]
    # Equal statistics must count as equal whatever their last digit says.
    extreme = table <= observed + 1e-9 if upper else table >= observed - 1e-9
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    k, j = np.arange(m + 1), np.arange(n + 1)

    def chance(nuisance: Floats) -> Floats:
        p = stats.binom.pmf(k[:, None], m, np.clip(nuisance + difference, 0.0, 1.0))
        q = stats.binom.pmf(j[:, None], n, nuisance)
        return np.asarray((p * (extreme @ q)).sum(axis=0))

    grid = np.linspace(low, high, _GRID + 1)
    values = chance(grid)
    best = int(values.argmax())
    # The grid finds the hill; a finer one its top, so that the maximum is not understated.
    fine = np.linspace(grid[max(0, best - 1)], grid[min(_GRID, best + 1)], 81)
    return float(min(1.0, max(values.max(), chance(fine).max())))


def chan_zhang_tost(test: Count, reference: Count, margin: Margin, *, alpha: float = 0.05) -> ProportionTost:
    """Exact unconditional tests against `margin`, for tiny counts (about 60 by 60 lots at most)."""
    one, two = _checked(test, "test"), _checked(reference, "reference")
    limits, level = _margin(margin), one_sided(alpha)
    p_lower = _exact_p(one, two, limits.low, upper=False)
    p_upper = _exact_p(one, two, limits.high, upper=True)
    p = max(p_lower, p_upper)
    estimate = one.events / one.n - two.events / two.n
    return ProportionTost("chan-zhang", estimate, limits, None, None, p_lower, p_upper, p, level, p < level)


def chan_zhang(test: Count, reference: Count, *, level: float = 0.95) -> Difference:
    """Exact interval by inverting two one-sided exact tests (Chan & Zhang), to 1e-4."""
    one, two = _checked(test, "test"), _checked(reference, "reference")
    tail = (1 - probability(level, "level")) / 2
    estimate = one.events / one.n - two.events / two.n

    def edge(inner: float, outer: float, *, upper: bool) -> float:
        """The last rejected difference between the estimate (kept) and the end (rejected)."""
        if abs(outer) >= 1 and _exact_p(one, two, outer * (1 - 1e-9), upper=upper) > tail:
            return outer
        kept, rejected = inner, outer
        while abs(rejected - kept) > 1e-4:
            middle = (kept + rejected) / 2
            kept, rejected = (
                (middle, rejected) if _exact_p(one, two, middle, upper=upper) > tail else (kept, middle)
            )
        return rejected

    low = -1.0 if estimate <= -1 else edge(estimate, -1.0, upper=False)
    high = 1.0 if estimate >= 1 else edge(estimate, 1.0, upper=True)
    return _difference("chan-zhang", (low, high), level, one, two)


def _paired(pairs: Pairs) -> Pairs:
    if min(pairs) < 0 or sum(pairs) < 1 or any(value != int(value) for value in pairs):
        raise StatisticsRefusal("A table of pairs needs counts of 0 or more and at least one pair.")
    return Pairs(*(int(value) for value in pairs))


def tango_score(pairs: Pairs, difference: float) -> float:
    """Tango's score of the paired difference (test minus reference) against `difference`."""
    n, b, c = sum(pairs), pairs.test_only, pairs.reference_only
    gap = b - c - n * difference
    if abs(gap) < 1e-12:
        return 0.0
    first = -b - c + (2 * n - b + c) * difference
    zeroth = -c * difference * (1 - difference)
    only_reference = (sqrt(max(first * first - 8 * n * zeroth, 0.0)) - first) / (4 * n)
    variance = n * (2 * only_reference + difference * (1 - difference))
    return gap / sqrt(variance) if variance > 1e-300 else (inf if gap > 0 else -inf)


def tango(pairs: Pairs, *, level: float = 0.95) -> Difference:
    """Tango's score interval for the difference of two paired proportions; 0 discordant pairs are fine."""
    table = _paired(pairs)
    n = sum(table)
    z = float(stats.norm.isf((1 - probability(level, "level")) / 2))
    estimate = (table.test_only - table.reference_only) / n
    low, high = _invert(lambda d: tango_score(table, d), estimate, z)
    return Difference("tango", estimate, low, high, level, n, n)


def tango_tost(pairs: Pairs, margin: Margin, *, alpha: float = 0.05) -> ProportionTost:
    """Two one-sided score tests of the paired difference against `margin`."""
    table, limits, level = _paired(pairs), _margin(margin), one_sided(alpha)
    z_lower, z_upper = tango_score(table, limits.low), tango_score(table, limits.high)
    p_lower, p_upper = float(stats.norm.sf(z_lower)), float(stats.norm.cdf(z_upper))
    p = max(p_lower, p_upper)
    estimate = (table.test_only - table.reference_only) / sum(table)
    return ProportionTost("tango", estimate, limits, z_lower, z_upper, p_lower, p_upper, p, level, p < level)
