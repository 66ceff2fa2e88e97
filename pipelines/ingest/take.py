"""What is new at a site, into its vault. Knows which files the lake has taken, nothing of what they mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from pipelines.connectors.folder import Folder
from pipelines.connectors.protocol import Connector, Seen
from pipelines.connectors.relational import Relational
from pipelines.harmonise.contract import Contract
from pipelines.ingest.days import day_in
from warehouse.settings import Settings
from warehouse.vault import Arrival, Vault

CONNECTORS: dict[str, Connector] = {"folder": Folder(), "relational": Relational()}


@dataclass(frozen=True)
class Taken:
    """New files of a feed, and the connector's cursor once they are promoted."""

    arrivals: list[Arrival]
    cursor: dict[str, Any] | None


def seen(con: duckdb.DuckDBPyConnection, site: str, feed: str) -> Seen:
    """What the lake has taken from a feed so far."""
    files = con.execute(
        "SELECT source_file, bytes, sent_at FROM lake.raw.file WHERE site_id = ? AND feed = ?", [site, feed]
    ).fetchall()
    cursor = con.execute(
        "SELECT arg_max(cursor, recorded_at) FROM lake.raw.cursor WHERE site_id = ? AND feed = ?",
        [site, feed],
    ).fetchone()
    return Seen(
        frozenset(_file(*row) for row in files), json.loads(cursor[0]) if cursor and cursor[0] else {}
    )


def _file(name: str, size: int, sent_at: datetime) -> tuple[str, int, datetime]:
    return name, size, sent_at


@contextmanager
def take(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    settings: Settings,
    days: tuple[date, date] | None = None,
) -> Iterator[Taken]:
    """Keep what is new in the vault and say what came; with `days`, only files about a day in that span.

    Raises PermanentFailure or TransientFailure."""
    feed = contract.feeds[feed_name]
    system = contract.systems[feed.system]
    have = seen(con, contract.site_id, feed_name)
    vault = Vault(settings.home_path / "vault" / contract.site_id)
    with TemporaryDirectory() as scratch:
        arrivals, cursor = [], None
        for offer in CONNECTORS[system.kind].offers(system, feed, settings.sources_path, have, Path(scratch)):
            day = day_in(feed, offer.name)
            if days is not None and day is not None and not days[0] <= day <= days[1]:
                continue
            arrivals.append(vault.keep(offer.path, offer.name))
            cursor = offer.cursor or cursor
        yield Taken(arrivals, cursor)
