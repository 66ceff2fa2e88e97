"""Gauge repeatability and reproducibility: how much of the spread is the assay's, crossed or nested.

Belongs here: balanced studies of samples by operators (or laboratories) with replicates. Does not belong
here: unbalanced studies (`mixed`), agreement of two methods, multi-site precision (`varcomp`).

Sources: AIAG Measurement Systems Analysis, 4th ed., ANOVA method; MLS intervals from Burdick,
Borror & Montgomery (2005), Design and Analysis of Gauge R&R Studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from warehouse.statistics.mixed import codes
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.refusal import StatisticsRefusal, vector
from warehouse.statistics.varcomp import mls_interval


@dataclass(frozen=True, slots=True)
class GaugeComponent:
    """A variance, its MLS interval (ends below 0 shown as 0), and its SD as per cent of the total SD."""

    variance: float
    low: float
    high: float
    percent_of_sd: float
    percent_of_tolerance: float | None


@dataclass(frozen=True)
class Gauge:
    """`components`: repeatability, reproducibility, gauge (their sum), part, total; `operator` and
    `interaction` where crossed. `distinct` is the number of distinct categories. `p_interaction` tests it."""

    design: Literal["crossed", "nested"]
    level: float
    components: dict[str, GaugeComponent]
    distinct: int
    p_interaction: float | None
    interaction_pooled: bool


def gauge(
    y: ArrayLike,
    part: Sequence[str],
    operator: Sequence[str],
    *,
    design: Literal["crossed", "nested"] = "crossed",
    tolerance: float | None = None,
    pool_above: float | None = None,
    level: float = 0.90,
) -> Gauge:
    """Components of a balanced study; nested where each part is seen by one operator only (destructive).

    `tolerance` is the width of the specification. `pool_above`: an interaction with a p-value above it is
    pooled into repeatability (AIAG uses 0.25); None never pools. Raises StatisticsRefusal when not balanced.
    """
    values = vector(y, "results", at_least=4)
    table = _table(values, part, operator, design)
    a, b, r = table.shape  # operators x parts (within an operator when nested) x replicates
    mean = table.mean()
    cell, by_operator = table.mean(axis=2), table.mean(axis=(1, 2))
    ms_error = float(((table - cell[:, :, None]) ** 2).sum() / (a * b * (r - 1)))
    ms_operator = float(b * r * ((by_operator - mean) ** 2).sum() / (a - 1))
    if design == "nested":
        df = np.array([a * (b - 1.0), a - 1.0, a * b * (r - 1.0)])
        ms = np.array([r * float(((cell - by_operator[:, None]) ** 2).sum()) / df[0], ms_operator, ms_error])
        weights = {
            "repeatability": np.array([0.0, 0.0, 1.0]),
            "reproducibility": np.array([-1.0, 1.0, 0.0]) / (b * r),
            "part": np.array([1.0, 0.0, -1.0]) / r,
        }
        return _report(design, ms, df, weights, tolerance=tolerance, level=level, p=None, pooled=False)

    by_part = table.mean(axis=(0, 2))
    ms_part = float(a * r * ((by_part - mean) ** 2).sum() / (b - 1))
    both = cell - by_operator[:, None] - by_part[None, :] + mean
    ms_both = float(r * (both**2).sum() / ((a - 1) * (b - 1)))
    df = np.array([b - 1.0, a - 1.0, (a - 1.0) * (b - 1.0), a * b * (r - 1.0)])
    ms = np.array([ms_part, ms_operator, ms_both, ms_error])
    p = float(stats.f.sf(ms_both / ms_error, df[2], df[3])) if ms_error > 0 else 0.0
    pooled = pool_above is not None and p > pool_above
    if pooled:
        ms_error = float((ms[2] * df[2] + ms[3] * df[3]) / (df[2] + df[3]))
        ms, df = np.array([ms_part, ms_operator, ms_error]), np.array([df[0], df[1], df[2] + df[3]])
        weights = {
            "repeatability": np.array([0.0, 0.0, 1.0]),
            "reproducibility": np.array([0.0, 1.0, -1.0]) / (b * r),
            "part": np.array([1.0, 0.0, -1.0]) / (a * r),
        }
    else:
        operator_weight = np.array([0.0, 1.0, -1.0, 0.0]) / (b * r)
        interaction = np.array([0.0, 0.0, 1.0, -1.0]) / r
        weights = {
            "repeatability": np.array([0.0, 0.0, 0.0, 1.0]),
            "operator": operator_weight,
            "interaction": interaction,
            "reproducibility": operator_weight + interaction,
            "part": np.array([1.0, 0.0, -1.0, 0.0]) / (a * r),
        }
    return _report(design, ms, df, weights, tolerance=tolerance, level=level, p=p, pooled=pooled)


def _table(values: Floats, part: Sequence[str], operator: Sequence[str], design: str) -> Floats:
    """Results as operator x part x replicate."""
    if not len(part) == len(operator) == values.size:
        raise StatisticsRefusal("Each result needs its part and its operator.")
    people = codes(operator)
    things = codes(part)
    if design == "nested":
        within: dict[int, dict[int, int]] = {}
        things = np.array(
            [
                within.setdefault(int(o), {}).setdefault(int(t), len(within[int(o)]))
                for o, t in zip(people, things, strict=True)
            ]
        )
    a, b = int(people.max()) + 1, int(things.max()) + 1
    counts = np.bincount(people * b + things, minlength=a * b)
    r = int(counts[0])
    if a < 2 or b < 2 or r < 2 or np.ptp(counts) != 0:
        raise StatisticsRefusal(
            "A gauge study needs at least 2 operators, 2 parts and 2 replicates, the same number in every "
            "cell; fit unbalanced results with a mixed model."
        )
    order = np.lexsort((np.arange(values.size), things, people))
    return values[order].reshape(a, b, r)


def _report(
    design: Literal["crossed", "nested"],
    ms: Floats,
    df: Floats,
    weights: dict[str, Floats],
    *,
    tolerance: float | None,
    level: float,
    p: float | None,
    pooled: bool,
) -> Gauge:
    weights = dict(weights)
    weights["gauge"] = weights["repeatability"] + weights["reproducibility"]
    weights["total"] = weights["gauge"] + weights["part"]
    intervals = {name: mls_interval(ms, df, w, level=level) for name, w in weights.items()}
    pieces = ("repeatability", "reproducibility", "part")
    variance = {name: max(found[0], 0.0) for name, found in intervals.items()}
    if "operator" in variance:
        variance["reproducibility"] = variance["operator"] + variance["interaction"]
    variance["gauge"] = variance["repeatability"] + variance["reproducibility"]
    variance["total"] = sum(variance[name] for name in pieces)
    if variance["total"] == 0.0:
        raise StatisticsRefusal("All results are the same; there is no variation to divide.")
    components = {
        name: GaugeComponent(
            variance=variance[name],
            low=max(found[1], 0.0),
            high=max(found[2], 0.0),
            percent_of_sd=100.0 * sqrt(variance[name] / variance["total"]),
            percent_of_tolerance=600.0 * sqrt(variance[name]) / tolerance if tolerance else None,
        )
        for name, found in intervals.items()
    }
    if variance["gauge"] == 0.0:
        raise StatisticsRefusal("The assay shows no variation at all; check for rounded or copied results.")
    distinct = max(1, int(sqrt(2.0 * variance["part"] / variance["gauge"])))
    return Gauge(design, level, components, distinct, p, pooled)
