"""Adapters from reference cases of monitoring methods to our functions: run lengths, capability, MSPC,
trend, DTW.

Belongs here: reading a case's parameters and columns, and naming results as its `expected` names them.
Charts are in methods_charts.py, outcomes in methods_outcomes.py. Does not belong here: a statistic, or
knowledge of any single case.

From `expected` only inputs kept in key names are read: designs (`cusum_k0.5_h4`), bands (`sakoe_chiba_10`),
and whether a value is written bare or as a list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, get_args

import numpy as np

from warehouse.statistics import arl, capability, charts, dtw, mspc, segmentation, trend
from warehouse.statistics.chart_rules import NELSON, WESTERN_ELECTRIC
from warehouse.statistics.checked import FloatArray
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification import methods_charts, methods_outcomes
from warehouse.verification.case_columns import (
    ROW,
    SAMPLE,
    TIME,
    as_written,
    chosen_rows,
    is_number,
    positions,
    role_column,
    value_column,
)
from warehouse.verification.case_parameters import LEVEL, alpha_of, asked_levels, fraction, number, pick
from warehouse.verification.run import Case

_DESIGNS: tuple[tuple[str, str], ...] = (
    ("cusum", r"cusum(?P<one>_one(?:_sided)?)?_k(?P<a>[\d.]+)_h(?P<b>[\d.]+)(?:_(?:fir|hs)(?P<c>[\d.]+))?"),
    ("ewma", r"ewma(?P<one>)_(?:lambda|l)(?P<a>[\d.]+)_(?:L|c|w|k)(?P<b>[\d.]+)(?P<c>_exact)?"),
    ("shewhart", r"shewhart(?P<one>)(?:_k?(?P<a>[\d.]+)(?:sigma)?)?(?P<b>)(?P<c>)"),
)


def _run_length(kind: str, found: re.Match[str], shift: float) -> float:
    if kind == "shewhart":
        return arl.shewhart_arl(shift, float(found["a"] or 3.0))
    first, second = float(found["a"]), float(found["b"])
    if kind == "ewma":
        return arl.ewma_arl(shift, first, second, "exact" if found["c"] else "asymptotic")
    return arl.cusum_arl(shift, first, second, "one" if found["one"] else "two", float(found["c"] or 0.0))


def run_lengths(case: Case) -> dict[str, Any]:
    """ARL by shift for each design named by a key; shifts from `shifts_<chart>`, else `shifts`, else 0."""
    out: dict[str, Any] = {}
    for key, want in case.expected.items():
        for kind, pattern in _DESIGNS:
            found = re.fullmatch(pattern, key)
            if found:
                shifts = case.parameters.get(f"shifts_{kind}", case.parameters.get("shifts", [0.0]))
                asked = shifts if isinstance(shifts, list) else [shifts]
                lengths = [_run_length(kind, found, float(shift)) for shift in asked]
                out[key] = lengths if isinstance(want, list) else lengths[0]
        rules = {"western_electric": WESTERN_ELECTRIC, "nelson": NELSON}.get(key)
        if rules:
            out[key] = arl.rule_set_arl(rules).mean
    return out


def process_capability(case: Case) -> dict[str, Any]:
    """Capability as qcc states it, and Pp, Ppk. Parameters: LSL, USL, target, conf, sigma_within, minimum."""
    sample = role_column(case, "sample", SAMPLE)
    values = case.numbers(value_column(case))
    given = case.parameters
    names = (("LSL", "lower", "lsl"), ("USL", "upper", "usl"), ("target", "T"))
    both = pick(given, "spec_limits", "spec", "specification")
    bounds = [pick(given, *each) for each in names]
    if isinstance(both, list):
        bounds[:2] = both
    limits = capability.Specification(*(None if value is None else float(value) for value in bounds))
    level = fraction(number(given, *LEVEL, default=0.95))
    fewest = int(given.get("minimum", 2))  # cases check the formulas; the product's own minimum is higher
    within = str(given.get("sigma_within", ""))
    if sample is not None:
        groups = charts.subgroups_of(values, case.table()[sample])
        spread: charts.SpreadOfSubgroups = "sd" if within.startswith("S") else "range"
        base = charts.subgroup_baseline(groups, "pooled sd" if "pool" in within else spread)
    else:
        base = charts.individuals_baseline(values)
    told = pick(given, "sigma", "std_dev")
    if told is not None:
        base = charts.Baseline(base.centre, float(told), "given", base.n)
    inside = capability.capability(
        values, base, limits, unstable_points=0, confidence=level, minimum=fewest, cpm_degrees="qcc"
    )
    overall = capability.performance(values, limits, confidence=level, minimum=fewest)
    named = {
        "Cp": inside.ratio,
        "Cp_l": inside.lower_side,
        "Cp_u": inside.upper_side,
        "Cp_k": inside.worst,
        "Cpm": inside.to_target,
    }
    indices = {
        name: {"value": index.value, "lower": index.lower, "upper": index.upper}
        for name, index in named.items()
        if index is not None
    }
    below, above = (
        share if share >= 0.01 else 0.0  # qcc prints a percentage under 0.01 as 0
        for share in capability.percent_beyond(inside.centre, inside.sigma, limits)
    )
    percent = f"{100.0 * level:g}"
    seen = [
        None if bound is None else sum(sign * value < sign * bound for value in values) / len(values)
        for bound, sign in ((limits.lower, 1.0), (limits.upper, -1.0))
    ]
    out: dict[str, Any] = {
        "qcc_indices": indices,
        "exp_below_LSL": below,
        "exp_above_USL": above,
        "obs_below_LSL": seen[0],
        "obs_above_USL": seen[1],
        **{name: index["value"] for name, index in indices.items()},
        **{f"{name}_ci{percent}": [index["lower"], index["upper"]] for name, index in indices.items()},
        "n": overall.n,
        "sigma_overall": overall.sigma,
        "center": inside.centre,
        "sigma_within": inside.sigma,
        "Ppk": overall.worst.value,
        f"Ppk_ci{percent}_bissell": [overall.worst.lower, overall.worst.upper],
        f"Ppk_lower_bound{percent}": overall.worst_lower_bound,
    }
    for name, side in (("Ppl", overall.lower_side), ("Ppu", overall.upper_side)):
        if side is not None:
            out |= {name: side.value, f"{name}_ci{percent}": [side.lower, side.upper]}
    if overall.ratio is not None:
        out |= {"Pp": overall.ratio.value, f"Pp_ci{percent}": [overall.ratio.lower, overall.ratio.upper]}
    return out


def mspc_pca(case: Case) -> dict[str, Any]:
    """PCA model on the `train` rows, T2 and Q of them and of `new_rows`. Parameters: ncomp, scale, center,
    alpha.
    """
    given = case.parameters
    numeric = [
        column for column, texts in case.table().items() if texts and all(is_number(text) for text in texts)
    ]
    numeric = [name for name in numeric if name.lower() not in ROW]
    data: FloatArray = np.array(
        [case.numbers(column) for column in pick(given, "columns", default=numeric)]
    ).T
    train = data[chosen_rows(case, "train")]
    model = mspc.fit_pca(
        train,
        int(number(given, "ncomp", "components", "n_components", "A", default=2)),
        bool(pick(given, "scale", default=True)),
        bool(pick(given, "center", "centre", default=True)),
    )
    seen = mspc.project(model, train)
    out: dict[str, Any] = {
        "eigenvalues": model.eigenvalues.tolist(),
        "T2_train": seen.t2.tolist(),
        "Q_train": seen.spe.tolist(),
    }
    rows = given.get("new_rows")
    if rows:
        fresh = mspc.project(model, data[np.array(rows if isinstance(rows, list) else [rows]) - 1])
        out |= {"T2_new": as_written(case, "T2_new", fresh.t2.tolist())}
        out |= {"Q_new": as_written(case, "Q_new", fresh.spe.tolist())}
    alpha = alpha_of(given)
    total = float(model.eigenvalues.sum())
    out |= {
        "sdev": np.sqrt(model.eigenvalues).tolist(),
        "explained": (model.eigenvalues / total).tolist(),
        "cumulative": (np.cumsum(model.eigenvalues) / total).tolist(),
        "explained_total": model.explained,
        "scores_abs": np.abs(seen.scores).tolist(),
        "loadings_abs": np.abs(model.loadings).tolist(),
        "T2_contributions": seen.t2_contributions.tolist(),
        "Q_contributions": seen.spe_contributions.tolist(),
    }
    spe: tuple[tuple[str, mspc.SpeLimit], ...] = (
        ("Q_limit_jackson_mudholkar", "Jackson-Mudholkar"),
        ("Q_limit", "Jackson-Mudholkar"),
        ("Q_limit_box", "Box chi-square"),
    )
    for name, kind_of_spe in spe:
        with suppress(StatisticsRefusal):  # every component kept leaves nothing outside
            out[name] = mspc.spe_limit(model, kind_of_spe, alpha)
    kinds: tuple[tuple[str, mspc.T2Limit], ...] = (
        ("T2_limit_beta", "phase I beta"),
        ("T2_limit_F", "phase II F"),
        ("T2_limit_mdatools", "F as mdatools"),
    )
    for name, kind in kinds:
        out[name] = mspc.t2_limit(model.n, model.components, kind, alpha)
    return out


def trend_changepoint(case: Case) -> dict[str, Any]:
    """Trend and change points of one series in time order. Positions count the values before a change.

    A part that refuses leaves its keys out and says why under `refusal`; the others stand.
    """
    time = role_column(case, "time", TIME)
    values = case.numbers(value_column(case))
    out: dict[str, Any] = {}

    def tests() -> None:
        rank, shift = trend.mann_kendall(values), trend.pettitt(values)
        out["mann_kendall"] = {
            "S": rank.s, "varS": rank.variance, "z": rank.z, "p": rank.p, "tau": rank.tau, "n": rank.n,
        }  # fmt: skip
        for level in asked_levels(case, 0.95):
            slope = trend.sen_slope(values, confidence=level)
            ends = {"slope": slope.slope, f"ci{100 * level:g}": [slope.lower, slope.upper]}
            out["sen_slope"] = {**out.get("sen_slope", {}), **ends}
        out["pettitt"] = {"U": shift.u, "index": shift.index, "p": shift.p}

    def homogeneity() -> None:
        standard = trend.snht(values)
        out["snht"] = {"T": standard.statistic, "index": standard.index, "p": standard.p}

    def one_break() -> None:
        found = trend.structural_break(values)
        out["strucchange"] = {"break_index": found.index, "ci95_index": [found.lower, found.upper]}
        if time is not None:
            out["strucchange"][f"break_{time}"] = case.numbers(time)[found.index - 1]

    def several() -> None:
        # R's changepoint takes the noise as 1 in the data's own unit.
        single = segmentation.one_change(values, "mean", sigma=1.0).changes
        many = segmentation.segments(values, "mean and variance", sigma=1.0, search="PELT").changes
        level = segmentation.segments(values, "mean", sigma=1.0, search="PELT").changes
        for key, found in (
            ("changepoint_AMOC_mean_MBIC_index", single),
            ("changepoint_PELT_meanvar_MBIC_index", many),
            ("changepoint_PELT_mean_MBIC_index", level),
        ):
            out[key] = as_written(case, key, list(found))

    for part in (tests, homogeneity, one_break, several):
        try:
            part()
        except StatisticsRefusal as refused:
            out.setdefault("refusal", str(refused))
    return out


def time_warping(case: Case) -> dict[str, Any]:
    """DTW of the first column (query) to the second (template), for every step pattern that a key names.

    A band comes from a key `sakoe_chiba_<w>_<pattern>` or the parameter `window`; a case without such keys has
    one answer, under the parameter `step_pattern`.
    """
    given = case.parameters
    columns = [name for name in case.table() if name.lower() not in ROW]
    query = case.numbers("query" if "query" in columns else columns[0])
    template = case.numbers("template" if "template" in columns else columns[1])
    named: dict[str, dtw.StepPattern] = {name.lower(): name for name in get_args(dtw.StepPattern)}
    usual = str(pick(given, "step_pattern", "step", "pattern", default="symmetric2")).lower()
    window = pick(given, "window", "window_size", "band")
    out: dict[str, Any] = {}

    def answer(pattern: str, band: int | None) -> dict[str, Any]:
        if pattern not in named:
            return {}
        try:
            match = dtw.align(query, template, named[pattern], band)
        except StatisticsRefusal as refused:
            out.setdefault("refusal", str(refused))
            return {}
        return {
            "distance": match.distance,
            **dict.fromkeys(("normalized", "normalized_distance"), match.normalized),
            "path_length": match.path_length,
            "index1": positions(match.query_path),
            "index2": positions(match.template_path),
        }

    for key in case.expected:
        found = re.fullmatch(r"(?:sakoe_?chiba_?(\d+)_?)?([a-z]\w*)?", key.lower())
        if found is not None and (found[1] or found[2] in named):
            out[key] = answer(found[2] or usual, int(found[1]) if found[1] else window)
    return out | answer(usual, window)


METHODS: dict[str, Callable[[Case], dict[str, Any]]] = {
    **methods_charts.METHODS,
    "arl": run_lengths,
    "capability": process_capability,
    "mspc_pca": mspc_pca,
    "trend_changepoint": trend_changepoint,
    "dtw": time_warping,
    **methods_outcomes.METHODS,
}
