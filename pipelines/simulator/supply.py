"""What every batch of a site draws on: equipment, reagent lots, specification versions.

Belongs here: rows that belong to no patient. They are drawn period by period, so that a fleet that
lives on keeps what it had. Does not belong here: which batch used what (process.py).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from .quality import limits
from .sites import FLEET_START, day_start
from .world import SiteWorld

SUITES = 4
LOT_DAYS = 45
MATERIALS = ("vector", "activation_reagent", "medium", "cytokine", "bag_set")
_SUPPLIERS = {
    "vector": "Vectoria Biologics",
    "activation_reagent": "Actibead GmbH",
    "medium": "Nutricell Media",
    "cytokine": "Interlink Proteins",
    "bag_set": "Sterilbag Systems",
}
PRODUCT = "CAR19-01"


def lot_id(prefix: str, at: datetime, material: str) -> str:
    """The lot of `material` in use at a site at `at`: one lot per material and 45 days."""
    period = max(0, (at - FLEET_START).days // LOT_DAYS + 1)
    return f"{prefix}-L-{period * len(MATERIALS) + MATERIALS.index(material) + 1:04d}"


def add_lots(world: SiteWorld, seed: int, until_day: int) -> None:
    """Reagent lots received up to `until_day`, each a week before it comes into use."""
    for period in range(until_day // LOT_DAYS + 3):
        rng = np.random.default_rng((seed, world.site.index, 7, period))
        first_use = day_start((period - 1) * LOT_DAYS)
        for material in MATERIALS:
            received = first_use - timedelta(days=int(rng.integers(6, 12)), hours=-10)
            world.add(
                "reagent_lot",
                received,
                lot_id=lot_id(world.site.prefix, first_use, material),
                material=material,
                supplier=_SUPPLIERS[material],
                gtin=f"0950600013{MATERIALS.index(material)}52{period % 10}",
                received=received.date(),
                expires=(received + timedelta(days=int(rng.integers(200, 500)))).date(),
                qty=float(rng.integers(10, 60)),
                titre=round(float(rng.uniform(1.5, 6.0)) * 1e8) if material == "vector" else None,
                status="released",
            )


def reactor_id(prefix: str, suite: int) -> str:
    """Equipment number of the bioreactor in a suite (1..4)."""
    return f"{prefix}-BR{suite:02d}"


def add_equipment(world: SiteWorld, seed: int, until_day: int) -> None:
    """Bioreactors, separators and counters; each is requalified once a year (a new version of its row)."""
    site = world.site
    rng = np.random.default_rng((seed, site.index, 8))
    models = (("BR", "CultiFlow 500"), ("SP", "MagSep Plus"), ("CC", "Cell counter"))
    for kind, model in models:
        for n in range(1, SUITES + 1):
            serial = f"SN{int(rng.integers(10**6, 10**7))}"
            due = FLEET_START + timedelta(days=int(rng.integers(20, 360)), hours=9)
            firmware = f"{int(rng.integers(2, 5))}.{int(rng.integers(0, 9))}.{int(rng.integers(0, 20))}"
            seen = FLEET_START - timedelta(days=30)
            while seen <= day_start(until_day):
                world.add(
                    "equipment",
                    seen,
                    equipment_id=f"{site.prefix}-{kind}{n:02d}",
                    model=model,
                    serial=serial,
                    firmware=firmware,
                    qualification_due=due.date(),
                )
                seen, due = due - timedelta(days=14), due + timedelta(days=365)


def spec_versions(base_days: int) -> list[tuple[int, datetime]]:
    """Version and effective date of the product specification: a new one at 55 % of the base period."""
    change = day_start(round(base_days * 0.55))
    return [(1, FLEET_START - timedelta(days=200)), (2, change)]


def add_specifications(world: SiteWorld, base_days: int) -> None:
    """Both versions of the specification with their limits, known three weeks before they take effect."""
    site = world.site
    versions = spec_versions(base_days)
    for (version, effective), following in zip(versions, [*versions[1:], None], strict=True):
        approved = effective - timedelta(days=21, hours=-9)
        spec = {"spec_id": f"{site.prefix}-SPEC-01", "version": version}
        fields = {"product": PRODUCT, "effective_from": effective.date(), "approved_by": "QA head"}
        world.add("specification", approved, **spec, **fields, effective_to=None)
        if following is not None:
            ends = (following[1] - timedelta(days=1)).date()
            world.add("specification", following[1] - timedelta(days=20), **spec, **fields, effective_to=ends)
        for limit in limits(site):
            world.add("spec_limit", approved, **spec, **limit)
