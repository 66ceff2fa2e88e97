"""Signing in through a real OpenID Connect provider over HTTP: a server of its own, made of authlib's provider side."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, jsonify
from flask.testing import FlaskClient
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

from dashboards.app import create_app
from warehouse.access import Access
from warehouse.settings import settings

CLIENT, SECRET = "cellfleet", "the client's secret"


@dataclass
class Client:
    """The one client that the provider knows."""

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return "http://localhost/oidc/back"

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, uri: str) -> bool:
        return uri == "http://localhost/oidc/back"

    def check_client_secret(self, secret: str) -> bool:
        return secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        del endpoint
        return method in ("client_secret_basic", "client_secret_post")

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return kind == "authorization_code"


@dataclass
class Code:
    """An authorization code as the provider keeps it."""

    user: dict[str, Any]
    asked: dict[str, str]
    made: float = field(default_factory=time.time)

    def get_redirect_uri(self) -> str:
        return self.asked["redirect_uri"]

    def get_scope(self) -> str:
        return self.asked["scope"]

    def get_nonce(self) -> str | None:
        return self.asked.get("nonce")

    def get_auth_time(self) -> int:
        return int(self.made)

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None

    @property
    def code_challenge(self) -> str | None:
        return self.asked.get("code_challenge")

    @property
    def code_challenge_method(self) -> str | None:
        return self.asked.get("code_challenge_method")


class Provider:
    """A provider whose one user is `user`; `key` signs, `told` is what it publishes as its keys."""

    def __init__(self) -> None:
        self.user: dict[str, Any] = {}
        self.key = RSAKey.generate_key(2048, {"kid": "1", "alg": "RS256", "use": "sig"}, private=True)
        self.told = self.key
        self.codes: dict[str, Code] = {}
        self.url = ""
        self.app = self._app()

    def _app(self) -> Flask:
        app, provider = Flask("provider"), self

        class Grant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

            def save_authorization_code(self, code: str, asked: Any) -> None:
                provider.codes[code] = Code(provider.user, dict(asked.payload.data))

            def query_authorization_code(self, code: str, client: Client) -> Code | None:
                del client
                return provider.codes.get(code)

            def delete_authorization_code(self, code: Code) -> None:
                provider.codes = {k: v for k, v in provider.codes.items() if v is not code}

            def authenticate_user(self, code: Code) -> dict[str, Any]:
                return code.user

        class IdToken(OpenIDCode):  # type: ignore[misc]
            def exists_nonce(self, nonce: str, asked: Any) -> bool:
                del nonce, asked
                return False

            def resolve_client_private_key(self, client: Client) -> RSAKey:
                del client
                return provider.key

            def get_encode_header(self, client: Client) -> dict[str, str]:
                del client
                return {"alg": "RS256", "kid": "1"}

            def get_client_claims(self, client: Client) -> dict[str, Any]:
                return {"iss": provider.url, "aud": [client.get_client_id()]}

            def generate_user_info(self, user: dict[str, Any], scope: str) -> UserInfo:
                del scope
                return UserInfo(user)

        app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"authorization_code": 600}
        server = AuthorizationServer(app, lambda name: Client() if name == CLIENT else None, lambda *_: None)
        server.register_grant(Grant, [IdToken(require_nonce=True), CodeChallenge(required=True)])

        @app.get("/.well-known/openid-configuration")
        def configuration() -> Any:
            return jsonify(
                issuer=self.url,
                authorization_endpoint=f"{self.url}/authorize",
                token_endpoint=f"{self.url}/token",
                jwks_uri=f"{self.url}/keys",
                id_token_signing_alg_values_supported=["RS256"],
                response_types_supported=["code"],
                subject_types_supported=["public"],
            )

        @app.get("/keys")
        def keys() -> Any:
            return jsonify(KeySet([self.told]).as_dict(private=False))

        @app.get("/authorize")
        def authorize() -> Any:
            return server.create_authorization_response(
                grant_user=self.user, grant=server.get_consent_grant(end_user=self.user)
            )

        @app.post("/token")
        def token() -> Any:
            return server.create_token_response()

        return app


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    made = Provider()
    server = make_server("127.0.0.1", 0, made.app, threaded=True)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join()


@pytest.fixture
def client(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    for name, value in {
        "HOME": str(tmp_path), "ACCESS": "accounts", "OIDC_ISSUER": provider.url, "OIDC_CLIENT": CLIENT,
        "OIDC_SECRET": SECRET,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"CELLFLEET_{name}", value)
    Access(tmp_path / "access").grant("maria@hospital.example", "qa", ["rhein"], None, by="test")
    made: FlaskClient = create_app(settings()).server.test_client()
    return made


def maria(**more: Any) -> dict[str, Any]:
    return {"sub": "1", "email": "maria@hospital.example", "email_verified": True, **more}


def through(client: FlaskClient, target: str = "/") -> str:
    """Start here, consent at the provider, and come back with what it says: the address to come back to."""
    away = client.get("/oidc/start", query_string={"next": target})
    assert away.status_code == 302, away.text
    consent = requests.get(away.headers["Location"], allow_redirects=False, timeout=10)
    assert consent.status_code == 302, consent.text
    parts = urlsplit(consent.headers["Location"])
    return f"{parts.path}?{parts.query}"


def test_a_name_with_an_account_comes_in_and_back(client: FlaskClient, provider: Provider) -> None:
    provider.user = maria()
    assert "Sign in with your organisation" in client.get("/sign-in").text
    answer = client.get(through(client, "/comparability?attr=vcn"))
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/comparability?attr=vcn"
    assert client.get("/snapshot").status_code == 200


@pytest.mark.parametrize(
    ("user", "told"),
    [
        (maria(email="stranger@hospital.example"), "no account here"),
        (maria(email_verified=False), "does not vouch"),
        ({"sub": "maria@hospital.example"}, "does not vouch"),
    ],
)
def test_a_name_without_an_account_or_proof_stays_out(
    client: FlaskClient, provider: Provider, user: dict[str, Any], told: str
) -> None:
    provider.user = user
    answer = client.get(through(client))
    assert answer.status_code == 403
    assert told in answer.text
    assert client.get("/snapshot").status_code == 401


def test_an_answer_that_was_not_asked_for_is_refused(client: FlaskClient, provider: Provider) -> None:
    """Another's code (login forgery), a changed state, and the same answer twice."""
    provider.user = maria()
    back = through(client)
    stranger = client.application.test_client()
    assert stranger.get(back).status_code == 401
    state = parse_qs(urlsplit(back).query)["state"][0]
    assert client.get(back.replace(state, "x" * len(state))).status_code == 401
    again = through(client)
    assert client.get(again).status_code == 303
    assert stranger.get(again).status_code == 401


def test_a_token_signed_with_another_key_is_refused(client: FlaskClient, provider: Provider) -> None:
    provider.user = maria()
    provider.told = RSAKey.generate_key(2048, {"kid": "1", "alg": "RS256", "use": "sig"}, private=True)
    assert client.get(through(client)).status_code == 401
    assert client.get("/snapshot").status_code == 401


def test_a_provider_that_is_away_is_said_so(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CELLFLEET_OIDC_ISSUER", "http://127.0.0.1:1")
    answer = create_app(settings()).server.test_client().get("/oidc/start")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text


def test_signing_in_elsewhere_never_leads_elsewhere(client: FlaskClient, provider: Provider) -> None:
    provider.user = maria()
    assert client.get(through(client, "https://evil.example")).headers["Location"] == "/"


def test_an_account_without_a_password_has_none(client: FlaskClient) -> None:
    assert Access(settings().access_path).sign_in("maria@hospital.example", "", "127.0.0.1") is None


def test_no_provider_means_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFLEET_HOME", str(tmp_path))
    monkeypatch.setenv("CELLFLEET_ACCESS", "accounts")
    assert create_app(settings()).server.test_client().get("/oidc/start").status_code == 303
