"""Hard data, assay agreement, families and description: published examples, invariance, refusals."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics import (
    agreement,
    censored,
    describe,
    method_lines,
    multiplicity,
    multivariate,
    outliers,
)
from warehouse.statistics.refusal import StatisticsRefusal

SETTINGS = settings(max_examples=40, deadline=None)

# Rosner (1983), as printed in NIST/SEMATECH 1.3.5.17.3.
ROSNER = [
    -0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56, 1.58, 1.65, 1.69,
    1.70, 1.76, 1.77, 1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10, 2.14, 2.15, 2.23, 2.24, 2.26, 2.35,
    2.37, 2.40, 2.47, 2.54, 2.62, 2.64, 2.90, 2.92, 2.92, 2.93, 3.21, 3.26, 3.30, 3.59, 3.68, 4.30, 4.64,
    5.34, 5.42, 6.01,
]  # fmt: skip

# Bland & Altman (1986): peak flow by Wright and mini Wright meter, first readings of 17 people.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def test_generalised_esd_finds_rosners_three_behind_a_mask() -> None:
    result = outliers.generalised_esd(ROSNER, 10)
    assert [ROSNER[i] for i in result.outliers] == [6.01, 5.42, 5.34]
    assert result.statistics[:3] == pytest.approx((3.118, 2.942, 3.179), abs=1e-3)
    assert result.critical[:3] == pytest.approx((3.158, 3.151, 3.143), abs=2e-3)
    assert result.statistics[0] < result.critical[0], (
        "the first alone is not significant: stopping there finds none"
    )


def test_outlier_tests_flag_and_refuse() -> None:
    assert outliers.grubbs([10.0, 10.1, 9.9, 10.05, 30.0]).value == 30.0
    with pytest.raises(StatisticsRefusal, match="same"):
        outliers.grubbs([1.0, 1.0, 1.0])
    with pytest.raises(StatisticsRefusal, match="at least 3"):
        outliers.grubbs([1.0, 2.0])
    with pytest.raises(StatisticsRefusal, match="suspected"):
        outliers.generalised_esd([1.0, 2.0, 3.0], 2)


@SETTINGS
@given(st.integers(0, 10_000), st.floats(0.01, 1000.0))
def test_censored_estimates_scale_with_the_unit(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    values, limit = np.exp(rng.normal(0.0, 0.8, 14)), 0.7
    below = values < limit
    assume(int((~below).sum()) >= 2 and below.any())
    shown = np.where(below, limit, values)
    plain, scaled = censored.lognormal_mle(shown, below), censored.lognormal_mle(shown * factor, below)
    assert scaled.meanlog == pytest.approx(plain.meanlog + np.log(factor), abs=1e-6)
    assert scaled.sdlog == pytest.approx(plain.sdlog, rel=1e-6)
    for method in (censored.kaplan_meier, censored.regression_on_order_statistics):
        assert method(shown * factor, below).mean == pytest.approx(
            method(shown, below).mean * factor, rel=1e-9
        )


def test_nothing_censored_is_the_ordinary_answer() -> None:
    values = np.exp(np.random.default_rng(2).normal(size=25))
    none = np.zeros(25, dtype=bool)
    fit = censored.lognormal_mle(values, none)
    assert (fit.meanlog, fit.sdlog) == pytest.approx((np.log(values).mean(), np.log(values).std()))
    kaplan_meier = censored.kaplan_meier(values, none)
    assert (kaplan_meier.mean, kaplan_meier.sd) == pytest.approx((values.mean(), values.std(ddof=1)))


def test_censored_likelihood_is_not_biased_as_half_the_limit_is() -> None:
    rng = np.random.default_rng(4)
    fits, halves = [], []
    for _ in range(200):
        values = np.exp(rng.normal(0.0, 1.0, 40))
        below = values < 1.0
        fits.append(censored.lognormal_mle(np.where(below, 1.0, values), below).sdlog)
        halves.append(np.log(np.where(below, 0.5, values)).std(ddof=1))
    assert np.mean(fits) == pytest.approx(1.0, abs=0.05)
    assert abs(np.mean(halves) - 1.0) > 0.05


@pytest.mark.parametrize(
    ("values", "below", "words"),
    [
        ([1.0, 2.0, 3.0], [True, True, True], "Every result is below"),
        ([1.0, 2.0, 3.0], [True, True, False], "distinct"),
        ([1.0, 2.0, 2.0, 2.0], [True, False, False, False], "distinct"),
        ([0.0, 2.0, 3.0], [True, False, False], "zero or negative"),
        ([1.0, 2.0], [True], "flags"),
    ],
)
def test_what_censoring_leaves_nothing_of_is_refused(
    values: list[float], below: list[bool], words: str
) -> None:
    for method in (censored.lognormal_mle, censored.kaplan_meier, censored.regression_on_order_statistics):
        with pytest.raises(StatisticsRefusal, match=words):
            method(values, below)


def test_bland_altman_is_the_lancet_example() -> None:
    result = agreement.bland_altman(MINI, WRIGHT, method="approximate")
    assert result.bias == pytest.approx(-2.1, abs=0.05)
    assert result.sd == pytest.approx(38.8, abs=0.05)
    # Printed with 2 SDs and t 2.12: -79.9 (-114.3 to -45.5); with 1.96 the limit moves by 1.5.
    assert result.low == pytest.approx(-78.1, abs=0.1)
    exact = agreement.bland_altman(MINI, WRIGHT)
    assert exact.low_ci[0] < exact.low < exact.low_ci[1] < exact.high_ci[0] < exact.high < exact.high_ci[1]


@SETTINGS
@given(st.integers(0, 10_000), st.floats(0.01, 100.0), st.floats(-50.0, 50.0))
def test_agreement_does_not_depend_on_a_common_unit(seed: int, factor: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(50.0, 10.0, 12)
    y = x + rng.normal(1.0, 3.0, 12)
    plain, moved = agreement.concordance(x, y), agreement.concordance(factor * x + shift, factor * y + shift)
    assert moved.value == pytest.approx(plain.value, rel=1e-7)
    assert plain.ci_low <= plain.value <= plain.ci_high
    line, turned = method_lines.deming(x, y), method_lines.deming(y, x)
    assert line.slope == pytest.approx(1 / turned.slope, rel=1e-8)
    robust = method_lines.passing_bablok(x, y)
    assert robust.slope_ci[0] <= robust.slope <= robust.slope_ci[1]
    assert method_lines.passing_bablok(factor * x, factor * y).slope == pytest.approx(robust.slope, rel=1e-7)


def test_method_lines_find_a_planted_line() -> None:
    rng = np.random.default_rng(6)
    truth = rng.uniform(10, 100, 80)
    x, y = truth + rng.normal(0, 1.0, 80), 3.0 + 1.1 * truth + rng.normal(0, 1.0, 80)
    for line in (method_lines.deming(x, y), method_lines.passing_bablok(x, y)):
        assert line.slope_ci[0] < 1.1 < line.slope_ci[1]
        assert line.intercept_ci[0] < 3.0 < line.intercept_ci[1]


def test_agreement_refuses_what_has_no_contrast() -> None:
    with pytest.raises(StatisticsRefusal, match="same"):
        agreement.intraclass_correlations([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(StatisticsRefusal, match="missing"):
        agreement.intraclass_correlations([[1.0, float("nan")], [1.0, 2.0]])
    with pytest.raises(StatisticsRefusal, match="no width"):
        agreement.bland_altman([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    with pytest.raises(StatisticsRefusal, match="same result"):
        agreement.concordance([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0])


def test_icc_intervals_hold_their_estimates() -> None:
    forms = agreement.intraclass_correlations(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9]]
    )
    assert all(form.ci_low <= form.value <= form.ci_high for form in forms.values())


@SETTINGS
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from(get_args(multiplicity.Adjustment)))
def test_adjusted_p_values_keep_order_and_never_shrink(
    p_values: list[float], method: multiplicity.Adjustment
) -> None:
    adjusted = multiplicity.adjust(p_values, method)
    assert (adjusted >= np.array(p_values) - 1e-12).all()
    assert (adjusted <= 1.0).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(adjusted[order]) >= -1e-12).all()


def test_two_sample_hotelling_in_one_dimension_is_the_t_test() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(0, 1, 7), rng.normal(0.5, 1, 9)
    result = multivariate.two_sample(x[:, None], y[:, None])
    t = stats.ttest_ind(x, y)
    assert result.t2 == pytest.approx(t.statistic**2)
    assert result.p == pytest.approx(t.pvalue)


def test_hotelling_ignores_units_and_refuses_redundancy() -> None:
    rng = np.random.default_rng(9)
    x, y = rng.normal(0, 1, (8, 3)), rng.normal(0.3, 1, (6, 3))
    scale = np.array([1e-6, 1.0, 1e6])
    assert multivariate.two_sample(x * scale, y * scale).t2 == pytest.approx(multivariate.two_sample(x, y).t2)
    with pytest.raises(StatisticsRefusal, match="combinations"):
        multivariate.one_sample(np.column_stack([x, x.sum(axis=1)]), [0.0] * 4)
    with pytest.raises(StatisticsRefusal, match="at least 4"):
        multivariate.one_sample(x[:3], [0.0] * 3)


def test_description_keeps_digits_far_from_zero() -> None:
    centre, values = describe.centred(["1000000000000.4", "1000000000000.3", "1000000000000.5"])
    assert describe.summary(values, centre=centre).sd == pytest.approx(0.1, rel=1e-12)
    constant = describe.summary([5.0, 5.0])
    assert (constant.sd, constant.lag1_autocorrelation) == (0.0, None)
    with pytest.raises(StatisticsRefusal, match="Nothing varies"):
        describe.anova_oneway([[1.0, 1.0], [2.0, 2.0]])
