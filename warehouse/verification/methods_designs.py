"""Adapters from reference cases to variance components, several sites, Bayesian companions and power.

Belongs here: reading a case's parameters and columns, naming results as the case does. Does not belong here:
any computation that is a statistic, or anything true of one case only. `methods_mixed` registers them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from math import log
from typing import Any, cast

from warehouse.statistics.bayes import Prior, hierarchical, posterior_of
from warehouse.statistics.means import pooled
from warehouse.statistics.power import Design, power_tost, sample_size, sd_from_cv
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.statistics.sites import all_pairs, partial_eta_equivalence, reference_vs_each, wellek_f
from warehouse.statistics.varcomp import nested_anova
from warehouse.verification.run import Case

Section = dict[str, Any]


def _group_columns(case: Case) -> tuple[str, str]:
    """(value, group): a column called as groups are, else the first that is not numbers."""
    table = case.table()

    def numeric(name: str) -> bool:
        try:
            [float(text) for text in table[name] if text not in {"", "NA"}]
        except ValueError:
            return False
        return True

    usual = ("group", "site", "treatment", "arm", "process")
    by = next((c for c in table if c.lower() in usual), None) or next(
        (c for c in table if not numeric(c)), None
    )
    if by is None:
        raise StatisticsRefusal(f"Case {case.id} has no column that names groups.")
    named = case.parameters.get("value") or case.parameters.get("response")
    value = named or next((c for c in table if c != by and numeric(c)), None)
    if value is None:
        raise StatisticsRefusal(f"Case {case.id} has no column of numbers.")
    return str(value), by


def vca_nested(case: Case) -> Section:
    """Nested analysis of variance of "y ~ a/b/..."."""
    response, _, right = str(case.parameters["formula"]).partition("~")
    factors = [part.strip() for part in right.strip().split("/")]
    table = case.table()
    response = response.strip()
    keep = [i for i, text in enumerate(table[response]) if text not in {"", "NA"}]
    found = nested_anova(
        [float(table[response][i]) for i in keep],
        {name: [table[name][i] for i in keep] for name in factors},
        level=float(case.parameters.get("level", 0.95)),
    )
    return {
        "mean": found.mean,
        "components": {
            name: {
                "DF": c.df, "SS": c.ss, "MS": c.ms, "VC": c.variance, "percent_total": c.percent,
                "SD": c.sd, "CV_percent": c.cv_percent,
            }
            for name, c in found.components.items()
        },
        "sd_ci95": {name: {"lower": c.sd_low, "upper": c.sd_high} for name, c in found.components.items()},
    }  # fmt: skip


def sites_vs_reference(case: Case) -> Section:
    """Each group minus the reference: unadjusted 1 - 2 alpha intervals and Dunnett's simultaneous ones."""
    lots = case.groups(*_group_columns(case))
    alpha = float(case.parameters.get("alpha", 0.05))
    reference = str(
        case.parameters.get("reference") or case.parameters.get("reference_site") or next(iter(lots))
    )
    delta = case.parameters.get("delta")
    margin = None if delta is None else Margin(-float(delta), float(delta))
    found = reference_vs_each(lots, reference, margin=margin, alpha=alpha)
    unadjusted = f"ci{100 * (1 - 2 * alpha):g}_unadj"
    out: Section = {
        name: {
            "diff": site.estimate.estimate, "se": site.estimate.se, "df": site.estimate.df,
            unadjusted: [site.estimate.ci_low, site.estimate.ci_high],
            "ci95_dunnett": [site.simultaneous_low, site.simultaneous_high],
            "p_tost": site.p, "equivalent": None if site.p is None else site.p < alpha,
        }
        for name, site in found.sites.items()
    }  # fmt: skip
    return {
        **out, "dunnett_crit_95": found.critical, "all_equivalent": found.all_inside,
        "pooled_sd": found.pooled_sd, "df": found.df,
    }  # fmt: skip


def pairs_of_sites(case: Case) -> Section:
    """Every pair of groups, "second - first"."""
    lots = case.groups(*_group_columns(case))
    delta = case.parameters.get("delta")
    margin = None if delta is None else Margin(-float(delta), float(delta))
    found = all_pairs(lots, margin=margin, alpha=float(case.parameters.get("alpha", 0.05)))
    rows = {
        f"{b} - {a}": {"diff": e.estimate, "se": e.se, "ci90": [e.ci_low, e.ci_high]}
        for (a, b), e in found.each.items()
    }
    return {**rows, "all_equivalent": found.all_inside}


def wellek_k(case: Case) -> Section:
    """Wellek's F test and TOSTER's bound on partial eta squared."""
    lots = case.groups(*_group_columns(case))
    found = wellek_f(
        cast("dict[str, Any]", lots),
        float(case.parameters["eps"]),
        alpha=float(case.parameters.get("alpha", 0.05)),
    )
    out: Section = {
        "F": found.f, "df1": found.df_between, "df2": found.df_within, "ncp": found.noncentrality,
        "F_crit": found.critical, "p_value_eps": found.p, "equivalent": found.equivalent,
        "partial_eta_squared": found.partial_eta_squared,
    }  # fmt: skip
    if "pes_bound" in case.parameters:
        bound = float(case.parameters["pes_bound"])
        p = partial_eta_equivalence(found.f, found.df_between, found.df_within, bound)
        out["toster_equ_ftest"] = {"eqbound_pes": bound, "p": p}
    return out


def bayes_equivalence(case: Case) -> Section:
    """Student t posterior of the difference; probabilities for each "P_abs_lt_<bound>" the case asks for."""
    value, by = _group_columns(case)
    lots = case.groups(value, by)
    names = list(lots)
    order = [part.strip().removeprefix(by) for part in str(case.parameters.get("order", "")).split("-")]
    first, second = order if len(order) == 2 and set(order) <= set(names) else (names[0], names[1])
    found = posterior_of(pooled(lots[second], lots[first]))
    out: Section = {"post_mean": found.mean, "post_scale": found.scale, "df": found.df}
    for key in case.expected:
        if match := re.fullmatch(r"P_abs_lt_([0-9.]+)", key):
            out[key] = found.inside(-float(match[1]), float(match[1]))
        if match := re.fullmatch(r"hdi([0-9]+)", key):
            out[key] = list(found.interval(float(match[1]) / 100.0))
    return out


def bayes_hierarchical(case: Case) -> Section:
    """Partial pooling of effects with known standard errors under the case's priors."""
    text = str(case.parameters["priors"]).replace(" ", "").lower()
    number = r"([0-9.]+|inf)"
    mu = re.search(rf"mu~n(?:ormal)?\((-?[0-9.]+),{number}\)", text)
    tau = re.search(rf"tau~(half-?(?:cauchy|normal|t4))\((?:0,)?{number}\)", text)
    if tau is None:
        raise StatisticsRefusal(f"Case {case.id}: no prior for tau is understood in {text!r}.")
    prior = tau[1] if "-" in tau[1] else tau[1].replace("half", "half-")
    effects, errors = case.numbers("effect"), case.numbers("se")
    found = hierarchical(
        effects, errors, tau_scale=float(tau[2]), tau_prior=cast("Prior", prior),
        mu_mean=float(mu[1]) if mu else 0.0, mu_sd=float(mu[2]) if mu else float("inf"),
    )  # fmt: skip
    # Quadrature has no Monte-Carlo error.
    out: Section = {
        "mu": {**asdict(found.mu), "mcse_mean": 0.0},
        "tau": {**asdict(found.tau), "mcse_mean": 0.0},
    }
    for j, theta in enumerate(found.theta):
        out[f"theta[{j + 1}]"] = {**asdict(theta), "mcse_mean": 0.0}
    for key in case.expected:
        if match := re.fullmatch(r"P_abs_theta(\d+)_minus_theta(\d+)_lt_([0-9.]+)", key):
            out[key] = found.difference_within(int(match[1]) - 1, int(match[2]) - 1, float(match[3]))
        if match := re.fullmatch(r"P_tau_lt_([0-9.]+)", key):
            out[key] = found.tau_below(float(match[1]))
    return out


_DESIGN: dict[str, Design] = {
    "parallel": "parallel", "paired": "paired",
    "2x2": "crossover", "x2x2": "crossover", "crossover": "crossover",
}  # fmt: skip
# True ratio where a power key names none: PowerTOST's default, but the published parallel value is at 1.
_TRUE: dict[Design, float] = {"parallel": 1.0, "crossover": 0.95, "paired": 0.95}


def power(case: Case) -> Section:
    """Power and sample size for keys such as "parallel_CV30_theta95" and "x2x2_CV20_n24" (log scale)."""
    parameters = case.parameters
    margin = Margin(log(float(parameters["theta1"])), log(float(parameters["theta2"])))
    alpha = float(parameters.get("alpha", 0.05))
    target = float(parameters.get("power", parameters.get("targetpower", 0.8)))

    def read(key: str) -> tuple[Design, float, dict[str, float]]:
        name, *rest = key.split("_")
        facts = {
            m[1].lower(): float(m[2]) for part in rest if (m := re.fullmatch(r"([A-Za-z]+)([0-9.]+)", part))
        }
        if name not in _DESIGN or "cv" not in facts:
            raise StatisticsRefusal(f"Case {case.id}: the planned design {key!r} is not understood.")
        design = _DESIGN[name]
        ratio = facts["theta"] / 100.0 if "theta" in facts else float(parameters.get("theta0", _TRUE[design]))
        return design, log(ratio), facts

    sizes: Section = {}
    for key in case.expected.get("sampleN", {}):
        design, true, facts = read(key)
        wanted = facts.get("power", 100.0 * target) / 100.0
        found = sample_size(
            design, sd_from_cv(facts["cv"] / 100.0), margin, true=true, alpha=alpha, power=wanted
        )
        sizes[key] = {"n": found.n, "n_total": found.n, "power": found.power}
    powers: Section = {}
    for key in case.expected.get("power", {}):
        design, true, facts = read(key)
        powers[key] = power_tost(
            design, sd_from_cv(facts["cv"] / 100.0), int(facts["n"]), margin, true=true, alpha=alpha
        )
    return {"sampleN": sizes, "power": powers}


METHODS: dict[str, Callable[[Case], Section]] = {
    "vca_nested_anova": vca_nested,
    "reference_vs_each": sites_vs_reference,
    "all_pairs": pairs_of_sites,
    "wellek_F_k_groups": wellek_k,
    "bayes_equivalence": bayes_equivalence,
    "bayes_hierarchical": bayes_hierarchical,
    "power_tost": power,
}
