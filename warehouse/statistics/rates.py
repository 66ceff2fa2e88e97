"""Equivalence of event rates: deviations per lot, alarms per culture day.

Belongs here: the ratio of two Poisson rates with exact interval and tests, and a check for over-dispersion.
Does not belong here: proportions (at most one event per lot), charts of rates (charts.py).

Test over reference. Given the total, the test's events are binomial, so the tests are exact for Poisson
counts; over-dispersed counts need more than these. Sources: Przyborowski & Wilenski (1940) Biometrika 31:313;
Clopper & Pearson (1934); Fisher's index of dispersion.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

from scipy import stats

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


def dispersion(counts: ArrayLike) -> Dispersion:
    """Fisher's index of dispersion of counts per equal exposure; a small p means more than Poisson spread."""
    array = vector(counts, "counts", at_least=2)
    mean = float(array.mean())
    if mean <= 0:
        raise StatisticsRefusal("No event was counted: there is no dispersion to judge.")
    chi = float(((array - mean) ** 2).sum() / mean)
    df = array.size - 1
    return Dispersion(chi / df, chi, df, float(stats.chi2.sf(chi, df)))
