"""Adapters from reference cases to means, ranks, Wellek, proportions, rates, spread, ranges and agreement.

Belongs here: calling the statistic on a case's columns and parameters, naming its results as the case
does. Does not belong here: any computation that is a statistic, or anything true of one case only.

An adapter returns more keys than a case may ask for; the runner reads those that are expected.
"""

from __future__ import annotations

from contextlib import suppress
from math import floor
from typing import Any

from scipy.stats import t as student

from warehouse.statistics import means, ranks, wellek
from warehouse.statistics.means import Estimate, Summary, Tost
from warehouse.statistics.ranks import RankTost
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Scale
from warehouse.verification import methods_description, methods_ranges
from warehouse.verification.case_columns import measured, two_groups
from warehouse.verification.case_parameters import (
    Section,
    alpha_of,
    asked_levels,
    interval_keys,
    margin_of,
    needed_margin,
    number,
    pick,
    scale_of,
    summaries,
)
from warehouse.verification.run import Adapter, Case

Answer = dict[str, Any]


def section(case: Case, name: str) -> tuple[Section, bool]:
    """The case's parameters with those of its part `name` laid over, and whether there is such a part."""
    part = case.parameters.get(name)
    return ({**case.parameters, **part}, True) if isinstance(part, dict) else (case.parameters, False)


def _t_keys(estimate: Estimate, levels: list[float]) -> Answer:
    """An estimate with a t interval under the names cases use, with the intervals asked for.

    `t_nhst`, `p_nhst` are the ordinary test, for information.
    """
    assert estimate.se is not None
    assert estimate.df is not None
    difference = means.difference_on_scale(estimate)
    t_nhst = difference / estimate.se
    out: Answer = {
        "n": estimate.n_test,
        "n1": estimate.n_test,
        "n2": estimate.n_reference,
        **dict.fromkeys(("diff", "estimate", "gmr", "ratio", "mean_diff"), estimate.estimate),
        **dict.fromkeys(("log_diff", "diff_log", "log_ratio"), difference),
        "se": estimate.se,
        "sd_diff": estimate.sd_difference,
        "df": estimate.df,
        "welch_df": estimate.df,
        "df_truncated": floor(estimate.df),
        "t_nhst": t_nhst,
        "p_nhst": 2 * float(student.sf(abs(t_nhst), estimate.df)),
    }
    for level in sorted({*levels, round(1.0 - 2.0 * estimate.alpha, 6)}):
        same = means.estimate_from_t(
            estimate.method, difference, estimate.se, estimate.df,
            scale=estimate.scale, alpha=(1.0 - level) / 2.0, n_reference=estimate.n_reference,
            n_test=estimate.n_test, df_method=estimate.df_method or "",
        )  # fmt: skip
        out |= interval_keys(level, same.ci_low, same.ci_high)
    ends = [estimate.ci_low, estimate.ci_high]
    return out | {"ci_lower": ends[0], "ci_upper": ends[1], "ci": ends}


def tost_keys(test: Tost, levels: list[float]) -> Answer:
    """A TOST under the names cases use."""
    return {
        **_t_keys(test.estimate, levels),
        "t_lower": test.t_lower,
        "t_upper": test.t_upper,
        "p_lower": test.p_lower,
        "p_upper": test.p_upper,
        "p_tost": test.p,
        "p": test.p,
        "equivalent": test.equivalent,
    }


def _tested(case: Case, estimate: Estimate, parameters: Section) -> Answer:
    """The estimate's keys, with the two one-sided tests where the case gives a margin."""
    levels = asked_levels(case)
    if margin_of(parameters) is None:
        return _t_keys(estimate, levels)
    return tost_keys(means.tost(estimate, needed_margin(parameters, estimate.scale)), levels)


def _truncated(test: Tost, levels: list[float]) -> Answer:
    """The same test as Minitab prints it: df cut to an integer, interval [min(0, L), max(0, U)]."""
    estimate = test.estimate
    assert estimate.se is not None
    assert estimate.df is not None
    whole = means.estimate_from_t(
        estimate.method,
        means.difference_on_scale(estimate),
        estimate.se,
        float(floor(estimate.df)),
        scale=estimate.scale,
        alpha=estimate.alpha,
        n_reference=estimate.n_reference,
        n_test=estimate.n_test,
        df_method="truncated",
    )
    name = f"ci{100 * (1 - estimate.alpha):g}_tost"
    ends = {f"{name}_lower": min(0.0, whole.ci_low), f"{name}_upper": max(0.0, whole.ci_high)}
    return {**tost_keys(means.tost(whole, test.margin), levels), **ends}


def _two_sample(name: str, default: Scale = "identity") -> Adapter:
    """Welch or pooled TOST from summaries or groups."""

    def adapter(case: Case) -> Answer:
        parameters, nested = section(case, name)
        scale, alpha = scale_of(parameters, default), alpha_of(parameters)
        given = summaries(parameters)
        if given is None:
            reference, test = two_groups(case, parameters)
            given = means.summarise(reference, scale), means.summarise(test, scale)
        make = means.welch_from_summaries if name == "welch" else means.pooled_from_summaries
        estimate = make(*given, scale=scale, alpha=alpha)
        keys = _tested(case, estimate, parameters)
        if nested:
            return {name: keys}
        margin = margin_of(parameters)
        if margin is None:
            return keys
        result = means.tost(estimate, needed_margin(parameters, scale))
        return {**keys, "published_minitab": _truncated(result, asked_levels(case))}

    return adapter


def _paired(default: Scale) -> Adapter:
    """Paired TOST on differences, or on ratios on the log scale; from columns, or from summaries of both
    sides and their correlation, or of the differences."""

    def adapter(case: Case) -> Answer:
        parameters, nested = section(case, "paired")
        scale, alpha = scale_of(parameters, default), alpha_of(parameters)
        both, r = summaries(parameters), pick(parameters, "r", "r12", "correlation", "cor")
        mean, sd = pick(parameters, "mean_diff", "diff"), pick(parameters, "sd_diff", "sd")
        if both is not None and r is not None:
            reference, test = both
            variance = reference.sd**2 + test.sd**2 - 2.0 * float(r) * reference.sd * test.sd
            difference = Summary(test.mean - reference.mean, max(variance, 0.0) ** 0.5, test.n)
            estimate = means.paired_from_summary(difference, scale=scale, alpha=alpha)
        elif mean is not None and sd is not None:
            difference = Summary(float(mean), float(sd), int(number(parameters, "n", "pairs")))
            estimate = means.paired_from_summary(difference, scale=scale, alpha=alpha)
        else:
            sides = two_groups(case, parameters, paired=True)
            estimate = means.paired(*sides, scale=scale, alpha=alpha)
        keys = _tested(case, estimate, parameters)
        return {"paired": keys} if nested else keys

    return adapter


def _one_sample(case: Case) -> Answer:
    """One sample against a target, from a column or from mean, sd and n."""
    parameters = case.parameters
    scale, alpha = scale_of(parameters), alpha_of(parameters)
    target = number(parameters, "target", "mu0", "mu", default=0.0)
    mean, sd = pick(parameters, "mean", "m", "m1"), pick(parameters, "sd", "sd1", "s")
    if mean is not None and sd is not None:
        shifted = Summary(float(mean) - target, float(sd), int(number(parameters, "n", "n1")))
        return _tested(case, means.paired_from_summary(shifted, scale=scale, alpha=alpha), parameters)
    values = measured(case)
    return _tested(case, means.one_sample(values, target, scale=scale, alpha=alpha), parameters)


def _ratio_of_means(case: Case) -> Answer:
    """Ratio of arithmetic means with Fieller's interval and Sasabuchi's tests."""
    parameters = case.parameters
    given = summaries(parameters)
    if given is None:
        reference, test = two_groups(case, parameters)
        given = means.summarise(reference), means.summarise(test)
    alpha = alpha_of(parameters)
    estimate = means.fieller(*given, alpha=alpha)
    out: Answer = {"ratio": estimate.estimate, "estimate": estimate.estimate, "df": estimate.df}
    for level in asked_levels(case, 1.0 - 2.0 * alpha):
        found = means.fieller(*given, alpha=(1.0 - level) / 2.0)
        out |= interval_keys(level, found.ci_low, found.ci_high)
    margin = margin_of(parameters)
    if margin is not None:
        test_of = means.fieller_tost(*given, margin, alpha=alpha)
        out |= {
            "t_lower": test_of.t_lower, "t_upper": test_of.t_upper, "p_lower": test_of.p_lower,
            "p_upper": test_of.p_upper, "p_tost": test_of.p, "equivalent": test_of.equivalent,
        }  # fmt: skip
    return out


def _rank_keys(test: RankTost, letter: str) -> Answer:
    estimate = test.estimate
    level = 1.0 - 2.0 * estimate.alpha
    return {
        "n": estimate.n_test,
        "n1": estimate.n_test,
        "n2": estimate.n_reference,
        **dict.fromkeys(("pseudomedian", "hodges_lehmann", "estimate", "diff", "shift"), estimate.estimate),
        f"{letter}_lower": test.statistic_lower,
        f"{letter}_upper": test.statistic_upper,
        "p_lower": test.p_lower,
        "p_upper": test.p_upper,
        "p_tost": test.p,
        "equivalent": test.equivalent,
        **interval_keys(level, estimate.ci_low, estimate.ci_high),
    }


def _signed_rank(case: Case) -> Answer:
    given, scale, alpha = case.parameters, scale_of(case.parameters), alpha_of(case.parameters)
    sides = two_groups(case, given, paired=True)
    out: Answer = {}
    for level in asked_levels(case):
        with suppress(StatisticsRefusal):  # too few for this level, though perhaps not for the test's own
            found = ranks.signed_rank(*sides, scale=scale, alpha=(1.0 - level) / 2.0)
            out |= interval_keys(level, found.ci_low, found.ci_high)
    margin = needed_margin(given, scale)
    return out | _rank_keys(ranks.signed_rank_tost(*sides, margin, scale=scale, alpha=alpha), "V")


def _mann_whitney(case: Case) -> Answer:
    given, scale, alpha = case.parameters, scale_of(case.parameters), alpha_of(case.parameters)
    sides = two_groups(case, given)
    out: Answer = {}
    for level in asked_levels(case):
        with suppress(StatisticsRefusal):  # too few for this level, though perhaps not for the test's own
            found = ranks.mann_whitney(*sides, scale=scale, alpha=(1.0 - level) / 2.0)
            out |= interval_keys(level, found.ci_low, found.ci_high)
    margin = needed_margin(given, scale)
    return out | _rank_keys(ranks.mann_whitney_tost(*sides, margin, scale=scale, alpha=alpha), "W")


def _constants(constants: wellek.Constants, name: str, nested: bool, statistic: float | None) -> Answer:
    keys: Answer = {"c1": constants.c1, "c2": constants.c2, "power0": constants.power0}
    if statistic is not None:
        inside = constants.c1 < statistic < constants.c2
        keys |= dict.fromkeys(("t", "T", "F", "statistic"), statistic)
        keys |= dict.fromkeys(("equivalent", "reject", "reject_i_e_equivalent"), inside)
    return {name: keys} if nested else keys


def _wellek_t(case: Case) -> Answer:
    given, nested = section(case, "t")
    eps = number(given, "eps1", "eps", "epsilon"), number(given, "eps2", "eps", "epsilon")
    alpha, statistic = alpha_of(given), pick(given, "t", "statistic")
    m, n = pick(given, "m", "n1"), pick(given, "n", "n2")
    if m is None:
        reference, test = (means.summarise(side) for side in two_groups(case, given))
        found = wellek.t_test(test, reference, *eps, alpha=alpha)
        return _constants(found.constants, "t", nested, found.statistic)
    if isinstance(statistic, dict):
        statistic = None
    constants = wellek.t_constants(int(m), int(number({"n": n}, "n")), *eps, alpha=alpha)
    return _constants(constants, "t", nested, statistic)


def _wellek_t_paired(case: Case) -> Answer:
    given, nested = section(case, "t")
    below = pick(given, "eps1", "eps")
    low = number(given, "theta1", "lower") if below is None else -float(below)
    high = number(given, "theta2", "upper", "eps2", "eps")
    alpha, n = alpha_of(given), pick(given, "n")
    if n is None:
        reference, test = two_groups(case, given, paired=True)
        pairs = means.summarise([b - a for a, b in zip(reference, test, strict=True)])
        found = wellek.paired_t_test(pairs, low, high, alpha=alpha)
        return _constants(found.constants, "t", nested, found.statistic)
    return _constants(wellek.paired_t_constants(int(n), low, high, alpha=alpha), "t", nested, None)


def _wellek_dispersion(case: Case) -> Answer:
    given, nested = section(case, "dispersion")
    limits = number(given, "rho1", "lower"), number(given, "rho2", "upper")
    alpha, first, second = alpha_of(given), pick(given, "df1", "ny1"), pick(given, "df2", "ny2")
    sizes = pick(given, "m", "n1"), pick(given, "n", "n2")
    if first is None and None not in sizes:
        first, second = sizes[0] - 1, sizes[1] - 1
    if first is None:
        reference, test = (means.summarise(side) for side in two_groups(case, given))
        found = wellek.dispersion_test(test, reference, *limits, alpha=alpha)
        return _constants(found.constants, "dispersion", nested, found.statistic)
    constants = wellek.dispersion_constants(int(first), int(second), *limits, alpha=alpha)
    return _constants(constants, "dispersion", nested, None)


def _wellek_mann_whitney(ties: bool) -> Adapter:
    def adapter(case: Case) -> Answer:
        given = case.parameters
        y, x = two_groups(case, given)
        eps = number(given, "eps1", "eps", "eps1_"), number(given, "eps2", "eps", "eps2_")
        test = wellek.mann_whitney(x, y, *eps, alpha=alpha_of(given), ties=ties)
        return {
            **dict.fromkeys(("W_plus", "W+", "WXY_TIE", "w"), test.w),
            **dict.fromkeys(("sigma_hat", "sigmah"), test.sd),
            "crit": test.critical,
            **dict.fromkeys(("reject_i_e_equivalent", "reject", "rej", "equivalent"), test.equivalent),
        }

    return adapter


METHODS: dict[str, Adapter] = {
    **methods_ranges.METHODS,
    **methods_description.METHODS,
    "tost_two_sample_welch": _two_sample("welch"),
    "tost_two_sample_pooled": _two_sample("pooled"),
    "tost_two_sample_ratio": _two_sample("welch", "log"),
    "tost_two_sample_pooled_ratio": _two_sample("pooled", "log"),
    "tost_ratio_of_means": _ratio_of_means,
    "tost_paired": _paired("identity"),
    "tost_paired_ratio": _paired("log"),
    "tost_one_sample": _one_sample,
    "tost_wilcoxon_paired": _signed_rank,
    "tost_wilcoxon_two_sample": _mann_whitney,
    "wellek_t": _wellek_t,
    "wellek_t_paired": _wellek_t_paired,
    "wellek_dispersion": _wellek_dispersion,
    "wellek_mawi": _wellek_mann_whitney(ties=False),
    "wellek_mwtie": _wellek_mann_whitney(ties=True),
}
