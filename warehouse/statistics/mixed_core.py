"""Cross products of a linear mixed model and what the likelihood needs of them.

Belongs here: the algebra of V = sigma2 * W, W = I + sum_k lambda_k Z_k Z_k', for crossed or nested random
intercepts: log determinant, quadratic forms, traces. Does not belong here: optimising (`mixed_fit`),
degrees of freedom and everything a caller sees (`mixed`).

Nothing of size n x n or q x q is formed. The factor with most levels (lots, usually) and the largest one that
it is nested in (donors) have an inverse in closed form, one division a level. What is left over the other
factors, few levels as a rule, is one small dense matrix (Woodbury). All of it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


@dataclass(frozen=True)
class CrossProducts:
    """What the likelihood needs of (X, y, factors); `data` is [X y], n x (p+1).

    `order` lists factors as eliminated: `chain` of them (0 to 2) in closed form, then the rest, r levels in
    all. `counts` are rows of each of the q1 finest levels, `parent` their level of the second factor, `up`
    sums over parents (q2 x q1). `z1`, `a13` are Z1'[X y] and Z1'Z3; `z3`, `c33` are Z3'[X y] and Z3'Z3.
    """

    n: int
    p: int
    order: tuple[int, ...]
    chain: int
    counts: Floats
    parent: Integers
    up: Any
    owner: Integers
    z1: Floats
    z3: Floats
    a13: Floats
    c33: Floats
    gram: Floats


def cross_products(data: Floats, codes: Sequence[Integers]) -> CrossProducts:
    """Cross products of `data` = [X y] (n x (p+1)) with factors coded 0..q_k-1 (each of length n)."""
    n, width = data.shape
    levels = [int(code.max()) + 1 for code in codes]
    by_size = sorted(range(len(codes)), key=lambda k: -levels[k])
    first = codes[by_size[0]] if by_size else np.zeros(0, dtype=np.intp)
    q1 = levels[by_size[0]] if by_size else 0
    around = next((k for k in by_size[1:] if _nested(first, codes[k], q1)), None)
    order = by_size if around is None else [by_size[0], around, *(k for k in by_size[1:] if k != around)]
    chain = len(by_size[:1]) + (around is not None)
    # Without a second factor every finest level hangs under one parent whose ratio is 0.
    parent, q2 = np.zeros(q1, dtype=np.intp), 1
    if around is not None:
        parent[first], q2 = codes[around], levels[around]
    rest = order[chain:]
    starts = np.concatenate([[0], np.cumsum([levels[k] for k in rest])]).astype(np.intp)
    r = int(starts[-1])
    columns = [codes[k] + starts[i] for i, k in enumerate(rest)]
    z1 = _sums(first, data, q1) if by_size else np.zeros((0, width))
    a13, c33 = np.zeros(q1 * r), np.zeros(r * r)
    z3 = np.zeros((r, width))
    for left in columns:
        a13 += np.bincount(first * r + left, minlength=q1 * r)
        z3 += _sums(left, data, r)
        for right in columns:
            c33 += np.bincount(left * r + right, minlength=r * r)
    return CrossProducts(
        n=n, p=width - 1, order=tuple(order), chain=chain,
        counts=np.bincount(first, minlength=q1).astype(np.float64), parent=parent,
        up=sparse.csr_array((np.ones(q1), (parent, np.arange(q1))), shape=(q2, q1)),
        owner=np.repeat(np.arange(len(rest), dtype=np.intp), [levels[k] for k in rest]),
        z1=z1, z3=z3, a13=a13.reshape(q1, r), c33=c33.reshape(r, r), gram=data.T @ data,
    )  # fmt: skip


def _nested(inner: Integers, outer: Integers, levels: int) -> bool:
    """Does every level of `inner` lie within one level of `outer`?"""
    some = np.zeros(levels, dtype=np.intp)
    some[inner] = outer
    return bool((some[inner] == outer).all())


def _sums(code: Integers, data: Floats, count: int) -> Floats:
    return np.stack([np.bincount(code, column, minlength=count) for column in data.T], axis=1)


@dataclass(frozen=True)
class Profile:
    """W at one lambda; `rss` is the generalised residual sum of squares y'Py.

    With B = Z'W1^-1 Z of the closed-form part W1: `alpha` is diag(Z1'(I + lambda_1 Z1 Z1')^-1 Z1), `d2` the
    divisors of the second factor, `rho` = lambda_2 / d2, `b13`, `b23`, `c` the blocks of B with the rest,
    `t1`, `t2`, `u` are Z'W1^-1 [X y], `ru` and `r` carry the rest's correction R = Theta S^-1 Theta.
    """

    lam: Floats
    log_det_w: float
    log_det_x: float
    beta: Floats
    phi: Floats
    rss: float
    alpha: Floats
    d2: Floats
    rho: Floats
    b13: Floats
    b23: Floats
    c: Floats
    r: Floats
    rest: Floats
    t1: Floats
    t2: Floats
    u: Floats


def profile(cp: CrossProducts, lam: Floats) -> Profile:
    """Factorise W at `lam` (one ratio to the residual variance for each factor, in the caller's order)."""
    ordered = lam[list(cp.order)]
    one = float(ordered[0]) if cp.chain > 0 else 0.0
    two = float(ordered[1]) if cp.chain > 1 else 0.0
    d1 = 1.0 + one * cp.counts
    alpha = cp.counts / d1
    d2 = 1.0 + two * (cp.up @ alpha)
    rho = two / d2
    first, outer = np.hstack([cp.z1, cp.a13]), cp.z1.shape[1]
    scaled = first / d1[:, None]
    above = cp.up @ scaled
    # [X y Z3]' W1^-1 [X y Z3], by two rounds of Sherman-Morrison.
    whole = np.block([[cp.gram, cp.z3.T], [cp.z3, cp.c33]])
    whole = whole - one * (first.T @ scaled) - two * (above.T @ (above / d2[:, None]))
    cross, u, c = whole[:outer, :outer], whole[outer:, :outer], whole[outer:, outer:]
    lowered = scaled - (alpha * rho[cp.parent])[:, None] * above[cp.parent]
    rest = ordered[cp.chain :][cp.owner] if cp.owner.size else np.zeros(0)
    theta = np.sqrt(rest)
    both = theta[:, None] * theta[None, :]
    root = np.linalg.cholesky(both * c + np.eye(rest.size))
    half = np.linalg.solve(root, np.diag(theta))
    r = half.T @ half
    cross = cross - u.T @ (r @ u)
    xx, xy = cross[:-1, :-1], cross[:-1, -1]
    phi = np.linalg.inv(xx)
    phi = (phi + phi.T) / 2.0
    beta = phi @ xy
    log_det = np.log(d1).sum() + np.log(d2).sum() + 2.0 * np.log(np.diag(root)).sum()
    return Profile(
        lam=lam, log_det_w=float(log_det),
        log_det_x=2.0 * float(np.log(np.diag(np.linalg.cholesky(xx))).sum()), beta=beta, phi=phi,
        rss=float(cross[-1, -1] - xy @ beta), alpha=alpha, d2=d2, rho=rho,
        b13=lowered[:, outer:], b23=above[:, outer:] / d2[:, None], c=c, r=r, rest=rest,
        t1=lowered[:, :outer], t2=above[:, :outer] / d2[:, None], u=u,
    )  # fmt: skip


@dataclass(frozen=True)
class Derivatives:
    """Traces and quadratic forms at one lambda, indexed by factor in the caller's order (K of them).

    With P = W^-1 - W^-1 X Phi X' W^-1 and G_k = Z_k Z_k': `trace_w`[k] = tr(W^-1 G_k), `trace_ww`[k, l] =
    tr(W^-1 G_k W^-1 G_l), `trace_p` and `trace_pp` the same with P, `square`[k] = y'P G_k P y,
    `bilinear`[k, l] = y'P G_k P G_l P y, `hh`[k] = X'W^-1 G_k W^-1 X, `q`[k, l] =
    X'W^-1 G_k W^-1 G_l W^-1 X.
    """

    trace_w: Floats
    trace_ww: Floats
    trace_p: Floats
    trace_pp: Floats
    square: Floats
    bilinear: Floats
    hh: Floats
    q: Floats


def derivatives(cp: CrossProducts, at: Profile) -> Derivatives:
    """All first and second order quantities at a factorised lambda."""
    count, p = len(cp.order), cp.p
    # Kept = (I + C Lambda)^-1 turns Z3'W1^-1 into Z3'W^-1 without subtracting large numbers.
    kept = np.asarray(np.linalg.inv(np.eye(at.rest.size) + at.c * at.rest), dtype=np.float64)
    ru = at.r @ at.u
    project = np.vstack([np.hstack([np.eye(p), -at.beta[:, None]]), np.append(np.zeros(p), 1.0)[None, :]])
    # Columns of `f` are Z'W^-1 X and Z'P y.
    f1, f2 = (at.t1 - at.b13 @ ru) @ project, (at.t2 - at.b23 @ ru) @ project
    f3 = kept @ at.u @ project
    f = [f1, f2][: cp.chain] + [f3[cp.owner == k] for k in range(count - cp.chain)]
    forms = _forms(cp, at, f, kept)
    trace_w, trace_ww = _traces(cp, at, kept)

    back = np.argsort(cp.order) if count else np.zeros(0, dtype=np.intp)
    forms = forms[np.ix_(back, back)]
    trace_w, trace_ww = trace_w[back], trace_ww[np.ix_(back, back)]
    gram = np.array([f[k].T @ f[k] for k in back]).reshape(count, p + 1, p + 1)
    hh, square, hv = gram[:, :p, :p], gram[:, p, p], gram[:, :p, p]
    q = forms[:, :, :p, :p]
    phi_hh = at.phi @ hh
    trace_pp = trace_ww - 2.0 * np.einsum("ab,klba->kl", at.phi, q)
    trace_pp = trace_pp + np.einsum("kab,lba->kl", phi_hh, phi_hh)
    return Derivatives(
        trace_w=trace_w, trace_ww=trace_ww,
        trace_p=trace_w - np.einsum("kaa->k", phi_hh), trace_pp=(trace_pp + trace_pp.T) / 2.0,
        square=square, bilinear=forms[:, :, p, p] - hv @ at.phi @ hv.T, hh=hh, q=q,
    )  # fmt: skip


def _forms(cp: CrossProducts, at: Profile, f: list[Floats], kept: Floats) -> Floats:
    """F_k' (Z_k'W^-1 Z_l) F_l for every two factors, in elimination order."""
    count, width = len(cp.order), cp.p + 1
    out = np.zeros((count, count, width, width))
    rest = range(cp.chain, count)
    blocks = {k: cp.owner == k - cp.chain for k in rest}
    with_rest = [at.b13, at.b23][: cp.chain]
    met = [b.T @ x for b, x in zip(with_rest, f[: cp.chain], strict=True)]
    if cp.chain > 0:
        weighted = at.alpha[:, None] * f[0]
        summed = cp.up @ weighted
        out[0, 0] = f[0].T @ weighted - summed.T @ (at.rho[:, None] * summed) - met[0].T @ at.r @ met[0]
    if cp.chain > 1:
        out[0, 1] = summed.T @ (f[1] / at.d2[:, None]) - met[0].T @ at.r @ met[1]
        out[1, 0] = out[0, 1].T
        own = (cp.up @ at.alpha) / at.d2
        out[1, 1] = f[1].T @ (own[:, None] * f[1]) - met[1].T @ at.r @ met[1]
    t33 = kept @ at.c
    for k in rest:
        for j in range(cp.chain):
            # Z_j'W^-1 Z3 = B_j3 (I + Lambda C)^-1, the transpose of `kept`.
            out[j, k] = (kept @ met[j])[blocks[k]].T @ f[k]
            out[k, j] = out[j, k].T
        for j in rest:
            out[k, j] = f[k].T @ t33[np.ix_(blocks[k], blocks[j])] @ f[j]
    return out


def _traces(cp: CrossProducts, at: Profile, kept: Floats) -> tuple[Floats, Floats]:
    """tr(Z_k'W^-1 Z_k) and the squared Frobenius norm of each Z_k'W^-1 Z_l, in elimination order."""
    count = len(cp.order)
    one, two = np.zeros(count), np.zeros((count, count))
    member = (cp.owner[:, None] == np.arange(count - cp.chain)).astype(np.float64)
    t33 = kept @ at.c
    one[cp.chain :] = np.diag(t33) @ member
    two[cp.chain :, cp.chain :] = member.T @ (t33 * t33) @ member
    inner = [b.T @ b for b in (at.b13, at.b23)[: cp.chain]]
    turned = [at.r @ e for e in inner]
    for j, e in enumerate(inner):
        two[j, cp.chain :] = two[cp.chain :, j] = np.einsum("ab,ab->a", kept @ e, kept) @ member
    if cp.chain > 0:
        alpha, lots = at.alpha, at.alpha[:, None] * at.b13
        squares, cubes = cp.up @ alpha**2, cp.up @ alpha**3
        summed = cp.up @ lots
        one[0] = alpha.sum() - at.rho @ squares - np.trace(turned[0])
        bent = at.b13.T @ lots - summed.T @ (at.rho[:, None] * summed)
        base = squares.sum() - 2.0 * at.rho @ cubes + (at.rho * squares) @ (at.rho * squares)
        two[0, 0] = base - 2.0 * (at.r * bent).sum() + (turned[0] * turned[0].T).sum()
    if cp.chain > 1:
        own = (cp.up @ alpha) / at.d2
        one[1] = own.sum() - np.trace(turned[1])
        bent = at.b23.T @ (own[:, None] * at.b23)
        two[1, 1] = own @ own - 2.0 * (at.r * bent).sum() + (turned[1] * turned[1].T).sum()
        bent = (summed / at.d2[:, None]).T @ at.b23
        two[0, 1] = (squares / at.d2**2).sum() - 2.0 * (at.r * bent).sum() + (turned[0] * turned[1].T).sum()
        two[1, 0] = two[0, 1]
    return one, two
