"""The design that decides and the analyses beside it, on lots drawn here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from warehouse.marts.designs import (
    Compared,
    Lot,
    Side,
    StudyRows,
    analyses,
    compare,
    influence,
    looks,
    outliers,
    split,
)
from warehouse.plan import Plan, PlannedAttribute, Watch
from warehouse.statistics.scales import Margin
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
    assert taken_out.further(Margin(-0.4, 0.4), 0.0) == 0
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
    assert "far" not in rows["without flagged outliers"].note
    assert rows["without terminated lots"].note == "without 0 of the reference's lots and 1 of the site's"
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


def study(seed: int, donors: int, history: int, past_shift: float = 0.0, shift: float = 0.0) -> StudyRows:
    """Donors of wide spread whose cells went to both sites, two assays a lot, and historical reference lots."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, str, str]] = []
    for i in range(donors):
        of_donor = rng.normal(0.0, 0.5)
        for site, moved in (("ref", 0.0), ("new", shift)):
            lot = 3.0 + of_donor + moved + rng.normal(0.0, 0.1)
            rows += [(lot + rng.normal(0.0, 0.05), f"D{i}", site) for _ in range(2)]
    for i in range(history):
        lot = 3.0 + past_shift + rng.normal(0.0, 0.5)
        rows += [(lot + rng.normal(0.0, 0.05), f"H{i}", "ref") for _ in range(2)]
    values, donor, site = zip(*rows, strict=True)
    lots = tuple(f"{s}|{d}" for d, s in zip(donor, site, strict=True))
    return StudyRows(
        "S1",
        tuple(float(np.exp(v)) for v in values),
        donor,
        site,
        lots,
        frozenset(d for d in donor if d[0] == "H"),
    )


def by_study(rows: StudyRows, borrow: bool = True) -> tuple[Compared, dict[str, Any]]:
    lots = compare(side(1, 40, 1.0), side(2, 40, 1.0), PLAIN, alpha=0.05, power=0.8)
    found, told = split(rows, lots, PLAIN, reference="ref", site="new", borrow=borrow, alpha=0.05, power=0.8)
    assert found.ratio is lots.ratio
    return found, {a.analysis.removeprefix("split study: "): a for a in told}


def test_a_split_study_takes_the_donors_out_and_shows_every_analysis() -> None:
    found, told = by_study(study(1, 8, 0))
    assert not isinstance(found.result, NoEstimate)
    assert (found.design, found.result.method) == ("split apheresis, study S1", "mixed-kr")
    assert 0.67 < found.result.ci_low < 1.0 < found.result.ci_high < 1.5
    assert set(told) == {"mixed model", "pairs", "pairing ignored"}
    # Balanced with replicates: the mixed model's answer is that of the pairs, and ignoring them costs much.
    assert told["mixed model"].result.estimate == pytest.approx(told["pairs"].result.estimate)
    width = {k: np.log(a.result.ci_high / a.result.ci_low) for k, a in told.items()}
    assert width["pairing ignored"] > 2 * width["pairs"]
    assert found.further is not None
    assert found.further(Margin(-0.4, 0.4), 0.0) == 0


def test_history_is_borrowed_only_where_it_does_not_differ_and_the_plan_allows() -> None:
    alike, told = by_study(study(1, 6, 12))
    assert alike.design == "split apheresis, study S1, with history"
    assert alike.result is told["mixed model with history"].result
    assert any("do not differ" in r for r in alike.remarks)
    assert {"mixed model", "closed form with history"} <= set(told)
    not_planned, told = by_study(study(1, 6, 12), borrow=False)
    assert not_planned.result is told["mixed model"].result
    assert any("Not borrowed by plan" in r for r in not_planned.remarks)
    drifted, told = by_study(study(1, 6, 12, past_shift=2.0))
    assert drifted.design == "split apheresis, study S1"
    assert drifted.result is told["mixed model"].result
    assert any("not borrowed" in r for r in drifted.remarks)


def test_a_study_of_one_donor_is_refused_in_words() -> None:
    found, told = by_study(study(1, 1, 0))
    assert isinstance(found.result, NoEstimate)
    assert "needs at least 2" in found.result.why
    assert len(told) == 1


def dated(of: Side, months: int = 6) -> Side:
    """The side's lots, one after another over some months."""
    n = len(of.used)
    return Side(
        tuple(
            replace(lot, at=datetime(2026, 1 + i * months // n, 3, tzinfo=UTC))
            for i, lot in enumerate(of.used)
        )
    )


def test_monthly_looks_are_wider_than_one_look_and_hold_their_first_word() -> None:
    ref, new = dated(side(1, 60, 0.0)), dated(side(2, 60, 0.0))
    found = looks(ref, new, PLAIN, Watch(lots_reference=60, lots_site=60), alpha=0.05, power=0.8)
    assert [month for month, _ in found] == [(2026, m) for m in range(1, 7)]
    fractions = [look.fraction for _, look in found]
    assert fractions == pytest.approx([m / 6 for m in range(1, 7)])
    assert found[-1][1].spent == pytest.approx(0.05)
    words = [look.verdict for _, look in found]
    assert words[0] == "inconclusive"
    assert words[-1] == "comparable"
    assert words == sorted(words, reverse=True), "once comparable it stays so"
    once = compare(ref, new, PLAIN, alpha=0.05, power=0.8).result
    last = found[-1][1].interval
    assert not isinstance(once, NoEstimate)
    assert last is not None
    assert last.estimate == pytest.approx(once.estimate)
    assert last.ci_high > once.ci_high
    bare = PlannedAttribute.model_validate(TOLD | {"margin_low": None, "margin_high": None})
    assert looks(ref, new, bare, Watch(lots_reference=60, lots_site=60), alpha=0.05, power=0.8) == []


def test_a_plan_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        PlannedAttribute.model_validate(TOLD | {"design": "adjusted"})
    with pytest.raises(ValueError, match="no covariate of the patient; use prior_lines"):
        PlannedAttribute.model_validate(TOLD | {"design": "adjusted", "covariates": ["height"]})
    bridge = {"study": "B", "sites": ["a", "b"], "attributes": ["other"], "found": "x"}
    head = {"id": "P", "version": "1", "dated": "2025-01-01", "approved_by_role": "q", "basis": "b"}
    with pytest.raises(ValueError, match="bridging B: 'other' is no attribute of this plan"):
        Plan.model_validate(head | {"attributes": {"fold": TOLD}, "bridging": [bridge]})
    study = {"study": "S", "site": "b", "attributes": ["fold"], "decides": ["vcn"]}
    with pytest.raises(ValueError, match="study S decides 'vcn', which is not among its attributes"):
        Plan.model_validate(head | {"attributes": {"fold": TOLD}, "studies": [study]})
