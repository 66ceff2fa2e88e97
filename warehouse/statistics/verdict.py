"""The verdict: comparable, not comparable or inconclusive, with its reason and the lots it would take.

Belongs here: the words, the order of reasons, the sentence. Does not belong here: how an interval is made
(means.py, mixed.py, ranks.py), margins (the comparability plan), operating characteristics.

`comparable`: the whole 90 % interval lies inside the margin. `not comparable`: it lies wholly outside, on one
side. Everything else is `inconclusive` with one reason, the first that applies of:

1. unlike_methods: the two sides were measured by methods that no bridging study joins;
2. lab_confounded: each site's lots were measured only by its own laboratory;
3. no_margin: the comparability plan has no margin for this attribute;
4. unstable: a side changed in the course of its lots by more than the margin, so they have no common mean;
5. too_few_lots: fewer than 2 lots on a side, or an interval crosses a limit and more lots would settle it;
6. means_only: the means agree but variability was not judged;
7. no_number_would_do: an interval crosses a limit and no number of further lots of the site would settle
   it, because the reference's own lots are too few or too unlike for the limit.

Lots needed are for whatever is undecided, means or spread, and the larger number where both are. They are
reckoned at no true difference (a ratio of SDs of 1). Where the lots in hand already give the wanted power
there, it is the observed difference or ratio that stands in the way: then they are reckoned at that, for a
verdict of either kind. So they are never 0.

1 to 4 hold back "not comparable" too: the difference would have another possible cause. A p-value above 0.05
never decides anything. Where the spread decides (ratio of SDs wholly beyond its limit, or means inside and the
ratio not), the judgement carries the ratio of SDs, its interval and its margin, so what is shown is always what
decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

from warehouse.statistics import means
from warehouse.statistics.lots import paired_lots, pooled_lots, welch_lots, welch_size
from warehouse.statistics.means import Estimate
from warehouse.statistics.refusal import StatisticsRefusal, differences, probability, spread
from warehouse.statistics.scales import READING, Margin, Reading, Scale, forward, margin_on_scale
from warehouse.statistics.variability import variability_lots
from warehouse.statistics.versions import version_of

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
#: Further lots from limits and a true difference on the analysis scale.
Further = Callable[[Margin, float], "int | None"]

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
    "unstable": "a side changed in the course of its lots, so they have no common mean to compare",
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

    @property
    def version(self) -> int:
        """Version of the method that made it."""
        return version_of(self.method)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict. Estimate, interval and margin are as read on the scale; None where there is none.

    `lots_needed`: further lots of the site, reference fixed (for pairs: further pairs), for `power` with the
    observed spread, the larger of `lots_needed_mean` and `lots_needed_spread` where both are undecided; None where
    the verdict is decided, held back by 1 to 4 or 6, or no number would do. `decided_by` says whose interval is shown.
    `size` is the exact chance that this test calls a true difference at the margin comparable, at the observed
    spread (nominal: alpha); None for methods whose size is not known exactly.
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
    lots_needed_mean: int | None
    lots_needed_spread: int | None
    method: str
    interval: str
    alpha: float
    power: float
    size: float | None
    decided_by: Literal["mean", "variability"]
    sentence: str

    @property
    def version(self) -> int:
        """Version of the method that made it."""
        return version_of(self.method)


def place(estimate: Estimate, margin: Margin) -> Place:
    """Where the whole interval lies: inside the margin, outside it on one side, or across a limit."""
    if margin.low < estimate.ci_low and estimate.ci_high < margin.high:
        return "inside"
    if estimate.ci_low > margin.high or estimate.ci_high < margin.low:
        return "outside"
    return "across"


def lots_needed(estimate: Estimate, limits: Margin, *, true: float = 0.0, power: float = 0.8) -> int | None:
    """Further lots for `power` to show a true difference of `true` inside `limits`, with the spread observed.

    Both are on the analysis scale. Raises StatisticsRefusal for an estimate of a method that plans its own lots (no
    SDs in it).
    """
    alpha = estimate.alpha
    if estimate.sd_difference is not None:
        return paired_lots(
            limits, estimate.sd_difference, estimate.n_test, true=true, alpha=alpha, power=power
        )
    if (
        estimate.sd_reference is None
        or estimate.sd_test is None
        or estimate.reading != READING[estimate.scale]
    ):
        raise StatisticsRefusal(f"{estimate.method} plans its own lots: give `further` to the verdict.")
    ref, new = (estimate.sd_reference, estimate.n_reference), (estimate.sd_test, estimate.n_test)
    if estimate.method == "pooled-t":
        variance = ((ref[1] - 1) * ref[0] ** 2 + (new[1] - 1) * new[0] ** 2) / (ref[1] + new[1] - 2)
        return pooled_lots(limits, sqrt(variance), ref[1], new[1], true=true, alpha=alpha, power=power)
    return welch_lots(limits, *ref, *new, true=true, alpha=alpha, power=power)


def size_of(estimate: Estimate) -> float | None:
    """Exact size of the test of means behind an estimate, for normal lots; None where it is not known."""
    if estimate.method in {"paired-t", "one-sample-t", "pooled-t"}:
        return estimate.alpha
    if estimate.method != "welch-t" or estimate.sd_reference is None or estimate.sd_test is None:
        return None
    sides = (estimate.sd_reference, estimate.n_reference, estimate.sd_test, estimate.n_test)
    return welch_size(*sides, alpha=estimate.alpha)


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
    lots_mean: int | None = None
    lots_spread: int | None = None


def judge(
    result: Estimate | NoEstimate,
    margin: Margin | None,
    facts: Facts,
    *,
    variability: tuple[Estimate, Margin] | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    further: Further | None = None,
) -> Judgement:
    """The verdict on one attribute of one site against the reference, by the rules at the top of this module.

    `result` and `margin` are as read on the scale; `variability` is the ratio of SDs with its own margin (a
    lower limit of 0: only noisier is judged), None where it was not judged. `alpha` is used where there is no
    estimate to take it from. `further` gives the lots needed by methods that plan their own, from limits and true
    difference on the analysis scale; lots for the spread are those of the F test of two SDs.
    """
    probability(power, "power")
    level = result.alpha if isinstance(result, Estimate) else alpha
    held = _held_back(facts, margin)
    if held is not None or margin is None:
        decision = _Decision("inconclusive", held, f"Inconclusive: {_HELD_BACK[held or 'no_margin']}.")
    elif isinstance(result, NoEstimate):
        decision = _without_estimate(result, margin, level, power)
    else:
        decision = _by_intervals(result, margin, variability, power, further)

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
        lots_needed_mean=decision.lots_mean,
        lots_needed_spread=decision.lots_spread,
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


def _without_estimate(result: NoEstimate, margin: Margin, alpha: float, power: float) -> _Decision:
    """No interval; lots from the reference's spread where the site has none of its own yet."""
    sd, words = result.sd_reference, f"Inconclusive: {result.why}"
    if result.n_test >= 2 or sd is None or sd <= 0:
        return _Decision("inconclusive", "too_few_lots", words)
    limits = margin_on_scale(margin, result.scale)
    lots = welch_lots(limits, sd, result.n_reference, sd, result.n_test, alpha=alpha, power=power)
    if lots is None:
        words += (
            " No number of lots of the site would do: the reference alone is too uncertain for the margin."
        )
        return _Decision("inconclusive", "no_number_would_do", words)
    words += f" About {lots} further lots would do if the site varies as the reference does."
    return _Decision("inconclusive", "too_few_lots", words, lots, None, lots)


def _by_intervals(
    result: Estimate,
    margin: Margin,
    variability: tuple[Estimate, Margin] | None,
    power: float,
    further: Further | None,
) -> _Decision:
    """What the interval of the means and that of the ratio of SDs make of it."""
    where = place(result, margin)
    words = {"inside": "inside", "outside": "wholly outside", "across": "across"}
    means_text = f"{_numbers(result, 'mean')}, {words[where]} the {_margin_words(margin)}"
    if where == "outside":
        return _Decision("not comparable", None, f"Not comparable: {means_text}.")
    if variability is None:
        if where == "inside":
            return _Decision(
                "inconclusive", "means_only", f"Inconclusive: {means_text}, but variability was not judged."
            )
        return _undecided(means_text, _mean_need(result, margin, power, further), None, power)
    ratio, limits = variability
    spread_where = place(ratio, limits)
    both = (
        f"{means_text}; {_numbers(ratio, 'variability')}, {words[spread_where]} the {_margin_words(limits)}"
    )
    if spread_where == "outside":
        return _Decision("not comparable", None, f"Not comparable in spread: {both}.", None, variability)
    if where == spread_where == "inside":
        return _Decision("comparable", None, f"Comparable: {both}.")
    of_means = _mean_need(result, margin, power, further) if where == "across" else None
    of_spread = _spread_need(ratio, limits, power) if spread_where == "across" else None
    made = _undecided(both, of_means, of_spread, power)
    return made if of_means is not None else made._replace(shown=variability)


class _Need(NamedTuple):
    """Lots that would settle one of the two; `seen` where they are reckoned at what was observed."""

    of: Literal["means", "spread"]
    lots: int | None
    seen: bool


def _mean_need(result: Estimate, margin: Margin, power: float, further: Further | None) -> _Need:
    def lots_at(limits: Margin, true: float) -> int | None:
        if further is not None:
            return further(limits, true)
        return lots_needed(result, limits, true=true, power=power)

    limits = margin_on_scale(margin, result.scale)
    lots = lots_at(limits, 0.0)
    if lots != 0:
        return _Need("means", lots, False)
    seen = means.difference_on_scale(result)
    far = 1e6 * (limits.high - limits.low)
    if seen <= limits.low:
        limits = Margin(-far, limits.low)
    elif seen >= limits.high:
        limits = Margin(limits.high, far)
    return _Need("means", _at_least_one(lots_at(limits, seen)), True)


def _spread_need(ratio: Estimate, limits: Margin, power: float) -> _Need:
    lots = variability_lots(ratio, limits, power=power)
    if lots != 0:
        return _Need("spread", lots, False)
    seen = ratio.estimate
    if seen >= limits.high:
        limits = Margin(limits.high, inf)
    elif seen <= limits.low:
        limits = Margin(0.0, limits.low)
    return _Need("spread", _at_least_one(variability_lots(ratio, limits, true_ratio=seen, power=power)), True)


def _at_least_one(lots: int | None) -> int | None:
    return None if lots is None else max(lots, 1)


def _undecided(numbers: str, of_means: _Need | None, of_spread: _Need | None, power: float) -> _Decision:
    """An interval across a limit: too few lots where more would settle it, else no number would do."""
    needs = [need for need in (of_means, of_spread) if need is not None]
    told = [numbers]
    for need in needs:
        lots, what = need.lots, {"means": "difference", "spread": "ratio of spreads"}[need.of]
        chance = f"a {100 * power:g} % chance to settle the {need.of}"
        if lots is None and need.seen:
            told.append(
                f"No number of further lots of the site would settle the {need.of} if the true {what} is as seen: the "
                "reference itself is too uncertain, and more of its lots are what would help"
            )
        elif lots is None:
            told.append(
                f"No number of further lots of the site would settle the {need.of}: the reference itself is too "
                "uncertain, and more of its lots are what would help"
            )
        elif need.seen:
            told.append(
                f"The lots in hand already give {chance} if there is no true difference; {lots} further lots would "
                f"give it if the true {what} is as seen"
            )
        else:
            told.append(f"{lots} further lots would give {chance} if there is no true difference")
    wanted = [need.lots for need in needs if need.lots is not None]
    enough = len(wanted) == len(needs)
    return _Decision(
        "inconclusive",
        "too_few_lots" if enough else "no_number_would_do",
        f"Inconclusive: {'. '.join(told)}.",
        max(wanted) if enough else None,
        None,
        of_means.lots if of_means else None,
        of_spread.lots if of_spread else None,
    )


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
