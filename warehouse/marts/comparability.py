"""Comparability: each site against the reference, attribute by attribute of the plan, on its scale.

Belongs here: which lots stand on each side, what holds a verdict back, the rows of the marts. Does not belong here:
the comparison by design (`designs.py`), intervals and the verdict's words (`warehouse.statistics`), the plan
(`warehouse.plan`).

Routine lots: patients are not randomised to sites, so a difference may be theirs; where the plan says so, what is
known of them is allowed for. A site that is equal on average is comparable only where its spread is as well: the
upper end of the ratio of standard deviations against the plan's limit; without a limit the verdict is `means_only`.
Unlike methods are never pooled: the plan names the attributes that may stand for one; only what both sides measured
is compared. A laboratory is its site's own unless the plan says that a name means one place everywhere; lots that
each site's own laboratory measured are held back as `lab_confounded` unless the plan names a bridging study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from warehouse import plan_lock
from warehouse.dictionary import dictionary
from warehouse.marts.designs import (
    Analysis,
    Compared,
    Lot,
    Recall,
    Side,
    StudyRows,
    analyses,
    anew,
    chance,
    changed,
    compare,
    heaviest,
    influence,
    looks,
    split,
    study_influence,
)
from warehouse.marts.memory import Memory
from warehouse.marts.rows import frame_of, inputs_hash, store, store_parts
from warehouse.plan import COVARIATES, Fleet, PlannedAttribute
from warehouse.statistics.influence import Influence
from warehouse.statistics.means import Estimate
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import unread
from warehouse.statistics.sequential import Look, SequentialPlan
from warehouse.statistics.verdict import Facts, Judgement, NoEstimate, judge
from warehouse.statistics.versions import with_versions

HERE = Path(__file__).parent
ENOUGH = 2
# Lots or donors whose influence is kept.
PULLING = 3
LEFT_OUT = {
    "censored": "below or above a limit of detection",
    "no logarithm": "of zero",
    "no logit": "of 0 or 100 %",
}


@dataclass(frozen=True)
class Lots:
    """All sides of one plan by plan attribute, measured attribute and site; level and power of verdicts.

    `locks`: the plan's lockings; `arrived`: when the first result of a site and measured attribute came in;
    `studies`: results of split studies by study, plan attribute and measured attribute; `recall`: what was simulated.
    """

    fleet: Fleet
    sides: dict[tuple[str, str, str], Side]
    alpha: float
    power: float
    locks: tuple[plan_lock.Event, ...] = ()
    arrived: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    studies: Mapping[tuple[str, str, str], StudyRows] = field(default_factory=dict)
    recall: Recall = anew

    def of(self, attribute: str, measured_as: str, site: str) -> Side:
        """Lots of one side; none where nothing was measured."""
        return self.sides.get((attribute, measured_as, site), Side())

    def plan_lock(self, site: str, measured_as: str) -> tuple[plan_lock.State, str]:
        """Under which lock a verdict on the site is made, and the sentence that says it."""
        state = plan_lock.state(self.locks, self.fleet.plan_hash, self.arrived.get((site, measured_as)))
        return state, plan_lock.remark(state, self.locks, self.fleet.plan_text)

    def chosen(self, name: str, site: str) -> tuple[str, str]:
        """The measured attribute that stands for each side: the plan's first that both have lots enough of.

        Where they have none in common, each side's own; a side without any lot says nothing about methods.
        """
        reference, measured_by = self.fleet.reference_site, self.fleet.plan.attributes[name].measured_by

        def having(where: str, least: int = 1) -> list[str]:
            return [m for m in measured_by if self.of(name, m, where).lots >= least]

        for least in (ENOUGH, 1):
            both = [m for m in having(reference, least) if m in having(site, least)]
            if both:
                return both[0], both[0]
        mine, theirs = having(reference), having(site)
        return (mine or theirs or list(measured_by))[0], (theirs or mine or list(measured_by))[0]


@dataclass(frozen=True)
class Verdicts:
    """Every verdict of a build with the lots behind it; `sites` are those compared with the reference."""

    lots: Lots
    sites: tuple[str, ...]
    made: tuple[Judged, ...]


def build(
    con: duckdb.DuckDBPyConnection,
    target: str,
    fleet: Fleet,
    snapshot: int,
    memory: Memory,
    *,
    alpha: float,
    power: float,
) -> Verdicts:
    """Create marts `plan`, `comparability_lots`, `comparability`, `comparability_analysis`, `comparability_look`.

    Needs `assay_long` and `batch_wide`.
    """
    planned = fleet.plan.attributes
    store(con, target, "plan", [_plan_row(fleet, name, a) for name, a in planned.items()])
    build_lots(con, target, fleet)
    con.execute((HERE / "study_result.sql").read_text("utf-8").replace("{target}", target))
    lots = replace(read_lots(con, target, fleet, alpha=alpha, power=power), recall=memory.numbers)
    sites = _sites(con, target, fleet.reference_site)
    made = [judged(lots, name, site) for site in sites for name in planned]
    rows = [row_of(lots, j) | {"snapshot": snapshot} for j in made]
    beside = [analysis_row(j, a) for j in made for a in j.analyses(alpha)]
    store(con, target, "comparability", rows)
    store(con, target, "comparability_analysis", beside)
    store(con, target, "comparability_look", [row for j in made for row in look_rows(lots, j)])
    pulls = (_pull(lots, j, memory) for j in made)
    store_parts(con, target, "comparability_influence", list(pulls))
    return Verdicts(lots, tuple(sites), tuple(made))


def build_lots(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet) -> None:
    """Create mart `comparability_lots`; needs `assay_long` and `batch_wide`."""
    planned = fleet.plan.attributes
    con.execute(
        "CREATE OR REPLACE TEMP TABLE planned_measure "
        "(attribute VARCHAR, measured_as VARCHAR, methods VARCHAR[], scale VARCHAR, sample_point VARCHAR)"
    )
    con.executemany(
        "INSERT INTO planned_measure VALUES (?, ?, ?, ?, ?)",
        [
            (name, m, list(a.methods), a.scale, a.sample_point)
            for name, a in planned.items()
            for m in a.measured_by
        ],
    )
    con.execute((HERE / "comparability.sql").read_text("utf-8").replace("{target}", target))


def read_lots(
    con: duckdb.DuckDBPyConnection,
    target: str,
    fleet: Fleet,
    *,
    alpha: float,
    power: float,
    from_snapshot: bool = False,
) -> Lots:
    """All sides from `mart.comparability_lots` in `target`, with what is known of the plan's lock.

    The lock and the arrival of results are read from the attached lake, or from `target` itself where it is a
    published snapshot.
    """
    results = f"{target}.history.assay_result" if from_snapshot else "lake.core.assay_result"
    arrived = con.execute(
        f"SELECT site_id, attribute, min(recorded_at) FROM {results} GROUP BY ALL"
    ).fetchall()
    first = {(site, attribute): at for site, attribute, at in arrived}
    locks = plan_lock.history(con, target if from_snapshot else "lake")
    return Lots(fleet, _sides(con, target, fleet), alpha, power, locks, first, _studies(con, target))


@dataclass(frozen=True)
class Judged:
    """One attribute of one site with everything behind its verdict.

    `inputs_hash` is of the records of both sides and of the split study.
    """

    attribute: str
    site: str
    plan: PlannedAttribute
    measured_as: str
    like: bool
    ref: Side
    new: Side
    compared: Compared
    judgement: Judgement
    remarks: tuple[str, ...]
    lock: plan_lock.State
    inputs_hash: str
    studied: tuple[Analysis, ...] = ()
    looks: tuple[tuple[tuple[int, int], Look], ...] = ()

    def analyses(self, alpha: float) -> list[Analysis]:
        """The deciding analysis and those beside it; none across unlike methods."""
        if not self.like:
            return []
        return [*analyses(self.ref, self.new, self.plan, self.compared, alpha=alpha), *self.studied]


def judged(lots: Lots, name: str, site: str, as_planned: PlannedAttribute | None = None) -> Judged:
    """The verdict on one attribute of one site; `as_planned` looks at it by another design than the plan's."""
    fleet = lots.fleet
    a = as_planned or fleet.plan.attributes[name]
    reference_as, site_as = lots.chosen(name, site)
    like = reference_as == site_as
    ref, new = lots.of(name, reference_as, fleet.reference_site), lots.of(name, site_as, site)
    if like:
        compared = compare(ref, new, a, alpha=lots.alpha, power=lots.power)
    else:
        none = NoEstimate("welch-t", a.scale, len(ref.used), len(new.used), "the methods are unlike.")
        compared = Compared(none, None, "routine lots, unadjusted")
    study = fleet.plan.study_of(name, site)
    studied: list[Analysis] = []
    if like and study is not None and as_planned is None and (study.study, name, site_as) in lots.studies:
        by_study, studied = split(
            lots.studies[study.study, name, site_as], compared, a, reference=fleet.reference_site, site=site,
            borrow=study.borrow_history, alpha=lots.alpha, power=lots.power, recall=lots.recall,
        )  # fmt: skip
        if name in study.decides:
            compared = by_study
    plan_of_looks = fleet.plan.watch
    seen = (
        looks(ref, new, a, plan_of_looks, alpha=lots.alpha, power=lots.power)
        if like and plan_of_looks
        else []
    )
    design = compared.design if a.spread_margin else f"{compared.design}, means only"
    decides_here = study is None or name not in study.decides or as_planned is not None
    unsteady = (
        [words for words in (changed(ref, a, "reference"), changed(new, a, "site's")) if words]
        if like and decides_here
        else []
    )
    apart = bool(ref.labs and new.labs and not ref.labs & new.labs)
    bridge = fleet.plan.bridge(name, fleet.reference_site, site) if apart else None
    facts = Facts(
        design=design, like_methods=like, lab_confounded=apart and bridge is None, stable=not unsteady
    )
    limit = a.spread_margin
    spread = (compared.ratio, limit) if compared.ratio is not None and limit is not None else None
    j = judge(
        compared.result, a.margin, facts, variability=spread, power=lots.power, alpha=lots.alpha,
        further=compared.further,
    )  # fmt: skip
    state, said = lots.plan_lock(site, site_as)
    remarks = [*unsteady, *_left_out(ref, new), *compared.remarks]
    if like and bridge is not None:
        remarks.append(
            f"Each side was measured in its own laboratories, joined by study {bridge.study}: {bridge.found}"
        )
    if compared.ratio is not None:
        r = compared.ratio
        remarks.append(
            f"The site varies {r.estimate:.3g} times as much as the reference ({r.ci_low:.3g} to {r.ci_high:.3g})."
        )
    if seen and plan_of_looks is not None:
        told = SequentialPlan(
            plan_of_looks.lots_reference, plan_of_looks.lots_site, lots.alpha, plan_of_looks.spending
        )
        remarks.append(
            f"Over {len(seen)} monthly looks the means are {seen[-1][1].verdict}. {told.guarantee}"
        )
    measured_as = reference_as if like else f"{reference_as} / {site_as}"
    of_study = lots.studies[study.study, name, site_as].records if study is not None and studied else ()
    return Judged(
        name,
        site,
        a,
        measured_as,
        like,
        ref,
        new,
        compared,
        j,
        (*remarks, said),
        state,
        inputs_hash((*ref.records, *new.records, *of_study)),
        tuple(studied),
        tuple(seen),
    )


def verdict(lots: Lots, name: str, site: str) -> dict[str, Any]:
    """The row of `mart.comparability` of one attribute of the plan and one site, but for `snapshot`.

    Estimate, interval and margins are differences on the analysis scale; the sentence reads them as ratios.
    """
    return row_of(lots, judged(lots, name, site))


def row_of(lots: Lots, judged: Judged) -> dict[str, Any]:
    """A verdict as a row of `mart.comparability`, but for `snapshot`."""
    fleet, plan, a, j = lots.fleet, lots.fleet.plan, judged.plan, judged.judgement
    result, ratio = judged.compared.result, judged.compared.ratio
    # The judge shows what decided; the row always tells the means, and the spread in columns of its own.
    shown = result if isinstance(result, Estimate) else None
    size, size_error = (j.size, None) if judged.compared.size is None else judged.compared.size()

    def on_scale(value: float | None) -> float | None:
        return None if value is None else unread(value, a.scale)

    return {
        "attribute": judged.attribute,
        "reference": fleet.reference_site,
        "site": judged.site,
        "verdict": j.verdict,
        "reason": j.reason,
        "design": j.design,
        "scale": a.scale,
        "estimate": on_scale(shown.estimate if shown else None),
        "ci_low": on_scale(shown.ci_low if shown else None),
        "ci_high": on_scale(shown.ci_high if shown else None),
        "margin_low": a.margin_low,
        "margin_high": a.margin_high,
        "n_reference": j.n_reference,
        "n_site": j.n_site,
        "lots_needed": j.lots_needed,
        "lots_needed_mean": j.lots_needed_mean,
        "lots_needed_spread": j.lots_needed_spread,
        "method": result.method,
        "method_versions": with_versions(result.method, *((ratio.method,) if ratio else ())),
        "interval": j.interval,
        "alpha": j.alpha,
        "power": j.power,
        "df": shown.df if shown else None,
        "df_method": shown.df_method if shown else None,
        "size": size,
        "size_error": size_error,
        "chance_comparable": chance(judged.compared, a, alpha=lots.alpha),
        "measured_as": judged.measured_as,
        "unit": dictionary().attributes[judged.measured_as.split(" / ")[0]].unit,
        "sd_ratio": ratio.estimate if ratio else None,
        "sd_ratio_low": ratio.ci_low if ratio else None,
        "sd_ratio_high": ratio.ci_high if ratio else None,
        "sd_ratio_max": a.sd_ratio_max,
        "decided_by": j.decided_by,
        "watched": judged.looks[-1][1].verdict if judged.looks else None,
        "sentence": " ".join([j.sentence, *judged.remarks, *_excess(size, size_error, j.alpha)]),
        "plan_id": plan.id,
        "plan_version": plan.version,
        "plan_hash": fleet.plan_hash,
        "plan_lock": judged.lock,
        "inputs_hash": judged.inputs_hash,
    }


def _excess(size: float | None, error: float | None, alpha: float) -> list[str]:
    """The sentence of a test that passes more than its level, by 2 Monte-Carlo standard errors or half a thousandth."""
    if size is None or size <= alpha + max(2 * (error or 0.0), 0.0005):
        return []
    around = f" ± {100 * error:.1f}" if error else ""
    return [
        f"At these numbers and spreads the test calls a true difference at the margin comparable in "
        f"{100 * size:.1f}{around} %, not {100 * alpha:g} %."
    ]


def look_rows(lots: Lots, judged: Judged) -> list[dict[str, Any]]:
    """Rows of `mart.comparability_look`; differences on the analysis scale."""
    watched = lots.fleet.plan.watch
    if watched is None:
        return []
    told: dict[str, Any] = {
        "attribute": judged.attribute,
        "site": judged.site,
        "method_versions": with_versions(
            f"group-sequential, {watched.spending}", judged.compared.result.method
        ),
        "inputs_hash": judged.inputs_hash,
    }

    def on_scale(value: float | None) -> float | None:
        return None if value is None else unread(value, judged.plan.scale)

    rows = []
    for (year, month), look in judged.looks:
        found = look.interval
        rows.append(
            told
            | {
                "month": date(year, month, 1),
                "fraction": look.fraction,
                "spent": look.spent,
                "nominal": look.nominal,
                "n_reference": found.n_reference if found else None,
                "n_site": found.n_test if found else None,
                "estimate": on_scale(found.estimate if found else None),
                "ci_low": on_scale(found.ci_low if found else None),
                "ci_high": on_scale(found.ci_high if found else None),
                "verdict": look.verdict,
            }
        )
    return rows


def influence_of(lots: Lots, judged: Judged, *, most: int | None = None) -> tuple[Influence, ...]:
    """Pull of each lot (or donor, where a split study decides) on the deciding estimate, largest first.

    `most`: only of so many routine lots, those that can pull most. Empty where there is no estimate.
    """
    if not judged.like or not isinstance(judged.compared.result, Estimate):
        return ()
    study = lots.fleet.plan.study_of(judged.attribute, judged.site)
    try:
        if judged.studied and study is not None and judged.attribute in study.decides:
            rows = lots.studies[study.study, judged.attribute, judged.measured_as]
            return study_influence(
                rows, judged.plan, judged.compared.result, reference=lots.fleet.reference_site, site=judged.site,
                borrow=study.borrow_history, alpha=lots.alpha, power=lots.power,
            )[:most]  # fmt: skip
        only = None if most is None else heaviest(judged.ref, judged.new, judged.plan, most)
        return influence(judged.ref, judged.new, judged.plan, alpha=lots.alpha, power=lots.power, only=only)
    except StatisticsRefusal:
        return ()


def _pull(lots: Lots, judged: Judged, memory: Memory) -> pl.DataFrame:
    """The part of `mart.comparability_influence` of one verdict."""
    mart, key = "comparability_influence", (judged.attribute, judged.site)
    study = lots.fleet.plan.study_of(*key)
    rows = lots.studies.get((study.study, judged.attribute, judged.measured_as)) if study else None
    if memory.same(
        mart,
        key,
        judged.like,
        judged.ref,
        judged.new,
        judged.plan,
        study,
        rows,
        lots.fleet.reference_site,
        lots.alpha,
        lots.power,
    ):
        return memory.rows(mart, ("attribute", "site"), key)
    return frame_of(mart, influence_rows(lots, judged))


def influence_rows(lots: Lots, judged: Judged) -> list[dict[str, Any]]:
    """Rows of `mart.comparability_influence`: the lots or donors that pull most."""
    told = {
        "attribute": judged.attribute, "site": judged.site, "inputs_hash": judged.inputs_hash,
        "method_versions": with_versions("leave-one-out", judged.compared.result.method),
    }  # fmt: skip
    return [
        told
        | {
            "unit_left_out": i.unit, "shift_in_se": i.shift,
            "place_without": i.place, "changes_place": i.changes, "note": i.why,
        }
        for i in influence_of(lots, judged, most=PULLING)
    ]  # fmt: skip


def analysis_row(judged: Judged, a: Analysis) -> dict[str, Any]:
    """A row of `mart.comparability_analysis`; differences on the analysis scale, ratios where the reading is one."""
    found = a.result if isinstance(a.result, Estimate) else None
    numbers = {k: getattr(found, k, None) for k in ("estimate", "ci_low", "ci_high", "se", "df", "df_method")}
    return numbers | {
        "attribute": judged.attribute,
        "site": judged.site,
        "analysis": a.analysis,
        "decides": a.decides,
        "design": a.design,
        "method": a.result.method,
        "method_versions": with_versions(
            a.result.method, *(("posterior-flat-prior",) if a.probability is not None else ())
        ),
        "inputs_hash": judged.inputs_hash,
        "scale": a.scale,
        "reading": found.reading if found else None,
        "interval": found.interval if found else None,
        "n_reference": a.result.n_reference,
        "n_site": a.result.n_test,
        "place": a.where,
        "probability_inside": a.probability,
        "rule_size": a.rule_size,
        "note": a.result.why if isinstance(a.result, NoEstimate) else a.note or None,
        "assumptions": " ".join(a.assumptions) or None,
    }


def _plan_row(fleet: Fleet, name: str, a: PlannedAttribute) -> dict[str, Any]:
    plan = fleet.plan
    listed = {
        "measured_by": ", ".join(a.measured_by),
        "methods": ", ".join(a.methods) or None,
        "covariates": ", ".join(a.covariates) or None,
    }
    return (
        a.model_dump()
        | listed
        | {
            "plan_id": plan.id,
            "plan_version": plan.version,
            "plan_hash": fleet.plan_hash,
            "dated": plan.dated,
            "approved_by_role": plan.approved_by_role,
            "basis": plan.basis,
            "reference": fleet.reference_site,
            "attribute": name,
        }
    )


def _sites(con: duckdb.DuckDBPyConnection, target: str, reference: str) -> list[str]:
    # A bench makes no batches, so there is nothing of it to compare.
    known = (
        "SELECT site_id FROM in_force_site WHERE site_role IS DISTINCT FROM 'bench' "
        f"UNION SELECT site_id FROM {target}.mart.batch_wide"
    )
    return [site for (site,) in con.execute(f"{known} ORDER BY site_id").fetchall() if site != reference]


def _sides(con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet) -> dict[tuple[str, str, str], Side]:
    known = ", ".join(f"b.{c}" for c in COVARIATES)
    found = con.execute(
        "SELECT attribute, measured_as, site, list({'id': l.batch_id, 'value': value, 'patient': "
        "coalesce(b.patient_key, l.batch_id), 'ended': coalesce(l.batch_status = 'terminated', false), "
        "'at': l.lot_at, "
        f"'known': struct_pack({known})}} ORDER BY l.batch_id) FILTER (used), "
        "list(left_out_because) FILTER (NOT used), flatten(list(string_split(labs, ','))), "
        f"flatten(list(string_split(record_ids, ','))) FROM {target}.mart.comparability_lots l "
        f"LEFT JOIN {target}.mart.batch_wide b ON b.site_id = l.site AND b.batch_id = l.batch_id "
        "GROUP BY attribute, measured_as, site"
    ).fetchall()
    shared = fleet.plan.shared_laboratories
    return {
        (attribute, measured, site): Side(
            tuple(
                Lot(u["id"], u["value"], u["patient"], u["ended"], u["known"], u["at"]) for u in used or ()
            ),
            tuple(left_out or ()),
            frozenset(lab if lab in shared else f"{site}: {lab}" for lab in labs if lab),
            tuple(records),
        )
        for attribute, measured, site, used, left_out, labs, records in found
    }


def _studies(con: duckdb.DuckDBPyConnection, target: str) -> dict[tuple[str, str, str], StudyRows]:
    found = con.execute(
        "SELECT study_id, attribute, measured_as, list({'value': value, 'donor': donor_id, 'site': site, "
        "'lot': site || '|' || study_lot_id, 'record': record_id} ORDER BY donor_id, site, result_id) FILTER (used), "
        "list(DISTINCT donor_id) FILTER (study_arm = 'historical'), count(*) FILTER (NOT used) "
        f"FROM {target}.mart.study_result GROUP BY study_id, attribute, measured_as"
    ).fetchall()
    return {
        (study, attribute, measured): StudyRows(
            study=study,
            values=tuple(r["value"] for r in rows or ()),
            donor=tuple(r["donor"] for r in rows or ()),
            site=tuple(r["site"] for r in rows or ()),
            lot=tuple(r["lot"] for r in rows or ()),
            historical=frozenset(historical or ()),
            records=tuple(r["record"] for r in rows or ()),
            left_out=left_out,
        )
        for study, attribute, measured, rows, historical, left_out in found
    }


def _left_out(ref: Side, new: Side) -> list[str]:
    """Lots that carry no value on the scale, by why."""
    told = []
    for why, words in LEFT_OUT.items():
        counts = ref.left_out.count(why), new.left_out.count(why)
        if any(counts):
            told.append(
                f"Left out of the means: {counts[0]} reference and {counts[1]} site lots with a result {words}."
            )
    return told
