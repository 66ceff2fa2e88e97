"""Control charts: constants, limits and failing points against published values, and what no unit or label
may change.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics import charts, charts_attributes, charts_memory
from warehouse.statistics.chart_constants import c4, d2, d3
from warehouse.statistics.chart_rules import NELSON, WESTERN_ELECTRIC, rule_set, signals_of
from warehouse.statistics.refusal import StatisticsRefusal

# NIST/SEMATECH e-Handbook 6.3.3.1: defects on 25 wafers; cbar 16, limits 4 and 28, wafer 24 out.
WAFERS = [
    16, 14, 28, 16, 12, 20, 10, 12, 10, 17, 19, 17, 14, 16, 15, 13, 14, 16, 11, 20, 11, 19, 16, 31, 13,
]  # fmt: skip

series = st.lists(st.integers(-1000, 1000), min_size=8, max_size=60).filter(
    lambda values: len(set(values)) > 3 and np.abs(np.diff(values)).sum() > 0
)


@pytest.mark.parametrize(
    ("n", "mean", "spread", "bias"),
    [  # ASTM MNL 7, table of control-chart constants
        (2, 1.128, 0.8525, 0.7979),
        (3, 1.693, 0.8884, 0.8862),
        (5, 2.326, 0.8641, 0.9400),
        (10, 3.078, 0.7971, 0.9727),
        (25, 3.931, 0.7084, 0.9896),
    ],
)
def test_constants_are_the_published_ones(n: int, mean: float, spread: float, bias: float) -> None:
    assert d2(n) == pytest.approx(mean, abs=5.1e-4)
    assert d3(n) == pytest.approx(spread, abs=6e-5)
    assert c4(n) == pytest.approx(bias, abs=5.1e-5)


def test_constants_of_two_values_have_closed_forms() -> None:
    assert d2(2) == pytest.approx(2 / np.sqrt(np.pi), rel=1e-12)
    assert d3(2) == pytest.approx(np.sqrt(2 - 4 / np.pi), rel=1e-10)


def test_c_chart_of_the_nist_wafers() -> None:
    chart = charts_attributes.c_chart(WAFERS)
    assert (chart.centre[0], chart.lower[0], chart.upper[0]) == pytest.approx((16.0, 4.0, 28.0))
    assert [signal.index + 1 for signal in chart.signals] == [24]


def test_u_chart_with_one_unit_each_is_the_c_chart() -> None:
    plain, scaled = charts_attributes.c_chart(WAFERS), charts_attributes.u_chart(WAFERS, [1.0] * 25)
    np.testing.assert_allclose(scaled.upper, plain.upper)


def test_np_chart_is_the_p_chart_times_the_size() -> None:
    counts = [12, 15, 8, 10, 4, 7, 16, 9, 14, 10]
    p, np_ = charts_attributes.p_chart(counts, [50] * 10), charts_attributes.np_chart(counts, 50)
    np.testing.assert_allclose(np_.upper, 50 * p.upper)
    assert np_.signals == p.signals


def test_laney_widens_limits_of_overdispersed_proportions_only() -> None:
    generator = np.random.default_rng(7)
    sizes = np.full(400, 2000)
    rates = np.clip(generator.normal(0.1, 0.02, 400), 0.01, 0.5)
    noisy, calm = generator.binomial(sizes, rates), generator.binomial(sizes, 0.1)
    # sqrt(1 + var(rate) / binomial variance) = sqrt(1 + 0.0004 / 0.000045) = 3.14
    assert charts_attributes.proportion_baseline(noisy, sizes, laney=True).sigma_z == pytest.approx(
        3.14, rel=0.1
    )
    assert charts_attributes.proportion_baseline(calm, sizes, laney=True).sigma_z == pytest.approx(
        1.0, rel=0.1
    )
    assert len(charts_attributes.p_chart(noisy, sizes).signals) > 50
    base = charts_attributes.proportion_baseline(noisy, sizes, laney=True)
    assert len(charts_attributes.p_chart(noisy, sizes, base).signals) < 8


def test_a_frozen_baseline_does_not_move_with_new_points() -> None:
    base = charts.individuals_baseline([10.0, 11.0, 9.0, 10.5, 9.5])
    first = charts.individuals_chart([10.0, 30.0], base)
    later = charts.individuals_chart([10.0, 30.0, 31.0, 32.0], base)
    assert first.upper[0] == later.upper[3]
    assert [signal.index for signal in first.signals] == [1]


def test_median_moving_range_is_not_widened_by_one_outlier() -> None:
    values = [10.0, 11.0] * 20
    spoiled = [*values, 1000.0, *values]
    plain = charts.individuals_baseline(spoiled, "moving range").sigma
    robust = charts.individuals_baseline(spoiled, "median moving range").sigma
    assert robust == charts.individuals_baseline(values, "median moving range").sigma
    assert plain > 10 * robust


@pytest.mark.parametrize(
    ("rule", "values", "last"),
    [
        (1, [0, 3.1], 1),
        (2, [0.1] * 9, 8),
        (3, [0, 0.1, 0.2, 0.3, 0.4, 0.5], 5),
        (3, [0.5, 0.4, 0.3, 0.2, 0.1, 0], 5),
        (4, [0.1, 0.2] * 7, 13),
        (5, [2.1, 0, 2.1], 2),
        (6, [1.1, 1.1, 0, 1.1, 1.1], 4),
        (7, [0.5, -0.5, 0.5] * 5, 14),
        (8, [1.5, -1.5] * 4, 7),
    ],
)
def test_each_nelson_rule_fires_where_its_pattern_is_complete(
    rule: int, values: list[float], last: int
) -> None:
    z = np.array(values, dtype=float)
    assert [s.index for s in signals_of(z, rule_set("nelson", (rule,)))] == [last]
    assert signals_of(z[:-1], rule_set("nelson", (rule,))) == ()


@pytest.mark.parametrize(
    ("rule", "values"),
    [(2, [0.1] * 8 + [0.0]), (5, [2.1, 0, -2.1]), (6, [1.1, 1.1, 0, -1.1, 1.1]), (1, [3.0])],
)
def test_a_rule_stays_silent_beside_its_pattern(rule: int, values: list[float]) -> None:
    assert signals_of(np.array(values, dtype=float), rule_set("nelson", (rule,))) == ()


def test_a_point_lists_every_rule_it_fails() -> None:
    (signal,) = signals_of(np.array([0.0, 2.5, 3.5]), rule_set("western electric"))
    assert (signal.index, signal.rules) == (2, (1, 2))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40))
def test_rules_see_a_mirror_image_alike_and_never_the_future(values: list[float]) -> None:
    z = np.array(values)
    for family in (NELSON, WESTERN_ELECTRIC):
        assert signals_of(z, family) == signals_of(-z, family)
        seen_before = tuple(s for s in signals_of(z, family) if s.index < z.size - 1)
        assert signals_of(z[:-1], family) == seen_before


@settings(max_examples=40, deadline=None)
@given(series, st.sampled_from([0.001, 0.25, 4.0, 1024.0]), st.integers(-5000, 5000))
def test_unit_and_origin_change_no_signal(values: list[int], scale: float, shift: int) -> None:
    plain = charts.individuals_chart(values, rules=rule_set("nelson", (1, 3, 4)))
    moved = charts.individuals_chart(scale * np.array(values) + shift, rules=rule_set("nelson", (1, 3, 4)))
    np.testing.assert_allclose(moved.upper, scale * plain.upper + shift, rtol=1e-9, atol=1e-6)
    near = np.min(np.abs(np.abs(plain.z) - 3.0)) < 1e-9
    assert near or moved.signals == plain.signals


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=12, max_size=12).filter(lambda v: len(set(v)) > 6))
def test_labels_of_subgroups_are_only_labels(values: list[int]) -> None:
    first = charts.subgroups_of(values, ["b", "b", "a", "a", "z", "z"] * 2)
    second = charts.subgroups_of(values, [1, 1, 2, 2, 3, 3] * 2)
    np.testing.assert_array_equal(first.means, second.means)
    np.testing.assert_allclose(first.sds, second.sds)


def test_phases_restart_limits_and_a_short_one_says_why_it_has_none() -> None:
    generator = np.random.default_rng(3)
    values = np.concatenate([generator.normal(0, 1, 20), generator.normal(10, 1, 20), [10, 11]])
    labels = ["v1"] * 20 + ["v2"] * 20 + ["v3"] * 2
    first, second, third = charts.individuals_by_phase(values, labels)
    assert first.chart is not None
    assert second.chart is not None
    assert second.chart.centre[0] - first.chart.centre[0] == pytest.approx(10, abs=1)
    assert third.chart is None
    assert third.refusal == "Phase 'v3' has 2 baseline values; limits need 8."


def test_cusum_names_the_point_the_shift_began() -> None:
    chart = charts_memory.cusum_chart([0.0, 0.1, -0.2, 2.0, 2.0, 2.0, 2.0], 0.0, 0.5, 4.0)
    assert chart.first_signal == 5
    assert chart.shift_began[0] == 3


def test_head_start_signals_sooner() -> None:
    drift = [1.0] * 20
    plain = charts_memory.cusum_chart(drift, 0.0, 0.5, 5.0)
    fast = charts_memory.cusum_chart(drift, 0.0, 0.5, 5.0, head_start=2.5)
    assert (plain.first_signal, fast.first_signal) == (10, 5)


def test_ewma_limits_open_towards_their_asymptote() -> None:
    base = charts.Baseline(0.0, 1.0, "given", 50)
    exact = charts_memory.ewma_chart(np.zeros(300), base, 0.1, 2.7)
    final = charts_memory.ewma_chart(np.zeros(300), base, 0.1, 2.7, "asymptotic")
    assert exact.upper[0] == pytest.approx(2.7 * 0.1)
    assert exact.upper[-1] == pytest.approx(final.upper[0], rel=1e-12)
    assert np.all(np.diff(exact.upper) >= 0)


def test_ewma_of_weight_one_is_the_individuals_chart() -> None:
    base = charts.individuals_baseline(WAFERS)
    np.testing.assert_allclose(charts_memory.ewma_chart(WAFERS, base, 1.0).values, WAFERS)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: charts.individuals_baseline([5.0, 5.0, 5.0]),
        lambda: charts.individuals_baseline([5.0]),
        lambda: charts.individuals_chart([1.0, float("nan"), 2.0]),
        lambda: charts.subgroups_of([1.0, 2.0, 3.0], ["a", "a", "b"]),
        lambda: charts_attributes.p_chart([0, 0, 0], [10, 10, 10]),
        lambda: charts_attributes.p_chart([11], [10]),
        lambda: charts_attributes.c_chart([1.5, 2.0]),
        lambda: charts_attributes.u_chart([1, 2], [0.0, 1.0]),
        lambda: charts_memory.cusum_chart([1.0], 0.0, 0.5, 0.0),
        lambda: rule_set("nelson", (9,)),
    ],
)
def test_degenerate_inputs_are_refused_in_words(attempt: object) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        attempt()  # type: ignore[operator]


def test_charts_of_a_fleet_are_quick() -> None:
    """160 charts of 1,250 points with all eight rules: well under the ten seconds a night allows."""
    values = np.random.default_rng(0).normal(size=(160, 1250))
    signals = [charts.individuals_chart(row, rules=NELSON).signals for row in values]
    assert len(signals) == 160
