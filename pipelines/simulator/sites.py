"""The four planted sites and the margins of the demo's plan: who they are and how they truly differ.

Belongs here: constants of the simulated world (places, planted differences, scales of the fleet).
Does not belong here: how a file looks (writers/), how a journey is drawn (process.py). Nothing is
shared with the code that reads or judges the files: the truth must not come from the detector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

FLEET_START = datetime(2025, 11, 3, tzinfo=UTC)
# Clocks in Chicago jump from 02:00 to 03:00 at this instant; prairie always has a batch running then.
PRAIRIE_SPRING = datetime(2026, 3, 8, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Scale:
    """Size of a fleet: batches per site, days it has lived, sensor channels and minutes between readings."""

    batches: int
    days: int
    channels: int
    minutes: int


# tiny spans 130 days so that it still holds a change of clocks (8 March 2026 in Chicago).
SCALES = {
    "tiny": Scale(batches=12, days=130, channels=4, minutes=60),
    "demo": Scale(batches=60, days=365, channels=8, minutes=5),
    "large": Scale(batches=600, days=1825, channels=8, minutes=5),
}


@dataclass(frozen=True)
class Attribute:
    """One attribute of the plan: analysis scale, centre and between-lot SD on it, margin on it."""

    scale: str
    centre: float
    sd: float
    margin: float
    assay_sd: float


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


# Ratio of standard deviations from which a site is truly too noisy: the demo's assumption, as the margins are.
SD_LIMIT = 1.5

# Centres and spreads after the literature ranges for CD19 CAR-T lots; margins are the demo's assumptions.
ATTRIBUTES = {
    "viability": Attribute("logit", _logit(0.925), 0.58, 0.50, 0.10),
    "cd3_pct": Attribute("logit", _logit(0.95), 0.65, 0.60, 0.10),
    "car_pct": Attribute("logit", _logit(0.35), 0.42, 0.40, 0.10),
    "vcn": Attribute("log", math.log(1.9), 0.33, math.log(1.25), 0.06),
    "cd4_cd8_ratio": Attribute("log", math.log(1.3), 0.55, math.log(1.5), 0.08),
    "ifn_gamma": Attribute("log", math.log(900.0), 0.50, math.log(1.5), 0.12),
    "fold_expansion": Attribute("log", math.log(30.0), 0.42, math.log(1.5), 0.05),
    "total_viable_car_cells": Attribute("log", math.log(1.0e9), 0.55, math.log(1.5), 0.05),
}


@dataclass(frozen=True)
class Site:
    """A site's place, people and planted character. `shift` is in margins, on the analysis scale."""

    index: int
    name: str
    prefix: str
    tz: str
    hours_east: int
    facility: str
    central: bool = False
    replicates: int = 1
    sicker: bool = False
    shift: dict[str, float] = field(default_factory=dict)
    sd_ratio: dict[str, float] = field(default_factory=dict)
    unlike: tuple[str, ...] = ()


SITES = {
    s.name: s
    for s in (
        Site(0, "northgate", "NG", "Europe/London", 0, "G1517", replicates=2),
        Site(
            1, "rhein", "RH", "Europe/Berlin", 1, "D2409", shift={"car_pct": 0.5}, sd_ratio={"viability": 1.6}
        ),
        Site(2, "prairie", "PR", "America/Chicago", -6, "W4031", sicker=True),
        Site(
            3,
            "meridian",
            "ME",
            "Asia/Singapore",
            8,
            "Z7020",
            central=True,
            replicates=2,
            shift={"car_pct": -1.6, "ifn_gamma": -1.8},
            unlike=("viability", "vcn"),
        ),
    )
}


def day_start(day: int) -> datetime:
    """UTC midnight that opens day number `day` of the fleet (0 is the first)."""
    return FLEET_START + timedelta(days=day)
