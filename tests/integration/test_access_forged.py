"""Requests that no page of ours would send: every callback of the application, asked by who may not see its answer.

The callbacks are Dash's own list, and their bodies are what the browser of an all-seeing reader would send, so a
callback that is new is tried without being named here.
"""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from flask.testing import FlaskClient

from benchmarks.dash_bodies import Body, bodies, callbacks, components
from dashboards.pages import PAGES
from dashboards.security import session as sessions
from tests.integration.readers import (
    SITES,
    batches,
    called,
    client_of,
    home_with_accounts,
    shown,
    sign_in,
    token,
)
from warehouse.access import ROLES

NASTY: tuple[Any, ...] = (
    "' OR 1=1 --", "x' UNION SELECT batch_id FROM snap.core.batch --", "../../../../etc/passwd",
    "<script>alert(1)</script>", "é" * 5000, "", None, 1e308, [], ["'"], {"a": {"b": []}}, [[["x"]]],
)  # fmt: skip
NEVER = ("Traceback", "duckdb", "root:x:", "snap.core", "<script>alert")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, published_home: Path) -> Path:
    return home_with_accounts(tmp_path_factory.mktemp("forged") / "home", published_home)


@pytest.fixture(scope="module")
def of_site(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Batches of each site, from a copy: one process cannot open one file in two ways."""
    copied = tmp_path_factory.mktemp("whole") / "fleet.duckdb"
    shutil.copyfile((home / "published" / "fleet.duckdb").resolve(), copied)
    with duckdb.connect(str(copied), read_only=True) as con:
        return {site: set(batches(con, site)) for site in SITES}


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    with client_of(home, monkeypatch) as made:
        yield made


def everything_asked(client: FlaskClient, of_site: dict[str, set[str]]) -> list[Body]:
    """What the browser of a reader who sees every site sends on every page, and on a batch's of each site."""
    sign_in(client, "everywhere")
    client.get("/")
    dependencies = client.get("/_dash-dependencies").get_json()
    asked: dict[str, Body] = {}
    paths = [p.path for p in PAGES if "<" not in p.path] + [f"/batch/{s}/{min(of_site[s])}" for s in SITES]
    for path in paths:
        for search in ("", *(f"?sites={site}" for site in SITES)):
            page = dict(components(shown(client, path, search).get_json()))
            for body in bodies(dependencies, page):
                asked.setdefault(repr(body), body)
    tried = {body["output"] for body in asked.values()}
    missed = {d["output"] for d in callbacks(dependencies)} - tried
    assert not missed, f"no page shows what these callbacks are asked from: {missed}"
    return list(asked.values())


@pytest.fixture(scope="module")
def asked(home: Path, of_site: dict[str, set[str]]) -> list[Body]:
    with pytest.MonkeyPatch.context() as patch:
        return everything_asked(client_of(home, patch), of_site)


def told(hidden: set[str], text: str) -> set[str]:
    return {b for b in hidden if re.search(rf"\b{re.escape(b)}\b", text)}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("site", SITES)
def test_no_callback_answers_what_its_reader_may_not_see(
    client: FlaskClient, asked: list[Body], of_site: dict[str, set[str]], role: str, site: str
) -> None:
    sign_in(client, f"{role}_{site}")
    client.get("/")
    hidden = set().union(*(of_site[s] for s in SITES if s != site)) - of_site[site]
    if not ROLES[role].rows:
        hidden |= of_site[site]
    for body in asked:
        answer = called(client, body)
        assert answer.status_code in (200, 204), answer.text
        # A value that was sent may come back in the control it came from.
        sent = set(re.findall(r"[\w-]+", str(body["inputs"]) + str(body.get("state"))))
        seen = told(hidden - sent, answer.text)
        assert not seen, f"{role} of {site} got {sorted(seen)[:3]} from {body['output']}"
        assert not any(word in answer.text for word in NEVER), body["output"]


def test_whatever_a_callback_is_sent_it_tells_nothing_of_its_inside(
    client: FlaskClient, asked: list[Body], of_site: dict[str, set[str]]
) -> None:
    """Every input and state of every callback, replaced one by one: text of SQL, paths, markup, and no text at all."""
    sign_in(client, "site_manager_rhein")
    client.get("/")
    hidden = set().union(*(of_site[s] for s in SITES if s != "rhein")) - of_site["rhein"]
    one_each = {body["output"]: body for body in asked}.values()
    for body in one_each:
        for kind in ("inputs", "state"):
            for place in range(len(body.get(kind, []))):
                for value in NASTY:
                    forged = copy.deepcopy(body)
                    forged[kind][place]["value"] = value
                    answer = called(client, forged)
                    assert answer.status_code < 500, f"{body['output']} with {value!r}"
                    assert not told(hidden, answer.text), f"{body['output']} with {value!r}"
                    never = [word for word in NEVER if word not in str(value)]
                    assert not any(word in answer.text for word in never), f"{body['output']} with {value!r}"


@pytest.mark.parametrize("path", [
    "/../../etc/passwd", "/assets/../../../etc/passwd", "/assets/..%2f..%2fapp.py", "/data-docs/../../../etc/passwd",
    "/data-docs/%2e%2e/%2e%2e/access/access.sqlite", "/csv/../fleet/needs.csv", "/csv/fleet/..%2f..%2fneeds.csv",
    "/_dash-component-suites/dash/../../../../etc/passwd", "/batch/rhein/..%2f..%2f..%2fetc%2fpasswd",
])  # fmt: skip
def test_paths_lead_nowhere_else(client: FlaskClient, path: str) -> None:
    sign_in(client, "everywhere")
    answer = client.get(path)
    assert "root:x:" not in answer.text
    assert "create_app" not in answer.text
    assert not answer.data.startswith(b"SQLite format")


@pytest.mark.parametrize("query", [
    "sites=' OR 1=1 --", "attr=%27%3B%20DROP%20TABLE%20x", "site=prairie&id=1'", "from=2020-01-01' OR '1'='1",
    "sites=" + "x," * 3000,
])  # fmt: skip
def test_no_parameter_of_a_table_is_sql(
    client: FlaskClient, of_site: dict[str, set[str]], query: str
) -> None:
    sign_in(client, "site_manager_rhein")
    hidden = set().union(*(of_site[s] for s in SITES if s != "rhein")) - of_site["rhein"]
    for page in PAGES:
        for table in page.tables:
            answer = client.get(f"/csv/{page.name}/{table}.csv?{query}")
            assert answer.status_code in (200, 404), f"{page.name}/{table}: {answer.text[:200]}"
            assert not told(hidden, answer.text)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
def test_other_methods_change_and_show_nothing(client: FlaskClient, method: str) -> None:
    sign_in(client, "everywhere")
    client.get("/")
    for path in ("/csv/fleet/needs.csv", "/snapshot", "/health", "/assets/cellfleet.css"):
        answer = client.open(path, method=method, headers={sessions.TOKEN_HEADER: token(client)})
        assert answer.status_code == 405, path


def test_a_callback_that_is_not_there_tells_nothing_of_the_others(client: FlaskClient) -> None:
    sign_in(client, "everywhere")
    client.get("/")
    for body in ({}, {"output": "nothing.children"}, {"output": "..nothing.children.."}, [], "text"):
        answer = called(client, body)  # type: ignore[arg-type]
        assert answer.status_code in (400, 404, 500), body
        assert not any(word in answer.text for word in NEVER)
    answer = client.post(
        "/_dash-update-component?cacheKey=x&job=1&oldJob=2",
        json={"output": "nothing.children"},
        headers={sessions.TOKEN_HEADER: token(client)},
    )
    assert answer.status_code in (400, 404, 500)


def test_no_answer_names_versions_of_what_it_runs_on(client: FlaskClient) -> None:
    sign_in(client, "everywhere")
    answer = client.get("/")
    assert not re.search(
        r'"(python_version|dash_version|plotly_version|dash_version_url)"\s*:\s*"[\d.]+', answer.text
    )
    assert "Werkzeug" not in str(answer.headers)
