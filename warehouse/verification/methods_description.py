"""Adapters from reference cases to censored results, outliers, agreement, families of tests and description.

Belongs here: what methods_means.py says of itself, for these statistics. Registered through methods_means.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, get_args

from warehouse.statistics import (
    agreement,
    censored,
    describe,
    method_lines,
    multiplicity,
    multivariate,
    outliers,
)
from warehouse.statistics.gauge import gauge
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification.case_columns import (
    ROW,
    SUBJECT,
    complete_rows,
    group_and_value,
    levels_of,
    measured,
    measured_column,
    ordered_pair,
    two_groups,
)
from warehouse.verification.case_parameters import (
    LEVEL,
    alpha_of,
    asked_levels,
    fraction,
    interval_keys,
    number,
    pick,
)
from warehouse.verification.run import MISSING, Adapter, Case, plain

_TRUE = {"true", "t", "1", "yes", "<", "lt", "left", "censored", "nd", "below"}
_FALSE = {"false", "f", "0", "no", "", "=", "eq", "observed", "detected"}


def _flags(case: Case) -> tuple[list[float], list[bool]]:
    """(values, below): a column of numbers and one of flags beside it, or one column that writes "<0.5".

    With the parameter `censored_when` 0 the flags say what was seen ("1" observed), as survival data do.
    """
    table, given = case.table(), case.parameters
    seen = str(pick(given, "censored_when", "event", default="")) in {"0", "observed"}
    flag = next(
        (name for name in table if name in (pick(given, "censored", "flag", "cens"), pick(given, "status"))),
        None,
    )
    flag = flag or next(
        (name for name in reversed(table) if all(text.lower() in _TRUE | _FALSE for text in table[name])),
        None,
    )
    numeric = [name for name in case.numeric_columns() if name != flag]
    if flag is None or not numeric:
        column = next(
            (texts for texts in table.values() if any(text.startswith("<") for text in texts)), None
        )
        if column is None:
            found = measured(case)
            return found, [False] * len(found)
        kept = [text for text in column if text not in MISSING]
        return [float(text.lstrip("< ")) for text in kept], [text.startswith("<") for text in kept]
    value = measured_column(case, aside=flag)
    rows = [i for i, text in enumerate(table[value]) if text not in MISSING]
    below = [(table[flag][i].lower() in _TRUE) != seen for i in rows]
    return [float(table[value][i]) for i in rows], below


def _censored(case: Case) -> dict[str, Any]:
    """Likelihood, regression on order statistics and Kaplan-Meier; one that refuses leaves its keys out."""
    values, below = _flags(case)
    answer: dict[str, Any] = {
        "n": len(values),
        "n_censored": sum(below),
        "percent_censored": 100.0 * sum(below) / len(values),
    }
    helsel: dict[str, Any] = {}
    for name, of in (
        ("mle", censored.lognormal_mle),
        ("ros", censored.regression_on_order_statistics),
        ("km", censored.kaplan_meier),
    ):
        try:
            keys = asdict(of(values, below))
        except StatisticsRefusal as refusal:
            answer |= {"refused": True, "refusal": str(refusal)} if "refusal" not in answer else {}
            continue
        answer |= {name: keys, f"{name}_nada": keys}
        helsel[f"{name}_mean"] = keys["mean"]
    if "refusal" in answer and helsel:
        answer.pop("refused")  # some of the three have an answer
    return answer | {"published_helsel": helsel} | helsel


def _grubbs(case: Case) -> dict[str, Any]:
    """Grubbs' test, two-sided; `side` "max", "min" or "one" looks at that end alone with the one-sided value."""
    values, alpha = measured(case), alpha_of(case.parameters)
    result = outliers.grubbs(values, alpha=alpha)
    side = str(pick(case.parameters, "side", "sides", "alternative", "type", default="two")).lower()
    one = side in {"one", "max", "min", "greater", "less", "one-sided", "upper", "lower", "1"}
    critical = result.critical_one_sided if one else result.critical_two_sided
    return {
        "G": result.g,
        "crit_one_sided": result.critical_one_sided,
        "crit_two_sided": result.critical_two_sided,
        "crit": critical,
        **dict.fromkeys(("p", "p_two_sided"), result.p),
        "p_one_sided": result.p_one_sided,
        "outlier": result.g > critical,
        "value": result.value,
        "index": result.index + 1,
        "n": result.n,
    }


def _esd(case: Case) -> dict[str, Any]:
    given, values = case.parameters, measured(case)
    suspected = int(
        number(
            given,
            "suspected",
            "r",
            "k",
            "max_outliers",
            "kmax",
            "maxols",
            "n_suspected",
            default=min(10, len(values) - 2),
        )
    )
    result = outliers.generalised_esd(values, suspected, alpha=alpha_of(given))
    count = len(result.outliers)
    return {
        **dict.fromkeys(("R", "statistics"), result.statistics),
        **dict.fromkeys(("lambda", "critical", "crit"), result.critical),
        **dict.fromkeys(("n_outliers", "count", "k"), count),
        "outliers": [values[index] for index in result.outliers],
        "order": [values[index] for index in result.order],
        "index": [index + 1 for index in result.outliers],
    }


def _icc(case: Case) -> dict[str, Any]:
    """Ratings in long form (subject, judge and a value) or wide (one column per judge)."""
    table = case.table()
    lower = {name.lower(): name for name in table}
    subject = next(
        (lower[name] for name in (*SUBJECT, "target", "sample", "part", "lot") if name in lower), None
    )
    judge = next(
        (
            lower[name]
            for name in ("judge", "rater", "operator", "observer", "lab", "method")
            if name in lower
        ),
        None,
    )
    if (
        subject is None
        and judge is None
        and len(table) == 3
        and len(set(next(iter(table.values())))) < len(next(iter(table.values())))
    ):
        subject, judge = list(table)[:2]
    if judge is None or subject is None:
        wide = [name for name in case.numeric_columns() if name != subject]
        nan = float("nan")
        ratings = [
            [nan if t in MISSING else float(t) for t in row]
            for row in zip(*(table[n] for n in wide), strict=True)
        ]
    else:
        value = next(name for name in case.numeric_columns() if name not in {subject, judge})
        cells = {
            (who, rater): float(text)
            for who, rater, text in zip(table[subject], table[judge], table[value], strict=True)
            if text not in MISSING
        }
        subjects, judges = list(dict.fromkeys(table[subject])), list(dict.fromkeys(table[judge]))
        ratings = [[cells.get((who, rater), float("nan")) for rater in judges] for who in subjects]
    answer: dict[str, Any] = {}
    for level in asked_levels(case, 0.95):
        forms = agreement.intraclass_correlations(ratings, level=level)
        for name, form in forms.items():
            ends = [form.ci_low, form.ci_high]
            answer |= {name: form.value, f"{name}_ci{100 * level:g}": ends}
            answer |= {f"ci{100 * level:g}": {**answer.get(f"ci{100 * level:g}", {}), name: ends}}
    return {**answer, "published": [answer[name] for name in _PRINTED_ICC]}


_PRINTED_ICC = ("ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k")


def _two_methods(case: Case) -> tuple[list[float], list[float]]:
    """(first, second) method's results of the same samples: as named, else the last two columns of numbers."""
    numeric = [name for name in case.numeric_columns() if name.lower() not in (*SUBJECT, *ROW, "sample")]
    if group_and_value(case)[0] is not None and len(numeric) < 3:
        return two_groups(case, case.parameters, paired=True)[::-1]
    if len(numeric) < 2:
        raise StatisticsRefusal(f"Case {case.id}: two columns of numbers are needed.")
    named = pick(case.parameters, "x", "first", "reference"), pick(case.parameters, "y", "second", "test")
    first, second = named if None not in named and set(named) <= set(numeric) else numeric[-2:]
    table = complete_rows(case, [first, second])
    return [float(text) for text in table[first]], [float(text) for text in table[second]]


def _bland_altman(case: Case) -> dict[str, Any]:
    """Limits of agreement of second - first, or of first - second where the case's `order` says so."""
    sides = _two_methods(case)
    order = str(pick(case.parameters, "order", default="")).replace(" ", "").lower()
    names = [name.lower() for name in case.numeric_columns()[-2:]]
    if order in {"first-second", "x-y", "-".join(names), "method1-method2"}:
        sides = sides[1], sides[0]
    method = str(pick(case.parameters, "method", "ci_method", default="exact"))
    level = fraction(number(case.parameters, *LEVEL, default=0.95))
    result = agreement.bland_altman(
        *sides, method="exact" if method == "exact" else "approximate", level=level
    )
    return {
        **asdict(result), "loa_lower": result.low, "loa_upper": result.high, "loa": [result.low, result.high],
        "mean_diff": result.bias, "diff": result.bias, "sd_diff": result.sd,
        "loa_lower_ci": result.low_ci, "loa_upper_ci": result.high_ci,
    }  # fmt: skip


def _lin(case: Case) -> dict[str, Any]:
    sides = _two_methods(case)
    answer: dict[str, Any] = {}
    for level in asked_levels(case, fraction(number(case.parameters, *LEVEL, default=0.95))):
        result = agreement.concordance(*sides, level=level)
        answer |= interval_keys(level, result.ci_low, result.ci_high)
        answer |= {**asdict(result), **dict.fromkeys(("ccc", "rho_c", "estimate"), result.value)}
    return answer | {"r": answer["pearson"], "C_b": answer["accuracy"], "bias_correction": answer["accuracy"]}


def _line(case: Case, draw: Callable[..., method_lines.MethodLine]) -> dict[str, Any]:
    sides = _two_methods(case)
    answer: dict[str, Any] = {}
    for level in asked_levels(case, fraction(number(case.parameters, *LEVEL, default=0.95))):
        found = draw(*sides, level=level)
        answer |= asdict(found)
        for name, ends in (("slope", found.slope_ci), ("intercept", found.intercept_ci)):
            answer |= {f"{name}_{key}": value for key, value in interval_keys(level, *ends).items()}
            answer |= {f"ci{100 * level:g}_{name}": list(ends)}
            answer |= {f"{name}_lower": ends[0], f"{name}_upper": ends[1]}
    return answer | {"se_slope": answer["slope_se"], "se_intercept": answer["intercept_se"]}


def _deming(case: Case) -> dict[str, Any]:
    """`error_variance_ratio` is var(second) / var(first); `lambda` its inverse, as R's deming states it."""
    inverse = pick(case.parameters, "lambda", "error_ratio")
    ratio = number(case.parameters, "error_variance_ratio", "ratio", default=1.0)
    ratio = ratio if inverse is None else 1.0 / float(inverse)
    return _line(case, partial(method_lines.deming, error_variance_ratio=ratio))


def _passing_bablok(case: Case) -> dict[str, Any]:
    return _line(case, method_lines.passing_bablok)


def _gauge(case: Case) -> dict[str, Any]:
    """Crossed or nested gauge study: columns of part, operator and result."""
    table = case.table()
    lower = {name.lower(): name for name in table}
    part = next(
        (lower[name] for name in ("part", "parts", "sample", "lot", "batch", "prototype") if name in lower),
        None,
    )
    who = next(
        (lower[name] for name in ("operator", "appraiser", "analyst", "lab", "site") if name in lower), None
    )
    if part is None or who is None:
        raise StatisticsRefusal(f"Case {case.id} names no column of parts or of operators.")
    value = next(
        name
        for name in case.numeric_columns()
        if name not in {part, who} and name.lower() not in {"rep", "replicate", "run", "trial"}
    )
    given = case.parameters
    level = fraction(number(given, *LEVEL, default=0.95))
    pool, width = pick(given, "alpha_interaction", "pool_above", "alphaLim"), pick(given, "tolerance")
    found = gauge(
        case.numbers(value), table[part], table[who],
        design="nested" if "nested" in str(pick(given, "design", default="")) else "crossed",
        tolerance=None if width is None else float(width), pool_above=None if pool is None else float(pool),
        level=level,
    )  # fmt: skip
    total = found.components["total"].variance
    rows = {
        name: {
            **dict.fromkeys(("variance", "VC", "var"), c.variance), "sd": c.variance**0.5,
            **dict.fromkeys(("percent_study", "percent_of_sd", "study_var_percent"), c.percent_of_sd),
            **dict.fromkeys(("percent_contribution", "percent"), 100.0 * c.variance / total),
            "percent_tolerance": c.percent_of_tolerance, f"ci{100 * level:g}": [c.low, c.high],
        }
        for name, c in found.components.items()
    }  # fmt: skip
    named = {"grr": "gauge", "total_gauge": "gauge", "part_to_part": "part", "operator_part": "interaction"}
    rows |= {other: rows[name] for other, name in named.items() if name in rows}
    variances = {f"var_{name}": row["variance"] for name, row in rows.items()}
    return {
        **rows, **variances, "components": rows, "var": {name: row["variance"] for name, row in rows.items()},
        **dict.fromkeys(("distinct", "ndc"), found.distinct), "p_interaction": found.p_interaction,
    }  # fmt: skip


def _multiplicity(case: Case) -> dict[str, Any]:
    listed = pick(case.parameters, "p", "p_values", "pvalues")
    values = [float(p) for p in listed] if isinstance(listed, list) else measured(case)
    answer: dict[str, Any] = {
        str(name): multiplicity.adjust(values, name).tolist() for name in get_args(multiplicity.Adjustment)
    }
    answer |= {"BH": answer["bh"], "BY": answer["by"], "fdr": answer["bh"]}
    one = plain(str(pick(case.parameters, "method", "adjustment", default="")))
    named = next((found for name, found in answer.items() if plain(name) == one), None)
    if named is not None:
        answer |= dict.fromkeys(("adjusted", "p_adjusted", "p_adj"), named)
    level = alpha_of(case.parameters)
    for name in list(answer):
        rejected = [p <= level for p in answer[name]]
        answer |= {
            f"{name}_reject": rejected,
            f"n_rejected_{name}": sum(rejected),
            f"{name}_n_reject": sum(rejected),
        }
    return answer


def _hotelling_keys(result: multivariate.Hotelling) -> dict[str, Any]:
    return {
        "T2": result.t2,
        "F": result.f,
        "df": [result.df1, result.df2],
        "df1": result.df1,
        "df2": result.df2,
        "p": result.p,
        **dict.fromkeys(("distance", "mahalanobis", "D"), result.distance),
        **dict.fromkeys(("D2", "distance_squared"), result.distance**2),
        **{f"T2_crit_{level}": result.critical(level / 100) for level in (90, 95, 99)},
    }


def _attributes(case: Case, by: str | None) -> list[str]:
    """The columns that are attributes: as named, else every column of numbers but ids and the group."""
    named = pick(case.parameters, "columns", "variables", "attributes")
    if isinstance(named, list) and set(named) <= set(case.table()):
        return [str(name) for name in named]
    return [name for name in case.numeric_columns() if name != by and name.lower() not in (*SUBJECT, *ROW)]


def _hotelling_one_sample(case: Case) -> dict[str, Any]:
    names = _attributes(case, None)
    table = complete_rows(case, names)
    rows = [[float(text) for text in row] for row in zip(*(table[name] for name in names), strict=True)]
    target = pick(case.parameters, "mu0", "mu", "target", "mean")
    if isinstance(target, dict):
        target = [target[name] for name in names]
    return _hotelling_keys(multivariate.one_sample(rows, [0.0] * len(names) if target is None else target))


def _hotelling_two_sample(case: Case) -> dict[str, Any]:
    by = group_and_value(case)[0]
    if by is None:
        raise StatisticsRefusal(f"Case {case.id} has no column that names groups.")
    names = _attributes(case, by)
    table = complete_rows(case, [by, *names])
    test, reference = ordered_pair(levels_of(table[by]), case.parameters, by)
    groups = [
        [[float(table[name][i]) for name in names] for i, label in enumerate(table[by]) if label == wanted]
        for wanted in (reference, test)
    ]
    found = multivariate.two_sample(*groups)
    means = [[sum(column) / len(column) for column in zip(*group, strict=True)] for group in groups]
    difference = {name: new - old for name, old, new in zip(names, *means, strict=True)}
    return {**_hotelling_keys(found), "diff": difference, "n": [len(groups[1]), len(groups[0])]}


def _hotelling(case: Case) -> dict[str, Any]:
    """One sample against a target, or two groups where the table names them and no target is given."""
    target = pick(case.parameters, "mu0", "mu", "target")
    two = target is None and bool(case.tables) and group_and_value(case)[0] is not None
    return _hotelling_two_sample(case) if two else _hotelling_one_sample(case)


def _univariate(case: Case) -> dict[str, Any]:
    columns = case.table()
    column = next((n for n in columns if n == pick(case.parameters, "value", "column")), next(iter(columns)))
    texts = [text for text in columns[column] if text not in MISSING]
    centre, values = describe.centred(texts)
    keys = asdict(describe.summary(values, centre=centre))
    return {"certified": keys, **keys}


def _anova(case: Case) -> dict[str, Any]:
    """One-way ANOVA of a table of group and response; decimals are centred as printed."""
    table = case.table()
    by, value = group_and_value(case)
    if by is None:
        by, value = list(table)[:2]
    kept = complete_rows(case, [by, value])
    _, values = describe.centred(kept[value])
    groups: dict[str, list[float]] = {}
    for label, number_ in zip(kept[by], values, strict=True):
        groups.setdefault(label, []).append(float(number_))
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
    "gauge_rr": _gauge,
    "multiplicity": _multiplicity,
    "hotelling_one_sample": _hotelling,
    "hotelling_two_sample": _hotelling_two_sample,
    "univariate_summary": _univariate,
    "anova_oneway": _anova,
}
