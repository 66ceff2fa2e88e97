"""Bayesian companions to the verdict, in closed form or by quadrature: no sampling, so no seed.

Belongs here: the posterior probability that a difference lies inside the margin, partial pooling of several
sites, and whether the next lot will be in specification. Does not belong here: the verdict's words, which
come from intervals; Markov chains (an extra).

Sources: Box & Tiao (1973) for the reference prior; Rubin (1981), Gelman (2006) for partial pooling; the
size of the rule "P >= 0.95" is simulated in `bayes_rules`, because a probability is not a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from warehouse.statistics.means import Estimate, difference_on_scale
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.quadrature import unit_nodes
from warehouse.statistics.refusal import StatisticsRefusal, probability, spread, vector
from warehouse.statistics.scales import Margin, margin_on_scale

Prior = Literal["half-cauchy", "half-normal", "half-t4"]


@dataclass(frozen=True, slots=True)
class StudentPosterior:
    """Posterior of a difference on the analysis scale: location, scale and degrees of freedom of a t."""

    mean: float
    scale: float
    df: float

    def inside(self, low: float, high: float) -> float:
        """Posterior probability of low < difference < high."""
        if not low < high:
            raise StatisticsRefusal(f"The lower margin must lie below the upper, got {low:g} and {high:g}.")
        ends = stats.t.cdf([(low - self.mean) / self.scale, (high - self.mean) / self.scale], self.df)
        return float(ends[1] - ends[0])

    def interval(self, level: float = 0.90) -> tuple[float, float]:
        """Highest density interval; the posterior is symmetric."""
        half = float(stats.t.ppf(0.5 + probability(level, "level") / 2.0, self.df)) * self.scale
        return self.mean - half, self.mean + half


def posterior_of(estimate: Estimate) -> StudentPosterior:
    """Posterior under the reference prior p(means, sigma) ~ 1 / sigma of an estimate with a t interval.

    Exact for pooled, paired and one-sample estimates; for Welch and mixed models the matching approximation.
    """
    if estimate.se is None or estimate.df is None:
        raise StatisticsRefusal(f"{estimate.method} has no standard error to build a posterior on.")
    return StudentPosterior(difference_on_scale(estimate), estimate.se, estimate.df)


def probability_of_equivalence(estimate: Estimate, margin: Margin) -> float:
    """Posterior probability that the true difference lies inside `margin` (as read)."""
    low, high = margin_on_scale(margin, estimate.scale)
    return posterior_of(estimate).inside(low, high)


def next_lot_inside(lots: ArrayLike, low: float | None, high: float | None) -> float:
    """Posterior predictive probability that the next lot lies within limits (None: open), normal lots.

    Specification limits are the producer's promise for single lots; they are never a margin for means.
    """
    array = vector(lots, "lots", at_least=2)
    sd = spread(array)
    if sd == 0.0:
        raise StatisticsRefusal("All lots are the same; no spread to predict the next lot from.")
    scale = sd * sqrt(1.0 + 1.0 / array.size)
    bottom = 0.0 if low is None else float(stats.t.cdf((low - array.mean()) / scale, array.size - 1))
    top = 1.0 if high is None else float(stats.t.cdf((high - array.mean()) / scale, array.size - 1))
    if not bottom < top:
        raise StatisticsRefusal("The lower limit must lie below the upper.")
    return top - bottom


@dataclass(frozen=True, slots=True)
class Marginal:
    """One parameter's posterior, by its moments and quantiles."""

    mean: float
    sd: float
    q05: float
    q50: float
    q95: float


@dataclass(frozen=True)
class Hierarchical:
    """Partial pooling: effect_j ~ N(theta_j, se_j^2), theta_j ~ N(mu, tau^2).

    A mixture over the nodes of tau; given tau all else is normal. `weight` sums to 1.
    """

    mu: Marginal
    tau: Marginal
    theta: tuple[Marginal, ...]
    nodes: Floats
    weight: Floats
    mean: Floats
    covariance: Floats

    def difference_within(self, i: int, j: int, margin: float) -> float:
        """Posterior P(|theta_i - theta_j| < margin)."""
        return self.difference_inside(i, j, -margin, margin)

    def difference_inside(self, i: int, j: int, low: float, high: float) -> float:
        """Posterior P(low < theta_i - theta_j < high)."""
        if not low < high:
            raise StatisticsRefusal("The lower limit of a difference must lie below the upper.")
        centre, sd = self._difference(i, j)
        each = special.ndtr((high - centre) / sd) - special.ndtr((low - centre) / sd)
        return float(self.weight @ each)

    def difference(self, i: int, j: int) -> Marginal:
        """Posterior of theta_i - theta_j."""
        return _mixture(self.weight, *self._difference(i, j))

    def _difference(self, i: int, j: int) -> tuple[Floats, Floats]:
        """Mean and SD of theta_i - theta_j at each node of tau."""
        if i == j:
            raise StatisticsRefusal("A difference needs two sites.")
        step = np.zeros(self.mean.shape[1])
        step[i], step[j] = 1.0, -1.0
        variance = np.einsum("a,nab,b->n", step, self.covariance, step)
        return self.mean @ step, np.sqrt(np.maximum(variance, 1e-300))

    def all_inside(
        self, reference: int, low: float, high: float, *, draws: int = 20_000, seed: int = 1
    ) -> float:
        """Posterior P(low < theta_i - theta_reference < high for every other i), by draws from a fixed seed."""
        rng = np.random.default_rng(seed)
        k = self.mean.shape[1]
        node = rng.choice(self.weight.size, draws, p=self.weight)
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        theta = self.mean[node] + np.einsum("nab,nb->na", root[node], rng.standard_normal((draws, k)))
        away = np.delete(theta - theta[:, [reference]], reference, axis=1)
        return float(((low < away) & (away < high)).all(axis=1).mean())

    def tau_below(self, limit: float) -> float:
        """Posterior P(tau < limit), interpolated between nodes."""
        return float(np.interp(limit, self.nodes, np.cumsum(self.weight) - self.weight / 2.0))


#: The prior of tau: quantiles at scale 1.
PRIOR_QUANTILE: dict[Prior, Callable[[Floats], Floats]] = {
    "half-cauchy": lambda p: np.tan(np.pi * p / 2.0),
    "half-normal": lambda p: np.asarray(stats.halfnorm.ppf(p)),
    "half-t4": lambda p: np.asarray(stats.t.ppf(0.5 + p / 2.0, 4)),
}


class GivenTau(NamedTuple):
    """At each node of tau: precision of each effect, that of mu, mu's mean, log likelihood with mu integrated out."""

    precision: Floats
    total: Floats
    mu: Floats
    log_weight: Floats


def given_tau(y: Floats, se: Floats, tau: Floats, prior: float = 0.0, mu_mean: float = 0.0) -> GivenTau:
    """Partial pooling at given tau, any shape; the last axis of `y` and `se` are the sites, `tau` has one fewer.

    `prior` is mu's prior precision (0: flat).
    """
    precision = 1.0 / (se**2 + tau[..., None] ** 2)
    total = precision.sum(axis=-1) + prior
    mu = ((precision * y).sum(axis=-1) + prior * mu_mean) / total
    log_weight = (
        0.5 * np.log(precision).sum(axis=-1)
        - 0.5 * np.log(total)
        - 0.5 * (precision * (y - mu[..., None]) ** 2).sum(axis=-1)
        - 0.5 * prior * (mu - mu_mean) ** 2
    )
    return GivenTau(precision, total, mu, log_weight)


def hierarchical(
    effects: ArrayLike,
    errors: ArrayLike,
    *,
    mu_sd: float = np.inf,
    mu_mean: float = 0.0,
    tau_scale: float,
    tau_prior: Prior = "half-cauchy",
    nodes: int = 800,
) -> Hierarchical:
    """Posterior of mu, tau and theta by Gauss-Legendre over the prior's quantiles of tau.

    `effects` and their known standard `errors`, one for each site; mu ~ N(mu_mean, mu_sd^2), flat
    when infinite.
    """
    y, se = vector(effects, "effects", at_least=2), vector(errors, "standard errors", at_least=2)
    if y.size != se.size or (se <= 0).any():
        raise StatisticsRefusal("Each effect needs a standard error above 0.")
    if not (tau_scale > 0.0 and isfinite(tau_scale) and mu_sd > 0.0):
        raise StatisticsRefusal("The priors' scales must be above 0.")
    x, w = unit_nodes(nodes)
    prior = 0.0 if mu_sd == np.inf else mu_sd**-2
    low, high = 0.0, 1.0
    # The posterior may fill a sliver of the prior; each pass looks only where the last one found weight.
    for _ in range(8):
        u = low + x * (high - low)
        tau = tau_scale * PRIOR_QUANTILE[tau_prior](u)
        precision, total, mu_hat, log_weight = given_tau(y, se, tau, prior, mu_mean)
        weight = w * np.exp(log_weight - log_weight.max())
        seen = np.flatnonzero(weight > 1e-14 * weight.max())
        if seen.size > nodes // 2:
            break
        low = float(u[seen[0] - 1]) if seen[0] > 0 else low
        high = float(u[seen[-1] + 1]) if seen[-1] + 1 < nodes else high
    weight /= weight.sum()
    keep = se**2 * precision  # share of theta_j that comes from mu
    centre = keep * mu_hat[:, None] + (1.0 - keep) * y
    covariance = keep[:, :, None] * keep[:, None, :] / total[:, None, None]
    index = np.arange(y.size)
    covariance[:, index, index] += tau[:, None] ** 2 * keep
    return Hierarchical(
        mu=_mixture(weight, mu_hat, np.sqrt(1.0 / total)),
        tau=_of_nodes(tau, weight),
        theta=tuple(_mixture(weight, centre[:, j], np.sqrt(covariance[:, j, j])) for j in index),
        nodes=tau, weight=weight, mean=centre, covariance=covariance,
    )  # fmt: skip


def _mixture(weight: Floats, mean: Floats, sd: Floats) -> Marginal:
    centre = float(weight @ mean)
    variance = float(weight @ (sd**2 + mean**2)) - centre**2
    width = sqrt(variance)
    low, high = float((mean - 12.0 * sd).min()), float((mean + 12.0 * sd).max())

    def quantile(p: float) -> float:
        def gap(v: float) -> float:
            return float(weight @ special.ndtr((v - mean) / sd)) - p

        return float(optimize.brentq(gap, max(low, centre - 60.0 * width), min(high, centre + 60.0 * width)))

    return Marginal(centre, width, quantile(0.05), quantile(0.50), quantile(0.95))


def _of_nodes(value: Floats, weight: Floats) -> Marginal:
    centre = float(weight @ value)
    share = np.cumsum(weight) - weight / 2.0
    low, middle, high = np.interp([0.05, 0.50, 0.95], share, value)
    sd = sqrt(float(weight @ (value - centre) ** 2))
    return Marginal(centre, sd, float(low), float(middle), float(high))
