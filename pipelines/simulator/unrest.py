"""What the process does by itself, planted: an attribute that drifts at a site, cultures that leave their limits.

Belongs here: which drifts and excursions a fleet has, and what they do to a lot or a culture. Does not belong here:
faults of sensors and of records (defects.py): these are true and no mistake of anybody's.

The one drift is of vector copies at meridian, whose method is unlike the reference's: that verdict stays held back
whatever the numbers do, so that no planted verdict changes. It ends with the process version. Excursions have a stream
of random numbers of their own, so that every defect lies where it lay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from .sites import ATTRIBUTES, day_start
from .world import SensorDefect, World, minute

# Excursions in a tiny, demo and large fleet.
_NUMBERS = {"tiny": 4, "demo": 12, "large": 60}
# Channel: distance from the set point that is certainly beyond a culture's limits, least and most.
_DEPTHS = {"temp": (1.5, 2.6), "ph": (0.40, 0.60)}
_LONGEST_H = 12.0


@dataclass(frozen=True)
class Drift:
    """An attribute that leaves its level: linearly over `ramp_days`, by `sds` between-lot deviations, then stays.

    It begins and ends at these shares of the base period. Batches count by their start.
    """

    site: str
    attribute: str
    sds: float
    ramp_days: float
    begins: float
    ends: float

    def window(self, base_days: int) -> tuple[datetime, datetime]:
        """First and last moment at which a batch that starts then is touched."""
        return day_start(round(base_days * self.begins)), day_start(round(base_days * self.ends))


DRIFTS = (Drift("meridian", "vcn", 2.5, 30.0, 0.36, 0.55),)


def drifted(site: str, attribute: str, started: datetime, base_days: int) -> float:
    """What is added to a lot's attribute on its analysis scale."""
    moved = 0.0
    for drift in DRIFTS:
        begins, ends = drift.window(base_days)
        if (drift.site, drift.attribute) == (site, attribute) and begins <= started < ends:
            moved += (
                drift.sds * ATTRIBUTES[attribute].sd * min((started - begins).days / drift.ramp_days, 1.0)
            )
    return moved


def plant_excursions(world: World) -> list[dict[str, Any]]:
    """Let some cultures without a planted fault leave their limits for hours; returns them for the truth file."""
    rng = np.random.default_rng((world.seed, 996))
    until = day_start(world.base_days)
    made: list[dict[str, Any]] = []
    for name, site in world.sites.items():
        free = [c for c in site.cultures if c.end < until and c.batch_id not in site.sensor_defects]
        wanted = _NUMBERS[world.scale_name] // len(world.sites)
        for i in sorted(rng.permutation(len(free))[:wanted].tolist()):
            culture = free[i]
            channel = list(_DEPTHS)[int(rng.integers(0, len(_DEPTHS)))]
            span = float(rng.uniform(3.0, _LONGEST_H))
            # Away from seeding and harvest, where other steps own the vessel.
            begin, end = culture.start + timedelta(hours=60), culture.end - timedelta(hours=span + 24)
            start = minute(begin + (end - begin) * float(rng.random()))
            depth = float(rng.uniform(*_DEPTHS[channel])) * (1 if rng.random() < 0.5 else -1)
            fault = SensorDefect("excursion", channel, start, span, depth)
            site.sensor_defects.setdefault(culture.batch_id, []).append(fault)
            made.append(
                {
                    "site": name,
                    "batch": culture.batch_id,
                    "quantity": channel,
                    "side": "above" if depth > 0 else "below",
                    "from": start.isoformat(),
                    "until": (start + timedelta(hours=span)).isoformat(),
                    "depth": round(depth, 3),
                }
            )
    return made


def planted_drifts(base_days: int) -> list[dict[str, Any]]:
    """The drifts as they stand in the truth file."""
    return [
        {
            "site": d.site,
            "attribute": d.attribute,
            "side": "above" if d.sds > 0 else "below",
            "from": d.window(base_days)[0].isoformat(),
            "until": d.window(base_days)[1].isoformat(),
            "sds": d.sds,
            "ramp_days": d.ramp_days,
        }
        for d in DRIFTS
    ]
