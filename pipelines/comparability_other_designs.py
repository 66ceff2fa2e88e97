"""What the study planner lays beside routine lots and split studies: covariates, several sites, ranks, Wellek, rates.

Belongs here: rows of the planner's table, and how many it takes, for these designs. Does not belong here: power itself
(`warehouse.statistics`), the designs that decide by default (`comparability_planner`).

Each function gives rows of the table and rows of "how many it takes". Wellek's margins are the plan's in SDs of a lot.
"""

from __future__ import annotations

from math import exp, expm1, sqrt

from pipelines.comparability_planner import DONORS, LOTS, SHARES, Question, Row
from warehouse.statistics.lots import first_enough
from warehouse.statistics.power import covariate_power, fieller_power
from warehouse.statistics.power_proportions import tango_power
from warehouse.statistics.power_ranks import (
    mann_whitney_lots,
    mann_whitney_power,
    signed_rank_pairs,
    signed_rank_power,
)
from warehouse.statistics.power_sites import all_pairs_power, each_power
from warehouse.statistics.power_wellek import f_power, paired_t_pairs, paired_t_power, t_lots, t_power
from warehouse.statistics.rates import rate_lots, rate_power
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin

Rows = tuple[list[Row], list[Row]]
# Exact ranks are shown for so many reference lots.
RANKED = 60


def _row(design: str, n_reference: int, n_site: int, power: float, **told: float | None) -> Row:
    return {
        "design": design,
        "n_reference": n_reference,
        "n_site": n_site,
        "donor_share": None,
        "power": power,
    } | told


def _enough(design: str, n_reference: int | None, n_site: int | None, share: float | None = None) -> Row:
    return {"design": design, "n_reference": n_reference, "donor_share": share, "n_site": n_site}


def covariates(q: Question, number: int) -> Rows:
    """Routine lots adjusted for so many covariates of the patient.

    `q.sd` is what they leave over; with that of the lots as they are it is a lower bound, as if they explained nothing.
    """
    design, n = f"routine lots, adjusted for {number} covariate{'s' * (number != 1)}", q.n_reference

    def power(m: int) -> float:
        return covariate_power(q.limits, q.sd, n, m, number, true=q.true, alpha=q.alpha)

    table = [_row(design, n, m, power(m), size=q.alpha) for m in LOTS]
    limit = covariate_power(q.limits, q.sd, n, 100_000, number, true=q.true, alpha=q.alpha)
    found = first_enough(power, start=2, limit=limit, power=q.power)
    return table, [_enough(design, n, found)]


def several_sites(q: Question, sites: int) -> Rows:
    """So many sites against the reference at once, as many lots each: every one must pass; and every pair."""
    n, half = q.n_reference, min(-q.limits.low, q.limits.high)
    each, pairs = f"each of {sites} sites against the reference", f"all pairs of {sites + 1} sites"

    def power(m: int) -> float:
        return each_power(n, [m] * sites, q.sd, q.limits, true=[q.true] * sites, alpha=q.alpha)

    def together(m: int) -> float:
        return all_pairs_power(sites + 1, m, q.sd, half, alpha=q.alpha)

    table = [_row(each, n, m, power(m), size=q.alpha) for m in LOTS]
    table += [_row(pairs, m, m, together(m), size=q.alpha) for m in LOTS]
    wellek, bound = f"Wellek's F of {sites + 1} sites", half / q.sd / sqrt(2)
    table += [_row(wellek, m, m, f_power(sites + 1, m, bound, alpha=q.alpha), size=q.alpha) for m in LOTS]
    found = first_enough(power, start=2, limit=power(10_000), power=q.power)
    all_of_them = first_enough(together, start=2, limit=1.0, power=q.power)
    return table, [_enough(each, n, found), _enough(pairs, all_of_them, all_of_them)]


def other_tests(q: Question, *, log_scale: bool) -> Rows:
    """Exact ranks, Wellek's t and, on the log scale, the ratio of arithmetic means."""
    table, enough = _ranks(q)
    for part, more in (_wellek(q), _fieller(q) if log_scale else ([], [])):
        table, enough = [*table, *part], [*enough, *more]
    return table, enough


def _ranks(q: Question) -> Rows:
    table: list[Row] = []
    n = min(q.n_reference, RANKED)
    for m in LOTS:
        try:
            found = mann_whitney_power(n, m, q.sd, q.limits, true=q.true, alpha=q.alpha)
        except StatisticsRefusal:
            continue
        table.append(
            _row("ranks of routine lots", n, m, found.power, power_error=found.mc_error, size=q.alpha)
        )
    lots = mann_whitney_lots(n, q.sd, q.limits, true=q.true, alpha=q.alpha, power=q.power)
    enough = [_enough("ranks of routine lots", n, lots)]
    for rho in SHARES:
        sd = q.sd * sqrt(2 * (1 - rho))
        for k in DONORS:
            try:
                found = signed_rank_power(k, sd, q.limits, true=q.true, alpha=q.alpha)
            except StatisticsRefusal:
                continue
            row = _row("ranks of split donors", k, k, found.power, power_error=found.mc_error, size=q.alpha)
            table.append(row | {"donor_share": rho})
        pairs = signed_rank_pairs(sd, q.limits, true=q.true, alpha=q.alpha, power=q.power)
        enough.append(_enough("ranks of split donors", pairs, pairs, rho))
    return table, enough


def _wellek(q: Question) -> Rows:
    """The plan's margin in SDs of a lot; of pairs in SDs of a difference."""
    low, high, true = (v / q.sd for v in (*q.limits, q.true))
    n = q.n_reference
    table = [
        _row("Wellek's t", n, m, t_power(m, n, -low, high, effect=true, alpha=q.alpha), size=q.alpha)
        for m in LOTS
    ]
    enough = [_enough("Wellek's t", n, t_lots(n, -low, high, effect=true, alpha=q.alpha, power=q.power))]
    for rho in SHARES:
        by = 1 / sqrt(2 * (1 - rho))
        told = {"effect": true * by, "alpha": q.alpha}
        table += [
            _row(
                "Wellek's t of split donors",
                k,
                k,
                paired_t_power(k, low * by, high * by, **told),
                size=q.alpha,
            )
            | {"donor_share": rho}
            for k in DONORS
        ]
        pairs = paired_t_pairs(low * by, high * by, power=q.power, **told)
        enough.append(_enough("Wellek's t of split donors", pairs, pairs, rho))
    return table, enough


def _fieller(q: Question) -> Rows:
    """Lognormal lots read as means: their coefficient of variation is that of the SD of the logarithm."""
    cv, margin = sqrt(expm1(q.sd**2)), Margin(exp(q.limits.low), exp(q.limits.high))
    design, n = "ratio of arithmetic means", q.n_reference

    def power(m: int) -> float:
        return fieller_power(margin, cv, n, m, ratio=exp(q.true), alpha=q.alpha)

    found = first_enough(power, start=2, limit=power(100_000), power=q.power)
    return [_row(design, n, m, power(m)) for m in LOTS], [_enough(design, n, found)]


def rates(q: Question, events: float, margin: float) -> Rows:
    """Ratio of rates of events a lot, between one over `margin` and `margin`; size: the site at the upper limit."""
    limits, n = Margin(1 / margin, margin), q.n_reference
    design = f"rate of events ({events:g} a lot, ratio {1 / margin:.3g} to {margin:g})"
    table = [
        _row(
            design, n, m, rate_power(events, n, m, limits, alpha=q.alpha),
            size=rate_power(events, n, m, limits, ratio=margin, alpha=q.alpha),
        )
        for m in LOTS
    ]  # fmt: skip
    return table, [_enough(design, n, rate_lots(events, n, limits, alpha=q.alpha, power=q.power))]


def shares_of_pairs(q: Question, success: float, margin: float) -> list[Row]:
    """Share that succeeds among donors made at both sites, Tango's interval, the two lots of a donor independent."""
    limits, alone = Margin(-margin, margin), success * (1 - success)
    worse = max(success - margin, 0.0)
    return [
        _row(
            f"share that succeeds, split donors ({100 * success:g} %, margin {100 * margin:g} points)", k, k,
            tango_power(k, alone, alone, limits, alpha=q.alpha),
            size=tango_power(k, worse * (1 - success), success * (1 - worse), limits, alpha=q.alpha),
        )
        for k in (*DONORS, 20, 40)
    ]  # fmt: skip
