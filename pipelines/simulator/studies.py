"""The fleet's split-apheresis study: healthy donors' cells divided between two sites, and historical lots before it.

Belongs here: the study's design, its draws, the rows that both sites hold of it, its truth. Does not belong here:
routine lots (process.py), how a file looks (writers/).
"""

from __future__ import annotations

from datetime import timedelta
from math import exp, sqrt
from typing import Any

import numpy as np

from .quality import Product, expit, measure, shift_of
from .sites import ATTRIBUTES, FLEET_START, Site
from .world import SiteWorld, hours

STUDY = "SA-2025-01"
REFERENCE, TEST = "northgate", "rhein"
DONORS, HISTORY, REPLICATES = 8, 10, 2
# Share of a lot's variance that is its donor's: high, as donors differ and a study is made with care.
DONOR_SHARE = 0.8
# Short laboratory names by attribute of the plan; VCN is per cell at both sites.
TESTS = {
    "cd3_pct": "CD3", "car_pct": "CAR", "vcn": "VCN", "cd4_cd8_ratio": "CD4CD8", "ifn_gamma": "IFNG",
}  # fmt: skip


def add_study(sites: dict[str, SiteWorld], seed: int) -> None:
    """Give both sites their rows of the study; donors from an own stream, so that nothing else changes."""
    rng = np.random.default_rng((seed, 7))
    counters = {REFERENCE: 0, TEST: 0}

    def lot(
        site: SiteWorld, donor: str, lot_id: str, arm: str, day: float, of_donor: dict[str, float]
    ) -> None:
        product = _product(rng, site.site, of_donor)
        for test in TESTS.values():
            at = FLEET_START + timedelta(days=day) + hours(9 + 6 * float(rng.random()))
            for replicate in range(1, REPLICATES + 1):
                counters[site.site.name] += 1
                site.add(
                    "study", at + hours(1), result_id=f"{site.site.prefix}-V-{counters[site.site.name]:05d}",
                    study=STUDY, arm=arm, donor=donor, lot=lot_id, test=test, lab="qc", replicate=replicate,
                    result_at=at, **measure(rng, site.site, product, test, "release"),
                )  # fmt: skip

    for i in range(1, HISTORY + 1):
        lot(sites[REFERENCE], f"HD-0{i:02d}", f"NG-H-{i:02d}", "historical", 2.0 + 3 * i, _donor(rng))
    for i in range(1, DONORS + 1):
        donor, of_donor = f"HD-1{i:02d}", _donor(rng)
        for site in (sites[REFERENCE], sites[TEST]):
            lot(site, donor, f"{site.site.prefix}-S-{i:02d}", "split", 40.0 + 7 * i, of_donor)


def _donor(rng: np.random.Generator) -> dict[str, float]:
    return {name: float(z) for name, z in zip(TESTS, rng.standard_normal(len(TESTS)), strict=True)}


def _product(rng: np.random.Generator, site: Site, of_donor: dict[str, float]) -> Product:
    def latent(name: str) -> float:
        a = ATTRIBUTES[name]
        z = sqrt(DONOR_SHARE) * of_donor[name] + sqrt(1 - DONOR_SHARE) * float(rng.standard_normal())
        return a.centre + shift_of(site, name) + a.sd * z

    car = expit(latent("car_pct"))
    return Product(
        viability=0.92, cd3=expit(latent("cd3_pct")), car=car, car_day5=car, vcn=exp(latent("vcn")),
        ratio=exp(latent("cd4_cd8_ratio")), ifng=exp(latent("ifn_gamma")), killing=0.8, endotoxin=0.0, beads=0,
        fold=30.0, cells=3e9,
    )  # fmt: skip


def truth_of_study(sites: dict[str, Site]) -> dict[str, Any]:
    """What `truth.json` says of the study: true differences on the scale, donors' share, numbers."""
    return {
        "study": STUDY,
        "reference": REFERENCE,
        "site": TEST,
        "donors": DONORS,
        "historical_lots": HISTORY,
        "replicates": REPLICATES,
        "donor_share": DONOR_SHARE,
        "true_difference": {name: round(shift_of(sites[TEST], name), 6) for name in TESTS},
    }
