"""Lots needed: power by integration against simulation, minimality, and when no number would do."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
from scipy.stats import t as student

from warehouse.statistics.lots import (
    paired_lots,
    pooled_lots,
    t_tost_power,
    welch_lots,
    welch_size,
    welch_tost_power,
)
from warehouse.statistics.scales import Margin

ONE = Margin(-1.0, 1.0)


def _simulated(margin: Margin, reference: tuple[float, int], test: tuple[float, int], runs: int) -> float:
    """Share of Welch intervals inside the margin at true difference 0, from sampled means and variances."""
    rng = np.random.default_rng(7)
    (s1, n1), (s2, n2) = reference, test
    a = s1**2 / n1 * rng.chisquare(n1 - 1, runs) / (n1 - 1)
    b = s2**2 / n2 * rng.chisquare(n2 - 1, runs) / (n2 - 1)
    difference = rng.normal(0.0, sqrt(s1**2 / n1 + s2**2 / n2), runs)
    half = student.ppf(0.95, (a + b) ** 2 / (a**2 / (n1 - 1) + b**2 / (n2 - 1))) * np.sqrt(a + b)
    return float(((difference - half > margin.low) & (difference + half < margin.high)).mean())


@pytest.mark.parametrize(
    ("margin", "reference", "test"),
    [
        (ONE, (1.0, 10), (1.0, 5)),
        (Margin(-1.0, 1.5), (1.0, 3), (2.0, 12)),
        (Margin(-2.0, 2.0), (1.0, 2), (1.0, 2)),
        (Margin(-0.5, 0.5), (1.0, 60), (0.2, 3)),
    ],
)
def test_welch_power_is_what_simulation_finds(
    margin: Margin, reference: tuple[float, int], test: tuple[float, int]
) -> None:
    runs = 200_000
    power = welch_tost_power(margin, *reference, *test)
    assert power == pytest.approx(_simulated(margin, reference, test, runs), abs=4 * 0.5 / sqrt(runs))


@pytest.mark.parametrize(
    ("width", "rho", "n", "published"),
    [(1.0, 0.5, 5, 0.29), (1.5, 0.5, 3, 0.33), (1.5, 0.0, 5, 0.35), (1.5, 0.8, 4, 0.94), (2.0, 0.5, 6, 0.99)],
)
def test_paired_power_is_the_printed_table(width: float, rho: float, n: int, published: float) -> None:
    power = t_tost_power(Margin(-width, width), sqrt(2 * (1 - rho) / n), n - 1)
    assert power == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize(
    ("sd_reference", "n_reference", "sd_test", "n_test"),
    [(1.0, 20, 1.0, 3), (1.0, 30, 1.5, 2), (0.5, 6, 1.0, 4), (1.0, 15, 0.0, 3)],
)
def test_the_lots_needed_reach_the_power_and_one_fewer_does_not(
    sd_reference: float, n_reference: int, sd_test: float, n_test: int
) -> None:
    lots = welch_lots(ONE, sd_reference, n_reference, sd_test, n_test)
    assert lots is not None
    reached = welch_tost_power(ONE, sd_reference, n_reference, sd_test, n_test + lots)
    assert reached >= 0.8
    if sd_test > 0:
        runs = 100_000
        simulated = _simulated(ONE, (sd_reference, n_reference), (sd_test, n_test + lots), runs)
        assert simulated >= 0.8 - 4 * 0.4 / sqrt(runs)
    if lots > 0:
        assert welch_tost_power(ONE, sd_reference, n_reference, sd_test, n_test + lots - 1) < 0.8


def test_no_number_does_where_the_reference_alone_is_too_wide() -> None:
    assert welch_lots(ONE, 1.0, 6, 1.0, 3) is None
    assert welch_tost_power(ONE, 1.0, 6, 1.0, 1_000_000) < 0.8
    assert welch_tost_power(ONE, 1.0, 6, 1.0, inf) == pytest.approx(
        welch_tost_power(ONE, 1.0, 6, 1.0, 1_000_000), abs=1e-4
    )
    assert welch_lots(ONE, 1.0, 1, 1.0, 3) is None


@pytest.mark.parametrize(("n_reference", "n_test", "sd_test"), [(20, 3, 1.0), (3, 3, 5.0), (20, 6, 2.0)])
def test_the_exact_size_is_what_simulation_finds(n_reference: int, n_test: int, sd_test: float) -> None:
    rng = np.random.default_rng(17)
    runs = 200_000
    a = rng.chisquare(n_reference - 1, runs) / (n_reference - 1) / n_reference
    b = sd_test**2 * rng.chisquare(n_test - 1, runs) / (n_test - 1) / n_test
    difference = rng.normal(0.0, sqrt(1 / n_reference + sd_test**2 / n_test), runs)
    df = (a + b) ** 2 / (a**2 / (n_reference - 1) + b**2 / (n_test - 1))
    passed = float((difference + student.ppf(0.95, df) * np.sqrt(a + b) < 0).mean())
    size = welch_size(1.0, n_reference, sd_test, n_test)
    assert size == pytest.approx(passed, abs=4 * sqrt(0.05 * 0.95 / runs))
    assert 0.04 < size < 0.065


def test_units_do_not_change_the_number() -> None:
    scaled = welch_lots(Margin(-1000.0, 1000.0), 1000.0, 20, 1000.0, 3)
    assert scaled == welch_lots(ONE, 1.0, 20, 1.0, 3)


def test_a_wider_margin_or_less_spread_never_needs_more() -> None:
    widths = [welch_lots(Margin(-w, w), 1.0, 30, 1.2, 3) for w in (0.9, 1.0, 1.2, 1.5, 3.0)]
    numbers = [lots for lots in widths if lots is not None]
    assert len(numbers) == len(widths)
    assert numbers == sorted(numbers, reverse=True)


def test_pairs_and_pooled_lots_are_the_smallest() -> None:
    pairs = paired_lots(ONE, 1.0, 3)
    assert pairs is not None
    assert (
        t_tost_power(ONE, 1.0 / sqrt(3 + pairs), 2 + pairs)
        >= 0.8
        > t_tost_power(ONE, 1.0 / sqrt(2 + pairs), 1 + pairs)
    )
    lots = pooled_lots(ONE, 1.0, 20, 3)
    assert lots is not None
    assert t_tost_power(ONE, sqrt(1 / 20 + 1 / (3 + lots)), 21 + lots) >= 0.8
    assert paired_lots(Margin(0.5, 1.0), 1.0, 3) is None
