"""Charts of counts: p, np, c, u, and Laney's p' and u' where counts vary more than chance allows.

Belongs here: limits of defectives and events with their baselines. Measured values are in charts.py.

Sources: Montgomery; ISO 7870-2; Laney 2002, Quality Engineering 14:531-537 (p' and u').
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from warehouse.statistics.chart_constants import d2
from warehouse.statistics.chart_rules import Rule
from warehouse.statistics.charts import RULE_1, Baseline, Chart, laid_against
from warehouse.statistics.checked import FloatArray, counts_vector, positive, same_length
from warehouse.statistics.refusal import StatisticsRefusal, vector


@dataclass(frozen=True)
class CountBaseline:
    """Rate of a declared stable period: events (or defectives) per unit, and Laney's spread factor.

    sigma_z is 1 for the plain charts; above 1 the counts vary more than binomial (Poisson) chance allows.
    """

    rate: float
    sigma_z: float
    events: int
    units: float
    n: int


def _events_and_units(
    events: ArrayLike, units: ArrayLike, names: tuple[str, str], binomial: bool
) -> tuple[FloatArray, FloatArray]:
    found = counts_vector(events, names[0])
    sizes = counts_vector(units, names[1]) if binomial else vector(units, names[1])
    same_length(**{names[0]: found, names[1]: sizes})
    empty = np.flatnonzero(sizes <= 0)
    if empty.size:
        raise StatisticsRefusal(
            f"{names[1]}: value {empty[0] + 1} is {sizes[empty[0]]:g}; it must be above zero."
        )
    over = np.flatnonzero(found > sizes) if binomial else np.array([], dtype=np.int64)
    if over.size:
        raise StatisticsRefusal(f"Sample {over[0] + 1} has more {names[0]} than {names[1]}.")
    return found, sizes


def _standard_error(rate: float, sizes: FloatArray, binomial: bool) -> FloatArray:
    variance = rate * (1.0 - rate) if binomial else rate
    error: FloatArray = np.sqrt(variance / sizes)
    return error


def _baseline(found: FloatArray, sizes: FloatArray, binomial: bool, laney: bool) -> CountBaseline:
    rate = float(found.sum() / sizes.sum())
    if rate <= 0.0:
        raise StatisticsRefusal(
            "The baseline has no events at all: a rate of 0 gives no limits. Use a longer baseline."
        )
    if binomial and rate >= 1.0:
        raise StatisticsRefusal("Every unit of the baseline is defective: a rate of 1 gives no limits.")
    sigma_z = 1.0
    if laney:
        if found.size < 2:
            raise StatisticsRefusal("Laney's spread factor needs at least 2 baseline samples.")
        shares = found / sizes
        z = (shares - rate) / _standard_error(rate, sizes, binomial)
        sigma_z = float(np.abs(np.diff(z)).mean()) / d2(2) if np.ptp(shares) > 0.0 else 0.0
        if sigma_z <= 0.0:
            raise StatisticsRefusal("Baseline proportions never change: Laney's spread factor would be 0.")
    return CountBaseline(rate, sigma_z, int(found.sum()), float(sizes.sum()), int(found.size))


def proportion_baseline(defectives: ArrayLike, sizes: ArrayLike, laney: bool = False) -> CountBaseline:
    """pbar = all defectives / all units; with laney, sigma_z = mean |z_i - z_(i-1)| / d2(2)."""
    found, n = _events_and_units(defectives, sizes, ("defectives", "sizes"), binomial=True)
    return _baseline(found, n, binomial=True, laney=laney)


def rate_baseline(events: ArrayLike, units: ArrayLike, laney: bool = False) -> CountBaseline:
    """ubar = all events / all units (area of opportunity); with laney, sigma_z as for proportions."""
    found, n = _events_and_units(events, units, ("events", "units"), binomial=False)
    return _baseline(found, n, binomial=False, laney=laney)


def _count_chart(
    statistic: str,
    found: FloatArray,
    sizes: FloatArray,
    base: CountBaseline,
    *,
    multiple: FloatArray,
    binomial: bool,
    k: float,
    rules: tuple[Rule, ...],
) -> Chart:
    """`multiple` turns a rate into the plotted statistic: 1 for p and u, the size for np and c."""
    positive(k, "k")
    error = _standard_error(base.rate, sizes, binomial) * base.sigma_z * multiple
    centre = base.rate * multiple
    upper = centre + k * error
    if binomial:
        upper = np.minimum(upper, multiple)
    lower = np.maximum(0.0, centre - k * error)
    scale = float(np.sqrt(base.rate * ((1.0 - base.rate) if binomial else 1.0))) * base.sigma_z
    shared = Baseline(base.rate, scale, "binomial" if binomial else "Poisson", base.n)
    return laid_against(
        statistic,
        found / sizes * multiple,
        shared,
        centre=centre,
        sigma=error,
        lower=lower,
        upper=upper,
        rules=rules,
    )


def p_chart(
    defectives: ArrayLike,
    sizes: ArrayLike,
    baseline: CountBaseline | None = None,
    k: float = 3.0,
    rules: tuple[Rule, ...] = RULE_1,
) -> Chart:
    """p chart, or Laney's p' when the baseline carries a spread factor: pbar +- k sigma_z
    sqrt(pbar(1-pbar)/n_i).
    """
    found, n = _events_and_units(defectives, sizes, ("defectives", "sizes"), binomial=True)
    base = baseline if baseline is not None else _baseline(found, n, binomial=True, laney=False)
    name = "p" if base.sigma_z == 1.0 else "p'"
    return _count_chart(name, found, n, base, multiple=np.ones_like(n), binomial=True, k=k, rules=rules)


def np_chart(
    defectives: ArrayLike,
    size: int,
    baseline: CountBaseline | None = None,
    k: float = 3.0,
    rules: tuple[Rule, ...] = RULE_1,
) -> Chart:
    """np chart: number of defectives in samples of one constant size."""
    found = counts_vector(defectives, "defectives")
    found, n = _events_and_units(found, np.full(found.size, size), ("defectives", "sizes"), binomial=True)
    base = baseline if baseline is not None else _baseline(found, n, binomial=True, laney=False)
    return _count_chart("np", found, n, base, multiple=n, binomial=True, k=k, rules=rules)


def c_chart(
    events: ArrayLike, baseline: CountBaseline | None = None, k: float = 3.0, rules: tuple[Rule, ...] = RULE_1
) -> Chart:
    """c chart: events per equal area of opportunity, cbar +- k sqrt(cbar)."""
    found = counts_vector(events, "events")
    ones = np.ones_like(found)
    base = baseline if baseline is not None else _baseline(found, ones, binomial=False, laney=False)
    return _count_chart("c", found, ones, base, multiple=ones, binomial=False, k=k, rules=rules)


def u_chart(
    events: ArrayLike,
    units: ArrayLike,
    baseline: CountBaseline | None = None,
    k: float = 3.0,
    rules: tuple[Rule, ...] = RULE_1,
) -> Chart:
    """u chart, or Laney's u' when the baseline carries a spread factor: ubar +- k sigma_z sqrt(ubar/n_i)."""
    found, n = _events_and_units(events, units, ("events", "units"), binomial=False)
    base = baseline if baseline is not None else _baseline(found, n, binomial=False, laney=False)
    name = "u" if base.sigma_z == 1.0 else "u'"
    return _count_chart(name, found, n, base, multiple=np.ones_like(n), binomial=False, k=k, rules=rules)
