"""Power and sample size of the exact rank tests, for normal lots, by simulation with its Monte-Carlo error.

Belongs here: the chance that the interval of `ranks` lies inside a margin, and the smallest size that reaches a power.
Does not belong here: the tests and their intervals.

The power of a rank test under a shift of normal lots has no closed form beyond a handful of lots: it is an integral
over as many dimensions as there are lots. So it is drawn, from one fixed seed, and always comes with its standard
error; the tests' levels are exact. Margins, differences and SDs are on the analysis scale.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import numpy as np

from warehouse.statistics.lots import first_enough
from warehouse.statistics.ranks import mann_whitney_order, signed_rank_order
from warehouse.statistics.refusal import Floats, StatisticsRefusal, one_sided, probability
from warehouse.statistics.scales import Margin

RUNS = 4000
SEED = 20240101
# Differences held at once.
_CELLS = 2_000_000


class Drawn(NamedTuple):
    """A power and its Monte-Carlo standard error."""

    power: float
    mc_error: float


def _share(inside: Callable[[np.random.Generator, int], int], cells: int, runs: int) -> Drawn:
    rng, hits, left = np.random.default_rng(SEED), 0, runs
    while left:
        now = min(left, max(_CELLS // cells, 1))
        hits += inside(rng, now)
        left -= now
    share = hits / runs
    return Drawn(share, sqrt(max(share * (1.0 - share), 1.0 / runs) / runs))


def _inside(shifts: Floats, order: int, margin: Margin) -> int:
    """Rows whose `order`-th smallest and largest shift both lie inside the margin."""
    below = (shifts <= margin.low).sum(axis=1)
    above = (shifts >= margin.high).sum(axis=1)
    return int(((below < order) & (above < order)).sum())


def mann_whitney_power(
    n_reference: int, n_test: int, sd: float, margin: Margin, *, true: float = 0.0, sd_test: float | None = None,
    alpha: float = 0.05, runs: int = RUNS,
) -> Drawn:  # fmt: skip
    """Chance that Moses' exact interval lies inside `margin`; `sd` of a reference lot, `sd_test` of the site's."""
    order = mann_whitney_order(n_reference, n_test, one_sided(alpha))
    spread = sd if sd_test is None else sd_test
    if not (sd > 0.0 and spread > 0.0):
        raise StatisticsRefusal("Planning needs an SD above 0.")

    def inside(rng: np.random.Generator, rows: int) -> int:
        reference = rng.normal(0.0, sd, (rows, n_reference, 1))
        test = rng.normal(true, spread, (rows, 1, n_test))
        return _inside((test - reference).reshape(rows, -1), order, margin)

    return _share(inside, n_reference * n_test, runs)


def signed_rank_power(
    pairs: int,
    sd_difference: float,
    margin: Margin,
    *,
    true: float = 0.0,
    alpha: float = 0.05,
    runs: int = RUNS,
) -> Drawn:
    """Chance that the exact interval of the pseudomedian lies inside `margin`, differences normal."""
    order = signed_rank_order(pairs, one_sided(alpha))
    if not sd_difference > 0.0:
        raise StatisticsRefusal("Planning needs an SD above 0.")
    i, j = np.triu_indices(pairs)

    def inside(rng: np.random.Generator, rows: int) -> int:
        difference = rng.normal(true, sd_difference, (rows, pairs))
        return _inside((difference[:, i] + difference[:, j]) / 2.0, order, margin)

    return _share(inside, i.size, runs)


def mann_whitney_lots(
    n_reference: int | None, sd: float, margin: Margin, *, true: float = 0.0, alpha: float = 0.05,
    power: float = 0.8, most: int = 100,
) -> int | None:  # fmt: skip
    """Smallest number of test lots, the reference fixed (None: as many), with `power`; None where `most` do not do."""
    return _fewest(
        lambda n: mann_whitney_power(n_reference or n, n, sd, margin, true=true, alpha=alpha).power,
        (margin, true), power, most,
    )  # fmt: skip


def signed_rank_pairs(
    sd_difference: float, margin: Margin, *, true: float = 0.0, alpha: float = 0.05, power: float = 0.8,
    most: int = 100,
) -> int | None:  # fmt: skip
    """Smallest number of pairs with `power`; None where `most` do not do."""
    return _fewest(
        lambda n: signed_rank_power(n, sd_difference, margin, true=true, alpha=alpha).power,
        (margin, true), power, most,
    )  # fmt: skip


def _fewest(
    power_of: Callable[[int], float], wanted: tuple[Margin, float], power: float, most: int
) -> int | None:
    """The same seed at every size; sizes that cannot reach the level have no power."""
    probability(power, "power")
    margin, true = wanted
    if not margin.low < true < margin.high:
        return None

    def at(n: int) -> float:
        try:
            return power_of(n)
        except StatisticsRefusal:
            return 0.0

    # Exact ranks are given for a number of lots that has an end.
    return (
        first_enough(lambda n: at(min(n, most)), start=2, limit=0.0, power=power)
        if at(most) >= power
        else None
    )
