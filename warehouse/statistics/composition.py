"""Compositions: parts of a whole (phenotype panels, CD4 and CD8) as log-ratios, so that usual methods may be used.

Belongs here: centred and isometric log-ratios, their way back, Aitchison's distance. Does not belong here: the
comparison of what they give (`multivariate`, `means` on the log scale for a single ratio), zeros: a part below
detection has no logarithm and is refused, not replaced.

Sources: Aitchison (1986), The Statistical Analysis of Compositional Data; Egozcue et al. (2003) Math Geol 35:279.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from warehouse.statistics.refusal import Floats, StatisticsRefusal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def closed(parts: ArrayLike) -> Floats:
    """Rows of parts (lots x parts, any one unit) as shares that add up to 1.

    Raises StatisticsRefusal for fewer than two parts, a part that is not above 0 or not finite.
    """
    table = np.atleast_2d(np.asarray(parts, dtype=np.float64))
    if table.ndim != 2 or table.shape[1] < 2:
        raise StatisticsRefusal("A composition needs at least two parts.")
    if not np.isfinite(table).all() or (table <= 0).any():
        raise StatisticsRefusal(
            "A part is zero, negative or missing and has no log-ratio; join it with another part or treat it "
            "as censored."
        )
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def clr(parts: ArrayLike) -> Floats:
    """Centred log-ratios: logarithm of each part over the geometric mean; rows add up to 0."""
    logs = np.log(closed(parts))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


def basis(parts: int) -> Floats:
    """Orthonormal basis (parts - 1 x parts): each part against the geometric mean of those before it."""
    if parts < 2:
        raise StatisticsRefusal("A composition needs at least two parts.")
    rows = np.zeros((parts - 1, parts))
    for i in range(1, parts):
        rows[i - 1, :i] = 1.0 / i
        rows[i - 1, i] = -1.0
        rows[i - 1] *= sqrt(i / (i + 1.0))
    return rows


def ilr(parts: ArrayLike) -> Floats:
    """Isometric log-ratios, one column fewer than parts: coordinates for Hotelling's T2 and the like.

    With two parts it is the logarithm of their ratio over the root of 2.
    """
    centred = clr(parts)
    return np.asarray(centred @ basis(centred.shape[1]).T)


def shares(coordinates: ArrayLike) -> Floats:
    """Shares (rows add up to 1) of isometric log-ratios."""
    table = np.atleast_2d(np.asarray(coordinates, dtype=np.float64))
    return closed(np.exp(table @ basis(table.shape[1] + 1)))


def aitchison_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Distance of two compositions; the same whatever their units, and however parts are ordered."""
    one, two = clr(first), clr(second)
    if one.shape != two.shape or one.shape[0] != 1:
        raise StatisticsRefusal("A distance is of two compositions of the same parts.")
    return float(np.sqrt(((one - two) ** 2).sum()))
