"""What a batch turns out to be: the attributes of one product lot, as they truly are and as measured.

Belongs here: the draw of attributes from a site's planted character and a patient's covariates, assay
noise, and release limits applied to them. Does not belong here: times, identifiers, formats.
Scales: logit for fractions, log for ratios and counts. Fractions are 0..1 here, percent in rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import exp, log
from typing import Any

import numpy as np

from .people import SEVERITY_CENTRE
from .sites import ATTRIBUTES, Site

LOD_ENDOTOXIN = 0.05
_VCN_CAR_CORRELATION = 0.5
_SEEDED_CELLS = 1.0e8


def expit(x: float) -> float:
    """Inverse logit."""
    return 1 / (1 + exp(-x))


def shift_of(site: Site, attribute: str) -> float:
    """Planted true difference from the reference on the analysis scale."""
    return site.shift.get(attribute, 0.0) * ATTRIBUTES[attribute].margin


@cache
def _mean_log_expit(mean: float, sd: float) -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    return float(np.sum(weights * -np.log1p(np.exp(-(mean + sd * nodes)))) / np.sum(weights))


def seeding_factor(site: Site) -> float:
    """Cells a site seeds relative to the reference: it meets the same CAR+ dose despite its CAR+ shift."""
    a = ATTRIBUTES["car_pct"]
    return exp(_mean_log_expit(a.centre, a.sd) - _mean_log_expit(a.centre + shift_of(site, "car_pct"), a.sd))


@dataclass(frozen=True)
class Product:
    """True attributes of one finished lot."""

    viability: float
    cd3: float
    car: float
    car_day5: float
    vcn: float
    ratio: float
    ifng: float
    killing: float
    endotoxin: float
    beads: int
    fold: float
    cells: float

    @property
    def car_cells(self) -> float:
        """Viable CAR+ CD3+ cells."""
        return self.cells * self.cd3 * self.car


def draw_product(rng: np.random.Generator, site: Site, severity: float, low_viability: bool) -> Product:
    """Draw a lot; `low_viability` forces the out-of-specification viability seen in failed lots (61-69 %)."""
    z = rng.standard_normal(10)

    def latent(name: str, draw: float) -> float:
        a = ATTRIBUTES[name]
        return a.centre + shift_of(site, name) + a.sd * site.sd_ratio.get(name, 1.0) * draw

    car = latent("car_pct", z[2])
    copies = _VCN_CAR_CORRELATION * z[2] + (1 - _VCN_CAR_CORRELATION**2) ** 0.5 * z[3]
    fold = exp(latent("fold_expansion", z[6]) - (severity - SEVERITY_CENTRE))
    viability = expit(latent("viability", z[0]))
    forced = float(rng.uniform(0.61, 0.69))
    hot = float(np.exp(rng.normal(log(0.12), 0.5)))
    return Product(
        viability=forced if low_viability else viability,
        cd3=expit(latent("cd3_pct", z[1])),
        car=expit(car),
        car_day5=expit(car - 0.25 + 0.15 * z[7]),
        vcn=exp(latent("vcn", copies)),
        ratio=exp(latent("cd4_cd8_ratio", z[4])),
        ifng=exp(latent("ifn_gamma", z[5])),
        killing=expit(1.25 + 0.42 * z[8]),
        endotoxin=hot if rng.random() < 0.12 else 0.0,
        beads=int(rng.poisson(18)),
        fold=fold,
        cells=_SEEDED_CELLS * seeding_factor(site) * exp(0.15 * z[9]) * fold,
    )


def _noisy_fraction(rng: np.random.Generator, p: float, sd: float) -> float:
    return 100 * expit(log(p / (1 - p)) + sd * rng.standard_normal())


def _noisy(rng: np.random.Generator, x: float, sd: float) -> float:
    return x * exp(sd * rng.standard_normal())


def measure(rng: np.random.Generator, site: Site, p: Product, test: str, point: str) -> dict[str, Any]:
    """One reading of `test` (short lab name): {"op", "value"} in %, copies, pg/mL, EU/mL …, or {"text"}."""
    if test in ("STER", "MYCO", "RCL"):
        rare = {"STER": 0.004, "MYCO": 0.002, "RCL": 0.0}[test]
        return {"op": "=", "value": None, "text": "positive" if rng.random() < rare else "negative"}
    if test == "ENDO":
        value = round(_noisy(rng, p.endotoxin, 0.15), 2) if p.endotoxin else 0.0
        if value <= LOD_ENDOTOXIN:
            return {"op": "<", "value": LOD_ENDOTOXIN, "text": None}
        return {"op": "=", "value": value, "text": None}
    noise = {
        "VIAB": "viability",
        "CD3": "cd3_pct",
        "CAR": "car_pct",
        "VCN": "vcn",
        "CD4CD8": "cd4_cd8_ratio",
        "IFNG": "ifn_gamma",
        "FOLD": "fold_expansion",
        "TVCAR": "total_viable_car_cells",
    }
    sd = ATTRIBUTES[noise[test]].assay_sd if test in noise else 0.05
    drop = {"ipc_d5": 0.35, "harvest": 0.0, "release": -0.12}.get(point, 0.0)
    vcn = p.vcn / p.car if "vcn" in site.unlike else p.vcn
    value = {
        "VIAB": lambda: _noisy_fraction(rng, expit(log(p.viability / (1 - p.viability)) + drop), sd),
        "CD3": lambda: _noisy_fraction(rng, p.cd3, sd),
        "CAR": lambda: _noisy_fraction(rng, p.car_day5 if point == "ipc_d5" else p.car, sd),
        "VCN": lambda: _noisy(rng, vcn, sd),
        "CD4CD8": lambda: _noisy(rng, p.ratio, sd),
        "IFNG": lambda: _noisy(rng, p.ifng, sd),
        "KILL": lambda: _noisy_fraction(rng, p.killing, 0.1),
        "BEADS": lambda: float(p.beads),
        "TVC": lambda: _noisy(rng, p.cells, sd),
        "TVCAR": lambda: _noisy(rng, p.car_cells, sd),
        "FOLD": lambda: _noisy(rng, p.fold, sd),
    }[test]()
    return {"op": "=", "value": value, "text": None}


def limits(site: Site) -> list[dict[str, Any]]:
    """Release limits in row terms: test, low, high, inclusive, stage, blocking. The CDMO has its own."""
    strict = site.central

    def limit(
        test: str,
        low: float | None,
        high: float | None,
        stage: str,
        *,
        blocking: bool = True,
        inclusive: bool = True,
    ) -> dict[str, Any]:
        return {
            "test": test,
            "low": low,
            "high": high,
            "stage": stage,
            "blocking": blocking,
            "inclusive": inclusive,
        }

    return [
        limit("VIAB", 80.0 if strict else 70.0, None, "release"),
        limit("CD3", 80.0 if strict else 70.0, None, "release"),
        limit("CAR", 5.0 if strict else 10.0, None, "release"),
        limit("VCN", None, 25.0 if strict else 10.0, "post_release", blocking=False),
        limit("CD4CD8", 0.1, 15.0, "release", blocking=False),
        limit("IFNG", 50.0, None, "release", inclusive=False),
        limit("KILL", 50.0, None, "release", blocking=False, inclusive=False),
        limit("ENDO", None, 0.5 if strict else 5.0, "release"),
        limit("BEADS", None, 100.0, "release", inclusive=False),
        limit("TVCAR", 6.0e7, None, "release"),
    ]


def out_of_specification(site: Site, results: list[dict[str, Any]]) -> bool:
    """Whether any blocking release limit is broken by these rows (release point only)."""
    by_test = {li["test"]: li for li in limits(site) if li["blocking"] and li["stage"] == "release"}
    for row in results:
        li = by_test.get(row["test"])
        if li is None or row["value"] is None or row["op"] == "<":
            continue
        if li["low"] is not None and row["value"] < li["low"]:
            return True
        if li["high"] is not None and row["value"] > li["high"]:
            return True
    return False
