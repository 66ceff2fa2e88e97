"""Relational LIMS and MES databases: SQLite and PostgreSQL through one contract.

An extract is everything at or above the high-water mark less an overlap (late commits, clock skew), written as JSON
lines, which the vault keeps. Rows of the overlap that were already extracted unchanged are left out, so a quiet night
brings no file. Rows stream in batches; memory is bounded.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipelines.connectors.protocol import Offer, Seen
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import RelationalSystem, System

BATCH = 5_000
UNITS = {"minute": 1 / 1440, "hour": 1 / 24, "day": 1.0}


class Relational:
    """A database. The cursor holds the high water and the hashes of the overlap's rows."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Offer one extract where rows are new or changed; see the protocol."""
        assert isinstance(system, RelationalSystem)
        table, modified = feed.query_table, feed.modified
        assert table is not None
        since = _less(seen.cursor.get("high_water"), feed.overlap) if modified else None
        known = set(seen.cursor.get("overlap", []))
        extract = scratch / f"{table}.jsonl"
        high, hashes, written = seen.cursor.get("high_water"), dict[str, str](), 0
        with extract.open("w", encoding="utf-8") as out:
            for row in _rows(system, sources, table, modified, since):
                line = json.dumps(row, ensure_ascii=False, default=_plain)
                stamp = str(row.get(modified) or "") if modified else ""
                digest = hashlib.sha256(line.encode()).hexdigest()[:24]
                hashes[digest] = stamp
                high = max(high or "", stamp) if modified else None
                if digest not in known:
                    out.write(line + "\n")
                    written += 1
        if not written:
            return
        floor = _less(high, feed.overlap) if modified else None
        cursor = {
            "high_water": high,
            "overlap": sorted(h for h, s in hashes.items() if floor is None or s >= floor),
        }
        stamp = "".join(c for c in high or "all" if c.isalnum())
        content = hashlib.sha256(extract.read_bytes()).hexdigest()[:8]
        # The extract's own time is the source's, not ours: the same rows extracted again are the same file.
        if high and (moment := _moment(high)):
            os.utime(extract, (moment.timestamp(), moment.timestamp()))
        yield Offer(f"{table}@{stamp}-{content}.jsonl", path=extract, cursor=cursor, extract=True)


def _rows(
    system: RelationalSystem, sources: Path, table: str, modified: str | None, since: str | None
) -> Iterator[dict[str, Any]]:
    where = f' WHERE "{modified}" >= {{}}' if since is not None else ""
    order = f' ORDER BY "{modified}"' if modified else ""
    query = f'SELECT * FROM "{table}"{where}{order}'
    parameters = [since] if since is not None else []
    if system.path is not None:
        yield from _sqlite(sources / system.path, query.format("?"), parameters)
        return
    assert system.url_env is not None
    url = os.environ.get(system.url_env)
    if not url:
        raise PermanentFailure(
            f"Environment variable {system.url_env} is not set.", "Set it to the database URL."
        )
    if url.startswith("sqlite:///"):
        yield from _sqlite(Path(url.removeprefix("sqlite:///")), query.format("?"), parameters)
    else:
        yield from _postgres(url, system.url_env, query.format("%s"), parameters)


def _sqlite(path: Path, query: str, parameters: list[str]) -> Iterator[dict[str, Any]]:
    if not path.exists():
        raise PermanentFailure(f"Database {path.name} does not exist.", "Check the contract's `path`.")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as con:
            con.row_factory = sqlite3.Row
            cursor = con.execute(query, parameters)
            while rows := cursor.fetchmany(BATCH):
                yield from (dict(row) for row in rows)
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise TransientFailure(f"Database {path.name} is busy.", "It is tried again.") from error
        raise PermanentFailure(
            f"Database {path.name}: {error}.", "Check `query_table` and `modified`."
        ) from error
    except sqlite3.DatabaseError as error:
        raise PermanentFailure(f"Database {path.name}: {error}.", "Ask the site for a whole copy.") from error


def _postgres(url: str, variable: str, query: str, parameters: list[str]) -> Iterator[dict[str, Any]]:
    import psycopg
    from psycopg.rows import dict_row

    try:
        with psycopg.connect(url, row_factory=dict_row) as con, con.cursor(name="cellfleet") as cursor:
            cursor.itersize = BATCH
            cursor.execute(query, parameters)
            yield from cursor
    except psycopg.OperationalError as error:
        raise TransientFailure(f"PostgreSQL ({variable}): {error}.", "It is tried again.") from error
    except psycopg.Error as error:
        raise PermanentFailure(
            f"PostgreSQL ({variable}): {error}.", "Check `query_table` and `modified`."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _moment(stamp: str) -> datetime | None:
    try:
        read = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _less(stamp: str | None, overlap: str) -> str | None:
    """`stamp` less the overlap, printed as the source prints its stamps."""
    moment = _moment(stamp) if stamp else None
    if stamp is None or moment is None:
        return None
    number, unit = overlap.split()
    earlier = moment - timedelta(days=float(number) * UNITS[unit.rstrip("s")])
    text = earlier.isoformat()
    if stamp.endswith("Z"):
        text = text.replace("+00:00", "Z")
    elif "+" not in stamp[10:]:
        text = text.split("+")[0]
    return text.replace("T", stamp[10]) if len(stamp) > 10 else text
