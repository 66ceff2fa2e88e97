"""Relational LIMS and MES databases: SQLite, PostgreSQL, MySQL and SQL Server through one contract.

An extract is everything above the high water, and of the overlap below it what was not extracted before (late commits,
clocks that differ), in one snapshot of the database; the vault keeps it. With `compare_keys` a key that is gone from
the table is written as a deletion. Rows stream from the server; in memory are the hashes of the overlap's rows, and
with `compare_keys` the known keys. Does not belong here: how a database is spoken to (`databases.py`, `servers.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.connectors.databases import Database, Layout, as_csv, opened, quoted
from pipelines.connectors.protocol import Offer, Seen, patiently
from pipelines.failures import PermanentFailure
from pipelines.harmonise.contract import KEY_GONE, Feed
from pipelines.harmonise.systems import RelationalSystem, System

UNITS = {"minute": 1 / 1440, "hour": 1 / 24, "day": 1.0}
# The overlap of a column of numbers (a sequence, a row version): how far back a late commit may lie.
NUMBERS = 10_000
# A stamp without a zone may be this far ahead of the database's clock, and no further.
WESTMOST = timedelta(hours=14)
DIGITS = 24
WRITE = 1 << 20


@dataclass
class _Extract:
    """What was written: rows, high water, hashes of the rows that are read again, when the file counts as written."""

    rows: int
    high: str | None
    overlap: list[str]
    written: datetime | None
    content: str


class Relational:
    """A database. The cursor holds the high water and the hashes of the overlap's rows."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Offer one extract where rows are new, changed or gone; see the protocol."""
        assert isinstance(system, RelationalSystem)
        table = feed.query_table
        assert table is not None
        suffix = "csv" if layout_of(feed) == "delimited" else "jsonl"
        target = scratch / f"extract.{suffix}"

        def extract() -> _Extract:
            with opened(system, sources, table) as database:
                return _extracted(database, feed, seen, target)

        made = patiently(extract)
        if not made.rows:
            return
        stamp = "".join(c for c in made.high or "all" if c.isalnum())
        # The extract's own time is the source's, not ours: the same rows extracted again are the same file.
        if made.written is not None:
            os.utime(target, (made.written.timestamp(), made.written.timestamp()))
        cursor = {"high_water": made.high, "overlap": made.overlap}
        yield Offer(f"{table}@{stamp}-{made.content}.{suffix}", path=target, cursor=cursor, extract=True)


def layout_of(feed: Feed) -> Layout:
    """The format that the feed's extracts are written in."""
    return "delimited" if feed.format.name == "delimited" else "jsonl"


class _Writer:
    """The extract as it is written: lines, counted and hashed."""

    def __init__(self, target: Path) -> None:
        self.out = target.open("wb", buffering=WRITE)
        self.hash, self.rows = hashlib.sha256(), 0

    def write(self, lines: list[bytes]) -> None:
        """Append lines, each with its end."""
        joined = b"".join(lines)
        self.out.write(joined)
        self.hash.update(joined)
        self.rows += len(lines)


def _extracted(database: Database, feed: Feed, seen: Seen, target: Path) -> _Extract:
    layout, modified = layout_of(feed), feed.modified
    before = seen.cursor.get("high_water") if modified else None
    known = set(seen.cursor.get("overlap", []))
    if modified and modified not in database.columns:
        raise PermanentFailure(f"Table {feed.query_table} has no column {modified}.", "Check `modified`.")
    high = _high(database, modified, before) if modified else None
    floor = less(high, feed.overlap)
    remembered: list[str] = []
    writer = _Writer(target)
    with writer.out:
        added = KEY_GONE if layout == "delimited" and feed.compare_keys else None
        if layout == "delimited":
            writer.write([as_csv([*database.columns, *([added] if added else [])])])
            writer.rows = 0
        column = quoted(modified) if modified else ""
        if floor is not None and before is not None and (since := less(before, feed.overlap)) is not None:
            # Below the new overlap, in the old one: written where it came or changed after it was read.
            low = f"{column} >= {{}} AND {column} <= {{}} AND {column} < {{}}"
            for lines in database.rows(layout, low, [since, before, floor], added):
                writer.write([line for line in lines if _digest(line) not in known])
        if floor is not None:
            new, stamps = f"{column} < {{}}", [floor]
            if before is not None:
                new, stamps = f"{column} > {{}} AND {new}", [before, floor]
            for lines in database.rows(layout, new, stamps, added):
                writer.write(lines)
        # What is read again next time; rows without a stamp are always among it.
        again = f"({column} >= {{}} OR {column} IS NULL)" if floor is not None else "1 = 1"
        for lines in database.rows(layout, again, [floor] if floor is not None else [], added):
            digests = [_digest(line) for line in lines]
            remembered += digests
            writer.write([line for line, d in zip(lines, digests, strict=True) if d not in known])
        deleted = _write_deletions(database, feed, seen, writer)
    written = _moment(high) if high else None
    if deleted:
        # Later than every version that was stamped until now, and earlier than what is stamped from now on.
        written = written + timedelta(microseconds=1) if written else database.now
    return _Extract(writer.rows, high, sorted(remembered), written, writer.hash.hexdigest()[:8])


def _high(database: Database, modified: str, before: str | None) -> str | None:
    """The new high water: never below the last, and no stamp from the future."""
    top = database.top(modified)
    if top is None or before is None:
        high = top or before
    elif _is_number(top) and _is_number(before):
        high = max(top, before, key=int)
    elif (new := _moment(top)) is not None and (old := _moment(before)) is not None:
        high = top if new >= old else before
    else:
        high = max(top, before)
    latest = database.now + WESTMOST
    if (
        high is not None
        and not _is_number(high)
        and (moment := _moment(high)) is not None
        and moment > latest
    ):
        return _printed(latest, high)
    return high


def _write_deletions(database: Database, feed: Feed, seen: Seen, writer: _Writer) -> int:
    """Write a deletion for each known key that the table has no more; returns how many."""
    if not feed.compare_keys:
        return 0
    layout = layout_of(feed)
    record = [feed.record] if isinstance(feed.record, str) else feed.record
    gone = seen.keys()
    some, known = False, len(gone)
    for key in database.keys(layout, record):
        some = True
        gone.discard(key)
    if not some and known:
        raise PermanentFailure(
            f"Table {feed.query_table} is empty, and {known} keys of it are known: nothing is taken as deleted.",
            "Ask the site; if all was meant to go, take the feed out of the contract.",
        )
    for key in sorted(gone):
        told: dict[str, Any] = dict(zip(record, key, strict=True)) | {KEY_GONE: "true"}
        if layout == "jsonl":
            writer.write([(json.dumps(told, ensure_ascii=False) + "\n").encode()])
        else:
            writer.write([as_csv([told.get(name) for name in [*database.columns, KEY_GONE]])])
    return len(gone)


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:DIGITS]


def _moment(stamp: str) -> datetime | None:
    try:
        read = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def less(stamp: str | None, overlap: str) -> str | None:
    """`stamp` less the overlap, printed as the source prints its stamps; None where it is neither time nor number."""
    if stamp is None:
        return None
    if _is_number(stamp):
        return str(int(stamp) - NUMBERS)
    moment = _moment(stamp)
    if moment is None:
        return None
    number, unit = overlap.split()
    return _printed(moment - timedelta(days=float(number) * UNITS[unit.rstrip("s")]), stamp)


def _is_number(stamp: str) -> bool:
    return stamp.lstrip("-").isdigit()


def _printed(moment: datetime, like: str) -> str:
    """A moment as the source prints its stamps."""
    if len(like) == len("2026-03-05"):
        return moment.date().isoformat()
    text = moment.isoformat()
    if like.endswith("Z"):
        text = text.replace("+00:00", "Z")
    elif "+" not in like[10:]:
        text = text.split("+")[0]
    return text.replace("T", like[10])
