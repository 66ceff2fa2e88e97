"""Watching comparability as lots arrive, with the chance of a false "comparable" held over all looks.

Belongs here: group-sequential alpha spending for two one-sided tests, and the repeated confidence intervals
it gives. Does not belong here: how an estimate is made, control charts.

A 90 % interval looked at every night lies inside the margin by luck sooner or later. Here a plan fixes,
before the data, how many lots the watch runs to and a spending function; each look spends what the new lots
allow, and the interval at a look is wider accordingly. Over all looks together each one-sided test keeps
`alpha`. A night without new lots spends nothing. When the planned lots are used up, a new plan is needed.

The normal boundary's nominal levels taken as those of t tests (`nominal_levels`) let a watch that looks at every
lot from the second on, and ends at 3 to 12 of a site's, pass 7.5 % in place of 5 %. So looks with fewer than 30 lots
on a side take the levels that drawn Welch tests of the same numbers of lots need (`watch_levels`; normal lots, equal
spreads, 10,000 draws from a fixed seed, so the spending is exact to some 0.2 % points). Where the site varies 1.5
times as much as the reference, 40 lots against 80 pass 5.7 %: information is then not quite what the plan counts.

Sources: Lan & DeMets (1983); Jennison & Turnbull (2000), ch. 3.8 (t quantiles at the normal boundary's
nominal levels, and where they fall short), ch. 7 (spending), ch. 9 (repeated confidence intervals) and ch. 19
(recursive integration).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from warehouse.statistics.means import Estimate, difference_on_scale, estimate_from_t
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.quadrature import nodes_of
from warehouse.statistics.refusal import StatisticsRefusal, one_sided
from warehouse.statistics.scales import Margin

Spending = Literal["obrien-fleming", "pocock"]


@dataclass(frozen=True, slots=True)
class SequentialPlan:
    """`lots_reference` and `lots_test`: how far the watch runs; `alpha` one-sided, over all looks."""

    lots_reference: int
    lots_test: int
    alpha: float = 0.05
    spending: Spending = "obrien-fleming"

    @property
    def information(self) -> float:
        """Information at the end, up to 1 / variance of a lot."""
        return effective_lots(self.lots_reference, self.lots_test)

    @property
    def guarantee(self) -> str:
        """What the verdict says of its looks."""
        return (
            f"Watched at every new lot up to {self.lots_reference} reference and {self.lots_test} site lots; "
            "the chance of ever calling a true difference at the margin comparable is at most "
            f"{100 * self.alpha:g} % over all looks together (Lan-DeMets, {self.spending} spending)."
        )


@dataclass(frozen=True, slots=True)
class Look:
    """One look. `nominal` is the one-sided level spent at it (None: nothing new, or nothing left)."""

    fraction: float
    spent: float
    nominal: float | None
    interval: Estimate | None
    verdict: Literal["comparable", "not comparable", "inconclusive"]


def effective_lots(lots_reference: int, lots_test: int) -> float:
    """n1 n2 / (n1 + n2): the information of a difference of two means, in lots."""
    if lots_reference < 1 or lots_test < 1:
        return 0.0
    return lots_reference * lots_test / (lots_reference + lots_test)


def spent(fraction: float, alpha: float, spending: Spending) -> float:
    """One-sided error spent by `fraction` of the planned information; all of `alpha` from 1 on."""
    t = min(fraction, 1.0)
    if t <= 0.0:
        return 0.0
    if spending == "pocock":
        return alpha * float(np.log1p((np.e - 1.0) * t))
    return 2.0 * float(special.ndtr(stats.norm.ppf(alpha / 2.0) / sqrt(t)))


def nominal_levels(
    fractions: Sequence[float], alpha: float = 0.05, spending: Spending = "obrien-fleming"
) -> tuple[float | None, ...]:
    """One-sided level of each look so that the first crossing of any has chance spent(fraction) by then.

    `fractions` must not fall. A look with no new information, or after the plan's end, gets None.
    """
    one_sided(alpha)
    if any(b < a for a, b in zip([0.0, *fractions], fractions, strict=False)):
        raise StatisticsRefusal("Information can only grow from look to look.")
    out: list[float | None] = []
    before, used = 0.0, 0.0
    points, mass = np.zeros(1), np.ones(1)
    for fraction in fractions:
        now = min(fraction, 1.0)
        share = spent(now, alpha, spending) - used
        # Below this a look decides nothing and its spending is kept for the next.
        if now - before < 1e-9 or share < 1e-12:
            out.append(None)
            continue
        step = sqrt(now - before)
        bound = _bound(points, mass, step, share)
        out.append(float(special.ndtr(-bound / sqrt(now))))
        points, mass = _carry(points, mass, step, now=now, bound=bound)
        before, used = now, used + share
    return tuple(out)


def _bound(points: Floats, mass: Floats, step: float, share: float) -> float:
    """Where the score must lie so that crossing now, not having crossed before, has chance `share`."""

    def excess(bound: float) -> float:
        return float(mass @ special.ndtr((points - bound) / step)) - share

    return float(optimize.brentq(excess, -40.0, 40.0, xtol=1e-12))


def _carry(points: Floats, mass: Floats, step: float, *, now: float, bound: float) -> tuple[Floats, Floats]:
    """Distribution of the score (Brownian motion at `now`) over the paths that have not crossed."""
    low, high = -8.0 * sqrt(now), min(bound, 8.0 * sqrt(now))
    # The kernel is `step` wide: enough nodes to see it.
    wanted = ceil(3.0 * (high - low) / step)
    x, w = nodes_of(next(count for count in (128, 256, 512, 1024) if count >= wanted or count == 1024))
    nodes = low + (x + 1.0) / 2.0 * (high - low)
    kernel = np.exp(-0.5 * ((nodes[:, None] - points[None, :]) / step) ** 2) / (step * sqrt(2.0 * np.pi))
    return nodes, w * (high - low) / 2.0 * (kernel @ mass)


# Looks with fewer lots on a side are drawn; one that would spend fewer of the draws than this waits for the next.
_SMALL, _DRAWS, _FEWEST, _SEED = 30, 10_000, 10, 20240101


@lru_cache(maxsize=256)
def watch_levels(sizes: tuple[tuple[int, int], ...], plan: SequentialPlan) -> tuple[float | None, ...]:
    """One-sided level of each look at (reference, test) lots, as `nominal_levels`; those of few lots drawn.

    A look with fewer than 2 lots on a side, or that would spend less than a thousandth, gets None and what it
    would have spent goes to the next.
    """
    if plan.information <= 0.0:
        raise StatisticsRefusal("The plan must run to at least one lot on each side.")
    seen = np.maximum.accumulate(np.array(sizes, dtype=np.int64).reshape(-1, 2), axis=0)
    amounts = np.array([effective_lots(int(a), int(b)) for a, b in seen])
    fractions = (np.maximum.accumulate(amounts) / plan.information).tolist()
    levels = list(nominal_levels(fractions, plan.alpha, plan.spending))
    rng = np.random.default_rng(_SEED)
    total, squares, lots = np.zeros((2, _DRAWS)), np.zeros((2, _DRAWS)), np.zeros(2, dtype=np.int64)
    open_, crossed = np.ones(_DRAWS, dtype=np.bool_), 0
    for i, (now, fraction) in enumerate(zip(seen, fractions, strict=True)):
        if now.min() >= _SMALL:
            break
        wanted = round(spent(fraction, plan.alpha, plan.spending) * _DRAWS) - crossed
        bound = levels[i]
        if bound is None or now.min() < 2 or wanted < _FEWEST:
            levels[i] = None
            continue
        for side, new in enumerate(now - lots):
            if new:  # n lots add their sum, and the sum of squares about their own mean
                step = rng.standard_normal(_DRAWS) * sqrt(new)
                total[side] += step
                squares[side] += step**2 / new
                squares[side] += 2.0 * rng.standard_gamma((new - 1) / 2.0, _DRAWS) if new > 1 else 0.0
        lots = now
        p = _welch_p(total, squares, lots)
        # Never above the normal boundary's: with unequal spreads Welch's test may be less careful than here.
        levels[i] = level = min(float(np.partition(p[open_], wanted - 1)[wanted - 1]), bound)
        crossed += int((p[open_] <= level).sum())
        open_ &= p > level
    return tuple(levels)


def _welch_p(total: Floats, squares: Floats, lots: NDArray[np.int64]) -> Floats:
    """One-sided p of Welch's test of each draw, from sums and sums of squares of (reference, test) lots."""
    n = lots[:, None].astype(np.float64)
    of_mean = (squares - total**2 / n) / (n - 1.0) / n
    variance = of_mean.sum(axis=0)
    df = variance**2 / (of_mean**2 / (n - 1.0)).sum(axis=0)
    difference = total[1] / n[1] - total[0] / n[0]
    p: Floats = special.stdtr(df, difference / np.sqrt(variance))
    return p


def watch(estimates: Sequence[Estimate | None], plan: SequentialPlan, margin: Margin) -> tuple[Look, ...]:
    """The looks in order of time; `estimates` carry their numbers of lots, None where there was none yet.

    The first verdict that is not "inconclusive" stands at all later looks: what later lots show belongs to
    a new plan. Raises StatisticsRefusal for an estimate without a standard error or a plan without lots.
    """
    levels = watch_levels(tuple((0, 0) if e is None else (e.n_reference, e.n_test) for e in estimates), plan)
    amounts = [0.0 if e is None else effective_lots(e.n_reference, e.n_test) for e in estimates]
    fractions = [amount / plan.information for amount in np.maximum.accumulate(amounts)] if amounts else []
    looks: list[Look] = []
    verdict: Literal["comparable", "not comparable", "inconclusive"] = "inconclusive"
    for estimate, fraction, level in zip(estimates, fractions, levels, strict=True):
        interval = None
        if level is not None and estimate is not None:
            interval = repeated_interval(estimate, level)
            if verdict == "inconclusive":
                verdict = _place(interval, margin)
        looks.append(Look(fraction, spent(fraction, plan.alpha, plan.spending), level, interval, verdict))
    return tuple(looks)


def repeated_interval(estimate: Estimate, nominal: float) -> Estimate:
    """The estimate with its interval at the one-sided level of this look."""
    if estimate.se is None or estimate.df is None:
        raise StatisticsRefusal(f"{estimate.method} has no standard error, so no repeated interval.")
    return estimate_from_t(
        estimate.method,
        difference_on_scale(estimate),
        estimate.se,
        estimate.df,
        scale=estimate.scale,
        alpha=nominal,
        n_reference=estimate.n_reference,
        n_test=estimate.n_test,
        df_method=estimate.df_method or "",
        sd_reference=estimate.sd_reference,
        sd_test=estimate.sd_test,
        sd_difference=estimate.sd_difference,
    )


def _place(estimate: Estimate, margin: Margin) -> Literal["comparable", "not comparable", "inconclusive"]:
    if margin.low < estimate.ci_low and estimate.ci_high < margin.high:
        return "comparable"
    if estimate.ci_low > margin.high or estimate.ci_high < margin.low:
        return "not comparable"
    return "inconclusive"
