"""Comparability: each site against the reference, attribute by attribute of the plan, by Welch on its scale.

Belongs here: which lots stand on each side, and handing them to `warehouse.statistics`. Does not belong here:
intervals and the verdict's words (there), the plan (`warehouse.plan`).

Routine lots, unadjusted: patients are not randomised to sites, so a difference may be theirs. A site that is
equal on average is comparable only where its spread is as well: the upper end of the ratio of standard
deviations against the plan's limit; without a limit the verdict is `means_only`. Unlike methods are never
pooled: the plan names the attributes that may stand for one; only what both sides measured is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from warehouse import plan_lock
from warehouse.dictionary import dictionary
from warehouse.marts.rows import store
from warehouse.plan import Fleet, PlannedAttribute
from warehouse.statistics import means
from warehouse.statistics.means import Estimate
from warehouse.statistics.refusal import StatisticsRefusal
from warehouse.statistics.scales import unread
from warehouse.statistics.variability import sd_ratio
from warehouse.statistics.verdict import Facts, NoEstimate, estimate_lots, judge

HERE = Path(__file__).parent
DESIGN = "routine lots, unadjusted"
ENOUGH = 2
LEFT_OUT = {
    "censored": "below or above a limit of detection",
    "no logarithm": "of zero",
    "no logit": "of 0 or 100 %",
}


@dataclass(frozen=True)
class Side:
    """A site's lots of one measured attribute: used values, why others were left out, who measured."""

    values: tuple[float, ...] = ()
    left_out: tuple[str, ...] = ()
    labs: frozenset[str] = frozenset()
    records: tuple[str, ...] = ()

    @property
    def lots(self) -> int:
        """Lots with a result, used or not."""
        return len(self.values) + len(self.left_out)


@dataclass(frozen=True)
class Lots:
    """All sides of one plan by plan attribute, measured attribute and site; level and power of verdicts.

    `locks`: the plan's lockings; `arrived`: when the first result of a site and measured attribute came in.
    """

    fleet: Fleet
    sides: dict[tuple[str, str, str], Side]
    alpha: float
    power: float
    locks: tuple[plan_lock.Event, ...] = ()
    arrived: Mapping[tuple[str, str], datetime] = field(default_factory=dict)

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


def build(
    con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet, snapshot: int, *, alpha: float, power: float
) -> None:
    """Create marts `plan`, `comparability_lots` and `comparability`; needs `assay_long` and `batch_wide`."""
    planned = fleet.plan.attributes
    store(con, target, "plan", [_plan_row(fleet, name, a) for name, a in planned.items()])
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
    lots = read_lots(con, target, fleet, alpha=alpha, power=power)
    sites = _sites(con, target, fleet.reference_site)
    rows = [verdict(lots, name, site) | {"snapshot": snapshot} for site in sites for name in planned]
    store(con, target, "comparability", rows)


def read_lots(
    con: duckdb.DuckDBPyConnection, target: str, fleet: Fleet, *, alpha: float, power: float
) -> Lots:
    """All sides from `mart.comparability_lots` in `target`, with what the lake knows of the plan's lock."""
    arrived = con.execute(
        "SELECT site_id, attribute, min(recorded_at) FROM lake.core.assay_result GROUP BY ALL"
    ).fetchall()
    first = {(site, attribute): at for site, attribute, at in arrived}
    return Lots(fleet, _sides(con, target), alpha, power, plan_lock.history(con), first)


def verdict(lots: Lots, name: str, site: str) -> dict[str, Any]:
    """The row of `mart.comparability` of one attribute of the plan and one site, but for `snapshot`.

    Estimate, interval and margins are differences on the analysis scale; the sentence reads them as ratios.
    """
    fleet, plan, a = lots.fleet, lots.fleet.plan, lots.fleet.plan.attributes[name]
    reference_as, site_as = lots.chosen(name, site)
    like = reference_as == site_as
    ref, new = lots.of(name, reference_as, fleet.reference_site), lots.of(name, site_as, site)
    top = 100.0 if a.scale == "logit" else 1.0
    if like:
        result = estimate_lots(ref.values, new.values, scale=a.scale, alpha=lots.alpha, top=top)
    else:
        result = NoEstimate("welch-t", a.scale, len(ref.values), len(new.values), "the methods are unlike.")
    ratio = _spread(ref, new, a, lots.alpha, top) if like else None
    design = DESIGN if a.spread_margin else f"{DESIGN}, means only"
    facts = Facts(design=design, like_methods=like, lab_confounded=False, stable=True)
    spread = (ratio, a.spread_margin) if ratio is not None and a.spread_margin is not None else None
    j = judge(result, a.margin, facts, variability=spread, power=lots.power, alpha=lots.alpha)
    # The judge shows what decided; the row always tells the means, and the spread in columns of its own.
    shown = result if isinstance(result, Estimate) else None
    records = "|".join(sorted({*ref.records, *new.records}))
    locked, said = lots.plan_lock(site, site_as)

    def on_scale(value: float | None) -> float | None:
        return None if value is None else unread(value, a.scale)

    return {
        "attribute": name,
        "reference": fleet.reference_site,
        "site": site,
        "verdict": j.verdict,
        "reason": j.reason,
        "design": design,
        "scale": a.scale,
        "estimate": on_scale(shown.estimate if shown and like else None),
        "ci_low": on_scale(shown.ci_low if shown and like else None),
        "ci_high": on_scale(shown.ci_high if shown and like else None),
        "margin_low": a.margin_low,
        "margin_high": a.margin_high,
        "n_reference": j.n_reference,
        "n_site": j.n_site,
        "lots_needed": j.lots_needed,
        "method": result.method,
        "measured_as": reference_as if like else f"{reference_as} / {site_as}",
        "unit": dictionary().attributes[reference_as].unit,
        "sd_ratio": ratio.estimate if ratio else None,
        "sd_ratio_low": ratio.ci_low if ratio else None,
        "sd_ratio_high": ratio.ci_high if ratio else None,
        "sd_ratio_max": a.sd_ratio_max,
        "decided_by": j.decided_by,
        "sentence": " ".join([j.sentence, *_remarks(ref, new, ratio, like=like), said]),
        "plan_id": plan.id,
        "plan_version": plan.version,
        "plan_hash": fleet.plan_hash,
        "plan_lock": locked,
        "inputs_hash": hashlib.md5(records.encode(), usedforsecurity=False).hexdigest(),
    }


def _plan_row(fleet: Fleet, name: str, a: PlannedAttribute) -> dict[str, Any]:
    plan = fleet.plan
    listed = {"measured_by": ", ".join(a.measured_by), "methods": ", ".join(a.methods) or None}
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


def _sides(con: duckdb.DuckDBPyConnection, target: str) -> dict[tuple[str, str, str], Side]:
    found = con.execute(
        "SELECT attribute, measured_as, site, list(value ORDER BY batch_id) FILTER (used), "
        "list(left_out_because) FILTER (NOT used), flatten(list(string_split(labs, ','))), "
        f"flatten(list(string_split(record_ids, ','))) FROM {target}.mart.comparability_lots "
        "GROUP BY attribute, measured_as, site"
    ).fetchall()
    return {
        (attribute, measured, site): Side(
            tuple(values or ()), tuple(left_out or ()), frozenset(filter(None, labs)), tuple(records)
        )
        for attribute, measured, site, values, left_out, labs, records in found
    }


def _spread(ref: Side, new: Side, a: PlannedAttribute, alpha: float, top: float) -> means.Estimate | None:
    """Ratio of standard deviations with its F interval; None where a side has no spread."""
    try:
        reference = means.summarise(ref.values, a.scale, top=top, what="reference")
        return sd_ratio(reference, means.summarise(new.values, a.scale, top=top, what="site"), alpha=alpha)
    except StatisticsRefusal:
        return None


def _remarks(ref: Side, new: Side, ratio: means.Estimate | None, *, like: bool) -> list[str]:
    """What a reader must know beside the verdict: lots left out, laboratories apart, spread."""
    remarks = []
    for why, words in LEFT_OUT.items():
        counts = ref.left_out.count(why), new.left_out.count(why)
        if any(counts):
            remarks.append(
                f"Left out of the means: {counts[0]} reference and {counts[1]} site lots "
                f"with a result {words}."
            )
    if like and ref.labs and new.labs and not ref.labs & new.labs:
        remarks.append(
            "Each side was measured in its own laboratories: "
            "a difference would be one of product and assay together."
        )
    if ratio is not None:
        interval = f"{ratio.ci_low:.3g} to {ratio.ci_high:.3g}"
        remarks.append(f"The site varies {ratio.estimate:.3g} times as much as the reference ({interval}).")
    return remarks
