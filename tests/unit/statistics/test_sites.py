"""Several sites: published Dunnett and Wellek values, Dunnett against scipy, coverage of the upper limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.statistics.sites import (
    all_pairs,
    dunnett_critical,
    partial_eta_equivalence,
    random_sites,
    reference_vs_each,
    wellek_f,
)

# PlantGrowth, Dobson (1983).
GROWTH = {
    "ctrl": [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14],
    "trt1": [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
    "trt2": [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26],
}


@pytest.mark.parametrize(
    ("groups", "df", "want"),
    # Dunnett (1964), two-sided 95 %, equal groups: table values.
    [(2, 10, 2.57), (3, 20, 2.54), (4, 30, 2.58), (9, 60, 2.77)],
)
def test_dunnetts_own_table(groups: int, df: int, want: float) -> None:
    assert dunnett_critical([7] * groups, 7, df) == pytest.approx(want, abs=0.006)


def test_unequal_groups_agree_with_scipy() -> None:
    rng = np.random.default_rng(3)
    lots = {"A": rng.normal(0, 1, 9), "B": rng.normal(0.4, 1, 4), "C": rng.normal(0, 1, 6)}
    found = reference_vs_each(lots, "A")
    theirs = stats.dunnett(lots["B"], lots["C"], control=lots["A"], rng=1).confidence_interval(0.95)
    for j, name in enumerate(("B", "C")):
        assert found.sites[name].simultaneous_low == pytest.approx(theirs.low[j], abs=0.01)
        assert found.sites[name].simultaneous_high == pytest.approx(theirs.high[j], abs=0.01)


def test_one_other_site_needs_no_adjustment() -> None:
    assert dunnett_critical([5], 8, 11) == pytest.approx(stats.t.ppf(0.975, 11))


def test_every_site_must_pass_its_own_tests() -> None:
    wide, narrow = Margin(-1.5, 1.5), Margin(-0.9, 0.9)
    assert reference_vs_each(GROWTH, "ctrl", margin=wide).all_inside is True
    assert reference_vs_each(GROWTH, "ctrl", margin=narrow).all_inside is False
    assert reference_vs_each(GROWTH, "ctrl").all_inside is None
    assert all_pairs(GROWTH, margin=wide).all_inside is True
    pairs = all_pairs(GROWTH)
    assert set(pairs.each) == {("ctrl", "trt1"), ("ctrl", "trt2"), ("trt1", "trt2")}
    for pair, estimate in pairs.each.items():
        assert pairs.bounded[pair].ci_low < estimate.ci_low


def test_wellek_and_partial_eta_bounds() -> None:
    found = wellek_f(GROWTH, 0.5)
    assert found.f == pytest.approx(4.846088, rel=1e-6)
    assert found.critical == pytest.approx(0.171282287501957)
    assert not found.equivalent
    assert partial_eta_equivalence(found.f, 2, 27, 0.25) == pytest.approx(0.41170594609919)


@given(seed=st.integers(0, 10**6), factor=st.sampled_from([1e-6, 12.0]), shift=st.floats(-100.0, 100.0))
@settings(max_examples=25, deadline=None)
def test_order_names_and_units_do_not_matter(seed: int, factor: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    lots = {name: rng.normal(0, 1, rng.integers(2, 7)) for name in ("A", "B", "C", "D")}
    other = {f"site {name}": factor * (rng.permutation(lots[name]) + shift) for name in ("D", "A", "C", "B")}
    one, two = reference_vs_each(lots, "A"), reference_vs_each(other, "site A")
    assert two.critical == pytest.approx(one.critical, abs=1e-8)
    for name, site in one.sites.items():
        same = two.sites[f"site {name}"]
        assert same.estimate.ci_low == pytest.approx(
            factor * site.estimate.ci_low, rel=1e-7, abs=1e-9 * factor
        )
    assert wellek_f(other, 0.5).f == pytest.approx(wellek_f(lots, 0.5).f, rel=1e-7)
    assert random_sites(other).upper == pytest.approx(random_sites(lots).upper, rel=1e-6, abs=1e-9)


@pytest.mark.simulation
def test_the_upper_limit_of_the_share_between_sites_covers() -> None:
    rng = np.random.default_rng(12)
    sizes, hits, runs = (3, 5, 8, 4, 6, 3), 0, 1500
    for _ in range(runs):
        lots = {f"S{i}": rng.normal(rng.normal(0, 1.0), 1.0, n) for i, n in enumerate(sizes)}
        hits += random_sites(lots).upper >= 0.5
    assert hits / runs == pytest.approx(0.95, abs=0.02)


def test_degenerate_sites_are_refused_in_words() -> None:
    with pytest.raises(StatisticsRefusal, match="no spread"):
        reference_vs_each({"A": [1.0, 1.0], "B": [2.0, 2.0]}, "A")
    with pytest.raises(StatisticsRefusal, match="add lots"):
        reference_vs_each({"A": [1.0], "B": [2.0]}, "A")
    with pytest.raises(StatisticsRefusal, match="no lots"):
        reference_vs_each({"A": [1.0, 2.0], "B": [2.0]}, "C")
    with pytest.raises(StatisticsRefusal, match="at least 2"):
        wellek_f({"A": [1.0, 2.0]}, 0.5)
    with pytest.raises(StatisticsRefusal, match="missing or infinite"):
        random_sites({"A": [1.0, float("nan")], "B": [1.0, 2.0]})
