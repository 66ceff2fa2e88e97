"""Average run lengths: how many points a chart takes to signal, and what a fleet of charts rings by chance.

Belongs here: exact and simulated run lengths of chart designs, and the false-alarm budget over many charts.
Shifts are in standard deviations of the plotted point. Does not belong here: data.

Sources: Page 1954 (integral equation of the CUSUM), Crowder 1987 (of the EWMA), both solved by Gauss-Legendre
collocation; Champ & Woodall 1987 (rule sets); Brook & Evans 1972 is the discrete form of the same equations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, special, stats

from warehouse.statistics.chart_rules import Rule
from warehouse.statistics.checked import BoolArray, FloatArray, positive
from warehouse.statistics.quadrature import nodes_of
from warehouse.statistics.refusal import StatisticsRefusal, probability

_NODES = 80
_LONGEST = 1e7  # a longer mean run than this is beyond any use and beyond the simulation's reach
_WARM_UP = 16  # the longest rule looks back 15 points


def _density(x: FloatArray) -> FloatArray:
    value: FloatArray = np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)
    return value


def _finite(shift: float) -> float:
    if not math.isfinite(shift):
        raise StatisticsRefusal("The shift must be a finite number of standard deviations.")
    return float(shift)


def shewhart_arl(shift: float, k: float = 3.0) -> float:
    """Mean points to a signal of a chart with limits at +- k sigma: 1 / P(outside)."""
    positive(k, "k")
    _finite(shift)
    return 1.0 / float(special.ndtr(-k - shift) + special.ndtr(-k + shift))


def _one_sided_cusum(shift: float, k: float, h: float, head_start: float) -> float:
    """Page's equation L(x) = 1 + L(0) Phi(k-x-shift) + integral_0^h L(y) phi(y+k-x-shift) dy at x =
    head_start.
    """
    nodes, weights = nodes_of(_NODES)
    y, w = 0.5 * h * (nodes + 1.0), 0.5 * h * weights
    points = np.concatenate(([0.0], y))
    system = np.eye(_NODES + 1)
    system[:, 0] -= special.ndtr(k - points - shift)
    system[:, 1:] -= w * _density(y[None, :] + k - points[:, None] - shift)
    lengths = np.linalg.solve(system, np.ones(_NODES + 1))
    at_start = lengths[0] * special.ndtr(k - head_start - shift)
    return float(1.0 + at_start + np.sum(w * lengths[1:] * _density(y + k - head_start - shift)))


def cusum_arl(
    shift: float,
    k: float = 0.5,
    h: float = 5.0,
    sided: Literal["one", "two"] = "two",
    head_start: float = 0.0,
) -> float:
    """Mean points to a signal of a tabular CUSUM, k and h in standard deviations, from its start.

    Two-sided by Kemp 1961, 1/ARL = 1/ARL_high + 1/ARL_low, exact when the two sums cannot be above zero
    together, which holds without a head start; with one it is Lucas & Crosier's (1982) combination.
    """
    positive(h, "h")
    _finite(shift)
    if not (math.isfinite(k) and k >= 0.0) or not 0.0 <= head_start < h:
        raise StatisticsRefusal("A CUSUM needs k of 0 or more and a head start from 0 to below h.")
    high = _one_sided_cusum(shift, k, h, head_start)
    if sided == "one":
        return _bounded(high)
    low = _one_sided_cusum(-shift, k, h, head_start)
    if head_start == 0.0:
        return _bounded(1.0 / (1.0 / high + 1.0 / low))
    high_0, low_0 = _one_sided_cusum(shift, k, h, 0.0), _one_sided_cusum(-shift, k, h, 0.0)
    return _bounded((high * low_0 + low * high_0 - high_0 * low_0) / (high_0 + low_0))


def _bounded(length: float) -> float:
    """The length, or a refusal where the linear system has lost its digits."""
    if not math.isfinite(length) or length < 1.0 - 1e-6 or length > 1e12:
        raise StatisticsRefusal(
            "These limits are so wide that the run length has no reliable digits; narrow them."
        )
    return length


def ewma_arl(
    shift: float,
    weight: float = 0.2,
    width: float = 3.0,
    limits: Literal["exact", "asymptotic"] = "asymptotic",
) -> float:
    """Mean points to a signal of a two-sided EWMA started at its centre.

    asymptotic: Crowder's L(x) = 1 + 1/weight integral_-c^c L(y) phi((y-(1-weight)x)/weight - shift) dy at x
    = 0. exact: limits that open with time; the distribution of the surviving EWMA is carried forward until
    they have opened to within 1e-6 of their end, and the asymptotic lengths finish it.
    """
    positive(width, "width")
    _finite(shift)
    if not 0.0 < weight <= 1.0:
        raise StatisticsRefusal(f"The weight of an EWMA lies above 0 and not above 1, got {weight:g}.")
    if weight == 1.0:
        return shewhart_arl(shift, width)
    # A narrow kernel (small weight) needs more nodes across the limits.
    count = max(_NODES, math.ceil(12.0 * width / math.sqrt(weight * (2.0 - weight))))
    nodes, weights = nodes_of(count)
    end = width * math.sqrt(weight / (2.0 - weight))

    def kernel(source: FloatArray, target: FloatArray) -> FloatArray:
        step = (target[None, :] - (1.0 - weight) * source[:, None]) / weight - shift
        return _density(step) / weight

    y, w = end * nodes, end * weights
    lengths = np.linalg.solve(np.eye(count) - kernel(y, y) * w, np.ones(count))
    if limits == "asymptotic":
        return _bounded(float(1.0 + np.sum(kernel(np.zeros(1), y)[0] * w * lengths)))
    total, t = 1.0, 1
    source, mass = np.zeros(1), np.ones(1)  # where the EWMA stands, and with what probability, before point t
    while True:
        opened = math.sqrt(-math.expm1(2.0 * t * math.log1p(-weight)))
        if 1.0 - opened < 1e-6:
            onward = 1.0 + kernel(source, y) @ (w * lengths)
            return _bounded(total - float(mass.sum()) + float(mass @ onward))
        mass = (mass @ kernel(source, opened * y)) * w * opened
        source = opened * y
        total += float(mass.sum())
        t += 1


@dataclass(frozen=True)
class SimulatedRunLength:
    """Mean run length by simulation with its Monte-Carlo standard error and the quartiles of a run."""

    mean: float
    standard_error: float
    quartiles: tuple[float, float, float]
    runs: int
    seed: int


def rule_set_arl(
    rules: tuple[Rule, ...], shift: float = 0.0, runs: int = 20_000, seed: int = 20_240_601
) -> SimulatedRunLength:
    """Mean points to the first signal of any of the rules, on independent normal points shifted from the
    start.

    Champ & Woodall 1987: all four Western Electric rules ring every 91.75 points instead of every 370.4.
    """
    _finite(shift)
    if not rules:
        raise StatisticsRefusal("No rules were given, so the chart would never signal.")
    if runs < 100:
        raise StatisticsRefusal(f"{runs} runs say nothing about a mean run length; use at least 100.")
    generator = np.random.default_rng(seed)
    lengths = np.zeros(runs)
    alive = np.arange(runs)
    tail = np.full((runs, 0), 0.0)
    done, step = 0, 64
    while alive.size:
        z = np.concatenate([tail, generator.standard_normal((alive.size, step)) + shift], axis=1)
        hit: BoolArray = np.zeros(z.shape, dtype=np.bool_)
        for rule in rules:
            hit |= rule.test(z)
        hit = hit[:, tail.shape[1] :]
        over = hit.any(axis=1)
        lengths[alive[over]] = done + 1 + hit[over].argmax(axis=1)
        alive, tail = alive[~over], z[~over, -_WARM_UP:]
        done += step
        step = min(4096, max(64, 2_000_000 // max(1, alive.size)))
        if done > _LONGEST:
            raise StatisticsRefusal(
                "These rules ring less than once in ten million points; simulate a stricter set."
            )
    quartiles = np.quantile(lengths, [0.25, 0.5, 0.75])
    return SimulatedRunLength(
        float(lengths.mean()),
        float(lengths.std(ddof=1) / math.sqrt(runs)),
        (float(quartiles[0]), float(quartiles[1]), float(quartiles[2])),
        runs,
        seed,
    )


@dataclass(frozen=True)
class ChartLoad:
    """One chart's share of the alarms: its in-control run length and how many points it gets in the
    period.
    """

    name: str
    in_control_arl: float
    points: float


@dataclass(frozen=True)
class FalseAlarmBudget:
    """Alarms expected by chance alone over all charts in the period, and the range chance gives them."""

    expected: float
    lower: int
    upper: int
    confidence: float
    any_alarm: float
    per_chart: tuple[tuple[str, float], ...]


def false_alarm_budget(charts: Sequence[ChartLoad], confidence: float = 0.95) -> FalseAlarmBudget:
    """Expected false alarms = sum of points / in-control ARL, with a Poisson range.

    Takes charts as independent for the range; the expectation needs no such assumption. The chart restarts
    after an alarm, so alarms come once every ARL points in the long run.
    """
    probability(confidence, "confidence")
    if not charts:
        raise StatisticsRefusal("A false-alarm budget needs at least one chart.")
    shares = []
    for chart in charts:
        positive(chart.in_control_arl, f"in-control run length of {chart.name}")
        if not (math.isfinite(chart.points) and chart.points >= 0.0):
            raise StatisticsRefusal(f"The number of points of {chart.name} must be finite and not negative.")
        shares.append((chart.name, chart.points / chart.in_control_arl))
    expected = math.fsum(share for _, share in shares)
    tail = (1.0 - confidence) / 2.0
    lower, upper = stats.poisson.ppf([tail, 1.0 - tail], expected) if expected > 0.0 else (0.0, 0.0)
    return FalseAlarmBudget(
        expected, int(lower), int(upper), confidence, -math.expm1(-expected), tuple(shares)
    )


@dataclass(frozen=True)
class WidthForBudget:
    """The in-control run length every chart needs to keep a budget, and the Shewhart and EWMA widths that
    give it.
    """

    in_control_arl: float
    shewhart_k: float
    ewma_width: float
    ewma_weight: float


def width_for_budget(
    allowed: float, points_over_all_charts: float, ewma_weight: float = 0.2
) -> WidthForBudget:
    """Limits that ring `allowed` times by chance over `points_over_all_charts` points, the same for every
    chart.
    """
    positive(allowed, "allowed")
    positive(points_over_all_charts, "points_over_all_charts")
    needed = points_over_all_charts / allowed
    if needed <= 2.0:
        raise StatisticsRefusal(
            "The budget allows an alarm at every second point; no limit is needed for that."
        )
    k = float(stats.norm.isf(0.5 / needed))
    width = float(
        optimize.brentq(lambda w: ewma_arl(0.0, ewma_weight, w) - needed, 0.05, k + 0.5, xtol=1e-10)
    )
    return WidthForBudget(needed, k, width, ewma_weight)
