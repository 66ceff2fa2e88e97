"""Adapters from reference cases of monitoring methods to our functions: charts, run lengths, capability,
MSPC, trend, DTW.

Belongs here: reading a case's parameters and columns, and naming results as its `expected` names them.
Outcome methods are in methods_outcomes.py. Does not belong here: a statistic, or knowledge of any single
case.

Positions are counted from 1, as in R. A list of one is a bare value where the case writes it so. From
`expected` only inputs kept in key names are read: designs (`cusum_k0.5_h4`), bands (`sakoe_chiba_10`), and
whether a value is a list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from warehouse.statistics import (
    arl,
    capability,
    charts,
    charts_attributes,
    charts_memory,
    dtw,
    mspc,
    segmentation,
    trend,
)
from warehouse.statistics.chart_constants import d2
from warehouse.statistics.chart_rules import NELSON, WESTERN_ELECTRIC, run_of
from warehouse.statistics.checked import BoolArray, FloatArray, labels_of
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.verification import methods_outcomes
from warehouse.verification.run import Case

_SAMPLE = ("sample", "subgroup", "group", "batch", "lot")
_PHASE = ("trial", "phase", "phase1", "baseline")
_TIME = ("year", "time", "t", "date", "day", "month", "index", "week")
_SIZE = ("size", "sizes", "n", "units", "area")
_COUNT = ("d", "defectives", "defects", "x", "count", "counts", "events", "nonconforming")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(case: Case, parameter: str, usual: tuple[str, ...]) -> str | None:
    """The column a parameter names, else the first whose name is usual for the role."""
    named = case.parameters.get(parameter)
    columns = list(case.table())
    if isinstance(named, str) and named in columns:
        return named
    return next((column for column in columns if column.lower() in usual), None)


def _value_column(case: Case, besides: Iterable[str | None] = ()) -> str:
    """The column of measured values: named by `value`, else the first numeric one without another role."""
    named = case.parameters.get("value", case.parameters.get("column"))
    if isinstance(named, str) and named in case.table():
        return named
    taken = {column for column in besides if column}
    for column, texts in case.table().items():
        if (
            column not in taken
            and texts
            and all(_is_number(text) for text in texts if text not in {"", "NA"})
        ):
            return column
    raise StatisticsRefusal(f"Case {case.id} has no column of numbers.")


def _chosen_rows(case: Case, key: str, samples: list[str] | None = None) -> BoolArray:
    """Rows a selection such as `trial==TRUE`, `samples 1-25`, `rows 1-50` or a number of rows means; all
    when absent.

    With `samples` (the label of each row) the numbers of `samples a-b` count distinct labels in order.
    """
    rows = len(next(iter(case.table().values())))
    words = case.parameters.get(key)
    if words is None:
        return np.ones(rows, dtype=np.bool_)
    numbers = np.arange(1, rows + 1)
    if samples is not None:
        numbers = labels_of(samples, "samples")[1] + 1
    if isinstance(words, (int, float)):
        return np.asarray(numbers <= words)
    if isinstance(words, list):
        return np.isin(numbers, words)
    equal = re.fullmatch(r"\s*(\w[\w.]*)\s*==?\s*[\"']?(.*?)[\"']?\s*", words)
    if equal and equal[1] in case.table():
        return np.array([text == equal[2] for text in case.table()[equal[1]]])
    span = re.search(r"(\d+)\s*(?:-|:|to)\s*(\d+)", words)
    if span:
        counted = np.arange(1, rows + 1) if "row" in words else numbers
        return (counted >= int(span[1])) & (counted <= int(span[2]))
    raise StatisticsRefusal(f"Case {case.id}: the selection {words!r} of {key} is not understood.")


def _as_written(case: Case, key: str, values: list[Any]) -> Any:
    """A list, or its only member where the case writes a bare value."""
    return values[0] if len(values) == 1 and not isinstance(case.expected.get(key), list) else values


def _positions(hits: Iterable[int]) -> list[int]:
    return [int(hit) + 1 for hit in hits]


def _beyond(chart: charts.Chart) -> list[int]:
    return _positions(np.flatnonzero((chart.values < chart.lower) | (chart.values > chart.upper)))


def _limits(chart: charts.Chart) -> list[Any]:
    """[lower, upper] where all points share them, else one pair a point."""
    pairs = np.column_stack([chart.lower, chart.upper])
    constant = bool(np.all(np.ptp(pairs, axis=0) <= 1e-12 * np.abs(pairs).max()))
    return list(pairs[0].tolist() if constant else pairs.tolist())


def chart_imr(case: Case) -> dict[str, Any]:
    """Individuals and moving range. Parameters: value, phase1, k."""
    phase = _column(case, "phase", _PHASE)
    values = np.array(case.numbers(_value_column(case, [phase, _column(case, "time", _TIME)])))
    k = float(case.parameters.get("k", 3.0))
    base = charts.individuals_baseline(values[_chosen_rows(case, "phase1")])
    chart, moving = charts.individuals_chart(values, base, k), charts.moving_range_chart(values, base, k)
    bar = base.sigma * d2(2)
    printed = {"limits_2.66": 2.66, "limits_d2_1.128": k / 1.128}
    return {
        "center": base.centre,
        "sigma": base.sigma,
        "mr_bar": bar,
        "limits": _limits(chart),
        "limits_d2_exact": _limits(chart),
        **{
            name: [base.centre - factor * bar, base.centre + factor * bar] for name, factor in printed.items()
        },
        "ucl": float(chart.upper[0]),
        "lcl": float(chart.lower[0]),
        "mr_limits": _limits(moving),
        "mr_ucl": float(moving.upper[0]),
        "beyond": _as_written(case, "beyond", _beyond(chart)),
        "mr_beyond": _as_written(case, "mr_beyond", [place + 1 for place in _beyond(moving)]),
    }


def chart_variables(case: Case) -> dict[str, Any]:
    """Xbar, R and S. Parameters: value, sample, phase1, k; violations are over all samples."""
    sample, phase = _column(case, "sample", _SAMPLE), _column(case, "phase", _PHASE)
    values = np.array(case.numbers(_value_column(case, [sample, phase])))
    size = case.parameters.get("subgroup_size")
    if sample is not None:
        labels = case.table()[sample]
    elif size:
        labels = [str(row // int(size)) for row in range(values.size)]
    else:
        raise StatisticsRefusal(f"Case {case.id} has neither a sample column nor a subgroup_size.")
    chosen = _chosen_rows(case, "phase1", labels)
    k = float(case.parameters.get("k", 3.0))
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
            f"beyond_limits_{name}": _as_written(case, f"beyond_limits_{name}", _beyond(means)),
            f"{letter}_beyond": _as_written(case, f"{letter}_beyond", _beyond(spreads)),
        }
        for key in case.expected:
            asked = re.fullmatch(rf"qcc_run(\d+)_violations_{name}", key)
            if asked:
                runs = np.flatnonzero(run_of(means.values - means.centre, int(asked[1])))
                out[key] = _as_written(case, key, _positions(runs))
    return out


def chart_ewma(case: Case) -> dict[str, Any]:
    """EWMA. Parameters: ewma0 (centre), s, lambda, k (width), limits; centre and s from the data when
    absent.
    """
    values = case.numbers(_value_column(case, [_column(case, "time", _TIME)]))
    given = case.parameters
    own = None if {"ewma0", "s"} <= set(given) else charts.individuals_baseline(values)
    centre = float(given["ewma0"]) if own is None else float(given.get("ewma0", own.centre))
    sigma = float(given["s"]) if own is None else float(given.get("s", own.sigma))
    base = charts.Baseline(centre, sigma, "given", len(values))
    flat = str(given.get("limits", "exact")).startswith("asym")
    weight, width = float(given.get("lambda", 0.2)), float(given.get("k", given.get("L", 3.0)))
    chart = charts_memory.ewma_chart(values, base, weight, width, "asymptotic" if flat else "exact")
    return {
        "ewma": chart.values.tolist(),
        "ucl": float(chart.upper[0]) if flat else chart.upper.tolist(),
        "lcl": float(chart.lower[0]) if flat else chart.lower.tolist(),
        "center": centre,
        "sigma": sigma,
        "beyond": _as_written(case, "beyond", _beyond(chart)),
    }


def chart_cusum(case: Case) -> dict[str, Any]:
    """Tabular CUSUM. Parameters: target, k, h in the data's unit, or in multiples of sigma where that is
    given.
    """
    values = case.numbers(_value_column(case, [_column(case, "time", _TIME)]))
    given = case.parameters
    unit = float(given.get("sigma", given.get("s", 1.0)))
    target = float(given.get("target", np.mean(values)))
    head = float(given.get("head_start", 0.0)) * unit
    chart = charts_memory.cusum_chart(
        values, target, float(given["k"]) * unit, float(given["h"]) * unit, head
    )
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
        "signals": _as_written(case, "signals", _positions(chart.signals)),
    }


def _count_case(kind: str) -> Callable[[Case], dict[str, Any]]:
    def adapter(case: Case) -> dict[str, Any]:
        counted, sized = _column(case, "count", _COUNT), _column(case, "size", _SIZE)
        phase, sample = _column(case, "phase", _PHASE), _column(case, "sample", _SAMPLE)
        column = counted or _value_column(case, [sized, phase, sample])
        events = np.array(case.numbers(column))
        fixed = case.parameters.get("size", case.parameters.get("n", 1))
        fallback = np.full(events.size, float(fixed) if isinstance(fixed, (int, float)) else 1.0)
        sizes = np.array(case.numbers(sized)) if sized else fallback
        chosen = _chosen_rows(case, "phase1")
        k = float(case.parameters.get("k", case.parameters.get("nsigmas", 3.0)))
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
            "beyond": _as_written(case, "beyond", _beyond(chart)),
        }

    return adapter


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
    sample, phase = _column(case, "sample", _SAMPLE), _column(case, "phase", _PHASE)
    values = case.numbers(_value_column(case, [sample, phase]))
    given = case.parameters
    bounds = [None if given.get(name) is None else float(given[name]) for name in ("LSL", "USL", "target")]
    limits = capability.Specification(*bounds)
    level = float(given.get("conf", 0.95))
    fewest = int(given.get("minimum", 2))  # cases check the formulas; the product's own minimum is higher
    within = str(given.get("sigma_within", ""))
    if sample is not None:
        groups = charts.subgroups_of(values, case.table()[sample])
        spread: charts.SpreadOfSubgroups = "sd" if within.startswith("S") else "range"
        base = charts.subgroup_baseline(groups, "pooled sd" if "pool" in within else spread)
    else:
        base = charts.individuals_baseline(values)
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
    out: dict[str, Any] = {
        "qcc_indices": indices,
        "exp_below_LSL": below,
        "exp_above_USL": above,
        "center": inside.centre,
        "sigma_within": inside.sigma,
        "Ppk": overall.worst.value,
        f"Ppk_ci{percent}_bissell": [overall.worst.lower, overall.worst.upper],
        f"Ppk_lower_bound{percent}": overall.worst_lower_bound,
    }
    if overall.ratio is not None:
        out |= {"Pp": overall.ratio.value, f"Pp_ci{percent}": [overall.ratio.lower, overall.ratio.upper]}
    return out


def mspc_pca(case: Case) -> dict[str, Any]:
    """PCA model on the `train` rows, T2 and Q of them and of `new_rows`. Parameters: ncomp, scale, center,
    alpha.
    """
    given = case.parameters
    numeric = [
        column for column, texts in case.table().items() if texts and all(_is_number(text) for text in texts)
    ]
    data: FloatArray = np.array([case.numbers(column) for column in given.get("columns", numeric)]).T
    train = data[_chosen_rows(case, "train")]
    model = mspc.fit_pca(
        train, int(given.get("ncomp", 2)), bool(given.get("scale", True)), bool(given.get("center", True))
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
        out |= {"T2_new": _as_written(case, "T2_new", fresh.t2.tolist())}
        out |= {"Q_new": _as_written(case, "Q_new", fresh.spe.tolist())}
    alpha = float(given.get("alpha", 0.05))
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
    time = _column(case, "time", _TIME)
    values = case.numbers(_value_column(case, [time]))
    out: dict[str, Any] = {}

    def tests() -> None:
        rank, slope, shift = trend.mann_kendall(values), trend.sen_slope(values), trend.pettitt(values)
        out["mann_kendall"] = {"S": rank.s, "varS": rank.variance, "z": rank.z, "p": rank.p, "tau": rank.tau}
        out["sen_slope"] = {"slope": slope.slope, "ci95": [slope.lower, slope.upper]}
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
        many = segmentation.segments(values, "mean and variance", sigma=1.0).changes
        level = segmentation.segments(values, "mean", sigma=1.0).changes
        for key, found in (
            ("changepoint_AMOC_mean_MBIC_index", single),
            ("changepoint_PELT_meanvar_MBIC_index", many),
            ("changepoint_PELT_mean_MBIC_index", level),
        ):
            out[key] = _as_written(case, key, list(found))

    for part in (tests, homogeneity, one_break, several):
        try:
            part()
        except StatisticsRefusal as refused:
            out.setdefault("refusal", str(refused))
    return out


def time_warping(case: Case) -> dict[str, Any]:
    """DTW of the first column (query) to the second (template). Bands come from keys
    `sakoe_chiba_<w>_<pattern>`.
    """
    columns = list(case.table())
    query = case.numbers("query" if "query" in columns else columns[0])
    template = case.numbers("template" if "template" in columns else columns[1])
    out: dict[str, Any] = {}
    for key in case.expected:
        found = re.fullmatch(r"(?:sakoe_chiba_(?P<band>\d+)_?)?(?P<pattern>symmetric2|asymmetricP1)?", key)
        if not found:
            continue
        pattern: dtw.StepPattern = "asymmetricP1" if found["pattern"] == "asymmetricP1" else "symmetric2"
        band = case.parameters.get("window") if found["band"] is None else int(found["band"])
        try:
            match = dtw.align(query, template, pattern, band)
        except StatisticsRefusal as refused:
            out.setdefault("refusal", str(refused))
            continue
        out[key] = {
            "distance": match.distance,
            "normalized": match.normalized,
            "path_length": match.path_length,
            "index1": _positions(match.query_path),
            "index2": _positions(match.template_path),
        }
    return out


METHODS: dict[str, Callable[[Case], dict[str, Any]]] = {
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
    "arl": run_lengths,
    "capability": process_capability,
    "mspc_pca": mspc_pca,
    "trend_changepoint": trend_changepoint,
    "dtw": time_warping,
    **methods_outcomes.METHODS,
}
