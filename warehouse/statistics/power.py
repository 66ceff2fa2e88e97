"""Planning before data: exact power and sample size of equivalence designs, donors against assays, assurance.

Belongs here: what a study of a given design and size would show if variances and difference were as assumed.
Does not belong here: the integrals themselves and the "n more lots" behind a verdict (`lots`).

Everything is on the analysis scale: margins and differences as logarithms where the plan's scale is log.
Sources: Owen (1965) and Phillips (1990) for the exact power, as R's PowerTOST; Burdick et al. (2024) for
historical lots; O'Hagan, Stevens & Campbell (2005) for assurance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, log1p, sqrt
from typing import Literal

import numpy as np
from scipy import stats
from scipy.special import ndtr

from warehouse.statistics.lots import first_enough, t_tost_power
from warehouse.statistics.mixed import MixedFit
from warehouse.statistics.quadrature import nodes_of, unit_nodes
from warehouse.statistics.refusal import StatisticsRefusal, one_sided, probability
from warehouse.statistics.scales import Margin
from warehouse.statistics.split_apheresis import optimal_weight

Design = Literal["parallel", "paired", "crossover"]


@dataclass(frozen=True, slots=True)
class Size:
    """A planned size: lots in all (parallel, crossover) or pairs, and the power it has."""

    n: int
    power: float


def sd_from_cv(cv: float) -> float:
    """SD of the logarithm for a coefficient of variation (0.3 for 30 %) of lognormal values."""
    if not cv > 0.0:
        raise StatisticsRefusal(f"A coefficient of variation must be above 0, got {cv:g}.")
    return sqrt(log1p(cv**2))


def _error(design: Design, sd: float, n: int) -> tuple[float, float]:
    """(standard error, df). Uneven totals are split as evenly as they go."""
    if not sd > 0.0:
        raise StatisticsRefusal(f"Planning needs an SD above 0, got {sd:g}.")
    if design == "paired":
        if n < 2:
            raise StatisticsRefusal(f"{n} pair(s); an interval needs at least 2.")
        return sd * sqrt(2.0 / n), n - 1.0
    if n < 3:
        raise StatisticsRefusal(f"{n} lot(s) in all; two groups need at least 3.")
    halves = 1.0 / (n // 2) + 1.0 / (n - n // 2)
    return sd * sqrt(halves if design == "parallel" else halves / 2.0), n - 2.0


def power_tost(
    design: Design, sd: float, n: int, margin: Margin, *, true: float = 0.0, alpha: float = 0.05
) -> float:
    """Exact power of two one-sided t tests.

    `sd` is that of one lot: in all for parallel groups, within a donor for pairs and crossovers. `n` counts
    lots of both groups (parallel), pairs, or subjects (2 x 2 crossover).
    """
    se, df = _error(design, sd, n)
    return t_tost_power(margin, se, df, true=true, alpha=alpha)


def sample_size(
    design: Design, sd: float, margin: Margin, *, true: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> Size:
    """Smallest balanced size with `power`. Raises StatisticsRefusal where `true` is not inside the margin."""
    probability(power, "power")
    if not margin.low < true < margin.high:
        raise StatisticsRefusal(
            "No number of lots shows equivalence when the true difference is at the margin."
        )
    step = 1 if design == "paired" else 2

    def at(k: int) -> float:
        return power_tost(design, sd, step * k, margin, true=true, alpha=alpha)

    found = first_enough(at, start=2, limit=1.0, power=power)
    if found is None:
        raise StatisticsRefusal("More lots than anyone could make would be needed; the margin is too narrow.")
    return Size(step * found, at(found))


@dataclass(frozen=True, slots=True)
class SplitDesign:
    """A split study. SDs between donors, between lots of a donor, and of one assay (analysis scale)."""

    pairs: int
    sd_donor: float
    sd_lot: float
    sd_assay: float = 0.0
    replicates: int = 1
    history: int = 0

    @property
    def lot_variance(self) -> float:
        """Variance of a lot's mean result given its donor."""
        return self.sd_lot**2 + self.sd_assay**2 / self.replicates

    @property
    def rho(self) -> float:
        """The donors' share of the variance of a lot's mean result."""
        return self.sd_donor**2 / (self.sd_donor**2 + self.lot_variance)


def split_power(design: SplitDesign, margin: Margin, *, true: float = 0.0, alpha: float = 0.05) -> float:
    """Power of a split study: exact for pairs alone; with history by the variance of the optimal weight.

    With history the degrees of freedom are Satterthwaite's at the assumed variances, so the power is an
    approximation; `split_simulation` gives its error at the size in question.
    """
    n, h = design.pairs, design.history
    lot, rho = design.lot_variance, design.rho
    if n < 2:
        raise StatisticsRefusal(f"{n} split donor(s); a paired interval needs at least 2.")
    if not lot > 0.0 or design.replicates < 1:
        raise StatisticsRefusal("Planning needs a lot or assay SD above 0 and at least one replicate.")
    if h < 2:
        return t_tost_power(margin, sqrt(2.0 * lot / n), n - 1.0, true=true, alpha=alpha)
    total = design.sd_donor**2 + lot
    weight = optimal_weight(n, h, rho)
    # The same three mean squares as `unknown_rho_interval`, at their expected values.
    squares = np.array([lot, total * (1.0 + rho), total])
    df = np.array([n - 1.0, n - 1.0, h - 1.0])
    terms = (1.0 - weight) ** 2 * (1.0 / n + 1.0 / h) * df / df.sum() * squares
    terms[0] += 2.0 * weight / n * lot
    variance = float(terms.sum())
    return t_tost_power(
        margin, sqrt(variance), variance**2 / float((terms**2 / df).sum()), true=true, alpha=alpha
    )


def split_pairs(
    design: SplitDesign, margin: Margin, *, true: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Smallest number of split donors with `power`, all else as in `design`; None when none would do."""
    probability(power, "power")
    if not margin.low < true < margin.high:
        return None

    def at(n: int) -> float:
        return split_power(replace(design, pairs=n), margin, true=true, alpha=alpha)

    return first_enough(at, start=2, limit=1.0, power=power)


def observed_design(fit: MixedFit, *, pairs: int, history: int = 0) -> SplitDesign:
    """The design a fitted split study had, with the spreads it observed, to plan its continuation from.

    Without assay replicates the residual is lot and assay together, and counts as the lot's.
    """
    replicated = "lot" in fit.variances
    lot = fit.variances["lot" if replicated else "residual"]
    return SplitDesign(
        pairs=pairs,
        sd_donor=sqrt(fit.variances["donor"]),
        sd_lot=sqrt(lot),
        sd_assay=sqrt(fit.variances["residual"]) if replicated else 0.0,
        replicates=max(1, round(fit.rows / fit.levels["lot"])) if replicated else 1,
        history=history,
    )


def further_pairs(
    design: SplitDesign, margin: Margin, *, true: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Further split donors for `power` at a true difference of `true`, the number behind an inconclusive verdict."""
    wanted = split_pairs(design, margin, true=true, alpha=alpha, power=power)
    return None if wanted is None else max(0, wanted - design.pairs)


@dataclass(frozen=True, slots=True)
class TradeOff:
    """One way to spend a study: donors, assays of each lot, assays in all, and the power that buys."""

    pairs: int
    replicates: int
    assays: int
    power: float


def donors_or_replicates(
    design: SplitDesign,
    margin: Margin,
    *,
    pairs: Sequence[int],
    replicates: Sequence[int],
    true: float = 0.0,
    alpha: float = 0.05,
) -> tuple[TradeOff, ...]:
    """Power over a grid of donors and assay replicates; replicates help only as far as the assay is noisy."""
    rows = []
    for n in pairs:
        for r in replicates:
            planned = replace(design, pairs=n, replicates=r)
            value = split_power(planned, margin, true=true, alpha=alpha)
            rows.append(TradeOff(n, r, 2 * n * r, value))
    return tuple(rows)


def assurance(
    power_of: Callable[[float, float], float],
    *,
    sd: float,
    sd_df: float,
    true: float = 0.0,
    true_sd: float = 0.0,
    nodes: int = 24,
) -> float:
    """Chance of success before the data: `power_of(sd, true)` averaged over what is not known.

    The SD has its posterior from an earlier study (`sd` on `sd_df` degrees of freedom),
    the true difference a normal one. Gauss-Legendre on the chi-square's quantiles, Gauss-Hermite on the
    difference; `sd_df` may be infinite and `true_sd` 0.
    """
    if not (sd > 0.0 and sd_df > 0.0 and true_sd >= 0.0):
        raise StatisticsRefusal("Assurance needs an SD and its degrees of freedom above 0.")
    if sd_df == inf:
        sds, weights = np.array([sd]), np.array([1.0])
    else:
        x, w = nodes_of(nodes)
        weights = w / 2.0
        sds = sd * np.sqrt(sd_df / stats.chi2.ppf((x + 1.0) / 2.0, sd_df))
    if true_sd == 0.0:
        differences, chances = np.array([true]), np.array([1.0])
    else:
        z, w = np.polynomial.hermite_e.hermegauss(nodes)
        differences, chances = true + true_sd * z, w / w.sum()
    return float(
        sum(
            float(a) * float(b) * power_of(float(s), float(d))
            for s, a in zip(sds, weights, strict=True)
            for d, b in zip(differences, chances, strict=True)
        )
    )


def covariate_power(
    margin: Margin, sd: float, n_reference: int, n_test: int, covariates: int, *, apart: float = 0.0, true: float = 0.0,
    alpha: float = 0.05,
) -> float:  # fmt: skip
    """Exact power of routine lots adjusted for normal covariates; `sd` is what they leave over of a lot's.

    `apart` is how far the sites' patients lie from one another (Mahalanobis distance, SDs). What the adjustment costs
    is Hotelling's T2 of the covariates over its degrees of freedom, so the power is averaged over its F distribution.
    """
    df = n_reference + n_test - 2 - covariates
    if covariates < 0 or df < 1 or min(n_reference, n_test) < 1 or not sd > 0.0:
        raise StatisticsRefusal(
            "Adjusting needs lots on both sides, more in all than covariates, and an SD above 0."
        )
    se = sd * sqrt(1.0 / n_reference + 1.0 / n_test)
    if covariates == 0:
        return t_tost_power(margin, se, df, true=true, alpha=alpha)
    harmonic = 1.0 / (1.0 / n_reference + 1.0 / n_test)
    x, w = unit_nodes(32)
    f = (
        stats.ncf.ppf(x, covariates, df + 1, apart**2 * harmonic)
        if apart
        else stats.f.ppf(x, covariates, df + 1)
    )
    inflated = se * np.sqrt(1.0 + covariates * f / (df + 1))
    each = [t_tost_power(margin, float(s), df, true=true, alpha=alpha) for s in inflated]
    return float(w @ np.array(each))


def fieller_power(
    ratio_margin: Margin, cv: float, n_reference: int, n_test: int, *, ratio: float = 1.0, alpha: float = 0.05
) -> float:
    """Exact power of Sasabuchi's two tests of the ratio of arithmetic means with pooled variance.

    `cv` is the SD of a lot in means of the reference. Given the pooled SD and the reference's mean, the site's mean
    must lie between two bounds: an integral over those two (Hauschke et al. 1999 have it by the bivariate t).
    """
    df = n_reference + n_test - 2
    if not (0.0 < ratio_margin.low < ratio_margin.high and cv > 0.0 and ratio > 0.0) or df < 1:
        raise StatisticsRefusal("A ratio of means needs 0 < low < high, a CV above 0 and 3 lots in all.")
    quantile = float(stats.t.isf(one_sided(alpha), df))
    lowest, highest = np.sqrt(stats.chi2.ppf([1e-13, 1 - 1e-13], df) / df)
    reach = [quantile * cv * sqrt(1.0 / n_test + k**2 / n_reference) for k in ratio_margin]
    x, w = unit_nodes(64)
    z, chance = 16.0 * x - 8.0, 16.0 * w * stats.norm.pdf(16.0 * x - 8.0)
    reference = 1.0 + z * cv / sqrt(n_reference)
    # Beyond this SD the bounds cross even with the largest reference mean.
    end = min(float(highest), float((ratio_margin.high - ratio_margin.low) * reference.max() / sum(reach)))
    stop = max(end, float(lowest))
    s = lowest + x * (stop - lowest)
    density = stats.chi.pdf(s * sqrt(df), df) * sqrt(df) * w * (stop - lowest)
    low = ratio_margin.low * reference + reach[0] * s[:, None]
    high = ratio_margin.high * reference - reach[1] * s[:, None]
    error = cv / sqrt(n_test)
    inside = ndtr((high - ratio) / error) - ndtr((low - ratio) / error)
    return float(density @ np.maximum(inside, 0.0) @ chance)
