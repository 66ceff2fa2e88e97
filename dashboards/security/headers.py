"""Security headers of every response. The content security policy lets nothing in from another host."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, Response

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def content_security_policy(script_hashes: Sequence[str]) -> str:
    """The policy; `script_hashes` are those of the inline scripts that Dash writes.

    Styles may be inline: Mantine sets them at run time, and an inline style cannot run code.
    """
    rules = {
        "default-src": "'self'",
        "script-src": " ".join(
            ["'self'", *(f"'{h}'" if not h.startswith("'") else h for h in script_hashes)]
        ),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def protect(server: Flask, script_hashes: Sequence[str]) -> None:
    """Set the headers on every response of the server."""
    headers = {**HEADERS, "Content-Security-Policy": content_security_policy(script_hashes)}

    @server.after_request
    def add(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response
