"""Verdicts over many simulated fleets: how often each word falls, against planted truth and the power reckoned.

Belongs here: drawing the lots of many fleets with the simulator's own products and assays, judging them as the mart
does, the page `docs/validation/planted-truth.md` and its figures. Does not belong here: files and the rest of the
pipeline (the demo's `cellfleet score` is for those), the simulator's draws.

`python benchmarks/planted_truth.py` writes both files again. Two tables: the demo's four sites over 50 seeds, and one
site that differs by a set part of the margin from a reference of the same size, over lots and true difference.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import hypot, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pipelines.simulator.people import draw_patient
from pipelines.simulator.quality import draw_product, measure
from pipelines.simulator.sites import ATTRIBUTES, SITES, Site
from pipelines.simulator.truth import REFERENCE, replicates, verdicts
from warehouse.marts.comparability import Lots, judged
from warehouse.marts.designs import Lot, Side
from warehouse.plan import Fleet, load_plan
from warehouse.settings import ROOT
from warehouse.statistics.lots import welch_tost_power
from warehouse.statistics.scales import Margin, margin_on_scale
from warehouse.statistics.variability import sd_ratio_power

SEED = 20240101
SEEDS = 50
LOTS = 57
SIZES = (6, 12, 20, 40, 60)
SHIFTS = (0.0, 0.5, 1.0, 1.5)
# The attribute of the second table: no patient mix, one method everywhere.
ATTRIBUTE = "car_pct"
RUNS = 200
FOLDER = ROOT / "docs" / "validation"
TESTS = {
    "viability": "VIAB", "cd3_pct": "CD3", "car_pct": "CAR", "vcn": "VCN", "cd4_cd8_ratio": "CD4CD8",
    "ifn_gamma": "IFNG", "fold_expansion": "FOLD", "total_viable_car_cells": "TVCAR",
}  # fmt: skip
BANDS = {"N": "normal", "H": "high", "VH": "very_high"}


@dataclass(frozen=True)
class Share:
    """How often each word fell for one truth, and what was reckoned before."""

    about: str
    truth: str
    n_reference: int
    n_site: int
    true_difference_in_margins: float
    judged: int
    comparable: int
    not_comparable: int
    inconclusive: int
    computed_comparable: float | None
    computed_not_comparable: float | None


def lots_of(rng: np.random.Generator, site: Site, n: int) -> dict[str, list[Lot]]:
    """`n` lots of a site with every attribute, replicates averaged on the scale as the mart does."""
    made: dict[str, list[Lot]] = {name: [] for name in TESTS}
    for i in range(n):
        patient = draw_patient(rng, site, i, 2026)
        product = draw_product(rng, site, patient.severity, False)
        known = {
            "prior_lines": patient.prior_lines, "bendamustine_180d": patient.bendamustine,
            "ldh_band": BANDS[patient.ldh], "ecog": patient.ecog,
        }  # fmt: skip
        for name, test in TESTS.items():
            read = [
                float(measure(rng, site, product, test, "harvest")["value"])
                for _ in range(replicates(site, name))
            ]
            made[name].append(Lot(f"{site.name}-{i}", _mean(read, name), f"{site.name}-{i}", False, known))
    return made


def _mean(read: list[float], name: str) -> float:
    values = np.array(read)
    if ATTRIBUTES[name].scale == "log":
        return float(np.exp(np.log(values).mean()))
    return float(100 / (1 + np.exp(-np.log(values / (100 - values)).mean())))


def fleet_of(
    fleet: Fleet, drawn: dict[str, dict[str, list[Lot]]], unlike: dict[str, tuple[str, ...]]
) -> Lots:
    """The sides of some sites' lots; `unlike` names attributes that a site measures by the plan's other method."""
    sides = {}
    for site, by_name in drawn.items():
        for name, lots in by_name.items():
            measured = fleet.plan.attributes[name].measured_by
            sides[name, measured[-1 if name in unlike.get(site, ()) else 0], site] = Side(
                tuple(lots), labs=frozenset({"one"})
            )
    return Lots(fleet, sides, 0.05, 0.8)


def demo_sites(fleet: Fleet, seeds: int) -> list[Share]:
    """The demo's sites, attribute by attribute, over seeds."""
    counts: dict[tuple[str, str], list[str]] = {}
    unlike = {site.name: site.unlike for site in SITES.values()}
    for seed in range(1, seeds + 1):
        rng = np.random.default_rng([SEED, seed])
        drawn = {site.name: lots_of(rng, site, LOTS) for site in SITES.values()}
        lots = fleet_of(fleet, drawn, unlike)
        for true in verdicts():
            found = judged(lots, true["attribute"], true["site"]).judgement.verdict
            counts.setdefault((true["site"], true["attribute"]), []).append(found)
    told = []
    for true in verdicts():
        words = counts[true["site"], true["attribute"]]
        told.append(
            _share(
                f"{true['site']} {true['attribute']}", true["label"], LOTS, LOTS,
                true["true_difference"] / true["margin_high"], words, None, None,
            )
        )  # fmt: skip
    return told


def grid(fleet: Fleet, runs: int) -> list[Share]:
    """One site against a reference of the same size, over lots and true difference, with the power reckoned."""
    home, attribute = SITES[REFERENCE], ATTRIBUTES[ATTRIBUTE]
    plan = fleet.plan.attributes[ATTRIBUTE]
    if plan.margin is None or plan.sd_ratio_max is None:
        raise ValueError(f"The plan needs a margin and sd_ratio_max for {ATTRIBUTE}.")
    margin = margin_on_scale(plan.margin, plan.scale)
    sd = hypot(attribute.sd, attribute.assay_sd / sqrt(replicates(home, ATTRIBUTE)))
    told = []
    for shift in SHIFTS:
        away = replace(home, name="away", shift={ATTRIBUTE: shift})
        for n in SIZES:
            rng = np.random.default_rng([SEED, round(100 * shift), n])
            words = []
            for _ in range(runs):
                # Only the attribute in question is drawn: the others take most of the time.
                drawn = {home.name: _only(rng, home, n), away.name: _only(rng, away, n)}
                words.append(judged(fleet_of(fleet, drawn, {}), ATTRIBUTE, away.name).judgement.verdict)
            true = shift * attribute.margin
            # Mean and SD of normal lots are independent, so the two chances multiply (the means' interval holds the
            # SDs too, which makes this an approximation of a few parts in a thousand).
            inside = welch_tost_power(margin, sd, n, sd, n, true=true)
            alike = sd_ratio_power(Margin(0, plan.sd_ratio_max), n, n)
            noisier = float(stats.f.sf(plan.sd_ratio_max**2 * stats.f.isf(0.05, n - 1, n - 1), n - 1, n - 1))
            beyond = _outside(margin, sd, n, true)
            told.append(
                _share(
                    ATTRIBUTE, "comparable" if shift < 1 else "not comparable", n, n, shift, words,
                    inside * alike, beyond + (1 - beyond) * noisier,
                )
            )  # fmt: skip
    return told


def _outside(margin: Margin, sd: float, n: int, true: float) -> float:
    """Chance that Welch's interval lies wholly outside; equal spreads and sizes, so its df are close to 2 n - 2."""
    se, df = sd * sqrt(2 / n), 2 * n - 2
    t = float(stats.t.isf(0.05, df))
    above = stats.nct.sf(t, df, (true - margin.high) / se)
    below = stats.nct.cdf(-t, df, (true - margin.low) / se)
    # So far in the tail that the series gives up, the chance is nought.
    return float(np.nan_to_num(above) + np.nan_to_num(below))


def _only(rng: np.random.Generator, site: Site, n: int) -> dict[str, list[Lot]]:
    lots = []
    for i in range(n):
        product = draw_product(rng, site, 0.0, False)
        read = [
            float(measure(rng, site, product, TESTS[ATTRIBUTE], "harvest")["value"])
            for _ in range(site.replicates)
        ]
        lots.append(Lot(f"{site.name}-{i}", _mean(read, ATTRIBUTE), f"{site.name}-{i}", False, {}))
    return {ATTRIBUTE: lots}


def _share(
    about: str,
    truth: str,
    n: int,
    m: int,
    shift: float,
    words: Sequence[str],
    yes: float | None,
    no: float | None,
) -> Share:
    return Share(
        about, truth, n, m, round(shift, 6), len(words), words.count("comparable"), words.count("not comparable"),
        words.count("inconclusive"), yes, no,
    )  # fmt: skip


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    interval = stats.binomtest(hits, of).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def page(demo: list[Share], table: list[Share]) -> str:
    """`docs/validation/planted-truth.md`."""
    false = [s for s in demo if s.truth == "not comparable"]
    wrong, of = sum(s.comparable for s in false), sum(s.judged for s in false)
    low, high = wilson(wrong, of)
    certain = next(s for s in table if s.true_difference_in_margins == 1.5 and s.n_site == 12)
    out = [
        "# Verdicts against planted truth",
        "",
        "Rendered by `make validation`. Lots are drawn by the demo's simulator, products and assays alike, and judged",
        "by the demo's plan as the mart does. Files are left out: what the whole pipeline finds in one fleet is",
        "told by `cellfleet score`.",
        "",
        f"Of {of} verdicts on true differences beyond the margin (in mean or in spread) {wrong} said comparable: "
        f"{100 * wrong / of:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f}).",
        "",
        f"Not every difference is found: at 1.5 margins and 12 lots a side `not comparable` falls in "
        f"{100 * certain.not_comparable / certain.judged:.0f} % only; "
        "the rest is inconclusive and says how many lots it takes.",
        "",
        f"## {ATTRIBUTE}, one site against a reference of the same size",
        "",
        f"{table[0].judged} fleets a line. In brackets what was reckoned before: Welch's power times that of "
        "the ratio of SDs.",
        "",
        "| true difference, margins | lots a side | comparable % | not comparable % | inconclusive % |",
        "|---|---|---|---|---|",
    ]
    for s in table:
        out.append(
            f"| {s.true_difference_in_margins:g} | {s.n_site} | {_of(s.comparable, s, s.computed_comparable)} | "
            f"{_of(s.not_comparable, s, s.computed_not_comparable)} | {_of(s.inconclusive, s, None)} |"
        )
    out += [
        "",
        f"## The demo's sites over {demo[0].judged} seeds, {LOTS} lots each",
        "",
        "| site and attribute | truth | difference, margins | comparable | not comparable | inconclusive |",
        "|---|---|---|---|---|---|",
    ]
    out += [
        f"| {s.about} | {s.truth} | {s.true_difference_in_margins:.2g} | {s.comparable} | {s.not_comparable} | "
        f"{s.inconclusive} |"
        for s in demo
    ]
    return "\n".join(out) + "\n"


def _of(hits: int, s: Share, computed: float | None) -> str:
    share = hits / s.judged
    error = sqrt(max(share * (1 - share), 1 / s.judged) / s.judged)
    exact = "" if computed is None else f" [{100 * computed:.1f}]"
    return f"{100 * share:.1f} ± {100 * error:.1f}{exact}"


def main() -> None:
    """Draw, judge, write page and figures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seeds", type=int, default=SEEDS)
    words.add_argument("--runs", type=int, default=RUNS)
    words.add_argument("--folder", type=Path, default=FOLDER)
    chosen = words.parse_args()
    fleet = load_plan(ROOT / "pipelines" / "defs" / "sites" / "fleet.yaml")
    table = grid(fleet, chosen.runs)
    demo = demo_sites(fleet, chosen.seeds)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {
        "seed": SEED,
        "grid": [asdict(s) for s in table],
        "demo": [asdict(s) for s in demo],
    }
    (chosen.folder / "planted-truth.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (chosen.folder / "planted-truth.md").write_text(page(demo, table), encoding="utf-8")


if __name__ == "__main__":
    main()
