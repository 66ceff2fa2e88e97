"""The design that decides and the analyses beside it, on lots drawn here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from warehouse.marts.designs import Lot, Side, analyses, compare, influence, outliers
from warehouse.plan import Plan, PlannedAttribute
from warehouse.statistics.verdict import NoEstimate

TOLD: dict[str, Any] = {
    "title": "Fold", "measured_by": ["fold_expansion"], "sample_point": "harvest", "scale": "log",
    "margin_low": -0.4, "margin_high": 0.4, "sd_ratio_max": 1.5, "criticality": "key", "rationale": "none",
}  # fmt: skip
PLAIN = PlannedAttribute.model_validate(TOLD)
ADJUSTED = PlannedAttribute.model_validate(
    TOLD | {"design": "adjusted", "covariates": ["prior_lines", "ldh_band"]}
)


def side(seed: int, n: int, lines: float, effect: float = -0.2, sd: float = 0.2, shift: float = 0.0) -> Side:
    """Lots of patients with a mean of `lines` prior lines, each line worth `effect` on the log scale."""
    rng = np.random.default_rng(seed)
    prior = rng.poisson(lines, n)
    y = 3.0 + shift + effect * prior + rng.normal(0.0, sd, n)
    bands = rng.choice(["normal", "high"], n)
    return Side(
        tuple(
            Lot(
                f"{seed}-{i}",
                float(np.exp(v)),
                f"{seed}-{i}",
                False,
                {"prior_lines": int(p), "ldh_band": str(b)},
            )
            for i, (v, p, b) in enumerate(zip(y, prior, bands, strict=True))
        )
    )


def test_sicker_patients_are_no_difference_of_the_process() -> None:
    ref, new = side(1, 60, 1.0), side(2, 60, 3.0)
    plain = compare(ref, new, PLAIN, alpha=0.05, power=0.8).result
    taken_out = compare(ref, new, ADJUSTED, alpha=0.05, power=0.8)
    assert not isinstance(plain, NoEstimate)
    assert not isinstance(taken_out.result, NoEstimate)
    assert plain.estimate < 0.75
    assert taken_out.result.ci_low < 1.0 < taken_out.result.ci_high
    assert taken_out.result.method == "ancova-kr"
    assert taken_out.design == "routine lots, adjusted for prior_lines, ldh_band"
    # The spread that is judged is what the covariates leave over, on the degrees of freedom that are left.
    assert taken_out.ratio is not None
    assert taken_out.ratio.n_reference == 60 - 2
    assert taken_out.ratio.ci_low < 1.0 < taken_out.ratio.ci_high
    assert taken_out.further is not None
    assert taken_out.further() == 0
    assert any("extrapolated" in r for r in taken_out.remarks)


def test_lots_of_patients_not_known_are_left_out_and_counted() -> None:
    ref, new = side(1, 20, 1.0), side(2, 20, 1.0)
    gone = Lot("x", 20.0, "x", False, {"prior_lines": None, "ldh_band": "normal"})
    found = compare(ref, Side((*new.used, gone)), ADJUSTED, alpha=0.05, power=0.8)
    assert found.result.n_test == 20
    assert "1 lots are left out: a covariate of the patient is not known." in found.remarks


def test_too_few_lots_for_the_covariates_is_said_in_words() -> None:
    found = compare(side(1, 20, 1.0), side(2, 1, 1.0), ADJUSTED, alpha=0.05, power=0.8)
    assert isinstance(found.result, NoEstimate)
    assert "an interval needs 2 each" in found.result.why
    assert found.ratio is None


def test_an_outlier_is_flagged_kept_and_shown_without() -> None:
    ref, new = side(1, 30, 0.0), side(2, 30, 0.0)
    far = Lot("far", 400.0, "far", True, {})
    new = Side((*new.used, far))
    assert outliers(new, "log") == {"far"}
    decided = compare(ref, new, PLAIN, alpha=0.05, power=0.8)
    rows = {a.analysis: a for a in analyses(ref, new, PLAIN, decided, alpha=0.05)}
    assert rows["the plan's"].decides
    assert sum(a.decides for a in rows.values()) == 1
    assert rows["the plan's"].result.n_test == 31
    assert rows["without flagged outliers"].result.n_test == 30
    assert "far" in rows["without flagged outliers"].note
    assert rows["without terminated lots"].note == "without far"
    assert any("Outliers among site lots" in told for told in rows["the plan's"].assumptions)
    assert rows["ratio of arithmetic means"].result.method == "fieller"
    probability = rows["without flagged outliers"].probability
    assert probability is not None
    assert probability > 0.95
    assert influence(ref, new, PLAIN, alpha=0.05, power=0.8)[0].unit == "far"


def test_analyses_of_nothing_give_words_and_no_numbers() -> None:
    decided = compare(Side(), Side(), PLAIN, alpha=0.05, power=0.8)
    for a in analyses(Side(), Side(), PLAIN, decided, alpha=0.05):
        assert isinstance(a.result, NoEstimate)
        assert a.result.why
        assert (a.where, a.probability) == (None, None)


def test_a_plan_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        PlannedAttribute.model_validate(TOLD | {"design": "adjusted"})
    with pytest.raises(ValueError, match="no covariate of the patient; use prior_lines"):
        PlannedAttribute.model_validate(TOLD | {"design": "adjusted", "covariates": ["height"]})
    bridge = {"study": "B", "sites": ["a", "b"], "attributes": ["other"], "found": "x"}
    head = {"id": "P", "version": "1", "dated": "2025-01-01", "approved_by_role": "q", "basis": "b"}
    with pytest.raises(ValueError, match="bridging B: 'other' is no attribute of this plan"):
        Plan.model_validate(head | {"attributes": {"fold": TOLD}, "bridging": [bridge]})
