"""Plain HTTP beside Dash: health, the number of the newest snapshot, tables as CSV.

Belongs here: addresses that are no page. Does not belong here: what a table holds (its page).
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, Response, jsonify, request

from dashboards.providers.left_readings import ReadingsAway
from dashboards.providers.snapshot import NoSnapshot
from dashboards.shell.guard import log, request_id
from dashboards.shell.visit import Desk, NotHere, Page
from warehouse import logs
from warehouse.publish import newest
from warehouse.settings import settings


def register(server: Flask, desk: Desk, pages: Sequence[Page]) -> None:
    """Add `/health`, `/snapshot` and `/csv/<page>/<table>.csv`."""
    tables = {(page.name, name): make for page in pages for name, make in page.tables.items()}

    @server.get("/health")
    def health() -> Response:
        """200 while this process answers; tells which snapshot it reads."""
        try:
            snapshot = desk.snapshots.current()
        except NoSnapshot:
            return jsonify(status="ok", snapshot=None)
        return jsonify(status="ok", snapshot=snapshot.number, as_of=snapshot.facts.get("as_of"))

    @server.get("/snapshot")
    def snapshot() -> Response:
        """Name of the newest snapshot's file: asked every few seconds, so it opens nothing."""
        path = newest(desk.snapshots.folder)
        answer = jsonify(snapshot=path.stem if path else None)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @server.get("/csv/<page>/<table>.csv")
    def csv(page: str, table: str) -> Response:
        """A page's table with the page's rounding, in the reader's scope."""
        make = tables.get((page, table))
        if make is None:
            return _plain("There is no such table.", 404)
        query = request.query_string.decode("utf-8", "replace")
        try:
            visit = desk.visit(query, request.args.to_dict())
            made = make(visit)
        except NoSnapshot as error:
            return _plain(str(error), 503)
        except NotHere:
            return _plain("There is no such table.", 404)
        except ReadingsAway:
            return _plain(
                "This table is of single readings, which lie in a lake that cannot be read just now.", 503
            )
        except Exception as error:  # noqa: BLE001 - the boundary of this request; the whole reason is in the log
            log.exception("request %s failed in %s", request_id(), request.path)
            logs.logger(settings()).error("request failed", request_id=request_id(), **logs.error_told(error))
            return _plain(
                f"This table could not be made; the reason is in the log under request {request_id()}.", 500
            )
        answer = Response(made.as_csv(), mimetype="text/csv; charset=utf-8")
        answer.headers["Content-Disposition"] = (
            f'attachment; filename="cellfleet-{made.name}-snapshot-{visit.snapshot.number}.csv"'
        )
        return answer


def _plain(sentence: str, status: int) -> Response:
    return Response(sentence, status=status, mimetype="text/plain; charset=utf-8")
