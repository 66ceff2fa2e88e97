"""Profile-likelihood intervals of a linear mixed model's standard deviations and fixed effects.

Belongs here: intervals that ask how far one parameter can move before the likelihood, maximised over all
others, falls by a chi-square quantile; unlike Wald's they are not symmetric and can start at exactly 0.
Does not belong here: intervals from mean squares (`varcomp`), which need balance but not large samples.

Source: Bates et al. (2015), J Stat Softw 67(1), section 5.1; values as lme4's `confint(profile(fit))`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from warehouse.statistics.mixed import codes, fit_mixed
from warehouse.statistics.mixed_core import CrossProducts, Floats, cross_products, derivatives, profile
from warehouse.statistics.mixed_fit import search
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector


@dataclass(frozen=True)
class ProfileIntervals:
    """`sd` maps each random factor and "residual" to an interval for its standard deviation; `fixed` each
    fixed effect to one for its value. Maximum likelihood, level `level`."""

    level: float
    log_likelihood: float
    sd: dict[str, tuple[float, float]]
    fixed: dict[str, tuple[float, float]]


def profile_intervals(
    y: ArrayLike,
    x: ArrayLike,
    factors: Mapping[str, Sequence[Hashable] | NDArray[np.generic]],
    *,
    names: Sequence[str] | None = None,
    level: float = 0.95,
) -> ProfileIntervals:
    """Intervals for every parameter of the ML fit; arguments as for `fit_mixed`, and the same refusals."""
    limit = float(stats.chi2.ppf(probability(level, "level"), 1))
    fit = fit_mixed(y, x, factors, names=names, method="ml")
    response, design = vector(y, "response"), np.asarray(x, dtype=np.float64)
    coded = [codes(values) for values in factors.values()]
    scale = np.sqrt(sum(fit.variances.values()))
    inside = (response - design @ fit.beta) / scale
    cp = cross_products(np.hstack([design, inside[:, None]]), coded)
    floor = fit.criterion - 2.0 * cp.n * float(np.log(scale))
    ratios = np.array([fit.variances[name] for name in factors]) / fit.variances["residual"]
    start = np.append(np.log(fit.variances["residual"] / scale**2), np.log1p(ratios))

    sd: dict[str, tuple[float, float]] = {}
    for k, name in enumerate([*factors, "residual"]):
        held = None if name == "residual" else k
        centre = float(np.sqrt(fit.variances[name])) / scale

        def drop(value: float, held: int | None = held) -> float:
            return _held_variance(cp, held, value**2, start) - floor - limit

        lower, upper = _ends(drop, centre, (centre or 1.0) / 4.0, floor=0.0)
        sd[name] = (lower * scale, upper * scale)
    fixed: dict[str, tuple[float, float]] = {}
    errors = fit.standard_errors / scale
    for j, name in enumerate(fit.names):

        def fall(value: float, j: int = j) -> float:
            moved = np.hstack([np.delete(design, j, axis=1), (inside - value * design[:, j])[:, None]])
            return search(cross_products(moved, coded), "ml")[2] - floor - limit

        lower, upper = _ends(fall, 0.0, float(errors[j]))
        fixed[name] = (float(fit.beta[j] + lower * scale), float(fit.beta[j] + upper * scale))
    return ProfileIntervals(level=level, log_likelihood=fit.log_likelihood, sd=sd, fixed=fixed)


def _held_variance(cp: CrossProducts, held: int | None, variance: float, start: Floats) -> float:
    """-2 log likelihood maximised over all but one variance: factor `held`'s, or the residual's (None).

    Free are log sigma2 and log(1 + lambda_j) of the other factors.
    """
    if held is None and variance <= 0.0:
        return np.inf
    free = np.array([i for i in range(start.size) if i != (0 if held is None else held + 1)])

    def objective(point: Floats) -> tuple[float, Floats]:
        whole = start.copy()
        whole[free] = point
        sigma2 = variance if held is None else float(np.exp(whole[0]))
        lam = np.expm1(whole[1:])
        if held is not None:
            lam[held] = variance / sigma2
        at = profile(cp, lam)
        of = derivatives(cp, at)
        slope = of.trace_w - of.square / sigma2
        by_sigma = cp.n - at.rss / sigma2 - (slope[held] * lam[held] if held is not None else 0.0)
        gradient = np.append(by_sigma, slope * (1.0 + lam))
        value = cp.n * np.log(2.0 * np.pi * sigma2) + at.log_det_w + at.rss / sigma2
        return float(value), gradient[free]

    # Wide for a likelihood, narrow enough for the factorisation: e^10 either way from the optimum.
    bounds = [(start[0] - 10.0, start[0] + 10.0) if i == 0 else (0.0, start[i] + 10.0) for i in free]
    best = np.inf
    for first in (start[free], np.where(free == 0, start[0] + 0.7, 0.7)):
        found = optimize.minimize(
            objective, first, jac=True, bounds=bounds, method="L-BFGS-B",
            options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500},
        )  # fmt: skip
        best = min(best, float(found.fun))
    return best


def _ends(
    drop: Callable[[float], float], centre: float, step: float, *, floor: float = -np.inf
) -> tuple[float, float]:
    """Where `drop` crosses 0 below and above `centre`; the lower end is `floor` when it never does."""
    lower = floor
    if centre > floor and not (np.isfinite(floor) and drop(floor) < 0.0):
        lower = _crossing(drop, centre, -step, floor)
    return lower, _crossing(drop, centre, step, floor)


def _crossing(drop: Callable[[float], float], centre: float, step: float, floor: float) -> float:
    inside = centre
    for _ in range(60):
        outside = max(centre + step, floor)
        if drop(outside) >= 0.0:
            low, high = sorted((inside, outside))
            if not np.isfinite(drop(low)):
                low = high * 1e-8
            return float(optimize.brentq(drop, low, high, xtol=1e-12, rtol=1e-12))
        inside, step = outside, step * 2.0
    raise StatisticsRefusal("The likelihood is too flat for an interval; more groups or lots are needed.")
