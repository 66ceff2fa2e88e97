"""Charts with memory: EWMA and tabular CUSUM, which see small shifts long before a Shewhart chart does.

Belongs here: the two statistics, their limits and their failing points. How long each takes to signal is in
arl.py: choose lambda, L, k and h by that, not by habit.

Sources: Roberts 1959; Lucas & Saccucci 1990; Page 1954; NIST/SEMATECH e-Handbook 6.3.2.3 and 6.3.2.4; ISO
7870-4, -6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import signal

from warehouse.statistics.charts import RULE_1, Baseline, Chart, laid_against
from warehouse.statistics.checked import FloatArray, positive
from warehouse.statistics.refusal import StatisticsRefusal, vector

EwmaLimits = Literal["exact", "asymptotic"]


def ewma_chart(
    values: ArrayLike,
    baseline: Baseline,
    weight: float = 0.2,
    width: float = 3.0,
    limits: EwmaLimits = "exact",
    restart: bool = False,
) -> Chart:
    """EWMA z_t = weight x_t + (1-weight) z_(t-1), started at the baseline's centre.

    restart: after a failing point it starts anew, limits included, so that it rings once in its run length.

    Limits: centre +- width sigma sqrt(weight/(2-weight) (1-(1-weight)^(2t))); 'asymptotic' leaves the last
    factor out, as NIST's example does. Only rule 1 applies: neighbouring points share their past.
    """
    y = vector(values, "values")
    if not 0.0 < weight <= 1.0:
        raise StatisticsRefusal(f"The weight of an EWMA lies above 0 and not above 1, got {weight:g}.")
    positive(width, "width")
    if limits not in ("exact", "asymptotic"):
        raise StatisticsRefusal(f"EWMA limits are 'exact' or 'asymptotic', not {limits!r}.")
    away = y - baseline.centre
    if restart:
        return _restarting(away, baseline, weight, width, limits)
    smoothed = signal.lfilter([weight], [1.0, weight - 1.0], away) + baseline.centre
    error = np.full(y.size, baseline.sigma * np.sqrt(weight / (2.0 - weight)))
    if limits == "exact":
        steps = np.arange(1, y.size + 1)
        error = error * np.sqrt(-np.expm1(2.0 * steps * np.log1p(-weight))) if weight < 1.0 else error
    centre = np.full(y.size, baseline.centre)
    lower, upper = centre - width * error, centre + width * error
    return laid_against(
        "EWMA", smoothed, baseline, centre=centre, sigma=error, lower=lower, upper=upper, rules=RULE_1
    )


def _restarting(
    away: FloatArray, baseline: Baseline, weight: float, width: float, limits: EwmaLimits
) -> Chart:
    end = baseline.sigma * math.sqrt(weight / (2.0 - weight))
    fading = math.log1p(-weight) if weight < 1.0 else -math.inf
    smoothed, error = np.empty(away.size), np.empty(away.size)
    z, age = 0.0, 0
    for i, x in enumerate(away.tolist()):
        z = weight * x + (1.0 - weight) * z
        age += 1
        smoothed[i] = z
        error[i] = end if limits == "asymptotic" else end * math.sqrt(-math.expm1(2.0 * age * fading))
        if abs(z) > width * error[i]:
            z, age = 0.0, 0
    centre = np.full(away.size, baseline.centre)
    lower, upper = centre - width * error, centre + width * error
    return laid_against(
        "EWMA",
        smoothed + centre,
        baseline,
        centre=centre,
        sigma=error,
        lower=lower,
        upper=upper,
        rules=RULE_1,
    )


@dataclass(frozen=True, eq=False)
class CusumChart:
    """Two one-sided sums in the unit of the data, shape (points,), and the points beyond the decision limit.

    high and low grow when values run above and below the target. shift_began: for each signal, the 0-based
    point after the sum was last zero, the usual estimate of when the shift began.
    """

    high: FloatArray
    low: FloatArray
    decision: float
    allowance: float
    target: float
    signals: tuple[int, ...]
    shift_began: tuple[int, ...]

    @property
    def first_signal(self) -> int | None:
        """0-based index of the first point beyond the decision limit, None when there is none."""
        return self.signals[0] if self.signals else None


def _one_sided(steps: FloatArray, head_start: float) -> tuple[FloatArray, FloatArray]:
    """Sums clipped at 0 and, for each point, where the current climb began."""
    sums = np.empty(steps.size)
    began = np.empty(steps.size)
    total, start = head_start, 0
    for index, step in enumerate(steps.tolist()):
        total += step
        if total <= 0.0:
            total, start = 0.0, index + 1
        sums[index], began[index] = total, start
    return sums, began


def cusum_chart(
    values: ArrayLike, target: float, allowance: float, decision: float, head_start: float = 0.0
) -> CusumChart:
    """Tabular CUSUM: high_t = max(0, high_(t-1) + x_t - target - allowance), low likewise downwards.

    allowance (k) and decision (h) are in the unit of the data: 0.5 sigma and 4 or 5 sigma are usual.
    head_start is the fast initial response, half the decision limit when used (Lucas & Crosier 1982). Sums
    run on after a signal.
    """
    y = vector(values, "values")
    positive(decision, "decision")
    if not np.isfinite(target) or not (np.isfinite(allowance) and allowance >= 0.0):
        raise StatisticsRefusal("A CUSUM needs a finite target and an allowance of 0 or more.")
    if not 0.0 <= head_start < decision:
        raise StatisticsRefusal("The head start lies from 0 to below the decision limit.")
    high, rise = _one_sided(y - target - allowance, head_start)
    low, fall = _one_sided(target - y - allowance, head_start)
    signals = np.flatnonzero((high > decision) | (low > decision))
    began = tuple(int(rise[i] if high[i] > decision else fall[i]) for i in signals)
    return CusumChart(high, low, decision, allowance, target, tuple(int(i) for i in signals), began)
