"""Hotelling's T2 for one and two groups of lots over several attributes.

Belongs here: tests of a difference of mean vectors, as description. Does not belong here: any proof of
comparability (a T2 that is not significant proves nothing), charts of T2 (mspc.py).

Source: Johnson & Wichern, Applied Multivariate Statistical Analysis, ch. 5-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from warehouse.statistics.refusal import LARGEST, Floats, StatisticsRefusal, probability

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Hotelling:
    """T2, its F on (df1, df2) degrees of freedom and p, and the Mahalanobis distance of the means."""

    t2: float
    f: float
    df1: int
    df2: int
    p: float
    distance: float

    def critical(self, level: float) -> float:
        """The T2 that `level` of samples without a difference stay below."""
        return float(stats.f.ppf(probability(level, "level"), self.df1, self.df2)) * self.t2_per_f

    @property
    def t2_per_f(self) -> float:
        """T2 over F: the factor between the two scales."""
        return self.df1 * (self.df2 + self.df1 - 1) / self.df2


def _matrix(values: ArrayLike, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 1:
        raise StatisticsRefusal(f"{what}: expected one row per lot and one column per attribute.")
    if np.abs(array[np.isfinite(array)]).max(initial=0.0) > LARGEST:
        raise StatisticsRefusal(f"{what}: a value is beyond {LARGEST:g}; use another unit.")
    if not np.isfinite(array).all():
        raise StatisticsRefusal(f"{what}: values are missing; give lots with every attribute measured.")
    return array


def _squared_distance(difference: Floats, covariance: Floats) -> float:
    """difference' covariance^-1 difference, judged for rank on correlations so that units do not matter."""
    sd = np.sqrt(np.diag(covariance))
    if (sd <= 0).any():
        raise StatisticsRefusal("An attribute has no spread at all; leave it out.")
    correlation = covariance / np.outer(sd, sd)
    if np.linalg.eigvalsh(correlation)[0] < 1e-10:
        raise StatisticsRefusal(
            "Attributes are exact combinations of each other; leave the redundant ones out."
        )
    z = difference / sd
    return float(z @ np.linalg.solve(correlation, z))


def _result(t2: float, dimensions: int, df: int, distance: float) -> Hotelling:
    df2 = df - dimensions + 1
    f = t2 * df2 / (dimensions * df)
    return Hotelling(t2, f, dimensions, df2, float(stats.f.sf(f, dimensions, df2)), distance)


def one_sample(values: ArrayLike, target: ArrayLike) -> Hotelling:
    """T2 of the mean of n lots (rows) in p attributes against `target`; needs n > p."""
    array, aim = _matrix(values, "lots"), np.asarray(target, dtype=np.float64)
    n, p = array.shape
    if aim.shape != (p,):
        raise StatisticsRefusal(f"The target has {aim.size} values for {p} attributes.")
    if n <= p:
        raise StatisticsRefusal(
            f"{n} lots cannot judge {p} attributes together: at least {p + 1} are needed."
        )
    squared = _squared_distance(array.mean(axis=0) - aim, np.atleast_2d(np.cov(array, rowvar=False)))
    return _result(n * squared, p, n - 1, float(np.sqrt(squared)))


def two_sample(reference: ArrayLike, test: ArrayLike) -> Hotelling:
    """T2 of the difference of two groups' means with pooled covariance; needs n1 + n2 - 2 >= p."""
    ref, new = _matrix(reference, "reference"), _matrix(test, "test")
    (n1, p), (n2, q) = ref.shape, new.shape
    if p != q:
        raise StatisticsRefusal(f"The groups have {p} and {q} attributes.")
    df = n1 + n2 - 2
    if min(n1, n2) < 1 or df < p:
        raise StatisticsRefusal(f"{n1} and {n2} lots cannot judge {p} attributes together.")
    centred = np.vstack([ref - ref.mean(axis=0), new - new.mean(axis=0)])
    squared = _squared_distance(new.mean(axis=0) - ref.mean(axis=0), centred.T @ centred / df)
    return _result(n1 * n2 / (n1 + n2) * squared, p, df, float(np.sqrt(squared)))
