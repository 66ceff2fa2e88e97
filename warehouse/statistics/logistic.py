"""Logistic regression of a yes/no end: maximum likelihood and Firth's penalised form for few events.

Belongs here: coefficients, Wald and profile intervals, deviance and likelihood-ratio tests. Does not belong
here: turning words into columns; a caller hands over a numeric design.

Sources: McCullagh & Nelder 1989; Venables & Ripley 2002 (profile intervals); Firth 1993; Heinze & Schemper
2002.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import interpolate, optimize, special, stats

from warehouse.statistics.checked import FloatArray, IntArray, finite_matrix, same_length
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector

Arithmetic = Literal["exact", "as R"]
INTERCEPT = "(Intercept)"
_STEPS = 500
_SINGULAR = 1e13


@dataclass(frozen=True)
class LogisticTerm:
    """A log odds ratio, its Wald standard error and p, and its profile-likelihood interval.

    A bound is None where the likelihood never falls far enough on that side: the data set no limit there.
    """

    name: str
    coefficient: float
    standard_error: float
    wald_p: float
    lower: float | None
    upper: float | None
    likelihood_ratio_p: float

    @property
    def odds_ratio(self) -> float:
        """exp of the coefficient."""
        return math.exp(self.coefficient)


@dataclass(frozen=True)
class LogisticFit:
    """A fitted model. deviance and null_deviance are -2 log-likelihood (unpenalised also under Firth).

    likelihood_ratio tests all covariates together against the intercept alone, penalised when firth is true.
    """

    terms: tuple[LogisticTerm, ...]
    n: int
    events: int
    deviance: float
    null_deviance: float
    likelihood_ratio: float
    degrees: int
    likelihood_ratio_p: float
    firth: bool
    confidence: float


@dataclass(frozen=True, eq=False)
class _Problem:
    """y (n,) of 0 and 1, an orthogonal basis x (n, p) of the design, and whether Jeffreys' prior is added.

    In an orthogonal basis neither the unit nor the origin of a covariate can spoil a step.
    """

    y: FloatArray
    x: FloatArray
    firth: bool

    def information(self, beta: FloatArray) -> FloatArray:
        chance = special.expit(self.x @ beta)
        inside: FloatArray = (self.x * (chance * (1.0 - chance))[:, None]).T @ self.x
        return inside

    def log_likelihood(self, beta: FloatArray, penalised: bool) -> float:
        linear = self.x @ beta
        value = float(self.y @ linear - np.logaddexp(0.0, linear).sum())
        if penalised:
            sign, log_determinant = np.linalg.slogdet(self.information(beta))
            value += 0.5 * float(log_determinant) if sign > 0 else -math.inf
        return value

    def slope(self, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient and the curvature to step by.

        Firth's gradient is that of data in which each subject counts 1 + leverage times, half of the extra
        as an event (Heinze & Schemper 2002); the curvature is of those data too, else the steps overshoot
        where subjects are few.
        """
        chance = special.expit(self.x @ beta)
        weight = chance * (1.0 - chance)
        residual = self.y - chance
        if self.firth:
            solved = np.linalg.solve(self.information(beta), self.x.T)
            leverage = weight * np.einsum("np,pn->n", self.x, solved)
            residual = residual + leverage * (0.5 - chance)
            weight = weight * (1.0 + leverage)
        return self.x.T @ residual, (self.x * weight[:, None]).T @ self.x

    def best(self, start: FloatArray, free: IntArray) -> tuple[FloatArray, float]:
        """Maximise over the coefficients whose positions are in `free`, by Newton with halving."""
        beta = start.copy()
        value = self.log_likelihood(beta, self.firth)
        if not free.size:
            return beta, value
        for _ in range(_STEPS):
            step = np.zeros_like(beta)
            if np.linalg.cond(self.information(beta)[np.ix_(free, free)]) > _SINGULAR:
                break
            gradient, curvature = self.slope(beta)
            step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
            moved = float(np.abs(self.x @ step).max())
            if moved > 5.0:  # further than this the chances leave the range the quadratic is good for
                step *= 5.0 / moved
            factor = 1.0
            least = value - 1e-12 * (1.0 + abs(value))
            while self.log_likelihood(beta + factor * step, self.firth) < least:
                factor /= 2.0
                if factor < 1e-8:
                    return beta, value
            beta = beta + factor * step
            value = self.log_likelihood(beta, self.firth)
            if moved < 1e-9:
                return beta, value
        raise StatisticsRefusal(_NO_MAXIMUM)


_NO_MAXIMUM = (
    "A covariate (or a combination) separates the events from the rest, so its odds ratio has no finite "
    "value; fit with firth=True, which always has one."
)


def _before_last_step(problem: _Problem) -> FloatArray:
    """The coefficients R's glm has when it works out its last weights.

    It starts from fitted chances (y + 0.5)/2 and stops once the deviance changes by less than 1e-8 of itself.
    """
    linear = special.logit((problem.y + 0.5) / 2.0)
    deviance, before = math.inf, np.zeros(problem.x.shape[1])
    for _ in range(25):
        chance = special.expit(linear)
        weight = chance * (1.0 - chance)
        response = linear + (problem.y - chance) / weight
        beta = np.linalg.solve((problem.x * weight[:, None]).T @ problem.x, problem.x.T @ (weight * response))
        linear = problem.x @ beta
        now = -2.0 * problem.log_likelihood(beta, penalised=False)
        if abs(now - deviance) / (abs(now) + 0.1) < 1e-8:
            break
        deviance, before = now, beta
    return before


@dataclass(frozen=True, eq=False)
class _Profile:
    """The profile of one coefficient around the maximum: how far the likelihood falls as it is moved."""

    problem: _Problem
    beta: FloatArray
    top: float
    which: int
    error: float

    def fall(self, distance: float, near: FloatArray) -> tuple[float, FloatArray]:
        """Fall of the log-likelihood with the coefficient moved by `distance`, the others refitted from
        `near`.
        """
        start = near.copy()
        start[self.which] = self.beta[self.which] + distance
        found, value = self.problem.best(start, np.delete(np.arange(start.size), self.which))
        return self.top - value, found

    def bound(self, side: int, drop: float) -> float | None:
        """Where the fall is `drop`, by root finding; None when it never falls that far."""
        path = {0.0: self.beta}

        def excess(distance: float) -> float:
            nearest = min(path, key=lambda known: abs(known - distance))
            fallen, path[distance] = self.fall(side * distance, path[nearest])
            return fallen - drop

        near, far = 0.0, 1.5 * self.error
        for _ in range(30):
            try:
                gap = excess(far)
                if gap > 0.0:
                    root = optimize.brentq(excess, near, far, xtol=1e-10 * max(1.0, far), rtol=1e-12)
                    return float(self.beta[self.which] + side * root)
            except StatisticsRefusal:
                return None
            near, far = far, far * 1.6
        return None

    def interpolated(self, confidence: float) -> list[float | None]:
        """Both bounds as R's confint finds them: the signed root of the deviance at up to nine steps a side
        of a fifth of its 1-(1-confidence)/4 quantile, through a Forsythe-Malcolm-Moler spline, read off
        linearly at three points a knot. It differs from the exact bound in the fourth digit.
        """
        furthest = math.sqrt(float(stats.chi2.isf((1.0 - confidence) / 4.0, 1)))
        knots = [(float(self.beta[self.which]), 0.0)]
        for side in (-1, 1):
            near, root = self.beta, 0.0
            for step in range(1, 10):
                if root >= furthest:
                    break
                fallen, near = self.fall(side * step * furthest / 5.0 * self.error, near)
                root = math.sqrt(max(0.0, 2.0 * fallen))
                knots.append((float(near[self.which]), side * root))
        x, z = np.array(sorted(knots)).T
        grid = np.linspace(x[0], x[-1], 3 * x.size)
        curve = _spline(x, z)(grid)
        tail = float(stats.norm.isf((1.0 - confidence) / 2.0))
        order = np.argsort(curve)
        return [
            float(np.interp(level, curve[order], grid[order])) if z[0] <= level <= z[-1] else None
            for level in (-tail, tail)
        ]


def _spline(x: FloatArray, y: FloatArray) -> interpolate.CubicSpline:
    """Cubic spline whose third derivative at each end is that of the cubic through the four end points."""
    n, h = x.size, np.diff(x)
    slope = np.diff(y) / h
    system, right = np.zeros((n, n)), np.zeros(n)
    for i in range(1, n - 1):
        system[i, i - 1 : i + 2] = h[i - 1], 2.0 * (h[i - 1] + h[i]), h[i]
        right[i] = 6.0 * (slope[i] - slope[i - 1])
    for row, first in ((0, 0), (n - 1, n - 4)):
        a, b, c, d = x[first : first + 4]
        s0, s1, s2 = slope[first : first + 3]
        third = ((s2 - s1) / (d - b) - (s1 - s0) / (c - a)) / (d - a)
        left = row if row == 0 else row - 1
        system[row, left : left + 2] = -1.0, 1.0
        right[row] = 6.0 * third * h[left]
    second = np.linalg.solve(system, right)
    return interpolate.CubicSpline(x, y, bc_type=((2, second[0]), (2, second[-1])))


def _prepared(
    outcome: ArrayLike, covariates: ArrayLike, names: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Outcome and design with intercept, checked."""
    y = vector(outcome, "outcome", at_least=3)
    x = finite_matrix(covariates, "covariates", 3, 1)
    same_length(outcome=y, covariates=x)
    if len(names) != x.shape[1]:
        raise StatisticsRefusal(f"{len(names)} names were given for {x.shape[1]} covariates.")
    if not np.isin(y, (0.0, 1.0)).all():
        raise StatisticsRefusal("The outcome must be 0 or 1 for every subject.")
    if y.min() == y.max():
        raise StatisticsRefusal("Every subject has the same outcome, so no covariate can explain it.")
    if y.size <= x.shape[1] + 1:
        raise StatisticsRefusal(
            f"{y.size} subjects are too few for {x.shape[1]} covariates and an intercept."
        )
    flat = np.ptp(x, axis=0) == 0.0
    if flat.any():
        raise StatisticsRefusal(f"{names[int(flat.argmax())]} is the same for every subject.")
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    if np.linalg.matrix_rank(standard, tol=1e-8 * y.size) < x.shape[1]:
        raise StatisticsRefusal("One covariate is a combination of the others; leave one of them out.")
    return y, np.column_stack([np.ones(y.size), x])


def _basis(y: FloatArray, design: FloatArray, last: int, firth: bool) -> tuple[_Problem, float]:
    """The problem in an orthogonal basis whose last coefficient is that of column `last` times the returned
    unit.
    """
    order = [*(j for j in range(design.shape[1]) if j != last), last]
    q, r = np.linalg.qr(design[:, order])
    root = math.sqrt(y.size)
    turned = q * np.where(np.diag(r) < 0.0, -root, root)
    return _Problem(y, turned, firth), abs(float(r[-1, -1])) / root


def _term(
    name: str, problem: _Problem, unit: float, confidence: float, arithmetic: Arithmetic
) -> LogisticTerm:
    """Everything about the last coefficient of a problem, in the unit of its covariate."""
    p = problem.x.shape[1]
    beta, top = problem.best(np.zeros(p), np.arange(p))
    at = _before_last_step(problem) if arithmetic == "as R" and not problem.firth else beta
    error = math.sqrt(float(np.linalg.inv(problem.information(at))[-1, -1]))
    profile = _Profile(problem, beta, top, p - 1, error)
    if arithmetic == "exact":
        drop = 0.5 * float(stats.chi2.ppf(confidence, 1))
        found = [profile.bound(side, drop) for side in (-1, 1)]
    else:
        found = profile.interpolated(confidence)
    lower, upper = (None if bound is None else bound / unit for bound in found)
    start = beta.copy()
    start[-1] = 0.0
    try:
        without = problem.best(start, np.arange(p - 1))[1]
    except StatisticsRefusal:
        without = -math.inf  # the rest separates once this is held at 0: no evidence for 0 at all
    value = float(beta[-1])
    ratio_p = float(stats.chi2.sf(max(0.0, 2.0 * (top - without)), 1))
    wald_p = float(2.0 * stats.norm.sf(abs(value / error)))
    return LogisticTerm(name, value / unit, error / unit, wald_p, lower, upper, ratio_p)


def logistic(
    outcome: ArrayLike,
    covariates: ArrayLike,
    names: Sequence[str],
    *,
    firth: bool = False,
    confidence: float = 0.95,
    arithmetic: Arithmetic = "exact",
) -> LogisticFit:
    """Fit outcome (n,) of 0/1 on covariates (n, p); the intercept is added and comes first.

    firth=True adds Jeffreys' prior: finite under separation and nearly unbiased with few events. Without it,
    separation is refused in words. Intervals and tests are by (penalised) profile likelihood.

    arithmetic 'as R' is for comparing with R: standard errors as glm leaves them, one step before the
    maximum, and bounds interpolated as its confint does. Estimates are the maximum either way.
    """
    probability(confidence, "confidence")
    y, design = _prepared(outcome, covariates, names)
    p = design.shape[1]
    terms = []
    for j, name in enumerate((INTERCEPT, *names)):
        problem, unit = _basis(y, design, j, firth)
        terms.append(_term(str(name), problem, unit, confidence, arithmetic))
    # With the intercept first in the basis, the other coefficients at 0 are the other basis weights at 0.
    whole, _ = _basis(y, design, p - 1, firth)
    beta, top = whole.best(np.zeros(p), np.arange(p))
    _, base_top = whole.best(np.zeros(p), np.arange(1))
    ratio = max(0.0, 2.0 * (top - base_top))
    rate = float(y.mean())
    null = -2.0 * y.size * (rate * math.log(rate) + (1.0 - rate) * math.log1p(-rate))
    return LogisticFit(
        terms=tuple(terms),
        n=int(y.size),
        events=int(y.sum()),
        deviance=-2.0 * whole.log_likelihood(beta, penalised=False),
        null_deviance=null,
        likelihood_ratio=ratio,
        degrees=p - 1,
        likelihood_ratio_p=float(stats.chi2.sf(ratio, p - 1)),
        firth=firth,
        confidence=confidence,
    )


def likelihood_ratio_test(smaller: LogisticFit, larger: LogisticFit) -> tuple[float, int, float]:
    """Chi-square, degrees and p of the larger of two nested fits of the same subjects by maximum
    likelihood.
    """
    if smaller.firth or larger.firth:
        raise StatisticsRefusal("Deviances of Firth fits cannot be compared; read each term's own test.")
    degrees = larger.degrees - smaller.degrees
    if (smaller.n, smaller.events) != (larger.n, larger.events) or degrees < 1:
        raise StatisticsRefusal("The two fits are not nested: same subjects and more covariates are needed.")
    if not {term.name for term in smaller.terms} <= {term.name for term in larger.terms}:
        raise StatisticsRefusal(
            "The smaller fit has a covariate that the larger one lacks; they are not nested."
        )
    ratio = max(0.0, smaller.deviance - larger.deviance)
    return ratio, degrees, float(stats.chi2.sf(ratio, degrees))
