"""Split-apheresis comparisons: closed forms against matrices, with and without history, refusals, size."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.split_apheresis import (
    compare_split,
    exchangeability,
    known_rho_interval,
    mixed_comparison,
    optimal_weight,
    unknown_rho_interval,
    variance_factor,
)
from warehouse.statistics.split_simulation import simulate_split, size_table

# Data set 1 of Burdick et al. (2024), appendix 1: cell viability of the drug product, per cent.
PRE = [89.9, 92.3, 83.9, 88.9, 98.0]
POST = [83.6, 93.5, 82.7, 85.7, 81.5]
PAST = [88.1, 89.7, 94.7, 86.1, 80.4, 94.4, 91.2, 92.4, 90.8, 98.1]
DONORS = [f"D{i}" for i in range(5)] * 2 + [f"H{i}" for i in range(10)]
SITES = ["pre"] * 5 + ["post"] * 5 + ["pre"] * 10


def test_the_optimal_weight_has_the_smallest_variance() -> None:
    for n, h, rho in ((3, 10, 0.0), (5, 10, 0.4), (4, 2, 0.9)):
        best = variance_factor(n, h, rho, optimal_weight(n, h, rho))
        assert best <= min(variance_factor(n, h, rho, w) for w in np.linspace(0.0, 1.0, 1001)) + 1e-12
    assert optimal_weight(5, 10, 1.0) == 1.0
    assert optimal_weight(5, 10, 0.0) == pytest.approx(5 / 15)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("past", [[], PAST])
def test_known_rho_is_generalised_least_squares(rho: float, past: list[float]) -> None:
    """With rho known the whole covariance is known up to sigma2, so least squares with it must agree."""
    n, h = len(PRE), len(past)
    y = np.array([*PRE, *POST, *past])
    correlation = np.eye(y.size)
    for i in range(n):
        correlation[i, n + i] = correlation[n + i, i] = rho
    x = np.column_stack([np.ones(y.size), [0.0] * n + [1.0] * n + [0.0] * h])
    inverse = np.linalg.inv(correlation)
    covariance = np.linalg.inv(x.T @ inverse @ x)
    beta = covariance @ x.T @ inverse @ y
    rest = y - x @ beta
    sigma2 = rest @ inverse @ rest / (y.size - 2)
    found = known_rho_interval(PRE, POST, past, rho)
    assert found.df == y.size - 2
    assert found.estimate == pytest.approx(beta[1])
    assert found.se == pytest.approx(sqrt(sigma2 * covariance[1, 1]))


def test_both_answers_stand_beside_each_other() -> None:
    found = compare_split([*PRE, *POST, *PAST], DONORS, SITES, reference="pre", test="post")
    assert found.design == "split apheresis with historical lots"
    assert found.donors_split == 5
    assert not found.mixed.with_history
    assert found.mixed_with_history is not None
    assert found.mixed_with_history.with_history
    assert found.exchangeability is not None
    assert found.exchangeability.borrow
    assert found.paired.df == 4
    # The study alone is balanced pairs: the mixed model adds nothing to the paired test.
    assert found.mixed.estimates["post"].estimate == pytest.approx(found.paired.estimate)
    assert found.mixed_with_history.estimates["post"].df == pytest.approx(11.0402, rel=1e-4)


def test_a_reading_on_the_log_scale_is_a_ratio() -> None:
    plain = compare_split(np.log([*PRE, *POST, *PAST]), DONORS, SITES, reference="pre", test="post")
    ratio = compare_split([*PRE, *POST, *PAST], DONORS, SITES, reference="pre", test="post", scale="log")
    assert ratio.paired.reading == "ratio"
    assert ratio.paired.estimate == pytest.approx(exp(plain.paired.estimate))
    assert ratio.mixed.estimates["post"].ci_low == pytest.approx(exp(plain.mixed.estimates["post"].ci_low))
    assert plain.unknown_rho is not None
    assert ratio.unknown_rho is not None
    assert log(ratio.unknown_rho.ci_high) == pytest.approx(plain.unknown_rho.ci_high)


@given(seed=st.integers(0, 10**6), factor=st.sampled_from([1e-4, 7.0, 1e5]))
@settings(max_examples=25, deadline=None)
def test_order_labels_and_units_do_not_matter(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    y = np.array([*PRE, *POST, *PAST]) + rng.normal(0, 1.0, 20)
    order = rng.permutation(20)
    one = compare_split(y, DONORS, SITES, reference="pre", test="post", known_rho=0.4)
    two = compare_split(
        factor * y[order], [f"x{DONORS[i]}" for i in order], [SITES[i].upper() for i in order],
        reference="PRE", test="POST", known_rho=0.4,
    )  # fmt: skip
    for name in ("paired", "unpaired", "known_rho", "unknown_rho"):
        first, second = getattr(one, name), getattr(two, name)
        assert second.ci_low == pytest.approx(factor * first.ci_low, rel=1e-8)
        assert second.df == pytest.approx(first.df, rel=1e-8)
    assert one.mixed_with_history is not None
    assert two.mixed_with_history is not None
    first, second = one.mixed_with_history.estimates["post"], two.mixed_with_history.estimates["POST"]
    assert second.ci_high == pytest.approx(factor * first.ci_high, rel=1e-5, abs=1e-6 * factor)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_missing_cells_and_replicates_still_give_every_site_an_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, donor, site = [], [], []
    for d in range(4):
        base = rng.normal()
        for s in "ABC":
            if d > 1 and rng.random() < 0.4:
                continue
            lot = base + rng.normal(0, 0.4)
            for _ in range(rng.integers(1, 4)):
                y.append(lot + rng.normal(0, 0.2))
                donor.append(f"D{d}")
                site.append(s)
    found = mixed_comparison(y, donor, site, reference="A")
    assert set(found.estimates) == {"B", "C"}
    for estimate in found.estimates.values():
        assert np.isfinite([estimate.ci_low, estimate.ci_high, estimate.df or np.nan]).all()
    assert len(found.warnings) == len(found.fit.boundary)


def test_unlike_history_is_not_borrowed_and_says_so() -> None:
    shifted = exchangeability([v + 20.0 for v in PAST], PRE)
    assert not shifted.borrow
    assert "mean" in shifted.sentence
    noisier = exchangeability([90.0, 60.0, 120.0, 30.0, 150.0, 89.0], PRE)
    assert not noisier.borrow
    assert "spread" in noisier.sentence


def test_a_split_donor_with_a_lost_lot_is_not_history_when_history_is_named() -> None:
    y, donor, site = [*PRE, *POST[:4], *PAST], DONORS[:9] + DONORS[10:], SITES[:9] + SITES[10:]
    named = compare_split(
        y, donor, site, reference="pre", test="post", historical=[d for d in donor if d.startswith("H")]
    )
    assert named.exchangeability is not None
    assert named.exchangeability.n_history == 10
    assert named.mixed.estimates["post"].n_reference == 5


@pytest.mark.parametrize(
    ("donor", "site", "words"),
    [
        (["a", "b", "c", "d"], ["A", "A", "B", "B"], "split study needs at least 2"),
        (["a", "a", "b", "b"], ["A", "B", "A", "A"], "split study needs at least 2"),
    ],
)
def test_what_is_not_a_split_study_is_refused(donor: list[str], site: list[str], words: str) -> None:
    with pytest.raises(StatisticsRefusal, match=words):
        compare_split([1.0, 2.0, 3.0, 4.5], donor, site, reference="A", test="B")


def test_patients_of_two_sites_never_pass_as_split() -> None:
    with pytest.raises(StatisticsRefusal, match="not a split study"):
        mixed_comparison([1.0, 2.0, 3.0, 4.5], ["a", "b", "c", "d"], ["A", "A", "B", "B"], reference="A")


@pytest.mark.parametrize("post", [[2.0, 3.0, 4.0], [1.0, 2.0, 3.0]])
def test_identical_differences_have_no_spread_to_judge_by(post: list[float]) -> None:
    with pytest.raises(StatisticsRefusal):
        compare_split([1.0, 2.0, 3.0, *post], list("abc") * 2, ["A"] * 3 + ["B"] * 3, reference="A", test="B")
    with pytest.raises(StatisticsRefusal):
        unknown_rho_interval([1.0, 2.0, 3.0], post, [1.0, 2.0, 4.0])


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("analysis", "history"), [("paired", 0), ("mixed-kr", 0), ("mixed-kr", 10), ("known-rho", 10)]
)
def test_size_at_three_donors_is_held(analysis: str, history: int) -> None:
    found = simulate_split(analysis, pairs=3, history=history, runs=800, seed=5)  # type: ignore[arg-type]  # literal
    assert found.size
    assert found.share <= 0.05 + 3.0 * found.mc_error


@pytest.mark.simulation
def test_judging_by_normal_quantiles_passes_far_too_often() -> None:
    """What software without small-sample degrees of freedom does; the paired theory at n = 3 is 12.1 %."""
    found = simulate_split("mixed-normal", pairs=3, runs=800, seed=5)
    assert found.share > 0.08


def test_a_size_table_leaves_out_what_does_not_exist() -> None:
    rows = size_table(["paired", "unknown-rho"], pairs=[3], histories=[0, 4], runs=20)
    assert [(row.analysis, row.history) for row in rows] == [("paired", 0), ("unknown-rho", 4)]
    assert rows == size_table(["paired", "unknown-rho"], pairs=[3], histories=[0, 4], runs=20)
