"""Lines through a comparison of two methods that both err: Deming and Passing-Bablok.

Belongs here: slope and intercept with intervals. Does not belong here: ordinary regression, agreement
coefficients (agreement.py).

Sources: Deming (1943); Linnet (1993) Clin Chem 39:424 (jackknife); Passing & Bablok (1983) J Clin Chem Clin
Biochem 21:709.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from warehouse.statistics.agreement import paired_vectors
from warehouse.statistics.refusal import Floats, StatisticsRefusal, probability

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class MethodLine:
    """y = intercept + slope x with intervals at `level`; standard errors where the method has them."""

    method: Literal["deming", "passing-bablok"]
    slope: float
    intercept: float
    slope_ci: tuple[float, float]
    intercept_ci: tuple[float, float]
    slope_se: float | None
    intercept_se: float | None
    level: float
    n: int


def _deming_line(x: Floats, y: Floats, ratio: float) -> tuple[float, float]:
    dx, dy = x - x.mean(), y - y.mean()
    sxx, syy, sxy = float(dx @ dx), float(dy @ dy), float(dx @ dy)
    if sxy == 0:
        raise StatisticsRefusal("The two methods do not vary together: no line can be drawn.")
    gap = syy - ratio * sxx
    slope = (gap + sqrt(gap * gap + 4 * ratio * sxy * sxy)) / (2 * sxy)
    return slope, float(y.mean() - slope * x.mean())


def deming(
    first: ArrayLike, second: ArrayLike, *, error_variance_ratio: float = 1.0, level: float = 0.95
) -> MethodLine:
    """Deming regression of `second` on `first` with jackknife intervals, n - 2 df.

    `error_variance_ratio` is the error variance of `second` over that of `first`.
    """
    x, y = paired_vectors(first, second, at_least=4)
    if error_variance_ratio <= 0:
        raise StatisticsRefusal("The ratio of error variances must be above 0.")
    n = x.size
    slope, intercept = _deming_line(x, y, error_variance_ratio)
    kept = ~np.eye(n, dtype=bool)
    left_out = np.array([_deming_line(x[keep], y[keep], error_variance_ratio) for keep in kept])
    pseudo = n * np.array([slope, intercept]) - (n - 1) * left_out
    se = pseudo.std(axis=0, ddof=1) / sqrt(n)
    quantile = float(stats.t.isf((1 - probability(level, "level")) / 2, n - 2))
    slope_half, intercept_half = (quantile * float(part) for part in se)
    return MethodLine(
        "deming",
        slope,
        intercept,
        (slope - slope_half, slope + slope_half),
        (intercept - intercept_half, intercept + intercept_half),
        float(se[0]),
        float(se[1]),
        level,
        n,
    )


def passing_bablok(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> MethodLine:
    """Passing-Bablok regression: shifted median of pairwise slopes, rank interval.

    Slopes of exactly -1 are left out, as published. Raises StatisticsRefusal where the interval's ranks fall
    outside the slopes: too few samples for the level.
    """
    x, y = paired_vectors(first, second, at_least=4)
    n = x.size
    i, j = np.triu_indices(n, 1)
    dx, dy = x[j] - x[i], y[j] - y[i]
    apart = (dx != 0) | (dy != 0)
    dx, dy = dx[apart], dy[apart]
    slopes = np.where(dx == 0, np.copysign(np.inf, dy), dy / np.where(dx == 0, 1.0, dx))
    slopes = np.sort(slopes[slopes != -1])
    count, offset = slopes.size, int((slopes < -1).sum())
    if count < 2:
        raise StatisticsRefusal("The samples do not differ enough to draw a line.")
    middle = (count + 1) / 2 + offset
    quantile = float(stats.norm.isf((1 - probability(level, "level")) / 2))
    reach = quantile * sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = round((count - reach) / 2)
    high = count - low + 1
    if low < 1 or high + offset > count or ceil(middle) > count:
        raise StatisticsRefusal(f"{n} samples are too few for a Passing-Bablok interval at {level:.0%}.")
    slope = float((slopes[int(middle) - 1] + slopes[ceil(middle) - 1]) / 2)
    bounds = float(slopes[low + offset - 1]), float(slopes[high + offset - 1])
    if not np.isfinite([slope, *bounds]).all():
        raise StatisticsRefusal("Results of the first method are tied too often: a slope is unbounded.")
    intercepts = [float(np.median(y - b * x)) for b in (slope, bounds[1], bounds[0])]
    return MethodLine(
        "passing-bablok",
        slope,
        intercepts[0],
        bounds,
        (intercepts[1], intercepts[2]),
        None,
        None,
        level,
        n,
    )
