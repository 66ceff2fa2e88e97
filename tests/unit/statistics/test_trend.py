"""Trend, change points and time warping: brute-force twins, planted changes, and what no unit may change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics import dtw, segmentation, trend
from warehouse.statistics.refusal import StatisticsRefusal

varied = st.lists(st.integers(-50, 50), min_size=12, max_size=40).filter(lambda v: len(set(v)) > 4)


@settings(max_examples=40, deadline=None)
@given(varied)
def test_mann_kendall_is_kendalls_tau_with_time(values: list[int]) -> None:
    found = trend.mann_kendall(values)
    assert found.tau == pytest.approx(stats.kendalltau(np.arange(len(values)), values).statistic, abs=1e-12)
    back = trend.mann_kendall(values[::-1])
    assert back.s == -found.s
    assert back.p == pytest.approx(found.p)


@settings(max_examples=40, deadline=None)
@given(varied, st.sampled_from([0.01, 3.0, 1000.0]), st.integers(-500, 500))
def test_unit_and_origin_move_the_slope_and_nothing_else(values: list[int], scale: float, shift: int) -> None:
    moved = scale * np.array(values) + shift
    plain, other = trend.sen_slope(values), trend.sen_slope(moved)
    assert other.slope == pytest.approx(scale * plain.slope, rel=1e-9, abs=1e-9)
    assert other.lower <= other.slope <= other.upper
    assert trend.pettitt(values) == trend.pettitt(moved)
    assert trend.snht(moved, draws=100).index == trend.snht(values, draws=100).index


def test_sen_slope_uses_the_times_it_is_given() -> None:
    times = np.array([0.0, 1.0, 5.0, 6.0, 20.0, 21.0, 30.0])
    assert trend.sen_slope(3 * times + 1, times).slope == pytest.approx(3.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 60), st.integers(0, 1000))
def test_break_has_the_least_squares_of_every_allowed_place(n: int, seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=n)
    y[n // 2 :] += 4
    found = trend.structural_break(y)
    shortest = max(2, math.floor(0.15 * n))
    errors = {k: y[:k].var() * k + y[k:].var() * (n - k) for k in range(shortest, n - shortest + 1)}
    assert found.index == min(errors, key=lambda k: errors[k])
    assert found.lower <= found.index <= found.upper


@pytest.mark.simulation
def test_interval_of_the_break_covers_the_planted_one() -> None:
    generator, hits = np.random.default_rng(12), 0
    for _ in range(300):
        y = generator.normal(size=80)
        y[45:] += 1.2
        found = trend.structural_break(y)
        hits += found.lower <= 45 <= found.upper
    # Bai's interval is asymptotic and rounded outwards to whole positions: it may cover more, not less.
    assert hits / 300 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)


def test_quantiles_behind_the_interval_are_the_published_ones() -> None:
    """argmax of W(v) - |v|/2 (equal variances): 97.5 % point 11.03 (Bai 1997; 95 %: 7.69)."""
    assert trend.argmax_quantile(0.975) == pytest.approx(11.03, abs=0.01)
    assert trend.argmax_quantile(0.95) == pytest.approx(7.69, abs=0.01)
    assert trend.argmax_quantile(0.025) == pytest.approx(-11.03, abs=0.01)


def _cheapest(y: np.ndarray, penalty: float) -> float:
    """Exact optimal partitioning without pruning."""
    n = y.size

    def price(a: int, b: int) -> float:
        variance = max(float(y[a:b].var()), 1e-11 * float(y.var()))
        return (b - a) * (math.log(2 * math.pi * variance / float(y.var())) + 1) + math.log(b - a)

    best = [-penalty, *[math.inf] * n]
    for end in range(2, n + 1):
        best[end] = min(best[a] + price(a, end) + penalty for a in range(end - 1) if best[a] < math.inf)
    return best[n]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_segments_are_the_cheapest(seed: int) -> None:
    generator = np.random.default_rng(seed)
    y = np.concatenate(
        [generator.normal(generator.normal() * 3, generator.uniform(0.5, 2), 12) for _ in range(4)]
    )
    found = segmentation.segments(y)
    cost = -found.penalty
    for a, b in zip((0, *found.changes), (*found.changes, y.size), strict=True):
        ratio = max(float(y[a:b].var() / y.var()), 1e-11)
        cost += (b - a) * (math.log(2 * math.pi * ratio) + 1) + math.log(b - a) + found.penalty
    assert cost == pytest.approx(_cheapest(y, found.penalty), rel=1e-9)


def test_pelt_finds_planted_changes_as_the_exact_search_does() -> None:
    generator = np.random.default_rng(2)
    y = np.repeat([0.0, 6.0, -3.0], 40) + generator.normal(size=120)
    assert segmentation.segments(y, search="PELT") == segmentation.segments(y)


def test_planted_changes_are_found_and_noise_has_none() -> None:
    generator = np.random.default_rng(4)
    levels = np.repeat([0.0, 6.0, -3.0], 40)
    y = levels + generator.normal(size=120)
    assert segmentation.segments(y, "mean").changes == (40, 80)
    assert segmentation.segments(1000 * y + 5, "mean").changes == (40, 80)
    assert segmentation.one_change(generator.normal(size=120)).changes == ()
    assert segmentation.one_change(y[:80]).changes == (40,)


def _plain_dtw(a: list[float], b: list[float]) -> float:
    total = {(-1, -1): 0.0}
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            d = abs(x - y)
            inf = math.inf
            diagonal = total.get((i - 1, j - 1), inf) + (d if (i, j) == (0, 0) else 2 * d)
            total[i, j] = min(diagonal, total.get((i, j - 1), inf) + d, total.get((i - 1, j), inf) + d)
    return total[len(a) - 1, len(b) - 1]


short = st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=12)


@settings(max_examples=40, deadline=None)
@given(short, short)
def test_symmetric2_is_the_textbook_recursion_and_symmetric(a: list[float], b: list[float]) -> None:
    found = dtw.align(a, b)
    assert found.distance == pytest.approx(_plain_dtw(a, b))
    assert dtw.align(b, a).distance == pytest.approx(found.distance)
    assert found.normalized == pytest.approx(found.distance / (len(a) + len(b)))
    steps = np.diff(np.column_stack([found.query_path, found.template_path]), axis=0)
    assert set(map(tuple, steps)) <= {(1, 1), (1, 0), (0, 1)}


@settings(max_examples=40, deadline=None)
@given(short)
def test_a_series_aligned_to_itself_costs_nothing(a: list[float]) -> None:
    for pattern in ("symmetric2", "asymmetricP1"):
        found = dtw.align(a, a, pattern)
        assert found.distance == 0.0
        assert (found.query_path[0], found.query_path[-1]) == (0, len(a) - 1)


@settings(max_examples=40, deadline=None)
@given(short, short, st.integers(0, 12))
def test_a_narrower_band_never_costs_less(a: list[float], b: list[float], band: int) -> None:
    if band < abs(len(a) - len(b)):
        with pytest.raises(StatisticsRefusal, match="band"):
            dtw.align(a, b, window=band)
    else:
        assert dtw.align(a, b, window=band).distance >= dtw.align(a, b).distance - 1e-12


def test_channels_are_joined_by_euclidean_distance() -> None:
    query, template = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [0.0, 0.0]])
    assert dtw.align(query, template).distance == pytest.approx(5.0)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: trend.mann_kendall([1.0, 1.0, 1.0, 1.0]),
        lambda: trend.sen_slope([1.0, 2.0, 3.0, 5.0], [1.0, 1.0, 2.0, 3.0]),
        lambda: trend.sen_slope([1.0, 2.0, 4.0], confidence=0.9999),
        lambda: trend.structural_break([1.0, 2.0, 3.0]),
        lambda: trend.structural_break([1.0] * 10 + [2.0] * 10),
        lambda: segmentation.segments([2.0] * 20),
        lambda: segmentation.segments([1.0, 1.0, 1.0, 1.0, 5.0], "mean"),
        lambda: dtw.align([1.0, 2.0], [1.0] * 9, "asymmetricP1"),
        lambda: dtw.align([], [1.0]),
        lambda: dtw.align([1.0, float("nan")], [1.0, 2.0]),
    ],
)
def test_degenerate_inputs_are_refused_in_words(attempt: object) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        attempt()  # type: ignore[operator]
