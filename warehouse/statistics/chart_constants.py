"""The constants of control charts, computed rather than copied from a three-digit table.

Belongs here: d2, d3 (mean and standard deviation of the range of n normal values) and c4 (bias of the
sample standard deviation). Does not belong here: anything that looks at data.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy import special

from warehouse.statistics.quadrature import nodes_of
from warehouse.statistics.refusal import StatisticsRefusal

_REACH = 9.0  # P(|z| > 9) is 2e-19, below the rounding of a double times any n used here
_NODES = 400


def _require_size(n: int) -> None:
    if n < 2:
        raise StatisticsRefusal(f"A spread needs at least 2 values a subgroup, got {n}.")


@cache
def c4(n: int) -> float:
    """E[s]/sigma for n normal values: sqrt(2/(n-1)) * Gamma(n/2) / Gamma((n-1)/2)."""
    _require_size(n)
    return math.sqrt(2.0 / (n - 1)) * math.exp(math.lgamma(n / 2.0) - math.lgamma((n - 1) / 2.0))


@cache
def d2(n: int) -> float:
    """E[range]/sigma for n normal values: the integral of 1 - Phi(x)^n - (1-Phi(x))^n (Tippett 1925)."""
    _require_size(n)
    nodes, weights = nodes_of(_NODES)
    x = nodes * _REACH
    integrand = 1.0 - special.ndtr(x) ** n - special.ndtr(-x) ** n
    return float(np.sum(weights * integrand) * _REACH)


@cache
def d3(n: int) -> float:
    """SD[range]/sigma for n normal values.

    From the distribution of the range, F(w) = n * integral phi(x) (Phi(x+w) - Phi(x))^(n-1) dx, and
    E[W^2] = integral 2 w (1 - F(w)) dw.
    """
    _require_size(n)
    nodes, weights = nodes_of(_NODES)
    x = nodes * _REACH
    w = (nodes + 1.0) * _REACH
    between = special.ndtr(x[:, None] + w[None, :]) - special.ndtr(x)[:, None]
    density = np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)
    cdf = n * _REACH * np.einsum("i,i,ij->j", weights, density, between ** (n - 1))
    second_moment = float(np.sum(weights * 2.0 * w * (1.0 - cdf)) * _REACH)
    return math.sqrt(second_moment - d2(n) ** 2)
