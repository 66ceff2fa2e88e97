"""Adjustment of p-values for families of tests.

Belongs here: Bonferroni, Holm, Hochberg, Hommel, Benjamini-Hochberg and Benjamini-Yekutieli. Does not belong
here: which attributes form a family (the comparability plan), simultaneous intervals (sites.py). Primary
attributes that must all pass need none of it: intersection-union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from warehouse.statistics.refusal import Floats, StatisticsRefusal, vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Adjustment = Literal["bonferroni", "holm", "hochberg", "hommel", "bh", "by"]

#: Our names, and those of the library that computes them.
ADJUSTMENTS: dict[Adjustment, str] = {
    "bonferroni": "bonferroni",
    "hochberg": "simes-hochberg",
    "hommel": "hommel",
    "bh": "fdr_bh",
    "by": "fdr_by",
}


def adjust(p_values: ArrayLike, method: Adjustment) -> Floats:
    """Adjusted p-values in the order given, at most 1. Raises StatisticsRefusal for a p outside 0 to 1."""
    from statsmodels.stats.multitest import multipletests

    p = vector(p_values, "p-values")
    if ((p < 0) | (p > 1)).any():
        raise StatisticsRefusal("A p-value lies outside 0 to 1.")
    if method == "holm":
        # The library collects garbage at each call of this one, some 30 ms.
        order = np.argsort(p)
        stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
        return np.asarray(np.minimum(stepped, 1.0)[np.argsort(order)])
    return np.asarray(multipletests(p, method=ADJUSTMENTS[method])[1], dtype=np.float64)
