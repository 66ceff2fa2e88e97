"""Description of one sample and one-way analysis of variance, to the digits the data have.

Belongs here: mean, SD, lag-1 autocorrelation; the one-way ANOVA table. Does not belong here: verdicts.

Values far from 0 lose their digits in sums of squares, and printed decimals lose some when they become
floats. `centred` takes the decimals as printed and subtracts a common value exactly before that; every sum
here is then taken about the mean. Source of the certified values: NIST Statistical Reference Datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from warehouse.statistics.refusal import Floats, StatisticsRefusal, spread, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Summary:
    """n, mean, SD (n - 1) and lag-1 autocorrelation; the last two None where they do not exist."""

    n: int
    mean: float
    sd: float | None
    lag1_autocorrelation: float | None


@dataclass(frozen=True, slots=True)
class Anova:
    """One-way analysis of variance: sums of squares, F with its p, share explained and residual SD."""

    df_between: int
    df_within: int
    ss_between: float
    ss_within: float
    ms_between: float
    ms_within: float
    f: float
    p: float
    r2: float
    residual_sd: float


def centred(printed: Sequence[str | Decimal]) -> tuple[float, Floats]:
    """(centre, values - centre) from decimals as printed, the subtraction exact."""
    if not printed:
        raise StatisticsRefusal("There are no values.")
    try:
        decimals = [Decimal(value) for value in printed]
    except InvalidOperation as error:
        raise StatisticsRefusal(f"A value is not a decimal number: {error}.") from error
    centre = sorted(decimals)[len(decimals) // 2]
    return float(centre), np.array([float(value - centre) for value in decimals])


def summary(values: ArrayLike, *, centre: float = 0.0) -> Summary:
    """Describe one sample in the order it was taken; `centre` is added back to the mean."""
    array = vector(values, "values")
    mean = float(array.mean())
    sd = spread(array) if array.size > 1 else None
    lag1 = None
    if sd:
        deviations = array - mean
        lag1 = float(deviations[1:] @ deviations[:-1]) / float(deviations @ deviations)
    return Summary(int(array.size), centre + mean, sd, lag1)


def anova_oneway(groups: Sequence[ArrayLike]) -> Anova:
    """One-way ANOVA of at least two groups, centred first.

    Raises StatisticsRefusal where nothing varies within groups: F would be infinite.
    """
    arrays = [vector(group, f"group {i + 1}") for i, group in enumerate(groups)]
    if len(arrays) < 2:
        raise StatisticsRefusal(f"Analysis of variance needs at least 2 groups, got {len(arrays)}.")
    total = sum(array.size for array in arrays)
    if total <= len(arrays):
        raise StatisticsRefusal("Analysis of variance needs a group with more than one value.")
    middle = float(np.concatenate(arrays).mean())
    arrays = [array - middle for array in arrays]
    means = [float(array.mean()) for array in arrays]
    grand = sum(mean * array.size for mean, array in zip(means, arrays, strict=True)) / total
    between = sum(array.size * (mean - grand) ** 2 for mean, array in zip(means, arrays, strict=True))
    within = sum(float(((array - mean) ** 2).sum()) for mean, array in zip(means, arrays, strict=True))
    if within <= 0:
        raise StatisticsRefusal("Nothing varies within the groups: there is no error to judge them by.")
    df_between, df_within = len(arrays) - 1, total - len(arrays)
    ms_between, ms_within = between / df_between, within / df_within
    f = ms_between / ms_within
    return Anova(
        df_between=df_between,
        df_within=df_within,
        ss_between=between,
        ss_within=within,
        ms_between=ms_between,
        ms_within=ms_within,
        f=f,
        p=float(stats.f.sf(f, df_between, df_within)),
        r2=between / (between + within),
        residual_sd=sqrt(ms_within),
    )
