"""Dynamic time warping: aligning a run to a template when both pass the same events at different speeds.

Belongs here: cumulative cost and path under the step patterns symmetric1, symmetric2, asymmetric and
asymmetricP1, with or without a Sakoe-Chiba band. Resampling to a common clock is the caller's; envelopes are
in trajectory.py.

Sources: Sakoe & Chiba 1978; Giorgino 2009 (R package dtw: names of the step patterns, order of ties).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from warehouse.statistics.checked import FloatArray, IntArray, finite_matrix
from warehouse.statistics.refusal import StatisticsRefusal

StepPattern = Literal["symmetric1", "symmetric2", "asymmetric", "asymmetricP1"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Cost of the best path, cost per step by the pattern's own rule, and the path (pairs of 0-based
    positions).

    normalized: distance / (n + m) for symmetric2, distance / n for the asymmetric patterns, n the length of
    the query; None for symmetric1, whose cost has no length that belongs to it.
    """

    distance: float
    normalized: float | None
    query_path: IntArray
    template_path: IntArray
    pattern: StepPattern
    window: int | None

    @property
    def path_length(self) -> int:
        """How many pairs the path has."""
        return int(self.query_path.size)


def _series(values: ArrayLike, name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    return finite_matrix(array[:, None] if array.ndim == 1 else array, name, 1, 1)


def _local_cost(query: FloatArray, template: FloatArray, window: int | None) -> FloatArray:
    if query.shape[1] != template.shape[1]:
        raise StatisticsRefusal(f"The query has {query.shape[1]} channels, the template {template.shape[1]}.")
    if query.shape[1] == 1:
        cost = np.abs(query - template.T)
    else:
        cost = np.sqrt(np.sum((query[:, None, :] - template[None, :, :]) ** 2, axis=2))
    if window is not None:
        n, m = cost.shape
        if window < abs(n - m):
            raise StatisticsRefusal(
                f"A band of {window} cannot join series of {n} and {m} points; {abs(n - m)} is the least."
            )
        cost[np.abs(np.arange(n)[:, None] - np.arange(m)[None, :]) > window] = np.inf
    return cost


def _symmetric(cost: FloatArray, diagonally: float) -> FloatArray:
    """g(i,j) = min(g(i-1,j-1) + w d, g(i,j-1) + d, g(i-1,j) + d), w = `diagonally`, by anti-diagonals."""
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)  # a border of infinity on top and left spares every bound check
    total[1, 1] = cost[0, 0]
    for diagonal in range(1, n + m - 1):
        i = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))
        j = diagonal - i
        d = cost[i, j]
        best = np.minimum(total[i, j] + diagonally * d, np.minimum(total[i + 1, j], total[i, j + 1]) + d)
        total[i + 1, j + 1] = best
    return total


def _asymmetric(cost: FloatArray) -> FloatArray:
    """g(i,j) = min(g(i-1,j), g(i-1,j-1), g(i-1,j-2)) + d, row by row."""
    n, m = cost.shape
    total = np.full((n + 1, m + 2), np.inf)
    total[1, 2] = cost[0, 0]
    for i in range(1, n):
        before = total[i]
        total[i + 1, 2:] = np.minimum(np.minimum(before[2:], before[1 : m + 1]), before[:m]) + cost[i]
    return total


def _asymmetric_p1(cost: FloatArray) -> FloatArray:
    """g(i,j) = min(g(i-1,j-2) + (d(i,j-1) + d(i,j))/2, g(i-1,j-1) + d, g(i-2,j-1) + d(i-1,j) + d), row by
    row.
    """
    n, m = cost.shape
    total = np.full((n + 2, m + 2), np.inf)
    total[2, 2] = cost[0, 0]
    previous = np.full((n + 1, m + 1), np.inf)
    previous[1:, 1:] = cost
    for i in range(1, n):
        d = cost[i]
        double = total[i + 1, :m] + 0.5 * previous[i + 1, :m] + 0.5 * d
        single = total[i + 1, 1 : m + 1] + d
        skipped = total[i, 1 : m + 1] + previous[i, 1:] + d
        total[i + 2, 2:] = np.minimum(double, np.minimum(single, skipped))
    return total


def _path_symmetric(cost: FloatArray, total: FloatArray, diagonally: float) -> list[tuple[int, int]]:
    i, j = cost.shape[0] - 1, cost.shape[1] - 1
    path = [(i, j)]
    while (i, j) != (0, 0):
        d = cost[i, j]
        # Ties go to the first of diagonal, left, up: R's order.
        step = int(np.argmin([total[i, j] + diagonally * d, total[i + 1, j] + d, total[i, j + 1] + d]))
        i, j = ((i - 1, j - 1), (i, j - 1), (i - 1, j))[step]
        path.append((i, j))
    return path


def _path_asymmetric(cost: FloatArray, total: FloatArray) -> list[tuple[int, int]]:
    i, j = cost.shape[0] - 1, cost.shape[1] - 1
    path = [(i, j)]
    while i > 0:
        step = int(np.argmin([total[i, j + 2], total[i, j + 1], total[i, j]]))
        i, j = i - 1, j - step
        path.append((i, j))
    return path


def _path_asymmetric_p1(cost: FloatArray, total: FloatArray) -> list[tuple[int, int]]:
    i, j = cost.shape[0] - 1, cost.shape[1] - 1
    path = [(i, j)]
    while (i, j) != (0, 0):
        d = cost[i, j]
        double = total[i + 1, j] + 0.5 * (cost[i, j - 1] + d) if j > 0 else np.inf
        skipped = total[i, j + 1] + cost[i - 1, j] + d if i > 0 else np.inf
        step = int(np.argmin([double, total[i + 1, j + 1] + d, skipped]))
        if step == 0:
            path.append((i, j - 1))
        elif step == 2:
            path.append((i - 1, j))
        i, j = ((i - 1, j - 2), (i - 1, j - 1), (i - 2, j - 1))[step]
        path.append((i, j))
    return path


def align(
    query: ArrayLike, template: ArrayLike, pattern: StepPattern = "symmetric2", window: int | None = None
) -> Alignment:
    """Best alignment of a query (n,) or (n, channels) to a template (m,) or (m, channels), ends joined to
    ends.

    Local cost: Euclidean distance (bring channels to one scale first). window: the Sakoe-Chiba band |i - j|
    <= window. asymmetricP1 lets the query run at half to double the speed of the template; outside that it
    refuses.
    """
    if window is not None and window < 0:
        raise StatisticsRefusal("The band of an alignment cannot be negative.")
    cost = _local_cost(_series(query, "query"), _series(template, "template"), window)
    n, m = cost.shape
    trace: Callable[[FloatArray, FloatArray], list[tuple[int, int]]]
    length: int | None
    if pattern in {"symmetric1", "symmetric2"}:
        diagonally = 2.0 if pattern == "symmetric2" else 1.0
        total = _symmetric(cost, diagonally)
        distance, length = float(total[n, m]), n + m if pattern == "symmetric2" else None
        trace = partial(_path_symmetric, diagonally=diagonally)
    elif pattern == "asymmetric":
        total = _asymmetric(cost)
        distance, length = float(total[n, m + 1]), n
        trace = _path_asymmetric
    elif pattern == "asymmetricP1":
        total = _asymmetric_p1(cost)
        distance, length = float(total[n + 1, m + 1]), n
        trace = _path_asymmetric_p1
    else:
        known = ", ".join(get_args(StepPattern))
        raise StatisticsRefusal(f"There is no step pattern {pattern!r}; there are {known}.")
    if not np.isfinite(distance):
        raise StatisticsRefusal(
            f"No path joins {n} points to {m} under {pattern} and this band: the lengths differ too much."
        )
    path = np.array(trace(cost, total)[::-1], dtype=np.int64)
    per_step = None if length is None else distance / length
    return Alignment(distance, per_step, path[:, 0], path[:, 1], pattern, window)
