"""Times to an event with some still open: Kaplan-Meier, group tests, competing ends, restricted mean.

Belongs here: curves and tests that use no covariate model. Cox regression is in cox.py.

Sources: Kaplan & Meier 1958; Greenwood 1926; Brookmeyer & Crowley 1982; Harrington & Fleming 1982; Aalen &
Johansen 1978 with the variance of Andersen et al. 1993 (IV.4.16); Royston & Parmar 2013. Conventions are
those of R's `survival`: events come before censorings at the same time, entries after them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from warehouse.statistics.checked import FloatArray, IntArray, Labels, labels_of, same_length
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector

Interval = Literal["log", "log-log", "plain"]
_TIE = 1e-9  # survival of exactly 0.5 is told from its rounding


@dataclass(frozen=True, eq=False)
class Followed:
    """Checked times, ends and entries. end: 0 censored, 1, 2, ... causes in the order of `causes`."""

    times: FloatArray
    ends: IntArray
    entries: FloatArray
    causes: tuple[str, ...]


def followed(
    times: ArrayLike,
    ends: ArrayLike,
    entries: ArrayLike | None = None,
    censored: object = 0,
) -> Followed:
    """Check times to an end, what the end was (`censored` for still open) and, for late entry, when
    watching began.
    """
    t = vector(times, "times")
    kinds = [end.item() if isinstance(end, np.generic) else end for end in np.asarray(ends).tolist()]
    same_length(times=t, ends=kinds)
    if (t < 0.0).any():
        raise StatisticsRefusal(f"times: value {int(np.argmax(t < 0.0)) + 1} is below 0.")
    start = np.full(t.size, -np.inf) if entries is None else vector(entries, "entries")
    same_length(times=t, entries=start)
    if (start >= t).any():
        row = int(np.argmax(start >= t)) + 1
        raise StatisticsRefusal(f"Subject {row} entered at or after its end; entry must come first.")
    causes = sorted({str(kind) for kind in kinds if kind != censored})
    if not causes:
        raise StatisticsRefusal("Nobody reached an end: all times are censored, so nothing can be estimated.")
    code = {cause: number + 1 for number, cause in enumerate(causes)}
    coded = np.array([0 if kind == censored else code[str(kind)] for kind in kinds], dtype=np.int64)
    return Followed(t, coded, start, tuple(causes))


def _table(data: Followed) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distinct event times, at risk just before each, and ends there by cause (times, causes)."""
    at = np.unique(data.times[data.ends > 0])
    ordered, began = np.sort(data.times), np.sort(data.entries)
    risk = np.searchsorted(began, at, "left") - np.searchsorted(ordered, at, "left")
    counts = np.zeros((at.size, len(data.causes)))
    happened = data.ends > 0
    np.add.at(counts, (np.searchsorted(at, data.times[happened]), data.ends[happened] - 1), 1.0)
    return at, risk.astype(np.float64), counts


@dataclass(frozen=True, eq=False)
class SurvivalCurve:
    """Kaplan-Meier at each distinct event time: (times,) arrays; bounds are pointwise at `confidence`."""

    times: FloatArray
    at_risk: FloatArray
    events: FloatArray
    survival: FloatArray
    standard_error: FloatArray
    lower: FloatArray
    upper: FloatArray
    n: int
    last_seen: float
    interval: Interval
    confidence: float

    def at(self, when: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Survival and its standard error at the asked times; refused after the last subject was seen."""
        asked = vector(np.atleast_1d(np.asarray(when, dtype=np.float64)), "times")
        if asked.max() > self.last_seen:
            raise StatisticsRefusal(
                f"Nobody was watched beyond {self.last_seen:g}, so {asked.max():g} has no estimate."
            )
        where = np.searchsorted(self.times, asked, "right")
        curve = np.concatenate(([1.0], self.survival))
        error = np.concatenate(([0.0], self.standard_error))
        return curve[where], error[where]

    def quantile(self, share: float = 0.5) -> tuple[float | None, float | None, float | None]:
        """Time by which `share` had the event, with its bounds; None where a curve never falls that far.

        The bounds are where the bounds of the curve cross (Brookmeyer & Crowley). Where a curve is flat at
        exactly the level the middle of the flat is taken, as R does.
        """
        probability(share, "share")
        level = 1.0 - share
        return (
            self._crossing(self.survival, level),
            self._crossing(self.lower, level),
            self._crossing(self.upper, level),
        )

    def _crossing(self, curve: FloatArray, level: float) -> float | None:
        below = np.flatnonzero(curve <= level + _TIE)
        if not below.size:
            return None
        first = int(below[0])
        if abs(curve[first] - level) > _TIE:
            return float(self.times[first])
        further = np.flatnonzero(curve < level - _TIE)
        end = float(self.times[further[0]]) if further.size else self.last_seen
        return (float(self.times[first]) + end) / 2.0


def kaplan_meier(data: Followed, interval: Interval = "log", confidence: float = 0.95) -> SurvivalCurve:
    """Product-limit curve of the time to any end, with Greenwood's variance.

    interval 'log' (R's default) and 'log-log' (stays in 0 to 1, better when few) transform the curve;
    'plain' does not. With several causes this treats all as one event: use cumulative_incidence for one
    among them.
    """
    probability(confidence, "confidence")
    at, risk, counts = _table(data)
    events = counts.sum(axis=1)
    survival = np.cumprod(1.0 - events / risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(events / (risk * (risk - events)))
    z = float(stats.norm.isf((1.0 - confidence) / 2.0))
    ended = survival <= 0.0
    greenwood[ended] = 0.0
    root = np.sqrt(greenwood)
    error = survival * root
    if interval == "log":
        lower, upper = survival * np.exp(-z * root), np.minimum(1.0, survival * np.exp(z * root))
    elif interval == "log-log":
        inside = ~ended & (survival < 1.0)
        log_s = np.log(np.where(inside, survival, 0.5))
        factor = np.exp(z * root / log_s)
        upper = np.where(inside, np.exp(log_s * factor), survival)
        lower = np.where(inside, np.exp(log_s / factor), survival)
    elif interval == "plain":
        lower, upper = np.maximum(0.0, survival - z * error), np.minimum(1.0, survival + z * error)
    else:
        raise StatisticsRefusal(f"There is no interval {interval!r}; use 'log', 'log-log' or 'plain'.")
    if ended.any():
        # Nobody is left, so no spread can be estimated: the lower bound is 0, the upper stays where it was.
        first = int(ended.argmax())
        lower[ended], upper[ended] = 0.0, upper[first - 1] if first else 1.0
    return SurvivalCurve(
        at, risk, events, survival, error, lower, upper,
        int(data.times.size), float(data.times.max()), interval, confidence,
    )  # fmt: skip


@dataclass(frozen=True)
class GroupTest:
    """Are the curves of the groups alike? Chi-square with its degrees and p, observed and expected by
    group.
    """

    groups: tuple[str, ...]
    n: tuple[int, ...]
    observed: tuple[float, ...]
    expected: tuple[float, ...]
    chi_square: float
    degrees: int
    p: float
    rho: float


def _group_sums(
    data: Followed, codes: IntArray, groups: int, rho: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weighted observed, expected and covariance of one stratum."""
    at, risk, counts = _table(data)
    events = counts.sum(axis=1)
    alive = np.concatenate(([1.0], np.cumprod(1.0 - events / risk)[:-1])) ** rho
    by_risk = np.zeros((at.size, groups))
    by_event = np.zeros((at.size, groups))
    for group in range(groups):
        mine = codes == group
        began, ordered = np.sort(data.entries[mine]), np.sort(data.times[mine])
        by_risk[:, group] = np.searchsorted(began, at, "left") - np.searchsorted(ordered, at, "left")
        happened = data.times[mine & (data.ends > 0)]
        np.add.at(by_event[:, group], np.searchsorted(at, happened), 1.0)
    share = by_risk / risk[:, None]
    factor = np.where(risk > 1.0, events * (risk - events) / np.maximum(risk - 1.0, 1.0), 0.0) * alive**2
    covariance = np.diag(factor @ share) - (share * factor[:, None]).T @ share
    return alive @ by_event, (alive * events) @ share, covariance


def log_rank(data: Followed, groups: Labels, rho: float = 0.0, strata: Labels | None = None) -> GroupTest:
    """G-rho test: rho 0 is the log-rank test, rho 1 the Peto-Peto test. With strata, sums over them."""
    names, codes = labels_of(groups, "groups", 2)
    same_length(times=data.times, groups=codes)
    if not (math.isfinite(rho) and rho >= 0.0):
        raise StatisticsRefusal(f"rho must be 0 or more, got {rho:g}.")
    _, layers = labels_of(strata if strata is not None else [""] * codes.size, "strata")
    same_length(times=data.times, strata=layers)
    k = len(names)
    observed, expected, covariance = np.zeros(k), np.zeros(k), np.zeros((k, k))
    for layer in np.unique(layers):
        mine = layers == layer
        if not (data.ends[mine] > 0).any():
            continue
        part = Followed(data.times[mine], data.ends[mine], data.entries[mine], data.causes)
        o, e, v = _group_sums(part, codes[mine], k, rho)
        observed, expected, covariance = observed + o, expected + e, covariance + v
    usable = expected > 0.0
    if usable.sum() < 2:
        raise StatisticsRefusal(
            "Fewer than two groups were at risk when events happened; there is nothing to compare."
        )
    keep = np.flatnonzero(usable)[:-1]
    gap = (observed - expected)[keep]
    block = covariance[np.ix_(keep, keep)]
    if np.linalg.matrix_rank(block) < keep.size:
        raise StatisticsRefusal("The groups were never at risk together, so their curves cannot be compared.")
    chi_square = float(gap @ np.linalg.solve(block, gap))
    return GroupTest(
        tuple(names),
        tuple(int(count) for count in np.bincount(codes)),
        tuple(observed.tolist()),
        tuple(expected.tolist()),
        chi_square,
        int(keep.size),
        float(stats.chi2.sf(chi_square, keep.size)),
        rho,
    )


@dataclass(frozen=True, eq=False)
class CumulativeIncidence:
    """Aalen-Johansen: the chance of each cause by each event time. incidence, variance: (times, causes)."""

    times: FloatArray
    causes: tuple[str, ...]
    incidence: FloatArray
    variance: FloatArray
    still_open: FloatArray
    n: int
    last_seen: float

    def at(self, when: float, cause: str, confidence: float = 0.95) -> tuple[float, float, float]:
        """Incidence of a cause by a time with its complementary log-log interval, inside 0 to 1."""
        probability(confidence, "confidence")
        if cause not in self.causes:
            raise StatisticsRefusal(f"There is no end {cause!r}; known are {', '.join(self.causes)}.")
        if not 0.0 <= when <= self.last_seen:
            raise StatisticsRefusal(
                f"Subjects were watched from 0 to {self.last_seen:g}; {when:g} lies outside."
            )
        row = int(np.searchsorted(self.times, when, "right")) - 1
        column = self.causes.index(cause)
        chance = 0.0 if row < 0 else float(self.incidence[row, column])
        if chance <= 0.0 or chance >= 1.0 - 1e-12:  # 1 but for rounding: nobody is left
            return round(chance, 9), round(chance, 9), round(chance, 9)
        error = math.sqrt(max(float(self.variance[row, column]), 0.0))
        z = float(stats.norm.isf((1.0 - confidence) / 2.0))
        width = z * error / ((1.0 - chance) * -math.log1p(-chance))
        transformed = math.log(-math.log1p(-chance))
        # Beyond exp(700) the bound is 1 anyway.
        low, high = (-math.expm1(-math.exp(min(transformed + side * width, 700.0))) for side in (-1.0, 1.0))
        return chance, low, high


def cumulative_incidence(data: Followed) -> CumulativeIncidence:
    """Aalen-Johansen estimate for competing ends, with the Greenwood-type variance.

    F_k(t) = sum S(u-) d_k(u)/n(u). Variance: sum over u of (F_k(t)-F_k(u))^2 d/(n(n-d)) + S(u-)^2 d_k
    (n-d_k)/n^3 - 2 (F_k(t)-F_k(u)) S(u-) d_k/n^2 (Marubini & Valsecchi 1995), Greenwood's when there is one
    cause.
    """
    at, risk, counts = _table(data)
    events = counts.sum(axis=1)
    survival = np.cumprod(1.0 - events / risk)
    before = np.concatenate(([1.0], survival[:-1]))
    incidence = np.cumsum(before[:, None] * counts / risk[:, None], axis=0)
    left = risk - events
    # At the last time everybody at risk has ended: F(t) - F(u) is 0 there, so its term is 0, not 0/0.
    first = np.where(left > 0.0, events / (risk * np.where(left > 0.0, left, 1.0)), 0.0)[:, None]
    second = before[:, None] ** 2 * counts * (risk[:, None] - counts) / risk[:, None] ** 3
    cross = before[:, None] * counts / risk[:, None] ** 2
    # (F(t)-F(u))^2 expanded, so that the sum over u is three running sums.
    variance = (
        incidence**2 * np.cumsum(first, axis=0)
        - 2.0 * incidence * np.cumsum(first * incidence, axis=0)
        + np.cumsum(first * incidence**2, axis=0)
        + np.cumsum(second, axis=0)
        - 2.0 * (incidence * np.cumsum(cross, axis=0) - np.cumsum(cross * incidence, axis=0))
    )
    return CumulativeIncidence(
        at,
        data.causes,
        incidence,
        np.maximum(variance, 0.0),
        survival,
        int(data.times.size),
        float(data.times.max()),
    )


@dataclass(frozen=True)
class RestrictedMean:
    """Mean event-free time up to `horizon` with its standard error and normal interval."""

    horizon: float
    mean: float
    standard_error: float
    lower: float
    upper: float
    confidence: float


def restricted_mean(data: Followed, horizon: float, confidence: float = 0.95) -> RestrictedMean:
    """Area under Kaplan-Meier from 0 to the horizon; variance sum of (area after u)^2 d/(n(n-d))."""
    probability(confidence, "confidence")
    curve = kaplan_meier(data)
    if not 0.0 < horizon <= curve.last_seen:
        raise StatisticsRefusal(
            f"The horizon must lie above 0 and not beyond the last time seen, {curve.last_seen:g}; "
            f"got {horizon:g}."
        )
    inside = curve.times < horizon
    edges = np.concatenate(([0.0], curve.times[inside], [horizon]))
    heights = np.concatenate(([1.0], curve.survival[inside]))
    areas = heights * np.diff(edges)
    after = np.cumsum(areas[::-1])[::-1][1:]
    left = curve.at_risk[inside] - curve.events[inside]
    greenwood = curve.events[inside] / (curve.at_risk[inside] * np.where(left > 0.0, left, 1.0))
    error = math.sqrt(float(np.sum(after**2 * np.where(left > 0.0, greenwood, 0.0))))
    half = float(stats.norm.isf((1.0 - confidence) / 2.0)) * error
    mean = float(areas.sum())
    return RestrictedMean(horizon, mean, error, mean - half, mean + half, confidence)
