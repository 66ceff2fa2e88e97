"""Examining an installation end to end: each line says what was checked, what was seen, and the mend."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

import duckdb

from pipelines.harmonise.contract import ContractError, load_contract
from pipelines.harmonise.systems import FolderSystem, RelationalSystem, secrets_of
from pipelines.real_files import contract_paths
from pipelines.runner import Locked, locked
from warehouse import lake
from warehouse.publish import newest
from warehouse.settings import Settings
from warehouse.vault import Vault

FREE_GIB = 2


@dataclass(frozen=True)
class Diagnosis:
    """One check of the installation."""

    check: str
    ok: bool
    said: str


def examine(chosen: Settings) -> list[Diagnosis]:
    """Every check, in the order in which a mend makes sense."""
    return [
        _python(),
        _disk(chosen),
        _lock(chosen),
        *_contracts(chosen),
        *_lake(chosen),
        *_vaults(chosen),
        _snapshot(chosen),
    ]


def _python() -> Diagnosis:
    good = sys.version_info >= (3, 11)
    return Diagnosis(
        "Python",
        good,
        sys.version.split()[0] if good else "Python 3.11 or newer is needed; run `make install` with it",
    )


def _disk(chosen: Settings) -> Diagnosis:
    chosen.home_path.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(chosen.home_path).free / (1 << 30)
    return Diagnosis(
        "disk",
        free > FREE_GIB,
        f"{free:.0f} GiB free"
        if free > FREE_GIB
        else f"{free:.1f} GiB free at {chosen.home_path}: make room",
    )


def _lock(chosen: Settings) -> Diagnosis:
    try:
        with locked(chosen, "doctor"):
            return Diagnosis("lock", True, "no run under way")
    except Locked as error:
        return Diagnosis("lock", True, str(error))


def _contracts(chosen: Settings) -> list[Diagnosis]:
    told: list[Diagnosis] = []
    for path in contract_paths(chosen):
        try:
            contract = load_contract(path)
        except ContractError as error:
            told.append(Diagnosis(f"contract {path.parent.name}", False, error.problems[0]))
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
        told.append(Diagnosis(f"contract {contract.site_id}", not missing, said))
    return told or [
        Diagnosis("contracts", False, f"none in {chosen.sites_path}; start with `cellfleet site new`")
    ]


def _lake(chosen: Settings) -> list[Diagnosis]:
    try:
        with lake.opened(chosen) as con:
            files = con.execute("SELECT count(*) FROM lake.raw.file").fetchone()
            return [
                Diagnosis(
                    "lake",
                    True,
                    f"format {lake.format_version(con)}, {files[0] if files else 0} files received",
                )
            ]
    except (lake.LakeError, duckdb.Error) as error:
        return [
            Diagnosis(
                "lake",
                False,
                f"{error}; restore {chosen.home_path / 'lake'} from a backup, or remove it and run `cellfleet run`",
            )
        ]


def _vaults(chosen: Settings) -> list[Diagnosis]:
    told: list[Diagnosis] = []
    for folder in sorted((chosen.shared_path / "vault").glob("*")):
        altered = Vault(folder).verify()
        said = (
            "every file matches its hash"
            if not altered
            else f"altered since it was kept: {altered[0].name}; restore it"
        )
        told.append(Diagnosis(f"vault {folder.name}", not altered, said))
    return told


def _snapshot(chosen: Settings) -> Diagnosis:
    path = newest(chosen.published_path)
    if path is None:
        return Diagnosis("snapshot", False, "none published; run `cellfleet run`")
    try:
        with duckdb.connect(str(path), read_only=True) as con:
            n = con.execute("SELECT count(*) FROM mart.comparability").fetchone()
            return Diagnosis("snapshot", True, f"{path.name}, {n[0] if n else 0} verdicts")
    except duckdb.Error as error:
        return Diagnosis("snapshot", False, f"{path.name}: {error}; run `cellfleet publish`")
