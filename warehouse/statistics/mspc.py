"""Multivariate process control by principal components: T2 inside the model, SPE (Q) outside it.

Belongs here: fitting a model on good batches, projecting others, limits under their names, contributions,
and the batch-wise unfolding of trajectories. T2 and MEWMA charts on the attributes themselves are in
charts_multivariate.py.

Sources: Jackson 1991; Nomikos & MacGregor 1995; Jackson & Mudholkar 1979; Tracy, Young & Mason 1992; Miller,
Swanson & Heckler 1998 (contributions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from warehouse.statistics.checked import FloatArray, finite_matrix
from warehouse.statistics.refusal import StatisticsRefusal, probability

T2Limit = Literal["phase I beta", "phase II F", "F as mdatools"]
SpeLimit = Literal["Jackson-Mudholkar", "Box chi-square"]


@dataclass(frozen=True, eq=False)
class PcaModel:
    """A model of good batches. J variables, A components kept, n rows it was fitted on.

    mean, scale: (J,). loadings: (J, A), each column's largest entry positive. eigenvalues: every one,
    (min(n-1, J),), largest first. spe_train: (n,) squared residuals of the training rows, which the limits
    of SPE need.
    """

    mean: FloatArray
    scale: FloatArray
    loadings: FloatArray
    eigenvalues: FloatArray
    spe_train: FloatArray
    n: int

    @property
    def components(self) -> int:
        """How many components are kept."""
        return int(self.loadings.shape[1])

    @property
    def explained(self) -> float:
        """Share of the variance that the kept components carry."""
        return float(self.eigenvalues[: self.components].sum() / self.eigenvalues.sum())


@dataclass(frozen=True, eq=False)
class Projection:
    """Rows seen through a model. scores (rows, A); t2, spe (rows,); contributions (rows, J).

    t2_contributions of a row sum to its t2 (single ones may be negative); spe_contributions sum to its spe.
    """

    scores: FloatArray
    t2: FloatArray
    spe: FloatArray
    t2_contributions: FloatArray
    spe_contributions: FloatArray


def fit_pca(data: ArrayLike, components: int, scale: bool = True, centre: bool = True) -> PcaModel:
    """PCA by singular values of the centred (and, by default, unit-variance) rows x variables table."""
    x = finite_matrix(data, "training data", 3, 1)
    n, variables = x.shape
    if not 1 <= components <= min(n - 1, variables):
        raise StatisticsRefusal(
            f"{components} components cannot be kept from {n} rows x {variables} variables; "
            f"choose 1 to {min(n - 1, variables)}."
        )
    mean = x.mean(axis=0) if centre else np.zeros(variables)
    centred = x - mean
    spreads = x.std(axis=0, ddof=1)
    constant = np.flatnonzero(np.ptp(x, axis=0) == 0.0)
    if scale and constant.size:
        raise StatisticsRefusal(
            f"Variable {constant[0] + 1} never changes in the training data; leave it out."
        )
    scales = spreads if scale else np.ones(variables)
    _, singular, right = np.linalg.svd(centred / scales, full_matrices=False)
    eigenvalues = singular[: min(n - 1, variables)] ** 2 / (n - 1)
    if eigenvalues[components - 1] <= eigenvalues[0] * 1e-12:
        rank = int(np.sum(eigenvalues > eigenvalues[0] * 1e-12))
        raise StatisticsRefusal(f"The training data hold only {rank} independent component(s); keep no more.")
    loadings = right[:components].T
    loadings = loadings * np.sign(loadings[np.abs(loadings).argmax(axis=0), np.arange(components)])
    residual = centred / scales
    residual = residual - residual @ loadings @ loadings.T
    return PcaModel(mean, scales, loadings, eigenvalues, np.sum(residual**2, axis=1), n)


def project(model: PcaModel, data: ArrayLike) -> Projection:
    """T2 = sum of score^2 / eigenvalue, SPE = squared length of the residual, and who contributes."""
    x = finite_matrix(data, "rows to project", 1, 1)
    if x.shape[1] != model.mean.size:
        raise StatisticsRefusal(f"The model knows {model.mean.size} variables, the rows have {x.shape[1]}.")
    scaled = (x - model.mean) / model.scale
    scores = scaled @ model.loadings
    weighted = scores / model.eigenvalues[: model.components]
    residual = scaled - scores @ model.loadings.T
    return Projection(
        scores=scores,
        t2=np.sum(scores * weighted, axis=1),
        spe=np.sum(residual**2, axis=1),
        t2_contributions=scaled * (weighted @ model.loadings.T),
        spe_contributions=residual**2,
    )


def t2_limit(n: int, dimensions: int, kind: T2Limit, alpha: float = 0.05) -> float:
    """Upper limit of T2 for n training rows and A components (or p variables). Three are in use; each has
    its name.

    phase I beta: (n-1)^2/n Beta(A/2, (n-A-1)/2), for the training rows themselves (Tracy, Young & Mason
    1992). phase II F: A(n-1)(n+1)/(n(n-A)) F(A, n-A), for rows the model has not seen. F as mdatools:
    A(n-1)/(n-A) F(A, n-A), for the mean rather than a row; named because packages use it.
    """
    probability(alpha, "alpha")
    if dimensions < 1 or n - dimensions - 1 < 1:
        raise StatisticsRefusal(f"{n} training rows are too few for a T2 limit in {dimensions} dimensions.")
    if kind == "phase I beta":
        quantile = stats.beta.isf(alpha, dimensions / 2.0, (n - dimensions - 1) / 2.0)
        return float((n - 1) ** 2 / n * quantile)
    quantile = stats.f.isf(alpha, dimensions, n - dimensions)
    if kind == "phase II F":
        return float(dimensions * (n - 1) * (n + 1) / (n * (n - dimensions)) * quantile)
    if kind == "F as mdatools":
        return float(dimensions * (n - 1) / (n - dimensions) * quantile)
    raise StatisticsRefusal(f"There is no T2 limit {kind!r}.")


def spe_limit(model: PcaModel, kind: SpeLimit = "Jackson-Mudholkar", alpha: float = 0.05) -> float:
    """Upper limit of SPE.

    Jackson-Mudholkar: from the eigenvalues left out. Box chi-square: g chi2_h with g = v/(2m), h = 2m^2/v
    from the mean m and variance v of the training SPE (Nomikos & MacGregor 1995).
    Both take the model as known, so after few training rows they ring more than alpha says (0.064 to 0.067
    instead of 0.05 after 80 rows of 3 variables, by simulation in the tests).
    """
    probability(alpha, "alpha")
    left = model.eigenvalues[model.components :]
    if left.sum() <= 1e-12 * model.eigenvalues.sum():
        raise StatisticsRefusal(
            "Every component is kept, so nothing is left outside the model and SPE has no limit."
        )
    if kind == "Jackson-Mudholkar":
        theta1, theta2, theta3 = (float(np.sum(left**power)) for power in (1, 2, 3))
        h0 = 1.0 - 2.0 * theta1 * theta3 / (3.0 * theta2**2)
        if h0 <= 0.0:
            raise StatisticsRefusal(
                "Jackson-Mudholkar's power is not positive here; use the Box chi-square limit."
            )
        z = float(stats.norm.isf(alpha))
        inner = z * math.sqrt(2.0 * theta2 * h0**2) / theta1 + 1.0 + theta2 * h0 * (h0 - 1.0) / theta1**2
        return float(theta1 * max(inner, 0.0) ** (1.0 / h0))
    if kind == "Box chi-square":
        mean, variance = float(model.spe_train.mean()), float(model.spe_train.var(ddof=1))
        if variance <= 0.0:
            raise StatisticsRefusal("Training rows all have the same SPE, so its limit cannot be estimated.")
        return variance / (2.0 * mean) * float(stats.chi2.isf(alpha, 2.0 * mean**2 / variance))
    raise StatisticsRefusal(f"There is no SPE limit {kind!r}.")


def unfold(batches: ArrayLike) -> FloatArray:
    """Batch-wise unfolding (Nomikos & MacGregor): batches x times x channels becomes batches x (times *
    channels).
    """
    cube = np.asarray(batches, dtype=np.float64)
    if cube.ndim != 3 or 0 in cube.shape:
        raise StatisticsRefusal("Trajectories must be batches x times x channels, aligned to one clock.")
    return finite_matrix(cube.reshape(cube.shape[0], -1), "trajectories")


def by_channel(contributions: ArrayLike, channels: int) -> FloatArray:
    """Contributions of unfolded variables (rows, times * channels) summed over time: (rows, channels)."""
    table = finite_matrix(contributions, "contributions")
    if channels < 1 or table.shape[1] % channels:
        raise StatisticsRefusal(
            f"{table.shape[1]} unfolded variables do not divide into {channels} channels."
        )
    summed: FloatArray = table.reshape(table.shape[0], -1, channels).sum(axis=1)
    return summed


def by_time(contributions: ArrayLike, channels: int) -> FloatArray:
    """Contributions of unfolded variables (rows, times * channels) summed over channels: (rows, times)."""
    table = finite_matrix(contributions, "contributions")
    if channels < 1 or table.shape[1] % channels:
        raise StatisticsRefusal(
            f"{table.shape[1]} unfolded variables do not divide into {channels} channels."
        )
    summed: FloatArray = table.reshape(table.shape[0], -1, channels).sum(axis=2)
    return summed
