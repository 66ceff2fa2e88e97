"""Gauss-Legendre nodes, computed once.

Belongs here: nodes and weights that several statistics integrate with. Does not belong here: integrands.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import roots_legendre

from warehouse.statistics.refusal import Floats


@lru_cache(maxsize=64)
def nodes_of(count: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on (-1, 1). Not to be written to.

    By the eigenvalues of the banded Jacobi matrix (Golub & Welsch 1969): in full it takes seconds for a thousand nodes.
    """
    x, w = (np.asarray(told, dtype=np.float64) for told in roots_legendre(count))
    x.flags.writeable = w.flags.writeable = False
    return x, w


@lru_cache(maxsize=16)
def unit_nodes(count: int, panels: int = 1) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on (0, 1), `count` in each of equal panels. Not to be written to."""
    x, w = nodes_of(count)
    starts = np.arange(panels)[:, None]
    nodes, weights = ((starts + (x + 1) / 2) / panels).ravel(), np.tile(w / 2 / panels, panels)
    nodes.flags.writeable = weights.flags.writeable = False
    return nodes, weights
