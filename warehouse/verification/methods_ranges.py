"""Adapters from reference cases to spread and ranges; `methods_proportions` holds proportions and rates.

Belongs here: what methods_means.py says of itself, for these statistics. Registered through methods_means.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from warehouse.statistics import tolerance, variability
from warehouse.statistics.means import Summary, summarise
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification import methods_proportions
from warehouse.verification.case_columns import group_and_value, groups_of, measured, ordered_pair
from warehouse.verification.case_parameters import (
    CONFIDENCE,
    COVERAGE,
    Section,
    alpha_of,
    asked_levels,
    fraction,
    interval_keys,
    margin_of,
    number,
    pick,
    told_interval,
)
from warehouse.verification.run import Adapter, Case, plain


def _homogeneity(groups: list[list[float]]) -> dict[str, Any]:
    """Levene (mean), Brown-Forsythe (median) and Bartlett; one that refuses leaves its keys out."""
    answer: dict[str, Any] = {}
    tests: dict[str, Callable[[], variability.Homogeneity]] = {
        "brown_forsythe": lambda: variability.levene(groups),
        "levene_mean": lambda: variability.levene(groups, center="mean"),
        "bartlett": lambda: variability.bartlett(groups),
    }
    for name, test in tests.items():
        try:
            found = test()
        except StatisticsRefusal as refusal:
            answer.setdefault("refusal", str(refusal))
            continue
        answer[name] = {
            **dict.fromkeys(("F", "statistic", "K2"), found.statistic),
            "df": found.df1 if found.df2 is None else [found.df1, found.df2],
            "df1": found.df1,
            "df2": found.df2,
            "p": found.p,
        }
    for other, name in (("levene_median", "brown_forsythe"), ("levene", "levene_mean")):
        if name in answer:
            answer[other] = answer[name]
    return answer


def _ratio(test: Summary, reference: Summary, given: Section, levels: list[float]) -> dict[str, Any]:
    """Ratios of variances and of SDs with their F intervals, and the tests of a margin on the ratio of SDs."""
    answer: dict[str, Any] = {"df1": test.n - 1, "df2": reference.n - 1}
    for level in levels:
        found = variability.variance_ratio(test, reference, level=level)
        answer |= {"ratio": found.ratio, "var_ratio": found.ratio, "sd_ratio": found.ratio**0.5}
        answer |= interval_keys(level, found.ci_low, found.ci_high)
        answer |= told_interval(given, level, found.ci_low, found.ci_high)
        sds = interval_keys(level, found.ci_low**0.5, found.ci_high**0.5)
        answer |= {f"sd_{name}": value for name, value in sds.items()}
    answer |= {"sd1": test.sd, "sd2": reference.sd, "F": answer["ratio"]}
    margin = margin_of(given)
    if margin is not None:
        tested = variability.sd_ratio_tost(
            variability.sd_ratio(reference, test, alpha=alpha_of(given)), margin
        )
        answer |= {
            "p_lower": tested.p_lower, "p_upper": tested.p_upper, "p_tost": tested.p, "equivalent": tested.equivalent,
        }  # fmt: skip
    return answer


def _two(case: Case, table: str | None) -> tuple[Summary, Summary] | None:
    """(first, second) groups' summaries of a table, as its `order` says; None unless there are two."""
    groups = groups_of(case, table)
    if len(groups) < 2:
        return None
    first, second = ordered_pair(list(groups), case.parameters, group_and_value(case, table)[0] or "")
    return summarise(groups[first]), summarise(groups[second])


def _variance(case: Case) -> dict[str, Any]:
    """Homogeneity on the table of most groups; `var_ratio_NAME` on the two groups of table NAME."""
    given, levels = case.parameters, asked_levels(case, 0.90, 0.95)
    answer: dict[str, Any] = {}
    if case.tables:
        widest = max(case.tables, key=lambda name: len(groups_of(case, name)))
        answer |= _homogeneity(list(groups_of(case, widest).values()))
        if len(case.tables) == 1 and len(groups_of(case, widest)) == 2:
            pair = _two(case, widest)
            assert pair is not None
            try:
                answer |= _ratio(*pair, given, levels)
            except StatisticsRefusal as refusal:
                answer.setdefault("refusal", str(refusal))
        for key in case.expected:
            if key.startswith(("var_ratio", "sd_ratio", "variance_ratio")) and isinstance(
                case.expected[key], dict
            ):
                name = re.sub(r"^(?:var|sd|variance)_ratio_?", "", key)
                pair = _two(case, name if name in case.tables else widest)
                if pair is not None:
                    part = given.get(name)
                    answer[key] = _ratio(*pair, part if isinstance(part, dict) else given, levels)
        return answer
    sides = [Summary(0.0, number(given, f"sd{i}", f"s{i}"), int(number(given, f"n{i}"))) for i in (1, 2)]
    return _ratio(sides[0], sides[1], given, levels)


def _factors(n: int, coverage: float, confidence: float) -> dict[str, Any]:
    two = tolerance.two_sided_factor(n, coverage, confidence)
    one = tolerance.one_sided_factor(n, coverage, confidence)
    answer = {"n": n, "P": coverage, "conf": confidence, "k_one_sided": one, "k_two_sided": two}
    answer |= {"k_one_sided_exact": one, "k_two_sided_exact": two, "k1": one, "k2": two}
    answer |= dict.fromkeys(
        ("k_two_sided_howe_nist", "k_two_sided_howe", "howe", "howe_approx"),
        tolerance.howe_factor(n, coverage, confidence),
    )
    try:
        natrella = tolerance.natrella_factor(n, coverage, confidence)
    except StatisticsRefusal:
        return answer
    return answer | dict.fromkeys(("k1_natrella_nist", "k1_natrella", "k_one_sided_natrella"), natrella)


def _asked(given: Section) -> tuple[float, float] | None:
    """(coverage, confidence) where both are given."""
    coverage, confidence = pick(given, *COVERAGE), pick(given, *CONFIDENCE)
    if confidence is None and pick(given, "alpha") is not None:
        confidence = 1.0 - float(pick(given, "alpha"))
    if coverage is None or confidence is None:
        return None
    return fraction(float(coverage)), fraction(float(confidence))


def _tolerance_normal(case: Case) -> dict[str, Any]:
    """Factors over a table of n, P, conf; for parts of `expected` or parameters that name n, P and conf."""
    answer: dict[str, Any] = {}
    if case.tables:
        named = {name.lower(): name for name in case.table()}
        found = [
            next((named[w.lower()] for w in words if w.lower() in named), None)
            for words in (("n",), COVERAGE, CONFIDENCE)
        ]
        if None not in found:
            sizes = zip(*(case.numbers(str(name)) for name in found), strict=True)
            rows = [_factors(int(n), p, c) for n, p, c in sizes]
            answer["column_exact_one_sided"] = [row["k_one_sided"] for row in rows]
            answer["column_exact_two_sided"] = [row["k_two_sided"] for row in rows]
            for key in (key for key in case.expected if key.startswith("column_")):
                kind = "howe" if "howe" in key else "k_one_sided" if "one" in key else "k_two_sided"
                answer[key] = [row[kind] for row in rows]
            return answer | _parts(case)
    answer |= _parts(case)
    given, asked = case.parameters, _asked(case.parameters)
    if asked is not None:
        summary = _given_summary(case)
        sizes = pick(given, "n")
        if summary is None and isinstance(sizes, list):
            rows = [_factors(int(n), *asked) for n in sizes]
            return answer | {key: [row[key] for row in rows] for key in rows[0]}
        answer |= _limits(summary, int(number(given, "n")) if summary is None else summary.n, *asked, given)
    return answer


def _parts(case: Case) -> dict[str, Any]:
    """Parts of `expected` that name their own n, P and conf, or whose parameters of that name do."""
    answer: dict[str, Any] = {}
    for key, part in case.expected.items():
        own = case.parameters.get(key)
        if not isinstance(part, dict) or key.startswith("published"):
            continue
        facts = {**case.parameters, **(own if isinstance(own, dict) else {}), **part}
        asked, n = _asked(facts), pick(facts, "n")
        if asked is None or n is None:
            continue
        mean, sd = pick(facts, "mean"), pick(facts, "sd")
        summary = None if mean is None or sd is None else Summary(float(mean), float(sd), int(n))
        answer[key] = _limits(summary, int(n), *asked, facts)
    return answer


def _limits(
    summary: Summary | None, n: int, coverage: float, confidence: float, given: Section
) -> dict[str, Any]:
    """Factors, and with a summary the limits of the side the case names (both sides without one)."""
    answer = _factors(n, coverage, confidence)
    side = _side(pick(given, "side", "sides", default="two-sided"))
    answer["k"] = answer["k_two_sided" if side == "two-sided" else "k_one_sided"]
    if summary is not None:
        limits = tolerance.normal_tolerance(summary, coverage, confidence, side=side)
        answer |= {"mean": summary.mean, "sd": summary.sd, **_ends(limits)}
        both = tolerance.normal_tolerance(summary, coverage, confidence)
        answer |= {"two_sided": [both.low, both.high]}
        reach = answer["k_one_sided"] * summary.sd
        answer |= {"one_sided_lower": summary.mean - reach, "one_sided_upper": summary.mean + reach}
    return answer


def _ends(found: tolerance.Range) -> dict[str, Any]:
    return {
        **dict.fromkeys(("lower", "ltl", "lower_limit", "low"), found.low),
        **dict.fromkeys(("upper", "utl", "upper_limit", "high"), found.high),
        "interval": [found.low, found.high],
    }


def _side(name: object) -> tolerance.Side:
    """A case's word for the side: upper, lower, or any word (or 2) for both; 1 and "one-sided" are upper."""
    word = plain(str(name))
    if word.startswith(("low", "onesidedlow", "less")):
        return "lower"
    return "upper" if word.startswith(("upp", "one", "greater", "1")) else "two-sided"


def _given_summary(case: Case) -> Summary | None:
    given = case.parameters
    mean, sd, n = pick(given, "mean", "xbar"), pick(given, "sd", "s"), pick(given, "n")
    if None not in (mean, sd, n):
        return Summary(float(mean), float(sd), int(n))
    return summarise(measured(case, "x", "y")) if case.tables and case.numeric_columns() else None


def _needed(case: Case) -> tuple[float, float]:
    asked = _asked(case.parameters)
    if asked is None:
        raise StatisticsRefusal(f"Case {case.id} gives no coverage and confidence.")
    return asked


def _tolerance_lognormal(case: Case) -> dict[str, Any]:
    values, asked = measured(case, "x", "y"), _needed(case)
    side = _side(pick(case.parameters, "side", default="upper"))
    limits = tolerance.lognormal_tolerance(values, *asked, side=side)
    logs = summarise(values, "log")
    answer: dict[str, Any] = {"n": logs.n, **dict.fromkeys(("log_mean", "meanlog"), logs.mean)}
    answer |= {**dict.fromkeys(("log_sd", "sdlog"), logs.sd), "k": limits.k, **_ends(limits)}
    return answer | {"published_epa": limits.low if side == "lower" else limits.high}


def _tolerance_nonparametric(case: Case) -> dict[str, Any]:
    """Wilks sizes, and with a column the order statistics; or a list of sizes for keys "n_95_95"."""
    answer: dict[str, Any] = {}
    for key in case.expected:
        named = re.fullmatch(r"(?:n_)?(one|two)?_?(?:sided)?_?(\d\d)_(\d\d)(?:_(one|two)(?:_sided)?)?", key)
        if named:
            side: tolerance.Side = "upper" if "one" in (named[1], named[4]) else "two-sided"
            answer[key] = tolerance.wilks_size(int(named[2]) / 100, int(named[3]) / 100, side=side)
    asked = _asked(case.parameters)
    if asked is None:
        return answer
    one, two = (tolerance.wilks_size(*asked, side=side) for side in ("upper", "two-sided"))
    side = _side(pick(case.parameters, "side", default="two-sided"))
    answer |= {"n_one_sided": one, "n_two_sided": two, "n_min": two if side == "two-sided" else one}
    answer |= dict.fromkeys(("wilks_n", "n_needed", "n"), answer["n_min"])
    if case.tables:
        found = tolerance.nonparametric_tolerance(measured(case, "x", "y"), *asked, side=side)
        answer |= {**_ends(found), "confidence": found.confidence, "achieved_confidence": found.confidence}
    return answer


def _prediction(case: Case) -> dict[str, Any]:
    """Limits for the next m lots, exact and by Bonferroni."""
    given, summary = case.parameters, _given_summary(case)
    if summary is None:
        raise StatisticsRefusal(f"Case {case.id} gives neither lots nor their mean, sd and n.")
    confidence = fraction(number(given, *CONFIDENCE, default=0.95))
    lots, side = (
        int(number(given, "m", "lots", "k", default=1)),
        _side(pick(given, "side", default="two-sided")),
    )
    found = tolerance.prediction(summary, confidence, lots=lots, side=side)
    rough = tolerance.prediction(summary, confidence, lots=lots, side=side, exact=False)
    answer = {"n": summary.n, "mean": summary.mean, "sd": summary.sd, "k": found.k, **_ends(found)}
    return answer | {"k_bonferroni": rough.k, "bonferroni": [rough.low, rough.high]}


def _quality_range(case: Case) -> dict[str, Any]:
    summary = _given_summary(case)
    if summary is None:
        raise StatisticsRefusal(f"Case {case.id} gives neither lots nor their mean, sd and n.")
    found = tolerance.quality_range(summary, number(case.parameters, "k", default=3.0))
    return {"n": summary.n, "mean": summary.mean, "sd": summary.sd, "k": found.k, **_ends(found)}


METHODS: dict[str, Adapter] = {
    **methods_proportions.METHODS,
    "variance": _variance,
    "tolerance_normal": _tolerance_normal,
    "tolerance_lognormal": _tolerance_lognormal,
    "tolerance_nonparametric": _tolerance_nonparametric,
    "prediction_normal": _prediction,
    "quality_range": _quality_range,
}
