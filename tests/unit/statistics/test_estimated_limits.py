"""Widths that allow for a short baseline ring as often as they say, by simulation that knows nothing of them."""

from __future__ import annotations

import numpy as np
import pytest

from warehouse.statistics.charts import Baseline
from warehouse.statistics.charts_memory import ewma_chart
from warehouse.statistics.estimated_limits import (
    ewma_delay,
    ewma_drift_delay,
    ewma_rate,
    ewma_width,
    individuals_delay,
    individuals_drift_delay,
    individuals_rate,
    individuals_width,
)
from warehouse.statistics.refusal import StatisticsRefusal

RATE, N, WEIGHT = 0.02, 20, 0.2
D2 = 1.1283791670955126


def standardised(charts: int, points: int, shift: float = 0.0) -> np.ndarray:
    """New values by the centre and spread of 20 others, one chart a row."""
    rng = np.random.default_rng(11)
    base = rng.standard_normal((charts, N))
    sigma = np.abs(np.diff(base, axis=1)).mean(axis=1) / D2
    new = rng.standard_normal((charts, points)) + shift
    return (new - base.mean(axis=1)[:, None]) / sigma[:, None]


def alarms(z: np.ndarray, width: float) -> np.ndarray:
    """Where EWMAs that restart after an alarm ring."""
    level, age, rung = np.zeros(len(z)), np.zeros(len(z)), np.zeros(z.shape, dtype=bool)
    for i in range(z.shape[1]):
        level, age = WEIGHT * z[:, i] + (1 - WEIGHT) * level, age + 1
        limit = width * np.sqrt(WEIGHT / (2 - WEIGHT) * (1 - (1 - WEIGHT) ** (2 * age)))
        rung[:, i] = np.abs(level) > limit
        level, age = np.where(rung[:, i], 0, level), np.where(rung[:, i], 0, age)
    return rung


def test_a_width_for_a_rate_rings_at_that_rate() -> None:
    z = standardised(4000, 120)
    k, width = individuals_width(RATE, N), ewma_width(RATE, WEIGHT, N)
    assert individuals_rate(k, N) == pytest.approx(RATE, rel=1e-3)
    assert ewma_rate(width, WEIGHT, N) == pytest.approx(RATE, rel=5e-3)
    # Standard errors here are about 2 %.
    assert (np.abs(z) > k).mean() == pytest.approx(RATE, rel=0.08)
    assert alarms(z, width).mean() == pytest.approx(RATE, rel=0.08)
    assert k > 2.33  # what a rate of 0.02 would take if centre and spread were known


def test_delays_are_those_of_a_step_in_the_data() -> None:
    z = standardised(3000, 300, shift=2.0)
    k, width = individuals_width(RATE, N), ewma_width(RATE, WEIGHT, N)
    first = np.argmax(alarms(z, width), axis=1) + 1
    assert first.mean() == pytest.approx(ewma_delay(2.0, width, WEIGHT, N), rel=0.05)
    # One value at a time the mean rests on the few widest limits, so a larger step is looked at.
    single = np.argmax(np.abs(standardised(3000, 300, shift=3.5)) > k, axis=1) + 1
    assert single.mean() == pytest.approx(individuals_delay(3.5, k, N), rel=0.1)


def test_delays_of_a_drift_are_those_of_a_drift_in_the_data() -> None:
    slope, k, width = 0.1, individuals_width(RATE, N), ewma_width(RATE, WEIGHT, N)
    rng = np.random.default_rng(12)
    base = rng.standard_normal((4000, N))
    sigma = np.abs(np.diff(base, axis=1)).mean(axis=1) / D2
    new = rng.standard_normal((4000, 150)) + slope * np.arange(1, 151)
    z = (new - base.mean(axis=1)[:, None]) / sigma[:, None]
    for rung, wanted in (
        (alarms(z, width), ewma_drift_delay(slope, width, WEIGHT, N)),
        (np.abs(z) > k, individuals_drift_delay(slope, k, N)),
    ):
        first = np.argmax(rung, axis=1) + 1.0
        assert wanted == pytest.approx(first.mean(), abs=4.0 * first.std() / 4000**0.5)
    # A drift down is a drift up in the mirror.
    assert ewma_drift_delay(-slope, width, WEIGHT, N) == pytest.approx(
        ewma_drift_delay(slope, width, WEIGHT, N)
    )
    with pytest.raises(StatisticsRefusal, match="slope"):
        individuals_drift_delay(0.0, k, N)


def test_an_ewma_restarts_after_it_rang_and_only_then() -> None:
    z = standardised(1, 300, shift=1.0)[0]
    chart = ewma_chart(z, Baseline(0.0, 1.0, "given", 20), WEIGHT, 2.5, restart=True)
    rung = [s.index for s in chart.signals]
    assert rung == np.flatnonzero(alarms(z[None, :], 2.5)[0]).tolist()
    assert chart.values[rung[0] + 1] == pytest.approx(WEIGHT * z[rung[0] + 1])


def test_too_short_a_baseline_is_refused() -> None:
    with pytest.raises(StatisticsRefusal, match="5 values must remain"):
        individuals_width(0.01, 6, fitted=2)
