"""Several changes in one series: where the level, or level and spread, jump, and how many jumps there are.

Belongs here: segmentation by penalised normal likelihood, at most one change or any number. One
break with an interval for its date, and tests of trend, are in trend.py. A change at 28 lies between the
28th and 29th value.

Sources: Jackson et al. 2005 (exact search); Killick, Fearnhead & Eckley 2012 (PELT, run by `ruptures`);
Zhang & Siegmund 2007 (MBIC, as in R's changepoint).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from warehouse.statistics.checked import FloatArray, IntArray, positive
from warehouse.statistics.refusal import StatisticsRefusal, vector

Cost = Literal["mean", "mean and variance"]
Search = Literal["exact", "PELT"]
_PARAMETERS = {"mean": 1, "mean and variance": 2}


@dataclass(frozen=True)
class Segments:
    """Changes (values before each), and the mean and standard deviation (n-1) of every stretch between them.

    A stretch of one value has sd 0. sigma is what the cost held the noise at (None when it estimates the
    variance).
    """

    changes: tuple[int, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    cost: Cost
    penalty: float
    sigma: float | None


class _NormalCost:
    """-2 log likelihood of a normal stretch plus MBIC's log(length), from running sums."""

    def __init__(self, y: FloatArray, cost: Cost, sigma: float) -> None:
        centred = (y - y.mean()) / sigma
        self._mean_only = cost == "mean"
        self._sum = np.concatenate(([0.0], np.cumsum(centred)))
        self._square = np.concatenate(([0.0], np.cumsum(centred**2)))

    def of(self, starts: IntArray, end: int) -> FloatArray:
        """Cost of the stretches from each start to one end (excluded)."""
        length = (end - starts).astype(np.float64)
        total = self._sum[end] - self._sum[starts]
        squares = np.maximum(self._square[end] - self._square[starts] - total**2 / length, 0.0)
        if not self._mean_only:
            # A stretch without spread has infinite likelihood; the floor is changepoint's, in sigma squared.
            variance = np.maximum(squares / length, 1e-11)
            squares = length * (np.log(2.0 * math.pi * variance) + 1.0)
        cost: FloatArray = squares + np.log(length)
        return cost

    def __call__(self, start: int, end: int) -> float:
        return float(self.of(np.array([start]), end)[0])


def _noise(y: FloatArray) -> float:
    """Standard deviation from the median successive difference: a few jumps of level do not widen it."""
    sigma = float(np.median(np.abs(np.diff(y)))) / (math.sqrt(2.0) * 0.6744897501960817)
    if sigma <= 0.0:
        raise StatisticsRefusal(
            "Half of the values repeat the one before, so the noise cannot be judged; give sigma."
        )
    return sigma


def _prepared(
    values: ArrayLike, cost: Cost, sigma: float | None, penalty: float | None
) -> tuple[FloatArray, _NormalCost, float, float | None, int]:
    y = vector(values, "values", at_least=4)
    if np.ptp(y) == 0.0:
        raise StatisticsRefusal("All values are the same: there is no change to look for.")
    if cost not in _PARAMETERS:
        raise StatisticsRefusal(f"There is no cost {cost!r}; use 'mean' or 'mean and variance'.")
    charge = (_PARAMETERS[cost] + 2) * math.log(y.size) if penalty is None else positive(penalty, "penalty")
    held = None
    if cost == "mean":
        held = _noise(y) if sigma is None else positive(sigma, "sigma")
        unit = held
    else:
        unit = float(y.std()) if sigma is None else positive(sigma, "sigma")
    return y, _NormalCost(y, cost, unit), charge, held, _PARAMETERS[cost]


def _described(
    y: FloatArray, changes: list[int], cost: Cost, penalty: float, sigma: float | None
) -> Segments:
    parts = [y[a:b] for a, b in itertools.pairwise([0, *changes, y.size])]
    means = tuple(float(part.mean()) for part in parts)
    sds = tuple(float(part.std(ddof=1)) if part.size > 1 else 0.0 for part in parts)
    return Segments(tuple(changes), means, sds, cost, penalty, sigma)


def one_change(
    values: ArrayLike, cost: Cost = "mean", sigma: float | None = None, penalty: float | None = None
) -> Segments:
    """At most one change: the best split when it lowers the cost by more than the penalty.

    penalty: MBIC's (parameters + 2) log n when None. sigma: for cost 'mean' the standard deviation of the
    noise, from successive differences when None; for 'mean and variance' only the unit of the smallest
    variance a stretch is credited with (1e-11 sigma^2). R's changepoint takes 1 for both, whatever the unit.
    """
    y, price, charge, held, shortest = _prepared(values, cost, sigma, penalty)
    n = int(y.size)
    splits = range(shortest, n - shortest + 1)
    costs = [price(0, split) + price(split, n) for split in splits]
    best = int(np.argmin(costs))
    changes = [splits[best]] if price(0, n) - costs[best] > charge else []
    return _described(y, changes, cost, charge, held)


def _exact(price: _NormalCost, n: int, charge: float, shortest: int) -> list[int]:
    """Optimal partitioning (Jackson et al. 2005): the best last change for every end, all of them tried."""
    best = np.full(n + 1, np.inf)
    best[0] = -charge
    last = np.zeros(n + 1, dtype=np.int64)
    for end in range(shortest, n + 1):
        starts = np.arange(end - shortest + 1)
        costs = best[starts] + price.of(starts, end) + charge
        last[end] = costs.argmin()
        best[end] = costs[last[end]]
    changes, place = [], int(last[n])
    while place:
        changes.append(place)
        place = int(last[place])
    return changes[::-1]


def _pelt(price: _NormalCost, y: FloatArray, charge: float, shortest: int) -> list[int]:
    # Importing ruptures takes over a second, which only this function should pay.
    from ruptures import Pelt
    from ruptures.base import BaseCost

    class Adapted(BaseCost):  # type: ignore[misc]  # ruptures ships no types
        """Our cost under the face that ruptures asks for."""

        model = "normal with MBIC"
        min_size = shortest

        def fit(self, signal: FloatArray) -> Adapted:
            self.signal = signal.reshape(-1, 1)
            return self

        def error(self, start: int, end: int) -> float:
            return price(start, end)

    search = Pelt(custom_cost=Adapted(), min_size=shortest, jump=1).fit(y)
    return [int(end) for end in search.predict(pen=charge)][:-1]


def segments(
    values: ArrayLike,
    cost: Cost = "mean and variance",
    sigma: float | None = None,
    penalty: float | None = None,
    *,
    search: Search = "exact",
) -> Segments:
    """Any number of changes; other arguments as for one_change. Every stretch has 2 values (1 for cost
    'mean').

    search 'exact' finds the cheapest segmentation. 'PELT' is what R's changepoint and `ruptures` run: its
    pruning is not exact under MBIC, whose log(length) breaks the condition it needs (it missed the optimum
    in 1 of 120 simulated series of 48 values); kept for comparison and for series too long to try every
    change (time grows as n^2).
    """
    y, price, charge, held, shortest = _prepared(values, cost, sigma, penalty)
    if search == "exact":
        changes = _exact(price, int(y.size), charge, shortest)
    elif search == "PELT":
        changes = _pelt(price, y, charge, shortest)
    else:
        raise StatisticsRefusal(f"There is no search {search!r}; use 'exact' or 'PELT'.")
    return _described(y, changes, cost, charge, held)
