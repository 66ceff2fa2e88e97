"""The error boundary: what fails in a page says so with a request id, in place, and the rest stays.

Belongs here: request ids, catching and logging. Does not belong here: what the reader is told (`components/states.py`).
"""

from __future__ import annotations

import functools
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, ParamSpec

from dash import no_update
from flask import Flask, Response, g, has_request_context, request

from dashboards.components import states
from dashboards.components.sent import sent
from dashboards.providers.snapshot import NoSnapshot
from dashboards.shell.visit import NotHere
from warehouse import logs
from warehouse.settings import Settings, settings

log = logging.getLogger("cellfleet.dashboards")
P = ParamSpec("P")


def request_id() -> str:
    """Id of the request under way, the same in the answer's header, the log and on the page."""
    if not has_request_context():
        return uuid.uuid4().hex[:12]
    if not hasattr(g, "request_id"):
        g.request_id = uuid.uuid4().hex[:12]
    return str(g.request_id)


def number_requests(
    server: Flask, chosen: Settings, shown: Callable[[], tuple[str | None, int | None]]
) -> None:
    """Give each answer its request id, and log it under the run that published what it shows.

    `shown` gives that run's id and the snapshot's number. Of the address only the rule is logged.
    """

    @server.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @server.after_request
    def add(response: Response) -> Response:
        response.headers["X-Request-Id"] = request_id()
        rule = str(request.url_rule) if request.url_rule else ""
        # The browser asks for the newest snapshot every few seconds, and for files that never change: not worth a line.
        if rule in ("/snapshot", "/health") or rule.startswith(
            ("/assets", "/_dash-component-suites", "/_favicon")
        ):
            return response
        run_id, snapshot = shown()
        logs.logger(chosen).info(
            "request", run_id=run_id, snapshot=snapshot, request_id=request_id(), method=request.method, route=rule,
            status=response.status_code, ms=round(1000 * (time.perf_counter() - g.get("started", 0.0)), 1),
        )  # fmt: skip
        return response


def guarded_panel(others: int) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """A callback of a panel and of `others` outputs beside it, which stay as they are where the panel fails."""

    def decorator(function: Callable[P, Any]) -> Callable[P, Any]:
        held = guarded(function)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            made = held(*args, **kwargs)
            return made if isinstance(made, tuple) else (made, *[no_update] * others)

        return wrapper

    return decorator


def not_answered(error: Exception) -> None:
    """What no callback's own boundary caught: it is logged, and the page stays as it is."""
    if isinstance(error, NoSnapshot | NotHere):
        return
    log.error("request %s failed outside a panel", request_id(), exc_info=error)
    logs.logger(settings()).error("request failed", request_id=request_id(), **logs.error_told(error))


def guarded(function: Callable[P, Any]) -> Callable[P, Any]:
    """A callback or layout, written as it is sent, whose failure becomes a sentence with a request id."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return sent(function(*args, **kwargs))
        except NoSnapshot as error:
            return states.no_snapshot(str(error))
        except NotHere:
            return states.not_found()
        except Exception as error:
            log.exception("request %s failed in %s", request_id(), function.__qualname__)
            logs.logger(settings()).error("request failed", request_id=request_id(), **logs.error_told(error))
            return states.failed(request_id())

    return wrapper
