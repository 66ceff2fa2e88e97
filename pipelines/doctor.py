"""Examining an installation end to end: each line says what was checked, what was seen, and the mend.

Belongs here: what belongs to the pipelines and the machine, and the order. The files of the home are examined in
`pipelines/doctor_home.py`. Nothing is changed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields

from pipelines import doctor_home
from pipelines.doctor_home import Diagnosis
from pipelines.harmonise.contract import ContractError, load_contract
from pipelines.harmonise.systems import FolderSystem, RelationalSystem, secrets_of
from pipelines.real_files import contract_paths
from pipelines.runner import Locked, locked
from warehouse.plan import PlanError, load_plan
from warehouse.settings import Settings
from warehouse.trouble import in_words

FREE_GIB = 2
COUNTS = (
    "snapshots_kept",
    "backups_days",
    "backups_months",
    "alerts_per_hour",
    "dashboards_port",
    "dagster_port",
)
FOR_TESTS = ("CELLFLEET_FAULTS", "CELLFLEET_REFERENCE_CASES")
NUMBERS = ("lake_snapshots_days", "history_days", "logs_days", "power", "alpha")


def examine(chosen: Settings) -> list[Diagnosis]:
    """Every check, in the order in which a mend makes sense. A check that itself fails is told as a problem."""
    return [
        told
        for check in (_python, _settings, _disk, _lock, _plan, _contracts, *doctor_home.CHECKS)
        for told in _examined(check, chosen)
    ]


def _examined(check: Callable[[Settings], Iterator[Diagnosis]], chosen: Settings) -> list[Diagnosis]:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        return list(check(chosen))
    except Exception as error:  # noqa: BLE001 - the other checks still say what they see
        said = in_words(str(error)) or f"{error}"
        return [Diagnosis(name, False, f"{said}; mend this first, then run `cellfleet doctor` again")]


def _python(_: Settings) -> Iterator[Diagnosis]:
    good = sys.version_info >= (3, 11)
    yield Diagnosis(
        "Python",
        good,
        sys.version.split()[0] if good else "Python 3.11 or newer is needed; run `make install` with it",
    )


def _settings(chosen: Settings) -> Iterator[Diagnosis]:
    variables = {f.name: str(f.metadata["variable"]) for f in fields(Settings)}
    wrong = [
        f"{variables[name]} is {getattr(chosen, name)!r}, which is no number"
        for names, kind in ((COUNTS, int), (NUMBERS, float))
        for name in names
        if not _is(kind, getattr(chosen, name))
    ]
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith("CELLFLEET_") and name not in {*variables.values(), *FOR_TESTS, *_secrets(chosen)}
    )
    told = "; ".join([*wrong, *(f"{name} is no setting of this version" for name in unknown)])
    set_here = sum(bool(os.environ.get(v)) for v in variables.values())
    said = f"{told}; see docs/settings.md" if told else f"{set_here} set, the rest as shipped"
    yield Diagnosis("settings", not told, said)


def _secrets(chosen: Settings) -> Iterator[str]:
    """Variables that sound contracts name for their sites' secrets."""
    for path in contract_paths(chosen):
        try:
            contract = load_contract(path)
        except ContractError:
            continue
        for system in contract.systems.values():
            yield from secrets_of(system)


def _is(kind: type[int] | type[float], text: str) -> bool:
    try:
        return kind(text) >= 0
    except ValueError:
        return False


def _disk(chosen: Settings) -> Iterator[Diagnosis]:
    chosen.home_path.mkdir(parents=True, exist_ok=True)
    for name, folder in (("disk", chosen.home_path), ("disk of the lake", doctor_home.local_data(chosen))):
        if folder is None or (name != "disk" and not folder.exists()):
            continue
        if not os.access(folder, os.W_OK) or os.statvfs(folder).f_flag & os.ST_RDONLY:
            yield Diagnosis(
                name,
                False,
                f"{folder} cannot be written: mount it for writing, or give this account the right",
            )
            continue
        free = shutil.disk_usage(folder).free / (1 << 30)
        yield Diagnosis(
            name,
            free > FREE_GIB,
            f"{free:.0f} GiB free"
            if free > FREE_GIB
            else f"{free:.1f} GiB free at {folder}: make room, or run `cellfleet maintenance`",
        )


def _lock(chosen: Settings) -> Iterator[Diagnosis]:
    for name in ("run", "upkeep"):
        if not (chosen.home_path / f"{name}.lock").exists():
            continue
        try:
            with locked(chosen, "doctor", lock=name):
                yield Diagnosis(f"{name} lock", True, "free")
        except Locked as error:
            yield Diagnosis(f"{name} lock", True, str(error))


def _plan(chosen: Settings) -> Iterator[Diagnosis]:
    try:
        plan = load_plan(chosen.sites_path / "fleet.yaml")
    except PlanError as error:
        yield Diagnosis("plan", False, str(error))
        return
    yield Diagnosis(
        "plan", True, f"{len(plan.plan.attributes)} attributes compared with {plan.reference_site}"
    )


def _contracts(chosen: Settings) -> Iterator[Diagnosis]:
    paths = contract_paths(chosen)
    for path in paths:
        try:
            contract = load_contract(path)
        except ContractError as error:
            yield Diagnosis(f"contract {path.parent.name}", False, error.problems[0])
            continue
        missing = [
            s.path
            for s in contract.systems.values()
            if isinstance(s, FolderSystem | RelationalSystem)
            and s.path
            and not (chosen.sources_path / s.path).exists()
        ]
        missing += [v for s in contract.systems.values() for v in secrets_of(s) if not os.environ.get(v)]
        said = (
            f"{len(contract.feeds)} feeds"
            if not missing
            else f"cannot be reached: {', '.join(missing)} (folders under {chosen.sources_path}, "
            "or environment variables)"
        )
        yield Diagnosis(f"contract {contract.site_id}", not missing, said)
    if not paths:
        yield Diagnosis("contracts", False, f"none in {chosen.sites_path}; start with `cellfleet site new`")
