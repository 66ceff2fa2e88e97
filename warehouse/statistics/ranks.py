"""Equivalence without a distribution: exact signed-rank and Mann-Whitney tests and their intervals.

Belongs here: exact conditional distributions of rank sums (ties by mid-ranks), shifted to the margins, with
Hodges-Lehmann estimates and the intervals the tests invert. Does not belong here: normal approximations; too
few lots for the level are refused, never answered by something else.

Assumes symmetric differences (signed rank) or distributions that differ by a shift alone (Mann-Whitney); on
the log scale the shift is a ratio. Sources: Hollander & Wolfe (1973, 1999) ch. 3-4; Hodges & Lehmann (1963)
Ann Math Stat 34:598; Moses (1953).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb, floor
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import rankdata

from warehouse.statistics.means import Estimate, interval_name
from warehouse.statistics.refusal import Floats, StatisticsRefusal, one_sided
from warehouse.statistics.scales import READING, Margin, Scale, forward, margin_on_scale, read

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_MOST = 200


@dataclass(frozen=True, slots=True)
class RankTost:
    """Two one-sided exact rank tests. Statistics are V (signed rank) or U (Mann-Whitney) at each margin."""

    estimate: Estimate
    margin: Margin
    statistic_lower: float
    statistic_upper: float
    p_lower: float
    p_upper: float
    p: float
    equivalent: bool


def _doubled(ranks: Floats) -> list[int]:
    """Mid-ranks times two, whole numbers."""
    return [round(2 * rank) for rank in ranks]


def _signed_rank_counts(ranks: list[int]) -> Floats:
    """Probability of each (doubled) sum of ranks with a positive sign, every sign equally likely."""
    chance = np.zeros(sum(ranks) + 1)
    chance[0] = 1.0
    for rank in ranks:
        moved = np.zeros_like(chance)
        moved[rank:] = chance[: chance.size - rank]
        chance = (chance + moved) / 2
    return chance


def _rank_sum_counts(ranks: list[int], size: int) -> Floats:
    """Probability of each (doubled) rank sum of a group of `size`, every choice equally likely."""
    chance = np.zeros((size + 1, sum(sorted(ranks)[-size:]) + 1))
    chance[0, 0] = 1.0
    for seen, rank in enumerate(ranks, start=1):
        for picked in range(min(size, seen), 0, -1):
            chance[picked, rank:] += chance[picked - 1, : chance.shape[1] - rank]
    return np.asarray(chance[size] / chance[size].sum())


def _tails(chance: Floats, doubled: int) -> tuple[float, float]:
    """P(sum <= observed), P(sum >= observed)."""
    return float(min(1.0, chance[: doubled + 1].sum())), float(min(1.0, chance[doubled:].sum()))


def _order(chance: Floats, step: int, alpha: float) -> int:
    """R's quantile of an untied rank statistic: smallest q with P(S <= q) >= alpha, at least 1."""
    below = np.cumsum(chance[::step])
    return max(1, int(np.searchsorted(below, alpha * (1 - 1e-12))))


@lru_cache(maxsize=256)
def mann_whitney_order(n_reference: int, n_test: int, alpha: float) -> int:
    """Which of the ordered differences ends the interval: a matter of the sizes alone.

    Raises StatisticsRefusal where the counts cannot reach the level.
    """
    ways = comb(n_reference + n_test, n_test)
    if 1 / ways > alpha:
        raise StatisticsRefusal(
            f"Mann-Whitney: {n_reference} reference and {n_test} test values cannot reach the level {alpha:g} "
            f"(the smallest p is {1 / ways:.4g}); 3 on each side reach 0.05."
        )
    untied = _rank_sum_counts(list(range(2, 2 * (n_reference + n_test) + 1, 2)), n_test)
    return _order(untied[n_test * (n_test + 1) :], 2, alpha)


@lru_cache(maxsize=256)
def signed_rank_order(pairs: int, alpha: float) -> int:
    """Which of the ordered Walsh averages ends the interval; a refusal where it cannot reach the level."""
    _reachable(pairs, alpha)
    return _order(_signed_rank_counts(list(range(2, 2 * pairs + 1, 2))), 2, alpha)


def _reachable(pairs: int, level: float) -> None:
    if pairs == 0 or 2.0**-pairs > level:
        raise StatisticsRefusal(
            f"signed rank: {pairs} pairs that differ cannot reach the level {level:g} "
            f"(the smallest p is {2.0**-pairs:.4g}); 5 pairs reach 0.05."
        )


def _signed_rank(shifted: Floats, level: float) -> tuple[float, float, float]:
    """(V, P(V' <= V), P(V' >= V)); differences of exactly 0 carry no sign and are left out."""
    kept = shifted[shifted != 0]
    _reachable(kept.size, level)
    ranks = rankdata(np.abs(kept))
    doubled = _doubled(ranks)
    value = sum(rank for rank, difference in zip(doubled, kept, strict=True) if difference > 0)
    below, above = _tails(_signed_rank_counts(doubled), value)
    return value / 2, below, above


def _checked(array: Floats, what: str) -> Floats:
    if array.size > _MOST:
        raise StatisticsRefusal(
            f"{what}: exact rank tests are given for up to {_MOST} values; use a t interval."
        )
    return array


def _rank_estimate(
    method: Literal["signed-rank", "mann-whitney"],
    candidates: Floats,
    *,
    order: int,
    scale: Scale,
    alpha: float,
    sizes: tuple[int, int],
) -> Estimate:
    """Median of the candidate shifts and the pair of order statistics that the exact test inverts to."""
    ordered = np.sort(candidates)
    return Estimate(
        method=method,
        scale=scale,
        reading=READING[scale],
        estimate=read(float(np.median(ordered)), scale),
        ci_low=read(float(ordered[order - 1]), scale),
        ci_high=read(float(ordered[ordered.size - order]), scale),
        alpha=alpha,
        interval=interval_name(alpha),
        n_reference=sizes[0],
        n_test=sizes[1],
        df_method="exact rank distribution",
    )


def _rank_tost(
    estimate: Estimate, margin: Margin, lower: tuple[float, float], upper: tuple[float, float]
) -> RankTost:
    p = max(lower[1], upper[1])
    return RankTost(estimate, margin, lower[0], upper[0], lower[1], upper[1], p, p <= estimate.alpha)


def signed_rank(
    reference: ArrayLike, test: ArrayLike, *, scale: Scale = "identity", alpha: float = 0.05, top: float = 1.0
) -> Estimate:
    """Hodges-Lehmann pseudomedian of the pairs' differences with the exact interval (Tukey's Walsh averages).

    Raises StatisticsRefusal with fewer than 5 pairs at alpha 0.05: no interval of that level exists.
    """
    level = one_sided(alpha)
    difference = _pairs(reference, test, scale, top)
    n = difference.size
    order = signed_rank_order(n, level)
    i, j = np.triu_indices(n)
    walsh = (difference[i] + difference[j]) / 2
    return _rank_estimate("signed-rank", walsh, order=order, scale=scale, alpha=level, sizes=(n, n))


def _pairs(reference: ArrayLike, test: ArrayLike, scale: Scale, top: float) -> Floats:
    ref = forward(reference, scale, top=top, what="reference")
    new = forward(test, scale, top=top, what="test")
    if ref.size != new.size:
        raise StatisticsRefusal(f"Pairs need equal counts: {ref.size} reference and {new.size} test values.")
    return _checked(new - ref, "pairs")


def signed_rank_tost(
    reference: ArrayLike,
    test: ArrayLike,
    margin: Margin,
    *,
    scale: Scale = "identity",
    alpha: float = 0.05,
    top: float = 1.0,
) -> RankTost:
    """Exact signed-rank tests of the pairs' differences shifted to each limit of `margin` (as read)."""
    estimate = signed_rank(reference, test, scale=scale, alpha=alpha, top=top)
    low, high = margin_on_scale(margin, scale)
    difference = _pairs(reference, test, scale, top)
    v_lower, _, p_lower = _signed_rank(difference - low, estimate.alpha)
    v_upper, p_upper, _ = _signed_rank(difference - high, estimate.alpha)
    return _rank_tost(estimate, margin, (v_lower, p_lower), (v_upper, p_upper))


def _mann_whitney(ref: Floats, new: Floats) -> tuple[float, float, float]:
    """(U of the test group, P(U' <= U), P(U' >= U))."""
    doubled = _doubled(rankdata(np.concatenate([new, ref])))
    value = sum(doubled[: new.size])
    below, above = _tails(_rank_sum_counts(doubled, new.size), value)
    return value / 2 - new.size * (new.size + 1) / 2, below, above


def _samples(
    reference: ArrayLike, test: ArrayLike, scale: Scale, level: float, top: float
) -> tuple[Floats, Floats]:
    ref = _checked(forward(reference, scale, top=top, what="reference"), "reference")
    new = _checked(forward(test, scale, top=top, what="test"), "test")
    mann_whitney_order(ref.size, new.size, level)
    return ref, new


def mann_whitney(
    reference: ArrayLike, test: ArrayLike, *, scale: Scale = "identity", alpha: float = 0.05, top: float = 1.0
) -> Estimate:
    """Hodges-Lehmann shift of `test` from `reference` with Moses' exact interval.

    Raises StatisticsRefusal where the counts cannot reach the level.
    """
    level = one_sided(alpha)
    ref, new = _samples(reference, test, scale, level, top)
    order = mann_whitney_order(ref.size, new.size, level)
    shifts = np.subtract.outer(new, ref).ravel()
    return _rank_estimate(
        "mann-whitney", shifts, order=order, scale=scale, alpha=level, sizes=(ref.size, new.size)
    )


def mann_whitney_tost(
    reference: ArrayLike,
    test: ArrayLike,
    margin: Margin,
    *,
    scale: Scale = "identity",
    alpha: float = 0.05,
    top: float = 1.0,
) -> RankTost:
    """Exact Mann-Whitney tests of `test` shifted to each limit of `margin` (as read)."""
    estimate = mann_whitney(reference, test, scale=scale, alpha=alpha, top=top)
    low, high = margin_on_scale(margin, scale)
    ref, new = _samples(reference, test, scale, estimate.alpha, top)
    u_lower, _, p_lower = _mann_whitney(ref, new - low)
    u_upper, p_upper, _ = _mann_whitney(ref, new - high)
    return _rank_tost(estimate, margin, (u_lower, p_lower), (u_upper, p_upper))


def smallest_sizes(alpha: float = 0.05) -> tuple[int, int]:
    """(pairs, lots on each side) from which exact rank tests can reach `alpha` at all: (5, 3) at 0.05."""
    level = one_sided(alpha)
    pairs = next(n for n in range(1, _MOST) if 2.0**-n <= level)
    sides = next(n for n in range(1, _MOST) if comb(2 * n, n) >= floor(1 / level + 0.5))
    return pairs, sides
