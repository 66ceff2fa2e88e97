"""SIGKILL of a whole run, Dagster and all: run again, the lake has the state of an undisturbed run, nothing doubled.

One in `make test`; the many kills there are of nights that cost less (`test_many_kills.py`).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from tests.conftest import ROOT, cellfleet
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.settings import Settings

pytestmark = pytest.mark.faults
WHOLE = os.environ.get("CELLFLEET_FAULTS") == "all"
POINTS = ["after_stage:2", "in_commit:4", "after_commit:6", "in_publish"] if WHOLE else ["after_commit:6"]
RANDOM = 16


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One site's contract and its sources."""
    folder = tmp_path_factory.mktemp("small")
    sites = folder / "sites"
    demo = ROOT / "pipelines" / "defs" / "sites"
    shutil.copytree(demo / "rhein", sites / "rhein")
    fleet = (
        (demo / "fleet.yaml").read_text("utf-8").replace("reference_site: northgate", "reference_site: rhein")
    )
    (sites / "fleet.yaml").write_text(fleet, "utf-8")
    cellfleet(folder, "simulate", "--scale", "tiny", CELLFLEET_SOURCES=str(folder / "sources"))
    return {"CELLFLEET_SITES": str(sites), "CELLFLEET_SOURCES": str(folder / "sources")}


def hashes(home: Path) -> dict[str, str]:
    """Content of every table of a home's lake, without what differs from run to run."""
    con = lake.attach(Settings(home=str(home)), read_only=True)
    try:
        tables = [t for t in dictionary().tables.values() if t.name not in ("accounting", "cursor")]
        return {t.qualified: lake.content_hash(con, dictionary(), t) for t in tables}
    finally:
        con.close()


@pytest.fixture(scope="module")
def undisturbed(small: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    home.mkdir()
    cellfleet(home, "run", **small)
    return hashes(home)


def recovered(home: Path, small: dict[str, str]) -> dict[str, str]:
    cellfleet(home, "run", **small)
    with duckdb.connect(str((home / "published" / "fleet.duckdb").resolve()), read_only=True) as con:
        wrong = con.execute(
            "SELECT site_id, feed FROM quality.accounting "
            "WHERE received <> promoted + superseded + duplicate + quarantined"
        ).fetchall()
    assert wrong == []
    return hashes(home)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_point(
    point: str, small: dict[str, str], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = cellfleet(home, "run", check=False, CELLFLEET_KILL_AT=point, **small)
    assert done.returncode == -signal.SIGKILL
    assert recovered(home, small) == undisturbed


if WHOLE:

    @pytest.mark.parametrize("seed", range(RANDOM))
    def test_killed_at_random(
        seed: int, small: dict[str, str], undisturbed: dict[str, str], tmp_path: Path
    ) -> None:
        home = tmp_path / "home"
        home.mkdir()
        command = [str(Path(sys.executable).parent / "cellfleet"), "run"]
        env = os.environ | {"CELLFLEET_HOME": str(home)} | small
        with subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(random.Random(seed).uniform(5, 22))
            process.kill()
        assert recovered(home, small) == undisturbed
