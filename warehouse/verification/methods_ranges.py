"""Adapters from reference cases to proportions, spread, ranges, censoring, agreement and description.

Belongs here: what methods_means.py says of itself, for these statistics. Registered through methods_means.py.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from warehouse.statistics import (
    agreement,
    censored,
    describe,
    method_lines,
    multiplicity,
    multivariate,
    outliers,
    proportions,
    tolerance,
    variability,
)
from warehouse.statistics.means import Summary, summarise
from warehouse.statistics.proportions import Count, Difference, Pairs
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import Margin
from warehouse.verification.run import Adapter, Case

_INTERVALS = {
    "wald": proportions.wald,
    "newcombe": proportions.newcombe,
    "miettinen_nurminen": proportions.miettinen_nurminen,
    "mn": proportions.miettinen_nurminen,
    "propcis_score": proportions.miettinen_nurminen,
    "mee": proportions.mee,
    "agresti_caffo": proportions.agresti_caffo,
    "exact": proportions.chan_zhang,
    "chan_zhang": proportions.chan_zhang,
    "hybrid": proportions.newcombe,
}


def _counts(text: str) -> tuple[Count, Count] | None:
    """Counts written into a key, "..._190_200_vs_184_200_...": test, reference."""
    found = re.search(r"(\d+)_(\d+)_vs_(\d+)_(\d+)", text)
    if found is None:
        return None
    a, m, b, n = map(int, found.groups())
    return Count(a, m), Count(b, n)


def _differences(test: Count, reference: Count, wanted: dict[str, Any]) -> dict[str, Any]:
    """The intervals a part of a case asks for by names such as `newcombe90`; a refused one in words."""
    answer: dict[str, Any] = {
        "counts": [test.events, test.n, reference.events, reference.n],
        "diff": test.events / test.n - reference.events / reference.n,
    }
    for key in wanted:
        named = re.fullmatch(r"([a-z_]+?)_?(\d\d)", key)
        if named is None or named[1] not in _INTERVALS:
            continue
        try:
            result: Difference = _INTERVALS[named[1]](test, reference, level=int(named[2]) / 100)
            answer[key] = [result.ci_low, result.ci_high]
        except StatisticsRefusal as refusal:
            answer[key] = str(refusal)
    return answer


def _test_keys(result: proportions.ProportionTost) -> dict[str, Any]:
    return {
        "diff": result.estimate,
        "z_lower": result.z_lower,
        "z_upper": result.z_upper,
        "p_lower": result.p_lower,
        "p_upper": result.p_upper,
        "p_tost": result.p,
        "equivalent": result.equivalent,
    }


def _proportions(case: Case) -> dict[str, Any]:
    """Each part of `expected` is one table: its counts stand in it, in its name or in parameters."""
    given = case.parameters
    alpha = float(given.get("alpha", 0.05))
    parts = {key: part for key, part in case.expected.items() if isinstance(part, dict)}
    answer: dict[str, Any] = {}
    for key, part in parts.items():
        counts = part.get("counts")
        tables = (Count(*counts[:2]), Count(*counts[2:])) if counts else _counts(key)
        if tables is None:
            continue
        answer[key] = _differences(*tables, part)
        if {"p_tost", "z_lower", "p_lower"} & part.keys():
            margin = re.search(r"margin_([\d.]+)", key)
            width = float(margin[1]) if margin else float(given["tost_margin"])
            test = proportions.chan_zhang_tost if "exact" in key else proportions.farrington_manning
            answer[key] |= _test_keys(test(*tables, Margin(-width, width), alpha=alpha))
    if {"a", "m", "b", "n"} <= given.keys():
        flat = Count(given["a"], given["m"]), Count(given["b"], given["n"])
        answer |= _differences(*flat, case.expected)
        if "tost_margin" in given:
            width = float(given["tost_margin"])
            answer |= _test_keys(proportions.farrington_manning(*flat, Margin(-width, width), alpha=alpha))
    published = {key: part for key, part in parts.items() if key.startswith("published")}
    for key, groups in published.items():
        # Printed intervals name their table by a letter: "a" is the part "..._a_...".
        answer[key] = {
            letter: _differences(*tables, printed)
            for letter, printed in groups.items()
            for name in parts
            if f"_{letter}_" in name and isinstance(printed, dict) and (tables := _counts(name))
        }
    return answer


def _paired_proportions(case: Case) -> dict[str, Any]:
    """Tango's interval and tests of a 2x2 table of pairs: both, test only, reference only, neither."""
    given = case.parameters
    table = Pairs(*(given[key] for key in ("both", "test_only", "reference_only", "neither")))
    alpha = float(given.get("alpha", 0.05))
    answer: dict[str, Any] = {}
    for level in (90, 95):
        result = proportions.tango(table, level=level / 100)
        answer[f"tango{level}"] = [result.ci_low, result.ci_high]
    if "tost_margin" in given:
        width = float(given["tost_margin"])
        answer |= _test_keys(proportions.tango_tost(table, Margin(-width, width), alpha=alpha))
    return answer


def _grouped(case: Case, table: str | None = None) -> list[list[float]]:
    """The numeric column of a table split by its group column (the first of a known name, else text)."""
    columns = case.table(table)
    names = list(columns)
    known = [name for name in ("group", "treatment", "site", "batch") if name in columns]
    by = known[0] if known else next(name for name in names if not _all_numbers(columns[name]))
    subjects = {"ID", "id", "subject", "donor", by}
    value = next(name for name in names if name not in subjects and _all_numbers(columns[name]))
    return list(case.groups(value, by, table).values())


def _all_numbers(texts: list[str]) -> bool:
    try:
        [float(text) for text in texts if text not in {"", "NA"}]
    except ValueError:
        return False
    return True


def _variance(case: Case) -> dict[str, Any]:
    """Homogeneity on the table of most groups; `var_ratio_NAME` on the two groups of table NAME."""
    answer: dict[str, Any] = {}
    tables = {name: _grouped(case, name) for name in case.tables}
    widest = max(tables.values(), key=len)
    if {"brown_forsythe", "levene_mean", "bartlett"} & case.expected.keys():
        median, mean = variability.levene(widest), variability.levene(widest, center="mean")
        k2 = variability.bartlett(widest)
        answer["brown_forsythe"] = {"F": median.statistic, "p": median.p}
        answer["levene_mean"] = {"F": mean.statistic, "p": mean.p}
        answer["bartlett"] = {"K2": k2.statistic, "p": k2.p}
    for key, part in case.expected.items():
        if not key.startswith("var_ratio") or not isinstance(part, dict):
            continue
        groups = tables.get(key.removeprefix("var_ratio").removeprefix("_"), widest)
        first, second = (summarise(group) for group in groups[:2])
        answer[key] = {"ratio": (first.sd / second.sd) ** 2 if second.sd else None}
        for name in part:
            if re.fullmatch(r"ci\d\d", name):
                ratio = variability.variance_ratio(first, second, level=int(name[2:]) / 100)
                answer[key] |= {name: [ratio.ci_low, ratio.ci_high], "ratio": ratio.ratio}
    return answer


def _factors(n: int, coverage: float, confidence: float) -> dict[str, Any]:
    two = tolerance.two_sided_factor(n, coverage, confidence)
    one = tolerance.one_sided_factor(n, coverage, confidence)
    answer = {"n": n, "P": coverage, "conf": confidence, "k_one_sided": one, "k_two_sided": two}
    answer |= {
        "k_two_sided_exact": two,
        "k_two_sided_howe_nist": tolerance.howe_factor(n, coverage, confidence),
    }
    try:
        return answer | {"k1_natrella_nist": tolerance.natrella_factor(n, coverage, confidence)}
    except StatisticsRefusal:
        return answer


def _tolerance_normal(case: Case) -> dict[str, Any]:
    """Factors over a table of n, P, conf; for parts of `expected` or parameters that name n, P and conf."""
    answer: dict[str, Any] = {}
    if case.tables and {"n", "P", "conf"} <= case.table().keys():
        sizes = zip(*(case.numbers(name) for name in ("n", "P", "conf")), strict=True)
        rows = [_factors(int(n), p, c) for n, p, c in sizes]
        answer["column_exact_one_sided"] = [row["k_one_sided"] for row in rows]
        answer["column_exact_two_sided"] = [row["k_two_sided"] for row in rows]
    for key, part in case.expected.items():
        if isinstance(part, dict) and {"n", "P", "conf"} <= part.keys():
            answer[key] = _factors(int(part["n"]), part["P"], part["conf"])
            answer[key] |= {name: part[name] for name in ("mean", "sd") if name in part}
    given = case.parameters
    if {"P", "conf"} <= given.keys():
        summary = _given_summary(case)
        n = summary.n if summary else int(given["n"])
        answer |= _factors(n, given["P"], given["conf"])
        if summary is not None:
            side = given.get("side", "two-sided")
            limits = tolerance.normal_tolerance(summary, given["P"], given["conf"], side=side)
            answer |= {"mean": summary.mean, "sd": summary.sd, "k": limits.k}
            answer |= {"lower": limits.low, "upper": limits.high, "ltl": limits.low, "utl": limits.high}
    return answer


def _given_summary(case: Case) -> Summary | None:
    given = case.parameters
    if {"mean", "sd", "n"} <= given.keys():
        return Summary(given["mean"], given["sd"], int(given["n"]))
    if case.tables:
        return summarise(case.numbers(next(iter(case.table()))))
    return None


def _tolerance_lognormal(case: Case) -> dict[str, Any]:
    values = case.numbers(next(iter(case.table())))
    given = case.parameters
    side = {"both": "two-sided", "two": "two-sided"}.get(
        given.get("side", "upper"), given.get("side", "upper")
    )
    limits = tolerance.lognormal_tolerance(values, given["P"], given["conf"], side=side)
    logs = summarise(values, "log")
    answer = {"n": logs.n, "log_mean": logs.mean, "log_sd": logs.sd, "k": limits.k}
    answer |= {"utl": limits.high, "ltl": limits.low, "published_epa": limits.high}
    return answer


def _flags(case: Case) -> tuple[list[float], list[bool]]:
    """(values, below): the first numeric column and the first column of TRUE/FALSE or 1/0 beside it."""
    table = case.table()
    words = {"TRUE": True, "FALSE": False, "True": True, "False": False, "1": True, "0": False}
    flag = next(name for name in reversed(table) if all(text in words for text in table[name]))
    value = next(name for name in table if name != flag and _all_numbers(table[name]))
    return case.numbers(value), [words[text] for text in table[flag]]


def _censored(case: Case) -> dict[str, Any]:
    values, below = _flags(case)
    mle = censored.lognormal_mle(values, below)
    km = censored.kaplan_meier(values, below)
    answer: dict[str, Any] = {"mle": asdict(mle), "km_nada": asdict(km), "km": asdict(km)}
    helsel = {"mle_mean": mle.mean, "km_mean": km.mean}
    if "ros_nada" in case.expected or "ros" in case.expected:
        ros = censored.regression_on_order_statistics(values, below)
        answer |= {"ros_nada": asdict(ros), "ros": asdict(ros)}
        helsel["ros_mean"] = ros.mean
    return answer | {"published_helsel": helsel}


def _grubbs(case: Case) -> dict[str, Any]:
    values = case.numbers(next(iter(case.table())))
    result = outliers.grubbs(values, alpha=float(case.parameters.get("alpha", 0.05)))
    return {
        "G": result.g,
        "crit_one_sided": result.critical_one_sided,
        "crit_two_sided": result.critical_two_sided,
        "outlier": result.outlier,
        "value": result.value,
        "n": result.n,
    }


def _esd(case: Case) -> dict[str, Any]:
    given = case.parameters
    values = case.numbers(next(iter(case.table())))
    suspected = int(next(given[key] for key in ("suspected", "r", "k", "max_outliers") if key in given))
    result = outliers.generalised_esd(values, suspected, alpha=float(given.get("alpha", 0.05)))
    return {
        "R": result.statistics,
        "lambda": result.critical,
        "n_outliers": len(result.outliers),
        "outliers": [values[index] for index in result.outliers],
    }


def _icc(case: Case) -> dict[str, Any]:
    """Ratings in long form: subject, judge and a value."""
    table = case.table()
    subject, judge, value = list(table)[:3]
    cells = {
        (who, rater): float(text)
        for who, rater, text in zip(table[subject], table[judge], table[value], strict=True)
        if text not in {"", "NA"}
    }
    subjects, judges = list(dict.fromkeys(table[subject])), list(dict.fromkeys(table[judge]))
    ratings = [[cells.get((who, rater), float("nan")) for rater in judges] for who in subjects]
    forms = agreement.intraclass_correlations(ratings)
    values = {name: form.value for name, form in forms.items()}
    return {**values, "published": [values[name] for name in _PRINTED_ICC]}


_PRINTED_ICC = ("ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k")


def _two_columns(case: Case) -> tuple[list[float], list[float]]:
    names = [name for name, texts in case.table().items() if _all_numbers(texts)]
    if len(names) < 2:
        raise StatisticsRefusal(f"Case {case.id}: two columns of numbers are needed.")
    first, second = names[-2:]
    return case.numbers(first), case.numbers(second)


def _bland_altman(case: Case) -> dict[str, Any]:
    result = agreement.bland_altman(*_two_columns(case), method=case.parameters.get("method", "exact"))
    return {**asdict(result), "loa_lower": result.low, "loa_upper": result.high, "mean_diff": result.bias}


def _lin(case: Case) -> dict[str, Any]:
    result = agreement.concordance(*_two_columns(case))
    return {**asdict(result), "ccc": result.value, "ci95": [result.ci_low, result.ci_high]}


def _deming(case: Case) -> dict[str, Any]:
    ratio = float(case.parameters.get("error_variance_ratio", 1.0))
    return asdict(method_lines.deming(*_two_columns(case), error_variance_ratio=ratio))


def _passing_bablok(case: Case) -> dict[str, Any]:
    return asdict(method_lines.passing_bablok(*_two_columns(case)))


def _multiplicity(case: Case) -> dict[str, Any]:
    values = case.numbers(next(iter(case.table())))
    answer = {name: multiplicity.adjust(values, name).tolist() for name in multiplicity.ADJUSTMENTS}
    return {**answer, "BH": answer["bh"], "BY": answer["by"]}


def _hotelling_keys(result: multivariate.Hotelling) -> dict[str, Any]:
    return {
        "T2": result.t2,
        "F": result.f,
        "df": [result.df1, result.df2],
        "p": result.p,
        **{f"T2_crit_{level}": result.critical(level / 100) for level in (90, 95, 99)},
    }


def _hotelling_one_sample(case: Case) -> dict[str, Any]:
    columns = [case.numbers(name) for name in case.table()]
    return _hotelling_keys(multivariate.one_sample(list(zip(*columns, strict=True)), case.parameters["mu0"]))


def _hotelling_two_sample(case: Case) -> dict[str, Any]:
    table = case.table()
    by = next(name for name in table if name in {"group", "site"} or not _all_numbers(table[name]))
    columns = [case.groups(name, by) for name in table if name != by]
    first, second = list(columns[0])[:2]
    groups = [list(zip(*(column[label] for column in columns), strict=True)) for label in (second, first)]
    return _hotelling_keys(multivariate.two_sample(*groups))


def _univariate(case: Case) -> dict[str, Any]:
    texts = [text for text in next(iter(case.table().values())) if text not in {"", "NA"}]
    centre, values = describe.centred(texts)
    keys = asdict(describe.summary(values, centre=centre))
    return {"certified": keys, **keys}


def _anova(case: Case) -> dict[str, Any]:
    """One-way ANOVA of a table of group, response; decimals are centred as printed."""
    table = case.table()
    by, value = list(table)[:2]
    _, values = describe.centred(table[value])
    groups: dict[str, list[float]] = {}
    for label, number in zip(table[by], values, strict=True):
        groups.setdefault(label, []).append(float(number))
    result = describe.anova_oneway(list(groups.values()))
    keys = {
        "df_between": result.df_between,
        "SS_between": result.ss_between,
        "MS_between": result.ms_between,
        "F": result.f,
        "p": result.p,
        "df_within": result.df_within,
        "SS_within": result.ss_within,
        "MS_within": result.ms_within,
        "R2": result.r2,
        "residual_sd": result.residual_sd,
    }
    return {"certified": keys, "F_from_exact_rational_arithmetic": result.f, **keys}


METHODS: dict[str, Adapter] = {
    "prop_equivalence": _proportions,
    "prop_equivalence_paired": _paired_proportions,
    "variance": _variance,
    "tolerance_normal": _tolerance_normal,
    "tolerance_lognormal": _tolerance_lognormal,
    "censored": _censored,
    "outlier_grubbs": _grubbs,
    "outlier_esd": _esd,
    "icc": _icc,
    "bland_altman": _bland_altman,
    "lin_ccc": _lin,
    "deming": _deming,
    "passing_bablok": _passing_bablok,
    "multiplicity": _multiplicity,
    "hotelling_one_sample": _hotelling_one_sample,
    "hotelling_two_sample": _hotelling_two_sample,
    "univariate_summary": _univariate,
    "anova_oneway": _anova,
}
