"""Cox proportional hazards: coefficients, tests and concordance.

Belongs here: the partial likelihood with Efron's or Breslow's treatment of ties, late entry and strata.
Curves and tests without covariates are in survival.py.

Sources: Cox 1972; Efron 1977; Breslow 1974; Harrell 1982 (concordance). Checked against R's `survival`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from warehouse.statistics.checked import (
    BoolArray,
    FloatArray,
    IntArray,
    Labels,
    finite_matrix,
    labels_of,
    same_length,
)
from warehouse.statistics.refusal import StatisticsRefusal, probability
from warehouse.statistics.survival import Followed

Ties = Literal["efron", "breslow"]
_STEPS = 50
_NO_LIMIT = 1e3  # a standard error this large, in spreads of the covariate, means that the data set no limit


@dataclass(frozen=True)
class CoxTerm:
    """A log hazard ratio with its Wald standard error, z, p, and the hazard ratio with its interval."""

    name: str
    coefficient: float
    standard_error: float
    z: float
    p: float
    hazard_ratio: float
    lower: float
    upper: float


@dataclass(frozen=True)
class CoxFit:
    """A fitted model. Tests are against no covariates at all, on `degrees` degrees of freedom."""

    terms: tuple[CoxTerm, ...]
    n: int
    events: int
    log_likelihood_null: float
    log_likelihood: float
    likelihood_ratio: float
    likelihood_ratio_p: float
    wald: float
    score: float
    degrees: int
    concordance: float
    ties: Ties
    confidence: float


class _Stratum:
    """One stratum, sorted once so that the sums over every risk set are differences of running sums."""

    def __init__(
        self, times: FloatArray, entries: FloatArray, happened: BoolArray, x: FloatArray, ties: Ties
    ) -> None:
        at = np.unique(times[happened])
        self.x = x
        self.happened = happened
        self._leaving, self._entering = np.argsort(times), np.argsort(entries)
        self._from = np.searchsorted(times[self._leaving], at, "left")
        self._later = np.searchsorted(entries[self._entering], at, "left")
        self._event = np.searchsorted(at, times[happened])
        deaths = np.bincount(self._event, minlength=at.size)
        # One row per death: its event time, and the share of the tied deaths already taken out (Efron).
        self.row = np.repeat(np.arange(at.size), deaths)
        first = np.concatenate(([0], np.cumsum(deaths)[:-1]))
        taken = (np.arange(self.row.size) - first[self.row]) / deaths[self.row]
        self.share: FloatArray = taken if ties == "efron" else np.zeros(self.row.size)

    def over_risk_sets(self, values: FloatArray) -> FloatArray:
        """For each death, the sum of (n, q) values over those at risk, less Efron's share of the tied
        deaths.
        """
        nothing = np.zeros((1, values.shape[1]))
        to_end = np.vstack([np.cumsum(values[self._leaving][::-1], axis=0)[::-1], nothing])
        not_yet = np.vstack([np.cumsum(values[self._entering][::-1], axis=0)[::-1], nothing])
        risk = to_end[self._from] - not_yet[self._later]
        tied = np.zeros_like(risk)
        np.add.at(tied, self._event, values[self.happened])
        sums: FloatArray = risk[self.row] - self.share[:, None] * tied[self.row]
        return sums


def _strata(data: Followed, x: FloatArray, layers: IntArray, ties: Ties) -> list[_Stratum]:
    found = []
    for layer in np.unique(layers):
        mine = layers == layer
        happened = data.ends[mine] > 0
        if happened.any():
            found.append(_Stratum(data.times[mine], data.entries[mine], happened, x[mine], ties))
    return found


def _likelihood(strata: list[_Stratum], beta: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Partial log-likelihood, its gradient and its information (minus the Hessian)."""
    p = beta.size
    value, gradient, information = 0.0, np.zeros(p), np.zeros((p, p))
    for stratum in strata:
        linear = stratum.x @ beta
        top = float(linear.max())
        weight = np.exp(linear - top)[:, None]
        squares = np.einsum("ni,nj->nij", stratum.x, stratum.x * weight).reshape(-1, p * p)
        sums = stratum.over_risk_sets(np.hstack([weight, stratum.x * weight, squares]))
        mean = sums[:, 1 : p + 1] / sums[:, :1]
        second = sums[:, p + 1 :] / sums[:, :1]
        value += float(linear[stratum.happened].sum() - np.sum(np.log(sums[:, 0]) + top))
        gradient += stratum.x[stratum.happened].sum(axis=0) - mean.sum(axis=0)
        information += second.sum(axis=0).reshape(p, p) - mean.T @ mean
    return value, gradient, information


def _concordance(data: Followed, linear: FloatArray, layers: IntArray) -> float:
    """Share of comparable pairs in which the higher risk ended first; equal risks count half."""
    right = total = 0.0
    for i in np.flatnonzero(data.ends > 0):
        later = (data.times > data.times[i]) | ((data.times == data.times[i]) & (data.ends == 0))
        later &= (layers == layers[i]) & (data.entries < data.times[i])
        right += float((linear[later] < linear[i]).sum()) + 0.5 * float((linear[later] == linear[i]).sum())
        total += float(later.sum())
    if total == 0.0:
        raise StatisticsRefusal("No two subjects can be compared: every event comes after every other end.")
    return right / total


def _separated(names: Sequence[str], beta: FloatArray) -> str:
    worst = names[int(np.abs(beta).argmax())]
    return f"{worst} separates the subjects completely, so its hazard ratio has no finite value."


def _terms(
    names: Sequence[str], beta: FloatArray, errors: FloatArray, confidence: float
) -> tuple[CoxTerm, ...]:
    z_level = float(stats.norm.isf((1.0 - confidence) / 2.0))
    found = []
    for name, value, error in zip(names, beta.tolist(), errors.tolist(), strict=True):
        z = value / error
        ratios = [float(np.exp(value + side * z_level * error)) for side in (0.0, -1.0, 1.0)]
        found.append(CoxTerm(str(name), value, error, z, float(2.0 * stats.norm.sf(abs(z))), *ratios))
    return tuple(found)


def cox(
    data: Followed,
    covariates: ArrayLike,
    names: Sequence[str],
    *,
    ties: Ties = "efron",
    strata: Labels | None = None,
    confidence: float = 0.95,
) -> CoxFit:
    """Fit by Newton's method. covariates: (subjects, p) numbers; any end counts as the event.

    Refuses where no finite estimate exists (a covariate that separates those who ended from those who did
    not) and where covariates determine one another.
    """
    probability(confidence, "confidence")
    if ties not in ("efron", "breslow"):
        raise StatisticsRefusal(f"Ties are treated by 'efron' or 'breslow', not {ties!r}.")
    x = finite_matrix(covariates, "covariates", 2, 1)
    same_length(times=data.times, covariates=x)
    if len(names) != x.shape[1]:
        raise StatisticsRefusal(f"{len(names)} names were given for {x.shape[1]} covariates.")
    _, layers = labels_of(strata if strata is not None else [""] * data.times.size, "strata")
    same_length(times=data.times, strata=layers)
    spreads = x.std(axis=0)
    if (np.ptp(x, axis=0) == 0.0).any():
        raise StatisticsRefusal(f"{names[int(np.argmin(np.ptp(x, axis=0)))]} is the same for every subject.")
    standard = (x - x.mean(axis=0)) / spreads
    if np.linalg.matrix_rank(standard, tol=1e-9 * x.shape[0]) < x.shape[1]:
        raise StatisticsRefusal("One covariate is a combination of the others; leave one of them out.")
    parts = _strata(data, standard, layers, ties)
    beta = np.zeros(x.shape[1])
    null, gradient, information = _likelihood(parts, beta)
    if np.linalg.cond(information) > 1e12:
        raise StatisticsRefusal(
            "The covariates do not vary among those at risk together, so nothing can be estimated."
        )
    score = float(gradient @ np.linalg.solve(information, gradient))
    value = null
    for _ in range(_STEPS):
        step = np.linalg.solve(information, gradient)
        factor = 1.0
        while True:  # halve a step that overshoots
            trial = _likelihood(parts, beta + factor * step)
            if trial[0] >= value - 1e-10 or factor < 1e-6:
                break
            factor /= 2.0
        beta = beta + factor * step
        improved = trial[0] - value
        value, gradient, information = trial
        if np.abs(beta).max() > 25.0 or np.linalg.cond(information) > 1e14:
            raise StatisticsRefusal(_separated(names, beta))
        if abs(improved) < 1e-12 * (abs(value) + 1.0) and np.abs(step).max() < 1e-9:
            break
    else:
        raise StatisticsRefusal(_separated(names, beta))
    if np.diag(np.linalg.inv(information)).max() > _NO_LIMIT**2:
        raise StatisticsRefusal(_separated(names, beta))
    covariance = np.linalg.inv(information) / np.outer(spreads, spreads)
    terms = _terms(names, beta / spreads, np.sqrt(np.diag(covariance)), confidence)
    ratio = 2.0 * (value - null)
    return CoxFit(
        terms=terms,
        n=int(data.times.size),
        events=int((data.ends > 0).sum()),
        log_likelihood_null=null,
        log_likelihood=value,
        likelihood_ratio=ratio,
        likelihood_ratio_p=float(stats.chi2.sf(ratio, beta.size)),
        wald=float(beta @ information @ beta),
        score=score,
        degrees=int(beta.size),
        concordance=_concordance(data, standard @ beta, layers),
        ties=ties,
        confidence=confidence,
    )
