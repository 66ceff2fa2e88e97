"""How often posterior probabilities, taken as rules, accept what they should not: their frequentist size.

Belongs here: the size of "posterior probability of equivalence >= 0.95" for two groups and for partial pooling. Does
not belong here: the posteriors (`bayes`). Simulated from fixed seeds, each with its Monte-Carlo error.

Partial pooling draws a site towards the others. The rule is judged where that errs most plausibly: one site at the
margin while all others are like the reference, so that pooling pulls it back inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import special

from warehouse.statistics.bayes import PRIOR_QUANTILE, Prior, given_tau, posterior_of
from warehouse.statistics.means import Estimate
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.quadrature import unit_nodes
from warehouse.statistics.refusal import StatisticsRefusal, probability
from warehouse.statistics.scales import Margin, margin_on_scale

# Nodes of tau: 40 give the probability to 1e-3 of what 800 give (a test compares them).
NODES = 40


@dataclass(frozen=True, slots=True)
class RuleSize:
    """How often "P(inside the margin) >= threshold" holds at true difference `true_sd`, with its error."""

    n_reference: int
    n_test: int
    margin_sd: float
    true_sd: float
    threshold: float
    runs: int
    share: float
    mc_error: float


def rule_size(
    estimate: Estimate, margin: Margin, *, threshold: float = 0.95, runs: int = 20_000, seed: int = 20240101
) -> tuple[float, float]:
    """How often "posterior probability of equivalence >= threshold" accepts a true difference at the margin.

    At the standard error and degrees of freedom of `estimate`, the worse of both limits; with its Monte-Carlo error.
    """
    posterior = posterior_of(estimate)
    low, high = margin_on_scale(margin, estimate.scale)
    rng = np.random.default_rng(seed)
    scale = posterior.scale * np.sqrt(rng.chisquare(posterior.df, runs) / posterior.df)
    drawn = posterior.scale * rng.standard_normal(runs)
    shares = []
    for true in (low, high):
        inside = special.stdtr(posterior.df, (high - true - drawn) / scale) - special.stdtr(
            posterior.df, (low - true - drawn) / scale
        )
        shares.append(float((inside >= probability(threshold, "threshold")).mean()))
    worst = max(shares)
    return worst, sqrt(max(worst * (1.0 - worst), 1.0 / runs) / runs)


def posterior_rule_size(
    n_reference: int,
    n_test: int,
    *,
    margin_sd: float,
    true_sd: float | None = None,
    threshold: float = 0.95,
    runs: int = 20_000,
    seed: int = 20240101,
) -> RuleSize:
    """Frequentist behaviour of the posterior rule for two groups of lots with a common spread.

    Differences are in SDs of a lot; `true_sd` defaults to the margin, where every acceptance is an error.
    """
    df = n_reference + n_test - 2
    if min(n_reference, n_test) < 1 or df < 1 or runs < 1 or not margin_sd > 0.0:
        raise StatisticsRefusal("Two groups need lots on both sides, 3 in all, and a margin above 0.")
    true = margin_sd if true_sd is None else true_sd
    rng = np.random.default_rng([seed, n_reference, n_test])
    error = sqrt(1.0 / n_reference + 1.0 / n_test)
    difference = rng.normal(true, error, runs)
    scale = error * np.sqrt(rng.chisquare(df, runs) / df)
    inside = special.stdtr(df, (margin_sd - difference) / scale) - special.stdtr(
        df, (-margin_sd - difference) / scale
    )
    share = float((inside >= probability(threshold, "threshold")).mean())
    mc = sqrt(max(share * (1.0 - share), 1.0 / runs) / runs)
    return RuleSize(n_reference, n_test, margin_sd, true, threshold, runs, share, mc)


def pooled_rule_size(
    sizes: Sequence[int],
    site: int,
    reference: int,
    *,
    sd: float,
    limits: Margin,
    tau_prior: Prior = "half-normal",
    threshold: float = 0.95,
    runs: int = 1000,
    seed: int = 20240101,
) -> tuple[float, float]:
    """How often partial pooling gives P(site - reference inside limits) >= threshold at a true difference at a limit.

    `sizes` are the lots of each site, `sd` that of a lot (estimated anew in each run, pooled over the sites; it scales
    the prior of tau too), `limits` on the analysis scale; all other sites are like the reference. The worse of both
    limits, with its Monte-Carlo error.
    """
    n = np.array(sizes, dtype=np.float64)
    df = int(n.sum()) - n.size
    if n.size < 2 or n.min() < 1 or df < 1 or not sd > 0.0 or site == reference:
        raise StatisticsRefusal("Partial pooling needs two sites, a lot to spare, and an SD above 0.")
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((runs, n.size)) * sd / np.sqrt(n)
    told = sd * np.sqrt(rng.chisquare(df, runs) / df)
    shares = []
    for true in {-limits.low, limits.high} if -limits.low == limits.high else limits:
        y = noise.copy()
        y[:, site] += true
        inside = _pooled_inside(y, told[:, None] / np.sqrt(n), told, tau_prior, (site, reference), limits)
        shares.append(float((inside >= probability(threshold, "threshold")).mean()))
    worst = max(shares)
    return worst, sqrt(max(worst * (1.0 - worst), 1.0 / runs) / runs)


def _pooled_inside(
    y: Floats, se: Floats, tau_scale: Floats, prior: Prior, pair: tuple[int, int], limits: Margin
) -> Floats:
    """P(low < theta_i - theta_j < high) of each row of effects, by `bayes.hierarchical`'s model with a flat mu."""
    x, w = unit_nodes(NODES)
    tau = tau_scale[:, None] * PRIOR_QUANTILE[prior](x)
    found = given_tau(y[:, None, :], se[:, None, :], tau)
    weight = w * np.exp(found.log_weight - found.log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    i, j = pair
    # Share of a site's mean that comes from mu.
    keep = [se[:, None, k] ** 2 * found.precision[:, :, k] for k in pair]
    centre = (keep[0] - keep[1]) * found.mu + (1.0 - keep[0]) * y[:, [i]] - (1.0 - keep[1]) * y[:, [j]]
    sd = np.sqrt((keep[0] - keep[1]) ** 2 / found.total + tau**2 * (keep[0] + keep[1]))
    each = special.ndtr((limits.high - centre) / sd) - special.ndtr((limits.low - centre) / sd)
    return np.asarray((weight * each).sum(axis=1))
