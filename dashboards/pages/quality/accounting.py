"""Every record accounted for, by site and by feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.components.panel import panel
from dashboards.components.table import Column, Table, grid, html_table
from dashboards.components.words import plural
from dashboards.facts.feeds import Feed
from dashboards.pages.quality.about import computed, names_of
from dashboards.shell.visit import Visit


def accounting_panel(visit: Visit, feeds: Sequence[Feed]) -> Component:
    return panel(
        "accounting",
        "Every record accounted for",
        "Received = promoted + superseded + duplicate + quarantined, counted by the reader on the files "
        "and by SQL on what "
        "is stored; a run whose sum is off commits nothing.",
        html.Div(
            [
                html_table(_site_table(visit, feeds), "Accounting by site"),
                html.Details(
                    [
                        html.Summary(f"All {len(feeds)} feeds"),
                        grid(feed_table(visit, feeds), "Accounting by feed", name="feeds"),
                    ]
                ),
            ]
        ),
        csv=visit.csv("quality", "feeds"),
        computed=computed(
            visit,
            "The newest accounting of each feed. Superseded: a later version is in force. Duplicate: the "
            "same content sent again. "
            "Quarantined: set aside whole, kept in the vault. Fields set aside belong to promoted records.",
            "mart.feed_status",
        ),
        wide=True,
    )


def _sum(parts: Sequence[Feed], name: str) -> int:
    return sum(int(getattr(f, name) or 0) for f in parts)


def _site_table(visit: Visit, feeds: Sequence[Feed]) -> Table:
    names = names_of(visit)
    counted = (
        "received",
        "promoted",
        "superseded",
        "duplicate",
        "quarantined",
        "fields_quarantined",
        "findings",
    )
    rows: list[dict[str, Any]] = []
    for site in dict.fromkeys(f.site for f in feeds):
        mine = [f for f in feeds if f.site == site]
        rows.append(
            {"name": names.get(site, site), "off": sum(not f.adds_up for f in mine), "feeds": len(mine)}
            | {name: _sum(mine, name) for name in counted}
        )
    if len(rows) > 1:
        total: dict[str, Any] = {"name": "All of these", "off": sum(r["off"] for r in rows)}
        rows.append(total | {name: sum(r[name] for r in rows) for name in ("feeds", *counted)})
    return Table("accounting", _counts(Column("name", "Site"), Column("feeds", "Feeds")), rows)


def _counts(*first: Column) -> tuple[Column, ...]:
    return (
        *first,
        Column("received", "Received", thousands=True),
        Column("promoted", "= promoted", thousands=True),
        Column("superseded", "+ superseded", thousands=True),
        Column("duplicate", "+ duplicate", thousands=True),
        Column("quarantined", "+ quarantined", thousands=True),
        Column("off", "Adds up", cell=_adds_up),
        Column("fields_quarantined", "Fields set aside", thousands=True),
        Column("findings", "Findings", thousands=True),
    )


def _adds_up(row: dict[str, Any]) -> Component:
    symbol, word, kind = (
        ("✕", plural(row["off"], "feed off", "feeds off"), "bad") if row["off"] else ("●", "yes", "ok")
    )
    return html.Span([f"{symbol} ", word], className=f"cf-verdict cf-{kind}")


def feed_table(visit: Visit, feeds: Sequence[Feed]) -> Table:
    """Feeds with their accounting and files."""
    names = names_of(visit)
    rows = [
        {**vars(f), "name": names.get(f.site, f.site), "sum": "yes" if f.adds_up else "no"} for f in feeds
    ]
    return Table(
        "feeds",
        (
            Column("name", "Site"),
            Column("feed", "Feed"),
            Column("received", "Received"),
            Column("promoted", "= promoted"),
            Column("superseded", "+ superseded"),
            Column("duplicate", "+ duplicate"),
            Column("quarantined", "+ quarantined"),
            Column("sum", "Adds up"),
            Column("fields_quarantined", "Fields set aside"),
            Column("findings", "Findings"),
            Column("files", "Files"),
            Column("files_refused", "Files refused"),
            Column("last_file_at", "Newest file, UTC"),
        ),
        rows,
    )  # fmt: skip
