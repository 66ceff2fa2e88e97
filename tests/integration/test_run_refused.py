"""What stops a run: a lake of another version and another run before anything starts, a signal at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.runner import locked
from tests.conftest import cellfleet
from warehouse import lake
from warehouse.settings import Settings


def test_a_newer_lake_is_refused_once_and_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with lake.attach(Settings(home=str(home))) as con:
        con.execute("INSERT INTO lake.ops.format VALUES (999, now())")
    for command in ("run", "publish"):
        done = cellfleet(home, command, check=False)
        assert done.returncode == 1
        assert "Install the newer cellfleet." in " ".join(done.stderr.split())
        assert "runs failed" not in done.stderr


def test_a_second_run_says_who_holds_the_lock(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with locked(Settings(home=str(home)), "run"):
        done = cellfleet(home, "run", check=False)
    assert done.returncode == 3
    assert "`cellfleet run` (process" in " ".join(done.stderr.split())


def test_a_terminated_run_begins_no_other(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "cellfleet"), "run"]
    environment = os.environ | {"CELLFLEET_HOME": str(tmp_path), "CELLFLEET_REAL_FILES": ""}
    # As a shell starts what it does not wait for: without an ear for SIGINT.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert running.stdout is not None
    assert "_readings: " in running.stdout.readline()
    running.terminate()
    rest, _ = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "fleet" not in rest
    with locked(Settings(home=str(tmp_path)), "test"):
        pass  # the home is free again
