"""Adapters from reference cases to censored results, outliers, agreement, families of tests and description.

Belongs here: what methods_means.py says of itself, for these statistics. Registered through methods_means.py.
"""

from __future__ import annotations

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
)
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification.run import Adapter, Case


def _flags(case: Case) -> tuple[list[float], list[bool]]:
    """(values, below): the first numeric column and the first column of TRUE/FALSE or 1/0 beside it."""
    table = case.table()
    words = {"TRUE": True, "FALSE": False, "True": True, "False": False, "1": True, "0": False}
    flag = next(name for name in reversed(table) if all(text in words for text in table[name]))
    value = next(name for name in table if name != flag and name in case.numeric_columns())
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
    names = case.numeric_columns()
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
    answer: dict[str, Any] = {
        str(name): multiplicity.adjust(values, name).tolist() for name in multiplicity.ADJUSTMENTS
    }
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
    by = next(name for name in table if name in {"group", "site"} or name not in case.numeric_columns())
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
