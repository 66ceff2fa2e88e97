"""What the panels of a batch share: which batch it is, its clock, the way from a row to its file."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from dash import html
from dash.development.base_component import Component

from dashboards.components.table import Column, printed
from dashboards.facts.batch import Batch
from dashboards.providers.batch import BatchProvider
from dashboards.shell.visit import NotHere, Visit, source_href


def batch_of(visit: Visit) -> tuple[BatchProvider, Batch]:
    provider = BatchProvider(visit.snapshot)
    site, batch_id = (visit.args.get(k) or visit.get(k) for k in ("site", "batch_id"))
    batch = provider.find(visit.scope.whole(), site or "", batch_id or "")
    if batch is None:
        raise NotHere(f"{site}/{batch_id}")
    return provider, batch


def site_name(visit: Visit, site: str) -> str:
    return next((s.name for s in visit.snapshot.sites if s.id == site), site)


def zone_of(visit: Visit, site: str) -> str:
    return next((s.time_zone for s in visit.snapshot.sites if s.id == site), "UTC")


def local_time(visit: Visit, batch: Batch, moment: Any) -> str:
    """A time in UTC with the site's own clock beside it."""
    if moment is None:
        return ""
    there = moment.astimezone(ZoneInfo(zone_of(visit, batch.site)))
    told = f"{printed(moment)} UTC"
    return told if not there.utcoffset() else f"{told} ({there:%d %b %H:%M} {there.tzname()})"


def csv_of(visit: Visit, table: str) -> str:
    return visit.csv("batch", table)


def computed(visit: Visit, words: str, table: str) -> str:
    return f"{words} Times are UTC. Table {table}, snapshot {visit.snapshot.number}."


def source_link(visit: Visit, row: Any) -> Component:
    """The way to a row's file, row and hash."""
    return html.A(
        f"{row.source_file}, row {row.source_row}",
        href=source_href(visit, row.record_id),
        className="cf-from",
    )


def source_column(visit: Visit) -> Column:
    """Cell with the way to a row's file; in the CSV the file's name."""
    return Column(
        "source_file",
        "From",
        cell=lambda r: (
            html.A(f"{r['source_file']}, row {r['source_row']}", href=source_href(visit, r["record_id"]))
            if r.get("record_id")
            else r["source_file"] or "no single row"
        ),
    )
