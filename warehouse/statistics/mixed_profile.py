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

from warehouse.statistics.mixed import bordered, codes, fit_mixed
from warehouse.statistics.mixed_core import CrossProducts, Floats, cross_products, derivatives, profile
from warehouse.statistics.mixed_fit import bounded, search
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
        centre = sqrt(fit.variances[name]) / scale
        # The other variances move little from one value to the next: each search begins where the last one ended.
        held = _Held(cp, len(factors) if name == "residual" else k, start, precision)

        def fallen(value: float, held: _Held = held) -> tuple[float, float]:
            deviance, slope = held.at(value**2)
            return deviance, 2.0 * value * slope

        shift = first * centre if centre > 0.0 else (1e-3 / scale if ends == "spline" else first / 10.0)
        if ends == "spline":
            low, high = interval(lambda value, f=fallen: f(value)[0], centre, shift, 0.0)  # type: ignore[misc]
        else:
            rise = _Rise(fallen, centre, lowest)
            low = 0.0
            if centre > 0.0 and not (name != "residual" and rise.root(0.0) > -limit):
                low = rise.where(-limit, shift, precision)
            high = rise.where(limit, shift, precision)
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


class _Held:
    """-2 log likelihood maximised over all variances but one, by Newton's method with exact second derivatives.

    Variances are tau_k of the factors and, last, sigma2 of the residual. Free ones move as log(1 + tau_k / s) and
    10 + log(sigma2 / s), s being the residual's at the optimum, so that 0 is the least of every one.
    """

    def __init__(self, cp: CrossProducts, which: int, start: Floats, precision: float) -> None:
        self.cp, self.which, self.unit = cp, which, float(np.exp(start[0]))
        self.point = np.append(start[1:], 10.0)
        self.free = np.arange(start.size) != which
        # So close, Newton's error squares. A rough end is not worth the last step.
        self.enough, self.polish = (1e-8, True) if precision < 1e-6 else (1e-3 * precision, False)

    def at(self, variance: float) -> tuple[float, float]:
        """The maximised -2 log likelihood with this variance held, and its slope by the variance."""
        if variance <= 0.0 and self.which == self.point.size - 1:
            return np.inf, -np.inf
        here = self._taus(self.point, variance)
        value = self._value(here)
        for _ in range(200):
            gradient, hessian, expected = self._slopes(here)
            stretch = np.append(self.unit + here[:-1], here[-1])
            pull = gradient * stretch
            scale = np.outer(stretch, stretch)
            free = self.free & ((self.point > 0.0) | (pull < 0.0))
            if not free.any():
                break
            step = bounded(self.point, free, pull, hessian * scale + np.diag(pull), expected * scale)
            promise = float(-pull @ step)
            if promise < self.enough and not self.polish:
                break
            size = 1.0
            while size > 1e-9:
                there = np.where(self.free, np.maximum(self.point + size * step, 0.0), self.point)
                taus = self._taus(there, variance)
                now = self._value(taus)
                if now <= value + 1e-4 * float(pull @ (there - self.point)) or promise < self.enough:
                    break
                size /= 2.0
            else:
                break
            self.point, here, value = there, taus, now
            if promise < self.enough:
                gradient = self._slopes(here)[0]
                break
        return value, float(gradient[self.which])

    def _taus(self, point: Floats, variance: float) -> Floats:
        taus = self.unit * np.append(np.expm1(point[:-1]), np.exp(point[-1] - 10.0))
        taus[self.which] = variance
        return taus

    def _value(self, taus: Floats) -> float:
        s = taus[-1]
        if not np.isfinite(taus).all() or s <= 0.0:
            return np.inf
        self.factored = profile(self.cp, taus[:-1] / s)
        return float(self.cp.n * np.log(2.0 * np.pi * s) + self.factored.log_det_w + self.factored.rss / s)

    def _slopes(self, taus: Floats) -> tuple[Floats, Floats, Floats]:
        """Gradient, Hessian and expected Hessian by the variances. The residual's G is W - sum lambda_k G_k."""
        at, s = self.factored, taus[-1]
        of = derivatives(self.cp, at)
        trace = np.append(of.trace_w, self.cp.n - at.lam @ of.trace_w) / s
        quadratic = np.append(of.square, at.rss - at.lam @ of.square) / s**2
        # `bordered` puts the residual first.
        last = np.roll(np.arange(taus.size), -1)
        inner = np.ix_(last, last)
        expected = bordered(of.trace_ww, of.trace_w, at.lam, float(self.cp.n))[inner] / s**2
        bilinear = bordered(of.bilinear, of.square, at.lam, at.rss)[inner] / s**3
        return trace - quadratic, 2.0 * bilinear - expected, expected


class _Rise:
    """The signed root of how far the likelihood falls from its top: nearly a straight line, so Newton's steps suit."""

    def __init__(self, fallen: Callable[[float], tuple[float, float]], centre: float, lowest: float) -> None:
        self.fallen, self.centre, self.lowest = fallen, centre, lowest

    def root(self, value: float) -> float:
        """Below 0 left of the centre."""
        return float(np.sign(value - self.centre) * np.sqrt(max(self.fallen(value)[0] - self.lowest, 0.0)))

    def where(self, wanted: float, shift: float, precision: float) -> float:
        """The value beyond which the root passes `wanted`, to `precision` or to rounding."""
        side = float(np.sign(wanted))
        inside, outside = self.centre, (np.inf if side > 0.0 else 0.0)
        value = max(self.centre + side * shift, self.centre / 2.0)
        for _ in range(200):
            deviance, slope = self.fallen(value)
            height = max(deviance - self.lowest, 0.0)
            over = np.sqrt(height) - abs(wanted)
            if over >= 0.0:
                outside = value
            else:
                inside = value
            stride = -side * over * 2.0 * np.sqrt(height) / abs(slope) if slope and height > 0.0 else np.nan
            following = value + stride
            # Not more than three times as far from the centre at once; what leaves the bracket halves it.
            far = self.centre + side * (3.0 * abs(value - self.centre))
            low, high = sorted((inside, outside if np.isfinite(outside) else max(far, inside)))
            if not low < following < high:
                following = (inside + outside) / 2.0 if np.isfinite(outside) else far
            if not np.isfinite(following) or abs(following) > 1e12:
                break
            if abs(following - value) <= max(precision, 1e-9 * abs(value)):
                return float(following)
            value = following
        raise StatisticsRefusal("The likelihood is too flat for an interval; more groups or lots are needed.")


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
