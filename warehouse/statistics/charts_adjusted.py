"""Charts of autologous product: what the patient brings is taken out before the process is judged.

Belongs here: regression of an attribute on declared patient covariates, fitted on the baseline only, and
the residuals put back on the attribute's own scale. The charts themselves are in charts.py.

Source: Hawkins 1991 (regression-adjusted variables); Mandel 1969 (regression control chart).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from warehouse.statistics.checked import FloatArray, finite_matrix, same_length
from warehouse.statistics.refusal import StatisticsRefusal, vector


@dataclass(frozen=True, eq=False)
class Adjustment:
    """A regression of an attribute on patient covariates, frozen with the baseline it was fitted on.

    slopes (p,) in attribute units per covariate unit, reference (p,): the baseline's mean patient.
    explained: share of the baseline variance the covariates carry. n: baseline rows.
    """

    names: tuple[str, ...]
    slopes: FloatArray
    reference: FloatArray
    explained: float
    n: int

    def applied(self, values: ArrayLike, covariates: ArrayLike) -> FloatArray:
        """Each value as it would have been with the baseline's mean patient: value - slopes (covariate -
        mean).
        """
        y = vector(values, "values")
        x = finite_matrix(covariates, "covariates", 1, 1)
        same_length(values=y, covariates=x)
        if x.shape[1] != self.slopes.size:
            raise StatisticsRefusal(
                f"The adjustment knows {self.slopes.size} covariates, the rows have {x.shape[1]}."
            )
        adjusted: FloatArray = y - (x - self.reference) @ self.slopes
        return adjusted


def adjustment(values: ArrayLike, covariates: ArrayLike, names: Sequence[str]) -> Adjustment:
    """Least-squares slopes on baseline rows, values (n,) and covariates (n, p).

    Covariates are declared beforehand, never chosen from the data, and describe the patient only: one that
    the process can move would hide the process. Five rows a covariate are the least that leaves slopes
    worth subtracting.
    """
    x = finite_matrix(covariates, "covariates", 2, 1)
    y = vector(values, "values")
    same_length(values=y, covariates=x)
    n, p = x.shape
    if len(names) != p:
        raise StatisticsRefusal(f"{len(names)} names were given for {p} covariates.")
    if n < 5 * p + 2:
        raise StatisticsRefusal(
            f"{n} baseline rows are too few to adjust for {p} covariate(s); {5 * p + 2} are needed."
        )
    flat = np.ptp(x, axis=0) == 0.0
    if flat.any():
        raise StatisticsRefusal(f"{names[int(flat.argmax())]} is the same for every patient of the baseline.")
    if np.ptp(y) == 0.0:
        raise StatisticsRefusal("The attribute never varies in the baseline, so there is nothing to adjust.")
    reference, spreads = x.mean(axis=0), x.std(axis=0)
    standard = (x - reference) / spreads
    slopes, _, rank, _ = np.linalg.lstsq(standard, y - y.mean(), rcond=1e-10)
    if rank < p:
        raise StatisticsRefusal("One covariate is a combination of the others; leave one of them out.")
    left = y - y.mean() - standard @ slopes
    explained = 1.0 - float(left @ left) / float(np.sum((y - y.mean()) ** 2))
    return Adjustment(tuple(str(name) for name in names), slopes / spreads, reference, explained, n)
