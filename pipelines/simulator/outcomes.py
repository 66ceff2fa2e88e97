"""What became of an infused patient: toxicity grades, response, relapse, survival.

Belongs here: the draws after published rates (tisagenlecleucel: CRS and ICANS of grade 3 and more in
11.6 % and 7.5 %, response by disease, survival). Does not belong here: FHIR or CSV.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np

from .people import Patient
from .world import SiteWorld


def add_outcomes(
    world: SiteWorld,
    rng: np.random.Generator,
    new_id: Callable[[], str],
    *,
    patient: Patient,
    infusion_id: str,
    infused: datetime,
) -> None:
    """Rows endpoint, day, value, censored of one infusion, each known on its day."""

    def add(endpoint: str, day: int, value: str, censored: bool = False) -> None:
        at = infused + timedelta(days=day, hours=1)
        world.add(
            "outcome",
            at,
            outcome_id=new_id(),
            infusion_id=infusion_id,
            endpoint=endpoint,
            day=day,
            value=value,
            censored=censored,
            at=at,
            coi=patient.coi,
        )

    crs = int(rng.choice(5, p=(0.25, 0.38, 0.255, 0.085, 0.03)))
    icans = int(rng.choice(5, p=(0.72, 0.13, 0.075, 0.055, 0.02)))
    add("crs", int(rng.integers(1, 11)), str(crs))
    add("icans", int(rng.integers(2, 13)), str(icans))
    death = int(rng.exponential(1150 if patient.diagnosis == "ALL" else 530)) + 8
    complete = 0.85 if patient.diagnosis == "ALL" else 0.40
    rates = (complete, (0.93 - complete) * 0.42, (0.93 - complete) * 0.2)
    best = str(rng.choice(("CR", "PR", "SD", "PD"), p=(*rates, 1 - sum(rates))))
    relapse = int(rng.exponential(500)) + 35
    for day in (28, 90, 180, 365):
        if day >= death:
            break
        relapsed = best in ("CR", "PR") and day >= relapse
        add("response", day, "PD" if relapsed else best)
        if relapsed:
            add("relapse", relapse, "yes")
            break
    for day in (100, 365):
        if day < death:
            add("survival", day, "alive", censored=True)
    if death < 5 * 365:
        add("survival", death, "dead")
