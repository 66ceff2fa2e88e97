"""Adapters from reference cases to means, ranks, Wellek, proportions, rates, spread, ranges and agreement.

Belongs here: reading a case's parameters and columns, calling the statistic, naming its results as the case
does. Does not belong here: any computation that is a statistic, or anything true of one case only.

An adapter returns more keys than a case may ask for; the runner reads those that are expected.
"""

from __future__ import annotations

from math import floor
from typing import Any, cast

from scipy.stats import t as student

from warehouse.statistics import means, ranks, wellek
from warehouse.statistics.means import Summary, Tost
from warehouse.statistics.ranks import RankTost
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin, Scale
from warehouse.verification import methods_description, methods_ranges
from warehouse.verification.run import Adapter, Case

Section = dict[str, Any]


def section(case: Case, name: str) -> tuple[Section, bool]:
    """The case's parameters with those of its part `name` laid over, and whether there is such a part."""
    part = case.parameters.get(name)
    return ({**case.parameters, **part}, True) if isinstance(part, dict) else (case.parameters, False)


def _columns(case: Case, *, minimum: int) -> list[str]:
    """The table's numeric columns, at least `minimum` of them."""
    found = case.numeric_columns()
    if len(found) < minimum:
        raise StatisticsRefusal(
            f"Case {case.id}: {minimum} columns of numbers are needed, {len(found)} found."
        )
    return found


def two_groups(case: Case, parameters: Section, *, paired: bool = False) -> tuple[list[float], list[float]]:
    """(reference, test) from two columns, or from one column split by a group column, as `order` says.

    `order` reads "A - B" (test - reference) with names of columns or of groups; "group1" is the first group.
    Without it the first group or column is the test. Pairs of a grouped table are matched by its subject
    column, else by position.
    """
    table = case.table()
    by = next((name for name in ("group", "site", "treatment", "arm") if name in table), None)
    order = [part.strip() for part in str(parameters.get("order", "")).split(" - ")]
    if by is None:
        names = _columns(case, minimum=2)
        test, reference = order if len(order) == 2 and set(order) <= set(names) else names[:2]
        return case.numbers(reference), case.numbers(test)
    subject = next((name for name in ("ID", "id", "subject", "donor", "pair") if name in table), None)
    value = next(name for name in _columns(case, minimum=1) if name not in {by, subject})
    groups = case.groups(value, by)
    labels = list(groups)
    if len(labels) != 2:
        raise StatisticsRefusal(f"Case {case.id}: two groups are needed, {len(labels)} found.")
    named = {
        **{f"group{i + 1}": label for i, label in enumerate(labels)},
        **{label: label for label in labels},
    }
    first, second = ([named[part] for part in order] if set(order) <= set(named) else labels)[:2]
    if paired and subject is not None:
        who: dict[str, list[str]] = {label: [] for label in labels}
        for name, label in zip(table[subject], table[by], strict=True):
            who[label].append(name)
        if sorted(who[first]) != sorted(who[second]):
            raise StatisticsRefusal(f"Case {case.id}: pairs need the same subjects in both groups.")
        place = dict(zip(who[first], groups[first], strict=True))
        return groups[second], [place[name] for name in who[second]]
    return groups[second], groups[first]


def summaries(case: Case, parameters: Section) -> tuple[Summary, Summary] | None:
    """(reference, test) from the summaries m1, sd1, n1 (test) and m2, sd2, n2, if given."""
    if "m1" not in parameters:
        return None
    one, two = (Summary(*(parameters[f"{key}{i}"] for key in ("m", "sd", "n"))) for i in (1, 2))
    return two, one


def _interval(low: float, high: float, alpha: float) -> dict[str, Any]:
    """An interval under the names cases use: ci90_lower, ci90_upper and ci90 at alpha 0.05."""
    name = f"ci{100 * (1 - 2 * alpha):g}"
    return {f"{name}_lower": low, f"{name}_upper": high, name: [low, high]}


def tost_keys(test: Tost) -> dict[str, Any]:
    """A TOST under the names cases use. `t_nhst`, `p_nhst` are the ordinary test, for information."""
    estimate = test.estimate
    assert estimate.se is not None
    assert estimate.df is not None
    t_nhst = means.difference_on_scale(estimate) / estimate.se
    return {
        "n": estimate.n_test,
        "n1": estimate.n_test,
        "n2": estimate.n_reference,
        "diff": estimate.estimate,
        "estimate": estimate.estimate,
        "gmr": estimate.estimate,
        "ratio": estimate.estimate,
        "se": estimate.se,
        "df": estimate.df,
        "welch_df": estimate.df,
        "df_truncated": floor(estimate.df),
        "t_nhst": t_nhst,
        "p_nhst": 2 * float(student.sf(abs(t_nhst), estimate.df)),
        "t_lower": test.t_lower,
        "t_upper": test.t_upper,
        "p_lower": test.p_lower,
        "p_upper": test.p_upper,
        "p_tost": test.p,
        "equivalent": test.equivalent,
        **_interval(estimate.ci_low, estimate.ci_high, estimate.alpha),
    }


def _margin(parameters: Section) -> Margin:
    for low, high in (("lower", "upper"), ("lower_ratio", "upper_ratio")):
        if low in parameters and high in parameters:
            return Margin(float(parameters[low]), float(parameters[high]))
    for name in ("delta", "margin"):
        if name in parameters:
            return Margin(-float(parameters[name]), float(parameters[name]))
    raise StatisticsRefusal("The case gives no margin (lower and upper, or delta).")


def _scale(parameters: Section, default: Scale) -> Scale:
    scale = parameters.get("scale", default)
    if scale not in {"identity", "log", "logit"}:
        raise StatisticsRefusal(f"Unknown scale {scale!r}.")
    return cast(Scale, scale)


def _truncated(test: Tost) -> dict[str, Any]:
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
    keys = tost_keys(means.tost(whole, test.margin))
    return {**keys, f"{name}_lower": min(0.0, whole.ci_low), f"{name}_upper": max(0.0, whole.ci_high)}


def _two_sample(name: str) -> Adapter:
    """Welch or pooled TOST from summaries or groups."""

    def adapter(case: Case) -> dict[str, Any]:
        parameters, nested = section(case, name)
        scale, alpha = _scale(parameters, "identity"), float(parameters.get("alpha", 0.05))
        given = summaries(case, parameters)
        if given is None:
            reference, test = two_groups(case, parameters)
            given = means.summarise(reference, scale), means.summarise(test, scale)
        make = means.welch_from_summaries if name == "welch" else means.pooled_from_summaries
        result = means.tost(make(*given, scale=scale, alpha=alpha), _margin(parameters))
        keys = tost_keys(result)
        return {name: keys} if nested else {**keys, "published_minitab": _truncated(result)}

    return adapter


def _paired(default: Scale) -> Adapter:
    """Paired TOST on differences, or on ratios on the log scale."""

    def adapter(case: Case) -> dict[str, Any]:
        parameters, nested = section(case, "paired")
        scale, alpha = _scale(parameters, default), float(parameters.get("alpha", 0.05))
        reference, test = two_groups(case, parameters, paired=True)
        estimate = means.paired(reference, test, scale=scale, alpha=alpha)
        keys = tost_keys(means.tost(estimate, _margin(parameters)))
        return {"paired": keys} if nested else keys

    return adapter


def _one_sample(case: Case) -> dict[str, Any]:
    parameters = case.parameters
    values = case.numbers(_columns(case, minimum=1)[0])
    target = float(parameters.get("target", parameters.get("mu0", 0.0)))
    estimate = means.one_sample(
        values, target, scale=_scale(parameters, "identity"), alpha=float(parameters.get("alpha", 0.05))
    )
    return tost_keys(means.tost(estimate, _margin(parameters)))


def _rank_keys(test: RankTost, letter: str) -> dict[str, Any]:
    estimate = test.estimate
    return {
        "n": estimate.n_test,
        "pseudomedian": estimate.estimate,
        "hodges_lehmann": estimate.estimate,
        "estimate": estimate.estimate,
        f"{letter}_lower": test.statistic_lower,
        f"{letter}_upper": test.statistic_upper,
        "p_lower": test.p_lower,
        "p_upper": test.p_upper,
        "p_tost": test.p,
        "equivalent": test.equivalent,
        **_interval(estimate.ci_low, estimate.ci_high, estimate.alpha),
    }


def _signed_rank(case: Case) -> dict[str, Any]:
    reference, test = two_groups(case, case.parameters, paired=True)
    alpha = float(case.parameters.get("alpha", 0.05))
    scale = _scale(case.parameters, "identity")
    return _rank_keys(
        ranks.signed_rank_tost(reference, test, _margin(case.parameters), scale=scale, alpha=alpha), "V"
    )


def _mann_whitney(case: Case) -> dict[str, Any]:
    reference, test = two_groups(case, case.parameters)
    alpha = float(case.parameters.get("alpha", 0.05))
    scale = _scale(case.parameters, "identity")
    return _rank_keys(
        ranks.mann_whitney_tost(reference, test, _margin(case.parameters), scale=scale, alpha=alpha), "W"
    )


def _constants(name: str, constants: wellek.Constants, nested: bool) -> dict[str, Any]:
    keys = {"c1": constants.c1, "c2": constants.c2, "power0": constants.power0}
    return {name: keys} if nested else keys


def _wellek_t(case: Case) -> dict[str, Any]:
    given, nested = section(case, "t")
    alpha = float(given.get("alpha", 0.05))
    constants = wellek.t_constants(given["m"], given["n"], given["eps1"], given["eps2"], alpha=alpha)
    return _constants("t", constants, nested)


def _wellek_dispersion(case: Case) -> dict[str, Any]:
    given, nested = section(case, "dispersion")
    alpha = float(given.get("alpha", 0.05))
    constants = wellek.dispersion_constants(
        given["df1"], given["df2"], given["rho1"], given["rho2"], alpha=alpha
    )
    return _constants("dispersion", constants, nested)


def _wellek_mann_whitney(case: Case) -> dict[str, Any]:
    given = case.parameters
    y, x = two_groups(case, given)
    test = wellek.mann_whitney(x, y, given["eps1"], given["eps2"], alpha=float(given.get("alpha", 0.05)))
    return {
        "W_plus": test.w,
        "sigma_hat": test.sd,
        "crit": test.critical,
        "reject_i_e_equivalent": test.equivalent,
        "equivalent": test.equivalent,
    }


METHODS: dict[str, Adapter] = {
    **methods_ranges.METHODS,
    **methods_description.METHODS,
    "tost_two_sample_welch": _two_sample("welch"),
    "tost_two_sample_pooled": _two_sample("pooled"),
    "tost_paired": _paired("identity"),
    "tost_paired_ratio": _paired("log"),
    "tost_one_sample": _one_sample,
    "tost_wilcoxon_paired": _signed_rank,
    "tost_wilcoxon_two_sample": _mann_whitney,
    "wellek_t": _wellek_t,
    "wellek_dispersion": _wellek_dispersion,
    "wellek_mawi": _wellek_mann_whitney,
}
