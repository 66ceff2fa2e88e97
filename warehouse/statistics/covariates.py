"""Routine lots of different patients, compared across sites after allowing for what is known of the patients.

Belongs here: analysis of covariance with site fixed, patients' covariates fixed and, where assays repeat, the
lot random; and how unlike the patients of the sites are. Does not belong here: split donors
(`split_apheresis`); choosing covariates (the plan does, before the data).

An adjusted comparison of routine lots is weaker evidence than a split study: it allows for the covariates
that were measured and for no others. Its `design` therefore always begins with "routine lots", and lots of
one donor made at two sites are refused here. Source: Milliken & Johnson (2002), Analysis of Covariance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from warehouse.statistics.means import Estimate, estimate_from_t
from warehouse.statistics.mixed import MixedFit, contrast, fit_mixed, treatment_coding
from warehouse.statistics.mixed_core import Floats
from warehouse.statistics.refusal import StatisticsRefusal, vector
from warehouse.statistics.scales import Scale, forward

# Patients of two sites further apart than this in a covariate are compared by extrapolation (Austin 2009: 0.1
# is already imbalance; 1 SD is no overlap worth the name at these sizes).
FAR_APART = 1.0


@dataclass(frozen=True)
class RoutineComparison:
    """Each site against the reference, adjusted and not. `imbalance` holds, for each numeric covariate and
    site, the standardised difference of patients from the reference's (SDs)."""

    design: str
    reference: str
    estimates: dict[str, Estimate]
    unadjusted: dict[str, Estimate]
    imbalance: dict[str, dict[str, float]]
    warnings: tuple[str, ...]
    fit: MixedFit


def compare_routine(
    y: ArrayLike,
    site: Sequence[str],
    *,
    reference: str,
    patient: Sequence[str],
    numeric: Mapping[str, ArrayLike] | None = None,
    categorical: Mapping[str, Sequence[str]] | None = None,
    scale: Scale = "identity",
    top: float = 1.0,
    alpha: float = 0.05,
) -> RoutineComparison:
    """Every site against `reference`, one row for each assay result; covariates of the patient, without gaps.

    Patients with several rows get a random intercept. Raises StatisticsRefusal for a patient seen at two
    sites, or covariates that cannot be told apart from the sites.
    """
    values = forward(y, scale, top=top, what="results")
    home: dict[str, str] = {}
    for who, where in zip(patient, site, strict=True):
        if home.setdefault(who, where) != where:
            raise StatisticsRefusal(
                f"Patient {who} has lots at {home[who]} and {where}; analyse shared donors as a split study."
            )
    sites, levels = treatment_coding(site, reference)
    if len(levels) < 2:
        raise StatisticsRefusal(f"All lots are of {reference}; there is no other site to compare.")
    columns, names, imbalance, warnings = _covariates(
        values.size, site, levels, numeric or {}, categorical or {}
    )
    base = np.hstack([np.ones((values.size, 1)), sites])
    factors = {"patient": patient} if len(home) < values.size else {}
    counts = {level: sum(where == level for where in home.values()) for level in levels}

    def judged(fit: MixedFit, method: str) -> dict[str, Estimate]:
        out = {}
        for j, level in enumerate(levels[1:], start=1):
            found = contrast(fit, np.eye(len(fit.names))[j])
            out[level] = estimate_from_t(
                method,
                found.estimate,
                found.se,
                found.df,
                scale=scale,
                alpha=alpha,
                n_reference=counts[reference],
                n_test=counts[level],
                df_method=found.df_method,
            )
        return out

    plain = fit_mixed(values, base, factors, names=levels)
    fit = fit_mixed(values, np.hstack([base, *columns]), factors, names=[*levels, *names]) if names else plain
    listed = [*(numeric or {}), *(categorical or {})]
    return RoutineComparison(
        design=f"routine lots, adjusted for {', '.join(listed)}" if listed else "routine lots, unadjusted",
        reference=reference,
        estimates=judged(fit, "ancova-kr" if listed else "routine-kr"),
        unadjusted=judged(plain, "routine-kr"),
        imbalance=imbalance,
        warnings=warnings,
        fit=fit,
    )


def ancova_size(design: Floats, column: int, variances: Floats, *, alpha: float = 0.05) -> float | None:
    """Chance that the one-sided t test of one coefficient passes a true value at its limit, lots of unlike spread.

    `design` has a row a lot, `variances` the true variance of each. Where all are equal it is alpha. The residual mean
    square is taken as a chi-square with Satterthwaite's degrees of freedom. None where the design has no rank to spare.
    """
    rows, rank = design.shape[0], int(np.linalg.matrix_rank(design))
    if rank < design.shape[1] or rows <= rank or not variances.sum() > 0:
        return None
    q, r = np.linalg.qr(design)
    weight = q @ np.linalg.solve(r.T, np.eye(rank)[:, column])
    leverage = (q**2).sum(axis=1)
    mean = float((variances * (1 - leverage)).sum())
    inner = q.T @ (variances[:, None] * q)
    square = float((variances**2 * (1 - 2 * leverage)).sum() + (inner**2).sum())
    df = rows - rank
    true = float((weight**2 * variances).sum())
    told = mean / df * float((weight**2).sum())
    critical = float(stats.t.isf(alpha, df))
    return float(stats.t.cdf(-critical * np.sqrt(told / true), mean**2 / square))


def _covariates(
    rows: int,
    site: Sequence[str],
    levels: Sequence[str],
    numeric: Mapping[str, ArrayLike],
    categorical: Mapping[str, Sequence[str]],
) -> tuple[list[Floats], list[str], dict[str, dict[str, float]], tuple[str, ...]]:
    """Design columns, their names, how far the sites' patients are apart, and words where that is far."""
    columns: list[Floats] = []
    names: list[str] = []
    imbalance: dict[str, dict[str, float]] = {}
    warnings: list[str] = []
    where = np.array(site)
    for name, given in numeric.items():
        values = vector(given, name)
        if values.size != rows:
            raise StatisticsRefusal(f"Covariate {name}: {values.size} values for {rows} results.")
        if np.ptp(values) == 0.0:
            raise StatisticsRefusal(
                f"Covariate {name} is the same for every patient; leave it out of the plan."
            )
        columns.append(((values - values.mean()) / values.std())[:, None])
        names.append(name)
        parts = {level: values[where == level] for level in levels}
        within = sum(float(((part - part.mean()) ** 2).sum()) for part in parts.values())
        sd = np.sqrt(within / max(rows - len(levels), 1))
        if sd == 0.0:
            raise StatisticsRefusal(
                f"Covariate {name} is fixed within each site, so it cannot be told from it."
            )
        centre = parts[levels[0]].mean()
        imbalance[name] = {level: float((parts[level].mean() - centre) / sd) for level in levels[1:]}
        warnings += [
            f"Patients of {level} are {abs(far):.1f} SD from the reference's in {name}: it is extrapolated."
            for level, far in imbalance[name].items()
            if abs(far) > FAR_APART
        ]
    for name, labels in categorical.items():
        if len(labels) != rows:
            raise StatisticsRefusal(f"Covariate {name}: {len(labels)} labels for {rows} results.")
        coded, found = treatment_coding(labels)
        if len(found) < 2:
            raise StatisticsRefusal(
                f"Covariate {name} is the same for every patient; leave it out of the plan."
            )
        columns.append(coded)
        names += [f"{name}={level}" for level in found[1:]]
    return columns, names, imbalance, tuple(warnings)
