"""What stops a run before anything starts: a lake of another version, another run."""

from __future__ import annotations

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
