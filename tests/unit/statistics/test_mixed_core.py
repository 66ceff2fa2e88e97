"""The sparse algebra of mixed models against the same quantities from dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.statistics.mixed_core import cross_products, derivatives, profile


@given(seed=st.integers(0, 10**6), factors=st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_every_quantity_equals_its_dense_definition(seed: int, factors: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(12, 40))
    codes: list[np.ndarray] = []
    for _ in range(factors):
        code = rng.integers(0, int(rng.integers(2, n // 2)), n)
        if codes and rng.random() < 0.5:  # nested in the one before
            code = 100 * codes[-1] + code % 3
        codes.append(np.unique(code, return_inverse=True)[1])
    x, y = np.column_stack([np.ones(n), rng.normal(size=n)]), rng.normal(size=n)
    lam = np.where(rng.random(factors) < 0.25, 0.0, 10.0 ** rng.uniform(-2, 2, factors))

    relations = [(code[:, None] == code[None, :]).astype(float) for code in codes]
    w = np.eye(n) + sum((ratio * g for ratio, g in zip(lam, relations, strict=True)), np.zeros((n, n)))
    inverse = np.linalg.inv(w)
    phi = np.linalg.inv(x.T @ inverse @ x)
    p = inverse - inverse @ x @ phi @ x.T @ inverse

    cp = cross_products(np.column_stack([x, y]), codes)
    at = profile(cp, lam)
    of = derivatives(cp, at)
    assert at.log_det_w == pytest.approx(np.linalg.slogdet(w)[1], abs=1e-8)
    assert at.log_det_x == pytest.approx(np.linalg.slogdet(x.T @ inverse @ x)[1], abs=1e-8)
    assert at.rss == pytest.approx(y @ p @ y, rel=1e-7)
    assert at.beta == pytest.approx(phi @ x.T @ inverse @ y, rel=1e-6, abs=1e-9)
    for k, g in enumerate(relations):
        assert of.trace_w[k] == pytest.approx(np.trace(inverse @ g), rel=1e-7)
        assert of.trace_p[k] == pytest.approx(np.trace(p @ g), rel=1e-7, abs=1e-9)
        assert of.square[k] == pytest.approx(y @ p @ g @ p @ y, rel=1e-6, abs=1e-9)
        assert of.hh[k] == pytest.approx(x.T @ inverse @ g @ inverse @ x, rel=1e-6, abs=1e-8)
        for j, other in enumerate(relations):
            assert of.trace_ww[k, j] == pytest.approx(np.trace(inverse @ g @ inverse @ other), rel=1e-6)
            assert of.trace_pp[k, j] == pytest.approx(np.trace(p @ g @ p @ other), rel=1e-6, abs=1e-8)
            assert of.bilinear[k, j] == pytest.approx(y @ p @ g @ p @ other @ p @ y, rel=1e-6, abs=1e-8)
            want = x.T @ inverse @ g @ inverse @ other @ inverse @ x
            assert of.q[k, j] == pytest.approx(want, rel=1e-5, abs=1e-7)


def test_two_nested_layers_need_no_dense_rest_and_the_others_do() -> None:
    lot, donor, run = np.arange(24) // 2, np.arange(24) // 6, np.arange(24) % 3
    data = np.column_stack([np.ones(24), np.arange(24.0)])
    assert cross_products(data, [donor, lot]).chain == 2
    assert cross_products(data, [donor, lot]).c33.shape == (0, 0)
    crossed = cross_products(data, [donor, run, lot])
    assert crossed.order == (2, 0, 1)
    assert crossed.c33.shape == (3, 3)
