"""Logistic regression: closed forms of the two-by-two table, a second engine, separation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from warehouse.statistics import logistic
from warehouse.statistics.refusal import StatisticsRefusal

GENERATOR = np.random.default_rng(3)
X = GENERATOR.normal(size=(120, 2)) * [1.0, 30.0] + [0.0, 100.0]
Y = (GENERATOR.random(120) < 1 / (1 + np.exp(-0.8 * X[:, 0]))).astype(float)


def _table(a: int, b: int, c: int, d: int) -> tuple[list[int], list[list[int]]]:
    """Outcomes and exposure of a table: a, b events and others exposed; c, d unexposed."""
    return [1] * a + [0] * b + [1] * c + [0] * d, [[1]] * (a + b) + [[0]] * (c + d)


counts = st.integers(1, 12)


@settings(max_examples=40, deadline=None)
@given(counts, counts, counts, counts)
def test_two_by_two_table_has_the_textbook_odds_ratio_and_error(a: int, b: int, c: int, d: int) -> None:
    term = logistic.logistic(*_table(a, b, c, d), ["exposed"]).terms[1]
    assert term.odds_ratio == pytest.approx(a * d / (b * c), rel=1e-6)
    assert term.standard_error == pytest.approx(math.sqrt(1 / a + 1 / b + 1 / c + 1 / d), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 8), counts, counts, st.integers(0, 8))
def test_firth_on_a_table_adds_half_to_every_cell(a: int, b: int, c: int, d: int) -> None:
    """Exact for a saturated model; finite even with an empty cell."""
    assume(a + c > 0 and b + d > 0 and a + b + c + d > 2)
    term = logistic.logistic(*_table(a, b, c, d), ["exposed"], firth=True).terms[1]
    expected = math.log((a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5)))
    assert term.coefficient == pytest.approx(expected, abs=1e-6)


def test_estimates_agree_with_a_second_engine() -> None:
    import statsmodels.api as sm

    theirs = sm.Logit(Y, sm.add_constant(X)).fit(disp=0, tol=1e-12)
    ours = logistic.logistic(Y, X, ["a", "b"])
    assert [term.coefficient for term in ours.terms] == pytest.approx(theirs.params, rel=1e-7)
    assert [term.standard_error for term in ours.terms] == pytest.approx(theirs.bse, rel=1e-6)
    assert ours.deviance == pytest.approx(-2 * theirs.llf)
    assert ours.likelihood_ratio == pytest.approx(theirs.llr)


def test_likelihood_at_a_profile_bound_has_fallen_by_half_a_chi_square() -> None:
    """Refit with the coefficient held at its bound (moved into the outcome's offset by the second engine)."""
    import statsmodels.api as sm

    term = logistic.logistic(Y, X, ["a", "b"]).terms[1]
    full = sm.GLM(Y, sm.add_constant(X), family=sm.families.Binomial()).fit(tol=1e-12).llf
    for bound in (term.lower, term.upper):
        assert bound is not None
        held = sm.GLM(Y, sm.add_constant(X[:, 1]), family=sm.families.Binomial(), offset=bound * X[:, 0])
        assert 2 * (full - held.fit(tol=1e-12).llf) == pytest.approx(3.841459, abs=1e-5)


def test_interpolated_bounds_are_near_the_exact_ones() -> None:
    exact, like_r = (logistic.logistic(Y, X, ["a", "b"], arithmetic=kind) for kind in ("exact", "as R"))
    for ours, theirs in zip(exact.terms, like_r.terms, strict=True):
        assert (theirs.lower, theirs.upper) == pytest.approx((ours.lower, ours.upper), rel=2e-3)


def test_separation_is_refused_and_firth_offered() -> None:
    y, x = _table(5, 0, 0, 5)
    with pytest.raises(StatisticsRefusal, match="firth=True"):
        logistic.logistic(y, x, ["exposed"])
    term = logistic.logistic(y, x, ["exposed"], firth=True).terms[1]
    assert term.lower is not None
    assert 0 < term.lower < term.coefficient < (term.upper or math.inf)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.001, 5.0, 1e4]), st.integers(-1000, 1000))
def test_unit_and_origin_of_a_covariate_change_no_test(scale: float, shift: int) -> None:
    plain = logistic.logistic(Y, X, ["a", "b"]).terms[1]
    moved = logistic.logistic(Y, X * [scale, 1.0] + [shift, 0.0], ["a", "b"]).terms[1]
    assert moved.coefficient * scale == pytest.approx(plain.coefficient, rel=1e-5)
    assert moved.likelihood_ratio_p == pytest.approx(plain.likelihood_ratio_p, rel=1e-5)


def test_nested_fits_are_compared_by_their_deviances() -> None:
    small, large = logistic.logistic(Y, X[:, :1], ["a"]), logistic.logistic(Y, X, ["a", "b"])
    ratio, degrees, p = logistic.likelihood_ratio_test(small, large)
    assert degrees == 1
    assert ratio == pytest.approx(small.deviance - large.deviance)
    assert p == pytest.approx(large.terms[2].likelihood_ratio_p, rel=1e-6)
    with pytest.raises(StatisticsRefusal, match="nested"):
        logistic.likelihood_ratio_test(large, small)


@pytest.mark.parametrize(
    ("y", "x"),
    [
        ([1, 1, 1, 1], [[1], [2], [3], [4]]),
        ([0, 1, 2, 1], [[1], [2], [3], [4]]),
        ([0, 1, 0, 1], [[1], [1], [1], [1]]),
        ([0, 1, 0, 1, 1], [[1, 2], [2, 4], [3, 6], [4, 8], [9, 18]]),
        ([0, 1, 0], [[1, 2], [2, 1], [3, 3]]),
        ([0, 1, 0, 1], [[1], [2], [float("nan")], [4]]),
    ],
)
def test_degenerate_inputs_are_refused_in_words(y: list[int], x: list[list[float]]) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        logistic.logistic(y, x, [f"x{i}" for i in range(len(x[0]))])
