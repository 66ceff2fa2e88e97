"""Adapters from reference cases of charts for several attributes, and of the rules for points on any chart.

Belongs here: what methods_charts.py says of itself, for T2, MEWMA and the numbered rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from warehouse.statistics import charts_multivariate
from warehouse.statistics.chart_rules import Rule, rule_set, run_of
from warehouse.statistics.charts import individuals_baseline
from warehouse.statistics.checked import FloatArray
from warehouse.statistics.mspc import t2_limit
from warehouse.verification.case_columns import ROW, as_written, chosen_rows, positions, value_column
from warehouse.verification.case_parameters import alpha_of, number, pick
from warehouse.verification.run import Case

_FAMILIES = {"nelson": "nelson", "we": "western electric", "western_electric": "western electric"}


def rule_points(case: Case, z: FloatArray) -> dict[str, Any]:
    """Where standardised points fail the rules that keys name: `nelson_2`, `we_rule_4`, `run7_violations`."""
    out: dict[str, Any] = {}
    for key in case.expected:
        numbered = re.fullmatch(r"(nelson|we|western_electric)_?(?:rule)?_?(\d)", key.lower())
        run = re.fullmatch(r"(?:qcc_)?run_?(\d+)_violations", key.lower())
        if numbered:
            family = _FAMILIES[numbered[1]]
            rule: Rule = rule_set(family, (int(numbered[2]),))[0]  # type: ignore[arg-type] # one of the two families
            out[key] = as_written(case, key, positions(np.flatnonzero(rule.test(z))))
        elif run:
            out[key] = as_written(case, key, positions(np.flatnonzero(run_of(z, int(run[1])))))
    return out


def rules_of_points(case: Case) -> dict[str, Any]:
    """The rules on a series by itself; centre and sigma from parameters, else from its moving ranges."""
    values = np.array(case.numbers(value_column(case)))
    given = case.parameters
    centre, sigma = pick(given, "center", "centre", "mean", "target"), pick(given, "sigma", "sd", "s")
    own = None if None not in (centre, sigma) else individuals_baseline(values)
    at = number(given, "center", "centre", "mean", "target", default=own.centre if own else None)
    spread = number(given, "sigma", "sd", "s", default=own.sigma if own else None)
    z = (values - at) / spread
    out = rule_points(case, z)
    for name, family in (("nelson", "nelson"), ("western_electric", "western electric")):
        rules = rule_set(family)  # type: ignore[arg-type] # one of the two families
        out[name] = {str(rule.number): positions(np.flatnonzero(rule.test(z))) for rule in rules}
    return {**out, "center": at, "sigma": spread, "z": z.tolist()}


def _rows(case: Case) -> FloatArray:
    named = pick(case.parameters, "columns", "variables")
    usual = [
        name for name in case.numeric_columns() if name.lower() not in (*ROW, "sample", "trial", "phase")
    ]
    return np.array([case.numbers(name) for name in (named if isinstance(named, list) else usual)]).T


def chart_t2(case: Case) -> dict[str, Any]:
    """T2 chart of single rows. Parameters: phase1 (phase I alone when absent), alpha or confidence, covariance."""
    rows = _rows(case)
    alpha = alpha_of(case.parameters, 0.0027) if "alpha" in case.parameters else 0.0027
    confidence = pick(case.parameters, "confidence", "confidence.level", "level")
    alpha = alpha if confidence is None else 1.0 - float(confidence)
    chosen = chosen_rows(case, "phase1")
    successive = "success" in str(pick(case.parameters, "covariance", default=""))
    base = charts_multivariate.multivariate_baseline(
        rows[chosen], "successive differences" if successive else "all rows"
    )
    seen = charts_multivariate.hotelling_chart(rows, base, alpha)
    first = t2_limit(base.n, base.mean.size, "phase I beta", alpha)
    second = t2_limit(base.n, base.mean.size, "phase II F", alpha)
    limit = np.where(chosen, first, second)
    return {
        **dict.fromkeys(("T2", "t2", "statistics"), seen.t2.tolist()),
        "center": base.mean.tolist(),
        "cov": base.covariance.tolist(),
        **dict.fromkeys(("ucl", "limit", "UCL"), first if bool(chosen.all()) else second),
        **dict.fromkeys(("ucl_phase1", "limit_phase1"), first),
        **dict.fromkeys(("ucl_phase2", "limit_phase2"), second),
        "beyond": as_written(case, "beyond", positions(np.flatnonzero(seen.t2 > limit))),
    }


def chart_mewma(case: Case) -> dict[str, Any]:
    """MEWMA. Parameters: lambda, in-control run length, phase1; the mean and covariance are the baseline's."""
    rows, given = _rows(case), case.parameters
    base = charts_multivariate.multivariate_baseline(rows[chosen_rows(case, "phase1")])
    length = number(given, "in_control_arl", "arl0", "arl", default=370.4)
    chart = charts_multivariate.mewma_chart(rows, base, number(given, "lambda", default=0.1), length)
    return {
        **dict.fromkeys(("T2", "t2"), chart.t2.tolist()),
        **dict.fromkeys(("ucl", "limit", "h"), chart.limit),
        "beyond": as_written(case, "beyond", positions(chart.signals)),
    }


METHODS: dict[str, Callable[[Case], dict[str, Any]]] = {
    "control_chart_t2": chart_t2,
    "control_chart_mewma": chart_mewma,
    "chart_rules": rules_of_points,
}
