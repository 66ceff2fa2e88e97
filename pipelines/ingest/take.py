"""What is new at a site, into its vault. Knows which files the lake has taken, nothing of what they mean."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from pipelines.connectors.arriving import Listing
from pipelines.connectors.fhir_bulk import FhirBulk
from pipelines.connectors.folder import Folder
from pipelines.connectors.opcua import OpcUa
from pipelines.connectors.protocol import Connector, Offer, Seen
from pipelines.connectors.relational import Relational
from pipelines.connectors.s3 import S3
from pipelines.connectors.sftp import Sftp
from pipelines.connectors.sparkplug import Sparkplug
from pipelines.failures import PipelineFailure
from pipelines.harmonise.contract import Contract, Feed
from pipelines.harmonise.sql import IS_DELETION, ident
from pipelines.ingest.days import day_in
from pipelines.ingest.unpack import NotUnpackedError, members
from warehouse.dictionary.render import quoted
from warehouse.settings import Settings
from warehouse.vault import Arrival, Vault

CONNECTORS: dict[str, Connector] = {
    "folder": Folder(),
    "relational": Relational(),
    "sftp": Sftp(),
    "s3": S3(),
    "fhir_bulk": FhirBulk(),
    "opcua": OpcUa(),
    "sparkplug": Sparkplug(),
}
LISTINGS: dict[str, Listing] = {"folder": Folder(), "sftp": Sftp(), "s3": S3()}
# Files taken before they are promoted: bounds memory, the scratch folder and what a kill makes us do again.
AT_ONCE_BYTES = 1 << 30
AT_A_TIME = 8


@dataclass(frozen=True)
class Taking:
    """One offer as it was taken, promoted as a whole: a file, or an archive's members and then the archive."""

    arrivals: list[Arrival]
    cursor: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        return sum(a.size for a in self.arrivals)


@dataclass
class Taken:
    """New files of a feed, oldest first. `failure` ended the taking early; `more` waits at the source."""

    takings: list[Taking] = field(default_factory=list)
    failure: PipelineFailure | None = None
    more: bool = False

    @property
    def arrivals(self) -> list[Arrival]:
        return [a for t in self.takings for a in t.arrivals]

    @property
    def cursor(self) -> dict[str, Any] | None:
        """The connector's cursor once all of this is promoted."""
        return last_cursor(self.takings)


def last_cursor(takings: list[Taking]) -> dict[str, Any] | None:
    """The cursor after these takings; None where none of them moved it."""
    return next((t.cursor for t in reversed(takings) if t.cursor is not None), None)


def seen(con: duckdb.DuckDBPyConnection, contract: Contract, feed: str) -> Seen:
    """What the lake has taken from a feed so far."""
    site = contract.site_id
    files = con.execute(
        "SELECT source_file, bytes, sent_at FROM lake.raw.file WHERE site_id = ? AND feed = ?", [site, feed]
    ).fetchall()
    told = "SELECT arg_max(cursor, recorded_at) FROM lake.raw.cursor WHERE site_id = ? AND feed = ?"
    # What a listing shows is compared with the files alone.
    listed = contract.systems[contract.feeds[feed].system].kind in LISTINGS
    cursor = None if listed else con.execute(told, [site, feed]).fetchone()
    return Seen(
        frozenset(_file(*row) for row in files),
        json.loads(cursor[0]) if cursor and cursor[0] else {},
        lambda: standing_keys(con, contract, feed),
    )


def standing_keys(con: duckdb.DuckDBPyConnection, contract: Contract, feed: str) -> set[tuple[str, ...]]:
    """The keys of the feed's records that were not deleted since, as their columns say them."""
    record = contract.feeds[feed].record
    names = [record] if isinstance(record, str) else record
    parts = ", ".join(
        f"coalesce(trim(json_extract_string(payload, {quoted(f'$.{ident(n)}')})), '')" for n in names
    )
    rows = con.execute(
        f"""SELECT {parts} FROM lake.raw.record WHERE site_id = ? AND feed = ? AND payload IS NOT NULL
            QUALIFY row_number() OVER (
              PARTITION BY subject ORDER BY source_version DESC NULLS LAST, sent_at DESC, {IS_DELETION} DESC) = 1
              AND NOT {IS_DELETION}""",
        [contract.site_id, feed],
    ).fetchall()
    return set(rows)


def _file(name: str, size: int, sent_at: datetime) -> tuple[str, int, datetime]:
    return name, size, sent_at


def write_cursor(con: duckdb.DuckDBPyConnection, site: str, feed: str, takings: list[Taking]) -> None:
    """Store how far the takings bring the feed, inside the transaction that promotes them."""
    if (cursor := last_cursor(takings)) is None:
        return
    con.execute(
        """INSERT INTO lake.raw.cursor BY NAME
           SELECT ? AS site_id, ? AS feed, ? AS cursor, getvariable('recorded_at') AS recorded_at,
                  getvariable('run_id') AS run_id""",
        [site, feed, json.dumps(cursor)],
    )


@contextmanager
def take(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    settings: Settings,
    days: tuple[date, date] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Taken]:
    """Keep what is new in the vault and say what came; with `days`, only files about a day in that span.

    `progress` is told of each file that the connector wrote itself, which may take long.

    A failure after some files came is told in `Taken.failure`, so that those are not fetched again. Raises
    PermanentFailure or TransientFailure where nothing came."""
    feed = contract.feeds[feed_name]
    system = contract.systems[feed.system]
    have = seen(con, contract, feed_name)
    vault = Vault(settings.vault_path(contract.site_id))
    taken, size = Taken(), 0
    with TemporaryDirectory() as scratch:
        offers = CONNECTORS[system.kind].offers(system, feed, settings.sources_path, have, Path(scratch))
        with closing(_kept(vault, offers, feed, Path(scratch), days)) as kept:
            try:
                for offer, taking in kept:
                    taken.takings.append(taking)
                    size += taking.size
                    if progress is not None and offer.extract:
                        progress(
                            f"{contract.site_id}/{feed_name}: {offer.name} received, {taking.size:,} bytes"
                        )
                    if size >= AT_ONCE_BYTES:
                        taken.more = True
                        break
            except PipelineFailure as failure:
                if not taken.takings:
                    raise
                taken.failure = failure
        yield taken


def _kept(
    vault: Vault,
    offers: Generator[Offer, None, None],
    feed: Feed,
    scratch: Path,
    days: tuple[date, date] | None,
) -> Generator[tuple[Offer, Taking], None, None]:
    """Keep what is offered, in its order; raises what `offers` raises once all before it is kept.

    Files that already lie on a disk are kept several at a time: each waits for the vault's disk, none for a core.
    """
    waiting: deque[tuple[Offer, Future[Taking | None]]] = deque()

    def first() -> Iterator[tuple[Offer, Taking]]:
        offer, kept = waiting.popleft()
        if (taking := kept.result()) is not None:
            yield offer, taking

    failure: PipelineFailure | None = None
    with closing(offers), ThreadPoolExecutor(AT_A_TIME) as beside:
        try:
            for offer in offers:
                day = day_in(feed, offer.name)
                if days is not None and day is not None and not days[0] <= day <= days[1]:
                    continue
                if feed.members is None and _lies_there(offer, scratch):
                    waiting.append((offer, beside.submit(keep, vault, offer, feed, scratch)))
                    if len(waiting) >= 2 * AT_A_TIME:
                        yield from first()
                    continue
                while waiting:
                    yield from first()
                if (taking := keep(vault, offer, feed, scratch)) is not None:
                    yield offer, taking
        except PipelineFailure as failed:
            failure = failed
        while waiting:
            yield from first()
    if failure is not None:
        raise failure


def _lies_there(offer: Offer, scratch: Path) -> bool:
    """Whether an offered file need be neither fetched nor removed once it is kept."""
    return offer.bring is None and offer.path is not None and not offer.path.is_relative_to(scratch)


def keep(vault: Vault, offer: Offer, feed: Feed, scratch: Path) -> Taking | None:
    """Keep an offered file in the vault, and an archive's members too; None where it is not whole yet."""
    path = offer.file()
    if path is None:
        return None
    arrival = vault.keep(path, offer.name)
    if path.is_relative_to(scratch):
        path.unlink()
    if feed.members is None:
        return Taking([arrival], offer.cursor)
    inside: list[Arrival] = []
    try:
        for name, member in members(arrival.path, offer.name, feed.members, scratch, arrival.sent_at):
            inside.append(vault.keep(member, name))
            member.unlink()
    except NotUnpackedError as error:
        return Taking([*inside, replace(arrival, archive=True, problem=str(error))], offer.cursor)
    return Taking([*inside, replace(arrival, archive=True)], offer.cursor)
