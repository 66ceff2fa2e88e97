"""Databases that a site may have, as streams of rows in the two formats that extracts are written in.

Belongs here: how SQLite and PostgreSQL are spoken to, read only, in one snapshot, in bounded memory; their failures as
ours; how rows that come as Python values are printed. Does not belong here: the other servers (`servers.py`), and
which rows are new (`relational.py`).
"""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from select import select
from typing import Any, Literal, Protocol

from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.systems import RelationalSystem

BATCH = 5_000
# Rows of a COPY at a time: each is memory of the driver's own, and of thousands the joining is slow.
COPIED = 128
Layout = Literal["jsonl", "delimited"]
# PostgreSQL words what trying again cannot help as it words what it can; only the sentence tells them apart.
REFUSED = (
    "authentication failed", "does not exist", "pg_hba.conf", "no password supplied", "permission denied",
    "invalid connection option", "invalid port",
)  # fmt: skip
# Seconds until a server that does not answer any more is given up.
SECONDS = 20
# What PostgreSQL's clock says, by the type of the column that is compared with it (timestamptz, timestamp, date).
CLOCKS = {1184: "now()", 1114: "localtimestamp", 1082: "current_date"}


class Database(Protocol):
    """One table in one snapshot of its database."""

    columns: list[str]
    now: datetime

    def top(self, column: str) -> str | None:
        """The highest stamp, not beyond the database's own clock, as the database prints it; None without rows."""
        ...

    def rows(
        self, layout: Layout, where: str, stamps: Sequence[str], added: str | None
    ) -> Iterator[list[bytes]]:
        """Rows as lines of the layout, some at a time; in `where` each `{}` stands for the next stamp.

        `added` names a further column, empty in every row.
        """
        ...

    def keys(self, layout: Layout, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The key of every row, as a record of the layout prints it, trimmed."""
        ...


def quoted(name: str) -> str:
    """A name with its schema, quoted for SQL."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


@contextmanager
def opened(system: RelationalSystem, sources: Path, table: str) -> Iterator[Database]:
    """The table, in a snapshot that lasts as long as the block. Raises PermanentFailure or TransientFailure."""
    if system.path is not None:
        with _sqlite(sources / system.path, table) as database:
            yield database
        return
    assert system.url_env is not None
    url = os.environ.get(system.url_env)
    if not url:
        raise PermanentFailure(
            f"Environment variable {system.url_env} is not set.", "Set it to the database URL."
        )
    from pipelines.connectors.servers import is_ours, server  # which prints rows as this module does

    if url.startswith("sqlite:///"):
        with _sqlite(Path(url.removeprefix("sqlite:///")), table) as database:
            yield database
    elif is_ours(url):
        with server(url, system.url_env, table) as database:
            yield database
    else:
        with _postgres(url, system.url_env, table) as database:
            yield database


class TextRows:
    """Rows that come as Python values, printed as lines; a subclass says how they are fetched."""

    table: str
    columns: list[str]

    def fetched(self, query: str, stamps: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
        """Rows of a query, some at a time; each `?` in it stands for the next stamp."""
        raise NotImplementedError

    def rows(
        self, layout: Layout, where: str, stamps: Sequence[str], added: str | None
    ) -> Iterator[list[bytes]]:
        """See `Database.rows`."""
        query = f"SELECT * FROM {quoted(self.table)} WHERE {where.replace('{}', '?')}"
        more = () if added is None else (None,)
        for rows in self.fetched(query, stamps):
            yield [self._line(layout, (*row, *more)) for row in rows]

    def _line(self, layout: Layout, row: tuple[Any, ...]) -> bytes:
        if layout == "delimited":
            return as_csv([_plain(v) for v in row])
        told = dict(zip(self.columns, row, strict=True))
        return (json.dumps(told, ensure_ascii=False, default=_plain) + "\n").encode()

    def keys(self, layout: Layout, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """See `Database.keys`."""
        del layout
        names = ", ".join(map(quoted, columns))
        for rows in self.fetched(f"SELECT {names} FROM {quoted(self.table)}", []):
            for row in rows:
                yield tuple("" if v is None else str(_plain(v)).strip() for v in row)


class _Sqlite(TextRows):
    def __init__(self, con: sqlite3.Connection, table: str) -> None:
        self.con, self.table = con, table
        self.columns = [c[0] for c in con.execute(f"SELECT * FROM {quoted(table)} LIMIT 0").description]
        (now,) = con.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')").fetchone()
        self.now = datetime.fromisoformat(now).replace(tzinfo=UTC)

    def top(self, column: str) -> str | None:
        # Stamps are text here, in whatever way the site prints them, so none is compared with a clock.
        (top,) = self.con.execute(f"SELECT max({quoted(column)}) FROM {quoted(self.table)}").fetchone()
        return None if top is None else str(top)

    def fetched(self, query: str, stamps: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
        cursor = self.con.execute(query, stamps)
        while rows := cursor.fetchmany(BATCH):
            yield rows


@contextmanager
def _sqlite(path: Path, table: str) -> Iterator[Database]:
    if not path.exists():
        raise PermanentFailure(f"Database {path.name} does not exist.", "Check the contract's `path`.")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as con:
            con.execute("BEGIN")
            yield _Sqlite(con, table)
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise TransientFailure(f"Database {path.name} is busy.", "It is tried again.") from error
        raise PermanentFailure(
            f"Database {path.name}: {error}.", "Check `query_table` and `modified`."
        ) from error
    except sqlite3.DatabaseError as error:
        raise PermanentFailure(f"Database {path.name}: {error}.", "Ask the site for a whole copy.") from error


class _Postgres:
    def __init__(self, con: Any, table: str) -> None:
        self.con, self.table = con, table
        con.execute("SET LOCAL TimeZone = 'UTC'")
        con.execute("SET LOCAL DateStyle = 'ISO'")
        described = con.execute(f"SELECT * FROM {quoted(table)} LIMIT 0").description
        self.columns = [c.name for c in described or []]
        self.kinds = {c.name: c.type_code for c in described or []}
        (self.now,) = con.execute("SELECT now()").fetchone()

    def top(self, column: str) -> str | None:
        highest, clock = f"max({quoted(column)})", CLOCKS.get(self.kinds[column])
        # A stamp from the future must not hide what comes until then.
        capped = f"CASE WHEN {highest} IS NOT NULL THEN least({highest}, {clock}) END" if clock else highest
        (top,) = self.con.execute(f"SELECT ({capped})::text FROM {quoted(self.table)}").fetchone()
        return None if top is None else str(top)

    def rows(
        self, layout: Layout, where: str, stamps: Sequence[str], added: str | None
    ) -> Iterator[list[bytes]]:
        columns = "*" if added is None else f"*, NULL AS {quoted(added)}"
        chosen = f"SELECT {columns} FROM {quoted(self.table)} WHERE {where}"
        if layout == "jsonl":
            chosen = f"SELECT row_to_json(t) FROM ({chosen}) AS t"
        return self._copied(chosen, layout, stamps)

    def keys(self, layout: Layout, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        texts = ", ".join(
            f"to_json({quoted(c)}) #>> '{{}}'" if layout == "jsonl" else f"{quoted(c)}::text" for c in columns
        )
        lines = self._copied(f"SELECT {texts} FROM {quoted(self.table)}", "delimited", [])
        for row in csv.reader(bytes(line).decode() for batch in lines for line in batch):
            yield tuple(part.strip() for part in row)

    def _copied(self, query: str, layout: Layout, stamps: Sequence[str]) -> Iterator[list[bytes]]:
        """Rows as the server prints them. JSON has no control characters, so these marks leave it as it is."""
        marks = ", QUOTE E'\\x01', DELIMITER E'\\x02'" if layout == "jsonl" else ""
        copy = f"COPY ({query}) TO STDOUT (FORMAT csv{marks})"
        if stamps:
            from psycopg import ClientCursor

            copy = ClientCursor(self.con).mogrify(copy.replace("%", "%%").replace("{}", "%s"), list(stamps))
        yield from self._streamed(copy.encode())

    def _streamed(self, copy: bytes) -> Iterator[list[bytes]]:
        """Rows of a COPY as libpq hands them over; psycopg's own loop costs as much a row as all the rest."""
        from psycopg import errors, pq

        line: Any = self.con.pgconn
        began = line.exec_(copy)
        if began.status != pq.ExecStatus.COPY_OUT:
            raise errors.error_from_result(began)
        whole = False
        try:
            batch: list[bytes] = []
            while True:
                length, block = line.get_copy_data(1)
                if length > 0:
                    batch.append(bytes(block))
                elif length == 0:
                    select([line.socket], [], [])
                    line.consume_input()
                if batch and (length < 0 or len(batch) == COPIED):
                    yield batch
                    batch = []
                if length < 0:
                    break
            while (ended := line.get_result()) is not None:
                if ended.status != pq.ExecStatus.COMMAND_OK:
                    raise errors.error_from_result(ended)
            whole = True
        finally:
            if not whole:
                self.con.close()  # in the middle of a COPY nothing else can be asked


@contextmanager
def _postgres(url: str, variable: str, table: str) -> Iterator[Database]:
    import psycopg

    where = f"PostgreSQL ({variable})"
    try:
        # Keep-alives: a server that vanished without a word is noticed.
        with psycopg.connect(
            url, connect_timeout=SECONDS, keepalives_idle=SECONDS, keepalives_interval=5, keepalives_count=3,
            tcp_user_timeout=SECONDS * 1000,
        ) as con:  # fmt: skip
            con.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            con.read_only = True
            yield _Postgres(con, table)
    except psycopg.ProgrammingError as error:
        raise PermanentFailure(
            f"{where}: {_first_line(error)}.", "Check the URL, `query_table` and `modified`."
        ) from error
    except psycopg.OperationalError as error:
        said = _first_line(error)
        if any(words in said for words in REFUSED):
            raise PermanentFailure(f"{where}: {said}.", "Check the URL and the account's rights.") from error
        raise TransientFailure(f"{where}: {said}.", "It is tried again.") from error
    except psycopg.Error as error:
        raise PermanentFailure(
            f"{where}: {_first_line(error)}.", "Check `query_table` and `modified`."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def as_csv(values: Sequence[Any]) -> bytes:
    """One row of a file of values between commas; None is nothing, an empty text is `""`."""
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerow(["" if v is None else v for v in values])
    return out.getvalue().encode()


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
