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
from scipy.stats import t as student

from warehouse.statistics.means import Estimate
from warehouse.statistics.means import pooled as pooled_means
from warehouse.statistics.means import welch as welch_means
from warehouse.statistics.mixed import Contrast, DfMethod, MixedFit, contrast, fit_mixed
from warehouse.statistics.mixed_profile import profile_intervals
from warehouse.statistics.refusal import Floats, StatisticsRefusal
from warehouse.statistics.split_apheresis import (
    compare_split,
    ignoring_pairing,
    known_rho_interval,
    lot_means,
    optimal_weight,
)
from warehouse.statistics.varcomp import nested_anova
from warehouse.verification import methods_designs
from warehouse.verification.case_columns import complete_rows, is_number, levels_of
from warehouse.verification.case_parameters import LEVEL, fraction, interval_keys, margin_of, number, pick
from warehouse.verification.run import MISSING, Case

Section = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A formula such as "y ~ site + (1|donor) + (1|donor:site), REML", read against a case's table.

    `fixed` holds each term's factors, ("a", "b") for a:b; `defined` columns the text makes, as "lot = donor:site".
    """

    response: str
    fixed: tuple[tuple[str, ...], ...]
    random: tuple[str, ...]
    defined: dict[str, tuple[str, ...]]


def read_model(text: str) -> Model:
    """The parts of an lme4 formula with random intercepts; (1|a/b) is (1|a) + (1|a:b), a*b is a + b + a:b."""
    formula, *rest = re.split(r"[,;]", text, maxsplit=1)
    left, tilde, right = formula.partition("~")
    if not tilde:
        raise StatisticsRefusal(f"The model {text!r} has no '~'.")
    random: list[str] = []
    for left_of, right_of in re.findall(r"\(\s*([^()|]*?)\s*\|{1,2}\s*([^)]+?)\s*\)", right):
        if left_of != "1":
            raise StatisticsRefusal(f"Random slopes ({left_of}|{right_of}) are not fitted; intercepts are.")
        parts = [part.strip() for part in right_of.split("/")]
        random += [":".join(parts[: i + 1]).replace(" ", "") for i in range(len(parts))]
    without = re.sub(r"\((?:[^()]|\([^()]*\))*\|[^()]*\)", "", right)
    terms: list[tuple[str, ...]] = []
    for piece in (part.strip() for part in without.split("+")):
        factors = [factor.strip() for factor in piece.split("*")]
        if len(factors) > 1:
            terms += [(factor,) for factor in factors] + [tuple(factors)]
        elif piece and piece not in {"1", "0"}:
            terms.append(tuple(factor.strip() for factor in piece.split(":")))
    ordered = sorted(dict.fromkeys(terms), key=len)
    made = dict(re.findall(r"(\w+)\s*=\s*(\w+(?:\s*:\s*\w+)+)", " ".join(rest)))
    defined = {name: tuple(part.strip() for part in parts.split(":")) for name, parts in made.items()}
    return Model(left.strip(), tuple(ordered), tuple(random), defined)


@dataclass(frozen=True)
class Fitted:
    """A case's fitted model, with the levels of its first (compared) fixed factor.

    `typical` is the row of the design at the mean of covariates and other factors, 0 for the compared one;
    `data` the response, design and random factors that were fitted.
    """

    model: Model
    fit: MixedFit
    factor: str | None
    levels: tuple[str, ...]
    typical: Floats
    data: tuple[list[float], Floats, dict[str, list[tuple[str, ...]]]]

    def _row(self, level: str) -> Floats:
        row = np.zeros(len(self.fit.names))
        if level != self.levels[0]:
            row[self.fit.names.index(f"{self.factor}{level}")] = 1.0
        return row

    def compare(self, test: str, reference: str, df_method: DfMethod) -> Contrast:
        return contrast(self.fit, self._row(test) - self._row(reference), df_method)

    def mean(self, level: str, df_method: DfMethod = "kenward-roger") -> Contrast:
        """The level's mean, covariates at their mean and other factors' levels weighing the same."""
        return contrast(self.fit, self._row(level) + self.typical, df_method)


def _written(term: str) -> str:
    """The column behind factor(x), as.factor(x)."""
    call = re.fullmatch(r"(?:as\.)?factor\((.*)\)", term)
    return call[1].strip() if call else term


def _factor_terms(case: Case, model: Model) -> set[str]:
    """Which single terms are factors: words and factor(x); the first also where numbers name its levels.

    Numbers are a covariate where the case's fixed effects carry the term's bare name.
    """
    named = case.expected.get("fixef")
    bare = set(named) if isinstance(named, dict) else set()
    singles = [term for terms in model.fixed for term in terms]
    found = {term for term in singles if _written(term) != term or not _is_numeric(case.table()[term])}
    if singles and not found and singles[0] not in bare:
        found.add(singles[0])
    levels = {term: levels_of(case.table()[_written(term)]) for term in singles}
    return found | {term for term in singles if any(f"{term}{level}" in bare for level in levels[term])}


def _is_numeric(texts: Sequence[str]) -> bool:
    return all(is_number(text) for text in texts if text not in MISSING)


def fit_case(case: Case, reference: str | None = None, method: Any = "reml") -> Fitted:
    """The case's model on its table; the first fixed factor is the one whose levels are compared."""
    model = read_model(str(pick(case.parameters, "model", "formula", default="")))
    singles = [_written(term) for terms in model.fixed for term in terms]
    groups = {term: model.defined.get(term) or tuple(term.split(":")) for term in model.random}
    groups = {term: parts if term not in case.table() else (term,) for term, parts in groups.items()}
    table = complete_rows(
        case, [model.response, *singles, *(part for parts in groups.values() for part in parts)]
    )
    n = len(table[model.response])
    factor_terms = _factor_terms(case, model)
    compared = next((terms[0] for terms in model.fixed if len(terms) == 1 and terms[0] in factor_terms), None)
    levels: tuple[str, ...] = ()
    columns: list[tuple[str, Floats, float]] = [("(Intercept)", np.ones(n), 1.0)]
    made: dict[str, list[tuple[str, Floats, float]]] = {}
    for term in dict.fromkeys(term for terms in model.fixed for term in terms):
        texts = table[_written(term)]
        if term not in factor_terms:
            values = np.array([float(text) for text in texts])
            made[term] = [(term, values, float(values.mean()))]
            continue
        order = levels_of(texts)
        if term == compared:
            base = reference if reference in order else order[0]
            order = [base, *(level for level in order if level != base)]
            levels = tuple(order)
        share = 0.0 if term == compared else 1.0 / len(order)
        made[term] = [
            (f"{term}{level}", np.array([float(text == level) for text in texts]), share)
            for level in order[1:]
        ]
    for terms in model.fixed:
        product: list[tuple[str, Floats, float]] = [("", np.ones(n), 1.0)]
        for term in terms:
            product = [
                (f"{left}:{name}" if left else name, values * more, share * weight)
                for name, more, weight in made[term]
                for left, values, share in product
            ]
        columns += product
    factors = {
        term: list(zip(*(table[part] for part in parts), strict=True)) for term, parts in groups.items()
    }
    data = (
        [float(text) for text in table[model.response]],
        np.column_stack([values for _, values, _ in columns]),
        factors,
    )
    fit = fit_mixed(*data, names=[name for name, _, _ in columns], method=method)
    return Fitted(model, fit, compared, levels, np.array([share for _, _, share in columns]), data)


def _row(found: Contrast, parameters: Section) -> Section:
    """A contrast, its interval at the case's level and at 90 and 95 %, and its tests against the margin."""
    level = fraction(number(parameters, *LEVEL, default=0.90))
    t = found.estimate / found.se
    row: Section = {
        **dict.fromkeys(("diff", "estimate"), found.estimate), "se": found.se, "df": found.df,
        **dict.fromkeys(("t", "t_ratio"), t), "p": 2.0 * float(student.sf(abs(t), found.df)),
    }  # fmt: skip
    for each in sorted({level, 0.90, 0.95}):
        row |= interval_keys(each, *found.interval(each))
    margin = margin_of(parameters)
    if margin is not None:
        p = found.p_equivalence(*margin)
        row |= {
            "t_lower": (found.estimate - margin.low) / found.se, "t_upper": (found.estimate - margin.high) / found.se,
            "p_tost": p, "equivalent": p < (1.0 - level) / 2.0,
        }  # fmt: skip
    return row


def _short(term: str) -> str:
    return term.lower().replace(":", "_")


def _names(term: str) -> list[str]:
    """A random factor as cases may write it: a:b, a_b, and either with its parts the other way about."""
    parts = term.split(":")
    return [term, _short(term), _short(":".join(reversed(parts))), ":".join(reversed(parts))]


def _common(fitted: Fitted) -> Section:
    fit = fitted.fit
    out: Section = {
        "fixef": dict(zip(fit.names, fit.beta.tolist(), strict=True)),
        "fixef_se": dict(zip(fit.names, fit.standard_errors.tolist(), strict=True)),
        "reml_criterion" if fit.method == "reml" else "deviance": fit.criterion,
        "logLik": fit.log_likelihood,
        "intercept": float(fit.beta[0]),
        "intercept_se": float(fit.standard_errors[0]),
        "n": fit.rows,
        **dict.fromkeys(("boundary", "singular", "is_singular"), bool(fit.boundary)),
    }
    variances = {other: value for name, value in fit.variances.items() for other in _names(name)}
    variances |= {"resid": fit.variances["residual"], "error": fit.variances["residual"]}
    out["var"] = variances
    out["sd"] = {name: value**0.5 for name, value in variances.items()}
    for name, value in variances.items():
        out[f"var_{name}"], out[f"sd_{name}"] = value, value**0.5
    total = sum(fit.variances.values())
    out["icc"] = 1.0 - fit.variances["residual"] / total
    out["var_total"], out["sd_total"] = total, total**0.5
    if fitted.levels and not any(len(terms) > 1 for terms in fitted.model.fixed):
        weights = {level: fitted.mean(level) if fit.method == "reml" else None for level in fitted.levels}
        found = {level: c for level, c in weights.items() if c is not None}
        out["emmeans"] = {level: c.estimate for level, c in found.items()}
        out["emmeans_se"] = {level: c.se for level, c in found.items()}
        out["emmeans_df"] = {level: c.df for level, c in found.items()}
    return out


def _contrasts(
    case: Case, fitted: Fitted, key: str, pairs: list[tuple[str, str]], df_method: DfMethod
) -> list[Section]:
    """One row for each "left - right" the case lists under `key` (labels only), else for each of `pairs`."""
    listed = case.expected.get(key)
    names = (
        [str(row.get("contrast", "")) for row in listed if isinstance(row, dict)]
        if isinstance(listed, list)
        else []
    )
    factor = fitted.factor or ""
    known = {
        f"{prefix}{a}-{prefix}{b}".replace(" ", ""): (a, b)
        for prefix in ("", factor)
        for a in fitted.levels
        for b in fitted.levels
        if a != b
    }
    wanted = {name: name.replace(" ", "") for name in names}
    chosen = [(name, known[wanted[name]]) for name in names if wanted[name] in known]
    chosen = chosen or [(f"{a} - {b}", (a, b)) for a, b in pairs]
    return [
        {"contrast": name, **_row(fitted.compare(*pair, df_method), case.parameters)} for name, pair in chosen
    ]  # fmt: skip


_KEYS: tuple[tuple[DfMethod, tuple[str, ...]], ...] = (
    ("kenward-roger", ("contrasts_kr", "contrasts_kenward_roger", "contrasts")),
    ("satterthwaite", ("contrasts_satterthwaite",)),
)


def _all_contrasts(case: Case, fitted: Fitted, pairs: list[tuple[str, str]]) -> Section:
    """The contrasts under every name they go by, as lists and by their own names, and their df alone."""
    out: Section = {}
    for df_method, keys in _KEYS:
        for key in keys:
            rows = _contrasts(case, fitted, key, pairs, df_method)
            named = {str(row["contrast"]): row for row in rows}
            wanted = case.expected.get(key)
            out[key] = named if isinstance(wanted, dict) else rows
            out[f"{key}_df"] = [row["df"] for row in rows]
    return out


def _reference(case: Case) -> str | None:
    """The reference a case names, or the right side of its "test - reference"."""
    order = [part.strip() for part in str(pick(case.parameters, "order", default="")).split(" - ")]
    named = pick(case.parameters, "reference_site", "reference", "control")
    return str(named) if named is not None else order[1] if len(order) == 2 else None


def mixed_equivalence(case: Case) -> Section:
    """All pairs of the first fixed factor's levels, first minus second in R's order of levels."""
    fitted = fit_case(case, _reference(case))
    order = levels_of(fitted.levels)
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    return {**_common(fitted), **_all_contrasts(case, fitted, pairs)}


def split_apheresis(case: Case) -> Section:
    """Each site against the reference; with two levels also the paired, unpaired and pooled comparisons."""
    fitted = fit_case(case, _reference(case))
    out, base = _common(fitted), fitted.levels[0]
    out |= _all_contrasts(case, fitted, [(level, base) for level in fitted.levels[1:]])
    kr, sw = (
        _row(fitted.compare(fitted.levels[1], base, df_method), case.parameters) for df_method, _ in _KEYS
    )
    mixed: Section = {
        **{key: value for key, value in out.items() if key.startswith(("var_", "sd_"))},
        "reml_criterion": out["reml_criterion"], "diff": kr["diff"],
    }  # fmt: skip
    for name, row in (("kr", kr), ("satterthwaite", sw)):
        mixed |= {f"{key}_{name}": value for key, value in row.items()}
    out["mixed_reml"] = mixed
    if len(fitted.levels) == 2:
        out.update(_two_sites(case, fitted))
    return out


def _two_sites(case: Case, fitted: Fitted) -> Section:
    """The simpler comparisons of the same lots, by lot means."""
    model, (base, other) = fitted.model, fitted.levels
    donor = next((term for term in model.random if ":" not in term), "donor")
    site = _written(str(fitted.factor))
    if donor not in case.table():
        return {}
    table = complete_rows(case, [model.response, donor, site])
    y = np.array([float(text) for text in table[model.response]])
    donors, sites = table[donor], table[site]
    alpha = (1.0 - fraction(number(case.parameters, *LEVEL, default=0.90))) / 2.0
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
        return _row(same, case.parameters)

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
    if whole.unknown_rho is not None:
        out["unknown_rho"] = row(whole.unknown_rho)
    rho = pick(case.parameters, "rho", "known_rho")
    if rho is not None:
        out["known_rho"] = row(known_rho_interval(pre, post, past, float(rho), alpha=alpha))
        out["optimal_weight"] = optimal_weight(len(pre), len(past), float(rho))
    ignored = ignoring_pairing(pre, post, past, alpha=alpha)
    out["welch_with_historical_ignoring_pairing"] = row(ignored["welch"])
    out["pooled_with_historical"] = row(ignored["pooled"])
    return out


def reml_varcomp(case: Case) -> Section:
    """Variance components by REML and ML, profile intervals, and the one-way mean squares."""
    fitted, ml = fit_case(case), fit_case(case, method="ml")
    reml, likely = _common(fitted), _common(ml)
    model = fitted.model
    profiled = {int(text) for text in re.findall(r"profile_ci_?(\d\d)", str(case.expected))}
    for level in sorted(profiled | ({95} if "profile" in str(case.expected) else set())):
        likely |= _profiled(fitted, level)
    out = {
        **reml,
        **{key: value for key, value in likely.items() if "profile" in key},
        "reml": reml,
        "ml": likely,
    }
    if not model.fixed and len(model.random) == 1 and ":" not in model.random[0]:
        name = model.random[0]
        table = complete_rows(case, [model.response, name])
        y = [float(text) for text in table[model.response]]
        parts = nested_anova(y, {name: table[name]}).components
        between, within = parts[name].ms or 0.0, parts["error"].ms or 0.0
        out["anova"] = {
            **dict.fromkeys((f"MS_{_short(name)}", f"MS_{name}"), between), "MS_resid": within, "F": between / within,
            f"SS_{_short(name)}": parts[name].ss, "SS_resid": parts["error"].ss,
            f"df_{_short(name)}": parts[name].df, "df_resid": parts["error"].df,
            f"var_{_short(name)}": parts[name].variance, "var_resid": parts["error"].variance,
        }  # fmt: skip
    return out


def _profiled(fitted: Fitted, level: int) -> Section:
    """Profile intervals as lme4 prints them, named by factor and, in lme4's own order, .sig01 and so on."""
    ends = profile_intervals(*fitted.data, names=fitted.fit.names, level=level / 100.0, ends="spline")
    out: Section = {}
    order = sorted(fitted.model.random, key=lambda term: -fitted.fit.levels[term])
    for name, interval in ends.sd.items():
        if name == "residual":
            names = ["resid", "residual", ".sigma", "sigma"]
        else:
            names = [*_names(name), f".sig{order.index(name) + 1:02d}"]
        out |= {f"profile_ci{level}_sd_{other}": list(interval) for other in names}
        out |= {f"profile_ci{level}_{other}": list(interval) for other in names}
    for name, interval in ends.fixed.items():
        out |= {f"profile_ci{level}_{name}": list(interval)}
    return out


METHODS: dict[str, Callable[[Case], Section]] = {
    "mixed_equivalence": mixed_equivalence,
    "mixed_equivalence_split_apheresis": split_apheresis,
    "reml_varcomp": reml_varcomp,
    "reml_crossed": reml_varcomp,
    **methods_designs.METHODS,
}
