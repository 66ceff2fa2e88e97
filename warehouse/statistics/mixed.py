"""Linear mixed models with random intercepts, judged by Kenward-Roger or Satterthwaite degrees of freedom.

Belongs here: fitting y = X beta + sum_k Z_k b_k + e by REML or ML with crossed, nested or interaction
factors, and t intervals for contrasts of beta that hold their level with three to five donors. Does not
belong here: which model a design asks for (`split_apheresis`, `covariates`), the algebra (`mixed_core`).

Sources: Bates et al. (2015) for the criterion, Kenward & Roger (1997), Biometrics 53, 983, with the
expected REML information as in R's pbkrtest; Satterthwaite with the observed information as in
lmerTest (Kuznetsova et al. 2017). A variance of exactly 0 stays in Kenward-Roger's information (so n = 3
pairs keep 2 degrees of freedom) and drops out of Satterthwaite's (which then claims 4).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from warehouse.statistics.mixed_core import Derivatives, Floats, Profile, cross_products
from warehouse.statistics.mixed_fit import Criterion, search
from warehouse.statistics.refusal import StatisticsRefusal, probability, vector

DfMethod = Literal["kenward-roger", "satterthwaite"]


@dataclass(frozen=True)
class _Small:
    """Small-sample quantities in the orthonormal coordinates of X; index 0 is the residual."""

    rotation: Floats
    phi: Floats
    phi_kr: Floats
    slope: Floats
    expected: Floats
    observed: Floats
    active: NDArray[np.bool_]


@dataclass(frozen=True)
class MixedFit:
    """A fitted model. `variances` maps each random factor, then "residual", to its variance (y squared).

    `criterion` is -2 log (restricted) likelihood; `covariance` that of the fixed effects, not adjusted;
    `boundary` names factors whose variance is exactly 0; `levels` counts each factor's levels.
    """

    method: Criterion
    names: tuple[str, ...]
    beta: Floats
    covariance: Floats
    variances: dict[str, float]
    boundary: tuple[str, ...]
    criterion: float
    rows: int
    levels: dict[str, int]
    small: _Small | None = field(repr=False)

    @property
    def standard_errors(self) -> Floats:
        """Unadjusted standard errors of the fixed effects."""
        errors: Floats = np.sqrt(np.diag(self.covariance))
        return errors

    @property
    def log_likelihood(self) -> float:
        """The maximised (restricted) log likelihood."""
        return -self.criterion / 2.0


@dataclass(frozen=True)
class Contrast:
    """A linear combination of fixed effects with its t reference distribution."""

    estimate: float
    se: float
    df: float
    df_method: DfMethod
    boundary: tuple[str, ...]

    def interval(self, level: float = 0.90) -> tuple[float, float]:
        """Two-sided t interval; 0.90 is the one whose place inside the margin is two one-sided 5 % tests."""
        half = float(stats.t.ppf(0.5 + probability(level, "level") / 2.0, self.df)) * self.se
        return self.estimate - half, self.estimate + half

    def p_equivalence(self, lower: float, upper: float) -> float:
        """Larger p-value of the two one-sided t tests against the margins `lower` < `upper`."""
        if not lower < upper:
            raise StatisticsRefusal(
                f"The lower margin must lie below the upper, got {lower:g} and {upper:g}."
            )
        below = stats.t.sf((self.estimate - lower) / self.se, self.df)
        above = stats.t.cdf((self.estimate - upper) / self.se, self.df)
        return float(max(below, above))


def codes(labels: Sequence[Hashable] | NDArray[np.generic]) -> NDArray[np.intp]:
    """Labels as 0, 1, ... in order of first appearance."""
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in values], dtype=np.intp)


def interaction(*factors: Sequence[Hashable]) -> list[tuple[Hashable, ...]]:
    """Labels of the cells of several factors: lot = interaction(donor, site)."""
    return list(zip(*factors, strict=True))


def treatment_coding(labels: Sequence[str], reference: str | None = None) -> tuple[Floats, tuple[str, ...]]:
    """Dummy columns (n x (levels - 1)) against `reference` (default: first sorted), and the level names."""
    levels = sorted(set(labels))
    base = levels[0] if reference is None else reference
    if base not in levels:
        raise StatisticsRefusal(f"The reference {base!r} does not occur; there are {', '.join(levels)}.")
    others = tuple(level for level in levels if level != base)
    array = np.array(labels)
    return (array[:, None] == np.array(others)).astype(np.float64), (base, *others)


def fit_mixed(
    y: ArrayLike,
    x: ArrayLike,
    factors: Mapping[str, Sequence[Hashable] | NDArray[np.generic]],
    *,
    names: Sequence[str] | None = None,
    method: Criterion = "reml",
) -> MixedFit:
    """Fit y (n values) on the fixed design `x` (n x p, with its intercept) and random intercepts.

    `factors` maps a name to n labels; nested and interaction factors are given by their own labels.
    Raises StatisticsRefusal, in words, for a design that cannot carry the model.
    """
    response = vector(y, "response", at_least=2)
    design = np.asarray(x, dtype=np.float64)
    if design.ndim != 2 or design.shape[0] != response.size or design.shape[1] == 0:
        raise StatisticsRefusal(
            "The fixed design must have one row for each response and at least one column."
        )
    labels = tuple(names) if names is not None else tuple(f"x{j}" for j in range(design.shape[1]))
    coded = {name: codes(values) for name, values in factors.items()}
    _check(response, design, coded, labels)

    basis, rotation = np.linalg.qr(design)
    first = basis.T @ response
    residual = response - basis @ first
    scale = float(np.sqrt(residual @ residual / (response.size - design.shape[1])))
    if scale <= 1e-12 * max(float(np.abs(response).max()), 1e-300):
        raise StatisticsRefusal(
            "The response does not vary beyond the fixed effects; nothing can be estimated."
        )
    cp = cross_products(np.hstack([basis, (residual / scale)[:, None]]), list(coded.values()))
    at, of, criterion = search(cp, method)

    degrees = cp.n - cp.p if method == "reml" else cp.n
    sigma2 = at.rss / degrees
    back = np.linalg.inv(rotation)
    beta = back @ (first + scale * at.beta)
    variances = {name: float(sigma2 * scale**2 * at.lam[k]) for k, name in enumerate(coded)}
    variances["residual"] = float(sigma2 * scale**2)
    # The criterion refers to X and y as given, not to their rotated and scaled forms.
    shift = 2.0 * degrees * np.log(scale)
    if method == "reml":
        shift += 2.0 * float(np.log(np.abs(np.diag(rotation))).sum())
    return MixedFit(
        method=method, names=labels, beta=beta, covariance=sigma2 * scale**2 * (back @ at.phi @ back.T),
        variances=variances, boundary=tuple(name for k, name in enumerate(coded) if at.lam[k] == 0.0),
        criterion=float(criterion + shift), rows=cp.n,
        levels={name: int(code.max()) + 1 for name, code in coded.items()},
        small=_small(
            at, of, m=cp.n - cp.p, sigma2=sigma2, scale=scale, rotation=rotation
        ) if method == "reml" else None,
    )  # fmt: skip


def _check(y: Floats, x: Floats, coded: Mapping[str, NDArray[np.intp]], names: tuple[str, ...]) -> None:
    n, p = x.shape
    if len(names) != p:
        raise StatisticsRefusal(f"{p} fixed columns but {len(names)} names.")
    if not np.isfinite(x).all():
        raise StatisticsRefusal("The fixed design has missing values; leave those rows out and count them.")
    if n <= p:
        raise StatisticsRefusal(f"{n} rows cannot estimate {p} fixed effects and a variance.")
    if n - p < len(coded) + 1:
        raise StatisticsRefusal(
            f"{n} rows with {p} fixed effects leave {n - p} degrees of freedom for "
            f"{len(coded) + 1} variances; add lots or leave a random factor out."
        )
    norm = np.linalg.norm(x, axis=0)
    if (norm == 0.0).any():
        empty = [name for name, size in zip(names, norm, strict=True) if size == 0.0]
        raise StatisticsRefusal(f"No row carries the fixed effect {', '.join(empty)}; leave it out.")
    if np.linalg.matrix_rank(x / norm) < p:
        raise StatisticsRefusal(
            f"The fixed effects {', '.join(names)} cannot be told apart in these data; leave one out."
        )
    partitions: dict[bytes, str] = {}
    for name, code in coded.items():
        if code.size != y.size:
            raise StatisticsRefusal(f"Factor {name}: {code.size} labels for {y.size} rows.")
        levels = int(code.max()) + 1
        if levels < 2:
            raise StatisticsRefusal(f"Random factor {name} has one level; its variance cannot be estimated.")
        if levels >= y.size:
            raise StatisticsRefusal(
                f"Random factor {name} has a level for every row, as the residual has; leave it out."
            )
        key = code.tobytes()
        if key in partitions:
            raise StatisticsRefusal(
                f"Random factors {partitions[key]} and {name} group the rows alike; leave one out."
            )
        partitions[key] = name


def _small(at: Profile, of: Derivatives, *, m: int, sigma2: float, scale: float, rotation: Floats) -> _Small:
    """Kenward-Roger's P, Q and information for (sigma2, gamma_1..K), from those of the ratios.

    G_0 = I = W - sum lambda_k G_k turns every quantity with the residual into ones already known.
    """
    lam, count, p = at.lam, at.lam.size, at.phi.shape[0]
    slope = np.zeros((count + 1, p, p))
    slope[1:] = -of.hh
    slope[0] = -np.linalg.inv(at.phi) - np.einsum("k,kab->ab", lam, slope[1:])
    q = np.zeros((count + 1, count + 1, p, p))
    q[1:, 1:] = of.q
    q[0, 1:] = -slope[1:] - np.einsum("k,klab->lab", lam, of.q)
    q[1:, 0] = np.swapaxes(q[0, 1:], 1, 2)
    q[0, 0] = -slope[0] - np.einsum("k,kab->ab", lam, q[1:, 0])
    trace = bordered(of.trace_pp, of.trace_p, lam, float(m))
    bilinear = bordered(of.bilinear, of.square, lam, at.rss) / sigma2
    weight = 2.0 * _inverse(trace)
    bend = np.einsum("ij,ijab->ab", weight, q - np.einsum("iab,bc,jcd->ijad", slope, at.phi, slope))
    adjusted = at.phi + 2.0 * at.phi @ bend @ at.phi
    unit = sigma2 * scale**2
    return _Small(
        rotation=rotation, phi=at.phi * unit, phi_kr=(adjusted + adjusted.T) / 2.0 * unit,
        slope=slope / unit, expected=trace, observed=2.0 * bilinear - trace,
        active=np.concatenate([[True], lam > 0.0]),
    )  # fmt: skip


def bordered(inner: Floats, edge: Floats, lam: Floats, whole: float) -> Floats:
    """Add the residual's row and column to a K x K table of forms in P G_k P G_l (or y'P G_k P G_l P y)."""
    out = np.zeros((lam.size + 1, lam.size + 1))
    out[1:, 1:] = inner
    out[0, 1:] = out[1:, 0] = edge - inner @ lam
    out[0, 0] = (whole - lam @ edge) - lam @ out[0, 1:]
    return out


def _inverse(information: Floats) -> Floats:
    """Inverse after scaling to a unit diagonal; a refusal where the variances share one ridge."""
    size = np.sqrt(np.diag(information))
    scaled = information / np.outer(size, size)
    if np.linalg.eigvalsh(scaled)[0] < 1e-9:
        raise StatisticsRefusal(
            "The variances of the random factors cannot be told apart in these data; add lots or "
            "replicates, or leave a random factor out."
        )
    inverse: Floats = np.linalg.inv(scaled) / np.outer(size, size)
    return inverse


def contrast(fit: MixedFit, weights: ArrayLike, df_method: DfMethod = "kenward-roger") -> Contrast:
    """The combination `weights` (p numbers, in the order of `fit.names`) of a REML fit's fixed effects.

    Raises StatisticsRefusal for an ML fit, weights of all 0, or no degrees of freedom.
    """
    if fit.small is None:
        raise StatisticsRefusal("Degrees of freedom need a REML fit; fit with method='reml'.")
    raw = vector(weights, "contrast weights")
    if raw.size != fit.beta.size or not raw.any():
        raise StatisticsRefusal(f"A contrast needs {fit.beta.size} weights, not all 0.")
    small = fit.small
    rotated = np.linalg.solve(small.rotation.T, raw)
    phi_l = small.phi @ rotated
    plain = float(rotated @ phi_l)
    # Derivative of the contrast's variance by each variance component (sigma2 = 1 units cancel in df).
    gradient = np.einsum("a,kab,b->k", phi_l, small.slope, phi_l)
    if df_method == "kenward-roger":
        variance = float(rotated @ small.phi_kr @ rotated)
        noise = 2.0 * float(gradient @ _inverse(small.expected) @ gradient)
    else:
        variance = plain
        kept = small.active
        values, vectors = np.linalg.eigh(small.observed[np.ix_(kept, kept)])
        # lmerTest keeps the directions in which the likelihood is curved.
        curved = values > 1e-10 * values.max()
        along = vectors[:, curved].T @ gradient[kept]
        noise = 2.0 * float(along @ (along / values[curved]))
    if not noise > 0.0 or not variance > 0.0:
        raise StatisticsRefusal("The data leave no degrees of freedom for this contrast; add lots or donors.")
    return Contrast(
        estimate=float(raw @ fit.beta), se=float(np.sqrt(variance)), df=2.0 * plain**2 / noise,
        df_method=df_method, boundary=fit.boundary,
    )  # fmt: skip
