"""Adapters answer the same question however a case writes it: names, columns, summaries, levels, missing cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from warehouse.verification.run import Case, check_case, methods

Table = dict[str, list[Any]]

# Two groups of a published example (Student 1908), as values of either drug for the same ten patients.
ONE = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
TWO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def _answers(
    method: str,
    parameters: dict[str, Any],
    expected: dict[str, Any],
    tolerance: float = 1e-9,
    **columns: list[Any],
) -> None:
    """Every expected value is given and right."""
    tables = {"data": {name: [str(v) for v in values] for name, values in columns.items()}} if columns else {}
    case = Case("c", method, parameters, expected, tables, relative=tolerance, absolute=tolerance)
    failed = [
        f"{c.key}: {c.status} {c.got!r}, want {c.want!r}" for c in check_case(case, methods()) if not c.ok
    ]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    ("parameters", "columns"),
    [
        ({"order": "b - a"}, {"y": [*ONE, *TWO], "site": ["a"] * 10 + ["b"] * 10}),
        (
            {"formula": "score ~ drug", "order": "b-a"},
            {"score": [*ONE, *TWO], "drug": ["a"] * 10 + ["b"] * 10},
        ),
        (
            {"reference": "a"},
            {"rownames": list(range(20)), "y": [*TWO, *ONE], "arm": ["b"] * 10 + ["a"] * 10},
        ),
        ({"order": "new / old"}, {"old": [*ONE, "NA"], "new": ["", *TWO]}),
        ({"m1": 2.33, "sd1": stats.tstd(TWO), "n1": 10, "m2": 0.75, "sd2": stats.tstd(ONE), "n2": 10}, {}),
        (
            {
                "mean1": 2.33,
                "var1": stats.tvar(TWO),
                "n1": 10,
                "mean2": 0.75,
                "s2": stats.tstd(ONE),
                "n2": 10,
            },
            {},
        ),
    ],
)
def test_two_samples_are_found(parameters: dict[str, Any], columns: Table) -> None:
    test = stats.ttest_ind(TWO, ONE, equal_var=False)
    low, high = test.confidence_interval(0.9)
    outer = test.confidence_interval(0.95)
    expected = {"diff": 1.58, "df": test.df, "ci90_lower": low, "ci90": [low, high], "ci95_upper": outer.high}
    _answers("tost_two_sample_welch", parameters, expected, **columns)
    _answers("tost", {**parameters, "bounds": [-3, 3]}, {**expected, "equivalent": high < 3}, **columns)


def test_a_pair_with_one_value_missing_is_left_out_alone() -> None:
    expected = {"diff": sum(b - a for a, b in zip(ONE[1:9], TWO[1:9], strict=True)) / 8, "n": 8, "df": 7.0}
    _answers(
        "tost_paired", {"delta": 3, "order": "new - old"}, expected, old=["NA", *ONE[1:]], new=[*TWO[:9], ""]
    )


def test_a_margin_of_ratios_is_judged_on_logarithms() -> None:
    a, b = [1.0, 2.0, 4.0, 3.0], [1.1, 2.1, 4.2, 3.5]
    ratio = stats.gmean(b) / stats.gmean(a)
    _answers(
        "tost_paired", {"lower_ratio": 0.8, "upper_ratio": 1.25, "order": "b - a"}, {"gmr": ratio}, a=a, b=b
    )


def test_too_few_for_an_exact_test_is_a_refusal_and_a_claim_that_fails_is_false() -> None:
    four = {"x": [1.0, 2.0, 3.0, 4.0], "y": [1.1, 2.2, 3.1, 4.3]}
    _answers("tost_wilcoxon_paired", {"delta": 1}, {"refused": True, "p_tost": None}, **four)
    _answers("tost_paired", {"delta": 0.05}, {"equivalent": False, "refused": False}, **four)
    _answers("outlier_grubbs", {}, {"refused": True}, y=[2.0, 2.0, 2.0])
    _answers("censored", {}, {"refused": True}, y=["<1", "<1", "<2"])


def test_welleks_published_examples() -> None:
    """Wellek (2010), sections 5.3 and 6.4, as R's EQUIVNONINF states their input."""
    _answers(
        "wellek_t_paired",
        {"n": 36, "theta1": -0.4716, "theta2": 0.3853},
        {"c1": -1.179324, "c2": 0.669202},
        1e-5,
    )
    x, y = [1, 1, 3, 2, 2, 3, 1, 1, 1, 2], [2, 1, 2, 2, 1, 1, 2, 2, 2, 1, 1, 2]
    pairs = [(a > b) - (a < b) for a in x for b in y]
    share = pairs.count(1) / (pairs.count(1) + pairs.count(-1))
    case = {"values": [*x, *y], "group": ["x"] * 10 + ["y"] * 12}
    _answers("wellek_mwtie", {"eps1": 0.1, "eps2": 0.1}, {"WXY_TIE": share, "REJ": 0}, **case)


@pytest.mark.parametrize(
    ("counts", "newcombe", "score"),
    [  # Newcombe (1998) Stat Med 17:873, table II, methods 10 and 8 with N / (N - 1)
        ((5, 56, 0, 29), [-0.0381, 0.1926], [-0.0326, 0.1933]),
        ((0, 10, 0, 20), [-0.1611, 0.2775], [-0.1658, 0.2844]),
        ((10, 10, 0, 20), [0.6791, 1.0], [0.7156, 1.0]),
        ((10, 10, 0, 10), [0.6075, 1.0], [0.6636, 1.0]),
    ],
)
def test_proportions_with_empty_cells(
    counts: tuple[int, ...], newcombe: list[float], score: list[float]
) -> None:
    expected = {"newcombe95": newcombe, "mn_ci95": score, "ci95_newcombe": newcombe}
    _answers("prop_equivalence", {"counts": list(counts)}, expected, 1e-4)
    names = dict(zip(("x1", "n1", "x2", "n2"), counts, strict=True))
    _answers("proportions", names, expected, 1e-4)


def test_one_meaning_under_the_names_that_people_give_it() -> None:
    """The level in the parameters, ends as low or lower, one-sided as a word, a value before or after its group."""
    counts = {"x1": 5, "n1": 56, "x2": 0, "n2": 29, "level": 0.95}
    _answers("proportions", counts, {"newcombe": [-0.0381, 0.1926]}, 1e-4)
    _answers(
        "tolerance", {"n": 12, "P": 0.99, "conf": 0.95, "side": "one-sided"}, {"k": 3.747084893936731}, 1e-9
    )
    _answers("wilks", {"P": 0.95, "conf": 95, "side": "one_sided"}, {"n": 59}, 0)
    ends = {"ci_low": 2.25 / stats.f.ppf(0.95, 8, 10), "ci_high": 2.25 / stats.f.ppf(0.05, 8, 10)}
    spread = {"sd1": 1.5, "n1": 9, "sd2": 1.0, "n2": 11, "level": 0.9}
    _answers("variance_ratio", spread, {"ratio": 2.25, **ends}, 1e-9)
    _answers("p_adjust", {"p": [0.01, 0.04, 0.03], "method": "Holm"}, {"adjusted": [0.03, 0.06, 0.06]}, 1e-12)
    table = {"values": [1.0, 2.0, 3.0, 2.0, 3.5, 4.0], "group": ["a", "a", "a", "b", "b", "b"]}
    _answers("dunnett", {"reference": "a"}, {"diff": {"b": 9.5 / 3 - 2.0}}, 1e-9, **table)


def test_a_design_may_be_written_in_a_key_or_in_parameters() -> None:
    size = {"n_total": 40, "power": 0.815845280273183}
    ratios = {"theta1": 0.8, "theta2": 1.25}
    _answers("power_tost", ratios, {"sampleN": {"x2x2_CV30_theta95": size}}, 1e-8)
    one = {**ratios, "design": "2x2", "CV": 0.3, "theta0": 0.95}
    _answers("power_tost", one, size, 1e-8)
    _answers("power_tost", {**one, "n": 40}, {"power": size["power"]}, 1e-8)


def test_the_two_sides_of_a_factor_and_an_interaction_of_a_formula() -> None:
    """Crossed 2 x 2 layout with donors: values of the interaction by hand, from means of cells."""
    donors, cells = 6, [("A", 1), ("A", 2), ("B", 1), ("B", 2)]
    noise = [0.3, -0.2, 0.1, -0.4, 0.25, 0.05]
    rows = [
        (f"d{d}", site, day, d + (site == "B") * 2.0 + day * 0.5 + noise[(d + k) % 6])
        for d in range(donors)
        for k, (site, day) in enumerate(cells)
    ]
    table = {name: [row[i] for row in rows] for i, name in enumerate(("donor", "site", "day", "y"))}
    mean = {c: sum(r[3] for r in rows if r[1:3] == c) / donors for c in cells}
    both = mean["B", 2] - mean["B", 1] - mean["A", 2] + mean["A", 1]
    model = {"model": "y ~ site * factor(day) + (1 | donor)"}
    expected = {"fixef": {"siteB": mean["B", 1] - mean["A", 1], "siteB:factor(day)2": both}}
    _answers("mixed_equivalence", model, expected, 1e-6, **table)
    plain = {"model": "y ~ site + day + (1|donor)", "delta": 3}
    middle = (mean["A", 1] + mean["A", 2]) / 2
    answer = {
        "emmeans": {"A": middle},
        "contrasts": [{"contrast": "B-A", "diff": sum(mean[c] for c in cells[2:]) / 2 - middle}],
    }
    _answers("mixed_equivalence", plain, answer, 1e-6, **table)


def test_a_variance_of_exactly_zero_is_said_to_be_singular() -> None:
    """Box & Tiao's (1973) generated batches, on which the batch variance is estimated as 0."""
    rows = {
        "A": [7.298, 3.846, 2.434, 9.566, 7.990],
        "B": [5.220, 6.556, 0.608, 11.788, -0.892],
        "C": [0.110, 10.386, 13.434, 5.510, 8.166],
        "D": [2.212, 4.852, 7.092, 9.288, 4.980],
        "E": [0.282, 9.014, 4.458, 9.446, 7.198],
        "F": [1.722, 4.782, 8.106, 0.758, 3.758],
    }
    table = {"Batch": [b for b, v in rows.items() for _ in v], "Yield": [x for v in rows.values() for x in v]}
    reml = {
        "var_batch": 0.0,
        "sd_resid": 3.71569,
        "reml_criterion": 161.8283,
        "intercept_se": 0.67839,
        "singular": True,
    }
    _answers("varcomp", {"model": "Yield ~ 1 + (1|Batch)"}, {"reml": reml}, 1e-5, **table)
    nested = {"components": {"Batch": {"VC": 0.0}}, "sd_ci95": {"Batch": {"lower": None, "upper": None}}}
    _answers("vca_nested_anova", {"formula": "Yield ~ Batch"}, nested, **table)


def test_counts_of_a_table_are_the_units_they_count() -> None:
    """cbind(events, others) of a 2 x 2 table: the slope is the log odds ratio, the deviance 0 (saturated)."""
    table = {"arm": ["a", "b"], "yes": [3, 8], "n": [10, 12]}
    odds = np.log((8 / 4) / (3 / 7))
    expected = {"coef": {"armb": odds}, "deviance": 0.0, "n": 22, "events": 11, "or": {"armb": np.exp(odds)}}
    _answers("logistic", {"formula": "cbind(yes, n - yes) ~ arm"}, expected, 1e-7, **table)


def test_each_step_pattern_weighs_its_steps() -> None:
    """Worked by hand: one warp of 0, 0, 2 to 0, 2, 2 costs nothing; shifted by 1 each pattern counts its steps."""
    expected = {name: {"distance": 0.0} for name in ("symmetric1", "symmetric2", "asymmetric")}
    _answers("dtw", {}, expected, query=[0, 0, 2], template=[0, 2, 2])
    steps = {"symmetric1": 3.0, "symmetric2": 5.0, "asymmetric": 3.0}
    expected = {name: {"distance": distance} for name, distance in steps.items()}
    _answers("dtw", {}, expected, query=[1, 1, 1], template=[0, 0, 0])
