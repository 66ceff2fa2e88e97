"""Exact power of comparisons of more than two sites: each against the reference, all pairs, the share between sites.

Belongs here: the chance that every interval of a network lies inside the margin at once. Does not belong here: the
comparisons (`sites`), Wellek's F (`power_wellek.f_power`), two groups (`lots`).

Every site passes its own two one-sided tests at alpha and all must pass (intersection-union), the spread pooled over
all sites. Given the pooled SD and the reference's mean the sites are independent, so the power is an integral over
those two; of all pairs with as many lots each it is that of the range of the means. Analysis scale throughout.
Sources: Berger (1982); Dunnett (1955) for the conditioning; Wald (1940) for the share of variance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
from scipy import stats
from scipy.special import ndtr

from warehouse.statistics.quadrature import nodes_of, unit_nodes
from warehouse.statistics.refusal import Floats, StatisticsRefusal, one_sided, probability
from warehouse.statistics.scales import Margin

_TAIL = 1e-13


def _over_spread(df: int, end: float, inside: Callable[[Floats], Floats]) -> float:
    """`inside` at a sample SD (true SD 1) averaged over its distribution, 0 beyond `end`."""
    lowest, highest = np.sqrt(stats.chi2.ppf([_TAIL, 1 - _TAIL], df) / df)
    stop = min(max(end, float(lowest)), float(highest))
    x, w = unit_nodes(64)
    s = lowest + x * (stop - lowest)
    density = stats.chi.pdf(s * sqrt(df), df) * sqrt(df)
    return float(((stop - lowest) * w * density) @ inside(s))


def each_power(
    n_reference: int, sizes: Sequence[int], sd: float, margin: Margin, *, true: Sequence[float] | None = None,
    alpha: float = 0.05,
) -> float:  # fmt: skip
    """Chance that every site of `sizes` lots passes against the reference; `true` differences, 0 unless given."""
    n, level = np.array(sizes, dtype=np.float64), one_sided(alpha)
    df = int(n.sum()) + n_reference - n.size - 1
    if n.size < 1 or min(n_reference, *sizes) < 1 or df < 1 or not sd > 0.0:
        raise StatisticsRefusal(
            "Power of several sites needs a site, lots at each, one to spare and an SD above 0."
        )
    shift = (np.zeros(n.size) if true is None else np.array(true, dtype=np.float64)) / sd
    if shift.size != n.size:
        raise StatisticsRefusal(f"{n.size} sites need as many true differences, got {shift.size}.")
    low, high = margin.low / sd, margin.high / sd
    half = float(stats.t.isf(level, df)) * np.sqrt(1.0 / n + 1.0 / n_reference)
    x, w = nodes_of(80)
    z, chance = 8.0 * x, 8.0 * w * stats.norm.pdf(8.0 * x)
    centre = shift - (z / sqrt(n_reference))[:, None]

    def inside(s: Floats) -> Floats:
        reach = s[:, None, None] * half
        each = ndtr((high - reach - centre) * np.sqrt(n)) - ndtr((low + reach - centre) * np.sqrt(n))
        return np.asarray(np.maximum(each, 0.0).prod(axis=2) @ chance)

    return _over_spread(df, float(((high - low) / 2.0 / half).min()), inside)


def all_pairs_power(sites: int, lots: int, sd: float, margin: float, *, alpha: float = 0.05) -> float:
    """Chance that every pair of `sites` with `lots` each passes a margin of ± `margin` where all are alike."""
    df = sites * (lots - 1)
    if sites < 2 or df < 1 or not (sd > 0.0 and margin > 0.0):
        raise StatisticsRefusal("All pairs need two sites, two lots at each, an SD and a margin above 0.")
    half = float(stats.t.isf(one_sided(alpha), df)) * sqrt(2.0 / lots)
    x, w = nodes_of(80)
    z, chance = 8.0 * x, 8.0 * w * stats.norm.pdf(8.0 * x)

    def inside(s: Floats) -> Floats:
        # The range of the sites' means in their own SDs.
        reach = np.maximum((margin / sd - s * half) * sqrt(lots), 0.0)[:, None]
        return np.asarray(sites * (ndtr(z + reach) - ndtr(z)) ** (sites - 1) @ chance)

    return _over_spread(df, margin / sd / half, inside)


def site_share_power(
    sites: int, lots: int, limit: float, *, share: float = 0.0, level: float = 0.95
) -> float:
    """Chance that the upper limit of the share of variance between sites lies below `limit`, `lots` at each site."""
    if sites < 2 or lots < 2 or not 0.0 <= share < 1.0:
        raise StatisticsRefusal(
            "The share between sites needs two sites, two lots at each, and a share below 1."
        )
    probability(limit, "limit of the share")
    between, within = sites - 1, sites * (lots - 1)
    allowed, true = limit / (1.0 - limit), share / (1.0 - share)
    critical = float(stats.f.ppf(1.0 - probability(level, "level"), between, within))
    return float(stats.f.cdf((1.0 + lots * allowed) / (1.0 + lots * true) * critical, between, within))
