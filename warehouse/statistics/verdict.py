"""The verdict: comparable, not comparable or inconclusive, with its reason and the lots it would take.

Belongs here: the words, the order of reasons, the sentence. Does not belong here: how an interval is made
(means.py, mixed.py, ranks.py), margins (the comparability plan), operating characteristics.

`comparable`: the whole 90 % interval lies inside the margin. `not comparable`: it lies wholly outside, on one
side. Everything else is `inconclusive` with one reason, the first that applies of:

1. unlike_methods: the two sides were measured by methods that no bridging study joins;
2. lab_confounded: each site's lots were measured only by its own laboratory;
3. no_margin: the comparability plan has no margin for this attribute;
4. unstable: a side is not in statistical control, so its lots have no common mean;
5. too_few_lots: fewer than 2 lots on a side, or the interval crosses a margin and more lots would settle it;
6. means_only: the means agree but variability was not judged;
7. no_number_would_do: the interval crosses a margin and no number of further lots of the site would settle
   it, because the reference's own standard error is too wide for the margin.

1 to 4 hold back "not comparable" too: the difference would have another possible cause. A p-value above 0.05
never decides anything. Where the spread decides (means inside, ratio of SDs not), the judgement carries
the ratio of SDs, its interval and its margin, so what is shown is always what decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

from warehouse.statistics import means
from warehouse.statistics.lots import paired_lots, pooled_lots, welch_lots, welch_size
from warehouse.statistics.means import Estimate
from warehouse.statistics.refusal import StatisticsRefusal, differences, probability, spread
from warehouse.statistics.scales import READING, Margin, Reading, Scale, forward, margin_on_scale
from warehouse.statistics.variability import variability_lots

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Verdict = Literal["comparable", "not comparable", "inconclusive"]
Reason = Literal[
    "too_few_lots",
    "no_margin",
    "unlike_methods",
    "lab_confounded",
    "means_only",
    "unstable",
    "no_number_would_do",
]
Place = Literal["inside", "outside", "across"]

_HELD_BACK: dict[Reason, str] = {
    "unlike_methods": (
        "the two sides were measured by unlike methods and no bridging study joins them, so a difference of "
        "methods cannot be told from a difference of products"
    ),
    "lab_confounded": (
        "each site's lots were measured only by its own laboratory, so a difference of laboratories cannot "
        "be told from a difference of manufacture"
    ),
    "no_margin": "the comparability plan has no margin for this attribute",
    "unstable": "the process is not in statistical control, so its lots have no common mean to compare",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be known beside the numbers. `design` is the verdict's design in words."""

    design: str
    like_methods: bool
    lab_confounded: bool
    stable: bool


@dataclass(frozen=True, slots=True)
class NoEstimate:
    """Lots that carry no interval, and why. SDs on the analysis scale where a side has one."""

    method: str
    scale: Scale
    n_reference: int
    n_test: int
    why: str
    sd_reference: float | None = None
    sd_test: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict. Estimate, interval and margin are as read on the scale; None where there is none.

    `lots_needed`: further lots of the site, reference fixed (for pairs: further pairs), for `power` at true
    difference 0 with the observed spread; None where the verdict is decided, held back by 1 to 4 or 6, or no
    number would do. `decided_by` says whose interval is shown. `size` is the exact chance that this test
    calls a true difference at the margin comparable, at the observed spread (nominal: alpha); None for
    methods whose size is not known exactly.
    """

    verdict: Verdict
    reason: Reason | None
    design: str
    scale: Scale
    reading: Reading
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    margin_low: float | None
    margin_high: float | None
    n_reference: int
    n_site: int
    lots_needed: int | None
    method: str
    interval: str
    alpha: float
    power: float
    size: float | None
    decided_by: Literal["mean", "variability"]
    sentence: str


def place(estimate: Estimate, margin: Margin) -> Place:
    """Where the whole interval lies: inside the margin, outside it on one side, or across a limit."""
    if margin.low < estimate.ci_low and estimate.ci_high < margin.high:
        return "inside"
    if estimate.ci_low > margin.high or estimate.ci_high < margin.low:
        return "outside"
    return "across"


def lots_needed(estimate: Estimate, margin: Margin, *, power: float = 0.8) -> int | None:
    """Further lots for `power` at true difference 0 with the spread the estimate observed.

    Raises StatisticsRefusal for an estimate of a method that plans its own lots (no SDs in it).
    """
    limits = margin_on_scale(margin, estimate.scale)
    if estimate.sd_difference is not None:
        return paired_lots(limits, estimate.sd_difference, estimate.n_test, alpha=estimate.alpha, power=power)
    if (
        estimate.sd_reference is None
        or estimate.sd_test is None
        or estimate.reading != READING[estimate.scale]
    ):
        raise StatisticsRefusal(f"{estimate.method} plans its own lots: give `further` to the verdict.")
    ref, new = (estimate.sd_reference, estimate.n_reference), (estimate.sd_test, estimate.n_test)
    if estimate.method == "pooled-t":
        variance = ((ref[1] - 1) * ref[0] ** 2 + (new[1] - 1) * new[0] ** 2) / (ref[1] + new[1] - 2)
        return pooled_lots(limits, sqrt(variance), ref[1], new[1], alpha=estimate.alpha, power=power)
    return welch_lots(limits, *ref, *new, alpha=estimate.alpha, power=power)


def size_of(estimate: Estimate) -> float | None:
    """Exact size of the test of means behind an estimate, for normal lots; None where it is not known."""
    if estimate.method in {"paired-t", "one-sample-t", "pooled-t"}:
        return estimate.alpha
    if estimate.method != "welch-t" or estimate.sd_reference is None or estimate.sd_test is None:
        return None
    sides = (estimate.sd_reference, estimate.n_reference, estimate.sd_test, estimate.n_test)
    return welch_size(*sides, alpha=estimate.alpha)


def _lots_without_estimate(
    result: NoEstimate, margin: Margin, alpha: float, power: float
) -> tuple[int | None, str]:
    """Lots from the reference's spread where the site has none of its own yet, and the words for it."""
    if result.n_test >= 2 or result.sd_reference is None or result.sd_reference <= 0:
        return None, ""
    limits = margin_on_scale(margin, result.scale)
    sd = result.sd_reference
    lots = welch_lots(limits, sd, result.n_reference, sd, result.n_test, alpha=alpha, power=power)
    if lots is None:
        return (
            None,
            " No number of lots of the site would do: the reference alone is too uncertain for the margin.",
        )
    return lots, f" About {lots} further lots would do if the site varies as the reference does."


def _numbers(estimate: Estimate, what: str) -> str:
    noun = estimate.reading if what == "mean" else "ratio of standard deviations"
    share = estimate.interval.removeprefix("two-sided ")
    return (
        f"the {noun} of site to reference is {estimate.estimate:.4g} "
        f"({share} interval {estimate.ci_low:.4g} to {estimate.ci_high:.4g})"
    )


def _margin_words(margin: Margin) -> str:
    return f"margin {margin.low:.4g} to {margin.high:.4g}"


class _Decision(NamedTuple):
    verdict: Verdict
    reason: Reason | None
    sentence: str
    lots: int | None = None
    shown: tuple[Estimate, Margin] | None = None


def judge(
    result: Estimate | NoEstimate,
    margin: Margin | None,
    facts: Facts,
    *,
    variability: tuple[Estimate, Margin] | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    further: Callable[[], int | None] | None = None,
    further_variability: Callable[[], int | None] | None = None,
) -> Judgement:
    """The verdict on one attribute of one site against the reference, by the rules at the top of this module.

    `result` and `margin` are as read on the scale; `variability` is the ratio of SDs with its own margin (a
    lower limit of 0: only noisier is judged), None where it was not judged. `alpha` is used where there is no
    estimate to take it from. `further` and `further_variability` give the lots needed by methods that plan
    their own; without `further_variability` the F test of two SDs plans them.
    """
    probability(power, "power")
    level = result.alpha if isinstance(result, Estimate) else alpha
    held = _held_back(facts, margin)
    if held is not None or margin is None:
        decision = _Decision("inconclusive", held, f"Inconclusive: {_HELD_BACK[held or 'no_margin']}.")
    elif isinstance(result, NoEstimate):
        lots, words = _lots_without_estimate(result, margin, level, power)
        decision = _Decision("inconclusive", "too_few_lots", f"Inconclusive: {result.why}{words}", lots)
    elif (where := place(result, margin)) == "inside":
        text = f"{_numbers(result, 'mean')}, inside the {_margin_words(margin)}"
        decision = _by_variability(text, variability, power, further_variability)
    elif where == "outside":
        text = f"Not comparable: {_numbers(result, 'mean')}, wholly outside the {_margin_words(margin)}."
        decision = _Decision("not comparable", None, text)
    else:
        lots = further() if further is not None else lots_needed(result, margin, power=power)
        decision = _undecided(f"{_numbers(result, 'mean')}, across the {_margin_words(margin)}", lots, power)

    interval = decision.shown[0] if decision.shown else (result if isinstance(result, Estimate) else None)
    limits = decision.shown[1] if decision.shown else margin
    return Judgement(
        verdict=decision.verdict,
        reason=decision.reason,
        design=facts.design,
        scale=interval.scale if interval else result.scale,
        reading=interval.reading if interval else READING[result.scale],
        estimate=interval.estimate if interval else None,
        ci_low=interval.ci_low if interval else None,
        ci_high=interval.ci_high if interval else None,
        margin_low=limits.low if limits else None,
        margin_high=limits.high if limits else None,
        n_reference=result.n_reference,
        n_site=result.n_test,
        lots_needed=decision.lots,
        method=interval.method if interval else result.method,
        interval=interval.interval if interval else means.interval_name(level),
        alpha=level,
        power=power,
        size=size_of(result) if isinstance(result, Estimate) else None,
        decided_by="variability" if decision.shown else "mean",
        sentence=decision.sentence,
    )


def _held_back(facts: Facts, margin: Margin | None) -> Reason | None:
    """The first reason, in order, that holds any verdict back whatever the interval says."""
    if not facts.like_methods:
        return "unlike_methods"
    if facts.lab_confounded:
        return "lab_confounded"
    if margin is None:
        return "no_margin"
    return None if facts.stable else "unstable"


def _by_variability(
    text: str,
    variability: tuple[Estimate, Margin] | None,
    power: float,
    further: Callable[[], int | None] | None,
) -> _Decision:
    """What the ratio of SDs makes of means that agree; `text` says how they do."""
    if variability is None:
        words = f"Inconclusive: {text}, but variability was not judged."
        return _Decision("inconclusive", "means_only", words)
    ratio, limits = variability
    both, bounds = f"{text}; {_numbers(ratio, 'variability')}", _margin_words(limits)
    where = place(ratio, limits)
    if where == "inside":
        return _Decision("comparable", None, f"Comparable: {both}, inside the {bounds}.")
    if where == "outside":
        words = f"Not comparable in spread: {both}, wholly outside the {bounds}."
        return _Decision("not comparable", None, words, None, variability)
    lots = further() if further is not None else variability_lots(ratio, limits, power=power)
    return _undecided(f"{both}, across the {bounds}", lots, power)._replace(shown=variability)


def _undecided(numbers: str, lots: int | None, power: float) -> _Decision:
    """An interval across a limit: too few lots where more would settle it, else no number would do."""
    if lots is None:
        words = "No number of further lots of the site would do: the reference itself is too uncertain."
        return _Decision("inconclusive", "no_number_would_do", f"Inconclusive: {numbers}. {words}")
    chance = f"a {100 * power:g} % chance of a verdict if there is no true difference"
    words = (
        f"{lots} further lots would give {chance}."
        if lots
        else f"The lots in hand already give {chance}: it is the observed difference that stands in the way."
    )
    return _Decision("inconclusive", "too_few_lots", f"Inconclusive: {numbers}. {words}", lots)


def estimate_lots(
    reference: ArrayLike,
    site: ArrayLike,
    *,
    scale: Scale = "identity",
    alpha: float = 0.05,
    top: float = 1.0,
    method: Literal["welch", "pooled", "paired"] = "welch",
) -> Estimate | NoEstimate:
    """The estimate from lots, or why there is none (fewer than 2 lots on a side, no spread at all).

    A value outside the scale's domain is a StatisticsRefusal: it is an error of the plan, not of the lots.
    """
    ref = forward(reference, scale, top=top, what="reference", at_least=0)
    new = forward(site, scale, top=top, what="site", at_least=0)
    n_reference, n_test = ref.size, new.size
    name = f"{method}-t"
    if method == "paired" and n_reference != n_test:
        raise StatisticsRefusal(f"Pairs need equal counts: {n_reference} reference and {n_test} site lots.")
    if min(n_reference, n_test) < 2:
        sd = spread(ref) if ref.size > 1 and method != "paired" else None
        why = (
            f"there are {n_reference} reference and {n_test} site lots, "
            "and an interval needs at least 2 on each side."
        )
        return NoEstimate(name, scale, n_reference, n_test, why, sd_reference=sd)
    try:
        if method == "paired":
            return means.paired_from_summary(
                means.summarise(differences(ref, new), what="pairs"), scale=scale, alpha=alpha
            )
        make = means.welch_from_summaries if method == "welch" else means.pooled_from_summaries
        return make(means.summarise(ref), means.summarise(new), scale=scale, alpha=alpha)
    except StatisticsRefusal as refusal:
        return NoEstimate(name, scale, n_reference, n_test, str(refusal), spread(ref), spread(new))
