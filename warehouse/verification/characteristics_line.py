"""One line of the error rates: what was simulated, and how studies are counted.

Belongs here: the line, its numbers of lots and levels, the counting. Does not belong here: any method
(`characteristics` for what decides, `characteristics_beside` for what stands beside or watches), the page.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from warehouse.statistics.means import Estimate
from warehouse.statistics.refusal import StatisticsRefusal

SEED = 20240101
RUNS = 4000
SIZES = (3, 4, 5, 6, 8, 12, 20)
ALPHA = 0.05
# Margins in SDs of a reference lot; the limit of the ratio of SDs is the demo plan's.
MARGIN = 1.0
SD_LIMIT = 1.5
# SD of the logarithm, or coefficient of variation, of lots whose ratio is judged between 0.8 and 1.25.
RATIO_SD = 0.2
# Proportions: the reference's share of lots that succeed, and how much worse a site may be.
SUCCESS = 0.9
SUCCESS_MARGIN = 0.2


@dataclass(frozen=True)
class Line:
    """One method at one number of lots. `computed_*` are the exact values where there is a formula.

    A test that makes no interval has no coverage; a range that judges nothing has no size and no power. `level` is what
    its coverage should be.
    """

    method: str
    setting: str
    n_reference: int
    n_site: int
    runs: int
    refused: int
    size: float | None
    size_error: float
    computed_size: float | None
    coverage: float | None
    coverage_error: float
    power: float | None
    power_error: float
    computed_power: float | None
    level: float = 1 - 2 * ALPHA

    @property
    def liberal(self) -> bool:
        """Whether the size lies above 0.05 by more than 2 Monte-Carlo standard errors."""
        return self.size is not None and self.size > ALPHA + 2 * self.size_error

    @property
    def narrow(self) -> bool:
        """Whether the coverage lies below its level by more than 2 Monte-Carlo standard errors."""
        return self.coverage is not None and self.coverage < self.level - 2 * self.coverage_error


Draw = Callable[[np.random.Generator], tuple[float, float]]
#: The line of a method, setting and number of the site's lots that need not be drawn again, if there is one.
Known = Callable[[str, str, int], "Line | None"]


def generator(seed: int, method: str, setting: str, n: int, m: int) -> np.random.Generator:
    """A line's own draws, whatever else is drawn."""
    return np.random.default_rng([seed, zlib.crc32(f"{method}|{setting}".encode()), n, m])


def rate(hits: int, runs: int) -> tuple[float, float]:
    share = hits / runs
    return share, sqrt(max(share * (1 - share), 1 / runs) / runs)


def line_of(
    method: str, setting: str, n: int, m: int, draw: Draw, *, runs: int, seed: int, margin: float,
    computed_size: float | None, computed_power: float | None, floor: float | None = None,
    at_margin: Draw | None = None,
) -> Line:  # fmt: skip
    """Intervals of studies without a true difference; one at the margin is the same interval moved there.

    `floor` is the low end of a margin that has one side only. `at_margin` draws the studies at the margin where
    moving an interval is not the same (values are rounded).
    """
    rng = generator(seed, method, setting, n, m)
    low_end = -margin if floor is None else floor
    size = covered = power = refused = 0
    for _ in range(runs):
        try:
            low, high = draw(rng)
        except StatisticsRefusal:
            refused += 1
            continue
        moved = (low + margin, high + margin) if at_margin is None else at_margin(rng)
        size += moved[0] > low_end and moved[1] < margin
        covered += low <= 0 <= high
        power += low > low_end and high < margin
    kept = max(runs - refused, 1)
    return Line(
        method, setting, n, m, runs, refused, *rate(size, runs), computed_size,
        *rate(covered, kept), *rate(power, runs), computed_power,
    )  # fmt: skip


#: Whether a study passes, given how far the truth is from no difference in margins (0 or 1).
Passes = Callable[[np.random.Generator, float], bool]


def passing(
    method: str, setting: str, n: int, m: int, passes: Passes, *, runs: int, seed: int,
    computed_size: float | None, computed_power: float | None,
) -> Line:  # fmt: skip
    """A test without an interval: how often it passes at the margin and at no difference."""
    rng = generator(seed, method, setting, n, m)
    hits, refused = [0, 0], 0
    for _ in range(runs):
        try:
            each = [passes(rng, true) for true in (1.0, 0.0)]
        except StatisticsRefusal:
            refused += 1
            continue
        hits = [a + b for a, b in zip(hits, each, strict=True)]
    return Line(
        method, setting, n, m, runs, refused, *rate(hits[0], runs), computed_size, None, 0.0,
        *rate(hits[1], runs), computed_power,
    )  # fmt: skip


def covered(
    method: str, setting: str, n: int, m: int, holds: Callable[[np.random.Generator], bool], *, level: float,
    runs: int, seed: int,
) -> Line:  # fmt: skip
    """A range or interval that judges nothing: how often it holds what it should."""
    rng = generator(seed, method, setting, n, m)
    held = refused = 0
    for _ in range(runs):
        try:
            held += holds(rng)
        except StatisticsRefusal:
            refused += 1
    coverage, error = rate(held, max(runs - refused, 1))
    return Line(
        method, setting, n, m, runs, refused, None, 0.0, None, coverage, error, None, 0.0, None, level
    )


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.ci_low, estimate.ci_high
