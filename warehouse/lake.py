"""The lake: DuckLake (Parquet files and a SQL catalog), attached one way and written one way, insert only.

Belongs here: attaching, creating tables from the dictionary, transactions with retry, the derived views `x_current` and
`x_as_of`, content hashes, the format version. Does not belong here: what to write (`pipelines`), what to publish (`publish.py`).
"""

from __future__ import annotations

import importlib.util
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from warehouse.dictionary import Dictionary, Table, dictionary
from warehouse.dictionary.model import NOT_CONTENT
from warehouse.dictionary.render import ddl, quoted
from warehouse.faults import reached
from warehouse.settings import Settings

FORMAT_VERSION = 1
ATTEMPTS = 8


class LakeError(RuntimeError):
    """The lake cannot be opened or written; the sentence says what to do."""


def load_extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load a DuckDB extension from its installed wheel; nothing is downloaded."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or not spec.submodule_search_locations:
        raise LakeError(f"DuckDB extension {name} is not installed; run `make install`")
    folder = Path(next(iter(spec.submodule_search_locations)))
    found = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not found.exists():
        raise LakeError(
            f"DuckDB extension {name} has no build for DuckDB {duckdb.__version__}; run `make install`"
        )
    con.execute(f"LOAD {quoted(str(found))}")


def attach(settings: Settings, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A new in-memory connection with the lake attached as `lake` and its views in schema `current`.

    Raises LakeError where the catalog was written by a newer version.
    """
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET preserve_insertion_order = true")
    load_extension(con, "ducklake")
    folder = settings.home_path / "lake"
    data = settings.lake_data or str(folder / "data")
    if settings.catalog:
        load_extension(con, "postgres_scanner")
        target, options = settings.catalog, ""
    else:
        load_extension(con, "sqlite_scanner")
        folder.mkdir(parents=True, exist_ok=True)
        target = f"sqlite:{folder / 'catalog.sqlite'}"
        # Without a write-ahead log and a busy timeout a reader waits seconds beside writers.
        options = ", META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 10000"
    if data.startswith("s3://"):
        load_extension(con, "httpfs")
    # OVERRIDE_DATA_PATH: a copied home otherwise reads the old folder. Inlined rows would be in no Parquet file.
    con.execute(
        f"ATTACH {quoted('ducklake:' + target)} AS lake (DATA_PATH {quoted(data)}, OVERRIDE_DATA_PATH true, "
        f"DATA_INLINING_ROW_LIMIT 0{options}{', READ_ONLY' if read_only else ''})"
    )
    _prepare(con, read_only=read_only)
    return con


def _prepare(con: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
    d = dictionary()
    version = format_version(con)
    if version is not None and version > FORMAT_VERSION:
        raise LakeError(
            f"the lake has format version {version}, this cellfleet knows {FORMAT_VERSION}; install the newer cellfleet"
        )
    if version is None and not read_only:

        def create() -> None:
            for schema in ("raw", "core", "quality", "ops"):
                con.execute(f"CREATE SCHEMA IF NOT EXISTS lake.{schema}")
            con.execute("CREATE TABLE IF NOT EXISTS lake.ops.format (version BIGINT, applied_at TIMESTAMPTZ)")
            con.execute("INSERT INTO lake.ops.format VALUES (?, now())", [FORMAT_VERSION])
            for table in d.tables.values():
                for statement in ddl(d, table, "lake"):
                    con.execute(statement)

        commit(con, create, "cellfleet", f"create format version {FORMAT_VERSION}")
    con.execute("CREATE SCHEMA IF NOT EXISTS current")
    for table in d.tables.values():
        if table.layer == "core":
            con.execute(f"CREATE OR REPLACE VIEW current.{table.name} AS {current_sql(table)}")


def format_version(con: duckdb.DuckDBPyConnection) -> int | None:
    """Format version of the attached lake; None where it is new."""
    exists = con.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = 'ops' AND table_name = 'format'"
    ).fetchone()
    if not exists or not exists[0]:
        return None
    row = con.execute("SELECT max(version) FROM lake.ops.format").fetchone()
    return int(row[0]) if row and row[0] is not None else None


def newest_first(table: Table) -> str:
    """ORDER BY terms that put the version in force first: the source's stamp, then when it was sent, then when we knew."""
    version = "sent_at DESC" if table.volume == "large" else "source_version DESC NULLS LAST, sent_at DESC"
    return f"{version}, recorded_at DESC, source_row DESC"


def current_sql(table: Table, source: str | None = None, where: str = "true") -> str:
    """SQL of a core table's rows in force (last by key) among those that satisfy `where`."""
    key = ", ".join(table.key)
    return (
        f"SELECT * FROM {source or 'lake.' + table.qualified} WHERE {where} "
        f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {newest_first(table)}) = 1"
    )


def as_of_sql(table: Table, at: datetime, source: str | None = None) -> str:
    """SQL of a core table's rows as they were known at `at`."""
    if at.tzinfo is None:
        raise ValueError("as_of needs a time with its zone, e.g. 2026-03-05T00:00:00Z")
    return current_sql(table, source, f"recorded_at <= TIMESTAMPTZ {quoted(at.astimezone(UTC).isoformat())}")


def commit(con: duckdb.DuckDBPyConnection, write: Callable[[], None], author: str, message: str) -> None:
    """Run `write` in one transaction with a commit message; retried whole when another writer held the catalog.

    The transaction is all or nothing also under SIGKILL. Any other error rolls back and is raised.
    """
    for attempt in range(ATTEMPTS):
        try:
            con.execute("BEGIN")
            write()
            reached("in_commit")
            con.execute("CALL lake.set_commit_message(?, ?)", [author, message])
            con.execute("COMMIT")
        except duckdb.Error as error:
            _rollback(con)
            if attempt == ATTEMPTS - 1 or not _transient(error):
                raise
            time.sleep((2**attempt) * 0.05 * (1 + random.random()))  # noqa: S311 - jitter, not a secret
        except BaseException:
            _rollback(con)
            raise
        else:
            reached("after_commit")
            return


def _transient(error: duckdb.Error) -> bool:
    text = str(error).lower()
    return "database is locked" in text or "transaction conflict" in text or "connection" in text


def _rollback(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.execute("ROLLBACK")
    except duckdb.Error:
        # No transaction is open any more: the failed COMMIT ended it.
        return


def insert(con: duckdb.DuckDBPyConnection, table: Table, source: str) -> int:
    """Append the rows of relation `source` by name; returns how many. Column sets must match exactly.

    Raises LakeError naming the columns that are missing or unknown.
    """
    have = {row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    wanted = set(table.columns)
    if have != wanted:
        raise LakeError(
            f"{table.qualified}: missing columns {sorted(wanted - have)}, unknown columns {sorted(have - wanted)}"
        )
    count = con.execute(f"SELECT count(*) FROM {source}").fetchone()
    n = int(count[0]) if count else 0
    if n:
        con.execute(f"INSERT INTO lake.{table.qualified} BY NAME SELECT * FROM {source}")
    return n


def content_hash(con: duckdb.DuckDBPyConnection, d: Dictionary, table: Table) -> str:
    """Hash of a table's rows in the lake without technical columns that differ from run to run; order does not matter."""
    columns = ", ".join(f'"{name}"' for name in table.columns if name not in NOT_CONTENT and name in d.fields)
    row = con.execute(
        f"SELECT count(*), coalesce(sum(hash({columns})::HUGEINT % 1000000000000000003), 0), "
        f"coalesce(bit_xor(hash({columns})), 0) FROM (SELECT DISTINCT {columns} FROM lake.{table.qualified})"
    ).fetchone()
    assert row is not None
    return f"{row[0]}:{row[1]:x}:{row[2]:x}"


_shared: dict[tuple[int, str, bool], duckdb.DuckDBPyConnection] = {}


@contextmanager
def opened(settings: Settings, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """This process's connection to the lake; attached once, since attaching costs as much as a small feed.

    Tables made in its memory database are the caller's to replace. After an error the connection is dropped, so that
    nothing half-done is met by the next caller.
    """
    key = (os.getpid(), f"{settings.home_path}|{settings.catalog}|{settings.lake_data}", read_only)
    con = _shared.get(key)
    if con is None or not _alive(con, settings):
        con = _shared[key] = attach(settings, read_only=read_only)
    try:
        yield con
    except BaseException:
        _shared.pop(key, None)
        con.close()
        raise


def _alive(con: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether the lake that the connection is attached to still lies there (a home may have been removed)."""
    if not settings.catalog and not (settings.home_path / "lake" / "catalog.sqlite").exists():
        con.close()
        return False
    return True
