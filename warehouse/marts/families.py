"""What verdicts say together: families of attributes at one site, and one attribute over all sites.

Belongs here: the families that the plan declares, and what the analyses over several sites make of one attribute. Does
not belong here: a single verdict (`comparability.py`), the methods (`warehouse.statistics.multiplicity`, `sites`).

A family claimed `all` is comparable where every attribute is: an intersection-union test, which keeps its level without
adjusting anything. A family claimed `each` lets single attributes be called comparable, so their p-values are adjusted.
Neither changes a verdict. An attribute's p is the largest of its one-sided tests, means and spread; it is below alpha
just where the verdict is comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
import polars as pl

from warehouse.marts.comparability import Judged, Lots
from warehouse.marts.designs import top_of
from warehouse.marts.memory import Memory
from warehouse.marts.rows import frame_of, inputs_hash
from warehouse.plan import Family
from warehouse.statistics.bayes import Hierarchical, hierarchical
from warehouse.statistics.bayes_rules import pooled_rule_size
from warehouse.statistics.means import Estimate, tost
from warehouse.statistics.multiplicity import adjust
from warehouse.statistics.refusal import Floats, StatisticsRefusal
from warehouse.statistics.scales import forward, margin_on_scale, unread
from warehouse.statistics.sites import all_pairs, random_sites, reference_vs_each, wellek_f
from warehouse.statistics.variability import sd_ratio_tost
from warehouse.statistics.versions import with_versions

# Sites from which the spread between them can be told at all, so that their means may be pooled in part.
POOLED_FROM = 4
ALL_AT_ONCE = ("pooled-over-sites-t", "dunnett", "all-pairs", "wald-site-share", "wellek-f")
HELD = {"unlike_methods", "lab_confounded", "no_margin", "unstable", "means_only"}


def p_comparable(one: Judged) -> float | None:
    """Largest p of the one-sided tests that a verdict `comparable` passes; None where it is held back or cannot be."""
    result, margin, limit = one.compared.result, one.plan.margin, one.plan.spread_margin
    if one.judgement.reason in HELD or not isinstance(result, Estimate) or margin is None or limit is None:
        return None
    if one.compared.ratio is None or result.se is None:
        return None
    return max(tost(result, margin).p, sd_ratio_tost(one.compared.ratio, limit).p)


def family_rows(
    lots: Lots, made: Sequence[Judged], families: Sequence[Family] | None = None
) -> list[dict[str, Any]]:
    """Rows of `mart.comparability_family`: one attribute of one family (all of the plan's) at one site."""
    rows = []
    by_site = {one.site: {m.attribute: m for m in made if m.site == one.site} for one in made}
    for site, of_site in by_site.items():
        for family in lots.fleet.plan.families if families is None else families:
            members = [of_site[name] for name in family.attributes]
            rows += _family(lots, family, site, members)
    return rows


def _family(lots: Lots, family: Family, site: str, members: Sequence[Judged]) -> list[dict[str, Any]]:
    alpha, adjustment = lots.alpha, "intersection-union" if family.claim == "all" else family.adjustment
    inputs = inputs_hash(m.inputs_hash for m in members)
    words = [m.judgement.verdict for m in members]
    found = [p_comparable(m) for m in members]
    # What was not tested cannot pass, but it counts among the tests of the family.
    p = [1.0 if v is None else v for v in found]
    adjusted = [max(p)] * len(p) if family.claim == "all" else list(adjust(p, family.adjustment))
    holds = [w == "comparable" and a < alpha for w, a in zip(words, adjusted, strict=True)]
    if family.claim == "all":
        verdict = "not comparable" if "not comparable" in words else "inconclusive"
        if all(w == "comparable" for w in words):
            verdict = "comparable"
        holds = [verdict == "comparable"] * len(words)
        told = f"All {len(words)} must be comparable (intersection-union, no adjustment needed): {verdict}."
    else:
        verdict = None
        told = (
            f"{sum(holds)} of {len(words)} may each be called comparable with a chance of at most {100 * alpha:g} % "
            f"that any is so wrongly ({family.adjustment})."
            if family.adjustment not in {"bh", "by"}
            else f"{sum(holds)} of {len(words)} may be called comparable with at most {100 * alpha:g} % of such calls "
            f"expected to be wrong ({family.adjustment})."
        )
    return [
        {
            "site": site, "family": family.name, "claim": family.claim,
            "adjustment": adjustment,
            "attribute": m.attribute, "verdict": m.judgement.verdict, "reason": m.judgement.reason,
            "p_comparable": raw, "p_adjusted": None if raw is None else float(adj), "holds": held,
            "family_verdict": verdict, "sentence": told, "inputs_hash": inputs,
            "method_versions": with_versions(adjustment, m.compared.result.method),
        }
        for m, raw, adj, held in zip(members, found, adjusted, holds, strict=True)
    ]  # fmt: skip


def network_parts(lots: Lots, sites: Sequence[str], memory: Memory) -> list[pl.DataFrame]:
    """Each attribute's part of `mart.comparability_network`, made by `network_rows`."""
    mart, made = "comparability_network", list[pl.DataFrame]()
    for name, a in lots.fleet.plan.attributes.items():
        sides = [(key, side) for key, side in sorted(lots.sides.items()) if key[0] == name]
        if memory.same(mart, (name,), a, tuple(sites), lots.fleet.reference_site, lots.alpha, sides):
            made.append(memory.rows(mart, ("attribute",), (name,)))
        else:
            made.append(frame_of(mart, network_rows(lots, sites, name)))
    return made


def network_rows(lots: Lots, sites: Sequence[str], only: str | None = None) -> list[dict[str, Any]]:
    """Rows of `mart.comparability_network`: every site that measured as the reference did, all at once.

    Lots as they are, spread pooled over the sites, Dunnett's simultaneous intervals; share of the variance between
    sites with its upper limit; Wellek's F with the margin in pooled standard deviations as its bound; from four sites
    on, means partially pooled (normal sites about a common mean, flat prior; their SD half-normal with the lots' SD)
    and the posterior probability that each, and that all, lie inside the margin; how often that probability, taken as
    a rule (0.95 or more), would accept a site at the margin while the others are like the reference.
    """
    names = lots.fleet.plan.attributes if only is None else [only]
    return [row for name in names for row in _network(lots, name, sites)]


def _network(lots: Lots, name: str, sites: Sequence[str]) -> list[dict[str, Any]]:
    fleet, a = lots.fleet, lots.fleet.plan.attributes[name]
    reference, top = fleet.reference_site, top_of(a.scale)
    chosen = {site: lots.chosen(name, site) for site in sites}
    measured = next((ref for ref, site_as in chosen.values() if ref == site_as), None)
    values = {reference: lots.of(name, measured, reference).values} if measured else {}
    for site, pair in chosen.items():
        if pair == (measured, measured) and len(lots.of(name, pair[1], site).used) >= 2:
            values[site] = lots.of(name, pair[1], site).values
    told: dict[str, Any] = {
        "attribute": name, "measured_as": measured, "scale": a.scale, "sites": len(values) or None,
        "reference": reference, "method_versions": with_versions(*ALL_AT_ONCE),
        "inputs_hash": inputs_hash(
            record for site in values for record in lots.of(name, measured or "", site).records
        ),
    }  # fmt: skip
    left = {site: "another method, or fewer than 2 lots" for site in sites if site not in values}
    rows = [told | {"site": site, "note": why} for site, why in left.items()]
    others = [site for site in sites if site in values]
    try:
        found = reference_vs_each(
            values, reference, margin=a.margin, scale=a.scale, top=top, alpha=lots.alpha,
            simultaneous_level=1 - 2 * lots.alpha,
        )  # fmt: skip
    except StatisticsRefusal as refusal:
        return rows + [told | {"site": site, "note": str(refusal)} for site in others]
    told |= {"all_inside": found.all_inside, "pooled_sd": found.pooled_sd}
    told["all_pairs_inside"] = all_pairs(
        values, margin=a.margin, scale=a.scale, top=top, alpha=lots.alpha
    ).all_inside
    scaled = {site: forward(v, a.scale, top=top) for site, v in values.items()}
    try:
        between = random_sites(scaled)
        told |= {"site_share": float(between.share), "site_share_upper": float(between.upper)}
    except StatisticsRefusal as refusal:
        told["note"] = str(refusal)
    if a.margin is not None:
        limits = margin_on_scale(a.margin, a.scale)
        epsilon = min(-limits.low, limits.high) / found.pooled_sd / sqrt(2)
        omnibus = wellek_f(scaled, epsilon, alpha=lots.alpha)
        told |= {"wellek_epsilon": epsilon, "wellek_p": omnibus.p}
    pooled, order = _pooled(scaled, found.pooled_sd), list(scaled)
    if pooled is not None:
        told["sd_between"] = pooled.tau.q50
        if a.margin is not None:
            limits = margin_on_scale(a.margin, a.scale)
            told["probability_all_inside"] = pooled.all_inside(
                order.index(reference), limits.low, limits.high
            )
        told["method_versions"] = with_versions(*ALL_AT_ONCE, "partial-pooling")
    for site in others:
        one = found.sites[site]
        inside = None
        if a.margin is not None:
            inside = a.margin.low < one.simultaneous_low and one.simultaneous_high < a.margin.high
        rows.append(
            told
            | {
                "site": site, "estimate": unread(one.estimate.estimate, a.scale),
                "low": unread(one.simultaneous_low, a.scale),
                "high": unread(one.simultaneous_high, a.scale), "inside": inside, "p": one.p,
            }
        )  # fmt: skip
        if pooled is not None:
            at = order.index(site), order.index(reference)
            shrunk = pooled.difference(*at)
            rows[-1] |= {
                "pooled_estimate": shrunk.mean,
                "pooled_low": shrunk.q05,
                "pooled_high": shrunk.q95,
            }
            if a.margin is not None:
                counts = [v.size for v in scaled.values()]
                size, error = pooled_rule_size(counts, *at, sd=found.pooled_sd, limits=limits)
                rows[-1] |= {
                    "probability_inside": pooled.difference_inside(*at, limits.low, limits.high),
                    "pooled_rule_size": size,
                    "pooled_rule_size_error": error,
                }
    return sorted(rows, key=lambda row: str(row["site"]))


def _pooled(scaled: Mapping[str, Floats], sd: float) -> Hierarchical | None:
    """Sites' means partially pooled; None for too few sites."""
    if len(scaled) < POOLED_FROM:
        return None
    errors = [sd / sqrt(values.size) for values in scaled.values()]
    means = [float(np.mean(values)) for values in scaled.values()]
    return hierarchical(means, errors, tau_scale=sd, tau_prior="half-normal")
