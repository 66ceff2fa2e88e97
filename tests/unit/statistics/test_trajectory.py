"""Envelopes, deviations, excursions and metabolic rates on curves whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics import metabolism, trajectory
from warehouse.statistics.refusal import StatisticsRefusal

CLOCK = np.arange(0.0, 48.0, 2.0)
GENERATOR = np.random.default_rng(1)
GOOD = np.exp(0.03 * CLOCK) + GENERATOR.normal(0, 0.1, (60, CLOCK.size))
ENVELOPE = trajectory.golden_envelope(CLOCK, GOOD)


def test_a_good_run_ranks_among_the_good_and_a_stalled_one_above_all() -> None:
    fresh = np.exp(0.03 * CLOCK) + np.random.default_rng(2).normal(0, 0.1, CLOCK.size)
    stalled = np.where(CLOCK < 20, fresh, fresh[10])
    good, bad = trajectory.deviation(ENVELOPE, fresh), trajectory.deviation(ENVELOPE, stalled)
    assert good.score < ENVELOPE.score_limit(0.95) * 1.3
    assert good.share_outside < 0.35
    assert bad.rank == 1.0
    assert bad.score > 3 * ENVELOPE.score_limit(0.95)
    assert bad.outside[-1]
    assert not bad.outside[CLOCK < 10].all()


def test_score_of_a_good_batch_is_against_the_others() -> None:
    without = trajectory.golden_envelope(CLOCK, GOOD[1:])
    assert trajectory.deviation(without, GOOD[0]).score == pytest.approx(ENVELOPE.good_scores[0], rel=1e-9)


def test_gaps_are_left_out_and_never_deviate() -> None:
    run = GOOD[0].copy()
    run[5:15] = np.nan
    found = trajectory.deviation(ENVELOPE, run)
    assert found.compared == CLOCK.size - 10
    assert not found.outside[5:15].any()
    assert np.isnan(found.z[5:15]).all()


def test_times_with_too_few_good_readings_have_no_envelope() -> None:
    sparse = GOOD.copy()
    sparse[4:, 3] = np.nan
    envelope = trajectory.golden_envelope(CLOCK, sparse)
    assert not envelope.known[3]
    assert np.isnan(envelope.upper[3])
    assert np.isfinite(trajectory.deviation(envelope, GOOD[0]).score)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([0.001, 60.0, 1e6]), st.integers(-100, 100))
def test_unit_and_origin_change_no_score(scale: float, shift: int) -> None:
    moved = trajectory.golden_envelope(CLOCK, GOOD * scale + shift * scale)
    run = GOOD[3] + 0.5
    plain, other = trajectory.deviation(ENVELOPE, run), trajectory.deviation(moved, (run + shift) * scale)
    assert other.score == pytest.approx(plain.score, rel=1e-7)
    assert other.rank == plain.rank


def test_excursions_have_duration_depth_and_side() -> None:
    values = [36.9, 37.1, 38.0, 38.5, 38.1, 37.0, 35.0, 37.0]
    up, down = trajectory.excursions(range(8), values, 36.0, 37.5, largest_gap=1.5)
    assert (up.start, up.stop, up.readings, up.side) == (2.0, 4.0, 3, "above")
    assert (up.duration, up.depth, up.area) == pytest.approx((2.0, 1.0, 1.55))
    assert (down.start, down.duration, down.depth, down.side) == (6.0, 0.0, 1.0, "below")


def test_a_gap_ends_an_excursion() -> None:
    values = [38.0, 38.0, np.nan, 38.0, 38.0]
    assert len(trajectory.excursions(range(5), values, None, 37.5, largest_gap=5)) == 2
    assert len(trajectory.excursions([0, 1, 10, 11], [38.0] * 4, None, 37.5, largest_gap=5)) == 2


def test_growth_rate_of_an_exponential_is_its_exponent() -> None:
    hours = np.array([0.0, 24.0, 48.0, 72.0])
    found = metabolism.specific_growth_rate(hours, 1e6 * np.exp(0.029 * hours))
    assert found.rate == pytest.approx(0.029)
    assert found.doubling_hours == pytest.approx(np.log(2) / 0.029)
    assert (found.lower, found.upper) == pytest.approx((0.029, 0.029))
    assert metabolism.specific_growth_rate([0, 24], [2e6, 1e6]).doubling_hours is None


def test_glucose_uptake_of_growing_cells_is_recovered() -> None:
    """5 pmol/(cell d) by cells growing at 0.03/h in 0.2 L, glucose by the exact integral; 1 mmol fed on day
    2.
    """
    hours, rate, litres = np.array([0.0, 24.0, 48.0, 72.0]), 0.03, 0.2
    cells = 1e8 * np.exp(rate * hours)
    used = 5e-9 * (cells - cells[0]) / rate / 24.0
    fed = np.array([0.0, 0.0, 1.0, 1.0])
    glucose = (6.0 - used + fed) / litres
    found = metabolism.specific_glucose_uptake(hours, cells, glucose, litres, added_mmol=[0.0, 1.0, 0.0])
    assert found.rate == pytest.approx(5.0)
    assert found.by_interval == pytest.approx((5.0, 5.0, 5.0))


def test_lactate_yield_of_pure_glycolysis_is_two() -> None:
    found = metabolism.lactate_yield([20.0, 15.0, 10.0], [0.0, 10.0, 20.0], 0.5)
    assert (found.ratio, found.glucose_used) == pytest.approx((2.0, 5.0))
    assert not found.above_theoretical
    assert metabolism.lactate_yield([20.0, 15.0], [0.0, 11.0], 0.5).above_theoretical


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: trajectory.golden_envelope(CLOCK, GOOD[:4]),
        lambda: trajectory.golden_envelope(CLOCK[::-1], GOOD),
        lambda: trajectory.deviation(ENVELOPE, np.full(CLOCK.size, np.nan)),
        lambda: trajectory.golden_envelope(CLOCK, GOOD[:10]).score_limit(0.95),
        lambda: trajectory.excursions([0, 1], [1.0, 2.0], None, None, 1.0),
        lambda: metabolism.specific_growth_rate([0, 24], [1e6, 0.0]),
        lambda: metabolism.specific_growth_rate([24, 24], [1e6, 2e6]),
        lambda: metabolism.lactate_yield([10.0, 12.0], [0.0, 1.0], 0.5),
        lambda: metabolism.specific_glucose_uptake([0, 24], [1e6, 2e6], [10.0, -1.0], 0.5),
        lambda: metabolism.specific_glucose_uptake([0, 24], [1e6, 2e6], [10.0, 9.0, 8.0], 0.5),
    ],
)
def test_degenerate_inputs_are_refused_in_words(attempt: object) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        attempt()  # type: ignore[operator]
