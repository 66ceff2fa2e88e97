"""Shewhart charts of measured values: individuals and moving range, means, ranges and standard deviations.

Belongs here: estimating the centre and spread of a declared baseline once (a `Baseline`, which a caller
freezes, dates and approves), and laying a series against it (a `Chart`). Attribute counts are in
charts_attributes.py, EWMA and CUSUM in charts_memory.py, correlated attributes in charts_multivariate.py.

Sources: Shewhart 1931; Montgomery, Introduction to Statistical Quality Control; NIST/SEMATECH e-Handbook
6.3.2; ISO 7870-2. Constants are exact (chart_constants.py), not the printed three digits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from warehouse.statistics.chart_constants import c4, d2, d3
from warehouse.statistics.chart_rules import PointSignal, Rule, rule_set, signals_of
from warehouse.statistics.checked import FloatArray, IntArray, Labels, labels_of, positive, same_length
from warehouse.statistics.refusal import StatisticsRefusal, vector
from warehouse.statistics.refusal import spread as spread_of

RULE_1: tuple[Rule, ...] = rule_set("nelson", (1,))
SpreadOfIndividuals = Literal["moving range", "median moving range", "sd"]
SpreadOfSubgroups = Literal["range", "sd", "pooled sd"]


@dataclass(frozen=True)
class Baseline:
    """Centre and spread of a declared stable period.

    sigma is the standard deviation of one value, in the unit of the data; `spread` says how it was
    estimated and `n` from how many values.
    """

    centre: float
    sigma: float
    spread: str
    n: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.centre) or not (math.isfinite(self.sigma) and self.sigma > 0.0):
            raise StatisticsRefusal(
                f"The baseline has centre {self.centre:g} and sigma {self.sigma:g}; limits need finite "
                "numbers and some variation. Take a longer period, or a reading with more digits."
            )


@dataclass(frozen=True, eq=False)
class Chart:
    """One plotted statistic with its centre line, limits and failing points. All arrays have shape
    (points,).
    """

    statistic: str
    values: FloatArray
    centre: FloatArray
    lower: FloatArray
    upper: FloatArray
    sigma: FloatArray
    baseline: Baseline
    signals: tuple[PointSignal, ...]

    @property
    def z(self) -> FloatArray:
        """Distance from the centre in standard errors of the plotted statistic."""
        scaled: FloatArray = (self.values - self.centre) / self.sigma
        return scaled


@dataclass(frozen=True, eq=False)
class Subgroups:
    """Means, ranges and standard deviations of rational subgroups, in order of first appearance."""

    labels: tuple[str, ...]
    sizes: FloatArray
    means: FloatArray
    ranges: FloatArray
    sds: FloatArray


def laid_against(
    statistic: str,
    values: FloatArray,
    baseline: Baseline,
    *,
    centre: FloatArray,
    sigma: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    rules: tuple[Rule, ...],
) -> Chart:
    """Assemble a chart and find its failing points; rule 1 is 'outside the limits drawn'."""
    outside = (values < lower) | (values > upper)
    signals = signals_of((values - centre) / sigma, rules, outside_limits=outside)
    return Chart(statistic, values, centre, lower, upper, sigma, baseline, signals)


def individuals_baseline(values: ArrayLike, spread: SpreadOfIndividuals = "moving range") -> Baseline:
    """Centre and sigma of single values in time order.

    moving range: mean |x_i - x_(i-1)| / d2(2) (NIST 6.3.2.2); median moving range: its median / 0.9539, the
    median of |difference| of two standard normals, which one shift or outlier does not widen; sd: s /
    c4(n), which also counts slow movement as spread.
    """
    y = vector(values, "baseline", at_least=2)
    moving = np.abs(np.diff(y))
    if spread == "moving range":
        sigma = float(moving.mean()) / d2(2)
    elif spread == "median moving range":
        sigma = float(np.median(moving)) / (np.sqrt(2.0) * 0.6744897501960817)
    elif spread == "sd":
        sigma = spread_of(y) / c4(y.size)
    else:
        raise StatisticsRefusal(f"There is no estimate of spread {spread!r} for single values.")
    return Baseline(float(y.mean()), sigma, spread, int(y.size))


def individuals_chart(
    values: ArrayLike, baseline: Baseline | None = None, k: float = 3.0, rules: tuple[Rule, ...] = RULE_1
) -> Chart:
    """I chart: each value against centre +- k sigma of the baseline (of the values themselves when None)."""
    y = vector(values, "values")
    base = baseline if baseline is not None else individuals_baseline(y)
    positive(k, "k")
    centre = np.full(y.size, base.centre)
    sigma = np.full(y.size, base.sigma)
    lower, upper = centre - k * sigma, centre + k * sigma
    return laid_against("I", y, base, centre=centre, sigma=sigma, lower=lower, upper=upper, rules=rules)


def moving_range_chart(values: ArrayLike, baseline: Baseline | None = None, k: float = 3.0) -> Chart:
    """MR chart of |x_i - x_(i-1)|, one point fewer than values: d2 sigma +- k d3 sigma, never below 0.

    Only rule 1 applies: neighbouring ranges share a value, so runs rules mean nothing here.
    """
    y = vector(values, "values", at_least=2)
    base = baseline if baseline is not None else individuals_baseline(y)
    moving = np.abs(np.diff(y))
    return _spread_chart("MR", moving, base, np.full(moving.size, 2), centre_of=d2, error_of=d3, k=k)


def subgroups_of(values: ArrayLike, labels: Labels) -> Subgroups:
    """Split values by label into rational subgroups (each of at least 2 values)."""
    y = vector(values, "values")
    same_length(values=y, labels=labels)
    names, codes = labels_of(labels, "labels")
    sizes = np.bincount(codes).astype(np.float64)
    if sizes.min() < 2:
        lonely = names[int(sizes.argmin())]
        raise StatisticsRefusal(
            f"Subgroup {lonely!r} has one value; a subgroup needs two. Use an individuals chart."
        )
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
    grouped = y[order]
    means = np.add.reduceat(grouped, starts) / sizes
    ranges = np.maximum.reduceat(grouped, starts) - np.minimum.reduceat(grouped, starts)
    squares = np.add.reduceat((grouped - means[codes[order]]) ** 2, starts)
    sds = np.where(ranges > 0.0, np.sqrt(squares / (sizes - 1.0)), 0.0)  # equal values have no rounding error
    return Subgroups(tuple(names), sizes, means, ranges, sds)


def subgroup_baseline(groups: Subgroups, spread: SpreadOfSubgroups = "range") -> Baseline:
    """Centre (mean of all values) and sigma within subgroups.

    range: mean of R_i/d2(n_i); sd: mean of s_i/c4(n_i); with equal sizes these are Rbar/d2 and Sbar/c4.
    pooled sd: root of the pooled variance, with the most degrees of freedom.
    """
    if spread == "range":
        sigma = float(np.mean([r / d2(int(n)) for r, n in zip(groups.ranges, groups.sizes, strict=True)]))
    elif spread == "sd":
        sigma = float(np.mean([s / c4(int(n)) for s, n in zip(groups.sds, groups.sizes, strict=True)]))
    elif spread == "pooled sd":
        free = groups.sizes - 1.0
        sigma = float(np.sqrt(np.sum(free * groups.sds**2) / free.sum()))
    else:
        raise StatisticsRefusal(f"There is no estimate of spread {spread!r} for subgroups.")
    centre = float(np.sum(groups.means * groups.sizes) / groups.sizes.sum())
    return Baseline(centre, sigma, spread, int(groups.sizes.sum()))


def xbar_chart(
    groups: Subgroups, baseline: Baseline | None = None, k: float = 3.0, rules: tuple[Rule, ...] = RULE_1
) -> Chart:
    """Xbar chart: subgroup means against centre +- k sigma/sqrt(n_i)."""
    base = baseline if baseline is not None else subgroup_baseline(groups)
    positive(k, "k")
    error = base.sigma / np.sqrt(groups.sizes)
    centre = np.full(groups.means.size, base.centre)
    lower, upper = centre - k * error, centre + k * error
    return laid_against(
        "Xbar", groups.means, base, centre=centre, sigma=error, lower=lower, upper=upper, rules=rules
    )


def range_chart(groups: Subgroups, baseline: Baseline | None = None, k: float = 3.0) -> Chart:
    """R chart: subgroup ranges against d2 sigma +- k d3 sigma, never below 0. Rule 1 only (ranges are
    skewed).
    """
    base = baseline if baseline is not None else subgroup_baseline(groups, "range")
    return _spread_chart("R", groups.ranges, base, groups.sizes.astype(int), centre_of=d2, error_of=d3, k=k)


def sd_chart(groups: Subgroups, baseline: Baseline | None = None, k: float = 3.0) -> Chart:
    """S chart: subgroup standard deviations against c4 sigma +- k sigma sqrt(1-c4^2), never below 0. Rule 1
    only.
    """
    base = baseline if baseline is not None else subgroup_baseline(groups, "sd")
    sizes = groups.sizes.astype(int)
    return _spread_chart(
        "S", groups.sds, base, sizes, centre_of=c4, error_of=lambda n: math.sqrt(1.0 - c4(n) ** 2), k=k
    )


def _spread_chart(
    statistic: str,
    values: FloatArray,
    base: Baseline,
    sizes: IntArray,
    *,
    centre_of: Callable[[int], float],
    error_of: Callable[[int], float],
    k: float,
) -> Chart:
    positive(k, "k")
    kinds, where = np.unique(sizes, return_inverse=True)
    centre = np.array([centre_of(int(n)) for n in kinds])[where] * base.sigma
    error = np.array([error_of(int(n)) for n in kinds])[where] * base.sigma
    lower = np.maximum(0.0, centre - k * error)
    upper = centre + k * error
    return laid_against(
        statistic, values, base, centre=centre, sigma=error, lower=lower, upper=upper, rules=RULE_1
    )


@dataclass(frozen=True, eq=False)
class Phase:
    """A stretch of points between declared changes; `chart` is None where `refusal` says why there are no
    limits.
    """

    label: str
    start: int
    stop: int
    chart: Chart | None
    refusal: str | None


def individuals_by_phase(
    values: ArrayLike,
    phases: Labels,
    in_baseline: Sequence[bool] | None = None,
    *,
    minimum: int = 8,
    k: float = 3.0,
    rules: tuple[Rule, ...] = RULE_1,
) -> tuple[Phase, ...]:
    """I charts restarted at every change of phase (process, method or specification version), in order.

    Each phase has its own baseline: its points marked in in_baseline (all of them when None). Fewer than
    `minimum` of them give no limits but a reason; runs never cross a change. start and stop are 0-based,
    stop excluded.
    """
    y = vector(values, "values")
    same_length(values=y, phases=phases)
    chosen = (
        np.ones(y.size, dtype=np.bool_) if in_baseline is None else np.asarray(in_baseline, dtype=np.bool_)
    )
    same_length(values=y, in_baseline=chosen)
    names = [str(phase) for phase in phases]
    cuts = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)]
    found: list[Phase] = []
    for start, stop in itertools.pairwise(cuts):
        part = y[start:stop]
        basis = part[chosen[start:stop]]
        chart: Chart | None = None
        refusal: str | None = None
        if basis.size < minimum:
            refusal = f"Phase {names[start]!r} has {basis.size} baseline values; limits need {minimum}."
        else:
            try:
                chart = individuals_chart(part, individuals_baseline(basis), k, rules)
            except StatisticsRefusal as refused:
                refusal = f"Phase {names[start]!r}: {refused}"
        found.append(Phase(names[start], start, stop, chart, refusal))
    return tuple(found)
