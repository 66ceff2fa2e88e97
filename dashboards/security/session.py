"""Signing in and out, and who asks: sessions, their cookies, forged requests, and the record of what was looked at.

Belongs here: everything between a request and an account. Does not belong here: accounts (`warehouse/access.py`),
which rows an account's scope lets through (`dashboards/providers/scoped.py`), a provider's protocol (`oidc.py`).

Nothing but the sign-in page and static files is answered without a session. The session's cookie is signed, names
account and session, and holds no data; changing the account or signing out ends it, also for who kept a copy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
from html import escape
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import quote, urlsplit

from flask import Flask, Response, g, redirect, request, session
from werkzeug.middleware.proxy_fix import ProxyFix

from dashboards.components.words import plain
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope
from dashboards.shell.guard import request_id
from dashboards.theme.tokens import css_variables
from warehouse import logs
from warehouse.access import Access, Account
from warehouse.settings import Settings, is_loopback

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
# Served to anyone: they hold no data.
PUBLIC = (SIGN_IN, "/health", "/_favicon.ico")
PUBLIC_BELOW = "/assets/"
OIDC = "/oidc/"
# Asked by itself every few seconds: does not keep a session alive.
NOT_ACTIVITY = ("/snapshot", "/health")
IDLE_S, LONGEST_S = 30 * 60, 12 * 3600
TOKEN_COOKIE, TOKEN_HEADER = "cellfleet_token", "X-CSRFToken"
SAFE = ("GET", "HEAD", "OPTIONS")


class Gate:
    """Lets requests in by session, and says which scope a reader has."""

    def __init__(self, chosen: Settings) -> None:
        self.chosen = chosen
        self.access = Access(chosen.access_path)
        self.public = urlsplit(chosen.dashboards_url)
        self._key = b""

    @property
    def https(self) -> bool:
        return self.public.scheme == "https"

    def guard(self, server: Flask) -> None:
        """Put the gate before every address of the server, and add signing in and out."""
        server.secret_key = self._key = session_key(self.chosen)
        server.config.update(
            SESSION_COOKIE_NAME="__Host-cellfleet" if self.https else "cellfleet",
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Lax",
            SESSION_COOKIE_SECURE=self.https,
            SESSION_COOKIE_PATH="/",
        )
        if self.chosen.trusted_proxy:
            application: Any = server
            application.wsgi_app = BehindProxy(server.wsgi_app, self.chosen.trusted_proxy)
        server.before_request(self._admit)
        server.after_request(self._leave)
        server.add_url_rule(SIGN_IN, "sign_in", self._sign_in, methods=["GET", "POST"])
        server.add_url_rule(SIGN_OUT, "sign_out", self._sign_out, methods=["GET", "POST"])

    def scope(self, snapshot: Snapshot) -> Scope:
        """Scope of the reader of the request under way. Raises RuntimeError outside a signed-in request."""
        account = self.reader()
        every = tuple(s.id for s in snapshot.sites)
        seen = account.sites_of(every)
        g.looked_at = (seen, snapshot.number)
        return Scope(seen, compared=every if account.figures else (), programs=account.only_programs)

    def reader(self) -> Account:
        """The account that asks. Raises RuntimeError where none does, which the gate does not let happen."""
        account = g.get("account")
        if not isinstance(account, Account):
            raise RuntimeError("nobody has signed in")
        return account

    def welcome(self, account: Account) -> None:
        """Begin a new session of an account; whatever the browser held before is dropped, so none can be planted."""
        session.clear()
        now = int(time())
        session.update(
            name=account.name, version=account.version, sid=secrets.token_urlsafe(16), began=now, seen=now
        )

    def _admit(self) -> Any:
        if refusal := self._refused():
            return refusal
        path = request.path
        open_to_all = self._public(path)
        account = self._account()
        if account is None:
            if open_to_all:
                return None
            session.clear()
            if (
                request.method in SAFE
                and request.headers.get("Sec-Fetch-Dest", "document") == "document"
                and path != "/snapshot"
            ):
                asked = request.full_path if request.query_string else path
                return redirect(f"{SIGN_IN}?next={quote(asked)}", 303)
            return _plain("Sign in again: this session has ended.", 401)
        g.account = account
        if request.method not in SAFE and path != SIGN_IN and not self._own_request():
            return _plain("This request did not come from these pages. Reload the page and try again.", 403)
        return None

    def _public(self, path: str) -> bool:
        return (
            path in PUBLIC
            or path.startswith(PUBLIC_BELOW)
            or (bool(self.chosen.oidc_issuer) and path.startswith(OIDC))
        )

    def _refused(self) -> Response | None:
        """403 under a name that is not ours: a page elsewhere could own it and read what is served here."""
        name = urlsplit(f"//{request.host}").hostname or ""
        if is_loopback(name) or (self.public.hostname and name == self.public.hostname):
            return None
        return _plain(
            f"These pages are not served under this name. Use {self.chosen.dashboards_url or 'http://127.0.0.1'}.",
            403,
        )

    def _account(self) -> Account | None:
        """Account of a session that still holds: known, unchanged, neither idle, nor too long, nor signed out."""
        name, now = session.get("name"), int(time())
        if not isinstance(name, str):
            return None
        account = self.access.account(name)
        if account is None or account.version != session.get("version"):
            return None
        if now - session.get("seen", 0) > IDLE_S or now - session.get("began", 0) > LONGEST_S:
            return None
        if self.access.has_ended(str(session.get("sid"))):
            return None
        if request.path not in NOT_ACTIVITY and now - session["seen"] >= 60:
            session["seen"] = now
        return account

    def _own_request(self) -> bool:
        """Whether a changing request carries this session's token and no sign of another origin."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return False
        return hmac.compare_digest(
            request.headers.get(TOKEN_HEADER, "") or request.form.get("token", ""), self._token()
        )

    def _token(self) -> str:
        """The session's token: what only a page of ours can send along."""
        return hmac.new(self._key, f"token|{session.get('sid', '')}".encode(), hashlib.sha256).hexdigest()

    def _leave(self, response: Response) -> Response:
        """Record what was looked at before it leaves; what cannot be recorded is not shown."""
        if self.https:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if "account" not in g:
            return response
        if not self._public(request.path):
            response.headers.setdefault("Cache-Control", "no-store")
        if session.get("sid") and request.cookies.get(TOKEN_COOKIE) != self._token():
            response.set_cookie(
                TOKEN_COOKIE, self._token(), samesite="Strict", secure=self.https, httponly=False, path="/"
            )
        sites, snapshot = g.get("looked_at", ((), None))
        if not sites or response.status_code >= 400:
            return response
        try:
            self.access.saw(
                self.reader(), sites, request.remote_addr or "", _looked_at(), snapshot, request_id()
            )
        except sqlite3.Error as error:
            logs.logger(self.chosen).error(
                "view not recorded", request_id=request_id(), **logs.error_told(error)
            )
            return _plain(
                "What you look at could not be recorded, so it is not shown. Tell your administrator.", 503
            )
        return response

    def _sign_in(self) -> Any:
        target = inside(request.values.get("next"))
        if request.method == "GET":
            return self._form(target, "", 200)
        if not hmac.compare_digest(
            request.form.get("token", ""), str(session.get("form") or secrets.token_hex(8))
        ):
            return self._form(target, "This form was too old. Try again.", 403)
        name, address = request.form.get("name", "").strip(), request.remote_addr or ""
        account = self.access.sign_in(name, request.form.get("password", ""), address)
        if account is None:
            barred = self.access.barred(name, address)
            said = "Too many failed attempts. Wait 15 minutes." if barred else "Name or password is wrong."
            return self._form(target, said, 429 if barred else 401)
        self.welcome(account)
        logs.logger(self.chosen).info("signed in", request_id=request_id())
        return redirect(target, 303)

    def _form(self, target: str, problem: str, status: int) -> Response:
        session["form"] = session.get("form") or secrets.token_urlsafe(24)
        form = SIGN_IN_FORM.format(
            token=escape(session["form"]),
            target=escape(target, quote=True),
            name=escape(request.form.get("name", ""), quote=True),
            elsewhere=ELSEWHERE.format(target=quote(target, safe="")) if self.chosen.oidc_issuer else "",
        )
        return page("Sign in", form, problem, status)

    def _sign_out(self) -> Any:
        account = self.reader()
        if request.method == "GET":
            form = SIGN_OUT_FORM.format(
                name=escape(account.name),
                role=escape(plain(account.role)),
                token=escape(self._token(), quote=True),
            )
            return page("Sign out", form, "", 200)
        self.access.end(str(session["sid"]))
        session.clear()
        g.pop("account")
        answer = redirect(SIGN_IN, 303)
        answer.delete_cookie(TOKEN_COOKIE, path="/")
        return answer


class BehindProxy:
    """Takes a reader's address from the proxy in front, and from nobody else who says so."""

    def __init__(self, application: Any, proxy: str) -> None:
        self.application, self.proxy = application, proxy
        self.forwarded = ProxyFix(application, x_for=1, x_proto=1)

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        chosen = self.forwarded if environ.get("REMOTE_ADDR") == self.proxy else self.application
        return chosen(environ, start)


def session_key(chosen: Settings) -> bytes:
    """The key that signs sessions, the same for all worker processes; drawn at its first use, readable by its owner."""
    path = chosen.home_path / "keys" / "session.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        _write(part, secrets.token_bytes(32))
        try:
            # The first to link it wins, so that workers which start together share one key.
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def inside(target: str | None) -> str:
    """An address of these pages to go to after signing in; what could lead elsewhere becomes the first page."""
    text = target or "/"
    parts = urlsplit(text)
    local = (
        text.startswith("/")
        and not text.startswith(("//", "/\\"))
        and text.isprintable()
        and "\\" not in text
    )
    return text if local and not parts.netloc and not parts.scheme and not text.startswith(SIGN_IN) else "/"


def _looked_at() -> str:
    """What was asked for, as an auditor reads it: the page's address for a callback, else the request's own."""
    if request.path.startswith("/_dash"):
        # A page's own address where the whole page was asked for, else the page that a panel of it was asked from.
        return str(g.get("asked") or f"part of {urlsplit(request.referrer or '').path or '?'}")[:500]
    return request.full_path.rstrip("?")[:500]


def _plain(sentence: str, status: int) -> Response:
    return Response(sentence, status=status, mimetype="text/plain; charset=utf-8")


def page(title: str, body: str, problem: str, status: int) -> Response:
    """A page outside Dash that works without JavaScript; `body` is HTML, `problem` plain text."""
    told = f'<p role="alert" class="cf-banner cf-banner-unsure">{escape(problem)}</p>' if problem else ""
    text = PAGE.format(title=title, variables=css_variables(), body=told + body)
    answer = Response(text, status=status, mimetype="text/html; charset=utf-8")
    answer.headers["Cache-Control"] = "no-store"
    return answer


PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{title} · cellfleet</title>
    <link rel="icon" href="/assets/favicon.svg">
    <style>{variables}</style>
    <script src="/assets/boot_scheme.js"></script>
    <link rel="stylesheet" href="/assets/cellfleet.css">
  </head>
  <body>
    <main class="cf-sign-in cf-panel">
      <h1><img src="/assets/mark.svg" alt="" width="30" height="30"> cellfleet</h1>
      {body}
    </main>
  </body>
</html>"""
SIGN_IN_FORM = """<form method="post" action="/sign-in">
  <input type="hidden" name="token" value="{token}"><input type="hidden" name="next" value="{target}">
  <label>Name <input name="name" value="{name}" autocomplete="username" required autofocus maxlength="120"></label>
  <label>Password
    <input name="password" type="password" autocomplete="current-password" required maxlength="1024"></label>
  <button type="submit" class="cf-button">Sign in</button>
</form>
{elsewhere}
<p class="cf-muted">Accounts are made by your administrator. What you look at is recorded.</p>"""
ELSEWHERE = '<p><a href="/oidc/start?next={target}">Sign in with your organisation</a></p>'
SIGN_OUT_FORM = """<p>Signed in as <strong>{name}</strong> ({role}).</p>
<form method="post" action="/sign-out">
  <input type="hidden" name="token" value="{token}">
  <button type="submit" class="cf-button">Sign out</button>
</form>
<p><a href="/">Back to the pages</a></p>"""
