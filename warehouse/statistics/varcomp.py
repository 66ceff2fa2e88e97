"""Variance components from mean squares: nested designs, and intervals for sums and differences of them.

Belongs here: nested analysis of variance (multi-site precision), Satterthwaite degrees of freedom, modified
large sample (MLS) intervals, and whether laboratory and manufacturing site can be told apart. Does not
belong here: likelihood fits (`mixed`, `mixed_profile`), gauge studies (`gauge`).

Sources: CLSI EP05-A3; Searle, Casella & McCulloch (1992), Variance Components, ch. 3 and 5; the
variances of components as R's VCA ("scm"); Graybill & Wang (1980) and Ting et al. (1990) for MLS, in the
notation of Burdick & Graybill (1992), ch. 3.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats
from scipy.sparse.csgraph import connected_components

from warehouse.statistics.mixed import codes
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector


@dataclass(frozen=True, slots=True)
class Component:
    """One source of variation. `variance` is 0 where `raw` came out negative; `percent` is of the total.

    `sd_low`, `sd_high` bound its standard deviation: chi-square for the error and the total, normal on the
    variance scale, cut at 0, for the rest (as R's VCA). `ss` and `ms` are None for the total.
    """

    df: float
    ss: float | None
    ms: float | None
    raw: float
    variance: float
    percent: float
    sd: float
    cv_percent: float | None
    sd_low: float
    sd_high: float


@dataclass(frozen=True)
class NestedAnova:
    """Components by name, coarsest first, then "error" and "total"; `balanced` says whether MLS applies."""

    mean: float
    rows: int
    level: float
    balanced: bool
    components: dict[str, Component]


def nested_anova(
    y: ArrayLike, factors: Mapping[str, Sequence[Hashable]], *, level: float = 0.95
) -> NestedAnova:
    """Components of y ~ first/second/..., `factors` given from coarsest to finest (labels may repeat across).

    Type I mean squares solved for their expectations, balanced or not. Components are named "a", "a:b", ...
    Raises StatisticsRefusal when a layer leaves no degrees of freedom.
    """
    response = vector(y, "results", at_least=3)
    probability(level, "level")
    names, layers = _layers(response.size, factors)
    sizes = [np.bincount(code) for code in layers]
    n, depth = response.size, len(layers)
    # Centring first keeps digits; layer 0 is the whole, the last layer single results.
    centre = float(response.mean())
    deviation = response - centre
    fitted = [np.zeros(n)]
    fitted += [(np.bincount(c, deviation) / s)[c] for c, s in zip(layers, sizes, strict=True)]
    fitted.append(deviation)
    groups = np.array([1, *(s.size for s in sizes), n])
    df = np.diff(groups).astype(np.float64)
    for k, name in enumerate([*names, "error"]):
        if df[k] < 1:
            raise StatisticsRefusal(
                f"The layer {name} has no degrees of freedom; leave it out or add results."
            )
    ss = np.array([float(((b - a) ** 2).sum()) for a, b in pairwise(fitted)])
    if ss.sum() == 0.0:
        raise StatisticsRefusal("All results are the same; there is no variation to divide.")
    expected = _expectations(layers, sizes, df, n)
    raw = np.linalg.solve(expected, ss)
    variance = np.maximum(raw, 0.0)
    if variance[-1] == 0.0:
        raise StatisticsRefusal(
            "Replicates are all identical; the error variance is 0 and nothing can be judged."
        )
    spread = np.diag(_component_covariance(layers, expected, df, raw))
    if (raw < 0.0).any():  # a component shown as 0 is judged as if it were 0, not less
        spread = np.where(raw < 0.0, np.diag(_component_covariance(layers, expected, df, variance)), spread)
    balanced = all(np.ptp(s) == 0 for s in sizes) and all(
        np.ptp(np.bincount(a[np.unique(b, return_index=True)[1]])) == 0 for a, b in pairwise(layers)
    )
    total = float(variance.sum())
    # The total as a combination of mean squares, each at its expectation under the components shown.
    per_df = expected / df[:, None]
    total_df = satterthwaite(per_df @ variance, df, np.linalg.inv(per_df).sum(axis=0))[1]
    z = float(stats.norm.ppf(0.5 + level / 2.0))
    out: dict[str, Component] = {}
    for k, name in enumerate([*names, "error"]):
        if k == depth:
            low, high = _chi_square(float(variance[k]), float(df[k]), level)
        else:
            half = z * sqrt(max(float(spread[k]), 0.0))
            low, high = max(float(raw[k]) - half, 0.0), max(float(raw[k]) + half, 0.0)
        out[name] = _component(
            float(df[k]), float(ss[k]), float(raw[k]), total=total, mean=centre, bounds=(low, high)
        )
    bounds = _chi_square(total, total_df, level)
    out["total"] = _component(total_df, None, total, total=total, mean=centre, bounds=bounds)
    return NestedAnova(mean=centre, rows=n, level=level, balanced=balanced, components=out)


def _component(
    df: float, ss: float | None, raw: float, *, total: float, mean: float, bounds: tuple[float, float]
) -> Component:
    variance = max(raw, 0.0)
    return Component(
        df=df,
        ss=ss,
        ms=None if ss is None else ss / df,
        raw=raw,
        variance=variance,
        percent=100.0 * variance / total,
        sd=sqrt(variance),
        cv_percent=100.0 * sqrt(variance) / abs(mean) if mean else None,
        sd_low=sqrt(bounds[0]),
        sd_high=sqrt(bounds[1]),
    )


def _layers(n: int, factors: Mapping[str, Sequence[Hashable]]) -> tuple[list[str], list[NDArray[np.intp]]]:
    """Cell codes of each layer within all coarser ones, and their names."""
    if not factors:
        raise StatisticsRefusal("A nested analysis needs at least one factor.")
    names: list[str] = []
    layers: list[NDArray[np.intp]] = []
    prefix: list[tuple[Hashable, ...]] = [()] * n
    for name, labels in factors.items():
        if len(labels) != n:
            raise StatisticsRefusal(f"Factor {name}: {len(labels)} labels for {n} results.")
        prefix = [(*before, label) for before, label in zip(prefix, labels, strict=True)]
        names.append(f"{names[-1]}:{name}" if names else name)
        layers.append(codes(prefix))
    return names, layers


def _expectations(
    layers: list[NDArray[np.intp]], sizes: list[NDArray[np.intp]], df: Floats, n: int
) -> Floats:
    """E[SS_k] = sum_j C[k, j] sigma2_j for nested layers (Searle et al., section 5.6), error last."""
    depth = len(layers)
    matrix = np.zeros((depth + 1, depth + 1))
    matrix[:, depth] = df
    for j in range(depth):
        first = np.unique(layers[j], return_index=True)[1]
        own = sizes[j][layers[j][first]].astype(np.float64)
        over = [np.full(own.size, float(n))]
        over += [sizes[k][layers[k][first]].astype(np.float64) for k in range(j + 1)]
        for k in range(j + 1):
            matrix[k, j] = float((own**2 * (1.0 / over[k + 1] - 1.0 / over[k])).sum())
    return matrix


def _component_covariance(
    layers: list[NDArray[np.intp]], expected: Floats, df: Floats, components: Floats
) -> Floats:
    """Exact covariance of the components of normal results whose true components are `components`, error last.

    Components are expected^-1 SS, and cov(SS_i, SS_j) = 2 tr(A_i V A_j V) (Searle et al., section 5.6).
    """
    depth, error = len(layers), float(components[-1])
    every = [np.zeros_like(layers[0]), *layers]
    levels = [int(code.max()) + 1 for code in every]
    # How many results two cells of two layers share, cells of the whole and of each layer.
    shared = [
        [
            np.bincount(a * q + b, minlength=p * q).reshape(p, q).astype(np.float64)
            for b, q in zip(every, levels, strict=True)
        ]
        for a, p in zip(every, levels, strict=True)
    ]
    at = range(1, depth + 1)
    smoothed = [
        [[shared[k][i] / shared[i][i].sum(axis=0) @ shared[i][m] for m in at] for k in at]
        for i in range(depth + 1)
    ]
    # Z_k' A_i Z_m of every pair of layers: the part of their sums that SS_i keeps.
    within = [
        [[x - y for x, y in zip(a, b, strict=True)] for a, b in zip(fine, coarse, strict=True)]
        for coarse, fine in pairwise(smoothed)
    ]
    product = np.zeros((depth + 1, depth + 1))
    for i in range(depth):
        for j in range(i, depth):
            both = [
                components[k] * components[m] * float((within[i][k][m] * within[j][k][m]).sum())
                for k in range(depth)
                for m in range(depth)
            ]
            product[i, j] = product[j, i] = sum(both)
        product[i, i] += 2.0 * error * float(expected[i, :depth] @ components[:depth]) + error**2 * df[i]
    product[depth, depth] = error**2 * df[depth]
    inverse = np.linalg.inv(expected)
    return np.asarray(2.0 * inverse @ product @ inverse.T)


def _chi_square(variance: float, df: float, level: float) -> tuple[float, float]:
    tail = (1.0 - level) / 2.0
    return df * variance / float(stats.chi2.isf(tail, df)), df * variance / float(stats.chi2.ppf(tail, df))


def satterthwaite(ms: ArrayLike, df: ArrayLike, weights: ArrayLike) -> tuple[float, float]:
    """(sum w_i MS_i, its approximate degrees of freedom) for independent mean squares."""
    squares, degrees, factor = vector(ms, "mean squares"), vector(df, "df"), vector(weights, "weights")
    parts = factor * squares
    total = float(parts.sum())
    noise = float((parts**2 / degrees).sum())
    if noise <= 0.0:
        raise StatisticsRefusal("All mean squares are 0; there are no degrees of freedom.")
    return total, total**2 / noise


def mls_interval(
    ms: ArrayLike, df: ArrayLike, weights: ArrayLike, *, level: float = 0.90
) -> tuple[float, float, float]:
    """(estimate, low, high) for sum w_i E[MS_i] of independent mean squares, weights of either sign.

    Graybill-Wang where all weights are positive, Ting et al. otherwise; a lower end below 0 is left as it is.
    """
    squares, degrees, factor = vector(ms, "mean squares"), vector(df, "df"), vector(weights, "weights")
    probability(level, "level")
    if not (squares.size == degrees.size == factor.size) or not factor.any():
        raise StatisticsRefusal("Mean squares, degrees of freedom and weights must match, weights not all 0.")
    if (degrees <= 0).any() or (squares < 0).any():
        raise StatisticsRefusal("Mean squares must not be negative and need degrees of freedom above 0.")
    used = factor != 0.0
    squares, degrees, factor = squares[used], degrees[used], factor[used]
    alpha = (1.0 - level) / 2.0
    estimate = float(factor @ squares)
    low = estimate - sqrt(max(_mls_variance(squares, degrees, factor, alpha), 0.0))
    # The upper end is the mirror of the lower end of the negated combination.
    high = estimate + sqrt(max(_mls_variance(squares, degrees, -factor, alpha), 0.0))
    return estimate, low, high


def _mls_variance(ms: Floats, df: Floats, weights: Floats, alpha: float) -> float:
    """V_L of Burdick & Graybill (1992), eq. 3.3.5 (Ting's lower bound), for weights of either sign."""
    size = np.abs(weights) * ms
    plus, minus = np.flatnonzero(weights > 0), np.flatnonzero(weights < 0)
    g = 1.0 - df / stats.chi2.isf(alpha, df)
    h = df / stats.chi2.ppf(alpha, df) - 1.0
    value = float((g[plus] ** 2 * size[plus] ** 2).sum() + (h[minus] ** 2 * size[minus] ** 2).sum())
    for q in plus:
        for r in minus:
            f = float(stats.f.isf(alpha, df[q], df[r]))
            value += ((f - 1.0) ** 2 - g[q] ** 2 * f**2 - h[r] ** 2) / f * size[q] * size[r]
    if minus.size and plus.size > 1:
        for i, q in enumerate(plus):
            for p in plus[i + 1 :]:
                both = df[q] + df[p]
                joint = (1.0 - both / stats.chi2.isf(alpha, both)) ** 2 * both**2 / (df[q] * df[p])
                star = joint - g[q] ** 2 * df[q] / df[p] - g[p] ** 2 * df[p] / df[q]
                value += star / (plus.size - 1) * size[q] * size[p]
    return float(value)


@dataclass(frozen=True, slots=True)
class Confounding:
    """Whether laboratories stand between manufacturing sites; `parts` are the sites that share some."""

    confounded: bool
    parts: tuple[tuple[str, ...], ...]
    sentence: str


def lab_site_confounding(site: Sequence[str], lab: Sequence[str]) -> Confounding:
    """Can a difference between manufacturing sites be told from one between laboratories?

    Sites and laboratories are joined where a laboratory tested a site's lots; only sites joined by some
    path of shared laboratories can be compared. One row for each result.
    """
    if len(site) != len(lab) or not site:
        raise StatisticsRefusal("Each result needs its manufacturing site and its laboratory.")
    sites, labs = sorted(set(site)), sorted(set(lab))
    rows = [sites.index(s) for s in site]
    columns = [len(sites) + labs.index(b) for b in lab]
    shape = (len(sites) + len(labs),) * 2
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    label = connected_components(graph, directed=False)[1][: len(sites)]
    parts = tuple(
        tuple(s for s, part in zip(sites, label, strict=True) if part == k) for k in np.unique(label)
    )
    if len(parts) == 1:
        return Confounding(False, parts, "The sites are joined by laboratories that tested lots of several.")
    words = " / ".join(", ".join(part) for part in parts)
    return Confounding(
        True,
        parts,
        f"No laboratory tested lots on both sides of {words}: a difference there may be the laboratory's.",
    )
