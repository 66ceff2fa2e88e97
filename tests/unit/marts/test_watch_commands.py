"""`cellfleet watch …` over a published snapshot of a small lake: what the marts say, filters, wrong use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.watch_shown import app
from tests.unit.marts.test_chart_marts import CHARTED, VALUES, batches
from warehouse.marts.build import build
from warehouse.publish import publish
from warehouse.settings import settings

RUN = CliRunner()
MARTS = ("budget", "capability", "spread", "runs", "excursions", "rates")


def asked(*words: str, code: int = 0) -> Any:
    done = RUN.invoke(app, [*words])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if "--json" in words and code == 0 else done.output


@pytest.fixture
def home(small_lake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A site whose tenth batch left its path, published."""
    monkeypatch.setenv("CELLFLEET_HOME", str(tmp_path))
    batches(small_lake, VALUES, "P-1")
    con = small_lake.con
    con.execute("DETACH snap")
    publish(con, settings(), {}, lambda target, number, *before: build(con, target, CHARTED, number, *before))
    return small_lake


def test_a_chart_is_shown_point_by_point_with_the_rules_that_it_fails(home: Any) -> None:
    points = asked("chart", "a", "cd3", "--json")
    assert [p["batch_id"] for p in points] == [f"B{i:02d}" for i in range(10)]
    assert [p["batch_id"] for p in points if p["outside"]] == ["B09"]
    assert points[9]["western_electric_rules"].startswith("1")
    assert "B09" in asked("chart", "a", "cd3")
    assert {p["chart"] for p in asked("chart", "a", "cd3", "--chart", "EWMA", "--json")} == {"EWMA"}


def test_what_is_not_charted_says_what_is(home: Any) -> None:
    assert "it has CUSUM+" in asked("chart", "a", "cd3", "--chart", "T2", code=2)
    assert "no chart at all" in asked("chart", "a", "height", code=2)


def test_every_mart_of_watching_is_printed_and_filtered(home: Any) -> None:
    rules = asked("rules", "--json")
    assert {r["family"] for r in rules} == {"nelson", "western electric"}
    for command in MARTS:
        rows = asked(command, "--json")
        assert isinstance(rows, list)
        asked(command)
        if command != "spread":
            assert asked(command, "--site", "nowhere", "--json") == []
    budget = asked("budget", "--json")
    assert {r["site"] for r in budget} == {"a"}
    assert {r["chart"] for r in budget} >= {"EWMA", "I"}
    assert not any(r["rings"] for r in budget)  # nobody has approved the limits


def test_nothing_published_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFLEET_HOME", str(tmp_path / "empty"))
    assert "cellfleet run" in asked("capability", code=1)
