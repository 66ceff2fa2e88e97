"""Survival curves, competing ends and Cox against published figures, closed forms and a second engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics import cox, survival
from warehouse.statistics.refusal import StatisticsRefusal

# Freireich et al. 1963: weeks of remission under 6-MP and placebo; 0 = still in remission.
SIX_MP = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
SIX_MP_END = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
TREATED = survival.followed(SIX_MP, SIX_MP_END)
BOTH = survival.followed([*SIX_MP, *PLACEBO], [*SIX_MP_END, *[1] * 21])
ARMS = ["6-MP"] * 21 + ["placebo"] * 21


def _competing(seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return np.round(generator.exponential(5, n), 1) + 0.1, generator.integers(0, 3, n)


def test_remission_curve_of_the_textbooks() -> None:
    """Collett, table 2.2, and Kleinbaum & Klein: S(6) 0.857, S(10) 0.753, S(23) 0.448; median 23."""
    curve = survival.kaplan_meier(TREATED)
    assert curve.at([6, 10, 23])[0] == pytest.approx([0.8571, 0.7529, 0.4482], abs=5e-5)
    assert curve.at([10])[1][0] == pytest.approx(0.0963, abs=5e-5)
    assert curve.quantile()[0] == 23


def test_hazard_ratio_of_the_remission_trial() -> None:
    """Cox regression of the same trial: coefficient -1.57 (Efron), -1.51 (Breslow); Kleinbaum & Klein."""
    x = [[float(arm == "6-MP")] for arm in ARMS]
    assert cox.cox(BOTH, x, ["6-MP"]).terms[0].coefficient == pytest.approx(-1.572, abs=5e-4)
    assert cox.cox(BOTH, x, ["6-MP"], ties="breslow").terms[0].coefficient == pytest.approx(-1.509, abs=5e-4)


def test_no_censoring_gives_the_share_still_alive() -> None:
    curve = survival.kaplan_meier(survival.followed(PLACEBO, [1] * 21))
    assert curve.at([8])[0][0] == pytest.approx(np.mean(np.array(PLACEBO) > 8))
    assert curve.at([8])[1][0] == pytest.approx(np.sqrt(8 / 21 * 13 / 21 / 21))


@pytest.mark.parametrize("interval", ["log", "log-log", "plain"])
def test_bounds_hold_the_curve_and_stay_in_0_to_1(interval: survival.Interval) -> None:
    curve = survival.kaplan_meier(BOTH, interval)
    assert np.all((curve.lower >= 0) & (curve.lower <= curve.survival + 1e-12))
    assert np.all((curve.upper <= 1) & (curve.upper >= curve.survival - 1e-12))


def test_a_curve_that_ends_at_zero_keeps_an_upper_bound() -> None:
    curve = survival.kaplan_meier(survival.followed([1.0, 2.0, 3.0], [1, 1, 1]))
    assert curve.survival[-1] == 0
    assert curve.upper[-1] == curve.upper[-2] > 0


def test_a_median_never_reached_is_none() -> None:
    curve = survival.kaplan_meier(survival.followed([1, 2, 3, 4, 5], [1, 0, 0, 0, 0]))
    assert curve.quantile() == (None, None, None)


def test_late_entry_changes_who_is_at_risk() -> None:
    """Entry at 2 of the second subject: at time 1 only the first and third are at risk."""
    data = survival.followed([1.0, 4.0, 5.0], [1, 1, 0], entries=[0.0, 2.0, 0.0])
    curve = survival.kaplan_meier(data)
    assert curve.at_risk.tolist() == [2, 2]
    assert curve.survival.tolist() == [0.5, 0.25]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_subjects_and_names_of_groups_change_nothing(seed: int) -> None:
    times, ends = _competing(seed, 30)
    groups = np.random.default_rng(seed + 1).integers(0, 3, 30)
    shuffle = np.random.default_rng(seed + 2).permutation(30)
    plain = survival.log_rank(survival.followed(times, ends), groups)
    other = survival.log_rank(
        survival.followed(times[shuffle], ends[shuffle]), [f"g{2 - g}" for g in groups[shuffle]]
    )
    assert other.chi_square == pytest.approx(plain.chi_square)
    assert sum(plain.observed) == pytest.approx(sum(plain.expected))
    assert survival.log_rank(survival.followed(times * 7, ends), groups).p == pytest.approx(plain.p)


@pytest.mark.parametrize("rho", [0.0, 1.0])
def test_stratified_tests_agree_with_a_second_engine(rho: float) -> None:
    from statsmodels.duration.survfunc import survdiff

    times, ends = _competing(3, 120)
    generator = np.random.default_rng(9)
    groups, strata = generator.integers(0, 2, 120), generator.integers(0, 3, 120)
    data = survival.followed(times, ends > 0, censored=False)
    plain, plain_p = survdiff(times, ends > 0, groups, weight_type="fh" if rho else None, fh_p=rho)
    ours = survival.log_rank(data, groups, rho)
    assert (ours.chi_square, ours.p) == pytest.approx((plain, plain_p), rel=1e-9)
    if rho == 0.0:
        stratified, _ = survdiff(times, ends > 0, groups, strata=strata)
        assert survival.log_rank(data, groups, strata=strata).chi_square == pytest.approx(
            stratified, rel=1e-9
        )


def test_one_cause_is_one_minus_kaplan_meier_with_greenwoods_variance() -> None:
    incidence, curve = survival.cumulative_incidence(TREATED), survival.kaplan_meier(TREATED)
    np.testing.assert_allclose(incidence.incidence[:, 0], 1 - curve.survival, atol=1e-14)
    np.testing.assert_allclose(np.sqrt(incidence.variance[:, 0]), curve.standard_error, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_competing_ends_share_out_what_happened(seed: int) -> None:
    found = survival.cumulative_incidence(survival.followed(*_competing(seed)))
    np.testing.assert_allclose(found.incidence.sum(axis=1) + found.still_open, 1.0)
    assert np.all(np.diff(found.incidence, axis=0) >= 0)
    chance, low, high = found.at(4.0, "1")
    assert 0 <= low <= chance <= high <= 1


def test_incidence_and_its_variance_agree_with_a_second_engine() -> None:
    from statsmodels.duration.survfunc import CumIncidenceRight

    times, ends = _competing(1)
    times[np.argmax(times)] += 1.0
    ends[np.argmax(times)] = 0  # the other engine divides by zero where everybody has ended
    ours, theirs = (
        survival.cumulative_incidence(survival.followed(times, ends)),
        CumIncidenceRight(times, ends),
    )
    at = np.searchsorted(theirs.times, ours.times)
    for cause in (0, 1):
        np.testing.assert_allclose(ours.incidence[:, cause], theirs.cinc[cause][at], atol=1e-12)
        np.testing.assert_allclose(np.sqrt(ours.variance[:, cause]), theirs.cinc_se[cause][at], atol=1e-12)


def test_treating_a_competing_end_as_censored_overstates_the_incidence() -> None:
    times, ends = _competing(2, 300)
    naive = 1 - survival.kaplan_meier(survival.followed(times, ends == 1, censored=False)).at([8.0])[0][0]
    assert survival.cumulative_incidence(survival.followed(times, ends)).at(8.0, "1")[0] < naive - 0.05


def test_restricted_mean_without_censoring_is_the_mean_of_capped_times() -> None:
    capped = np.minimum(PLACEBO, 12)
    found = survival.restricted_mean(survival.followed(PLACEBO, [1] * 21), 12.0)
    assert found.mean == pytest.approx(capped.mean())
    assert found.standard_error == pytest.approx(capped.std() / np.sqrt(21))


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_with_ties_and_strata_agrees_with_a_second_engine(ties: cox.Ties) -> None:
    from statsmodels.duration.hazard_regression import PHReg

    times, ends = _competing(5, 150)
    generator = np.random.default_rng(6)
    x, strata = generator.normal(size=(150, 2)) * [1.0, 40.0], generator.integers(0, 2, 150)
    theirs = PHReg(times, x, status=(ends > 0).astype(int), strata=strata, ties=ties).fit()
    data = survival.followed(times, ends > 0, censored=False)
    ours = cox.cox(data, x, ["a", "b"], ties=ties, strata=strata)
    assert [term.coefficient for term in ours.terms] == pytest.approx(theirs.params, rel=1e-6)
    assert [term.standard_error for term in ours.terms] == pytest.approx(theirs.bse, rel=1e-6)
    assert ours.log_likelihood == pytest.approx(theirs.llf, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.001, 7.0, 1e4]), st.integers(-1000, 1000))
def test_unit_and_origin_of_a_covariate_change_no_test(scale: float, shift: int) -> None:
    times, ends = _competing(7, 60)
    x = np.random.default_rng(8).normal(size=(60, 1))
    data = survival.followed(times, ends > 0, censored=False)
    plain, other = cox.cox(data, x, ["x"]), cox.cox(data, scale * x + shift, ["x"])
    assert other.terms[0].coefficient * scale == pytest.approx(plain.terms[0].coefficient, rel=1e-5)
    assert other.likelihood_ratio == pytest.approx(plain.likelihood_ratio, rel=1e-6)
    assert other.concordance == pytest.approx(plain.concordance)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: survival.followed([1.0, 2.0], [0, 0]),
        lambda: survival.followed([1.0, -2.0], [1, 1]),
        lambda: survival.followed([1.0, 2.0], [1]),
        lambda: survival.followed([1.0, 2.0], [1, 1], entries=[0.0, 2.0]),
        lambda: survival.kaplan_meier(TREATED).at([36]),
        lambda: survival.restricted_mean(TREATED, 36.0),
        lambda: survival.log_rank(TREATED, ["a"] * 21),
        lambda: survival.cumulative_incidence(TREATED).at(5.0, "death"),
        lambda: cox.cox(survival.followed([1, 2, 3, 4], [1, 1, 0, 0]), [[1], [1], [0], [0]], ["x"]),
        lambda: cox.cox(TREATED, np.ones((21, 1)), ["x"]),
        lambda: cox.cox(TREATED, np.column_stack([SIX_MP, SIX_MP]), ["x", "y"]),
    ],
)
def test_what_has_no_answer_is_refused_in_words(attempt: object) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        attempt()  # type: ignore[operator]
