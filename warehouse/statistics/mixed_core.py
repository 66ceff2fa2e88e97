"""Cross products of a linear mixed model and what the likelihood needs of them.

Belongs here: the algebra of V = sigma2 * W, W = I + sum_k lambda_k Z_k Z_k', for crossed or nested random
intercepts: log determinant, quadratic forms, traces. Does not belong here: optimising (`mixed_fit`),
degrees of freedom and everything a caller sees (`mixed`).

Nothing of size n x n or q x q is formed. The factor with most levels (lots, usually) has a diagonal
Z'Z, so it is eliminated by one division a level. What is left over the other factors falls apart into
connected blocks (one donor each when lots are nested in donors), which are handled as stacks of small
matrices. All of it is exact; it only uses where the zeros are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Blocks = list[Floats]  # one stack of shape (count, size, size) for each block size, smallest first


@dataclass(frozen=True)
class _Group:
    """Blocks of one size: rows `start` on of the permuted levels, entries `flat` on of the flat buffer."""

    start: int
    count: int
    size: int
    flat: int


@dataclass(frozen=True)
class CrossProducts:
    """What the likelihood needs of (X, y, factors). Level order inside is private to this module.

    `data` is [X y], n x (p+1); `first` marks the eliminated factor; `z1`, `z2` are Z'[X y] of the
    eliminated factor (q1 rows) and of all others (r rows, permuted so that blocks are contiguous).
    """

    n: int
    p: int
    order: tuple[int, ...]
    counts: Floats
    a12: Any
    a21: Any
    owner: Integers
    groups: tuple[_Group, ...]
    c0: Floats
    pair_at: Integers
    pair_level: Integers
    pair_weight: Floats
    z1: Floats
    z2: Floats
    gram: Floats


def cross_products(data: Floats, codes: Sequence[Integers]) -> CrossProducts:
    """Cross products of `data` = [X y] (n x (p+1)) with factors coded 0..q_k-1 (each of length n)."""
    n, width = data.shape
    levels = [int(code.max()) + 1 for code in codes]
    order = tuple(int(k) for k in sorted(range(len(codes)), key=lambda k: -levels[k]))
    first = codes[order[0]] if order else np.zeros(0, dtype=np.intp)
    q1 = levels[order[0]] if order else 0
    rest = order[1:]
    offsets = np.concatenate([[0], np.cumsum([levels[k] for k in rest])]).astype(np.intp)
    r = int(offsets[-1])
    columns = [codes[k] + offsets[i] for i, k in enumerate(rest)]
    owner = np.repeat(np.arange(len(rest), dtype=np.intp), [levels[k] for k in rest])
    rows = np.tile(first, len(rest)) if rest else np.zeros(0, dtype=np.intp)
    joined = np.concatenate(columns) if rest else np.zeros(0, dtype=np.intp)
    a12 = sparse.csr_array((np.ones(rows.size), (rows, joined)), shape=(q1, r))
    a12.sum_duplicates()

    groups, position, row_base, within = _blocks(a12, q1, r)
    permutation = np.argsort(position)
    a12 = sparse.csr_array(a12[:, permutation]) if r else a12
    owner = owner[permutation]
    columns = [position[column] for column in columns]
    size = groups[-1].flat + groups[-1].count * groups[-1].size ** 2 if groups else 0
    c0 = np.zeros(size)
    for left in columns:
        for right in columns:
            c0 += np.bincount(row_base[left] + within[right], minlength=size)
    pair_at, pair_level, pair_weight = _pairs(a12, row_base, within)

    def sums(code: Integers, count: int) -> Floats:
        return np.stack([np.bincount(code, data[:, j], minlength=count) for j in range(width)], axis=1)

    z2 = np.zeros((r, width))
    for column in columns:
        z2 += sums(column, r)
    return CrossProducts(
        n=n, p=width - 1, order=order, counts=np.bincount(first, minlength=q1).astype(np.float64),
        a12=a12, a21=sparse.csr_array(a12.T), owner=owner, groups=groups, c0=c0,
        pair_at=pair_at, pair_level=pair_level, pair_weight=pair_weight,
        z1=sums(first, q1), z2=z2, gram=data.T @ data,
    )  # fmt: skip


def _blocks(a12: Any, q1: int, r: int) -> tuple[tuple[_Group, ...], Integers, Integers, Integers]:
    """Connected blocks of the remaining levels, and where each level goes when blocks are contiguous."""
    if r == 0:
        empty = np.zeros(0, dtype=np.intp)
        return (), empty, empty, empty
    graph = sparse.block_array([[None, a12], [sparse.csr_array(a12.T), None]])
    label = connected_components(graph, directed=False)[1][q1:]
    label = np.unique(label, return_inverse=True)[1]
    sizes = np.bincount(label)
    # Levels sorted by block size, then block: equal sizes become one stack.
    sequence = np.lexsort((np.arange(r), label, sizes[label]))
    position = np.empty(r, dtype=np.intp)
    position[sequence] = np.arange(r)
    groups: list[_Group] = []
    row_base = np.empty(r, dtype=np.intp)
    within = np.empty(r, dtype=np.intp)
    start = flat = 0
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        groups.append(_Group(start, int(count), int(size), flat))
        inside = np.arange(int(count) * int(size))
        within[start : start + inside.size] = inside % size
        row_base[start : start + inside.size] = flat + inside * size
        start += inside.size
        flat += int(count) * int(size) ** 2
    return tuple(groups), position, row_base, within


def _pairs(a12: Any, row_base: Integers, within: Integers) -> tuple[Integers, Integers, Floats]:
    """Every pair of remaining levels that meet in one eliminated level, with the product of their counts."""
    degree = np.diff(a12.indptr)
    level = np.repeat(np.arange(degree.size), degree)
    repeats = degree[level]
    left = np.repeat(np.arange(level.size), repeats)
    inside = np.arange(left.size) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    right = a12.indptr[level[left]] + inside
    at = row_base[a12.indices[left]] + within[a12.indices[right]] if left.size else np.zeros(0, dtype=np.intp)
    return at, level[left], a12.data[left] * a12.data[right]


@dataclass(frozen=True)
class Profile:
    """W at one lambda. `cross` is [X y]'W^-1[X y]; `rss` the generalised residual sum of squares y'Py."""

    lam: Floats
    log_det_w: float
    log_det_x: float
    beta: Floats
    phi: Floats
    rss: float
    d: Floats
    c: Blocks
    r: Blocks
    u: Floats


def profile(cp: CrossProducts, lam: Floats) -> Profile:
    """Factorise W at `lam` (one ratio to the residual variance for each factor, in the caller's order)."""
    first = lam[cp.order[0]] if cp.order else 0.0
    d = 1.0 + first * cp.counts
    weight = first / d
    cross = cp.gram - cp.z1.T @ (weight[:, None] * cp.z1)
    u = cp.z2 - cp.a21 @ (weight[:, None] * cp.z1)
    c = _stacks(cp, cp.c0 - _meet(cp, weight))
    theta = np.sqrt(lam[list(cp.order[1:])])[cp.owner] if cp.owner.size else np.zeros(0)
    log_det = float(np.log(d).sum())
    r: Blocks = []
    for group, block in zip(cp.groups, c, strict=True):
        scale = theta[group.start : group.start + group.count * group.size].reshape(group.count, group.size)
        both = scale[:, :, None] * scale[:, None, :]
        s = both * block + np.eye(group.size)
        if group.size == 1:
            log_det += float(np.log(s).sum())
            r.append(both / s)
        else:
            root = np.asarray(np.linalg.cholesky(s), dtype=np.float64)
            log_det += 2.0 * float(np.log(np.diagonal(root, axis1=1, axis2=2)).sum())
            r.append(both * _inverse(s, root))
    cross = cross - u.T @ _times(cp, r, u)
    xx, xy = cross[:-1, :-1], cross[:-1, -1]
    log_det_x = 2.0 * float(np.log(np.diag(np.linalg.cholesky(xx))).sum())
    phi = np.asarray(np.linalg.inv(xx), dtype=np.float64)
    phi = (phi + phi.T) / 2.0
    beta = phi @ xy
    return Profile(
        lam=lam, log_det_w=log_det, log_det_x=log_det_x, beta=beta, phi=phi,
        rss=float(cross[-1, -1] - xy @ beta), d=d, c=c, r=r, u=u,
    )  # fmt: skip


def _inverse(s: Floats, root: Floats) -> Floats:
    """Inverses of a stack of positive definite matrices; large ones from their roots, a third the work."""
    if s.shape[1] <= 32:
        return np.asarray(np.linalg.inv(s), dtype=np.float64)
    out = np.empty_like(s)
    for i, lower in enumerate(root):
        half = lapack.dpotri(lower, lower=1)[0]
        out[i] = np.tril(half) + np.tril(half, -1).T
    return out


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
    d, c, r = at.d, at.c, at.r
    ru = _times(cp, r, at.u)
    v1 = (cp.z1 - cp.a12 @ ru) / d[:, None] if count else np.zeros((0, p + 1))
    v2 = at.u - _times(cp, c, ru)
    # Columns become Z'W^-1 X and Z'P y.
    project = np.vstack([np.hstack([np.eye(p), -at.beta[:, None]]), np.append(np.zeros(p), 1.0)[None, :]])
    f1, f2 = v1 @ project, v2 @ project
    inside = [f1] + [np.where((cp.owner == k)[:, None], f2, 0.0) for k in range(count - 1)]

    forms = np.zeros((count, count, p + 1, p + 1))  # F_k' (Z_k'W^-1 Z_l) F_l, in elimination order
    for j in range(count):
        if j == 0:
            over = f1 / d[:, None]
            met = cp.a21 @ over
            rm = _times(cp, r, met)
            t1 = cp.counts[:, None] * over - (cp.a12 @ rm) / d[:, None]
            t2 = met - _times(cp, c, rm)
        else:
            cx = _times(cp, c, inside[j])
            rcx = _times(cp, r, cx)
            t1 = (cp.a12 @ (inside[j] - rcx)) / d[:, None]
            t2 = cx - _times(cp, c, rcx)
        forms[0, j] = f1.T @ t1
        for i in range(1, count):
            forms[i, j] = inside[i].T @ t2
    trace_w, trace_ww = _traces(cp, at)

    back = np.argsort(cp.order) if count else np.zeros(0, dtype=np.intp)
    forms = forms[np.ix_(back, back)]
    inside = [inside[k] for k in back]
    trace_w, trace_ww = trace_w[back], trace_ww[np.ix_(back, back)]
    gram = np.array([f.T @ f for f in inside]).reshape(count, p + 1, p + 1)
    hh, square, hv = gram[:, :p, :p], gram[:, p, p], gram[:, :p, p]
    q = forms[:, :, :p, :p]
    phi_hh = at.phi @ hh
    trace_pp = (
        trace_ww
        - 2.0 * np.einsum("ab,klba->kl", at.phi, q)
        + np.einsum("kab,lba->kl", phi_hh, phi_hh)
    )  # fmt: skip
    return Derivatives(
        trace_w=trace_w, trace_ww=trace_ww,
        trace_p=trace_w - np.einsum("kaa->k", phi_hh), trace_pp=(trace_pp + trace_pp.T) / 2.0,
        square=square, bilinear=forms[:, :, p, p] - hv @ at.phi @ hv.T, hh=hh, q=q,
    )  # fmt: skip


def _traces(cp: CrossProducts, at: Profile) -> tuple[Floats, Floats]:
    """tr(Z_k'W^-1 Z_k) and the squared Frobenius norm of each Z_k'W^-1 Z_l, in elimination order."""
    count = len(cp.order)
    first, second = np.zeros(count), np.zeros((count, count))
    if count == 0:
        return first, second
    ratio = cp.counts / at.d
    first[0] = ratio.sum()
    second[0, 0] = float(ratio @ ratio)
    if count == 1:
        return first, second
    met = _stacks(cp, _meet(cp, at.d**-2))
    met_ratio = _stacks(cp, _meet(cp, ratio * at.d**-2))
    for group, c, r, f, g in zip(cp.groups, at.c, at.r, met, met_ratio, strict=True):
        cr = c @ r
        t22 = c - cr @ c
        rf = r @ f
        first[0] -= float(np.einsum("nij,nji->", r, f))
        second[0, 0] += float(-2.0 * np.einsum("nij,nji->", r, g) + np.einsum("nij,nji->", rf, rf))
        keep = np.eye(group.size) - cr  # I - C R, the transpose of I - R C
        columns = np.einsum("nij,nji->ni", keep @ f, np.swapaxes(keep, 1, 2))
        owners = cp.owner[group.start : group.start + group.count * group.size].reshape(
            group.count, group.size
        )
        first[1:] += np.bincount(owners.ravel(), np.einsum("nii->ni", t22).ravel(), minlength=count - 1)
        mixed = np.bincount(owners.ravel(), columns.ravel(), minlength=count - 1)
        second[0, 1:] += mixed
        second[1:, 0] += mixed
        member = (owners[:, :, None] == np.arange(count - 1)).astype(np.float64)
        second[1:, 1:] += (np.swapaxes(member, 1, 2) @ (t22 * t22) @ member).sum(axis=0)
    return first, second


def _meet(cp: CrossProducts, weight: Floats) -> Floats:
    """A21 diag(weight) A12 on the block pattern, flat."""
    met = np.bincount(cp.pair_at, cp.pair_weight * weight[cp.pair_level], minlength=cp.c0.size)
    return np.asarray(met, dtype=np.float64)


def _stacks(cp: CrossProducts, flat: Floats) -> Blocks:
    return [flat[g.flat : g.flat + g.count * g.size**2].reshape(g.count, g.size, g.size) for g in cp.groups]


def _times(cp: CrossProducts, blocks: Blocks, right: Floats) -> Floats:
    """Block-diagonal matrix times `right` (r x m)."""
    out = np.empty_like(right)
    for group, block in zip(cp.groups, blocks, strict=True):
        rows = slice(group.start, group.start + group.count * group.size)
        out[rows] = (block @ right[rows].reshape(group.count, group.size, -1)).reshape(-1, right.shape[1])
    return out
