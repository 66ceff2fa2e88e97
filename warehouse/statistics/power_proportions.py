"""Exact power of comparisons of proportions, from every possible table.

Belongs here: the chance that an interval of `proportions` lies inside a margin at true shares. Does not belong here:
the intervals. Power moves in steps, and may fall where a lot is added; few lots can show nothing.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from warehouse.statistics.proportions import Count, Pairs, miettinen_nurminen, tango_tost
from warehouse.statistics.refusal import StatisticsRefusal, one_sided
from warehouse.statistics.scales import Margin


def score_power(
    reference: tuple[float, int], test: tuple[float, int], margin: Margin, *, alpha: float = 0.05
) -> float:
    """Exact chance that Miettinen & Nurminen's 1 - 2 alpha interval lies inside `margin`.

    Each side is its true share and its number of lots.
    """
    (q, n), (p, m) = reference, test
    level = 1 - 2 * one_sided(alpha)
    if not (0 <= q <= 1 and 0 <= p <= 1) or n < 1 or m < 1:
        raise StatisticsRefusal("Power needs shares from 0 to 1 and at least one lot on each side.")
    chance_b, chance_a = stats.binom.pmf(np.arange(n + 1), n, q), stats.binom.pmf(np.arange(m + 1), m, p)
    power = 0.0
    for b in range(n + 1):
        for a in range(m + 1):
            chance = float(chance_b[b] * chance_a[a])
            if chance > 1e-10 and margin.low < a / m - b / n < margin.high:
                found = miettinen_nurminen(Count(a, m), Count(b, n), level=level)
                power += chance * (margin.low < found.ci_low and found.ci_high < margin.high)
    return power


def tango_power(
    pairs: int, test_only: float, reference_only: float, margin: Margin, *, alpha: float = 0.05
) -> float:
    """Exact chance that Tango's two one-sided tests pass with `pairs` donors made at both sites.

    `test_only` and `reference_only` are the true shares of donors whose lot succeeds at one site alone.
    """
    rest = 1.0 - test_only - reference_only
    if pairs < 1 or min(test_only, reference_only, rest) < 0:
        raise StatisticsRefusal("Power of pairs needs at least one pair and shares that sum to at most 1.")
    power = 0.0
    for b in range(pairs + 1):
        for c in range(pairs + 1 - b):
            chance = float(
                stats.multinomial.pmf([b, c, pairs - b - c], pairs, [test_only, reference_only, rest])
            )
            if chance > 1e-10 and margin.low < (b - c) / pairs < margin.high:
                # Pairs alike in both lots do not enter the score but by their number.
                passed = tango_tost(Pairs(pairs - b - c, b, c, 0), margin, alpha=alpha).equivalent
                power += chance * passed
    return power
