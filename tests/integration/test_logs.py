"""One run id from the command line through Dagster and the lake to the page that shows the answer."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dashboards.app import create_app
from tests.conftest import cellfleet
from warehouse import logs
from warehouse.settings import settings


def lines(home: Path) -> list[dict[str, Any]]:
    """Every line of a home's log, each of which is JSON."""
    files = sorted((home / "logs").glob("cellfleet-????-??-??.jsonl"))
    return [json.loads(line) for f in files for line in f.read_text("utf-8").splitlines()]


def test_a_run_is_followed_by_its_id(fleet_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = lines(fleet_home)
    ended = {e["run_id"]: e for e in told if e["event"] == "run ended"}
    assert len(ended) > 5
    assert all(e["success"] for e in ended.values())
    dagster = {i for db in (fleet_home / "dagster" / "history").rglob("runs.db") for i in _runs(db)}
    assert set(ended) == dagster
    feeds = [e for e in told if e["event"] == "feed taken in"]
    assert {(e["site"], e["feed"]) for e in feeds} == _accounted(fleet_home)
    assert all(e["run_id"] in ended for e in feeds)
    published = [e for e in told if e["event"] == "published"]
    assert len(published) == 1

    # The page that shows the snapshot, and the command that prints it, log the run that published it.
    monkeypatch.setenv("CELLFLEET_HOME", str(fleet_home))
    server = create_app(settings()).server.test_client()
    answer = server.get("/csv/fleet/verdicts.csv")
    assert answer.status_code == 200
    cellfleet(fleet_home, "verdicts", "--json")
    later = lines(fleet_home)[len(told) :]
    request = next(e for e in later if e["event"] == "request" and e["route"].startswith("/csv"))
    assert request["run_id"] == published[0]["run_id"]
    assert request["request_id"] == answer.headers["X-Request-Id"]
    command = next(e for e in later if e["event"] == "command ended")
    assert (command["command"], command["exit_code"], command["run_id"]) == (
        "verdicts",
        0,
        published[0]["run_id"],
    )


def test_a_command_that_fails_says_so_and_makes_no_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    cellfleet(home, "verdicts", check=False)
    assert not home.exists()
    home.mkdir()
    cellfleet(home, "verdicts", check=False)
    assert [(e["command"], e["exit_code"]) for e in lines(home)] == [("verdicts", 1)]


def test_a_line_says_nothing_that_was_not_thought_about(tmp_path: Path) -> None:
    log = logs.logger(settings().__class__(home=str(tmp_path)))
    with pytest.raises(ValueError, match="patient_name"):
        log.info("seen", patient_name="somebody")
    try:
        int("Friedhelmine")
    except ValueError as error:
        log.error("failed", **logs.error_told(error))
    assert "Friedhelmine" not in (tmp_path / "logs").glob("*.jsonl").__next__().read_text("utf-8")


def _runs(db: Path) -> list[str]:
    with sqlite3.connect(f"file:{db}?mode=ro", uri=True) as con:
        return [row[0] for row in con.execute("SELECT run_id FROM runs")]


def _accounted(home: Path) -> set[tuple[str, str]]:
    path = (home / "published" / "fleet.duckdb").resolve()
    with duckdb.connect(str(path), read_only=True) as con:
        return set(con.execute("SELECT site_id, feed FROM quality.accounting").fetchall())
