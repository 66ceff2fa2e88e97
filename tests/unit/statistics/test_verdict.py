"""The verdict's words and reasons, in their order, and what no data may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from warehouse.statistics import means
from warehouse.statistics.lots import welch_tost_power
from warehouse.statistics.means import Estimate, Summary
from warehouse.statistics.scales import Margin, Scale
from warehouse.statistics.variability import sd_ratio, sd_ratio_power
from warehouse.statistics.verdict import Facts, Judgement, NoEstimate, estimate_lots, judge

GOOD = Facts(design="routine lots, unadjusted", like_methods=True, lab_confounded=False, stable=True)
MARGIN = Margin(-3.0, 3.0)
SPREAD_MARGIN = Margin(0.0, 2.0)
LOTS = st.lists(st.floats(50, 150), min_size=0, max_size=9)


def _estimate(mean: float, *, sd: float = 1.0, n: int = 10, n_reference: int = 20) -> Estimate:
    return means.welch_from_summaries(Summary(90.0, 1.0, n_reference), Summary(90.0 + mean, sd, n))


def _spread(sd: float, n: int = 40) -> tuple[Estimate, Margin]:
    return sd_ratio(Summary(90.0, 1.0, 40), Summary(90.0, sd, n)), SPREAD_MARGIN


def test_comparable_needs_the_whole_interval_and_the_spread() -> None:
    answer = judge(_estimate(0.5), MARGIN, GOOD, variability=_spread(1.1))
    assert (answer.verdict, answer.reason) == ("comparable", None)
    assert answer.sentence.startswith("Comparable: the difference of site to reference is 0.5")


def test_means_alone_do_not_make_comparable() -> None:
    answer = judge(_estimate(0.5), MARGIN, GOOD)
    assert (answer.verdict, answer.reason) == ("inconclusive", "means_only")


def test_wholly_outside_on_one_side_is_not_comparable() -> None:
    for mean in (-6.0, 6.0):
        answer = judge(_estimate(mean), MARGIN, GOOD)
        assert (answer.verdict, answer.reason) == ("not comparable", None)


def test_a_difference_beyond_the_margin_but_not_wholly_is_inconclusive() -> None:
    answer = judge(_estimate(3.6, n=4), MARGIN, GOOD)
    assert (answer.verdict, answer.reason) == ("inconclusive", "too_few_lots")


def test_lots_needed_are_never_0_and_are_reckoned_at_what_was_seen_where_the_lots_in_hand_would_do() -> None:
    # At no true difference 4 lots have power enough; at 3.6 seen more of them would show a difference beyond 3.
    seen = judge(_estimate(3.6, n=4), MARGIN, GOOD)
    lots = seen.lots_needed
    assert lots is not None
    beyond = Margin(3.0, 1e6)
    assert welch_tost_power(beyond, 1.0, 20, 1.0, 4 + lots, true=3.6) >= 0.8
    assert welch_tost_power(beyond, 1.0, 20, 1.0, 3 + lots, true=3.6) < 0.8
    assert "if the true difference is as seen" in seen.sentence
    # At 3.2 the reference's own error (0.22) is too large for any number of the site's lots.
    near = judge(_estimate(3.2, n=4), MARGIN, GOOD)
    assert (near.reason, near.lots_needed) == ("no_number_would_do", None)
    # An undecided spread beside means that are fine: lots for the ratio of SDs, at the ratio seen.
    spread = judge(_estimate(0.0, n=40), MARGIN, GOOD, variability=_spread(1.7, n=40))
    assert (spread.reason, spread.decided_by, spread.lots_needed_mean) == (
        "no_number_would_do",
        "variability",
        None,
    )
    ratio = sd_ratio(Summary(90.0, 1.0, 400), Summary(90.0, 1.7, 40))
    spread = judge(_estimate(0.0, n=40, n_reference=400), MARGIN, GOOD, variability=(ratio, SPREAD_MARGIN))
    more = spread.lots_needed
    assert more is not None
    assert more == spread.lots_needed_spread
    assert sd_ratio_power(SPREAD_MARGIN, 400, 40 + more, true_ratio=1.7) >= 0.8
    assert sd_ratio_power(SPREAD_MARGIN, 400, 39 + more, true_ratio=1.7) < 0.8


def test_where_means_and_spread_are_undecided_the_larger_number_is_needed() -> None:
    wide = judge(_estimate(2.5, n=3), Margin(-1.5, 3.0), GOOD, variability=_spread(1.2, n=3))
    mean, spread = wide.lots_needed_mean, wide.lots_needed_spread
    assert mean is not None
    assert spread is not None
    assert wide.lots_needed == max(mean, spread)
    assert wide.decided_by == "mean"


def test_a_site_shown_to_be_noisier_fails_whatever_the_means_say() -> None:
    answer = judge(_estimate(2.9, sd=1.5), MARGIN, GOOD, variability=_spread(5.0))
    assert (answer.verdict, answer.decided_by) == ("not comparable", "variability")


def test_equal_on_average_but_noisier_fails_and_shows_the_spread() -> None:
    answer = judge(_estimate(0.0, sd=2.5, n=40), MARGIN, GOOD, variability=_spread(5.0))
    assert (answer.verdict, answer.decided_by) == ("not comparable", "variability")
    assert answer.ci_low is not None
    assert answer.ci_low > SPREAD_MARGIN.high == answer.margin_high


def test_an_undecided_spread_asks_for_lots() -> None:
    answer = judge(_estimate(0.0), MARGIN, GOOD, variability=_spread(1.8, n=5))
    assert (answer.verdict, answer.reason, answer.decided_by) == (
        "inconclusive",
        "too_few_lots",
        "variability",
    )
    assert answer.lots_needed is not None


def test_a_reference_too_uncertain_for_the_margin_says_so() -> None:
    answer = judge(_estimate(0.0, n_reference=3), Margin(-1.0, 1.0), GOOD)
    assert (answer.reason, answer.lots_needed) == ("no_number_would_do", None)


@pytest.mark.parametrize("mean", [0.0, 3.0, 9.0])
def test_reasons_come_in_their_order_whatever_the_interval_says(mean: float) -> None:
    bad = Facts(design="routine lots, unadjusted", like_methods=False, lab_confounded=True, stable=False)
    steps = [
        ("unlike_methods", bad, None),
        ("lab_confounded", replace(bad, like_methods=True), None),
        ("no_margin", replace(bad, like_methods=True, lab_confounded=False), None),
        ("unstable", replace(bad, like_methods=True, lab_confounded=False), MARGIN),
    ]
    for reason, facts, margin in steps:
        answer = judge(_estimate(mean), margin, facts)
        assert (answer.verdict, answer.reason, answer.lots_needed) == ("inconclusive", reason, None)


@pytest.mark.parametrize(("n_reference", "n_site"), [(0, 0), (0, 5), (1, 5), (5, 1), (5, 0), (1, 1)])
def test_fewer_than_two_lots_have_no_interval_and_never_nan(n_reference: int, n_site: int) -> None:
    lots = [90.0, 91.0, 89.5, 92.0, 90.4]
    result = estimate_lots(lots[:n_reference], lots[:n_site], scale="log")
    answer = judge(result, Margin(0.8, 1.25), GOOD)
    assert (answer.verdict, answer.reason) == ("inconclusive", "too_few_lots")
    assert answer.estimate is answer.ci_low is answer.ci_high is None
    assert (answer.lots_needed is not None) == (n_reference == 5)


def test_no_spread_at_all_is_words() -> None:
    answer = judge(estimate_lots([5.0] * 4, [5.0] * 3), MARGIN, GOOD)
    assert (answer.verdict, answer.ci_low, answer.lots_needed) == ("inconclusive", None, None)
    assert "no spread" in answer.sentence


def _finite(answer: Judgement) -> bool:
    numbers = (answer.estimate, answer.ci_low, answer.ci_high)
    return all(number is None or np.isfinite(number) for number in numbers)


@settings(max_examples=80, deadline=None)
@given(LOTS, LOTS, st.sampled_from(["welch", "pooled"]), st.sampled_from(["identity", "log"]))
def test_any_lots_get_a_verdict_that_obeys_its_definition(
    reference: list[float],
    site: list[float],
    method: Literal["welch", "pooled"],
    scale: Scale,
) -> None:
    margin = Margin(-8.0, 8.0) if scale == "identity" else Margin(0.9, 1.1)
    result = estimate_lots(reference, site, method=method, scale=scale)
    answer = judge(result, margin, GOOD)
    assert _finite(answer)
    assert (answer.reason is None) == (answer.verdict != "inconclusive")
    assert "nan" not in answer.sentence.lower()
    if isinstance(result, NoEstimate):
        assert answer.ci_low is None
        return
    outside = result.ci_low > margin.high or result.ci_high < margin.low
    inside = margin.low < result.ci_low and result.ci_high < margin.high
    assert (answer.verdict == "not comparable") == outside
    assert (answer.reason == "means_only") == inside
    assert (answer.reason == "no_number_would_do") == (
        not inside and not outside and answer.lots_needed is None
    )


@settings(max_examples=40, deadline=None)
@given(LOTS, LOTS, st.floats(1, 20), st.floats(0, 20))
def test_a_wider_margin_never_makes_a_verdict_worse(
    reference: list[float], site: list[float], width: float, more: float
) -> None:
    assume(len(reference) > 1 and len(site) > 1 and np.ptp(reference + site) > 0.1)
    result = estimate_lots(reference, site)
    assume(isinstance(result, Estimate))
    rank = {"not comparable": 0, "inconclusive": 1, "comparable": 2}
    spread = _spread(1.0)
    narrow = judge(result, Margin(-width, width), GOOD, variability=spread)
    wide = judge(result, Margin(-width - more, width + more), GOOD, variability=spread)
    assert rank[wide.verdict] >= rank[narrow.verdict]


def test_pairs_plan_pairs_and_other_methods_plan_their_own() -> None:
    reference, site = [90.0, 92.0, 88.0, 95.0], [91.0, 90.0, 91.0, 93.0]
    pairs = judge(estimate_lots(reference, site, method="paired"), Margin(-2.0, 2.0), GOOD)
    assert pairs.lots_needed is not None
    assert pairs.lots_needed > 0
    bare = replace(_estimate(2.9), method="mixed-reml", sd_reference=None, sd_test=None)
    assert judge(bare, MARGIN, GOOD, further=lambda *_: 7).lots_needed == 7
    with pytest.raises(ValueError, match="plans its own lots"):
        judge(bare, MARGIN, GOOD)


@settings(max_examples=40, deadline=None)
@given(LOTS, LOTS, st.floats(50, 150))
def test_another_lot_never_takes_the_interval_away(
    reference: list[float], site: list[float], another: float
) -> None:
    before = estimate_lots(reference, site)
    assume(isinstance(before, Estimate))
    after = estimate_lots(reference, [*site, another])
    assert isinstance(after, Estimate)
    assert np.isfinite([after.ci_low, after.ci_high]).all()


def test_the_size_behind_a_verdict_is_printed_with_it() -> None:
    few = judge(_estimate(0.0, n=3, n_reference=20), MARGIN, GOOD)
    assert few.size == pytest.approx(0.0604, abs=1e-4)
    assert judge(estimate_lots([1.0, 2.0, 3.0], [1.1, 2.0, 2.9], method="paired"), MARGIN, GOOD).size == 0.05
