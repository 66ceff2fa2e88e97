"""The demo's contract over real files: every record accounted for, and the figures those of the files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.harmonise.contract import load_contract
from pipelines.ingest.asset import ingest
from pipelines.real_files import CONTRACTS, contract_folders, link_real_files
from tests.conftest import cellfleet
from warehouse import lake
from warehouse.settings import Settings

FOLDER = os.environ.get("CELLFLEET_REAL_FILES", "")
STATES = ("promoted", "superseded", "duplicate", "quarantined")
needs_files = pytest.mark.skipif(not FOLDER, reason="CELLFLEET_REAL_FILES names no folder of real files")


def test_only_the_demo_reads_them(tmp_path: Path) -> None:
    assert CONTRACTS in contract_folders(Settings(real_files="/somewhere"))
    assert CONTRACTS not in contract_folders(Settings())
    assert CONTRACTS not in contract_folders(Settings(real_files="/somewhere", sites=str(tmp_path)))


def test_the_link_follows_the_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        chosen = Settings(home=str(tmp_path / "home"), real_files=str(tmp_path / name))
        link_real_files(chosen)
        link_real_files(chosen)
        assert (tmp_path / "home" / "sources" / "bench" / "files").resolve() == tmp_path / name


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Settings]:
    """Outcomes by feed, and the settings of the home they went into."""
    chosen = Settings(home=str(tmp_path_factory.mktemp("real")), real_files=FOLDER)
    link_real_files(chosen)
    contract = load_contract(CONTRACTS / "bench" / "defs.yaml")
    return {name: ingest(contract, name, chosen, "test").accounting for name in contract.feeds}, chosen


def told(chosen: Settings, sql: str) -> list[tuple[Any, ...]]:
    with lake.opened(chosen) as con:
        return con.execute(sql).fetchall()


@needs_files
@pytest.mark.real_files
def test_every_record_of_every_file_is_accounted_for(read: tuple[dict[str, Any], Settings]) -> None:
    accounts, _ = read
    assert {name: a["received"] for name, a in accounts.items()} == {
        "vicell_blu": 10, "vicell_xr": 1, "cedex_hires": 8, "nova_flex2": 6, "nucleoview": 2, "nc_view": 32,
        "custody": 8, "patient": 14,
    }  # fmt: skip
    for account in accounts.values():
        assert account["received"] == sum(account[state] for state in STATES)
    # The event that two documents tell alike, and the one without action and time.
    assert (accounts["custody"]["duplicate"], accounts["custody"]["quarantined"]) == (1, 1)


@needs_files
@pytest.mark.real_files
def test_results_are_those_of_the_files(read: tuple[dict[str, Any], Settings]) -> None:
    entries = json.loads((Path(FOLDER) / "expected.json").read_text("utf-8"))
    (blu,) = [e for e in entries if "Vi-Cell-BLU" in json.dumps(e)]
    wanted = next(
        v["viability_pct"] for v in [blu, *blu.values()] if isinstance(v, dict) and "viability_pct" in v
    )
    rows = told(
        read[1],
        "SELECT value FROM current.assay_result WHERE attribute = 'viability_trypan_blue_pct' "
        "AND source_file LIKE '%BLU%' ORDER BY source_row",
    )
    assert [value for (value,) in rows] == wanted


@needs_files
@pytest.mark.real_files
def test_what_the_files_say_amiss_is_kept(read: tuple[dict[str, Any], Settings]) -> None:
    refused = told(read[1], "SELECT feed, reason_code, field_name FROM lake.quality.quarantine")
    assert ("nova_flex2", "bad_number", "viable_cell_density_per_ml") in refused
    flagged = told(read[1], "SELECT count(*) FROM current.assay_result WHERE quality_flag LIKE '%ERROR%'")
    assert flagged[0][0] > 0


@needs_files
@pytest.mark.real_files
def test_no_name_or_number_of_a_patient_leaves_the_vault(
    read: tuple[dict[str, Any], Settings], tmp_path: Path
) -> None:
    lines = (Path(FOLDER) / "fhir10_Patient.000.ndjson").read_text("utf-8").splitlines()
    secrets = [json.loads(line)["id"] for line in lines] + [json.loads(line)["birthDate"] for line in lines]
    files = [str(p) for p in (read[1].home_path / "lake" / "data").rglob("*.parquet")]
    assert files
    text = "".join(str(duckdb.sql(f"FROM read_parquet('{f}')").fetchall()) for f in files)
    assert [s for s in secrets if s in text] == []


def test_a_run_of_a_site_without_contract_is_refused(tmp_path: Path) -> None:
    done = cellfleet(tmp_path / "home", "run", "--site", "nowhere", check=False)
    assert done.returncode == 2
    assert "No contract for nowhere; there are " in done.stderr
