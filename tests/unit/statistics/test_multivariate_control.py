"""PCA monitoring, Hotelling and MEWMA charts: published limits, false-alarm rates, contributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics import charts_multivariate as multi
from warehouse.statistics import mspc
from warehouse.statistics.refusal import StatisticsRefusal

COVARIANCE = np.array([[1.0, 0.7, 0.2], [0.7, 1.0, 0.1], [0.2, 0.1, 1.0]])
GOOD = np.random.default_rng(1).multivariate_normal([0, 0, 0], COVARIANCE, 80)


@pytest.mark.parametrize(
    ("attributes", "weight", "length", "published"),
    [(2, 0.1, 200, 8.64), (4, 0.1, 200, 12.73), (2, 0.1, 1000, 12.34)],  # Prabhu & Runger 1997
)
def test_mewma_limits_are_the_published_ones(
    attributes: int, weight: float, length: float, published: float
) -> None:
    assert multi.mewma_limit(attributes, weight, length) == pytest.approx(published, rel=2e-3)


def test_mewma_of_one_attribute_is_the_ewma_of_lucas_and_saccucci() -> None:
    assert np.sqrt(multi.mewma_limit(1, 0.1, 500.0)) == pytest.approx(2.814, abs=1e-3)


def test_mewma_sees_a_small_shift_before_hotelling() -> None:
    rows = np.random.default_rng(5).multivariate_normal([0.7, -0.7, 0], COVARIANCE, 40)
    base = multi.multivariate_baseline(GOOD)
    slow, fast = multi.hotelling_chart(rows, base), multi.mewma_chart(rows, base)
    assert fast.signals
    assert not slow.signals or fast.signals[0] < slow.signals[0]


def test_phase_one_t2_adds_up_and_phase_two_rings_as_often_as_it_says() -> None:
    assert multi.hotelling_chart(GOOD).t2.sum() == pytest.approx(79 * 3)
    generator = np.random.default_rng(2)
    rang = [
        len(
            multi.hotelling_chart(
                generator.standard_normal((200, 3)),
                multi.multivariate_baseline(generator.standard_normal((25, 3))),
                alpha=0.05,
            ).signals
        )
        for _ in range(300)
    ]
    assert np.mean(rang) / 200 == pytest.approx(0.05, abs=4 * np.std(rang) / 200 / np.sqrt(300))


def test_the_attribute_that_moved_contributes_most() -> None:
    chart = multi.hotelling_chart([[0.0, 0.0, 6.0]], multi.multivariate_baseline(GOOD))
    assert chart.signals == (0,)
    assert chart.contributions[0].argmax() == 2


def test_successive_differences_are_not_widened_by_a_shift_in_the_baseline() -> None:
    moved = GOOD + np.where(np.arange(80) < 40, 0, 5)[:, None]
    robust = multi.multivariate_baseline(moved, "successive differences").covariance
    assert np.trace(robust) < 0.3 * np.trace(multi.multivariate_baseline(moved).covariance)


def test_three_limits_of_t2_have_their_own_names_and_values() -> None:
    """NIST 6.5.4.3 and Tracy, Young & Mason: phase I below the mean's F limit below phase II."""
    beta, mdatools, later = (
        mspc.t2_limit(30, 2, kind, 0.01) for kind in ("phase I beta", "F as mdatools", "phase II F")
    )
    assert beta < mdatools < later
    assert (beta, later) == pytest.approx((8.102, 11.672), abs=1e-3)


def test_contributions_add_up() -> None:
    seen = mspc.project(mspc.fit_pca(GOOD, 2), GOOD + 1.0)
    np.testing.assert_allclose(seen.t2_contributions.sum(axis=1), seen.t2)
    np.testing.assert_allclose(seen.spe_contributions.sum(axis=1), seen.spe)


@pytest.mark.parametrize(("trained_on", "spe_excess"), [(80, 0.02), (1000, 0.004)])
def test_limits_ring_as_often_as_they_say_over_many_training_sets(trained_on: int, spe_excess: float) -> None:
    """T2 at its level; SPE a little above it after few training rows, as its docstring says."""
    generator = np.random.default_rng(8)
    rates = np.zeros((100, 3))
    for run in range(100):
        rows = generator.multivariate_normal([0, 0, 0], COVARIANCE, trained_on + 400)
        model = mspc.fit_pca(rows[:trained_on], 2)
        fresh = mspc.project(model, rows[trained_on:])
        limits = (mspc.spe_limit(model, "Jackson-Mudholkar"), mspc.spe_limit(model, "Box chi-square"))
        t2 = np.mean(fresh.t2 > mspc.t2_limit(trained_on, 2, "phase II F"))
        rates[run] = t2, *(np.mean(fresh.spe > limit) for limit in limits)
    error = 4 * rates.std(axis=0) / 10
    means = rates.mean(axis=0)
    assert abs(means[0] - 0.05) < error[0]
    assert np.all(means[1:] > 0.05 - error[1:])
    assert np.all(means[1:] < 0.05 + spe_excess + error[1:])


def test_a_broken_correlation_shows_in_spe_not_in_t2() -> None:
    model = mspc.fit_pca(GOOD, 2)
    odd = mspc.project(model, [[1.5, -1.5, 0.0]])
    assert odd.spe[0] > mspc.spe_limit(model, alpha=0.001)
    assert odd.t2[0] < mspc.t2_limit(80, 2, "phase II F")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.01, 1.0, 50.0]), min_size=3, max_size=3), st.permutations([0, 1, 2]))
def test_units_and_order_of_variables_change_nothing(scales: list[float], order: list[int]) -> None:
    plain = mspc.project(mspc.fit_pca(GOOD, 2), GOOD)
    moved = (GOOD * np.array(scales))[:, order]
    other = mspc.project(mspc.fit_pca(moved, 2), moved)
    np.testing.assert_allclose(other.t2, plain.t2, rtol=1e-7)
    np.testing.assert_allclose(other.spe, plain.spe, rtol=1e-6, atol=1e-10)


def test_unfolding_keeps_channels_apart() -> None:
    generator = np.random.default_rng(6)
    batches = generator.normal(size=(12, 5, 3))
    model = mspc.fit_pca(mspc.unfold(batches), 2)
    odd = batches[:1].copy()
    odd[0, :, 1] += 8
    seen = mspc.project(model, mspc.unfold(odd))
    by_channel = mspc.by_channel(seen.spe_contributions, 3)
    assert by_channel.argmax() == 1
    assert by_channel.sum() == pytest.approx(seen.spe[0])
    assert mspc.by_time(seen.spe_contributions, 3).shape == (1, 5)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: mspc.fit_pca(GOOD, 4),
        lambda: mspc.fit_pca(np.column_stack([GOOD, np.ones(80)]), 2),
        lambda: mspc.fit_pca(np.column_stack([GOOD[:, 0], GOOD[:, 0]]), 2),
        lambda: mspc.spe_limit(mspc.fit_pca(GOOD, 3)),
        lambda: mspc.project(mspc.fit_pca(GOOD, 2), GOOD[:, :2]),
        lambda: multi.multivariate_baseline(GOOD[:4]),
        lambda: multi.multivariate_baseline(np.column_stack([GOOD, GOOD.sum(axis=1)])),
        lambda: multi.mewma_chart(GOOD, multi.multivariate_baseline(GOOD), weight=0.0),
        lambda: mspc.unfold(GOOD),
    ],
)
def test_degenerate_inputs_are_refused_in_words(attempt: object) -> None:
    with pytest.raises(StatisticsRefusal, match=r"\w+ \w+"):
        attempt()  # type: ignore[operator]
