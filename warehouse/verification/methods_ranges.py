"""Adapters from reference cases to proportions, spread and ranges.

Belongs here: what methods_means.py says of itself, for these statistics. Registered through methods_means.py.
"""

from __future__ import annotations

import re
from typing import Any

from warehouse.statistics import proportions, tolerance, variability
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
        "diff": proportions.newcombe(test, reference).estimate,
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
    columns, numeric = case.table(table), case.numeric_columns(table)
    names = list(columns)
    known = [name for name in ("group", "treatment", "site", "batch") if name in columns]
    by = known[0] if known else next(name for name in names if name not in numeric)
    subjects = {"ID", "id", "subject", "donor", by}
    value = next(name for name in names if name not in subjects and name in numeric)
    return list(case.groups(value, by, table).values())


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
            side = _side(given.get("side", "two-sided"))
            limits = tolerance.normal_tolerance(summary, given["P"], given["conf"], side=side)
            answer |= {"mean": summary.mean, "sd": summary.sd, "k": limits.k}
            answer |= {"lower": limits.low, "upper": limits.high, "ltl": limits.low, "utl": limits.high}
    return answer


def _side(name: str) -> tolerance.Side:
    """A case's word for the side: upper, lower, or any word for both."""
    return "upper" if name == "upper" else "lower" if name == "lower" else "two-sided"


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
    side = _side(given.get("side", "upper"))
    limits = tolerance.lognormal_tolerance(values, given["P"], given["conf"], side=side)
    logs = summarise(values, "log")
    answer = {"n": logs.n, "log_mean": logs.mean, "log_sd": logs.sd, "k": limits.k}
    answer |= {"utl": limits.high, "ltl": limits.low, "published_epa": limits.high}
    return answer


METHODS: dict[str, Adapter] = {
    "prop_equivalence": _proportions,
    "prop_equivalence_paired": _paired_proportions,
    "variance": _variance,
    "tolerance_normal": _tolerance_normal,
    "tolerance_lognormal": _tolerance_lognormal,
}
