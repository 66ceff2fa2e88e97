"""Makes the application: server, headers, shell, pages. Nothing is read or opened on import.

Belongs here: assembling. Does not belong here: pages, callbacks, reading.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dash import Dash
from flask import Flask

from dashboards.components.words import plain
from dashboards.pages import PAGES
from dashboards.providers.snapshot import Snapshots
from dashboards.reports import counter
from dashboards.reports.jobs import Jobs
from dashboards.security import headers, loopback, oidc
from dashboards.security.session import TOKEN_COOKIE, TOKEN_HEADER, Gate
from dashboards.shell import compressed, data_docs, endpoints, guard, router
from dashboards.shell.frame import frame
from dashboards.shell.index import index_string, without_versions
from dashboards.shell.visit import Desk
from warehouse.access import Account
from warehouse.settings import Settings

HERE = Path(__file__).parent
YEAR_S = 31_536_000


class Application(Dash):
    """Dash, whose first page does not say which versions run here."""

    def interpolate_index(self, *parts: Any, **named: Any) -> Any:
        """The first page; `config` is what Dash writes into it about itself."""
        fill: Any = super().interpolate_index
        return fill(*parts, **named | {"config": without_versions(named["config"])})


def create_app(chosen: Settings) -> Dash:
    """The dashboards over the snapshots of a home; there need be none yet."""
    server = Flask("dashboards")
    # Assets carry their change time in the address, so they may be kept for good.
    server.config["SEND_FILE_MAX_AGE_DEFAULT"] = YEAR_S
    desk = _desk(server, chosen)
    flask: Any = server  # Dash takes a server, but its annotation does not say so
    app = Application(
        "dashboards",
        server=flask,
        assets_folder=str(HERE / "assets"),
        assets_ignore="boot_scheme",
        index_string=index_string(),
        suppress_callback_exceptions=True,
        title="cellfleet",
        update_title="",
        enable_mcp=False,
        on_error=guard.not_answered,
        csrf_token_name=TOKEN_COOKIE,
        csrf_header_name=TOKEN_HEADER,
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {
                "name": "description",
                "content": "Is the cell therapy made here the same as the one made there?",
            },
        ],
    )
    app.layout = frame(PAGES)
    router.register(app, desk, PAGES)
    for page in PAGES:
        if page.callbacks:
            page.callbacks(app, desk)
    endpoints.register(server, desk, PAGES)
    counter.register(server, desk)
    data_docs.register(server, desk, chosen.data_docs_path)
    guard.number_requests(server, chosen, desk.shown)
    compressed.register(server, chosen.home_path / "cache" / "files")
    # Only now do all inline scripts exist.
    headers.protect(server, app.csp_hashes())
    # Dash registers its component libraries on the first request; two at once see half of them (plotly/dash#3971).
    server.test_client().get("/_favicon.ico")
    return app


def _desk(server: Flask, chosen: Settings) -> Desk:
    """Who sees what: everything while only this machine is answered, else what the reader's account may."""
    snapshots, jobs = Snapshots(chosen.published_path), Jobs(chosen.reports_path)
    if chosen.access == "open":
        loopback.answer_this_machine_only(server)
        return Desk(snapshots, jobs)
    gate = Gate(chosen)
    gate.guard(server)
    if chosen.oidc_issuer:
        oidc.register(server, gate)
    return Desk(snapshots, jobs, gate.scope, lambda: _told(gate.reader()))


def _told(reader: Account) -> str:
    """Who reads, as the header says it."""
    only = f", {', '.join(reader.only_programs)} only" if reader.only_programs is not None else ""
    return f"{reader.name} ({plain(reader.role)}{only})"
