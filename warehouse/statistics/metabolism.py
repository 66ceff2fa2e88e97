"""Metabolic rates of a culture: specific growth, glucose uptake, lactate yield.

Belongs here: the three formulas with their units. Does not belong here: unit conversion or choosing readings.

Sources: Doran, Bioprocess Engineering Principles, ch. 11-12. Between two counts growth is taken as
exponential, so the mean number of cells is the logarithmic mean (N2 - N1) / ln(N2/N1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from warehouse.statistics.checked import FloatArray, positive, same_length
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector

GLUCOSE_TO_LACTATE = 2.0  # mol lactate a mol glucose can give by glycolysis alone
_PMOL_PER_MMOL = 1e9
_HOURS_PER_DAY = 24.0


@dataclass(frozen=True)
class GrowthRate:
    """Specific growth rate per hour with its interval (None from two counts, which leave no spread to judge).

    doubling_hours is ln 2 / rate, None where cells did not grow. r_squared of the log-linear fit.
    """

    rate: float
    lower: float | None
    upper: float | None
    doubling_hours: float | None
    r_squared: float
    n: int
    confidence: float


def _times_and_cells(hours: ArrayLike, viable_cells: ArrayLike) -> tuple[FloatArray, FloatArray]:
    t = vector(hours, "hours", at_least=2)
    cells = vector(viable_cells, "viable_cells", at_least=2)
    same_length(hours=t, viable_cells=cells)
    if (np.diff(t) <= 0.0).any():
        raise StatisticsRefusal("Hours must rise from each count to the next.")
    if (cells <= 0.0).any():
        raise StatisticsRefusal(f"viable_cells: value {int(np.argmax(cells <= 0.0)) + 1} is not above zero.")
    return t, cells


def specific_growth_rate(hours: ArrayLike, viable_cells: ArrayLike, confidence: float = 0.95) -> GrowthRate:
    """mu = d ln N / dt in 1/h: slope of ln(viable cells) on time, t interval on n-2 degrees of freedom.

    hours: h since any origin. viable_cells: counts or any unit proportional to them (cells, cells/mL at one
    volume).
    """
    probability(confidence, "confidence")
    t, cells = _times_and_cells(hours, viable_cells)
    logs = np.log(cells)
    centred, n = t - t.mean(), int(t.size)
    sxx = float(centred @ centred)
    rate = float(centred @ logs / sxx)
    residual = logs - logs.mean() - rate * centred
    total = float(np.sum((logs - logs.mean()) ** 2))
    left = float(residual @ residual)
    lower = upper = None
    if n > 2:
        error = math.sqrt(left / (n - 2) / sxx)
        half = float(stats.t.isf((1.0 - confidence) / 2.0, n - 2)) * error
        lower, upper = rate - half, rate + half
    doubling = math.log(2.0) / rate if rate > 0.0 else None
    return GrowthRate(rate, lower, upper, doubling, 1.0 - left / total if total > 0.0 else 1.0, n, confidence)


@dataclass(frozen=True)
class GlucoseUptake:
    """Specific uptake in pmol/(cell d), whole window and interval by interval; consumed in mmol, cell_days
    in cell d.

    Negative values mean glucose rose without a declared addition: look at the readings.
    """

    rate: float
    by_interval: tuple[float, ...]
    consumed: float
    cell_days: float


def _amount_lost(
    name: str, concentration: ArrayLike, volume: FloatArray, added: ArrayLike | None
) -> FloatArray:
    """mmol that left the culture in each interval: what was there, plus what was added, minus what is
    there.
    """
    level = vector(concentration, name)
    same_length(**{name: level, "volume_litre": volume})
    if (level < 0.0).any():
        raise StatisticsRefusal(f"{name}: value {int(np.argmax(level < 0.0)) + 1} is below zero.")
    amount = level * volume
    fed = np.zeros(amount.size - 1) if added is None else vector(added, f"{name} added")
    if fed.size != amount.size - 1:
        raise StatisticsRefusal(f"{name} added: one value per interval is needed, {amount.size - 1} in all.")
    lost: FloatArray = amount[:-1] + fed - amount[1:]
    return lost


def _volumes(volume_litre: ArrayLike, size: int) -> FloatArray:
    array = np.asarray(volume_litre, dtype=np.float64)
    volume = np.full(size, float(array)) if array.ndim == 0 else vector(array, "volume_litre")
    for litres in volume:
        positive(float(litres), "volume_litre")
    return volume


def specific_glucose_uptake(
    hours: ArrayLike,
    viable_cells: ArrayLike,
    glucose_mmol_per_litre: ArrayLike,
    volume_litre: ArrayLike,
    added_mmol: ArrayLike | None = None,
) -> GlucoseUptake:
    """qGlc = glucose consumed / integral of viable cells over time, in pmol/(cell d).

    viable_cells: total in the culture (not per mL). volume_litre: one value or one per reading. added_mmol:
    glucose fed in each interval (one fewer than readings; a negative value is what a sample or harvest took
    away). Cell integral of an interval: (N2-N1)/ln(N2/N1) * hours/24.
    """
    t, cells = _times_and_cells(hours, viable_cells)
    consumed = _amount_lost("glucose", glucose_mmol_per_litre, _volumes(volume_litre, t.size), added_mmol)
    if consumed.size != t.size - 1:
        raise StatisticsRefusal(f"glucose has {consumed.size + 1} readings for {t.size} counts.")
    growth = np.log(cells[1:] / cells[:-1])
    steady = np.abs(growth) < 1e-9
    mean_cells = np.where(steady, cells[:-1], np.diff(cells) / np.where(steady, 1.0, growth))
    cell_days = mean_cells * np.diff(t) / _HOURS_PER_DAY
    rates = consumed * _PMOL_PER_MMOL / cell_days
    total, days = float(consumed.sum()), float(cell_days.sum())
    return GlucoseUptake(total * _PMOL_PER_MMOL / days, tuple(rates.tolist()), total, days)


@dataclass(frozen=True)
class LactateYield:
    """mol lactate made per mol glucose used. above_theoretical: more than 2, so another source or a wrong
    reading.
    """

    ratio: float
    lactate_made: float
    glucose_used: float
    above_theoretical: bool


def lactate_yield(
    glucose_mmol_per_litre: ArrayLike,
    lactate_mmol_per_litre: ArrayLike,
    volume_litre: ArrayLike,
    added_mmol: ArrayLike | None = None,
) -> LactateYield:
    """Y(lac/glc) = lactate made / glucose used over the window, mol/mol; glycolysis alone gives at most 2.

    volume_litre: one value or one per reading. added_mmol: glucose fed in each interval. Refused where no
    glucose was used on balance: the ratio then has no meaning.
    """
    glucose = vector(glucose_mmol_per_litre, "glucose", at_least=2)
    volume = _volumes(volume_litre, glucose.size)
    used = float(_amount_lost("glucose", glucose, volume, added_mmol).sum())
    made = -float(_amount_lost("lactate", lactate_mmol_per_litre, volume, None).sum())
    if used <= 0.0:
        raise StatisticsRefusal(
            f"Glucose rose by {-used:g} mmol on balance, so a yield on glucose has no meaning."
        )
    return LactateYield(made / used, made, used, made / used > GLUCOSE_TO_LACTATE)
