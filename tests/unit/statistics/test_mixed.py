"""Mixed models: agreement with a second engine, invariance, boundaries, refusals and speed of the search."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics.mixed import (
    MixedFit,
    contrast,
    fit_mixed,
    interaction,
    treatment_coding,
)
from warehouse.statistics.mixed_profile import profile_intervals
from warehouse.statistics.refusal import StatisticsRefusal


def _study(seed: int, *, donors: int = 6, sites: int = 3, donor_sd: float = 1.0) -> dict[str, Any]:
    """Donors split over sites with one to three assays a lot, about a fifth of the cells missing."""
    rng = np.random.default_rng(seed)
    donor, site, rows = [], [], []
    bump, shift = rng.normal(0, donor_sd, donors), rng.normal(0, 0.5, sites)
    for d in range(donors):
        for s in range(sites):
            if rng.random() < 0.2 and (d, s) not in {(0, k) for k in range(sites)}:
                continue
            lot = rng.normal(0, 0.4)
            for _ in range(rng.integers(1, 4)):
                donor.append(f"D{d}")
                site.append(f"S{s}")
                rows.append(bump[d] + shift[s] + lot + rng.normal(0, 0.3))
    lots = [f"{d}-{s}" for d, s in zip(donor, site, strict=True)]
    return {"y": np.array(rows), "donor": donor, "site": site, "lot": lots}


def _fit(study: dict[str, Any], factors: tuple[str, ...] = ("donor", "lot")) -> MixedFit:
    columns, levels = treatment_coding(study["site"])
    x = np.hstack([np.ones((len(study["y"]), 1)), columns])
    return fit_mixed(study["y"], x, {name: study[name] for name in factors}, names=levels)


def _compare(fit: MixedFit, study: dict[str, Any], formula: str) -> None:
    """Criterion, variances and Kenward-Roger's F and df of each fixed effect, beside lme_python's."""
    import lme_python

    frame = pl.DataFrame(study)
    other = lme_python.lmer(formula, frame, True, control=lme_python.FitControl(tolerance=1e-12))
    # Never worse than the other search; where it stopped early the rest cannot be compared.
    assert fit.criterion <= other.reml_criterion + 1e-6
    if other.reml_criterion - fit.criterion > 1e-6:
        return
    theirs = {row[0].lower(): row[3] for row in other.var_corr}
    for name, value in fit.variances.items():
        assert value == pytest.approx(theirs[name], rel=5e-3, abs=2e-4 * sum(theirs.values()))
    other.with_kenward_roger(frame)
    for j in range(1, len(fit.names)):
        weights = np.eye(len(fit.names))[j]
        ours, want = contrast(fit, weights), other.test_contrast([weights.tolist()], "kenward-roger")
        assert ours.df == pytest.approx(want.den_df, rel=5e-3)
        assert (ours.estimate / ours.se) ** 2 == pytest.approx(want.f_value, rel=5e-3, abs=1e-5)


# Two valleys each, of which a search from the lowest point of a coarse grid finds the wrong one.
@example(seed=25907, donors=3, sites=3, size=0.0)
@example(seed=789951, donors=3, sites=2, size=1.0)
@example(seed=915530, donors=4, sites=2, size=1.0)
@given(
    seed=st.integers(0, 10**6),
    donors=st.integers(3, 9),
    sites=st.integers(2, 4),
    size=st.sampled_from([0.0, 0.3, 2.0]),
)
@settings(max_examples=60, deadline=None)
def test_agrees_with_a_second_engine_on_unbalanced_splits(
    seed: int, donors: int, sites: int, size: float
) -> None:
    study = _study(seed, donors=donors, sites=sites, donor_sd=size)
    try:
        fit = _fit(study)
    except StatisticsRefusal:
        return
    _compare(fit, study, "y ~ site + (1|donor) + (1|lot)")


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_agrees_with_a_second_engine_on_crossed_factors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(25, 80))
    study: dict[str, Any] = {
        "donor": [f"D{v}" for v in rng.integers(0, 7, n)],
        "lab": [f"L{v}" for v in rng.integers(0, 4, n)],
        "site": [f"S{v}" for v in rng.integers(0, 3, n)],
    }
    effect = {name: rng.normal(0, 1) for name in {*study["donor"], *study["lab"]}}
    study["y"] = rng.normal(0, 0.5, n) + [
        effect[d] + effect[w] for d, w in zip(study["donor"], study["lab"], strict=True)
    ]
    _compare(_fit(study, ("donor", "lab")), study, "y ~ site + (1|donor) + (1|lab)")


def test_three_pairs_at_the_boundary_keep_two_degrees_of_freedom() -> None:
    """R's pbkrtest gives 2 where Satterthwaite claims 4 once the donor variance is 0."""
    y = [0.0, 1.0, -1.0, 0.2, -1.0, 1.1]
    x = np.array([[1.0, 0.0]] * 3 + [[1.0, 1.0]] * 3)
    fit = fit_mixed(y, x, {"donor": ["a", "b", "c"] * 2})
    assert fit.variances["donor"] == 0.0
    assert fit.boundary == ("donor",)
    assert contrast(fit, [0, 1]).df == pytest.approx(2.0)
    assert contrast(fit, [0, 1], "satterthwaite").df == pytest.approx(4.0)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_complete_pairs_inside_the_boundary_are_the_paired_t_test(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 9))
    left = rng.normal(0, 2.0, n)
    right = left + rng.normal(0.3, 0.4, n)
    x = np.column_stack([np.ones(2 * n), np.repeat([0.0, 1.0], n)])
    fit = fit_mixed(np.concatenate([left, right]), x, {"donor": [*range(n)] * 2})
    if fit.boundary:
        return
    got, want = contrast(fit, [0, 1]), stats.ttest_rel(right, left).confidence_interval(0.90)
    assert got.df == pytest.approx(n - 1, rel=1e-5)
    assert got.interval() == pytest.approx((want.low, want.high), rel=1e-5)


@given(
    seed=st.integers(0, 10**6),
    factor=st.sampled_from([1e-6, 3.0, 1e8]),
    shift=st.sampled_from([0.0, -5.0, 1e4]),
)
@settings(max_examples=40, deadline=None)
def test_order_labels_and_units_do_not_matter(seed: int, factor: float, shift: float) -> None:
    study = _study(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(study["y"]))
    other = {name: [values[i] for i in order] for name, values in study.items()}
    other["donor"] = [f"Z{d[::-1]}" for d in other["donor"]]
    other["y"] = factor * (np.array(other["y"]) + shift)
    one, two = _fit(study), _fit(other)
    assert two.boundary == one.boundary
    for name, value in one.variances.items():
        assert two.variances[name] == pytest.approx(factor**2 * value, rel=1e-4, abs=1e-9 * factor**2)
    first, second = contrast(one, [0, 1, 0]), contrast(two, [0, 1, 0])
    assert second.estimate == pytest.approx(factor * first.estimate, rel=1e-5, abs=1e-7 * factor)
    assert second.se == pytest.approx(factor * first.se, rel=1e-5)
    assert second.df == pytest.approx(first.df, rel=1e-4)


def test_the_reference_level_does_not_change_a_contrast() -> None:
    study = _study(11)
    found = []
    for reference, weights in (("S0", [0, -1, 1]), ("S1", [0, 0, 1]), ("S2", [0, 0, -1])):
        columns, levels = treatment_coding(study["site"], reference)
        x = np.hstack([np.ones((len(study["y"]), 1)), columns])
        fit = fit_mixed(study["y"], x, {"donor": study["donor"], "lot": study["lot"]}, names=levels)
        got = contrast(fit, weights)
        found.append((got.estimate, got.se, got.df))
    assert found[1] == pytest.approx(found[0], rel=1e-8)
    assert found[2] == pytest.approx(found[0], rel=1e-8)


def test_the_point_found_is_the_best_of_a_fine_grid() -> None:
    """The search is checked against brute force on the dense likelihood, written out independently."""
    study = _study(5)
    y = study["y"]
    columns, _ = treatment_coding(study["site"])
    x = np.hstack([np.ones((y.size, 1)), columns])

    def relation(labels: list[str]) -> Any:
        return (np.array(labels)[:, None] == np.array(labels)[None, :]).astype(float)

    def dense(donor: float, lot: float) -> float:
        w = np.eye(y.size) + donor * relation(study["donor"]) + lot * relation(study["lot"])
        inverse = np.linalg.inv(w)
        xx = x.T @ inverse @ x
        rest = y - x @ np.linalg.solve(xx, x.T @ inverse @ y)
        m = y.size - x.shape[1]
        rss = rest @ inverse @ rest
        return float(
            np.linalg.slogdet(w)[1] + np.linalg.slogdet(xx)[1] + m * (1 + np.log(2 * np.pi * rss / m))
        )

    fit = _fit(study)
    ratio = {name: value / fit.variances["residual"] for name, value in fit.variances.items()}
    assert dense(ratio["donor"], ratio["lot"]) == pytest.approx(fit.criterion, abs=1e-8)
    grid = [0.0, *np.geomspace(1e-3, 1e3, 25)]
    assert fit.criterion <= min(dense(a, b) for a in grid for b in grid) + 1e-9


def test_profile_ends_drop_the_likelihood_by_the_quantile() -> None:
    """Balanced one-way data have a closed likelihood, so the interval's ends can be put back into it."""
    rng = np.random.default_rng(2)
    lots, times = 7, 4
    table = rng.normal(0, 2.0, (lots, 1)) + rng.normal(0, 1.0, (lots, times))
    within = ((table - table.mean(1, keepdims=True)) ** 2).sum()
    between = times * ((table.mean(1) - table.mean()) ** 2).sum()

    def deviance(lot_sd: float, log_sigma2: float) -> float:
        s2, both = np.exp(log_sigma2), np.exp(log_sigma2) + times * lot_sd**2
        return float(
            lots * times * np.log(2 * np.pi) + lots * (times - 1) * np.log(s2)
            + lots * np.log(both) + within / s2 + between / both
        )  # fmt: skip

    labels = [str(i) for i in range(lots) for _ in range(times)]
    got = profile_intervals(table.ravel(), np.ones((lots * times, 1)), {"lot": labels}, level=0.90)
    grid = np.linspace(-3, 4, 20001)
    for end in got.sd["lot"]:
        fall = min(deviance(end, value) for value in grid) + 2.0 * got.log_likelihood
        assert fall == pytest.approx(stats.chi2.ppf(0.90, 1), abs=1e-5)


@pytest.mark.parametrize(
    ("y", "columns", "factors", "words"),
    [
        ([1.0] * 6, 1, {"donor": list("aabbcc")}, "does not vary"),
        ([1.0, 1.0, 2.0, 2.0, 4.0, 4.0], 1, {"donor": list("aabbcc")}, "residual variance is 0"),
        ([1.0, 2.0, 3.0, 4.5, 5.0, 6.0], 1, {"donor": list("abcdef")}, "level for every row"),
        ([1.0, 2.0, 3.0, 4.5, 5.0, 6.0], 1, {"donor": list("aaaaaa")}, "one level"),
        ([1.0, 2.0, 3.0, 4.5, 5.0, 6.0], 1, {"donor": list("aabbcc"), "day": list("112233")}, "rows alike"),
        ([1.0, 2.0, 3.0, 4.5, 5.0, float("nan")], 1, {"donor": list("aabbcc")}, "missing"),
        ([1.0, 2.0, 3.0, 4.5, 5.0, 6.0], 3, {"donor": list("aabbcc")}, "told apart"),
    ],
)
def test_degenerate_inputs_are_refused_in_words(
    y: list[float], columns: int, factors: dict[str, list[str]], words: str
) -> None:
    with pytest.raises(StatisticsRefusal, match=words):
        fit_mixed(y, np.ones((6, columns)), factors)


def test_interaction_labels_are_cells() -> None:
    assert len(set(interaction(["a", "a", "b"], ["1", "2", "1"]))) == 3


def test_lme4s_spline_and_the_solved_ends_are_close() -> None:
    rng = np.random.default_rng(4)
    labels = [str(i) for i in range(8) for _ in range(4)]
    y = np.repeat(rng.normal(0, 1.0, 8), 4) + rng.normal(0, 0.7, 32)
    solved = profile_intervals(y, np.ones((32, 1)), {"lot": labels})
    read = profile_intervals(y, np.ones((32, 1)), {"lot": labels}, ends="spline")
    for name, interval in solved.sd.items():
        assert read.sd[name] == pytest.approx(interval, rel=2e-3)
    assert read.fixed["x0"] == pytest.approx(solved.fixed["x0"], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("donor", "site", "words"),
    [
        # Four rows: two degrees of freedom for three variances.
        (["a", "a", "a", "b"], ["A", "B", "B", "B"], "2 degrees of freedom for 3 variances"),
        # Many assays, but three lots at two sites leave one degree of freedom for donor and lot.
        (["a"] * 4 + ["b"] * 2, ["A", "A", "B", "B", "B", "B"], "cannot be told apart"),
    ],
)
def test_variances_that_share_a_ridge_are_refused(donor: list[str], site: list[str], words: str) -> None:
    rng = np.random.default_rng(6)
    lot = [f"{d}{s}" for d, s in zip(donor, site, strict=True)]
    study = {"y": rng.normal(size=len(donor)), "donor": donor, "site": site, "lot": lot}
    with pytest.raises(StatisticsRefusal, match=words):
        _fit(study)
