"""Data Docs: the page that Great Expectations makes of each audit, as it lies in the home, and the list of them.

Belongs here: which pages there are and who may see them. Does not belong here: how a page is made
(`pipelines/validation/data_docs.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from flask import Flask, Response
from werkzeug.security import safe_join

from dashboards.providers.snapshot import NoSnapshot
from dashboards.shell.visit import Desk

HTML = "text/html; charset=utf-8"


def register(server: Flask, desk: Desk, folder: Path) -> None:
    """Add `/data-docs`, `/data-docs/<site>/<feed>/<table>` and the page of one run below it."""

    @server.get("/data-docs")
    def data_docs() -> Response:
        """The newest page of every feed and table of the reader's sites."""
        tables = sorted({p.parent for p in folder.glob("*/*/*/*.html") if _may(desk, p.parent.parts[-3])})
        return _list(
            "Data Docs: what was expected of each table, and seen", (_newest(t) for t in tables), folder
        )

    @server.get("/data-docs/<site>/<feed>/<table>")
    def of_table(site: str, feed: str, table: str) -> Response:
        """The pages of one table, newest first."""
        path = safe_join(str(folder), site, feed, table)
        pages = _pages(Path(path)) if path is not None and _may(desk, site) else []
        return _list(f"Data Docs of {site} {feed}, {table}", pages, folder) if pages else _missing()

    @server.get("/data-docs/<site>/<feed>/<table>/<name>.html")
    def of_run(site: str, feed: str, table: str, name: str) -> Response:
        """The page of one audit."""
        path = safe_join(str(folder), site, feed, table, f"{name}.html")
        if path is None or not _may(desk, site) or not Path(path).is_file():
            return _missing()
        return Response(Path(path).read_text("utf-8"), mimetype=HTML)


def _may(desk: Desk, site: str) -> bool:
    try:
        return desk.visit().scope.permits(site)
    except NoSnapshot:
        # Before the first publication nobody's sites are known.
        return False


def _pages(table: Path) -> list[Path]:
    return sorted(table.glob("*.html"), key=lambda p: p.stat().st_mtime_ns, reverse=True)


def _newest(table: Path) -> Path:
    return _pages(table)[0]


def _list(title: str, pages: Iterable[Path], folder: Path) -> Response:
    items = []
    for page in pages:
        site, feed, table, _ = page.relative_to(folder).parts
        address = f"/data-docs/{site}/{feed}/{table}"
        when = datetime.fromtimestamp(page.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
        items.append(
            f'<tr><td>{escape(site)}</td><td>{escape(feed)}</td><td><a href="{address}">{escape(table)}</a></td>'
            f'<td><a href="{address}/{escape(page.name)}">{when}</a></td></tr>'
        )
    head = "<tr><th>site</th><th>feed</th><th>table, all its pages</th><th>audit</th></tr>"
    body = f"<h1>{escape(title)}</h1><table>{head}{''.join(items)}</table>"
    style = "<style>body{font:15px system-ui,sans-serif;margin:2rem}td,th{padding:.2rem 1rem;text-align:left}</style>"
    return Response(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>{style}</head>'
        f"<body>{body}</body></html>",
        mimetype=HTML,
    )


def _missing() -> Response:
    return Response("There is no such page.", status=404, mimetype="text/plain; charset=utf-8")
