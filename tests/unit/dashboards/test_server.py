"""The server over a home where nothing is published: health, headers, addresses that do not exist."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from dashboards.app import create_app
from dashboards.components.table import Column, Table, number
from dashboards.security.scope import Scope
from warehouse.settings import settings


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("CELLFLEET_HOME", str(tmp_path))
    server: FlaskClient = create_app(settings()).server.test_client()
    return server


def test_health_answers_before_the_first_snapshot(client: FlaskClient) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok", "snapshot": None}


def test_no_page_may_load_anything_from_elsewhere(client: FlaskClient) -> None:
    answer = client.get("/")
    policy = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert "'unsafe-inline'" not in policy["script-src"]
    assert "http" not in answer.headers["Content-Security-Policy"]
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert 'src="http' not in answer.text


def test_a_table_without_a_snapshot_says_what_to_run(client: FlaskClient) -> None:
    answer = client.get("/csv/fleet/verdicts.csv")
    assert answer.status_code == 503
    assert "cellfleet run" in answer.text
    assert client.get("/csv/fleet/other.csv").status_code == 404


def test_each_answer_has_its_own_request_id(client: FlaskClient) -> None:
    first, second = (client.get("/health").headers["X-Request-Id"] for _ in range(2))
    assert first != second


def test_a_choice_never_widens_a_scope() -> None:
    scope = Scope(("a", "b"))
    assert scope.narrowed(("b", "c")).sites == ("b",)
    assert scope.narrowed(("c",)).sites == ()
    assert not scope.permits("c")


def test_the_csv_rounds_as_the_page_and_disarms_formulas() -> None:
    table = Table("t", (Column("a", "a"), Column("b", "b")), [{"a": -1.23456, "b": "=1+1"}])
    assert table.as_csv() == "a,b\r\n-1.23,'=1+1\r\n"
    assert number(-0.5) == "−0.500"
