"""Without access control only this machine is answered: every address, whatever the name, and no proxy between."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from dashboards.app import create_app
from tests.conftest import cellfleet
from warehouse.settings import is_loopback, settings

PATHS = ("/", "/health", "/snapshot", "/csv/fleet/verdicts.csv", "/_dash-layout", "/assets/cellfleet.css")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLFLEET_HOME", str(tmp_path_factory.mktemp("home")))
        server: FlaskClient = create_app(settings()).server.test_client()
    return server


@pytest.mark.parametrize("path", PATHS)
def test_another_machine_gets_nothing(client: FlaskClient, path: str) -> None:
    for address in ("192.168.1.20", "10.0.0.1", "::ffff:192.168.1.20", "2001:db8::1"):
        assert client.get(path, environ_overrides={"REMOTE_ADDR": address}).status_code == 403


def test_a_forged_callback_from_another_machine_gets_nothing(client: FlaskClient) -> None:
    answer = client.post(
        "/_dash-update-component", json={}, environ_overrides={"REMOTE_ADDR": "192.168.1.20"}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8050"])
def test_a_name_that_a_page_elsewhere_could_own_gets_nothing(client: FlaskClient, name: str) -> None:
    assert client.get("/", headers={"Host": name}).status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP"])
def test_what_comes_through_a_proxy_gets_nothing(client: FlaskClient, header: str) -> None:
    assert client.get("/", headers={header: "127.0.0.1"}).status_code == 403


@pytest.mark.parametrize("name", ["127.0.0.1:8050", "localhost:8050", "[::1]:8050"])
def test_this_machine_is_answered(client: FlaskClient, name: str) -> None:
    assert client.get("/health", headers={"Host": name}).status_code == 200


def test_a_refusal_has_the_security_headers_too(client: FlaskClient) -> None:
    answer = client.get("/", headers={"Host": "evil.example"})
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.20", "cellfleet.example", ""])
def test_what_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_serve_refuses_an_address_that_others_reach(tmp_path: Path) -> None:
    done = cellfleet(tmp_path, "serve", check=False, CELLFLEET_DASHBOARDS_HOST="0.0.0.0")
    assert done.returncode == 2
    assert "CELLFLEET_DASHBOARDS_HOST is 0.0.0.0" in done.stderr
    assert "access is open" in " ".join(done.stderr.split())
