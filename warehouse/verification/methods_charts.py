"""Adapters from reference cases of control charts to our functions.

Belongs here: reading a case's parameters and columns, and naming results as its `expected` names them. Does
not belong here: a statistic, or knowledge of any single case. Positions are counted from 1, as in R.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from warehouse.statistics import charts, charts_attributes, charts_memory
from warehouse.statistics.chart_constants import d2
from warehouse.statistics.chart_rules import run_of
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification import methods_charts_multivariate
from warehouse.verification.case_columns import (
    COUNT,
    SAMPLE,
    SIZE,
    as_written,
    chosen_rows,
    positions,
    role_column,
    value_column,
)
from warehouse.verification.case_parameters import number, pick
from warehouse.verification.methods_charts_multivariate import rule_points
from warehouse.verification.run import Case

WIDTH = ("k", "nsigmas", "L", "width")


def _beyond(chart: charts.Chart) -> list[int]:
    return positions(np.flatnonzero((chart.values < chart.lower) | (chart.values > chart.upper)))


def _limits(chart: charts.Chart) -> list[Any]:
    """[lower, upper] where all points share them, else one pair a point."""
    pairs = np.column_stack([chart.lower, chart.upper])
    constant = bool(np.all(np.ptp(pairs, axis=0) <= 1e-12 * np.abs(pairs).max()))
    return list(pairs[0].tolist() if constant else pairs.tolist())


def chart_imr(case: Case) -> dict[str, Any]:
    """Individuals and moving range. Parameters: value, phase1, k."""
    values = np.array(case.numbers(value_column(case)))
    k = number(case.parameters, *WIDTH, default=3.0)
    words = str(pick(case.parameters, "spread", "std_dev", "sigma_from", default="")).lower()
    spread: charts.SpreadOfIndividuals = (
        "median moving range" if "median" in words else "sd" if words in {"sd", "s"} else "moving range"
    )
    base = charts.individuals_baseline(values[chosen_rows(case, "phase1")], spread)
    chart, moving = charts.individuals_chart(values, base, k), charts.moving_range_chart(values, base, k)
    bar = base.sigma * d2(2)
    printed = {"limits_2.66": 2.66, "limits_d2_1.128": k / 1.128}
    return {
        "center": base.centre,
        **dict.fromkeys(("sigma", "std_dev"), base.sigma),
        "mr_bar": bar,
        "mr": moving.values.tolist(),
        "limits": _limits(chart),
        "limits_d2_exact": _limits(chart),
        **{
            name: [base.centre - factor * bar, base.centre + factor * bar] for name, factor in printed.items()
        },
        "ucl": float(chart.upper[0]),
        "lcl": float(chart.lower[0]),
        "mr_limits": _limits(moving),
        "mr_ucl": float(moving.upper[0]),
        "beyond": as_written(case, "beyond", _beyond(chart)),
        "mr_beyond": as_written(case, "mr_beyond", [place + 1 for place in _beyond(moving)]),
        **rule_points(case, (values - base.centre) / base.sigma),
    }


def chart_variables(case: Case) -> dict[str, Any]:
    """Xbar, R and S. Parameters: value, sample, phase1, k; violations are over all samples."""
    sample = role_column(case, "sample", SAMPLE)
    values = np.array(case.numbers(value_column(case)))
    size = case.parameters.get("subgroup_size")
    if sample is not None:
        labels = case.table()[sample]
    elif size:
        labels = [str(row // int(size)) for row in range(values.size)]
    else:
        raise StatisticsRefusal(f"Case {case.id} has neither a sample column nor a subgroup_size.")
    chosen = chosen_rows(case, "phase1", labels)
    k = number(case.parameters, *WIDTH, default=3.0)
    every = charts.subgroups_of(values, labels)
    basis = charts.subgroups_of(
        values[chosen], [label for label, use in zip(labels, chosen, strict=True) if use]
    )
    out: dict[str, Any] = {}
    for letter in "RS":
        base = charts.subgroup_baseline(basis, "range" if letter == "R" else "sd")
        means = charts.xbar_chart(every, base, k)
        spreads = (charts.range_chart if letter == "R" else charts.sd_chart)(every, base, k)
        name = f"{letter}bar"
        out |= {
            "center": base.centre,
            f"sigma_from_{name}": base.sigma,
            f"xbar_limits_{name}": _limits(means),
            f"{letter}_center": float(spreads.centre[0]),
            f"{letter}_limits": _limits(spreads),
            f"beyond_limits_{name}": as_written(case, f"beyond_limits_{name}", _beyond(means)),
            f"{letter}_beyond": as_written(case, f"{letter}_beyond", _beyond(spreads)),
        }
        if letter == "R":
            # Names that say nothing of the spread mean the range's, qcc's default for equal subgroups.
            plain = {"sigma": base.sigma, "std_dev": base.sigma, "xbar_limits": _limits(means)}
            plain |= {"limits": _limits(means), "means": means.values.tolist()}
            out |= plain | {"beyond": as_written(case, "beyond", _beyond(means))}
            out |= rule_points(case, means.z)
        for key in case.expected:
            asked = re.fullmatch(rf"qcc_run(\d+)_violations_{name}", key)
            if asked:
                runs = np.flatnonzero(run_of(means.values - means.centre, int(asked[1])))
                out[key] = as_written(case, key, positions(runs))
    return out


def chart_ewma(case: Case) -> dict[str, Any]:
    """EWMA. Parameters: ewma0 (centre), s, lambda, k (width), limits; centre and s from the data when
    absent.
    """
    values = case.numbers(value_column(case))
    given = case.parameters
    named = pick(given, "ewma0", "center", "target", "mu0"), pick(given, "s", "sigma", "sd", "std_dev")
    own = None if None not in named else charts.individuals_baseline(values)
    centre, sigma = (
        float(value) if value is not None else usual
        for value, usual in zip(named, (own.centre, own.sigma) if own else (0.0, 0.0), strict=True)
    )
    base = charts.Baseline(centre, sigma, "given", len(values))
    flat = str(given.get("limits", "exact")).startswith("asym")
    weight, width = number(given, "lambda", "weight", default=0.2), number(given, *WIDTH, default=3.0)
    chart = charts_memory.ewma_chart(values, base, weight, width, "asymptotic" if flat else "exact")
    return {
        "ewma": chart.values.tolist(),
        "ucl": float(chart.upper[0]) if flat else chart.upper.tolist(),
        "lcl": float(chart.lower[0]) if flat else chart.lower.tolist(),
        "center": centre,
        "sigma": sigma,
        "beyond": as_written(case, "beyond", _beyond(chart)),
    }


def chart_cusum(case: Case) -> dict[str, Any]:
    """Tabular CUSUM. Parameters: target, k, h in the data's unit, or in multiples of sigma where that is
    given.
    """
    values = case.numbers(value_column(case))
    given = case.parameters
    unit = number(given, "sigma", "s", "sd", "std_dev", default=1.0)
    target = number(given, "target", "center", "mu0", default=float(np.mean(values)))
    head = number(given, "head_start", "headstart", "fir", default=0.0) * unit
    # qcc's se.shift is the shift to find, twice k.
    slack = number(given, "k", "K", default=number(given, "se_shift", default=1.0) / 2.0)
    limit = number(given, "h", "H", "decision_interval", default=5.0)
    chart = charts_memory.cusum_chart(values, target, slack * unit, limit * unit, head)
    first = chart.first_signal
    sums = {"s_hi": (chart.high / unit).tolist(), "s_lo": (chart.low / unit).tolist()}
    parts = {}
    for key in {**case.expected, **(case.expected.get("published") or {})}:
        span = re.fullmatch(r"(s_hi|s_lo)_(\d+)_to_(\d+)", key)
        if span:
            parts[key] = sums[span[1]][int(span[2]) - 1 : int(span[3])]
    return {
        **sums,
        **parts,
        "first_signal": None if first is None else first + 1,
        "first_starred_group": None if first is None else first + 1,
        "signals": as_written(case, "signals", positions(chart.signals)),
    }


def _count_case(kind: str) -> Callable[[Case], dict[str, Any]]:
    def adapter(case: Case) -> dict[str, Any]:
        counted, sized = role_column(case, "count", COUNT), role_column(case, "size", SIZE)
        events = np.array(case.numbers(counted or value_column(case)))
        fixed = case.parameters.get("size", case.parameters.get("n", 1))
        fallback = np.full(events.size, float(fixed) if isinstance(fixed, (int, float)) else 1.0)
        sizes = np.array(case.numbers(sized)) if sized else fallback
        chosen = chosen_rows(case, "phase1")
        k = number(case.parameters, *WIDTH, default=3.0)
        laney = kind in {"p'", "u'"}
        estimate = (
            charts_attributes.proportion_baseline if kind[0] in "pn" else charts_attributes.rate_baseline
        )
        base = estimate(events[chosen], sizes[chosen], laney=laney)
        if kind == "np":
            chart = charts_attributes.np_chart(events, int(sizes[0]), base, k)
        elif kind == "c":
            chart = charts_attributes.c_chart(events, base, k)
        else:
            draw = charts_attributes.p_chart if kind[0] == "p" else charts_attributes.u_chart
            chart = draw(events, sizes, base, k)
        return {
            "center": float(chart.centre[0]),
            "limits": _limits(chart),
            "lcl": float(chart.lower[0]),
            "ucl": float(chart.upper[0]),
            "sigma_z": base.sigma_z,
            "statistics": chart.values.tolist(),
            **rule_points(case, chart.z),
            "beyond": as_written(case, "beyond", _beyond(chart)),
        }

    return adapter


METHODS: dict[str, Callable[[Case], dict[str, Any]]] = {
    **methods_charts_multivariate.METHODS,
    "control_chart_imr": chart_imr,
    "control_chart_variables": chart_variables,
    "control_chart_ewma": chart_ewma,
    "control_chart_cusum": chart_cusum,
    "control_chart_p": _count_case("p"),
    "control_chart_np": _count_case("np"),
    "control_chart_c": _count_case("c"),
    "control_chart_u": _count_case("u"),
    "control_chart_laney_p": _count_case("p'"),
    "control_chart_laney_u": _count_case("u'"),
}
