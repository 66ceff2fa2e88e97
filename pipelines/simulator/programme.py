"""What surrounds a site's batches and belongs to no patient: programs, products, materials, methods, changes, access.

Belongs here: rows that a site sets up once and revises seldom. Does not belong here: what a patient's journey brings
(care.py), lots and equipment (supply.py).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from .process import TESTS
from .quality import LOD_ENDOTOXIN
from .sites import FLEET_START
from .supply import MATERIALS, PRODUCT, SUITES, spec_versions
from .world import SiteWorld

PROGRAM = "PRG-CAR19"
_SETUP = FLEET_START - timedelta(days=240)
_NAMES = {
    "vector": ("Lentiviral vector LV-CAR19", "-80 C"),
    "activation_reagent": ("CD3/CD28 activation beads", "2-8 C"),
    "medium": ("Serum-free T-cell medium", "2-8 C"),
    "cytokine": ("Interleukin 7 and 15", "-20 C"),
    "bag_set": ("Closed culture and final bag set", "15-25 C"),
}
_SUPPLIERS = {
    "vector": "Vectoria Biologics",
    "activation_reagent": "Actibead GmbH",
    "medium": "Nutricell Media",
    "cytokine": "Interlink Proteins",
    "bag_set": "Sterilbag Systems",
}
# Limit of detection, of quantification, validated range, precision (CV %); None where a test has no such thing.
_METHODS: dict[str, tuple[float | None, float | None, float | None, float | None, float | None]] = {
    "VIAB": (None, None, 20.0, 100.0, 4.0),
    "CD3": (0.1, 0.5, 1.0, 100.0, 6.0),
    "CAR": (0.2, 1.0, 1.0, 95.0, 9.0),
    "VCN": (0.02, 0.05, 0.1, 15.0, 8.0),
    "CD4CD8": (None, None, 0.05, 20.0, 8.0),
    "IFNG": (8.0, 16.0, 16.0, 5000.0, 14.0),
    "KILL": (2.0, 5.0, 5.0, 100.0, 12.0),
    "ENDO": (LOD_ENDOTOXIN, LOD_ENDOTOXIN, LOD_ENDOTOXIN, 50.0, 20.0),
    "BEADS": (10.0, 30.0, 30.0, 3000.0, 15.0),
}
# Step, days before the site was active, how long before that it had been planned for.
_STEPS = (
    ("agreement", 420),
    ("filing", 330),
    ("ethics", 280),
    ("training", 190),
    ("engineering_run", 150),
    ("ppq", 90),
    ("active", 30),
    ("first_patient", 0),
)
_REGIONS = ("City", "Inner ring", "Outer ring", "North", "South", "Border counties")
_PAYERS = (("National plan", "outcome"), ("Mutual fund", "upfront"))


def add_programme(world: SiteWorld, seed: int, base_days: int) -> None:
    """All rows of a site that belong to no patient, batch or lot."""
    rng = np.random.default_rng((seed, world.site.index, 13))
    _master_data(world)
    _methods(world, base_days)
    _changes(world, rng, base_days)
    _milestones(world, rng)
    _access(world, rng)


def _master_data(world: SiteWorld) -> None:
    prefix = world.site.prefix
    world.add(
        "program", _SETUP, program_id=PROGRAM, sponsor="Example Therapeutics", modality="CAR-T",
        clinical_phase="II", reference="IND 00000",
    )  # fmt: skip
    world.add(
        "product", _SETUP, product_id=PRODUCT, program_id=PROGRAM, construct="LV-CAR19 v2", preservation="fresh",
        dose="0.5 to 6.0e8 CAR+ viable T cells",
    )  # fmt: skip
    for n in range(1, SUITES + 1):
        world.add("suite", _SETUP, suite_id=f"S{n}", grade="B" if n < SUITES else "C, isolator", capacity=1)
    for n, material in enumerate(MATERIALS, start=1):
        name, storage = _NAMES[material]
        world.add(
            "material", _SETUP, material_id=f"{prefix}-M-{n:03d}", material=material, name=name, storage=storage,
            supplier=_SUPPLIERS[material], gtin=f"0950600013{n - 1}520",
        )  # fmt: skip


def _methods(world: SiteWorld, base_days: int) -> None:
    tests = sorted({test for tests in TESTS.values() for test in tests} & set(_METHODS))
    for test in tests:
        lod, loq, low, high, cv = _METHODS[test]
        fields = {"test": test, "lod": lod, "loq": loq, "low": low, "high": high}
        world.add("assay_method", _SETUP, **fields, version="1", cv=cv)
        if test == "IFNG":
            again = FLEET_START + timedelta(days=round(base_days * 0.4))
            world.add("assay_method", again, **fields, version="2", cv=(cv or 0.0) - 3)


def _changes(world: SiteWorld, rng: np.random.Generator, base_days: int) -> None:
    """Each change is opened, approved, implemented and closed: four versions of its row."""
    takes_effect = spec_versions(base_days)[1][1]
    prefix = world.site.prefix
    planned: tuple[tuple[str, str, str, str, datetime], ...] = (
        ("process", "P-3", "3.1", "3.2", takes_effect),
        ("specification", f"{prefix}-SPEC-01", "1", "2", takes_effect),
        ("method", "IFNG", "1", "2", FLEET_START + timedelta(days=round(base_days * 0.4))),
        ("supplier", "cytokine", "Interlink Proteins", "Interlink Proteins, second line",
         FLEET_START + timedelta(days=round(base_days * float(rng.uniform(0.2, 0.8))))),
    )  # fmt: skip
    for n, (kind, affects, before, after, at) in enumerate(planned, start=1):
        opened = at - timedelta(days=int(rng.integers(40, 90)))
        fields: dict[str, Any] = {
            "change_id": f"{prefix}-CC-{n:03d}", "kind": kind, "affects": affects, "before": before,
            "after": after, "opened": opened, "role": "QA head",
        }  # fmt: skip
        closed = at + timedelta(days=int(rng.integers(14, 45)))
        world.add("change_control", opened, **fields, status="open", implemented=None, closed=None)
        approved = at - timedelta(days=21)
        world.add("change_control", approved, **fields, status="approved", implemented=None, closed=None)
        world.add("change_control", at, **fields, status="implemented", implemented=at, closed=None)
        world.add("change_control", closed, **fields, status="closed", implemented=at, closed=closed)


def _milestones(world: SiteWorld, rng: np.random.Generator) -> None:
    first = FLEET_START - timedelta(days=9)
    slip = 0
    for step, before in _STEPS:
        planned: date = (first - timedelta(days=before + 40)).date()
        slip += int(rng.integers(0, 12))
        actual = planned + timedelta(days=slip)
        world.add("activation_milestone", _SETUP, program_id=PROGRAM, step=step, planned=planned, actual=None)
        seen = datetime(actual.year, actual.month, actual.day, 9, tzinfo=_SETUP.tzinfo)
        world.add(
            "activation_milestone", max(seen, _SETUP + timedelta(hours=1)), program_id=PROGRAM, step=step,
            planned=planned, actual=actual,
        )  # fmt: skip


def _access(world: SiteWorld, rng: np.random.Generator) -> None:
    minutes = 12.0
    for region in _REGIONS:
        people = int(rng.integers(40, 900)) * 1000
        world.add("catchment", _SETUP, region=region, population=people, minutes=round(minutes))
        minutes *= float(rng.uniform(1.4, 2.1))
    for n, (payer, scheme) in enumerate(_PAYERS, start=1):
        world.add(
            "agreement", _SETUP, agreement_id=f"{world.site.prefix}-AG-{n:02d}", payer=payer, product=PRODUCT,
            scheme=scheme, endpoint="response", price=373000.0, currency="USD", agreed=_SETUP.date(),
            schedule="0:0.5;90:0.5" if scheme == "outcome" else "0:1",
        )  # fmt: skip
