"""Run lengths against the published tables, and the false-alarm budget against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from warehouse.statistics import arl, charts
from warehouse.statistics.chart_rules import WESTERN_ELECTRIC, rule_set
from warehouse.statistics.refusal import StatisticsRefusal


@pytest.mark.parametrize(
    ("weight", "width", "shift", "published"),
    [  # Lucas & Saccucci 1990, table 3
        (0.10, 2.814, 0.0, 500.0),
        (0.10, 2.814, 1.0, 10.3),
        (0.20, 2.962, 0.0, 500.0),
        (0.20, 2.962, 1.0, 10.5),
        (0.05, 2.615, 0.0, 500.0),
        (0.05, 2.615, 1.0, 11.4),
        (0.40, 3.054, 0.0, 500.0),
    ],
)
def test_ewma_lengths_are_the_published_ones(
    weight: float, width: float, shift: float, published: float
) -> None:
    assert arl.ewma_arl(shift, weight, width) == pytest.approx(published, rel=6e-3)


def test_fast_initial_response_of_the_cusum() -> None:
    """Lucas & Crosier 1982, table 1: h = 5 and half of it as head start."""
    assert arl.cusum_arl(0.0, 0.5, 5.0, head_start=2.5) == pytest.approx(430, rel=2e-3)
    assert arl.cusum_arl(1.0, 0.5, 5.0, head_start=2.5) == pytest.approx(6.35, rel=2e-3)


def test_ewma_of_weight_one_is_a_shewhart_chart() -> None:
    assert arl.ewma_arl(0.7, 1.0, 3.0) == arl.shewhart_arl(0.7)


def test_opening_limits_of_the_ewma_agree_with_simulation() -> None:
    generator = np.random.default_rng(5)
    runs, weight, width = 20_000, 0.1, 2.814
    z, lengths, alive, t = np.zeros(runs), np.zeros(runs), np.ones(runs, dtype=bool), 0
    while alive.any():
        t += 1
        z = weight * (generator.standard_normal(runs) + 1.0) + (1 - weight) * z
        limit = width * np.sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * t)))
        ended = alive & (np.abs(z) > limit)
        lengths[ended], alive = t, alive & ~ended
    error = lengths.std() / np.sqrt(runs)
    assert arl.ewma_arl(1.0, weight, width, "exact") == pytest.approx(lengths.mean(), abs=4 * error)


@pytest.mark.parametrize(
    ("numbers", "published"),
    [((1,), 370.40), ((1, 2), 225.44), ((1, 3), 166.05), ((1, 4), 152.73), ((1, 2, 3, 4), 91.75)],
)
def test_western_electric_sets_ring_as_often_as_champ_and_woodall_computed(
    numbers: tuple[int, ...], published: float
) -> None:
    found = arl.rule_set_arl(rule_set("western electric", numbers), runs=20_000)
    assert abs(found.mean - published) < 4 * found.standard_error


def test_a_simulated_length_repeats_with_its_seed() -> None:
    assert arl.rule_set_arl(WESTERN_ELECTRIC, runs=500) == arl.rule_set_arl(WESTERN_ELECTRIC, runs=500)


def test_budget_over_a_quiet_fleet_is_what_rings() -> None:
    """Known limits: alarms over 40 charts x 1,000 points lie inside the range the budget states."""
    rules = rule_set("western electric")
    length = arl.rule_set_arl(rules).mean
    budget = arl.false_alarm_budget(
        [arl.ChartLoad(str(i), length, 1000) for i in range(40)], confidence=0.999
    )
    base, alarms = charts.Baseline(0.0, 1.0, "given", 100), 0
    values = np.random.default_rng(11).standard_normal((40, 1000))
    for row in values:
        start = 0
        while True:  # a chart starts anew after each alarm
            signals = charts.individuals_chart(row[start:], base, rules=rules).signals if start < 1000 else ()
            if not signals:
                break
            alarms, start = alarms + 1, start + signals[0].index + 1
    assert budget.lower <= alarms <= budget.upper
    assert budget.expected == pytest.approx(40_000 / length)


def test_width_for_a_budget_gives_that_budget_back() -> None:
    width = arl.width_for_budget(allowed=12, points_over_all_charts=80_000)
    assert arl.shewhart_arl(0.0, width.shewhart_k) == pytest.approx(80_000 / 12, rel=1e-9)
    assert arl.ewma_arl(0.0, width.ewma_weight, width.ewma_width) == pytest.approx(80_000 / 12, rel=1e-6)


@pytest.mark.parametrize("shift", [0.25, 0.5, 1.0, 2.0])
def test_direction_of_the_shift_does_not_matter_and_a_larger_one_is_seen_sooner(shift: float) -> None:
    for length in (arl.shewhart_arl, arl.cusum_arl, arl.ewma_arl):
        assert length(shift) == pytest.approx(length(-shift), rel=1e-9)
        assert length(shift) < length(shift / 2)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: arl.cusum_arl(0.0, 0.5, -1.0),
        lambda: arl.cusum_arl(float("nan")),
        lambda: arl.ewma_arl(0.0, 0.0),
        lambda: arl.cusum_arl(0.0, 3.0, 30.0),
        lambda: arl.rule_set_arl(()),
        lambda: arl.false_alarm_budget([]),
        lambda: arl.width_for_budget(10, 10),
    ],
)
def test_designs_without_a_length_are_refused_in_words(attempt: object) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        attempt()  # type: ignore[operator]
