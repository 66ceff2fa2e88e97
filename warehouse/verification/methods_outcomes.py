"""Adapters from reference cases of outcome methods to our functions: survival and logistic regression.

Belongs here: reading a case's columns, groups and model formula, and naming results as its `expected` names
them. Does not belong here: a statistic, or knowledge of any single case.

From `expected` only inputs kept in key names are read: the times of `surv_at_90_180`, the covariates of a
Cox fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from warehouse.statistics import cox, logistic, survival
from warehouse.statistics.checked import BoolArray, FloatArray
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification.case_columns import is_number, role_column
from warehouse.verification.run import Case

_TIME = ("time", "days", "weeks", "months", "t", "futime", "duration")
_STATUS = ("status", "cens", "event", "delta", "died", "death", "d", "fustat")
_GROUP = ("group", "treat", "treatment", "trt", "arm", "rx", "sex", "site")
_MISSING = {"", "NA"}


def _levels(texts: list[str]) -> list[str]:
    """Distinct labels as R orders a factor's: numbers by value, words by alphabet without case."""
    distinct = sorted(set(texts) - _MISSING)
    if all(is_number(text) for text in distinct):
        return sorted(distinct, key=float)
    return sorted(distinct, key=lambda text: (text.casefold(), text))


def _regressor(case: Case, name: str) -> tuple[FloatArray, BoolArray]:
    """A column as numbers, or the 0/1 indicator that R names column + level; and which rows are missing."""
    table = case.table()
    if name in table:
        texts = table[name]
        missing = np.array([text in _MISSING for text in texts])
        return np.array([0.0 if text in _MISSING else float(text) for text in texts]), missing
    for column in sorted(table, key=len, reverse=True):
        plain = re.sub(r"^(?:factor|as\.factor)\((.*)\)", r"\1", name)
        level = plain.removeprefix(column)
        if plain.startswith(column) and level in table[column]:
            texts = table[column]
            return np.array([float(text == level) for text in texts]), np.array(
                [t in _MISSING for t in texts]
            )
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
        out[f"cox_{ties}_se"] = [term.standard_error for term in fit.terms]
    return out


def survival_case(case: Case) -> dict[str, Any]:
    """Kaplan-Meier, group tests and Cox. Parameters: time, status, status_event, group, strata, covariates,
    conf.
    """
    time, status = role_column(case, "time", _TIME), role_column(case, "status", _STATUS)
    if time is None or status is None:
        raise StatisticsRefusal(f"Case {case.id} names no column of times or of ends.")
    times = np.array(case.numbers(time))
    event = float(case.parameters.get("status_event", 1))
    ends = [int(value == event) for value in case.numbers(status)]
    data = survival.followed(times, ends)
    group = role_column(case, "group", _GROUP)
    labels = case.table()[group] if group is not None else ["all"] * times.size
    order = _levels(labels)
    out = _curves(case, data, group or "", labels, order)
    if len(order) > 1:
        stratum = case.parameters.get("strata")
        out |= _tests(data, labels, order, case.table().get(stratum) if isinstance(stratum, str) else None)
    wanted = case.expected.get("cox_efron", {})
    named = wanted.get("coef") if isinstance(wanted, dict) else None
    named = named or case.expected.get("cox_efron_coef") or case.expected.get("cox_breslow_coef")
    names = case.parameters.get("covariates") or (list(named) if isinstance(named, dict) else [])
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
    if (call and "factor" in call[1]) or not all(is_number(text) for text in texts if text not in _MISSING):
        levels = _levels(texts)[1:]
        return [(f"{term}{level}", np.array([float(text == level) for text in texts])) for level in levels]
    values = np.array([np.nan if text in _MISSING else float(text) for text in texts])
    if call:
        values = np.log(values) if call[1] == "log" else np.sqrt(values)
    return [(term, values)]


def logistic_case(case: Case) -> dict[str, Any]:
    """Logistic regression by `formula`. Parameters: formula, conf, firth. Rows with a missing value are
    left out.
    """
    left, right = (side.strip() for side in str(case.parameters["formula"]).split("~"))
    outcome, missing = _regressor(case, left)
    terms = _terms(case, right)
    design = np.column_stack([values for _, values in terms])
    complete = ~missing & ~np.isnan(design).any(axis=1)
    for column in {name for name in case.table() if re.search(rf"\b{re.escape(name)}\b", right)}:
        complete &= np.array([text not in _MISSING for text in case.table()[column]])
    level = float(case.parameters.get("conf", 0.95))
    fit = logistic.logistic(
        outcome[complete],
        design[complete],
        [name for name, _ in terms],
        firth=bool(case.parameters.get("firth", False)),
        confidence=level,
        arithmetic="as R",
    )
    return {
        "coef": {term.name: term.coefficient for term in fit.terms},
        "se": {term.name: term.standard_error for term in fit.terms},
        "wald_p": {term.name: term.wald_p for term in fit.terms},
        f"profile_ci{100 * level:g}": {term.name: [term.lower, term.upper] for term in fit.terms},
        "deviance": fit.deviance,
        "null_deviance": fit.null_deviance,
        "loglik": -fit.deviance / 2.0,
        "aic": fit.deviance + 2.0 * (fit.degrees + 1),
        "lr_chisq": fit.likelihood_ratio,
        "lr_df": fit.degrees,
        "lr_p": fit.likelihood_ratio_p,
        **{f"or_{term.name}": term.odds_ratio for term in fit.terms},
    }


METHODS: dict[str, Callable[[Case], dict[str, Any]]] = {
    "survival": survival_case,
    "logistic": logistic_case,
}
