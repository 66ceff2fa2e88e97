"""The counter where dossiers are asked for and fetched: whose they are, who may have them, under which address.

Belongs here: the reader and his scope. Does not belong here: state (`jobs.py`), making (`make.py`), the page
(`pages/report.py`).
"""

from __future__ import annotations

from flask import Flask, Response, g, has_request_context

from dashboards.reports import make
from dashboards.reports.jobs import Job, identity, now
from dashboards.shell.guard import log, request_id
from dashboards.shell.visit import Desk, Visit
from warehouse import logs
from warehouse.reports.archive import code_version
from warehouse.settings import settings

TYPES = {
    "report.pdf": ("application/pdf", "pdf"),
    "manifest.json": ("application/json", "json"),
    "report.zip": ("application/zip", "zip"),
}
EVERYBODY = "everybody on this machine"


def ask(desk: Desk, search: str) -> Job:
    """Ask for the dossier that an address describes. Raises Unclear, TooMany, NoSnapshot.

    The job keeps this reader's scope and this snapshot, whatever is granted or published while it runs.
    """
    if has_request_context():
        g.asked = f"/report{search}"
    visit = desk.visit(search)
    asked = make.order(visit)
    scope, reader = visit.scope, _reader(desk)
    whose = {"rows": scope.sites, "figures": scope.figures, "programs": scope.programs}
    made_of = {"snapshot": visit.snapshot.sha256, "code": code_version(make.CODE)}
    job = Job(
        id=identity(asked.told | whose | made_of),
        title=asked.title,
        search=search,
        snapshot=visit.snapshot.number,
        sites=scope.sites,
        figures=scope.figures,
        asked_at=now(),
        programs=scope.programs,
    )
    number = request_id()

    def failed(error: Exception) -> str:
        log.error("report asked for in request %s failed", number, exc_info=error)
        logs.logger(settings()).error("report failed", request_id=number, **logs.error_told(error))
        return f"It could not be made; the reason is in the server's log under request {number}."

    return desk.jobs.start(reader, job, lambda progress: make.files(visit, asked, progress), failed)


def mine(desk: Desk) -> list[Job]:
    """Reports that this reader asked for and may still see, the newest first."""
    visit = desk.visit()
    return [job for job in desk.jobs.all(_reader(desk)) if _may(visit, job)]


def register(server: Flask, desk: Desk) -> None:
    """Add `/reports/<job>/<name>`: the files of the reader's own reports."""

    @server.get("/reports/<job_id>/<name>")
    def report(job_id: str, name: str) -> Response:
        visit, reader = desk.visit(), _reader(desk)
        job = desk.jobs.find(reader, job_id)
        content = desk.jobs.content(reader, job, name) if job and name in TYPES and _may(visit, job) else None
        if job is None or content is None:
            return Response("There is no such report.", status=404, mimetype="text/plain; charset=utf-8")
        kind, ending = TYPES[name]
        answer = Response(content, mimetype=kind)
        answer.headers["Content-Disposition"] = f'attachment; filename="{file_name(job)}.{ending}"'
        answer.headers["Cache-Control"] = "no-store"
        return answer


def file_name(job: Job) -> str:
    """Name of a report's files without their ending."""
    plain = "".join(c if c.isalnum() and c.isascii() else "-" for c in job.title.lower())
    return "-".join(part for part in f"cellfleet-{plain[:60]}-snapshot-{job.snapshot}".split("-") if part)


def _reader(desk: Desk) -> str:
    return desk.reader() or EVERYBODY


def _may(visit: Visit, job: Job) -> bool:
    """Whether the reader may see today all that the report was made from; sites looked at now do not matter."""
    scope = visit.scope.whole()
    if scope.programs is not None and (job.programs is None or not set(job.programs) <= set(scope.programs)):
        return False
    return set(job.sites) <= set(scope.sites) and set(job.figures) <= set(scope.figures)
