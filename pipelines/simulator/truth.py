"""The truth file: true differences and labels, planted defects, what was written, what happens by nature.

Belongs here: turning the planted world into `truth.json`. Does not belong here: reading what was found
(score.py). The pipeline never opens this file.
"""

from __future__ import annotations

from math import hypot, sqrt
from typing import Any

from .people import SEVERITY_CENTRE, SICKER
from .quality import shift_of
from .sites import ATTRIBUTES, FLEET_START, SD_LIMIT, SITES, Site
from .studies import truth_of_study
from .unrest import planted_drifts
from .world import World

REFERENCE = "northgate"


def replicates(site: Site, name: str) -> int:
    """Results that a site's laboratory makes of one sample: only CAR+ and VCN are repeated."""
    return site.replicates if name in ("car_pct", "vcn") else 1


def _measured_sd(site: Site, name: str) -> float:
    """SD of a site's lots as measured, on the analysis scale."""
    attribute = ATTRIBUTES[name]
    noise = attribute.assay_sd / sqrt(replicates(site, name))
    return hypot(site.sd_ratio.get(name, 1.0) * attribute.sd, noise)


def verdicts() -> list[dict[str, Any]]:
    """True difference from the reference and its label, per site and attribute of the plan.

    `true_difference` is that of the process on the analysis scale, patients held equal; `raw_difference` adds
    what the site's patient mix does. The label follows from the process: beyond the margin in mean or in spread, or
    not; `sd_ratio` is that of lots as measured, assay noise over the site's replicates included.
    """
    made = []
    for site in SITES.values():
        if site.name == REFERENCE:
            continue
        for name, attribute in ATTRIBUTES.items():
            # The seeding meets the same dose everywhere, so a CAR+ shift does not move the CAR+ cell total.
            difference = shift_of(site, name)
            patients = 0.0
            if site.sicker and name in ("fold_expansion", "total_viable_car_cells"):
                patients = SEVERITY_CENTRE - SICKER.mean_severity
            unlike = name in site.unlike
            ratio = _measured_sd(site, name) / _measured_sd(SITES[REFERENCE], name)
            inside = abs(difference) < attribute.margin and ratio < SD_LIMIT
            label = "unlike_methods" if unlike else "comparable" if inside else "not comparable"
            made.append(
                {
                    "attribute": name,
                    "reference": REFERENCE,
                    "site": site.name,
                    "scale": attribute.scale,
                    "true_difference": round(difference, 6),
                    "raw_difference": round(difference + patients, 6),
                    "margin_low": -round(attribute.margin, 6),
                    "margin_high": round(attribute.margin, 6),
                    "sd_ratio": round(ratio, 6),
                    "sd_ratio_max": SD_LIMIT,
                    "unlike_methods": unlike,
                    "label": label,
                }
            )
    return made


def truth(
    world: World,
    received: dict[str, dict[str, int]],
    defects: list[dict[str, Any]],
    natural: list[dict[str, str]],
    excursions: list[dict[str, Any]],
) -> dict[str, Any]:
    """The content of `truth.json`."""
    return {
        "seed": world.seed,
        "scale": world.scale_name,
        "start": FLEET_START.isoformat(),
        "days": world.lived,
        "received": received,
        "verdicts": verdicts(),
        "studies": [truth_of_study(SITES)],
        "defects": defects,
        "natural": natural,
        "excursions": excursions,
        "drifts": planted_drifts(world.base_days),
    }
