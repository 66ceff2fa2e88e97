"""Variance components: published data, unbalanced layouts, coverage, gauge studies, confounding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from warehouse.statistics.gauge import gauge
from warehouse.statistics.mixed import fit_mixed
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.varcomp import lab_site_confounding, mls_interval, nested_anova, satterthwaite

# Dyestuff yield, Davies & Goldsmith (1972): six batches of five.
DYESTUFF = [
    1545, 1440, 1440, 1520, 1580, 1540, 1555, 1490, 1560, 1495, 1595, 1550, 1605, 1510, 1560,
    1445, 1440, 1595, 1465, 1545, 1595, 1630, 1515, 1635, 1625, 1520, 1455, 1450, 1480, 1445,
]  # fmt: skip
BATCH = [b for b in "ABCDEF" for _ in range(5)]


def test_published_one_way_mean_squares() -> None:
    parts = nested_anova(DYESTUFF, {"batch": BATCH}).components
    assert parts["batch"].ms == pytest.approx(11271.5)
    assert parts["error"].ms == pytest.approx(2451.25)
    assert parts["batch"].variance == pytest.approx(1764.05)
    assert parts["total"].percent == pytest.approx(100.0)


def _nested(seed: int, *, balanced: bool) -> tuple[np.ndarray, list[str], list[str]]:
    rng = np.random.default_rng(seed)
    y, site, day = [], [], []
    for s in range(4):
        shift = rng.normal(0, 1.0)
        for d in range(3):
            level = shift + rng.normal(0, 0.7)
            for _ in range(3 if balanced else rng.integers(1, 5)):
                y.append(50.0 + level + rng.normal(0, 0.5))
                site.append(f"S{s}")
                day.append(f"{d}")
    return np.array(y), site, day


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_balanced_components_are_those_of_reml_when_none_is_negative(seed: int) -> None:
    y, site, day = _nested(seed, balanced=True)
    found = nested_anova(y, {"site": site, "day": day})
    assert found.balanced
    if min(c.raw for c in found.components.values()) <= 0.0:
        return
    cells = [f"{s}/{d}" for s, d in zip(site, day, strict=True)]
    fit = fit_mixed(y, np.ones((y.size, 1)), {"site": site, "site:day": cells})
    for name in ("site", "site:day"):
        assert found.components[name].variance == pytest.approx(fit.variances[name], rel=1e-5)


def test_unbalanced_components_are_unbiased() -> None:
    """One layout, many draws: the mean of the components must be the truth."""
    _, site, day = _nested(3, balanced=False)
    rng = np.random.default_rng(8)
    cells = np.unique([f"{s}/{d}" for s, d in zip(site, day, strict=True)], return_inverse=True)[1]
    places = np.unique(site, return_inverse=True)[1]
    total = np.zeros(3)
    runs = 800
    for _ in range(runs):
        y = rng.normal(0, 1.0, 4)[places] + rng.normal(0, 0.7, 12)[cells] + rng.normal(0, 0.5, len(site))
        found = nested_anova(y, {"site": site, "day": day}).components
        total += [found["site"].raw, found["site:day"].raw, found["error"].raw]
    assert total / runs == pytest.approx([1.0, 0.49, 0.25], rel=0.15)


@given(seed=st.integers(0, 10**6), factor=st.sampled_from([1e-5, 40.0]), shift=st.sampled_from([0.0, 1e6]))
@settings(max_examples=25, deadline=None)
def test_order_labels_units_and_offset_do_not_matter(seed: int, factor: float, shift: float) -> None:
    y, site, day = _nested(seed, balanced=False)
    one = nested_anova(y, {"site": site, "day": day})
    order = np.random.default_rng(seed).permutation(y.size)
    two = nested_anova(
        factor * (y[order] + shift), {"site": [site[i] * 2 for i in order], "day": [day[i] for i in order]}
    )
    for first, second in zip(one.components.values(), two.components.values(), strict=True):
        assert second.raw == pytest.approx(factor**2 * first.raw, rel=1e-4, abs=1e-6 * factor**2)
        assert second.df == pytest.approx(first.df, rel=1e-4)


@pytest.mark.parametrize(
    ("y", "factors", "words"),
    [
        ([1.0, 1.0, 1.0, 1.0], {"site": list("aabb")}, "all|same|no variation"),
        ([1.0, 1.0, 2.0, 2.0], {"site": list("aabb")}, "identical"),
        ([1.0, 2.0, 3.0, 4.0], {"site": list("aaaa")}, "no degrees of freedom"),
        ([1.0, 2.0, 3.0, 4.0], {"site": list("abcd")}, "no degrees of freedom"),
        ([1.0, 2.0, 3.0, 4.0], {}, "at least one factor"),
    ],
)
def test_degenerate_nested_layouts_are_refused(
    y: list[float], factors: dict[str, list[str]], words: str
) -> None:
    with pytest.raises(StatisticsRefusal, match=words):
        nested_anova(y, factors)


def test_one_mean_square_has_the_chi_square_interval() -> None:
    estimate, low, high = mls_interval([4.0], [10], [1.0], level=0.90)
    assert (estimate, low) == pytest.approx((4.0, 40.0 / stats.chi2.isf(0.05, 10)))
    assert high == pytest.approx(40.0 / stats.chi2.ppf(0.05, 10))


def test_satterthwaite_of_equal_parts_adds_their_degrees_of_freedom() -> None:
    assert satterthwaite([2.0, 2.0], [6, 6], [0.5, 0.5]) == pytest.approx((2.0, 12.0))


@pytest.mark.simulation
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, -1.0, 0.0), (1.0, 2.0, -1.0), (0.2, -0.1, -0.1)])
def test_mls_intervals_cover(weights: tuple[float, ...]) -> None:
    rng = np.random.default_rng(4)
    true, df = np.array([3.0, 1.0, 2.0]), np.array([4.0, 9.0, 20.0])
    aim, runs = float(np.dot(weights, true)), 1500
    hits = 0
    for _ in range(runs):
        _, low, high = mls_interval(true * rng.chisquare(df) / df, df, weights, level=0.90)
        hits += low <= aim <= high
    assert 0.88 <= hits / runs <= 0.965


def _gauge_study(seed: int) -> tuple[np.ndarray, list[str], list[str]]:
    rng = np.random.default_rng(seed)
    parts, people = rng.normal(0, 2.0, 10), rng.normal(0, 0.5, 3)
    rows = [(p, o) for p in range(10) for o in range(3) for _ in range(2)]
    y = np.array([parts[p] + people[o] + rng.normal(0, 0.4) for p, o in rows])
    return y, [f"P{p}" for p, _ in rows], [f"O{o}" for _, o in rows]


def test_crossed_gauge_is_the_mixed_model_and_adds_up() -> None:
    y, part, operator = _gauge_study(1)
    found = gauge(y, part, operator, tolerance=20.0).components
    cells = [f"{p}{o}" for p, o in zip(part, operator, strict=True)]
    fit = fit_mixed(y, np.ones((60, 1)), {"part": part, "operator": operator, "both": cells})
    if not fit.boundary:
        assert found["part"].variance == pytest.approx(fit.variances["part"], rel=1e-4)
        assert found["interaction"].variance == pytest.approx(fit.variances["both"], rel=1e-4)
    assert found["total"].variance == pytest.approx(found["gauge"].variance + found["part"].variance)
    for piece in found.values():
        assert 0.0 <= piece.low <= piece.variance <= piece.high
    pooled = gauge(y, part, operator, pool_above=0.0)
    assert pooled.interaction_pooled
    assert "interaction" not in pooled.components


def test_nested_gauge_and_unbalanced_refusal() -> None:
    y, part, operator = _gauge_study(2)
    own = [f"{o}/{p}" for p, o in zip(part, operator, strict=True)]
    assert gauge(y, own, operator, design="nested").components["repeatability"].variance == pytest.approx(
        0.16, rel=0.6
    )
    with pytest.raises(StatisticsRefusal, match="same number in every"):
        gauge(y[:-1], part[:-1], operator[:-1])


def test_a_site_with_its_own_laboratory_is_confounded() -> None:
    own = lab_site_confounding(["A", "A", "B", "B"], ["L1", "L1", "L2", "L2"])
    assert own.confounded
    assert own.parts == (("A",), ("B",))
    joined = lab_site_confounding(["A", "A", "B", "B", "C"], ["L1", "L2", "L2", "L3", "L3"])
    assert not joined.confounded
    part = lab_site_confounding(["A", "B", "C"], ["L1", "L1", "L2"])
    assert part.confounded
    assert part.parts == (("A", "B"), ("C",))


def test_intervals_of_unbalanced_components_rest_on_their_exact_variance() -> None:
    """2 tr(A_i V A_j V) with the matrices written out, for a layout in which no two cells are alike."""
    site = [0] * 5 + [1] * 7 + [2] * 4
    day = [0, 0, 1, 2, 2, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7]
    y = np.array([3.1, 2.7, 4.4, 1.2, 1.9, 7.3, 9.1, 8.2, 8.8, 6.1, 5.2, 6.4, 1.3, 0.2, 1.0, 2.9])
    found = nested_anova(y, {"site": site, "day": day}).components
    parts = [found["site"], found["site:day"], found["error"]]
    assert all(part.raw > 0 for part in parts)
    n = y.size
    grouped = [np.equal.outer(codes, codes).astype(np.float64) for codes in (site, day)]
    same = [np.ones((n, n)), *grouped, np.eye(n)]
    means = [group / group.sum(axis=1, keepdims=True) for group in same]
    forms = [fine - coarse for coarse, fine in itertools.pairwise(means)]
    inverse = np.linalg.inv([[np.trace(a @ group) for group in same[1:]] for a in forms])
    whole = sum(part.raw * group for part, group in zip(parts, same[1:], strict=True))
    squares = np.array([[2.0 * np.trace(a @ whole @ b @ whole) for b in forms] for a in forms])
    covariance = inverse @ squares @ inverse.T
    for k, part in enumerate(parts[:2]):
        half = (part.sd_high**2 - part.raw) / stats.norm.ppf(0.975)
        assert half**2 == pytest.approx(covariance[k, k], rel=1e-9)
