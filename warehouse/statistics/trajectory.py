"""Runs against the path of good batches: envelope, deviation, excursions.

Belongs here: arithmetic on arrays already aligned to one clock and resampled. NaN in a trajectory means "no
reading" and is never a deviation; it stays NaN in what is returned for that point. Choosing the good
batches, aligning and resampling are the caller's; several channels together are in mspc.py, metabolic rates
in metabolism.py.

Sources: Nomikos & MacGregor 1995 (mean trajectory and its spread); the score of a batch is the root mean
square of its standardised distance, judged against the good batches each left out in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from warehouse.statistics.checked import BoolArray, FloatArray, positive, same_length
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector


@dataclass(frozen=True, eq=False)
class GoldenEnvelope:
    """The path of good batches for one channel. Arrays have shape (times,); NaN where `known` is false.

    known: at least `minimum` good batches have a reading there. lower, median, upper: percentiles named by
    `shares`. mean, sd: for standardised distances (sd is 0 where good batches never differ, a set point).
    good_scores: score of each good batch against the others, the yardstick for a new one.
    """

    times: FloatArray
    known: BoolArray
    counts: FloatArray
    mean: FloatArray
    sd: FloatArray
    lower: FloatArray
    median: FloatArray
    upper: FloatArray
    shares: tuple[float, float, float]
    good_scores: FloatArray
    batches: int

    def score_limit(self, share: float = 0.95) -> float:
        """The score that `share` of the good batches stay below; needs enough of them to have such a
        quantile.
        """
        probability(share, "share")
        needed = int(np.ceil(1.0 / (1.0 - share) - 1e-9))
        if self.good_scores.size < needed:
            raise StatisticsRefusal(
                f"A limit that {share:.0%} of good batches keep needs {needed} of them, "
                f"not {self.good_scores.size}."
            )
        return float(np.quantile(self.good_scores, share))


def _trajectories(values: ArrayLike, name: str, dimensions: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or 0 in array.shape:
        shape = "batches x times" if dimensions == 2 else "one value a time"
        raise StatisticsRefusal(f"{name} must be {shape}, got shape {array.shape}.")
    if np.isinf(array).any():
        raise StatisticsRefusal(f"{name} holds an infinite reading; mark it as no reading (NaN).")
    return array


def _clock(times: ArrayLike) -> FloatArray:
    t = vector(times, "times")
    if (np.diff(t) <= 0.0).any():
        raise StatisticsRefusal("Times must rise from each point to the next.")
    return t


def _scores(z: FloatArray) -> FloatArray:
    """Root mean square over the points that have a value, NaN for a row with none."""
    seen = np.isfinite(z)
    counts = seen.sum(axis=-1)
    squares = np.where(seen, z, 0.0) ** 2
    with np.errstate(invalid="ignore"):
        score: FloatArray = np.sqrt(squares.sum(axis=-1) / counts)
    return score


def golden_envelope(
    times: ArrayLike,
    good: ArrayLike,
    shares: tuple[float, float, float] = (0.05, 0.5, 0.95),
    minimum: int = 5,
) -> GoldenEnvelope:
    """Envelope from good batches, good: (batches, times) with NaN for no reading, on the clock `times`.

    A time with fewer than `minimum` readings has no envelope.
    """
    t = _clock(times)
    y = _trajectories(good, "good", 2)
    if y.shape[1] != t.size:
        raise StatisticsRefusal(f"The clock has {t.size} points, the batches {y.shape[1]}.")
    if minimum < 3 or y.shape[0] < minimum:
        raise StatisticsRefusal(f"{y.shape[0]} good batches are too few; {max(3, minimum)} are needed.")
    if not 0.0 < shares[0] < shares[1] < shares[2] < 1.0:
        raise StatisticsRefusal("The three shares of an envelope must rise between 0 and 1.")
    seen = np.isfinite(y)
    counts = seen.sum(axis=0).astype(np.float64)
    known = counts >= minimum
    if not known.any():
        raise StatisticsRefusal(f"At no time do {minimum} good batches have a reading.")
    kept = y[:, known]
    mean, sd, lower, median, upper = (np.full(t.size, np.nan) for _ in range(5))
    n = counts[known]
    mean[known] = np.nansum(kept, axis=0) / n
    squares = np.nansum((kept - mean[known]) ** 2, axis=0)
    flat = np.nanmax(kept, axis=0) == np.nanmin(kept, axis=0)
    sd[known] = np.where(flat, 0.0, np.sqrt(squares / (n - 1.0)))
    lower[known], median[known], upper[known] = np.nanquantile(kept, shares, axis=0)
    # Each batch against the others: mean and variance without it follow from those with it.
    distance = kept - mean[known]
    without = squares - distance**2 * n / (n - 1.0)
    others_sd = np.sqrt(np.maximum(without, 0.0) / (n - 2.0))
    usable = others_sd > 1e-9 * np.sqrt(squares / n)
    z = np.where(usable, distance * n / (n - 1.0) / np.where(usable, others_sd, 1.0), np.nan)
    scores = _scores(z)
    return GoldenEnvelope(
        t, known, counts, mean, sd, lower, median, upper, shares, scores[np.isfinite(scores)], int(y.shape[0])
    )


@dataclass(frozen=True, eq=False)
class Deviation:
    """A run against an envelope. z: (times,), NaN where either has no value. outside: beyond lower or upper.

    score: root mean square of z. share_outside: of the `compared` points. rank: share of good batches with
    a smaller score, each judged by the others.
    """

    z: FloatArray
    outside: BoolArray
    score: float
    share_outside: float
    compared: int
    rank: float


def deviation(envelope: GoldenEnvelope, run: ArrayLike) -> Deviation:
    """How far a run (times,) strays from the good batches; points without a reading are left out, not
    counted.
    """
    y = _trajectories(run, "run", 1)
    same_length(times=envelope.times, run=y)
    usable = envelope.known & (np.nan_to_num(envelope.sd) > 0.0)
    z = np.full(y.size, np.nan)
    z[usable] = (y[usable] - envelope.mean[usable]) / envelope.sd[usable]
    compared = int(np.isfinite(z).sum())
    if compared == 0:
        raise StatisticsRefusal(
            "The run has no reading where good batches have and differ; it cannot be compared."
        )
    outside = np.zeros(y.size, dtype=np.bool_)
    both = envelope.known & np.isfinite(y)
    outside[both] = (y[both] < envelope.lower[both]) | (y[both] > envelope.upper[both])
    score = float(_scores(z))
    rank = float((envelope.good_scores < score).mean()) if envelope.good_scores.size else 0.0
    return Deviation(z, outside, score, float(outside[both].mean()), compared, rank)


@dataclass(frozen=True)
class Excursion:
    """An interval outside the limits: first and last reading outside (in the clock's unit), and how deep it
    went.

    depth is the largest distance beyond the limit, in the unit of the readings. area: distance beyond
    integrated over time by trapezoids. side is 'above' or 'below'.
    """

    start: float
    stop: float
    readings: int
    depth: float
    area: float
    side: str

    @property
    def duration(self) -> float:
        """Time from the first to the last reading outside; 0 for a single one."""
        return self.stop - self.start


def excursions(
    times: ArrayLike, values: ArrayLike, lower: float | None, upper: float | None, largest_gap: float
) -> tuple[Excursion, ...]:
    """Unbroken stretches of readings beyond a limit. A gap longer than largest_gap, or NaN, ends a stretch.

    The time between two readings outside counts as outside only when no gap lies between them.
    """
    t = _clock(times)
    y = _trajectories(values, "values", 1)
    same_length(times=t, values=y)
    positive(largest_gap, "largest_gap")
    if lower is None and upper is None:
        raise StatisticsRefusal("An excursion needs a lower or an upper limit.")
    if lower is not None and upper is not None and lower >= upper:
        raise StatisticsRefusal(f"The lower limit {lower:g} is not below the upper limit {upper:g}.")
    found: list[Excursion] = []
    for side, limit, sign in (("above", upper, 1.0), ("below", lower, -1.0)):
        if limit is None:
            continue
        beyond = sign * (y - limit)
        out = np.flatnonzero(beyond > 0.0)  # NaN compares false: no reading is never outside
        if not out.size:
            continue
        breaks = (np.diff(out) > 1) | (np.diff(t[out]) > largest_gap)
        for part in np.split(out, np.flatnonzero(breaks) + 1):
            depths = beyond[part]
            area = float(np.sum(np.diff(t[part]) * (depths[1:] + depths[:-1]) / 2.0))
            stretch = (float(t[part[0]]), float(t[part[-1]]), int(part.size), float(depths.max()), area)
            found.append(Excursion(*stretch, side))
    return tuple(sorted(found, key=lambda excursion: excursion.start))
