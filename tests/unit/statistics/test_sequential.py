"""The nightly watch: published boundaries, the guarantee by simulation, what a night without lots costs."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from warehouse.statistics.means import Estimate, pooled, welch
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.statistics.sequential import (
    SequentialPlan,
    nominal_levels,
    spent,
    watch,
    watch_levels,
)


@pytest.mark.parametrize(
    ("spending", "want"),
    # Lan-DeMets boundaries, one-sided 0.025, five equal looks: published tables.
    [
        ("obrien-fleming", (4.877, 3.357, 2.680, 2.290, 2.031)),
        ("pocock", (2.438, 2.427, 2.410, 2.397, 2.386)),
    ],
)
def test_published_boundaries(spending: str, want: tuple[float, ...]) -> None:
    levels = nominal_levels([0.2, 0.4, 0.6, 0.8, 1.0], 0.025, spending)  # type: ignore[arg-type]  # a literal
    assert [stats.norm.isf(level) for level in levels] == pytest.approx(want, abs=0.0015)


def test_one_look_is_the_plain_interval_and_nothing_new_spends_nothing() -> None:
    assert nominal_levels([1.0], 0.05) == pytest.approx((0.05,))
    assert nominal_levels([0.5, 0.5, 1.0, 1.3], 0.05)[1] is None
    assert nominal_levels([0.5, 0.5, 1.0, 1.3], 0.05)[3] is None
    once, again = nominal_levels([0.5, 1.0]), nominal_levels([0.5, 0.5, 1.0])
    assert (once[0], once[1]) == pytest.approx((again[0], again[2]))
    assert spent(2.0, 0.05, "pocock") == spent(1.0, 0.05, "pocock") == pytest.approx(0.05)
    with pytest.raises(StatisticsRefusal, match="only grow"):
        nominal_levels([0.5, 0.4])


def _stream(seed: int, true: float, last: int) -> list[Estimate | None]:
    """Two sites, a lot at each every night, every night looked at from the third lot on."""
    rng = np.random.default_rng(seed)
    left, right = rng.normal(0, 1, last), rng.normal(true, 1, last)
    return [None if n < 3 else pooled(left[:n], right[:n]) for n in range(1, last + 1)]


@pytest.mark.simulation
@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_the_watch_holds_its_error_over_all_nights_where_the_naive_interval_does_not(spending: str) -> None:
    plan = SequentialPlan(24, 24, spending=spending)  # type: ignore[arg-type]  # a literal, by parameter
    margin, runs, wrong, naive = Margin(-1.0, 1.0), 500, 0, 0
    for seed in range(runs):
        stream = _stream(seed, 1.0, 24)
        wrong += watch(stream, plan, margin)[-1].verdict == "comparable"
        naive += any(e is not None and e.ci_low > -1.0 and e.ci_high < 1.0 for e in stream)
    error = sqrt(0.05 * 0.95 / runs)
    assert wrong / runs <= 0.05 + 2.5 * error
    assert naive / runs > 0.05 + 2.5 * error


@pytest.mark.simulation
@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_a_watch_of_few_lots_holds_its_error_where_the_normal_boundary_does_not(spending: str) -> None:
    plan = SequentialPlan(40, 5, spending=spending)  # type: ignore[arg-type]  # a literal, by parameter
    sizes = tuple((40, n) for n in range(2, 6))
    held = watch_levels(sizes, plan)
    fractions = [a * b / (a + b) / plan.information for a, b in sizes]
    plain, runs, wrong, normal = nominal_levels(fractions, spending=plan.spending), 3000, 0, 0
    assert all(b is None or (a is not None and b <= a) for a, b in zip(plain, held, strict=True))
    rng = np.random.default_rng(3)
    for _ in range(runs):
        reference, site = rng.normal(0, 1, 40), rng.normal(1, 1, 5)
        tests = [welch(reference, site[:n]) for _, n in sizes]
        p = [stats.t.cdf((e.estimate - 1.0) / e.se, e.df) for e in tests if e.se and e.df]
        wrong += any(level is not None and v < level for v, level in zip(p, held, strict=True))
        normal += any(level is not None and v < level for v, level in zip(p, plain, strict=True))
    error = sqrt(0.05 * 0.95 / runs)
    assert wrong / runs <= 0.05 + 2.5 * error
    assert normal / runs > 0.05 + 2.5 * error


def test_levels_of_many_lots_are_the_normal_boundarys() -> None:
    sizes = tuple((n, n) for n in (30, 40, 60))
    assert watch_levels(sizes, SequentialPlan(60, 60)) == nominal_levels([0.5, 40 / 60, 1.0])
    assert watch_levels(((1, 5), (1, 9)), SequentialPlan(20, 20)) == (None, None)


def test_a_verdict_once_reached_stands() -> None:
    looks = watch(_stream(7, 0.0, 60), SequentialPlan(60, 60), Margin(-1.0, 1.0))
    words = [look.verdict for look in looks]
    assert words[-1] == "comparable"
    first = words.index("comparable")
    assert set(words[:first]) == {"inconclusive"}
    assert set(words[first:]) == {"comparable"}
    assert looks[0].interval is None


def test_the_guarantee_is_put_in_words() -> None:
    assert "at most 5 % over all looks" in SequentialPlan(10, 12).guarantee


def test_looks_are_cheap_enough_for_a_year_of_nights() -> None:
    levels = nominal_levels([night / 365 for night in range(1, 366)])
    assert all(level is None or 0.0 < level < 0.05 for level in levels)
    assert levels[-1] is not None
