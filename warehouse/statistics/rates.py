"""Equivalence of event rates: deviations per lot, alarms per culture day.

Belongs here: the ratio of two Poisson rates with exact interval, tests, power and lots, and a check of
over-dispersion. Does not belong here: proportions (at most one event per lot), charts of rates (charts.py).

Test over reference. Given the total, the test's events are binomial, so the tests are exact for Poisson
counts; over-dispersed counts need more than these. Sources: Przyborowski & Wilenski (1940) Biometrika 31:313;
Clopper & Pearson (1934); Fisher's index of dispersion.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from warehouse.statistics.lots import first_enough
from warehouse.statistics.refusal import StatisticsRefusal, one_sided, probability, vector
from warehouse.statistics.scales import Margin

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Exposure(NamedTuple):
    """`events` in `exposure` (lots, days): both sides in the same unit."""

    events: int
    exposure: float


@dataclass(frozen=True, slots=True)
class RateRatio:
    """Ratio of rates, test over reference, exact interval at `level`; the high end may be infinite (None)."""

    estimate: float | None
    ci_low: float
    ci_high: float | None
    level: float
    events_reference: int
    events_test: int


@dataclass(frozen=True, slots=True)
class RateTost:
    """Two one-sided exact tests of the ratio of rates against a margin."""

    ratio: RateRatio
    margin: Margin
    p_lower: float
    p_upper: float
    p: float
    equivalent: bool


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Index of dispersion of counts per lot against Poisson: variance over mean, chi-square and its p."""

    index: float
    chi_square: float
    df: int
    p: float


def _checked(side: Exposure, what: str) -> Exposure:
    if side.events < 0 or side.events != int(side.events):
        raise StatisticsRefusal(f"{what}: {side.events} is not a count of events.")
    if not isfinite(side.exposure) or side.exposure <= 0:
        raise StatisticsRefusal(f"{what}: exposure must be above 0, got {side.exposure:g}.")
    return Exposure(int(side.events), float(side.exposure))


def rate_ratio(test: Exposure, reference: Exposure, *, level: float = 0.90) -> RateRatio:
    """Exact (Clopper-Pearson, given the total) interval for the ratio of two Poisson rates.

    Raises StatisticsRefusal when neither side had an event: the ratio of nothing to nothing is unbounded.
    """
    new, ref = _checked(test, "test"), _checked(reference, "reference")
    total = new.events + ref.events
    if total == 0:
        raise StatisticsRefusal(
            "Neither side had an event: their ratio has no interval; compare upper limits."
        )
    tail = (1 - probability(level, "level")) / 2
    scale = ref.exposure / new.exposure
    share_low = float(stats.beta.ppf(tail, new.events, ref.events + 1)) if new.events else 0.0
    share_high = float(stats.beta.isf(tail, new.events + 1, ref.events)) if ref.events else 1.0
    estimate = scale * new.events / ref.events if ref.events else None
    high = scale * share_high / (1 - share_high) if share_high < 1 else inf
    return RateRatio(
        estimate,
        scale * share_low / (1 - share_low),
        high if isfinite(high) else None,
        level,
        ref.events,
        new.events,
    )


def rate_tost(test: Exposure, reference: Exposure, margin: Margin, *, alpha: float = 0.05) -> RateTost:
    """Two one-sided exact conditional tests that the ratio of rates lies inside `margin`."""
    level = one_sided(alpha)
    if not 0 <= margin.low < margin.high or not isfinite(margin.high):
        raise StatisticsRefusal("A margin for a ratio of rates needs 0 <= low < high.")
    ratio = rate_ratio(test, reference, level=1 - 2 * level)
    total = ratio.events_test + ratio.events_reference

    def share(limit: float) -> float:
        return limit * test.exposure / (limit * test.exposure + reference.exposure)

    p_lower = (
        float(stats.binom.sf(ratio.events_test - 1, total, share(margin.low))) if margin.low > 0 else 0.0
    )
    p_upper = float(stats.binom.cdf(ratio.events_test, total, share(margin.high)))
    p = max(p_lower, p_upper)
    return RateTost(ratio, margin, p_lower, p_upper, p, p <= level)


def rate_power(
    events_per_lot: float,
    n_reference: int,
    n_test: int,
    margin: Margin,
    *,
    ratio: float = 1.0,
    alpha: float = 0.05,
) -> float:
    """Exact chance that both tests pass at a true `ratio`, with `events_per_lot` expected at the reference.

    Sums over every total, given which the test's events are binomial. It moves in steps, and may fall where a lot is
    added.
    """
    level, mean = one_sided(alpha), events_per_lot * n_reference
    if not (mean > 0 and ratio > 0 and n_test > 0):
        raise StatisticsRefusal(
            "Power of a rate needs events expected, lots on both sides and a ratio above 0."
        )
    if not 0 <= margin.low < margin.high or not isfinite(margin.high):
        raise StatisticsRefusal("A margin for a ratio of rates needs 0 <= low < high.")
    rest = n_test / n_reference

    def share(k: float) -> float:
        return k * rest / (k * rest + 1.0)

    expected = mean * (1.0 + ratio * rest)
    reach = 12.0 * sqrt(expected) + 40.0
    totals = np.arange(max(1, int(expected - reach)), int(expected + reach) + 1)
    # Fewest events that pass the lower test, most that pass the upper one.
    least = stats.binom.isf(level, totals, share(margin.low)) + 1 if margin.low > 0 else np.zeros(totals.size)
    most = stats.binom.ppf(level, totals, share(margin.high))
    most = np.where(stats.binom.cdf(most, totals, share(margin.high)) <= level, most, most - 1)
    true = share(ratio)
    passed = stats.binom.cdf(most, totals, true) - stats.binom.cdf(least - 1, totals, true)
    return float(stats.poisson.pmf(totals, expected) @ np.maximum(passed, 0.0))


def rate_lots(
    events_per_lot: float, n_reference: int, margin: Margin, *, ratio: float = 1.0, alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:  # fmt: skip
    """Smallest number of lots of the site with `power`, the reference fixed; None where 100,000 would not do."""
    probability(power, "power")
    if not margin.low < ratio < margin.high:
        return None

    def at(n: int) -> float:
        return rate_power(events_per_lot, n_reference, n, margin, ratio=ratio, alpha=alpha)

    near = first_enough(at, start=1, limit=at(100_000), power=power)
    # Power moves in steps: a smaller number may do as well.
    return None if near is None else next(n for n in range(max(near // 2, 1), near + 1) if at(n) >= power)


def dispersion(counts: ArrayLike) -> Dispersion:
    """Fisher's index of dispersion of counts per equal exposure; a small p means more than Poisson spread."""
    array = vector(counts, "counts", at_least=2)
    mean = float(array.mean())
    if mean <= 0:
        raise StatisticsRefusal("No event was counted: there is no dispersion to judge.")
    chi = float(((array - mean) ** 2).sum() / mean)
    df = array.size - 1
    return Dispersion(chi / df, chi, df, float(stats.chi2.sf(chi, df)))
