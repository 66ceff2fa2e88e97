"""Readers who sign in to the dashboards over HTTP: a home with accounts, and what a browser of theirs would send."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from benchmarks.dash_bodies import Body, page_body
from dashboards.app import create_app
from dashboards.security import session as sessions
from warehouse.access import ROLES, Access
from warehouse.settings import settings

PASSWORD = "correct horse battery staple"
SITES = ("northgate", "rhein", "prairie", "meridian")
ROW_ROLES = [name for name, role in ROLES.items() if role.rows]


def home_with_accounts(home: Path, published_home: Path) -> Path:
    """A home with the small fleet's snapshot and an account for each role and site, and one that sees everything."""
    (home / "published").mkdir(parents=True)
    real = (published_home / "published" / "fleet.duckdb").resolve()
    shutil.copyfile(real, home / "published" / real.name)
    (home / "published" / "fleet.duckdb").symlink_to(real.name)
    access = Access(home / "access")
    for role in ROLES:
        for site in SITES:
            access.grant(f"{role}_{site}", role, [site], PASSWORD, by="test")
    access.grant("everywhere", "qa", ["*"], PASSWORD, by="test")
    return home


def client_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A browser before the dashboards of a home, where one signs in."""
    monkeypatch.setenv("CELLFLEET_HOME", str(home))
    monkeypatch.setenv("CELLFLEET_ACCESS", "accounts")
    made: FlaskClient = create_app(settings()).server.test_client()
    return made


def sign_in(client: FlaskClient, name: str, password: str = PASSWORD, target: str = "/") -> TestResponse:
    form = client.get("/sign-in").text
    found = re.search(r'name="token" value="([^"]+)"', form)
    assert found
    return client.post(
        "/sign-in", data={"token": found[1], "next": target, "name": name, "password": password}
    )


def token(client: FlaskClient) -> str:
    cookie = client.get_cookie(sessions.TOKEN_COOKIE)
    assert cookie is not None
    return cookie.value


def called(client: FlaskClient, body: Body, **headers: str) -> TestResponse:
    """A callback, as a browser sends it, or as somebody forges it."""
    return client.post(
        "/_dash-update-component", json=body, headers=headers or {sessions.TOKEN_HEADER: token(client)}
    )


def shown(client: FlaskClient, path: str, search: str = "", **headers: str) -> TestResponse:
    """The callback that shows a page."""
    return called(client, page_body(path, search), **headers)


def batches(con: duckdb.DuckDBPyConnection, site: str) -> list[str]:
    return [r[0] for r in con.execute("SELECT batch_id FROM core.batch WHERE site_id = ?", [site]).fetchall()]
