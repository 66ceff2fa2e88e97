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
    """One method at one number of lots. `computed_*` are the exact values where there is a formula."""

    method: str
    setting: str
    n_reference: int
    n_site: int
    runs: int
    refused: int
    size: float
    size_error: float
    computed_size: float | None
    coverage: float
    coverage_error: float
    power: float
    power_error: float
    computed_power: float | None

    @property
    def liberal(self) -> bool:
        """Whether the size lies above 0.05 by more than 2 Monte-Carlo standard errors."""
        return self.size > ALPHA + 2 * self.size_error


Draw = Callable[[np.random.Generator], tuple[float, float]]
#: The line of a method, setting and number of the site's lots that need not be drawn again, if there is one.
Known = Callable[[str, str, int], "Line | None"]


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
    rng = np.random.default_rng([seed, zlib.crc32(f"{method}|{setting}".encode()), n, m])
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


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.ci_low, estimate.ci_high
