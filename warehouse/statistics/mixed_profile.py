"""Profile-likelihood intervals of a linear mixed model's standard deviations and fixed effects.

Belongs here: intervals that ask how far one parameter can move before the likelihood, maximised over all
others, falls by a chi-square quantile; unlike Wald's they are not symmetric and can start at exactly 0.
Does not belong here: intervals from mean squares (`varcomp`), which need balance but not large samples.

Source: Bates et al. (2015), J Stat Softw 67(1), section 5.1; values as lme4's `confint(profile(fit))`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, optimize, stats

from warehouse.statistics.mixed import codes, fit_mixed
from warehouse.statistics.mixed_core import CrossProducts, Floats, cross_products, derivatives, profile
from warehouse.statistics.mixed_fit import search
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector

Ends = Literal["solved", "spline"]


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
    ends: Ends = "solved",
    effects: bool = True,
    precision: float = 1e-12,
) -> ProfileIntervals:
    """Intervals for every parameter of the ML fit; arguments as for `fit_mixed`, and the same refusals.

    `ends` "solved" finds where the likelihood has fallen; "spline" reads them, as lme4 does, from a spline
    through some twenty points of the profile, to compare with values lme4 printed (about 2e-4 apart).
    `effects` False leaves the fixed effects out; `precision` of solved ends, relative to the response's spread.
    """
    limit = sqrt(float(stats.chi2.ppf(probability(level, "level"), 1)))
    fit = fit_mixed(y, x, factors, names=names, method="ml")
    response, design = vector(y, "response"), np.asarray(x, dtype=np.float64)
    coded = [codes(values) for values in factors.values()]
    scale = sqrt(sum(fit.variances.values()))
    inside = (response - design @ fit.beta) / scale
    cp = cross_products(np.hstack([design, inside[:, None]]), coded)
    lowest = fit.criterion - 2.0 * cp.n * float(np.log(scale))
    ratios = np.array([fit.variances[name] for name in factors]) / fit.variances["residual"]
    start = np.append(np.log(fit.variances["residual"] / scale**2), np.log1p(ratios))
    reach = sqrt(float(stats.chi2.ppf(0.99, len(factors) + 1 + design.shape[1])))

    def interval(
        rise: Callable[[float], float], centre: float, shift: float, floor: float
    ) -> tuple[float, float]:
        def signed_root(value: float) -> float:
            return float(np.sign(value - centre) * np.sqrt(max(rise(value) - lowest, 0.0)))

        if ends == "spline":
            return _read(signed_root, centre, shift, floor=floor, reach=reach, limit=limit)
        return _solve(signed_root, centre, shift, floor=floor, limit=limit, precision=precision)

    # Rough ends are met in few strides; lme4's spline needs the points that its own strides give.
    first = 0.01 if precision < 1e-6 else 0.3
    sd: dict[str, tuple[float, float]] = {}
    for k, name in enumerate([*factors, "residual"]):
        held = None if name == "residual" else k
        centre = sqrt(fit.variances[name]) / scale

        # The other variances move little from one value to the next: each search begins where the last one ended.
        trail = start.copy()

        def by_variance(value: float, held: int | None = held, trail: Floats = trail) -> float:
            return _held_variance(cp, held, value**2, start, trail=trail, precision=precision)

        low, high = interval(
            by_variance,
            centre,
            first * centre if centre > 0.0 else (1e-3 / scale if ends == "spline" else first / 10.0),
            0.0,
        )
        sd[name] = (low * scale, high * scale)
    fixed: dict[str, tuple[float, float]] = {}
    errors = fit.standard_errors / scale
    for j, name in enumerate(fit.names if effects else ()):

        def by_effect(value: float, j: int = j) -> float:
            moved = np.hstack([np.delete(design, j, axis=1), (inside - value * design[:, j])[:, None]])
            return search(cross_products(moved, coded), "ml")[2]

        low, high = interval(by_effect, 0.0, reach / 8.0 * float(errors[j]), -np.inf)
        fixed[name] = (float(fit.beta[j]) + low * scale, float(fit.beta[j]) + high * scale)
    return ProfileIntervals(level=level, log_likelihood=float(fit.log_likelihood), sd=sd, fixed=fixed)


def _held_variance(
    cp: CrossProducts, held: int | None, variance: float, start: Floats, *, trail: Floats, precision: float
) -> float:
    """-2 log likelihood maximised over all but one variance: factor `held`'s, or the residual's (None).

    Free are log sigma2 and log(1 + lambda_j) of the other factors. `trail` is where the search begins and then holds
    where it ended.
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
    found = optimize.minimize(
        objective, trail[free], jac=True, bounds=bounds, method="L-BFGS-B",
        options={"ftol": max(1e-14, precision * 1e-5), "gtol": max(1e-9, precision), "maxiter": 500},
    )  # fmt: skip
    trail[free] = found.x
    return float(found.fun)


def _solve(
    root: Callable[[float], float],
    centre: float,
    shift: float,
    *,
    floor: float,
    limit: float,
    precision: float,
) -> tuple[float, float]:
    """Where the signed root of the rise reaches -limit and limit; `floor` where it never falls that far."""
    low = floor
    if centre > floor and not (np.isfinite(floor) and abs(root(floor)) < limit):
        low = _crossing(lambda v: -root(v) - limit, centre, -shift, floor, precision)
    return low, _crossing(lambda v: root(v) - limit, centre, shift, floor, precision)


def _crossing(
    over: Callable[[float], float], centre: float, step: float, floor: float, precision: float
) -> float:
    inside = centre
    for _ in range(60):
        outside = max(centre + step, floor)
        if over(outside) >= 0.0:
            low, high = sorted((inside, outside))
            if not np.isfinite(over(low)):
                low = high * 1e-8
            return float(optimize.brentq(over, low, high, xtol=precision, rtol=1e-12))
        inside, step = outside, step * 2.0
    raise StatisticsRefusal("The likelihood is too flat for an interval; more groups or lots are needed.")


def _read(
    root: Callable[[float], float], centre: float, shift: float, *, floor: float, reach: float, limit: float
) -> tuple[float, float]:
    """The ends on lme4's inverse spline.

    Points are walked outwards from `centre`, each about reach / 8 further in the signed root by linear
    extrapolation, until `reach`; a natural cubic goes through them, and its inverse is the Hermite cubic
    with the reciprocal slopes.
    """
    first = centre + shift
    known = {centre: 0.0, first: root(first)}
    walks = [(centre, first), (first, centre)] if centre > floor else [(centre, first)]
    for walk in walks:
        before, here = walk
        while len(known) < 200 and here > floor and abs(known[here]) <= reach:
            rise, run = abs(known[here] - known[before]), abs(here - before)
            stride = min(reach / 8.0 * run / rise, 10.0 * run) if rise > 0.0 else 10.0 * run
            before, here = here, max(floor, here + float(np.sign(here - before)) * stride)
            known[here] = root(here)
    points = np.array(sorted(known))
    roots = np.array([known[point] for point in points])
    if not (np.isfinite(roots).all() and (np.diff(roots) > 0.0).all()):
        raise StatisticsRefusal("The profile of the likelihood is not monotone; solve for the ends instead.")
    slopes = 1.0 / interpolate.CubicSpline(points, roots, bc_type="natural")(points, 1)
    inverse = interpolate.CubicHermiteSpline(roots, points, slopes)
    return (floor if roots[0] > -limit else float(inverse(-limit))), float(inverse(limit))
