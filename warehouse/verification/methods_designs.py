"""Adapters from reference cases to variance components, several sites, Bayesian companions and power.

Belongs here: reading a case's parameters and columns, naming results as the case does. Does not belong here:
any computation that is a statistic, or anything true of one case only. `methods_mixed` registers them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import inf, log, sqrt
from typing import Any, cast

from warehouse.statistics.bayes import Prior, hierarchical, posterior_of
from warehouse.statistics.means import paired, pooled_from_summaries, summarise, tost
from warehouse.statistics.power import Design, power_tost, sample_size, sd_from_cv
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.statistics.sites import (
    all_pairs,
    partial_eta_equivalence,
    reference_vs_each,
    wellek_f,
    wellek_f_from,
)
from warehouse.statistics.varcomp import nested_anova
from warehouse.verification.case_columns import complete_rows, groups_of, two_groups
from warehouse.verification.case_parameters import (
    LEVEL,
    alpha_of,
    asked_levels,
    fraction,
    interval_keys,
    margin_of,
    number,
    pick,
    summaries,
)
from warehouse.verification.run import Case

Section = dict[str, Any]


def vca_nested(case: Case) -> Section:
    """Nested analysis of variance of "y ~ a/b/..."; intervals of variances, SDs and CVs at each level asked.

    As R's VCA: a component that came out negative is 0 and has no interval.
    """
    response, _, right = str(pick(case.parameters, "formula", "model")).partition("~")
    factors = [part.strip(" ()") for part in right.split("/")]
    if not all(factor in case.table() for factor in factors):
        raise StatisticsRefusal(f"Case {case.id}: only nested factors a/b/... are understood, not {right!r}.")
    response = response.strip()
    table = complete_rows(case, [response, *factors])
    values = [float(text) for text in table[response]]
    usual = 1.0 - number(
        case.parameters, "alpha", default=1.0 - fraction(number(case.parameters, *LEVEL, default=0.95))
    )
    out: Section = {}
    for level in asked_levels(case, usual):
        found = nested_anova(values, {name: table[name] for name in factors}, level=level)
        ends: dict[str, Section] = {"sd": {}, "vc": {}, "cv": {}}
        for name, c in found.components.items():
            shown = c.raw >= 0.0 and c.sd_low <= c.sd <= c.sd_high
            low, high = (c.sd_low, c.sd_high) if shown else (None, None)
            per_cent = 100.0 / abs(found.mean) if found.mean else None
            for kind, of in (
                ("sd", lambda x: x), ("vc", lambda x: x * x),
                ("cv", lambda x, f=per_cent: None if f is None else x * f),
            ):  # fmt: skip
                ends[kind][name] = {
                    end: None if value is None else of(value)
                    for end, value in (("lower", low), ("upper", high))
                }
        out |= {f"{kind}_ci{100 * level:g}": rows for kind, rows in ends.items()}
    rows = {
        name: {
            "DF": c.df, "SS": c.ss, "MS": c.ms, "VC": c.variance, "percent_total": c.percent,
            "SD": c.sd, "CV_percent": c.cv_percent,
        }
        for name, c in found.components.items()
    }  # fmt: skip
    balanced = "balanced" if found.balanced else "unbalanced"
    return {
        **out,
        "mean": found.mean,
        "n": found.rows,
        "balanced": found.balanced,
        "design": balanced,
        "components": rows,
        **rows,
    }


def _compared(case: Case) -> tuple[dict[str, list[float]], Margin | None, float]:
    return groups_of(case), margin_of(case.parameters), alpha_of(case.parameters)


def sites_vs_reference(case: Case) -> Section:
    """Each group minus the reference: unadjusted 1 - 2 alpha intervals and Dunnett's simultaneous ones."""
    lots, margin, alpha = _compared(case)
    asked = str(pick(case.parameters, "reference", "reference_site", "control", default=""))
    reference = asked if asked in lots else next(iter(lots))
    shared = 0.95 if pick(case.parameters, *LEVEL) is None else fraction(number(case.parameters, *LEVEL))
    out: Section = {name: {} for name in lots if name != reference}
    for level in asked_levels(case, shared, 1.0 - 2.0 * alpha):
        found = reference_vs_each(
            lots, reference, margin=margin, alpha=(1.0 - level) / 2.0, simultaneous_level=level
        )
        out[f"dunnett_crit_{100 * level:g}"] = found.critical
        for name, site in found.sites.items():
            plain = site.estimate.ci_low, site.estimate.ci_high
            simultaneous = [site.simultaneous_low, site.simultaneous_high]
            out[name] |= interval_keys(level, *plain)
            out[name] |= {f"ci{100 * level:g}_unadj": list(plain), f"ci{100 * level:g}_dunnett": simultaneous}
    found = reference_vs_each(lots, reference, margin=margin, alpha=alpha, simultaneous_level=shared)
    for name, site in found.sites.items():
        assert site.estimate.se is not None
        t = site.estimate.estimate / site.estimate.se
        out[name] |= {
            "diff": site.estimate.estimate, "se": site.estimate.se, "df": site.estimate.df, "t": t,
            **dict.fromkeys(("p_dunnett", "p_adj", "p_adjusted"), site.adjusted_p),
            "p_tost": site.p, "equivalent": None if site.p is None else site.p < alpha,
        }  # fmt: skip
        out |= {f"{name} - {reference}": out[name], f"{name}-{reference}": out[name]}
    return {
        **out, "all_equivalent": found.all_inside, "pooled_sd": found.pooled_sd, "df": found.df,
        "reference": reference,
    }  # fmt: skip


def pairs_of_sites(case: Case) -> Section:
    """Every pair of groups, "second - first"."""
    lots, margin, alpha = _compared(case)
    rows: Section = {}
    for level in asked_levels(case, 1.0 - 2.0 * alpha):
        for (a, b), e in all_pairs(lots, margin=margin, alpha=(1.0 - level) / 2.0).each.items():
            row = {"diff": e.estimate, "se": e.se, "df": e.df, **interval_keys(level, e.ci_low, e.ci_high)}
            if margin is not None:
                row |= {"p_tost": tost(e, margin).p, "equivalent": tost(e, margin).p < alpha}
            back = {**row, "diff": -e.estimate, **interval_keys(level, -e.ci_high, -e.ci_low)}
            for sign in (" - ", "-"):
                rows.setdefault(f"{b}{sign}{a}", {}).update(row)
                rows.setdefault(f"{a}{sign}{b}", {}).update(back)
    found = all_pairs(lots, margin=margin, alpha=alpha)
    bounded = {
        f"{b} - {a}": {"diff": e.estimate, "ci": [e.ci_low, e.ci_high]} for (a, b), e in found.bounded.items()
    }
    return {**rows, "bounded": bounded, "all_equivalent": found.all_inside}


def wellek_k(case: Case) -> Section:
    """Wellek's F test and TOSTER's bound on partial eta squared, from groups or from F, df and sizes."""
    given, alpha = case.parameters, alpha_of(case.parameters)
    eps = number(given, "eps", "epsilon")
    if case.tables:
        found = wellek_f(cast("dict[str, Any]", groups_of(case)), eps, alpha=alpha)
    else:
        k, each = int(number(given, "k")), number(given, "n_per_group", "nbar", "n")
        found = wellek_f_from(number(given, "F", "f"), k - 1, round(k * (each - 1)), each, eps, alpha=alpha)
    out: Section = {
        "F": found.f, "df1": found.df_between, "df2": found.df_within, "ncp": found.noncentrality,
        "F_crit": found.critical, "p_value_eps": found.p, "p": found.p, "equivalent": found.equivalent,
        **dict.fromkeys(("partial_eta_squared", "pes", "eta2"), found.partial_eta_squared),
    }  # fmt: skip
    bound = pick(given, "pes_bound", "eqbound_pes", "eqbound")
    if bound is not None:
        p = partial_eta_equivalence(found.f, found.df_between, found.df_within, float(bound))
        out["toster_equ_ftest"] = {"eqbound_pes": float(bound), "p": p, "equivalent": p < alpha}
    return out


def bayes_equivalence(case: Case) -> Section:
    """Student t posterior of the difference; probabilities for each "P_abs_lt_<bound>" the case asks for."""
    given = case.parameters
    if pick(given, "paired") is True or "paired" in case.method:
        reference, test = two_groups(case, given, paired=True)
        found = posterior_of(paired(reference, test))
    else:
        sides = summaries(given)
        if sides is None:
            reference, test = two_groups(case, given)
            sides = summarise(reference), summarise(test)
        found = posterior_of(pooled_from_summaries(*sides))
    out: Section = {
        **dict.fromkeys(("post_mean", "mean"), found.mean), **dict.fromkeys(("post_scale", "scale"), found.scale),
        "df": found.df,
    }  # fmt: skip
    number_ = r"(m?-?[0-9.]+)"
    for key in case.expected:
        if match := re.fullmatch(rf"P_abs_(?:diff_)?lt_{number_}", key):
            out[key] = found.inside(-float(match[1]), float(match[1]))
        if match := re.fullmatch(rf"P_(?:diff_)?(lt|gt)_{number_}", key):
            below = found.inside(-inf, float(match[2].replace("m", "-")))
            out[key] = below if match[1] == "lt" else 1.0 - below
        if match := re.fullmatch(rf"P_(?:between|in|inside)_{number_}_{number_}", key):
            out[key] = found.inside(*(float(end.replace("m", "-")) for end in match.groups()))
        if match := re.fullmatch(r"(?:hdi|cri|ci|eti)_?([0-9]+)", key):
            out[key] = list(found.interval(float(match[1]) / 100.0))
    margin = margin_of(given)
    if margin is not None:
        inside = found.inside(*margin)
        out |= dict.fromkeys(
            ("P_equivalence", "p_equivalent", "probability", "prob", "prob_equivalence"), inside
        )
        out["equivalent"] = inside >= number(given, "threshold", "required", default=0.95)
    return out


_ERRORS = ("se", "sigma", "sd", "sei", "std_error", "standard_error")
_EFFECTS = ("effect", "y", "estimate", "yi", "mean", "diff")


def bayes_hierarchical(case: Case) -> Section:
    """Partial pooling of effects with known standard errors under the case's priors."""
    text = str(case.parameters["priors"]).replace(" ", "").lower()
    figure = r"([0-9.]+|inf)"
    mu = re.search(rf"mu~n(?:ormal)?\((-?[0-9.]+),{figure}\)", text)
    tau = re.search(rf"tau~(half[-_]?(?:cauchy|normal|n|t4?))\((?:4,)?(?:0,)?{figure}\)", text)
    if tau is None:
        raise StatisticsRefusal(f"Case {case.id}: no prior for tau is understood in {text!r}.")
    word = tau[1].removeprefix("half").strip("-_")
    prior = "half-" + {"n": "normal", "t": "t4"}.get(word, word)
    numeric = case.numeric_columns()
    errors_in = next((name for name in numeric if name.lower() in _ERRORS), numeric[-1])
    effects_in = next((name for name in numeric if name.lower() in _EFFECTS), None)
    effects_in = effects_in or next(name for name in numeric if name != errors_in)
    effects, errors = case.numbers(effects_in), case.numbers(errors_in)
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
    "2x2": "crossover", "x2x2": "crossover", "2x2x2": "crossover", "x2x2x2": "crossover", "crossover": "crossover",
}  # fmt: skip
# True ratio where a power key names none: PowerTOST's default, but the published parallel value is at 1.
_TRUE: dict[Design, float] = {"parallel": 1.0, "crossover": 0.95, "paired": 0.95}


@dataclass(frozen=True)
class _Planned:
    """A study to plan, on the analysis scale. `n` 0 where a size is asked for."""

    design: Design
    sd: float
    margin: Margin
    true: float
    alpha: float
    target: float
    n: int

    def power(self) -> float:
        return power_tost(self.design, self.sd, self.n, self.margin, true=self.true, alpha=self.alpha)

    def size(self) -> Section:
        found = sample_size(
            self.design, self.sd, self.margin, true=self.true, alpha=self.alpha, power=self.target
        )
        per_group = found.n // 2 if self.design == "parallel" else found.n
        return {"n": found.n, "n_total": found.n, "n_per_group": per_group, "power": found.power}


def _planned(case: Case, key: str = "") -> _Planned:
    """The study that parameters and a key such as "parallel_CV30_theta95_n60" describe.

    Ratios (`theta1`, `CV`, `theta0`) are planned as logarithms; without them `sd` and `delta` stand as given.
    """
    given = case.parameters
    name, *rest = key.split("_") if key else [str(pick(given, "design", default="parallel"))]
    facts: dict[str, Any] = dict(given)
    for part in rest:
        if m := re.fullmatch(r"([A-Za-z]+)(m?[0-9.]+)", part):
            facts[m[1].lower()] = float(m[2].replace("m", "-"))
    if name not in _DESIGN:
        raise StatisticsRefusal(f"Case {case.id}: the planned design {name!r} is not understood.")
    design = _DESIGN[name]
    alpha, n = alpha_of(given), int(number(facts, "n", "n_total", default=0.0))
    target = fraction(number(facts, "power", "targetpower", "target_power", default=0.8))
    cv = pick(facts, "CV")
    if cv is not None:
        low, high = number(given, "theta1", "lower", default=0.8), pick(given, "theta2", "upper")
        limits = Margin(log(low), log(1.0 / low if high is None else float(high)))
        ratio = number(facts, "theta", "theta0", "gmr", "ratio", default=_TRUE[design] if n else 0.95)
        sd = sd_from_cv(fraction(float(cv)))
        return _Planned(design, sd, limits, log(fraction(ratio) if ratio > 10.0 else ratio), alpha, target, n)
    margin = margin_of(facts)
    if margin is None:
        raise StatisticsRefusal(f"Case {case.id} plans with neither a margin nor a coefficient of variation.")
    sd, true = (
        number(facts, "sd", "sigma"),
        number(facts, "true", "true_difference", "diff", "theta0", default=0.0),
    )
    # The SD of paired differences is root 2 of one lot's within a donor.
    spread = number(facts, "sd_diff", default=sd * sqrt(2.0)) / sqrt(2.0) if design == "paired" else sd
    return _Planned(design, spread, margin, true, alpha, target, n)


def power(case: Case) -> Section:
    """Power and sample size for keys such as "parallel_CV30_theta95" and "x2x2_CV20_n24", or for the one
    study that the parameters describe."""
    out: Section = {}
    for kind, names in (("sampleN", ("sampleN", "sample_size", "n")), ("power", ("power",))):
        for name in names:
            part = case.expected.get(name)
            if isinstance(part, dict):
                plans = {key: _planned(case, key) for key in part}
                out[name] = {
                    key: plan.size() if kind == "sampleN" else plan.power() for key, plan in plans.items()
                }
                for key, plan in plans.items():
                    if kind == "sampleN" and not isinstance(part[key], dict):
                        out[name][key] = plan.size()["n_total"]
    if not out:
        sizes = pick(case.parameters, "n")
        if isinstance(sizes, list):
            out["power"] = [_planned(_with(case, n=n)).power() for n in sizes]
        else:
            plan = _planned(case)
            out |= plan.size() | {"sample_size": plan.size()["n"]}
            out |= {"power": plan.power()} if plan.n else {}
    return out


def _with(case: Case, **changes: Any) -> Case:
    return replace(case, parameters={**case.parameters, **changes})


METHODS: dict[str, Callable[[Case], Section]] = {
    "vca_nested_anova": vca_nested,
    "reference_vs_each": sites_vs_reference,
    "all_pairs": pairs_of_sites,
    "wellek_F_k_groups": wellek_k,
    "bayes_equivalence": bayes_equivalence,
    "bayes_hierarchical": bayes_hierarchical,
    "power_tost": power,
}
