"""Adapters from reference cases to mixed models and split designs; `methods_designs` holds the rest.

Belongs here: reading a case's model formula, columns and parameters, and naming results as the case does.
Does not belong here: any computation that is a statistic, or anything true of one case only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from warehouse.statistics.means import Estimate
from warehouse.statistics.means import pooled as pooled_means
from warehouse.statistics.means import welch as welch_means
from warehouse.statistics.mixed import Contrast, DfMethod, MixedFit, contrast, fit_mixed, treatment_coding
from warehouse.statistics.mixed_profile import profile_intervals
from warehouse.statistics.refusal import Floats, StatisticsRefusal
from warehouse.statistics.split_apheresis import compare_split, ignoring_pairing, lot_means
from warehouse.statistics.varcomp import nested_anova
from warehouse.verification import methods_designs
from warehouse.verification.run import Case

Section = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A formula such as "y ~ site + (1|donor) + (1|donor:site), REML", read against a case's table."""

    response: str
    fixed: tuple[str, ...]
    random: tuple[str, ...]


def read_model(text: str) -> Model:
    """The parts of an lme4 formula with random intercepts; (1|a/b) is (1|a) + (1|a:b)."""
    formula = re.split(r"[,;]", text, maxsplit=1)[0]
    left, tilde, right = formula.partition("~")
    if not tilde:
        raise StatisticsRefusal(f"The model {text!r} has no '~'.")
    random: list[str] = []
    for term in re.findall(r"\(\s*1\s*\|\s*([^)]+?)\s*\)", right):
        parts = [part.strip() for part in term.split("/")]
        random += [":".join(parts[: i + 1]).replace(" ", "") for i in range(len(parts))]
    rest = re.sub(r"\([^)]*\)", "", right)
    fixed = [part.strip() for part in rest.split("+")]
    return Model(left.strip(), tuple(f for f in fixed if f and f not in {"1", "0"}), tuple(random))


@dataclass(frozen=True)
class Fitted:
    """A case's fitted model, with the levels of its first (compared) fixed factor."""

    model: Model
    fit: MixedFit
    factor: str | None
    levels: tuple[str, ...]

    def compare(self, test: str, reference: str, df_method: DfMethod) -> Contrast:
        weights = np.zeros(len(self.fit.names))
        for level, sign in ((test, 1.0), (reference, -1.0)):
            if level != self.levels[0]:
                weights[self.levels.index(level)] += sign
        return contrast(self.fit, weights, df_method)


def _is_numeric(texts: Sequence[str]) -> bool:
    try:
        [float(text) for text in texts]
    except ValueError:
        return False
    return True


def _complete(case: Case, columns: Sequence[str]) -> dict[str, list[str]]:
    """The table without the rows in which any of `columns` is empty."""
    table = case.table()
    keep = [i for i in range(len(table[columns[0]])) if all(table[c][i] not in {"", "NA"} for c in columns)]
    return {name: [values[i] for i in keep] for name, values in table.items()}


def fit_case(case: Case, reference: str | None = None, method: Any = "reml") -> Fitted:
    """The case's model on its table; the first fixed term is the factor whose levels are compared."""
    model = read_model(case.parameters["model"])
    parts = [part for term in model.random for part in term.split(":")]
    table = _complete(case, [model.response, *model.fixed, *parts])
    n = len(table[model.response])
    columns: list[Floats] = [np.ones((n, 1))]
    names: list[str] = ["(Intercept)"]
    levels: tuple[str, ...] = ()
    for position, term in enumerate(model.fixed):
        if position and _is_numeric(table[term]):
            columns.append(np.array([[float(text)] for text in table[term]]))
            names.append(term)
            continue
        coded, found = treatment_coding(table[term], None if position else reference)
        levels = levels if position else found
        columns.append(coded)
        names += [f"{term}{level}" for level in found[1:]]
    factors = {
        term: list(zip(*(table[part] for part in term.split(":")), strict=True)) for term in model.random
    }
    response = [float(text) for text in table[model.response]]
    fit = fit_mixed(response, np.hstack(columns), factors, names=names, method=method)
    return Fitted(model, fit, model.fixed[0] if model.fixed else None, levels)


def _row(found: Contrast, level: float, delta: float | None) -> Section:
    low, high = found.interval(level)
    row: Section = {
        "diff": found.estimate, "se": found.se, "df": found.df, "ci90_lower": low, "ci90_upper": high,
    }  # fmt: skip
    if delta is not None:
        row["p_tost"] = found.p_equivalence(-delta, delta)
    return row


def _short(term: str) -> str:
    return term.lower().replace(":", "_")


def _common(fitted: Fitted) -> Section:
    fit = fitted.fit
    out: Section = {
        "fixef": dict(zip(fit.names, fit.beta.tolist(), strict=True)),
        "fixef_se": dict(zip(fit.names, fit.standard_errors.tolist(), strict=True)),
        "reml_criterion": fit.criterion,
        "intercept": float(fit.beta[0]),
        "intercept_se": float(fit.standard_errors[0]),
        "boundary": bool(fit.boundary),
        "singular": bool(fit.boundary),
    }
    variances = {_short(name): value for name, value in fit.variances.items() if name != "residual"}
    variances["resid"] = fit.variances["residual"]
    out["var"] = {**variances, "residual": fit.variances["residual"]}
    out["sd"] = {name: value**0.5 for name, value in out["var"].items()}
    for name, value in variances.items():
        out[f"var_{name}"], out[f"sd_{name}"] = value, value**0.5
    out["icc"] = sum(v for k, v in variances.items() if k != "resid") / sum(variances.values())
    if fitted.levels:
        first = float(fit.beta[0])
        means = [first] + [first + float(b) for b in fit.beta[1 : len(fitted.levels)]]
        out["emmeans"] = dict(zip(fitted.levels, means, strict=True))
    return out


def _contrasts(
    case: Case, fitted: Fitted, key: str, pairs: list[tuple[str, str]], df_method: DfMethod
) -> list[Section]:
    """One row for each "left - right" the case lists under `key` (labels only), else for each of `pairs`."""
    listed = case.expected.get(key)
    names = (
        [row.get("contrast", "") for row in listed if isinstance(row, dict)]
        if isinstance(listed, list)
        else []
    )
    known = {f"{a} - {b}": (a, b) for a in fitted.levels for b in fitted.levels if a != b}
    chosen = [known[name] for name in names if name in known] or pairs
    level, delta = float(case.parameters.get("level", 0.90)), case.parameters.get("delta")
    return [
        {"contrast": f"{a} - {b}", **_row(fitted.compare(a, b, df_method), level, delta)} for a, b in chosen
    ]  # fmt: skip


def mixed_equivalence(case: Case) -> Section:
    """All pairs of the first fixed factor's levels, first minus second in sort order."""
    fitted = fit_case(case, case.parameters.get("reference_site"))
    order = sorted(fitted.levels)
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    out = _common(fitted)
    kr = _contrasts(case, fitted, "contrasts_kr", pairs, "kenward-roger")
    satterthwaite = _contrasts(case, fitted, "contrasts_satterthwaite", pairs, "satterthwaite")
    return {
        **out, "contrasts_kr": kr, "contrasts_kenward_roger": kr, "contrasts_satterthwaite": satterthwaite,
        "contrasts_satterthwaite_df": [row["df"] for row in satterthwaite],
    }  # fmt: skip


def split_apheresis(case: Case) -> Section:
    """Each site against the reference; with two levels also the paired, unpaired and pooled comparisons."""
    order = [part.strip() for part in str(case.parameters.get("order", "")).split(" - ")]
    reference = case.parameters.get("reference_site") or (order[1] if len(order) == 2 else None)
    fitted = fit_case(case, reference)
    out = _common(fitted)
    base = fitted.levels[0]
    pairs = [(level, base) for level in fitted.levels[1:]]
    for key, df_method in (
        ("contrasts_kenward_roger", "kenward-roger"), ("contrasts_satterthwaite", "satterthwaite"),
    ):  # fmt: skip
        out[key] = _contrasts(case, fitted, key, pairs, df_method)  # type: ignore[arg-type] # a literal in the tuple
    kr, sw = out["contrasts_kenward_roger"][0], out["contrasts_satterthwaite"][0]
    out["mixed_reml"] = {
        **{key: value for key, value in out.items() if key.startswith("var_")},
        "reml_criterion": out["reml_criterion"], "diff": kr["diff"],
        "se_kr": kr["se"], "df_kr": kr["df"], "ci90_kr": [kr["ci90_lower"], kr["ci90_upper"]],
        "p_tost_kr": kr.get("p_tost"), "se_satterthwaite": sw["se"], "df_satterthwaite": sw["df"],
        "ci90_satterthwaite": [sw["ci90_lower"], sw["ci90_upper"]], "p_tost_satterthwaite": sw.get("p_tost"),
    }  # fmt: skip
    if len(fitted.levels) == 2:
        out.update(_two_sites(case, fitted))
    return out


def _two_sites(case: Case, fitted: Fitted) -> Section:
    """The simpler comparisons of the same lots, by lot means."""
    model, (base, other) = fitted.model, fitted.levels
    donor = next((term for term in model.random if ":" not in term), "donor")
    table = _complete(case, [model.response, donor, model.fixed[0]])
    y = np.array([float(text) for text in table[model.response]])
    donors, sites = table[donor], table[model.fixed[0]]
    level, delta = float(case.parameters.get("level", 0.90)), case.parameters.get("delta")
    alpha = (1.0 - level) / 2.0
    means = lot_means(y, donors, sites)
    both = [d for d, s in means if s == base and (d, other) in means]
    if len(both) < 2:
        return {}
    whole = compare_split(y, donors, sites, reference=base, test=other, alpha=alpha)
    pre, post = [means[d, base] for d in both], [means[d, other] for d in both]
    past = [value for (d, s), value in means.items() if s == base and d not in both]

    def row(estimate: Estimate) -> Section:
        assert estimate.se is not None
        assert estimate.df is not None
        same = Contrast(estimate.estimate, estimate.se, estimate.df, "kenward-roger", ())
        return {**_row(same, level, delta), "ci90": [estimate.ci_low, estimate.ci_high]}

    out: Section = {
        "paired": row(whole.paired), "welch_split_only": row(welch_means(pre, post, alpha=alpha)),
        "pooled_split_only": row(pooled_means(pre, post, alpha=alpha)),
        "pearson_r_pre_post": float(np.corrcoef(pre, post)[0, 1]),
    }  # fmt: skip
    everything = np.array([*pre, *past])
    mean, sd = float(everything.mean()), float(everything.std(ddof=1))
    k3 = [mean - 3.0 * sd, mean + 3.0 * sd]
    out["quality_range_pre_all"] = {
        "mean": mean, "sd": sd, "k3": k3, "n_post_inside": sum(k3[0] <= value <= k3[1] for value in post),
    }  # fmt: skip
    ignored = ignoring_pairing(pre, post, past, alpha=alpha)
    out["welch_with_historical_ignoring_pairing"] = row(ignored["welch"])
    out["pooled_with_historical"] = row(ignored["pooled"])
    return out


def reml_varcomp(case: Case) -> Section:
    """Variance components by REML and ML, profile intervals, and the one-way mean squares."""
    fitted, ml = fit_case(case), fit_case(case, method="ml")
    reml, likely = _common(fitted), _common(ml)
    likely["logLik"] = ml.fit.log_likelihood
    model = fitted.model
    table = _complete(case, [model.response, *model.random])
    y = np.array([float(text) for text in table[model.response]])
    asked = any("profile" in key for key in case.expected.get("ml", {}))
    if asked and not model.fixed:
        ends = profile_intervals(
            y,
            np.ones((y.size, 1)),
            {term: table[term] for term in model.random},
            names=["intercept"],
            ends="spline",
        )
        for name, interval in ends.sd.items():
            likely[f"profile_ci95_sd_{'resid' if name == 'residual' else _short(name)}"] = list(interval)
        likely["profile_ci95_intercept"] = list(ends.fixed["intercept"])
    out = {**reml, "reml": reml, "ml": likely}
    if not model.fixed and len(model.random) == 1 and ":" not in model.random[0]:
        name = model.random[0]
        parts = nested_anova(y, {name: table[name]}).components
        between, within = parts[name].ms or 0.0, parts["error"].ms or 0.0
        out["anova"] = {
            f"MS_{_short(name)}": between, "MS_resid": within, "F": between / within,
            f"var_{_short(name)}": parts[name].variance, "var_resid": parts["error"].variance,
        }  # fmt: skip
    return out


METHODS: dict[str, Callable[[Case], Section]] = {
    "mixed_equivalence": mixed_equivalence,
    "mixed_equivalence_split_apheresis": split_apheresis,
    "reml_varcomp": reml_varcomp,
    "reml_crossed": reml_varcomp,
    **methods_designs.METHODS,
}
