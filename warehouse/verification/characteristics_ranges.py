"""Error rates of ranges, of assays' agreement and of results below detection: what stands beside and decides nothing.

Belongs here: their simulations. Does not belong here: comparisons (`characteristics` and its other parts), methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt

import numpy as np
from scipy import stats

from warehouse.statistics.agreement import bland_altman, concordance, intraclass_correlations
from warehouse.statistics.censored import lognormal_mle
from warehouse.statistics.means import summarise
from warehouse.statistics.method_lines import MethodLine, deming, passing_bablok
from warehouse.statistics.refusal import Floats, StatisticsRefusal
from warehouse.statistics.tobit import mixed_tobit
from warehouse.statistics.tolerance import (
    Range,
    nonparametric_tolerance,
    normal_tolerance,
    prediction,
    quality_range_acceptance,
)
from warehouse.statistics.varcomp import mls_interval, nested_anova
from warehouse.verification.characteristics_line import ALPHA, MARGIN, Draw, Known, Line, covered

REFERENCE = 40
# Share of the reference's lots that lie below the limit of detection.
BELOW = 0.3
# SD of one assay where a lot has two, in SDs of a lot.
ASSAY_SD = 0.5
NEXT = 5
Holds = Callable[[np.random.Generator], bool]


def _content(found: Range) -> float:
    """Share of normal lots that a range holds."""
    low, high = (-np.inf if found.low is None else found.low), (np.inf if found.high is None else found.high)
    return float(stats.norm.cdf(high) - stats.norm.cdf(low))


def _tolerance(n: int) -> Holds:
    def holds(rng: np.random.Generator) -> bool:
        found = normal_tolerance(summarise(rng.normal(0, 1, n)), 0.95, 0.95)
        return _content(found) >= 0.95

    return holds


def _order(n: int) -> Holds:
    def holds(rng: np.random.Generator) -> bool:
        found = nonparametric_tolerance(rng.normal(0, 1, n), 0.95, 0.95)
        return _content(found) >= 0.95

    return holds


def _next(n: int, lots: int) -> Holds:
    def holds(rng: np.random.Generator) -> bool:
        found = prediction(summarise(rng.normal(0, 1, n)), 0.95, lots=lots)
        return all(found.inside(float(v)) for v in rng.normal(0, 1, lots))

    return holds


def _between(n: int) -> Holds:
    """Lots with two assays each: the variance between lots from the two mean squares."""

    def holds(rng: np.random.Generator) -> bool:
        y = np.repeat(rng.normal(0, 1, n), 2) + rng.normal(0, ASSAY_SD, 2 * n)
        found = nested_anova(y, {"lot": [str(i // 2) for i in range(2 * n)]})
        lot, error = found.components["lot"], found.components["error"]
        assert lot.ms is not None
        assert error.ms is not None
        _, low, high = mls_interval([lot.ms, error.ms], [lot.df, error.df], [0.5, -0.5], level=0.90)
        return low <= 1.0 <= high

    return holds


def _twice(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """The same n samples by two methods that measure alike."""
    true = rng.normal(10, 1, n)
    return true + rng.normal(0, 0.3, n), true + rng.normal(0, 0.3, n)


def _bland_altman(n: int) -> Holds:
    def holds(rng: np.random.Generator) -> bool:
        found = bland_altman(*_twice(rng, n))
        true = 0.3 * sqrt(2) * float(stats.norm.isf(0.025))
        return found.high_ci[0] <= true <= found.high_ci[1]

    return holds


def _lin(n: int) -> Holds:
    def holds(rng: np.random.Generator) -> bool:
        found = concordance(*_twice(rng, n))
        return found.ci_low <= 1 / 1.09 <= found.ci_high

    return holds


def _icc(n: int) -> Holds:
    def holds(rng: np.random.Generator) -> bool:
        found = intraclass_correlations(np.column_stack(_twice(rng, n)))["ICC2"]
        return found.ci_low <= 1 / 1.09 <= found.ci_high

    return holds


def _slope(n: int, line: Callable[..., MethodLine]) -> Holds:
    def holds(rng: np.random.Generator) -> bool:
        low, high = line(*_twice(rng, n)).slope_ci
        return low <= 1.0 <= high

    return holds


def _median(n: int) -> Holds:
    """The logarithm of the median by lognormal likelihood, Wald's interval as the mart's standard error has it."""
    limit = float(np.exp(stats.norm.ppf(BELOW)))

    def holds(rng: np.random.Generator) -> bool:
        lots = np.exp(rng.normal(0, 1, n))
        found = lognormal_mle(np.maximum(lots, limit), lots < limit)
        return abs(found.meanlog) <= float(stats.norm.isf(ALPHA)) * found.se_meanlog

    return holds


def _tobit(m: int, assays: int, shift: float) -> Draw:
    """Ratio of medians of lots partly below detection, batches random where each was measured twice."""
    code = np.repeat(np.arange(REFERENCE + m), assays)
    at_site = (code >= REFERENCE).astype(float)
    x, groups = np.column_stack([np.ones(code.size), at_site]), [str(c) for c in code]
    limit = float(stats.norm.ppf(BELOW))

    def draw(rng: np.random.Generator) -> tuple[float, float]:
        y = rng.normal(0, 1, REFERENCE + m)[code] + shift * at_site
        if assays > 1:
            y = y + rng.normal(0, ASSAY_SD, code.size)
        return mixed_tobit(np.maximum(y, limit), y < limit, x, groups).interval(1, level=1 - 2 * ALPHA)

    return draw


def _or_nothing(draw: Draw) -> Draw:
    """A study at the margin that is refused passes nothing."""

    def drawn(rng: np.random.Generator) -> tuple[float, float]:
        try:
            return draw(rng)
        except StatisticsRefusal:
            return -np.inf, np.inf

    return drawn


QUALITY = "quality range", f"{REFERENCE} reference lots, mean ± 3 SD, 90 % of the site's lots inside"
COVERED: tuple[tuple[str, str, Callable[[int], Holds], float], ...] = (
    ("tolerance range, normal", "95 % of lots with 95 % confidence", _tolerance, 0.95),
    ("tolerance range, no distribution", "95 % of lots with 95 % confidence", _order, 0.95),
    ("prediction range", "next lot, 95 %", lambda n: _next(n, 1), 0.95),
    ("prediction range", f"next {NEXT} lots, 95 %", lambda n: _next(n, NEXT), 0.95),
    (
        "variance between lots, MLS",
        f"two assays a lot, SD of one {ASSAY_SD:g} of a lot's, 90 %",
        _between,
        0.90,
    ),
    ("median below detection, likelihood", f"{100 * BELOW:g} % below, 90 %", _median, 0.90),
    ("agreement, Bland-Altman", "upper limit of agreement, 95 %", _bland_altman, 0.95),
    ("agreement, Lin", "true 0.92, 95 %", _lin, 0.95),
    ("agreement, ICC2", "true 0.92, 95 %", _icc, 0.95),
    ("agreement, Deming", "slope, 95 %", lambda n: _slope(n, deming), 0.95),
    ("agreement, Passing-Bablok", "slope, 95 %", lambda n: _slope(n, passing_bablok), 0.95),
)


def lines(
    line: Callable[..., Line], known: Known, runs: int, seed: int, sizes: tuple[int, ...]
) -> Iterator[Line]:
    """Their lines; `line` draws one by intervals, `known` has those that stand."""
    for method, setting, made, level in COVERED:
        for n in sizes:
            yield known(method, setting, n) or covered(
                method, setting, 0, n, made(n), level=level, runs=max(runs // 4, 1), seed=seed
            )
    for m in sizes:
        power, size = (
            quality_range_acceptance(REFERENCE, m, 3.0, share=0.9, shift=shift) for shift in (0.0, MARGIN)
        )
        yield Line(*QUALITY, REFERENCE, m, 0, 0, size, 0.0, None, None, 0.0, power, 0.0, None)
    for assays, name in ((1, "Tobit"), (2, "mixed Tobit, two assays a lot")):
        for m in sizes:
            yield line(
                f"below detection, {name}", f"{REFERENCE} reference lots, {100 * BELOW:g} % below", REFERENCE, m,
                _tobit(m, assays, 0.0), at_margin=_or_nothing(_tobit(m, assays, MARGIN)),
            )  # fmt: skip
