"""Split-apheresis comparability: one donor's cells divided between sites, with or without historical lots.

Belongs here: the paired, unpaired and mixed-model comparison of sites whose lots share donors, borrowing
historical reference lots, and the test that must come before borrowing. Does not belong here: lots of
patients who were not split (`covariates`), the model fit itself (`mixed`), power (`power`).

The mixed model is y = site + donor + lot + assay, donor and lot (donor x site) random, judged by
Kenward-Roger. History enters as donors seen at the reference site alone; it sharpens the reference mean
only as far as the donors do not already. Both answers, with and without history, are always given.

Sources: Burdick, Hofer, Karl, Rushing (2024), AAPS J 26, appendices 2 and 3, for the closed forms;
Kenward & Roger (1997) for the mixed model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from warehouse.statistics.means import Estimate, estimate_from_t, paired, pooled, welch
from warehouse.statistics.mixed import DfMethod, MixedFit, contrast, fit_mixed, treatment_coding
from warehouse.statistics.refusal import Floats, StatisticsRefusal, spread, vector
from warehouse.statistics.scales import Scale, forward


@dataclass(frozen=True, slots=True)
class Exchangeability:
    """Historical lots beside the study's own reference lots (lot means, analysis scale).

    `difference` is history minus study with its 90 % interval. `borrow` is False when means or spreads
    differ at `level`; True is not proof that they are alike, only that these lots do not show otherwise.
    """

    n_history: int
    n_study: int
    difference: float
    ci_low: float
    ci_high: float
    p_mean: float
    p_spread: float
    level: float
    borrow: bool
    sentence: str


@dataclass(frozen=True)
class MixedComparison:
    """Each site against the reference from one mixed model. `fits` is on the analysis scale."""

    fit: MixedFit
    reference: str
    estimates: dict[str, Estimate]
    with_history: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class SplitComparison:
    """All analyses of one split study for one site; the comparability plan names the one that decides.

    `paired` uses donors made at both sites, `unpaired` ignores pairing, `mixed` uses every lot of the
    study, `mixed_with_history` those and the historical lots (None when there are none).
    """

    design: str
    donors_split: int
    paired: Estimate
    unpaired: Estimate
    mixed: MixedComparison
    mixed_with_history: MixedComparison | None
    known_rho: Estimate | None
    unknown_rho: Estimate | None
    exchangeability: Exchangeability | None


def mixed_comparison(
    y: ArrayLike,
    donor: Sequence[str],
    site: Sequence[str],
    *,
    reference: str,
    lot: Sequence[str] | None = None,
    scale: Scale = "identity",
    top: float = 1.0,
    alpha: float = 0.05,
    df_method: DfMethod = "kenward-roger",
) -> MixedComparison:
    """Every site against `reference`: site fixed, donor and, where assays repeat, lot (donor x site) random.

    One row for each assay result; `lot` defaults to donor x site. Raises StatisticsRefusal when no donor
    was made at two sites, for then donors and sites cannot be told apart.
    """
    values = forward(y, scale, top=top, what="results")
    lots = [f"{d}\x1f{s}" for d, s in zip(donor, site, strict=True)] if lot is None else list(lot)
    made = _sites_by_donor(donor, site)
    if not any(len(sites) > 1 for sites in made.values()):
        raise StatisticsRefusal(
            "No donor was made at two sites, so this is not a split study; compare them as routine lots."
        )
    if len(made) < 2:
        raise StatisticsRefusal("One donor cannot show how donors differ; a split study needs at least two.")
    columns, levels = treatment_coding(site, reference)
    if len(levels) < 2:
        raise StatisticsRefusal(f"All lots are of {reference}; there is no other site to compare.")
    design = np.hstack([np.ones((values.size, 1)), columns])
    factors: dict[str, Sequence[str]] = {"donor": donor}
    if len(set(lots)) < values.size:
        factors["lot"] = lots
    fit = fit_mixed(values, design, factors, names=levels)
    counts = {level: len({x for x, s in zip(lots, site, strict=True) if s == level}) for level in levels}
    estimates = {}
    for j, level in enumerate(levels[1:], start=1):
        found = contrast(fit, np.eye(len(levels))[j], df_method)
        estimates[level] = estimate_from_t(
            f"mixed-{'kr' if df_method == 'kenward-roger' else 'satterthwaite'}",
            found.estimate,
            found.se,
            found.df,
            scale=scale,
            alpha=alpha,
            n_reference=counts[reference],
            n_test=counts[level],
            df_method=df_method,
        )
    warnings = tuple(
        f"The {name} variance is estimated as 0: these lots show no {name}-to-{name} difference."
        for name in fit.boundary
    )
    history = any(sites == {reference} for sites in made.values())
    return MixedComparison(fit, reference, estimates, history, warnings)


def _sites_by_donor(donor: Sequence[str], site: Sequence[str]) -> dict[str, set[str]]:
    made: dict[str, set[str]] = {}
    for d, s in zip(donor, site, strict=True):
        made.setdefault(d, set()).add(s)
    return made


def compare_split(
    y: ArrayLike,
    donor: Sequence[str],
    site: Sequence[str],
    *,
    reference: str,
    test: str,
    lot: Sequence[str] | None = None,
    scale: Scale = "identity",
    top: float = 1.0,
    alpha: float = 0.05,
    known_rho: float | None = None,
    exchange_level: float = 0.10,
    historical: Collection[str] | None = None,
) -> SplitComparison:
    """Every analysis of `test` against `reference`; rows as for `mixed_comparison`, other sites left out.

    `historical` names the donors of historical lots; without it they are those seen at the reference alone
    (name them where a split donor's other lot is missing). `known_rho`, the donors' share of a lot's variance
    from earlier work, adds Burdick's exact interval. Raises StatisticsRefusal with fewer than
    two split donors.
    """
    values = vector(y, "results")
    lots = [f"{d}\x1f{s}" for d, s in zip(donor, site, strict=True)] if lot is None else list(lot)
    keep = [i for i, s in enumerate(site) if s in {reference, test}]
    values, donor, site = values[keep], [donor[i] for i in keep], [site[i] for i in keep]
    lots = [lots[i] for i in keep]
    made = _sites_by_donor(donor, site)
    means = lot_means(forward(values, scale, top=top, what="results"), donor, site)
    both = [d for d in made if made[d] == {reference, test}]
    history = [d for d in made if (made[d] == {reference} if historical is None else d in historical)]
    if any(made[d] != {reference} for d in history):
        raise StatisticsRefusal(f"A historical donor was also made at {test}; it belongs to the study.")
    if len(both) < 2:
        raise StatisticsRefusal(
            f"{len(both)} donor(s) were made at both {reference} and {test}; a split study needs at least 2."
        )
    pre = np.array([means[d, reference] for d in both])
    post = np.array([means[d, test] for d in both])
    past = np.array([means[d, reference] for d in history])
    rows = [i for i, d in enumerate(donor) if d not in history]
    study = mixed_comparison(
        values[rows],
        [donor[i] for i in rows],
        [site[i] for i in rows],
        reference=reference,
        lot=[lots[i] for i in rows],
        scale=scale,
        top=top,
        alpha=alpha,
    )
    borrowed = None
    if history:
        borrowed = mixed_comparison(
            values, donor, site, reference=reference, lot=lots, scale=scale, top=top, alpha=alpha
        )
    known = None
    if known_rho is not None:
        known = known_rho_interval(pre, post, past, known_rho, scale=scale, alpha=alpha)
    enough = past.size >= 2
    return SplitComparison(
        design="split apheresis with historical lots" if history else "split apheresis",
        donors_split=len(both),
        # Lot means are on the analysis scale already; `_as` carries the reading of that scale.
        paired=_as(paired(pre, post, alpha=alpha), scale),
        unpaired=_as(welch(pre, post, alpha=alpha), scale),
        mixed=study,
        mixed_with_history=borrowed,
        known_rho=known,
        unknown_rho=unknown_rho_interval(pre, post, past, scale=scale, alpha=alpha) if enough else None,
        exchangeability=exchangeability(past, pre, level=exchange_level) if enough else None,
    )


def _as(estimate: Estimate, scale: Scale) -> Estimate:
    """An identity-scale estimate of values already transformed, read on their scale."""
    assert estimate.se is not None
    assert estimate.df is not None
    return estimate_from_t(
        estimate.method,
        estimate.estimate,
        estimate.se,
        estimate.df,
        scale=scale,
        alpha=estimate.alpha,
        n_reference=estimate.n_reference,
        n_test=estimate.n_test,
        df_method=estimate.df_method or "",
        sd_reference=estimate.sd_reference,
        sd_test=estimate.sd_test,
        sd_difference=estimate.sd_difference,
    )


def lot_means(values: Floats, donor: Sequence[str], site: Sequence[str]) -> dict[tuple[str, str], float]:
    """The mean of each donor x site over its assay replicates."""
    cells: dict[tuple[str, str], list[float]] = {}
    for value, d, s in zip(values, donor, site, strict=True):
        cells.setdefault((d, s), []).append(float(value))
    return {cell: float(np.mean(found)) for cell, found in cells.items()}


def exchangeability(history: ArrayLike, study: ArrayLike, *, level: float = 0.10) -> Exchangeability:
    """May history stand beside the study's own reference lots? Welch's t on means, F on spreads (two-sided).

    The level is wider than 0.05 because borrowing unlike lots is the error that matters. The same assay
    version and period are facts the plan must state; no test here can supply them.
    """
    past, own = vector(history, "historical lots", at_least=2), vector(study, "reference lots", at_least=2)
    found = welch(own, past)
    assert found.se is not None
    assert found.df is not None
    p_mean = float(2.0 * stats.t.sf(abs(found.estimate / found.se), found.df))
    ratio = (spread(past), spread(own))
    if min(ratio) == 0.0:
        raise StatisticsRefusal("Historical or reference lots do not vary at all; check for rounded results.")
    f = float(stats.f.cdf((ratio[0] / ratio[1]) ** 2, past.size - 1, own.size - 1))
    p_spread = 2.0 * min(f, 1.0 - f)
    unlike = [word for word, p in (("mean", p_mean), ("spread", p_spread)) if p < level]
    sentence = (
        f"Historical lots differ from the study's reference lots in {' and '.join(unlike)}: not borrowed."
        if unlike
        else f"These {past.size} historical lots do not differ from the study's {own.size} reference lots."
    )
    return Exchangeability(
        n_history=past.size,
        n_study=own.size,
        difference=found.estimate,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p_mean=p_mean,
        p_spread=p_spread,
        level=level,
        borrow=not unlike,
        sentence=sentence,
    )


def optimal_weight(pairs: int, history: int, rho: float) -> float:
    """Share of the paired reference lots in the reference mean: (n + h rho) / (n + h), Burdick appendix 2."""
    return (pairs + history * rho) / (pairs + history)


def variance_factor(pairs: int, history: int, rho: float, weight: float) -> float:
    """Var(estimate) / sigma2 for y_post - [w y_pre + (1 - w) y_history], sigma2 = donor + lot variance."""
    past = (1.0 - weight) ** 2 / history if history else 0.0
    return (1.0 + weight**2 - 2.0 * weight * rho) / pairs + past


def known_rho_interval(
    reference: ArrayLike,
    test: ArrayLike,
    history: ArrayLike,
    rho: float,
    *,
    scale: Scale = "identity",
    alpha: float = 0.05,
) -> Estimate:
    """Exact interval when the donors' share `rho` is known (Burdick eq. 15); lots on the analysis scale.

    sigma2 is pooled from the three independent sums of squares (differences, sums, history) and the one
    degree of freedom between study and history, all weighted by the known rho: 2 n + h - 2 in all.
    """
    pre, post, past = _trio(reference, test, history)
    if not 0.0 <= rho < 1.0:
        raise StatisticsRefusal(f"The donors' share of the variance must lie from 0 to below 1, got {rho:g}.")
    n, h = pre.size, past.size
    weight = optimal_weight(n, h, rho)
    aim = weight * pre.mean() + (1.0 - weight) * (past.mean() if h else 0.0)
    square = (n - 1) * (spread(post - pre) ** 2 / (1.0 - rho) + spread(post + pre) ** 2 / (1.0 + rho)) / 2.0
    df = 2 * (n - 1)
    if h:
        gap = float(pre.mean() - past.mean())
        square += float(((past - past.mean()) ** 2).sum()) + gap**2 / (1.0 / n + 1.0 / h)
        df += h
    return estimate_from_t(
        "split-known-rho",
        float(post.mean() - aim),
        sqrt(square / df * variance_factor(n, h, rho, weight)),
        float(df),
        scale=scale,
        alpha=alpha,
        n_reference=n + h,
        n_test=n,
        df_method="2 n + h - 2",
    )


def unknown_rho_interval(
    reference: ArrayLike,
    test: ArrayLike,
    history: ArrayLike,
    *,
    scale: Scale = "identity",
    alpha: float = 0.05,
) -> Estimate:
    """Approximate interval with estimated rho (Burdick eq. 18, appendix 3); lots on the analysis scale.

    Var = l2 sigma2 + (2 w / n) sigma2_lot. sigma2 is pooled over pre, post and history, sigma2_lot comes from
    differences; both are written in three independent mean squares, which is where Satterthwaite applies.
    Needs at least 2 historical lots.
    """
    pre, post, past = _trio(reference, test, history)
    if past.size < 2:
        raise StatisticsRefusal(f"{past.size} historical lot(s); a pooled variance needs at least 2.")
    n, h = pre.size, past.size
    squares = np.array([spread(post - pre) ** 2 / 2.0, spread(post + pre) ** 2 / 2.0, spread(past) ** 2])
    each = np.array([n - 1, n - 1, h - 1], dtype=np.float64)
    if squares[0] <= 0.0:
        raise StatisticsRefusal("All pairs differ by the same amount; there is no spread to judge by.")
    share = each / each.sum()
    rho = float(np.clip(1.0 - squares[0] / (share @ squares), 0.0, 1.0))
    weight = optimal_weight(n, h, rho)
    terms = (1.0 - weight) ** 2 * (1.0 / n + 1.0 / h) * share * squares
    terms[0] += 2.0 * weight / n * squares[0]
    variance = float(terms.sum())
    df = variance**2 / float((terms**2 / each).sum())
    aim = weight * pre.mean() + (1.0 - weight) * past.mean()
    return estimate_from_t(
        "split-unknown-rho",
        float(post.mean() - aim),
        sqrt(variance),
        df,
        scale=scale,
        alpha=alpha,
        n_reference=n + h,
        n_test=n,
        df_method="Satterthwaite",
    )


def _trio(reference: ArrayLike, test: ArrayLike, history: ArrayLike) -> tuple[Floats, Floats, Floats]:
    pre, post = vector(reference, "reference lots", at_least=2), vector(test, "test lots", at_least=2)
    if pre.size != post.size:
        raise StatisticsRefusal(f"Pairs need equal counts: {pre.size} reference and {post.size} test lots.")
    return pre, post, vector(history, "historical lots", at_least=0)


def ignoring_pairing(
    reference: ArrayLike, test: ArrayLike, history: ArrayLike, *, alpha: float = 0.05
) -> Mapping[str, Estimate]:
    """What the comparison would be were donors not shared: Welch and pooled, reference and history as one.

    Shown for contrast only: it wastes what pairing gives, and its pooled form also assumes equal spread.
    """
    pre, post, past = _trio(reference, test, history)
    whole = np.concatenate([pre, past])
    return {"welch": welch(whole, post, alpha=alpha), "pooled": pooled(whole, post, alpha=alpha)}
