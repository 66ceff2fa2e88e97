"""Gauss-Legendre nodes, computed once.

Belongs here: nodes and weights that several statistics integrate with. Does not belong here: integrands.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from warehouse.statistics.refusal import Floats


@lru_cache(maxsize=64)
def nodes_of(count: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on (-1, 1). Not to be written to."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    nodes.flags.writeable = weights.flags.writeable = False
    return nodes, weights


@lru_cache(maxsize=16)
def unit_nodes(count: int, panels: int = 1) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on (0, 1), `count` in each of equal panels. Not to be written to."""
    x, w = nodes_of(count)
    starts = np.arange(panels)[:, None]
    nodes, weights = ((starts + (x + 1) / 2) / panels).ravel(), np.tile(w / 2 / panels, panels)
    nodes.flags.writeable = weights.flags.writeable = False
    return nodes, weights
