"""Outliers, flagged and never dropped: Grubbs and generalised ESD.

Belongs here: tests that say which lots stand apart from a normal sample. Does not belong here: removing
anything; a verdict shows its result with and without the flagged lots.

Sources: Grubbs (1969) Technometrics 11:1; Rosner (1983) Technometrics 25:165 (NIST/SEMATECH 1.3.5.17).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from warehouse.statistics.refusal import Floats, StatisticsRefusal, one_sided, spread, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Grubbs:
    """Largest deviation from the mean in SDs, critical values, whether the two-sided one is passed.

    `p` is two-sided, `p_one_sided` for an end named beforehand (Bonferroni's bound, exact where below 0.5).
    """

    g: float
    critical_one_sided: float
    critical_two_sided: float
    index: int
    value: float
    outlier: bool
    n: int
    p: float
    p_one_sided: float


@dataclass(frozen=True, slots=True)
class Esd:
    """Generalised ESD: statistics and critical values for 1 to `suspected`, indices in order of removal."""

    statistics: tuple[float, ...]
    critical: tuple[float, ...]
    order: tuple[int, ...]
    outliers: tuple[int, ...]


def _critical(n: int, tail: float) -> float:
    t = float(stats.t.isf(tail, n - 2))
    return (n - 1) / sqrt(n) * sqrt(t * t / (n - 2 + t * t))


def _furthest(array: Floats) -> tuple[int, float]:
    sd = spread(array)
    if sd <= 0:
        raise StatisticsRefusal("Every value is the same: none can stand apart.")
    deviations = np.abs(array - array.mean())
    index = int(deviations.argmax())
    return index, float(deviations[index]) / sd


def grubbs(values: ArrayLike, *, alpha: float = 0.05) -> Grubbs:
    """Grubbs' test for one outlier at either end; needs at least 3 values."""
    array, level = vector(values, "values", at_least=3), one_sided(alpha)
    index, g = _furthest(array)
    one, two = _critical(array.size, level / array.size), _critical(array.size, level / (2 * array.size))
    n = array.size
    # G as a t statistic of the one value against the rest; its largest possible value is (n - 1) / sqrt(n).
    room = (n - 1) ** 2 - n * g * g
    t = sqrt(n * (n - 2) * g * g / room) if room > 0 else inf
    tail = n * float(stats.t.sf(t, n - 2))
    return Grubbs(g, one, two, index, float(array[index]), g > two, n, min(1.0, 2.0 * tail), min(1.0, tail))


def generalised_esd(values: ArrayLike, suspected: int, *, alpha: float = 0.05) -> Esd:
    """Rosner's test for up to `suspected` outliers.

    The count is the largest i whose statistic passes its critical value, also where a smaller i does not (an
    outlier can hide another). Raises StatisticsRefusal unless 1 <= suspected <= n - 2.
    """
    array, level = vector(values, "values", at_least=3), one_sided(alpha)
    if not 1 <= suspected <= array.size - 2:
        raise StatisticsRefusal(
            f"{array.size} values allow 1 to {array.size - 2} suspected outliers, got {suspected}."
        )
    kept = np.arange(array.size)
    statistics: list[float] = []
    critical: list[float] = []
    order: list[int] = []
    for _ in range(suspected):
        # Once only equal values are left none of them stands apart, and the search ends.
        if np.ptp(array[kept]) == 0 and statistics:
            break
        index, r = _furthest(array[kept])
        statistics.append(r)
        critical.append(_critical(kept.size, level / (2 * kept.size)))
        order.append(int(kept[index]))
        kept = np.delete(kept, index)
    passed = [i for i, (r, limit) in enumerate(zip(statistics, critical, strict=True), start=1) if r > limit]
    count = max(passed, default=0)
    return Esd(tuple(statistics), tuple(critical), tuple(order), tuple(order[:count]))
