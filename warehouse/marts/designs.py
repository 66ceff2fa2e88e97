"""One attribute at one site against the reference: the design that the plan chose, and every analysis beside it.

Belongs here: handing a side's lots to `warehouse.statistics` by design, the analyses shown beside the deciding one,
what was checked of their assumptions. Does not belong here: which lots stand on a side (`comparability.sql`),
intervals (`warehouse.statistics`), the row of the mart (`comparability.py`).

The plan chooses which analysis decides, never the result. Outliers are flagged and never dropped: an analysis
without them is shown and does not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from math import log
from typing import Any

import numpy as np
from scipy import stats

from warehouse.plan import COVARIATES, PlannedAttribute, Watch
from warehouse.statistics import means
from warehouse.statistics.bayes import probability_of_equivalence
from warehouse.statistics.bayes_rules import rule_size
from warehouse.statistics.covariates import ancova_size, compare_routine
from warehouse.statistics.influence import Influence, leave_one_out
from warehouse.statistics.lots import t_tost_power, welch_lots, welch_tost_power
from warehouse.statistics.means import Estimate, Summary
from warehouse.statistics.outliers import generalised_esd
from warehouse.statistics.power import further_pairs, observed_design
from warehouse.statistics.ranks import mann_whitney
from warehouse.statistics.refusal import Floats, StatisticsRefusal
from warehouse.statistics.scales import Margin, Scale, forward, margin_on_scale
from warehouse.statistics.sequential import Look, SequentialPlan, watch
from warehouse.statistics.split_apheresis import compare_split
from warehouse.statistics.split_simulation import simulate_split
from warehouse.statistics.trend import pettitt
from warehouse.statistics.variability import sd_ratio, sd_ratio_power
from warehouse.statistics.verdict import Further, NoEstimate, estimate_lots, place

ROUTINE = "routine lots, unadjusted"
SUSPECTED = 5
RANKED = 60
# A side is unsteady where a step in time is beyond chance at this level and larger than the margin; fewer lots
# than this cannot show one.
STEADY_LEVEL = 0.001
STEADY_FROM = 12
# Studies drawn for the size of a split study with history: Monte-Carlo error about 1 %.
SIZE_RUNS = 400


# Asked for what is simulated: its name, what it hangs on, and how it is made where no snapshot knows it.
Recall = Callable[[str, tuple[Any, ...], Callable[[], tuple[float, ...]]], tuple[float, ...]]


def anew(_of: str, _part: tuple[Any, ...], make: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    """Recalls nothing."""
    return make()


@dataclass(frozen=True)
class Lot:
    """One used lot: value in the attribute's unit, its patient, what is known of the patient, and its fate."""

    batch_id: str
    value: float
    patient: str
    terminated: bool
    covariates: dict[str, Any]
    at: datetime | None = None


@dataclass(frozen=True)
class Side:
    """A site's lots of one measured attribute: used lots, why others were left out, who measured."""

    used: tuple[Lot, ...] = ()
    left_out: tuple[str, ...] = ()
    labs: frozenset[str] = frozenset()
    records: tuple[str, ...] = ()

    @cached_property
    def values(self) -> tuple[float, ...]:
        """Values of the used lots."""
        return tuple(lot.value for lot in self.used)

    @property
    def lots(self) -> int:
        """Lots with a result, used or not."""
        return len(self.used) + len(self.left_out)

    def until(self, month: tuple[int, int]) -> Side:
        """The side with the lots harvested up to and with a month; those without a time count from the first."""
        return Side(tuple(lot for lot in self.used if lot.at is None or (lot.at.year, lot.at.month) <= month))

    def without(self, batches: frozenset[str]) -> Side:
        """The side without some lots."""
        return Side(tuple(lot for lot in self.used if lot.batch_id not in batches))


@dataclass(frozen=True)
class StudyRows:
    """Results of one split study for one attribute: value in the attribute's unit, donor, site and lot of each.

    `historical` are donors of historical lots; `left_out` counts results that carry no value on the scale.
    """

    study: str
    values: tuple[float, ...]
    donor: tuple[str, ...]
    site: tuple[str, ...]
    lot: tuple[str, ...]
    historical: frozenset[str]
    records: tuple[str, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class Compared:
    """One comparison: means, spread (None where it cannot be told), the design in words, lots still needed.

    `further` plans the lots of methods that plan their own; `remarks` are sentences for the verdict. `size` gives the
    chance that the test of the means passes a true difference at the margin, and the Monte-Carlo error where that
    was simulated, for methods that `warehouse.statistics.verdict` has no formula of.
    """

    result: Estimate | NoEstimate
    ratio: Estimate | None
    design: str
    further: Further | None = None
    remarks: tuple[str, ...] = ()
    size: Callable[[], tuple[float | None, float | None]] | None = None


@dataclass(frozen=True)
class Analysis:
    """One row of `mart.comparability_analysis`; estimates as read on their scale."""

    analysis: str
    decides: bool
    design: str
    scale: Scale
    result: Estimate | NoEstimate
    margin: Margin | None
    note: str = ""
    assumptions: tuple[str, ...] = field(default=())

    @property
    def where(self) -> str | None:
        """Place of the interval against the margin; None without either."""
        if self.margin is None or not isinstance(self.result, Estimate):
            return None
        return place(self.result, self.margin)

    @property
    def probability(self) -> float | None:
        """Posterior probability that the true difference lies inside the margin (flat prior), where there is one."""
        if self.margin is None or not isinstance(self.result, Estimate) or self.result.se is None:
            return None
        return probability_of_equivalence(self.result, self.margin)

    @property
    def rule_size(self) -> float | None:
        """How often that probability, taken as a rule (0.95 or more), would accept a difference at the margin."""
        if self.probability is None or not self.decides or self.margin is None:
            return None
        return rule_size(self.result, self.margin)[0] if isinstance(self.result, Estimate) else None


def top_of(scale: Scale) -> float:
    """The upper bound of what is read on the scale: percentages on the logit scale."""
    return 100.0 if scale == "logit" else 1.0


def compare(ref: Side, new: Side, a: PlannedAttribute, *, alpha: float, power: float) -> Compared:
    """The comparison by the plan's design."""
    if a.design == "adjusted":
        return adjusted(ref, new, a, alpha=alpha, power=power)
    return routine(ref, new, a, alpha=alpha)


def routine(ref: Side, new: Side, a: PlannedAttribute, *, alpha: float) -> Compared:
    """Welch's comparison of the lots as they are, and the F interval of their standard deviations."""
    top = top_of(a.scale)
    result = estimate_lots(ref.values, new.values, scale=a.scale, alpha=alpha, top=top)
    return Compared(result, _spread(_summary(ref, a.scale), _summary(new, a.scale), alpha), ROUTINE)


def adjusted(ref: Side, new: Side, a: PlannedAttribute, *, alpha: float, power: float) -> Compared:
    """Analysis of covariance on what the plan names of the patient; spread of what the covariates leave over.

    Lots whose patient lacks a covariate are left out and counted.
    """
    known_ref, known_new = _with(ref, a.covariates), _with(new, a.covariates)
    rows = [(lot, "reference") for lot in known_ref] + [(lot, "site") for lot in known_new]
    n, m = len(known_ref), len(known_new)
    design = f"routine lots, adjusted for {', '.join(a.covariates)}"
    gaps = ref.lots - len(ref.left_out) - n + new.lots - len(new.left_out) - m
    remarks = [f"{gaps} lots are left out: a covariate of the patient is not known."] if gaps else []
    try:
        varying = [c for c in a.covariates if len({_covariate(lot, c) for lot, _ in rows}) > 1]
        remarks += [
            f"{c} is the same for every patient: nothing to adjust for."
            for c in a.covariates
            if c not in varying
        ]
        if n < 2 or m < 2:
            raise StatisticsRefusal(
                f"there are {n} reference and {m} site lots with covariates, and an interval needs 2 each."
            )
        found = compare_routine(
            [lot.value for lot, _ in rows],
            [side for _, side in rows],
            reference="reference",
            # One patient's cells made at both sites would be a split study; these are different people.
            patient=[f"{side}|{lot.patient}" for lot, side in rows],
            numeric={
                c: [float(_covariate(lot, c)) for lot, _ in rows] for c in varying if COVARIATES[c] != "word"
            },
            categorical={
                c: [str(_covariate(lot, c)) for lot, _ in rows] for c in varying if COVARIATES[c] == "word"
            },
            scale=a.scale,
            top=top_of(a.scale),
            alpha=alpha,
        )
    except StatisticsRefusal as refusal:
        return Compared(
            NoEstimate("ancova-kr", a.scale, n, m, str(refusal)), None, design, None, tuple(remarks)
        )
    estimate = found.estimates["site"]
    left, over = _residual(known_ref, a, varying), _residual(known_new, a, varying)
    remarks += [w.replace("Patients of site", "The site's patients") for w in found.warnings]

    def further(limits: Margin, true: float) -> int | None:
        if left is None or over is None:
            return None
        return welch_lots(limits, left.sd, left.n, over.sd, over.n, true=true, alpha=alpha, power=power)

    def size() -> tuple[float | None, float | None]:
        if left is None or over is None:
            return None, None
        lots = [lot for lot, _ in rows]
        at_site = np.array([0.0] * n + [1.0] * m)
        matrix = np.insert(_columns(lots, varying), 1, at_site, axis=1)
        each = np.where(at_site > 0, over.sd**2, left.sd**2)
        return ancova_size(matrix, 1, each, alpha=alpha), None

    ratio = _spread(left, over, alpha)
    return Compared(estimate, ratio, design, further, tuple(remarks), size)


def split(
    rows: StudyRows, routine_lots: Compared, a: PlannedAttribute, *, reference: str, site: str, borrow: bool,
    alpha: float, power: float, recall: Recall = anew,
) -> tuple[Compared, list[Analysis]]:  # fmt: skip
    """Means by the split study (mixed model, Kenward-Roger), spread as routine lots show it; with all of its analyses.

    A study has too few lots to judge spread. History is borrowed only where the plan allows it and the test of
    exchangeability does; the other answer is shown beside.
    """
    top, margin = top_of(a.scale), a.margin
    design = f"split apheresis, study {rows.study}"
    try:
        found = compare_split(
            rows.values, rows.donor, rows.site, reference=reference, test=site, lot=rows.lot, scale=a.scale, top=top,
            alpha=alpha, historical=rows.historical,
        )  # fmt: skip
    except StatisticsRefusal as refusal:
        none = NoEstimate("mixed-kr", a.scale, 0, 0, str(refusal))
        return Compared(none, routine_lots.ratio, design), [
            Analysis(design, False, design, a.scale, none, margin)
        ]
    exchange, history = found.exchangeability, found.mixed_with_history
    borrowed = history is not None and borrow and exchange is not None and exchange.borrow
    model = history if borrowed and history is not None else found.mixed
    remarks = [*model.warnings]
    if exchange is not None:
        remarks.append(
            exchange.sentence
            if borrow or not exchange.borrow
            else f"{exchange.sentence} Not borrowed by plan."
        )
    if rows.left_out:
        remarks.append(f"{rows.left_out} results of the study carry no value on the scale and are left out.")
    remarks.append("The spread is that of routine lots.")
    planned = observed_design(
        model.fit, pairs=found.donors_split, history=len(rows.historical) if borrowed else 0
    )

    remarks.append(
        f"Donors (patients) carry {100 * planned.rho:.0f} % of a lot's variance, lots and assays (process) the rest."
    )

    def size() -> tuple[float | None, float | None]:
        if not borrowed and found.mixed.estimates[site].n_reference == found.donors_split:
            return alpha, None
        of = (found.donors_split, len(rows.historical) if borrowed else 0, round(planned.rho, 1), alpha)
        share, error = recall("split_size", of, lambda: _split_size(*of))
        return share, error

    def further(limits: Margin, true: float) -> int | None:
        return further_pairs(planned, limits, true=true, alpha=alpha, power=power)

    told = []

    def row(name: str, estimate: Estimate | None, note: str = "") -> None:
        if estimate is not None:
            told.append(Analysis(f"split study: {name}", False, design, a.scale, estimate, margin, note))

    donors = f"{found.donors_split} donors"
    row("mixed model", found.mixed.estimates[site], f"{donors}, no history")
    row("pairs", found.paired, donors)
    row("pairing ignored", found.unpaired, "for contrast: it wastes what pairing gives")
    if history is not None:
        word = exchange.sentence if exchange is not None else "too few lots to test exchangeability"
        row(
            "mixed model with history",
            history.estimates[site],
            f"{donors}, {len(rows.historical)} historical lots; {word}",
        )
    row("closed form with history", found.unknown_rho, "Burdick's weight, share of donors estimated")
    words = f"{design}, with history" if borrowed else design
    return Compared(model.estimates[site], routine_lots.ratio, words, further, tuple(remarks), size), told


@lru_cache(maxsize=64)
def _split_size(pairs: int, history: int, rho: float, alpha: float) -> tuple[float, float]:
    """Simulated size of the mixed model at this number of donors; a few hundred studies, drawn once."""
    found = simulate_split(
        "mixed-kr", pairs=pairs, history=history, rho=min(rho, 0.9), runs=SIZE_RUNS, alpha=alpha
    )
    return found.share, found.mc_error


def analyses(ref: Side, new: Side, a: PlannedAttribute, decided: Compared, *, alpha: float) -> list[Analysis]:
    """The deciding analysis first, then all that are shown beside it."""
    top, margin = top_of(a.scale), a.margin
    checked = tuple(assumptions(ref, new, a))
    told = [Analysis("the plan's", True, decided.design, a.scale, decided.result, margin, "", checked)]

    def beside(
        name: str,
        method: str,
        made: Callable[[], Estimate | NoEstimate],
        note: str = "",
        scale: Scale = a.scale,
        limits: bool = True,
    ) -> None:
        result: Estimate | NoEstimate
        try:
            result = made()
        except StatisticsRefusal as refusal:
            result = NoEstimate(method, scale, len(ref.values), len(new.values), str(refusal))
        told.append(Analysis(name, False, ROUTINE, scale, result, margin if limits else None, note))

    if decided.design != ROUTINE:
        beside(
            "unadjusted",
            "welch-t",
            lambda: routine(ref, new, a, alpha=alpha).result,
            "patient mix is not taken out",
        )
    beside(
        "pooled variance",
        "pooled-t",
        lambda: estimate_lots(ref.values, new.values, scale=a.scale, alpha=alpha, top=top, method="pooled"),
    )
    beside(
        "ranks",
        "mann-whitney",
        lambda: _ranks(ref, new, a.scale, alpha),
        "Hodges-Lehmann shift, exact interval",
    )
    # Counted, not named: these sentences are shown to readers who may not see the other side's lots.
    flagged = outliers(ref, a.scale) | outliers(new, a.scale)
    if flagged:
        beside(
            "without flagged outliers",
            "welch-t",
            lambda: estimate_lots(
                ref.without(flagged).values, new.without(flagged).values, scale=a.scale, alpha=alpha, top=top
            ),
            _left_out(ref, new, flagged),
        )
    failed = frozenset(lot.batch_id for lot in (*ref.used, *new.used) if lot.terminated)
    if failed:
        beside(
            "without terminated lots",
            "welch-t",
            lambda: estimate_lots(
                ref.without(failed).values, new.without(failed).values, scale=a.scale, alpha=alpha, top=top
            ),
            _left_out(ref, new, failed),
        )
    if a.scale == "log":
        beside(
            "ratio of arithmetic means",
            "fieller",
            lambda: means.fieller(means.summarise(ref.values), means.summarise(new.values), alpha=alpha),
            "Fieller's interval on the plain scale",
        )
    elif a.scale == "logit":
        beside(
            "plain scale",
            "welch-t",
            lambda: estimate_lots(ref.values, new.values, scale="identity", alpha=alpha),
            "difference in the attribute's unit; the margin has no equal there",
            "identity",
            limits=False,
        )
    return told


def _left_out(ref: Side, new: Side, batches: frozenset[str]) -> str:
    gone = [sum(lot.batch_id in batches for lot in side.used) for side in (ref, new)]
    return f"without {gone[0]} of the reference's lots and {gone[1]} of the site's"


def _ranks(ref: Side, new: Side, scale: Scale, alpha: float) -> Estimate:
    if max(len(ref.used), len(new.used)) > RANKED:
        raise StatisticsRefusal(f"Exact rank intervals are shown for up to {RANKED} lots a side.")
    return mann_whitney(ref.values, new.values, scale=scale, alpha=alpha, top=top_of(scale))


def looks(
    ref: Side, new: Side, a: PlannedAttribute, watched: Watch, *, alpha: float, power: float
) -> list[tuple[tuple[int, int], Look]]:
    """One look at the end of each month in which a lot was made, by the plan's design, error held over all looks.

    Empty without a margin. A month's look sees the lots made until then; one that adds nothing spends nothing.
    """
    if a.margin is None:
        return []
    months = sorted({(lot.at.year, lot.at.month) for lot in (*ref.used, *new.used) if lot.at is not None})
    estimates: list[Estimate | None] = []
    for month in months:
        found = compare(ref.until(month), new.until(month), a, alpha=alpha, power=power).result
        estimates.append(found if isinstance(found, Estimate) else None)
    plan = SequentialPlan(watched.lots_reference, watched.lots_site, alpha, watched.spending)
    return list(zip(months, watch(estimates, plan, a.margin), strict=True)) if months else []


def changed(side: Side, a: PlannedAttribute, who: str) -> str | None:
    """Words where the side's own lots have no common mean: a step in time beyond chance, larger than the margin.

    Pettitt's rank test at 0.1 %, which drift raises as well; what the plan's covariates explain is taken out before.
    """
    if a.margin is None:
        return None
    lots = sorted((lot for lot in side.used if lot.at is not None), key=lambda lot: (lot.at, lot.batch_id))
    names: list[str] = []
    if a.design == "adjusted":
        lots = [lot for lot in lots if all(_covariate(lot, c) is not None for c in a.covariates)]
        names = [c for c in a.covariates if len({_covariate(lot, c) for lot in lots}) > 1]
    if len(lots) < STEADY_FROM:
        return None
    left, _ = _left_over(lots, a, names)
    if np.ptp(left) == 0:
        return None
    found = pettitt(left)
    step = float(left[found.index :].mean() - left[: found.index].mean())
    limits = margin_on_scale(a.margin, a.scale)
    if found.p >= STEADY_LEVEL or limits.low < step < limits.high:
        return None
    return (
        f"The {who} lots changed after {lots[found.index - 1].batch_id} of {lots[found.index - 1].at:%Y-%m-%d}: by "
        f"{step:+.3g} on the {a.scale} scale, more than the margin (Pettitt p = {found.p:.1g})."
    )


def chance(compared: Compared, a: PlannedAttribute, *, true: float = 0.0, alpha: float) -> float | None:
    """Chance of `comparable` with these lots: the means at a true difference of `true` on the scale, spreads alike.

    Mean and spread are taken as independent. None without an interval or a margin.
    """
    result, limit = compared.result, a.spread_margin
    if a.margin is None or not isinstance(result, Estimate) or result.se is None or result.df is None:
        return None
    limits = margin_on_scale(a.margin, a.scale)
    if result.method == "welch-t" and result.sd_reference is not None and result.sd_test is not None:
        of_means = welch_tost_power(
            limits,
            result.sd_reference,
            result.n_reference,
            result.sd_test,
            result.n_test,
            true=true,
            alpha=alpha,
        )
    else:
        of_means = t_tost_power(limits, result.se, result.df, true=true, alpha=alpha)
    if compared.ratio is None or limit is None:
        return of_means
    return of_means * sd_ratio_power(limit, compared.ratio.n_reference, compared.ratio.n_test, alpha=alpha)


def heaviest(ref: Side, new: Side, a: PlannedAttribute, most: int) -> list[str]:
    """Lots furthest from their own side's fit, over its number of lots: those that can pull most."""
    pull: list[tuple[float, str]] = []
    for side in (ref, new):
        lots = list(side.used)
        names: list[str] = []
        if a.design == "adjusted":
            lots = _with(side, a.covariates)
            names = [c for c in a.covariates if len({_covariate(lot, c) for lot in lots}) > 1]
        if len(lots) > 2:
            left, _ = _left_over(lots, a, names)
            pull += [
                (abs(float(v)) / (len(lots) - 1), lot.batch_id) for v, lot in zip(left, lots, strict=True)
            ]
    return [batch for _, batch in sorted(pull, reverse=True)[:most]]


def study_influence(
    rows: StudyRows, a: PlannedAttribute, decided: Estimate, **told: Any
) -> tuple[Influence, ...]:
    """Each donor's pull on the deciding estimate of a split study, largest first; `told` is as for `split`."""
    none = Compared(decided, None, "")

    def estimate_without(donor: str | None) -> Estimate:
        keep = [i for i, d in enumerate(rows.donor) if d != donor]
        part = replace(
            rows,
            values=tuple(rows.values[i] for i in keep),
            donor=tuple(rows.donor[i] for i in keep),
            site=tuple(rows.site[i] for i in keep),
            lot=tuple(rows.lot[i] for i in keep),
            historical=rows.historical - {donor or ""},
        )
        found = split(part, none, a, **told)[0].result
        if isinstance(found, NoEstimate):
            raise StatisticsRefusal(found.why)
        return found

    return leave_one_out(sorted(set(rows.donor)), estimate_without, margin=a.margin)


def influence(
    ref: Side,
    new: Side,
    a: PlannedAttribute,
    *,
    alpha: float,
    power: float,
    only: Sequence[str] | None = None,
) -> tuple[Influence, ...]:
    """Each lot's pull on the deciding estimate of routine lots, largest first; of the lots in `only` alone."""

    def estimate_without(batch: str | None) -> Estimate:
        gone = frozenset() if batch is None else frozenset({batch})
        found = compare(ref.without(gone), new.without(gone), a, alpha=alpha, power=power).result
        if isinstance(found, NoEstimate):
            raise StatisticsRefusal(found.why)
        return found

    units = [lot.batch_id for lot in (*ref.used, *new.used)] if only is None else only
    return leave_one_out(units, estimate_without, margin=a.margin)


def assumptions(ref: Side, new: Side, a: PlannedAttribute) -> list[str]:
    """What was checked, each in a sentence with its figure. None of it decides."""
    told = []
    for side, who in ((ref, "reference"), (new, "site")):
        values = _scaled(side, a.scale)
        if len(values) >= 3 and np.ptp(values) > 0:
            p = float(stats.shapiro(values).pvalue)
            word = "no sign against" if p >= 0.05 else "against"
            told.append(f"Normal {who} lots on the {a.scale} scale: {word} (Shapiro-Wilk p = {p:.3g}).")
        flagged = outliers(side, a.scale)
        if flagged:
            told.append(f"Outliers among {who} lots (generalised ESD): {len(flagged)}; kept.")
        twice = len(side.used) - len({lot.patient for lot in side.used})
        if twice:
            told.append(f"{twice} {who} lots are of a patient with an earlier one; their patient is random.")
    return told


def outliers(side: Side, scale: Scale) -> frozenset[str]:
    """Lots that generalised ESD flags on the scale (at most 5 of a side, none below 10 lots)."""
    values = _scaled(side, scale)
    if len(values) < 10 or np.ptp(values) == 0:
        return frozenset()
    found = generalised_esd(values, min(SUSPECTED, len(values) // 5))
    return frozenset(side.used[i].batch_id for i in found.outliers)


def _scaled(side: Side, scale: Scale) -> np.ndarray[Any, np.dtype[np.float64]]:
    return forward(side.values, scale, top=top_of(scale), what="lots", at_least=0)


def _summary(side: Side, scale: Scale) -> Summary | None:
    try:
        return means.summarise(side.values, scale, top=top_of(scale), what="lots")
    except StatisticsRefusal:
        return None


def _spread(reference: Summary | None, test: Summary | None, alpha: float) -> Estimate | None:
    """Ratio of standard deviations with its F interval; None where a side has no spread."""
    if reference is None or test is None:
        return None
    try:
        return sd_ratio(reference, test, alpha=alpha)
    except StatisticsRefusal:
        return None


def _covariate(lot: Lot, name: str) -> Any:
    value = lot.covariates.get(name)
    return log(value) if COVARIATES[name] == "logarithm" and value and value > 0 else value


def _with(side: Side, names: Sequence[str]) -> list[Lot]:
    return [lot for lot in side.used if all(_covariate(lot, c) is not None for c in names)]


def _residual(lots: Sequence[Lot], a: PlannedAttribute, names: Sequence[str]) -> Summary | None:
    """SD of one side's lots about its own regression on the covariates, with its degrees of freedom + 1 as n.

    Each side by itself, so that the two variances are independent and their ratio is F. None where too few are left.
    """
    left, df = _left_over(lots, a, names)
    return Summary(0.0, float(np.sqrt((left**2).sum() / df)), df + 1) if df >= 1 else None


def _left_over(lots: Sequence[Lot], a: PlannedAttribute, names: Sequence[str]) -> tuple[Floats, int]:
    """What the lots' own regression on the covariates leaves over on the scale, and its degrees of freedom."""
    y = forward([lot.value for lot in lots], a.scale, top=top_of(a.scale), what="lots", at_least=0)
    x = _columns(lots, names)
    df = len(lots) - int(np.linalg.matrix_rank(x)) if len(lots) else 0
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    return np.asarray(y - x @ beta), df


def _columns(lots: Sequence[Lot], names: Sequence[str]) -> Floats:
    columns = [np.ones(len(lots))]
    for name in names:
        seen = [_covariate(lot, name) for lot in lots]
        if COVARIATES[name] == "word":
            words = sorted({str(s) for s in seen})
            columns += [np.array([str(s) == w for s in seen], dtype=np.float64) for w in words[1:]]
        else:
            columns.append(np.array(seen, dtype=np.float64))
    return np.column_stack(columns)
