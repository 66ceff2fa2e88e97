"""Signing in with an organisation's own accounts, by OpenID Connect: the provider vouches for a name, nothing else.

Belongs here: the two addresses of the authorization code flow (with PKCE, state and nonce, done by authlib). Does not
belong here: what the name may see, which is granted here as to any account (`warehouse/access.py`).
"""

from __future__ import annotations

from typing import Any

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, request, session, url_for
from joserfc.errors import JoseError
from requests import RequestException

from dashboards.security.session import Gate, inside, page

NOT_GRANTED = "Your organisation knows you, but you have no account here. Ask your administrator for one."


def register(server: Flask, gate: Gate) -> None:
    """Add `/oidc/start` and `/oidc/back` for the provider of the settings."""
    chosen = gate.chosen
    provider: Any = OAuth(server).register(
        "provider",
        client_id=chosen.oidc_client,
        client_secret=chosen.oidc_secret,
        server_metadata_url=f"{chosen.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256", "timeout": 10},
    )

    @server.get("/oidc/start")
    def start() -> Any:
        session["next"] = inside(request.args.get("next"))
        back = url_for("back", _external=True)
        if chosen.dashboards_url:
            back = f"{chosen.dashboards_url.rstrip('/')}{url_for('back')}"
        try:
            return provider.authorize_redirect(back)
        except (RequestException, OAuthError) as error:
            return _refused(
                f"Your organisation's sign-in cannot be reached ({type(error).__name__}). Try again.", 503
            )

    @server.get("/oidc/back")
    def back() -> Any:
        target = inside(session.get("next"))
        try:
            claims = provider.authorize_access_token().get("userinfo") or {}
        except RequestException as error:
            return _refused(
                f"Your organisation's sign-in cannot be reached ({type(error).__name__}). Try again.", 503
            )
        except (OAuthError, JoseError, ValueError):
            return _refused("Your organisation's sign-in was not completed. Try again.", 401)
        name = str(claims.get(chosen.oidc_claim) or "")
        # An address that nobody has proved to own may be another's account.
        if not name or (chosen.oidc_claim == "email" and claims.get("email_verified") is False):
            return _refused(f"Your organisation does not vouch for your {chosen.oidc_claim}.", 403)
        account = gate.access.vouched(name, request.remote_addr or "")
        if account is None:
            return _refused(NOT_GRANTED, 403)
        gate.welcome(account)
        return redirect(target, 303)


def _refused(sentence: str, status: int) -> Any:
    return page("Sign in", '<p><a href="/sign-in">Back to signing in</a></p>', sentence, status)
