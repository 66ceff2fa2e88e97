"""The error boundary: what fails in a page says so with a request id, in place, and the rest stays.

Belongs here: request ids, catching and logging. Does not belong here: what the reader is told (`components/states.py`).
"""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Callable
from typing import Any, ParamSpec

from flask import Flask, Response, g, has_request_context

from dashboards.components import states
from dashboards.providers.snapshot import NoSnapshot
from dashboards.shell.visit import NotHere

log = logging.getLogger("cellfleet.dashboards")
P = ParamSpec("P")


def request_id() -> str:
    """Id of the request under way, the same in the answer's header, the log and on the page."""
    if not has_request_context():
        return uuid.uuid4().hex[:12]
    if not hasattr(g, "request_id"):
        g.request_id = uuid.uuid4().hex[:12]
    return str(g.request_id)


def number_requests(server: Flask) -> None:
    """Give each answer its request id."""

    @server.after_request
    def add(response: Response) -> Response:
        response.headers["X-Request-Id"] = request_id()
        return response


def guarded(function: Callable[P, Any]) -> Callable[P, Any]:
    """A callback or layout whose failure becomes a sentence with a request id."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return function(*args, **kwargs)
        except NoSnapshot as error:
            return states.no_snapshot(str(error))
        except NotHere:
            return states.not_found()
        except Exception:
            log.exception("request %s failed in %s", request_id(), function.__qualname__)
            return states.failed(request_id())

    return wrapper
