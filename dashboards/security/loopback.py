"""While there is no access control, only this machine is answered: not its network, not a proxy, not a foreign name.

Belongs here: refusing what comes from elsewhere. Does not belong here: what a reader may see (`scope.py`).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

from warehouse.settings import is_loopback

REFUSED = (
    "These pages are open to whoever reaches them, so they answer on this machine only. "
    "Open them as http://127.0.0.1 without a proxy."
)
# A proxy in front would make every reader look like this machine.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")


def answer_this_machine_only(server: Flask) -> None:
    """Refuse with 403 what comes from elsewhere, through a proxy, or under a name that a page elsewhere could own.

    A web page can have its own name resolve to 127.0.0.1 and then read what is served here, so the name counts too.
    """

    @server.before_request
    def refuse() -> Response | None:
        name = urlsplit(f"//{request.host}").hostname or ""
        if (
            is_loopback(request.remote_addr or "")
            and is_loopback(name)
            and not any(header in request.headers for header in FORWARDED)
        ):
            return None
        return Response(REFUSED, status=403, mimetype="text/plain; charset=utf-8")
