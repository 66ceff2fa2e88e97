"""Agreement of two ways of measuring, before products are compared.

Belongs here: intraclass correlation, Bland-Altman, Lin's concordance. Does not belong here: lines through
method comparisons (method_lines.py), variance components of precision studies (varcomp.py).

Sources: Shrout & Fleiss (1979) Psychol Bull 86:420; McGraw & Wong (1996) Psychol Meth 1:30; Bland & Altman
(1986) Lancet 327:307, (1999) Stat Meth Med Res 8:135; Carkeet (2015) Optom Vis Sci 92:e71; Lin (1989)
Biometrics 45:255 with the correction of (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, sqrt, tanh
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from warehouse.statistics.refusal import Floats, StatisticsRefusal, differences, probability, spread, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Icc:
    """One form of intraclass correlation (ICC1, ICC2, ICC3, ICC1k, ICC2k, ICC3k), F interval at `level`."""

    form: str
    value: float
    ci_low: float
    ci_high: float
    level: float


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Bias and limits of agreement of `second - first`, each with its interval at `level`."""

    n: int
    bias: float
    sd: float
    low: float
    high: float
    bias_ci: tuple[float, float]
    low_ci: tuple[float, float]
    high_ci: tuple[float, float]
    level: float
    method: Literal["exact", "approximate"]


@dataclass(frozen=True, slots=True)
class Concordance:
    """Lin's coefficient with its interval, and its two parts: precision (Pearson) and accuracy (bias)."""

    value: float
    ci_low: float
    ci_high: float
    pearson: float
    accuracy: float
    level: float
    n: int


def paired_vectors(first: ArrayLike, second: ArrayLike, *, at_least: int = 3) -> tuple[Floats, Floats]:
    """Two lists of the same length with at least `at_least` pairs, else a refusal."""
    x, y = vector(first, "first method"), vector(second, "second method")
    if x.size != y.size:
        raise StatisticsRefusal(f"Methods are compared on the same samples: {x.size} and {y.size} results.")
    if x.size < at_least:
        raise StatisticsRefusal(f"{x.size} samples; at least {at_least} are needed.")
    return x, y


def intraclass_correlations(ratings: ArrayLike, *, level: float = 0.95) -> dict[str, Icc]:
    """The six forms of Shrout & Fleiss from a full table, one row per subject, one column per rater.

    Raises StatisticsRefusal for fewer than 2 subjects or raters, missing cells, or no variation at all.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise StatisticsRefusal("An intraclass correlation needs at least 2 subjects and 2 raters.")
    if not np.isfinite(table).all():
        raise StatisticsRefusal("Cells are missing; every rater must have judged every subject.")
    n, k = table.shape
    tail = (1 - probability(level, "level")) / 2
    table = table - table.mean()
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    bms = k * float(rows @ rows) / (n - 1)
    jms = n * float(columns @ columns) / (k - 1)
    within = float(((table - rows[:, None]) ** 2).sum())
    wms = within / (n * (k - 1))
    ems = float(((table - rows[:, None] - columns[None, :]) ** 2).sum()) / ((n - 1) * (k - 1))
    if bms + wms <= 0 or np.ptp(table) == 0:
        raise StatisticsRefusal("Every rating is the same: agreement cannot be told from lack of contrast.")

    def by_f(mean_square: float, df2: int) -> tuple[float, float]:
        """Interval of the single-rating form from F = BMS / error (ICC1 and ICC3)."""
        if mean_square <= 0:
            return 1.0, 1.0
        f = bms / mean_square
        low = f / float(stats.f.isf(tail, n - 1, df2))
        high = f * float(stats.f.isf(tail, df2, n - 1))
        return (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)

    one = (bms - wms) / (bms + (k - 1) * wms)
    two = (bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n)
    three = (bms - ems) / (bms + (k - 1) * ems)
    singles = {
        "1": (one, by_f(wms, n * (k - 1))),
        "2": (two, _icc2_interval(two, (bms, jms, ems), (n, k), tail)),
        "3": (three, by_f(ems, (n - 1) * (k - 1))),
    }
    answer: dict[str, Icc] = {}
    for number, (value, (low, high)) in singles.items():
        for suffix, raters in (("", 1), ("k", k)):
            form = f"ICC{number}{suffix}"
            answer[form] = Icc(
                form, _stepped_up(value, raters), _stepped_up(low, raters), _stepped_up(high, raters), level
            )
    return answer


def _stepped_up(single: float, raters: int) -> float:
    """Spearman-Brown: the reliability of the mean of `raters` ratings."""
    return raters * single / (1 + (raters - 1) * single)


def _icc2_interval(
    value: float, squares: tuple[float, float, float], sizes: tuple[int, int], tail: float
) -> tuple[float, float]:
    """Satterthwaite interval of the two-way random single rating (Shrout & Fleiss 1979, p. 424)."""
    (bms, jms, ems), (n, k) = squares, sizes
    if ems <= 0:
        return value, value
    fj = jms / ems
    top = (k - 1) * (n - 1) * (k * value * fj + n * (1 + (k - 1) * value) - k * value) ** 2
    below = (n - 1) * k**2 * value**2 * fj**2 + (n * (1 + (k - 1) * value) - k * value) ** 2
    v = top / below
    up, down = float(stats.f.isf(tail, n - 1, v)), float(stats.f.isf(tail, v, n - 1))
    other = k * jms + (k * n - k - n) * ems
    return n * (bms - up * ems) / (up * other + n * bms), n * (down * bms - ems) / (other + n * down * bms)


def bland_altman(
    first: ArrayLike,
    second: ArrayLike,
    *,
    level: float = 0.95,
    method: Literal["exact", "approximate"] = "exact",
) -> BlandAltman:
    """Bias and 95 % limits of agreement of `second - first`.

    The limits' intervals are exact (noncentral t, Carkeet) or Bland & Altman's printed approximation with t.
    """
    x, y = paired_vectors(first, second)
    difference = differences(x, y)
    n, bias, sd = difference.size, float(difference.mean()), spread(difference)
    if sd <= 0:
        raise StatisticsRefusal("Every difference is the same: limits of agreement would have no width.")
    tail = (1 - probability(level, "level")) / 2
    z = float(stats.norm.isf(0.025))
    half = float(stats.t.isf(tail, n - 1)) * sd / sqrt(n)
    if method == "exact":
        shift = z * sqrt(n)
        inner, outer = (float(stats.nct.ppf(p, n - 1, shift)) * sd / sqrt(n) for p in (tail, 1 - tail))
        low_ci, high_ci = (bias - outer, bias - inner), (bias + inner, bias + outer)
    else:
        reach = float(stats.t.isf(tail, n - 1)) * sd * sqrt(1 / n + z * z / (2 * (n - 1)))
        low_ci = (bias - z * sd - reach, bias - z * sd + reach)
        high_ci = (bias + z * sd - reach, bias + z * sd + reach)
    return BlandAltman(
        n=n,
        bias=bias,
        sd=sd,
        low=bias - z * sd,
        high=bias + z * sd,
        bias_ci=(bias - half, bias + half),
        low_ci=low_ci,
        high_ci=high_ci,
        level=level,
        method=method,
    )


def concordance(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> Concordance:
    """Lin's concordance correlation coefficient; interval by Fisher's z with Lin's variance."""
    x, y = paired_vectors(first, second, at_least=4)
    n = x.size
    sx, sy = float(np.std(x)), float(np.std(y))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise StatisticsRefusal("A method gave the same result for every sample: concordance has no meaning.")
    covariance = float(((x - x.mean()) * (y - y.mean())).mean())
    shift = float(x.mean() - y.mean())
    value = 2 * covariance / (sx**2 + sy**2 + shift**2)
    pearson = covariance / (sx * sy)
    quantile = float(stats.norm.isf((1 - probability(level, "level")) / 2))
    if abs(pearson) >= 1 - 1e-14 or abs(value) < 1e-14:
        raise StatisticsRefusal(
            "The results lie on a line or do not vary together: no interval can be given."
        )
    u2 = shift**2 / (sx * sy)
    c2, r2 = value**2, pearson**2
    variance = (
        (1 - r2) * c2 / ((1 - c2) * r2)
        + 2 * value**3 * (1 - value) * u2 / (pearson * (1 - c2) ** 2)
        - value**4 * u2**2 / (2 * r2 * (1 - c2) ** 2)
    ) / (n - 2)
    half = quantile * sqrt(max(variance, 0.0))
    z = atanh(value)
    return Concordance(value, tanh(z - half), tanh(z + half), pearson, value / pearson, level, n)
