"""Error rates of the methods that stand beside a verdict or watch it: exact ranks, rates, looks.

Belongs here: their simulations. Does not belong here: what decides a verdict (`characteristics`), the page, methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import sqrt

import numpy as np
from scipy import stats

from warehouse.statistics import means, ranks
from warehouse.statistics.rates import Exposure, rate_ratio
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.statistics.sequential import SequentialPlan, Spending, watch
from warehouse.verification.characteristics_line import (
    ALPHA,
    MARGIN,
    Draw,
    Known,
    Line,
    ends,
    generator,
    rate,
)

# Events a lot at the reference, and how many times as many a site may have.
EVENTS, RATE_MARGIN = 1.0, 2.0
REFERENCE = 40
# A watch takes some milliseconds, so one in so many is drawn.
LOOKS_PART = 2


def _mann_whitney(m: int) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[float, float]:
        return ends(ranks.mann_whitney(rng.normal(0, 1, REFERENCE), rng.normal(0, 1, m), alpha=ALPHA))

    return draw


def _signed_rank(n: int) -> Draw:
    """Donors half of the variance."""

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        donor, noise = rng.normal(0, sqrt(0.5), n), rng.normal(0, sqrt(0.5), (2, n))
        return ends(ranks.signed_rank(donor + noise[0], donor + noise[1], alpha=ALPHA))

    return draw


RATES = (
    "ratio of rates, exact",
    f"{REFERENCE} reference lots, {EVENTS:g} event a lot, up to {RATE_MARGIN:g} times as many",
)


def _rates(m: int) -> Line:
    """Every pair of counts with its chance: exact, no Monte-Carlo error."""
    size = covered = power = 0.0
    site = {k: EVENTS * m * k for k in (1.0, RATE_MARGIN)}
    reference = stats.poisson.pmf(np.arange(int(EVENTS * REFERENCE * 3) + 1), EVENTS * REFERENCE)
    counts = np.arange(int(site[RATE_MARGIN] * 3) + 12)
    same, worse = (stats.poisson.pmf(counts, mean) for mean in site.values())
    for b in np.flatnonzero(reference > 1e-9):
        for a in np.flatnonzero(reference[b] * np.maximum(same, worse) > 1e-10):
            chances = float(reference[b] * same[a]), float(reference[b] * worse[a])
            try:
                found = rate_ratio(Exposure(int(a), m), Exposure(int(b), REFERENCE), level=1 - 2 * ALPHA)
            except StatisticsRefusal:  # no event on either side
                continue
            high = np.inf if found.ci_high is None else found.ci_high
            inside = found.ci_low > 1 / RATE_MARGIN and high < RATE_MARGIN
            size, power = size + chances[1] * inside, power + chances[0] * inside
            covered += chances[0] * (found.ci_low <= 1 <= high)
    return Line(*RATES, REFERENCE, m, 0, 0, size, 0.0, None, covered, 0.0, power, 0.0, None)


SPENDING: dict[Spending, str] = {"obrien-fleming": "O'Brien-Fleming", "pocock": "Pocock"}
WATCHED = "watched at every new lot"


def _looks(spending: Spending, setting: str, m: int, *, runs: int, seed: int) -> Line:
    """A watch that looks at each new lot of the site from the second on and stops at the first verdict."""
    rng = generator(seed, WATCHED, setting, REFERENCE, m)
    plan, margin = SequentialPlan(REFERENCE, m, ALPHA, spending), Margin(-MARGIN, MARGIN)
    size = covered = power = 0
    for _ in range(runs):
        reference, site = rng.normal(0, 1, REFERENCE), rng.normal(0, 1, m)
        welch = partial(means.welch, reference, alpha=ALPHA)
        for true in (0.0, MARGIN):
            looks = watch([welch(site[:k] + true) for k in range(2, m + 1)], plan, margin)
            held = all(k.interval is None or k.interval.ci_low <= true <= k.interval.ci_high for k in looks)
            if true:
                size += looks[-1].verdict == "comparable"
            else:
                power += looks[-1].verdict == "comparable"
                covered += held
    of_size, of_coverage, of_power = (rate(hits, runs) for hits in (size, covered, power))
    return Line(WATCHED, setting, REFERENCE, m, runs, 0, *of_size, None, *of_coverage, *of_power, None)


def lines(
    line: Callable[..., Line], known: Known, runs: int, seed: int, sizes: tuple[int, ...]
) -> Iterator[Line]:
    """Their lines; `line` draws one by intervals, `known` has those that stand."""
    for n in sizes:
        yield line("ranks, Mann-Whitney", f"{REFERENCE} reference lots", REFERENCE, n, _mann_whitney(n))
    for n in sizes:
        yield line("ranks, signed rank", "pairs, donors half of the variance", n, n, _signed_rank(n))
    for spending, name in SPENDING.items():
        setting = f"{REFERENCE} reference lots, {name} spending"
        for n in sizes:
            yield known(WATCHED, setting, n) or _looks(
                spending, setting, n, runs=max(runs // LOOKS_PART, 1), seed=seed
            )
    for n in sizes:
        yield known(*RATES, n) or _rates(n)
