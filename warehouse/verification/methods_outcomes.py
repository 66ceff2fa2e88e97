"""Adapters from reference cases of outcome methods to our functions: survival and logistic regression.

Belongs here: reading a case's columns, groups and model formula, and naming results as its `expected` names
them. Does not belong here: a statistic, or knowledge of any single case.

From `expected` only inputs kept in key names are read: the times of `surv_at_90_180`, the covariates of a
Cox fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import xlogy
from scipy.stats import norm

from warehouse.statistics import cox, logistic, survival
from warehouse.statistics.checked import BoolArray, FloatArray, IntArray
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification.case_columns import complete_rows, is_number, levels_of, role_column
from warehouse.verification.case_parameters import LEVEL, asked_levels, fraction, number, pick
from warehouse.verification.run import MISSING, Case

_TIME = ("time", "days", "weeks", "months", "t", "futime", "duration")
_STATUS = ("status", "cens", "event", "delta", "died", "death", "d", "fustat")
_GROUP = ("group", "treat", "treatment", "trt", "arm", "rx", "sex", "site")


def _regressor(case: Case, name: str) -> tuple[FloatArray, BoolArray]:
    """A column as numbers, or the 0/1 indicator that R names column + level; and which rows are missing."""
    table = case.table()
    if name in table:
        texts = table[name]
        missing = np.array([text in MISSING for text in texts])
        return np.array([0.0 if text in MISSING else float(text) for text in texts]), missing
    for column in sorted(table, key=len, reverse=True):
        plain = re.sub(r"^(?:factor|as\.factor)\((.*)\)", r"\1", name)
        level = plain.removeprefix(column)
        if plain.startswith(column) and level in table[column]:
            texts = table[column]
            return np.array([float(text == level) for text in texts]), np.array([t in MISSING for t in texts])
    raise StatisticsRefusal(f"Case {case.id} has no column for the covariate {name!r}.")


def _whole(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value


def _curves(
    case: Case, data: survival.Followed, group: str, labels: list[str], order: list[str]
) -> dict[str, Any]:
    """Kaplan-Meier of each group: medians with both kinds of bounds, survival at the times that keys ask
    for.
    """
    level = float(case.parameters.get("conf", 0.95))
    lists = ("n", "events", "median", f"median_lcl{100 * level:g}_log", f"median_ucl{100 * level:g}_log")
    out: dict[str, Any] = {**{name: [] for name in lists}, "km_median": {}, "loglog": {"median": []}}
    for label in order:
        mine = np.array([text == label for text in labels])
        out["n"].append(int(mine.sum()))
        out["events"].append(int((data.ends[mine] > 0).sum()))
        part = survival.Followed(data.times[mine], data.ends[mine], data.entries[mine], data.causes)
        curve = survival.kaplan_meier(part, "log", level)
        middle, low, high = (_whole(value) for value in curve.quantile())
        out["median"].append(middle)
        out[f"median_lcl{100 * level:g}_log"].append(low)
        out[f"median_ucl{100 * level:g}_log"].append(high)
        stable = survival.kaplan_meier(part, "log-log", level)
        out["loglog"]["median"].append([_whole(value) for value in stable.quantile()])
        out["km_median"][f"{group}={label}"] = middle
        for key in case.expected:
            if key.startswith("surv_at_"):
                asked = [float(when) for when in key.removeprefix("surv_at_").split("_")]
                chance, error = curve.at(asked)
                row = out.setdefault(key, {})
                for name in (f"{group}{label}", f"{group}={label}"):
                    row[name], row[f"se_{name}"] = chance.tolist(), error.tolist()
            if key == "rmst" and "tau" in case.parameters:
                area = survival.restricted_mean(part, float(case.parameters["tau"]), level)
                out.setdefault(key, {})[f"{group}={label}"] = area.mean
                out[key][f"se_{group}={label}"] = area.standard_error
    return out


def _tests(
    data: survival.Followed, labels: list[str], order: list[str], strata: list[str] | None
) -> dict[str, Any]:
    plain = survival.log_rank(data, labels, 0.0, strata)
    early = survival.log_rank(data, labels, 1.0, strata)
    at = [plain.groups.index(label) for label in order]
    return {
        "logrank_chisq": plain.chi_square,
        "logrank_p": plain.p,
        "logrank_df": plain.degrees,
        "obs": [plain.observed[i] for i in at],
        "exp": [plain.expected[i] for i in at],
        "peto_peto_chisq": early.chi_square,
        "peto_peto_p": early.p,
    }


def _cox(case: Case, times: FloatArray, ends: list[int], names: list[str]) -> dict[str, Any]:
    columns = [_regressor(case, name) for name in names]
    complete = ~np.any([missing for _, missing in columns], axis=0)
    x = np.column_stack([values for values, _ in columns])[complete]
    data = survival.followed(times[complete], np.array(ends)[complete])
    out: dict[str, Any] = {}
    for ties in ("efron", "breslow"):
        fit = cox.cox(data, x, names, ties="efron" if ties == "efron" else "breslow")
        coefficients = {term.name: term.coefficient for term in fit.terms}
        out[f"cox_{ties}"] = {
            "coef": coefficients,
            "se": [term.standard_error for term in fit.terms],
            "hr": {term.name: term.hazard_ratio for term in fit.terms},
            "z": {term.name: term.coefficient / term.standard_error for term in fit.terms},
            "p": {
                term.name: 2.0 * float(norm.sf(abs(term.coefficient / term.standard_error)))
                for term in fit.terms
            },
            "loglik": fit.log_likelihood,
            "loglik_null": fit.log_likelihood_null,
            "lr_chisq": fit.likelihood_ratio,
            "wald_chisq": fit.wald,
            "score_chisq": fit.score,
            "concordance": fit.concordance,
            "n": fit.n,
            "events": fit.events,
        }
        out[f"cox_{ties}_coef"] = coefficients
        if ties == "efron":  # R's default
            out |= {"cox": out["cox_efron"], "cox_coef": coefficients}
        out[f"cox_{ties}_se"] = [term.standard_error for term in fit.terms]
    return out


def _ends(texts: list[str], event: object) -> list[int]:
    """1 where the status says the event happened: as named, else the larger of two numbers, as R reads them."""
    if event is None:
        words = {"TRUE": 1.0, "True": 1.0, "FALSE": 0.0, "False": 0.0}
        values = [words[text] if text in words else float(text) for text in texts]
        top = max([1.0, *values])
        return [int(value == top) for value in values]
    if is_number(str(event)):
        return [int(is_number(text) and float(text) == float(str(event))) for text in texts]
    return [int(text == str(event)) for text in texts]


def survival_case(case: Case) -> dict[str, Any]:
    """Kaplan-Meier, group tests and Cox. Parameters: time, status, status_event, group, strata, covariates,
    conf.
    """
    time, status = role_column(case, "time", _TIME), role_column(case, "status", _STATUS)
    if time is None or status is None:
        raise StatisticsRefusal(f"Case {case.id} names no column of times or of ends.")
    table = complete_rows(case, [time, status])
    case = replace(case, tables={"data": table})
    times = np.array([float(text) for text in table[time]])
    ends = _ends(table[status], pick(case.parameters, "status_event", "event"))
    data = survival.followed(times, ends)
    group = role_column(case, "group", _GROUP) or role_column(case, "strata_by", _GROUP)
    labels = table[group] if group is not None else ["all"] * times.size
    order = levels_of(labels)
    out = _curves(case, data, group or "", labels, order)
    if len(order) > 1:
        stratum = case.parameters.get("strata")
        out |= _tests(data, labels, order, case.table().get(stratum) if isinstance(stratum, str) else None)
    parts = [case.expected.get(name, {}) for name in ("cox_efron", "cox_breslow", "cox")]
    found = [part.get("coef") for part in parts if isinstance(part, dict)]
    found += [case.expected.get(f"{name}_coef") for name in ("cox_efron", "cox_breslow", "cox")]
    named = next((part for part in found if isinstance(part, dict)), {})
    names = pick(case.parameters, "covariates") or list(named)
    formula = str(pick(case.parameters, "cox", "formula", default=""))
    if not names and "+" in formula and "~" in formula:
        names = [term.strip() for term in formula.split("~")[1].split("+")]
    if names:
        out |= _cox(case, times, ends, [str(name) for name in names])
    return out


def _terms(case: Case, right: str) -> list[tuple[str, FloatArray]]:
    """Columns of a formula's right side: numbers, factor(x) and words as indicators, log(x), a:b and a*b."""
    found: list[tuple[str, FloatArray]] = []
    pieces: list[str] = []
    for term in (part.strip() for part in right.split("+")):
        factors = [factor.strip() for factor in term.split("*")]
        pieces += [*factors, ":".join(factors)] if len(factors) > 1 else factors
    for piece in sorted(dict.fromkeys(pieces), key=lambda text: text.count(":")):
        product = [("", np.ones(len(next(iter(case.table().values())))))]
        for factor in piece.split(":"):
            columns = _main_effect(case, factor.strip())
            product = [
                (f"{name}:{other}" if name else other, values * more)
                for other, more in columns
                for name, values in product
            ]
        found += product
    return found


def _main_effect(case: Case, term: str) -> list[tuple[str, FloatArray]]:
    if term == "1":
        return []
    call = re.fullmatch(r"(factor|as\.factor|log|sqrt)\((\w[\w.]*)\)", term)
    column = call[2] if call else term
    if column not in case.table():
        raise StatisticsRefusal(f"Case {case.id}: the term {term!r} of its formula is not understood.")
    texts = case.table()[column]
    if (call and "factor" in call[1]) or not all(is_number(text) for text in texts if text not in MISSING):
        levels = levels_of(texts)[1:]
        return [(f"{term}{level}", np.array([float(text == level) for text in texts])) for level in levels]
    values = np.array([np.nan if text in MISSING else float(text) for text in texts])
    if call:
        values = np.log(values) if call[1] == "log" else np.sqrt(values)
    return [(term, values)]


def _outcome(case: Case, left: str) -> tuple[FloatArray, BoolArray, IntArray]:
    """(0/1 outcome, missing, row of the table it comes from) of a formula's left side.

    Words count the later of two levels as the event, as R does; cbind(events, others) gives one outcome for
    each unit counted.
    """
    table = case.table()
    counted = re.fullmatch(r"cbind\((.*)\)", left)
    if counted:
        return _units(case, *(part.strip() for part in counted[1].split(",", 1)))
    rows = np.arange(len(next(iter(table.values()))))
    plain = re.sub(r"^(?:factor|as\.factor|I)\((.*)\)", r"\1", left)
    level = re.fullmatch(r"(\w[\w.]*)\s*==\s*[\"']?([^\"']*)[\"']?", plain)
    column = level[1] if level else plain
    if column in table and (
        level or not all(is_number(text) for text in table[column] if text not in MISSING)
    ):
        event = level[2] if level else levels_of(table[column])[-1]
        missing = np.array([text in MISSING for text in table[column]])
        return np.array([float(text == event) for text in table[column]]), missing, rows
    return (*_regressor(case, plain), rows)


def _units(case: Case, first: str, second: str) -> tuple[FloatArray, BoolArray, IntArray]:
    """One outcome for each unit of a table of counts; `second` may be "total - first"."""
    table = case.table()
    events = np.array([int(float(text)) for text in table[first]])
    whole = re.fullmatch(r"(\w[\w.]*)\s*-\s*(\w[\w.]*)", second)
    others = np.array([int(float(text)) for text in table[whole[1] if whole else second]])
    others = others - np.array([int(float(text)) for text in table[whole[2]]]) if whole else others
    rows = np.repeat(np.arange(events.size), events + others)
    outcome = np.concatenate([np.repeat([1.0, 0.0], pair) for pair in zip(events, others, strict=True)])
    return outcome, np.zeros(rows.size, dtype=np.bool_), rows


def _saturated(outcome: FloatArray, rows: IntArray) -> float:
    """-2 log likelihood when every row of counts has its own proportion: what R's deviance is counted from."""
    n = np.bincount(rows).astype(np.float64)
    k = np.bincount(rows, outcome)
    return float(-2.0 * (xlogy(k, k) + xlogy(n - k, n - k) - xlogy(n, n)).sum())


def logistic_case(case: Case) -> dict[str, Any]:
    """Logistic regression by `formula`. Parameters: formula, conf, firth. Rows with a missing value are
    left out.
    """
    given = case.parameters
    left, right = (side.strip() for side in str(pick(given, "formula", "model")).split("~"))
    outcome, missing, rows = _outcome(case, left)
    terms = _terms(case, right)
    design = np.column_stack([values for _, values in terms])[rows]
    complete = ~missing & ~np.isnan(design).any(axis=1)
    for column in {name for name in case.table() if re.search(rf"\b{re.escape(name)}\b", right)}:
        complete &= np.array([text not in MISSING for text in case.table()[column]])[rows]
    grouped = rows.size != np.unique(rows).size
    aside = _saturated(outcome[complete], rows[complete]) if grouped else 0.0
    firth = bool(pick(given, "firth", default="firth" in case.method.lower()))
    usual = fraction(number(given, *LEVEL, default=0.95))
    out: dict[str, Any] = {}
    for level in asked_levels(case, usual):
        fit = logistic.logistic(
            outcome[complete],
            design[complete],
            [name for name, _ in terms],
            firth=firth,
            confidence=level,
            arithmetic="as R",
        )
        z = float(norm.ppf(0.5 + level / 2.0))
        name = f"ci{100 * level:g}"
        profile = {term.name: [term.lower, term.upper] for term in fit.terms}
        wald = {
            term.name: [term.coefficient + sign * z * term.standard_error for sign in (-1.0, 1.0)]
            for term in fit.terms
        }
        out |= {f"profile_{name}": profile, f"wald_{name}": wald, name: profile}
        for kind, rows_of in (("profile", profile), ("wald", wald)):
            odds = {
                term: [None if end is None else float(np.exp(end)) for end in ends]
                for term, ends in rows_of.items()
            }
            out |= {f"or_{kind}_{name}": odds}
    return out | {
        "coef": {term.name: term.coefficient for term in fit.terms},
        "se": {term.name: term.standard_error for term in fit.terms},
        "z": {term.name: term.coefficient / term.standard_error for term in fit.terms},
        "wald_p": {term.name: term.wald_p for term in fit.terms},
        "p": {term.name: term.wald_p for term in fit.terms},
        "deviance": fit.deviance - aside,
        "null_deviance": fit.null_deviance - aside,
        **({} if grouped else {"loglik": -fit.deviance / 2.0, "aic": fit.deviance + 2.0 * (fit.degrees + 1)}),
        "n": fit.n,
        "events": fit.events,
        "lr_chisq": fit.likelihood_ratio,
        "lr_df": fit.degrees,
        "lr_p": fit.likelihood_ratio_p,
        "or": {term.name: term.odds_ratio for term in fit.terms},
        **{f"or_{term.name}": term.odds_ratio for term in fit.terms},
    }


METHODS: dict[str, Callable[[Case], dict[str, Any]]] = {
    "survival": survival_case,
    "logistic": logistic_case,
}
