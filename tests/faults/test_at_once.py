"""Two that work at once, and a clock that was set back: nothing doubled, what is known last counts as last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.conftest import ROOT
from tests.faults.conftest import Undisturbed
from tests.faults.night import Place
from tests.integration.live_servers import program
from tests.integration.small_site import RESULTS, result
from warehouse.publish import newest

pytestmark = pytest.mark.faults


def test_two_at_once(undisturbed: Undisturbed, tmp_path: Path) -> None:
    made = undisturbed.place(tmp_path / "fleet")
    nights = [made.begin() for _ in range(2)]
    assert [night.end() for night in nights] == ["", ""]
    assert made.hashes() == undisturbed.content
    assert made.published() == undisturbed.results
    undisturbed.is_made_by(made)


def in_force(made: Place) -> float | None:
    path = newest(made.settings.published_path)
    assert path is not None
    with duckdb.connect(str(path), read_only=True) as con:
        row = con.execute("SELECT value FROM core.assay_result WHERE result_id = 'R1'").fetchone()
    return None if row is None else float(row[0])


def test_the_clock_is_set_back(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A correction that arrives on a machine whose clock went back half a year is in force all the same."""
    made = undisturbed.place(tmp_path / "fleet")
    assert made.whole() == ""
    [export] = made.sources.glob("*/export")
    (export / "results_corrected.csv").write_text(
        RESULTS + result(1, "71.5", changed="2026-02-02T10:00:00Z"), "utf-8"
    )
    command = [
        program("faketime"), "-f", "-180d", sys.executable, "-m", "tests.faults.night", str(made.contract)
    ]  # fmt: skip
    where = {
        "CELLFLEET_HOME": made.settings.home,
        "CELLFLEET_SITES": made.settings.sites,
        "CELLFLEET_SOURCES": made.settings.sources,
    }
    done = subprocess.run(
        command, env=os.environ | where, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert in_force(made) == 71.5
    assert made.whole() == ""
    assert in_force(made) == 71.5
    assert made.published() == undisturbed.results
