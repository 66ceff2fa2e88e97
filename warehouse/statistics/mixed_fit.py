"""Finding the variance ratios of a linear mixed model, and proving the point found is an optimum.

Belongs here: the profiled (residual) deviance as a function of lambda = theta^2, theta being lme4's
relative Cholesky scale, and its projected Newton search. Does not belong here: the algebra
(`mixed_core`), degrees of freedom and what callers see (`mixed`).

Bates et al. (2015), J Stat Softw 67(1), section 3.4, for the profiled criterion. lme4 searches theta
without derivatives; we have them exactly, so we stop on a gradient, and a ratio at its boundary is
exactly 0 because the search is projected, not because a small number was rounded.
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from warehouse.statistics.mixed_core import CrossProducts, Derivatives, Floats, Profile, derivatives, profile
from warehouse.statistics.refusal import StatisticsRefusal

Criterion = Literal["reml", "ml"]

# Beyond this ratio the residual variance is lost in the rounding of the cross products.
LARGEST_RATIO = 1e9
# Ratios by the number of factors: so fine that valleys are told apart, so coarse that a fit stays a matter of ms.
_GRID = {1: (0.0, 0.1, 0.5, 2.5, 12.5, 60.0), 2: (0.0, 0.1, 0.5, 2.5, 12.5, 60.0), 3: (0.0, 0.3, 3.0, 30.0)}
_STEPS = 200


def deviance(cp: CrossProducts, at: Profile, criterion: Criterion) -> float:
    """-2 log (residual) likelihood with sigma2 profiled out; lme4's `REMLcrit` for "reml"."""
    m = _degrees(cp, criterion)
    value = at.log_det_w + m * (1.0 + np.log(2.0 * np.pi * at.rss / m))
    return float(value + at.log_det_x) if criterion == "reml" else float(value)


def _degrees(cp: CrossProducts, criterion: Criterion) -> int:
    return cp.n - cp.p if criterion == "reml" else cp.n


def _slopes(
    cp: CrossProducts, at: Profile, of: Derivatives, criterion: Criterion
) -> tuple[Floats, Floats, Floats]:
    """Gradient, Hessian and expected Hessian of the profiled deviance in t = log(1 + lambda)."""
    m = _degrees(cp, criterion)
    trace, second = (of.trace_p, of.trace_pp) if criterion == "reml" else (of.trace_w, of.trace_ww)
    share = of.square / at.rss
    gradient = trace - m * share
    hessian = -second + 2.0 * m * of.bilinear / at.rss - m * np.outer(share, share)
    expected = second - np.outer(trace, trace) / m
    stretch = 1.0 + at.lam
    scale = np.outer(stretch, stretch)
    return gradient * stretch, hessian * scale + np.diag(gradient * stretch), expected * scale


def _direction(hessian: Floats, expected: Floats, gradient: Floats) -> Floats:
    """Newton step where the surface is convex, else a Fisher-scoring step."""
    values, vectors = np.linalg.eigh(hessian)
    if values.min() <= 1e-8 * max(abs(values).max(), 1e-300):
        values, vectors = np.linalg.eigh(expected)
        values = np.maximum(values, 1e-6 * max(values.max(), 1e-6))
    step: Floats = -vectors @ ((vectors.T @ gradient) / values)
    return step


def bounded(
    here: Floats, free: NDArray[np.bool_], gradient: Floats, hessian: Floats, expected: Floats
) -> Floats:
    """The step over the free ratios; one that would pass 0 goes to 0 and the others are solved again."""
    step = np.zeros_like(here)
    free = free.copy()
    while free.any():
        chosen = np.ix_(free, free)
        pull = gradient + hessian @ np.where(free, 0.0, step)
        step[free] = np.clip(_direction(hessian[chosen], expected[chosen], pull[free]), -4.0, 4.0)
        beyond = free & (here + step < 0.0)
        if not beyond.any():
            break
        step[beyond] = -here[beyond]
        free &= ~beyond
    return step


def _starts(cp: CrossProducts, criterion: Criterion) -> list[Floats]:
    """The valleys of a coarse grid: the profiled deviance can have more than one, and its lowest point on the grid
    need not lie in the deepest."""
    count = len(cp.order)
    # Several valleys are a matter of few rows; many rows, or many factors, start from the middle.
    if cp.n > 500 or count not in _GRID:
        return [np.ones(count)]
    grid = _GRID[count]
    lam = np.array(list(product(grid, repeat=count)))
    height = np.array([deviance(cp, profile(cp, ratios), criterion) for ratios in lam])
    edged = np.pad(height.reshape((len(grid),) * count), 1, constant_values=np.inf)
    lowest = np.full(edged.shape, np.inf)
    for axis in range(count):
        for side in (-1, 1):
            lowest = np.minimum(lowest, np.roll(edged, side, axis))
    inner = (slice(1, -1),) * count
    return list(lam[(edged[inner] <= lowest[inner]).ravel()])


def search(cp: CrossProducts, criterion: Criterion) -> tuple[Profile, Derivatives, float]:
    """The minimum of the profiled deviance over lambda >= 0.

    Raises StatisticsRefusal when the residual variance tends to 0 or the search does not settle.
    """
    found = [_descend(cp, start, criterion) for start in _starts(cp, criterion)]
    return min(found, key=lambda valley: valley[2])


def _descend(cp: CrossProducts, lam: Floats, criterion: Criterion) -> tuple[Profile, Derivatives, float]:
    """`search` from one point."""
    at = profile(cp, lam)
    value = deviance(cp, at, criterion)
    for _ in range(_STEPS):
        of = derivatives(cp, at)
        gradient, hessian, expected = _slopes(cp, at, of, criterion)
        free = (at.lam > 0.0) | (gradient < 0.0)
        if not free.any():
            return at, of, value
        step = bounded(np.log1p(at.lam), free, gradient, hessian, expected)
        promise = float(-gradient @ step)
        # So close, Newton's error squares: one more whole step is exact to rounding, and is the last.
        if promise < 1e-8:
            at = profile(cp, np.expm1(np.maximum(np.log1p(at.lam) + step, 0.0)))
            return at, derivatives(cp, at), deviance(cp, at, criterion)
        at, value, moved = _line(cp, at, value, step=step, gradient=gradient, criterion=criterion)
        if at.lam.max() > LARGEST_RATIO:
            raise StatisticsRefusal(
                "The residual variance is 0: the rows within every group are identical, so no mixed model "
                "can be fitted; analyse one value for each lot, or give the replicates with all their digits."
            )
        if not moved:
            return at, derivatives(cp, at), value
    raise StatisticsRefusal("The mixed model did not settle; simplify it by leaving out a random factor.")


def _line(
    cp: CrossProducts, at: Profile, value: float, *, step: Floats, gradient: Floats, criterion: Criterion
) -> tuple[Profile, float, bool]:
    """Halve the projected step until the deviance falls; False when only rounding is left."""
    here = np.log1p(at.lam)
    size = 1.0
    while size > 1e-9:
        there = np.maximum(here + size * step, 0.0)
        tried = profile(cp, np.expm1(there))
        now = deviance(cp, tried, criterion)
        if now <= value + 1e-4 * float(gradient @ (there - here)):
            return tried, now, True
        size /= 2.0
    return at, value, False
