"""The lake: DuckLake (Parquet files and a SQL catalog), attached one way, written one way, insert only.

Belongs here: attaching, creating tables from the dictionary, transactions with retry, the derived views of what is
in force (`current.<table>`) and of what still stands (`live.<table>`), `as_of_sql`, content hashes, the format
version. Does not belong here: what to write (`pipelines`), what to publish (`publish.py`).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from warehouse import extensions, lake_files, lake_layout, object_storage
from warehouse.alone import alone
from warehouse.dictionary import Dictionary, Table, dictionary
from warehouse.dictionary.model import NOT_CONTENT
from warehouse.dictionary.render import ddl, quoted
from warehouse.faults import reached
from warehouse.settings import Settings

FORMAT_VERSION = 3
ATTEMPTS = 8
# After so many commits a process attaches the lake anew: DuckDB gives back what they left with a connection only then.
COMMITS_HELD = 20
# `reason` of a version that says that the source deleted the row: it has the key and ends its being in force.
DELETED = "deleted at the source"
# How DuckDB and the catalogs word what passes by itself: another writer was first, or a server was away.
TRANSIENT = (
    "database is locked",
    "conflict",
    "could not connect",
    "connection refused",
    "connection reset",
    "server closed the connection",
    "terminating connection",
    "no connection to the server",
)
# What of the evidence stands: of a file that was read again the newest reading, and the reasons that are open.
EVIDENCE = {
    "file": """
        SELECT * FROM lake.raw.file QUALIFY row_number() OVER (
          PARTITION BY site_id, feed, source_file, source_file_sha256, sent_at ORDER BY recorded_at DESC) = 1""",
    "record": """
        SELECT r.* FROM lake.raw.record AS r SEMI JOIN current.file AS f
        ON f.site_id = r.site_id AND f.feed = r.feed AND f.source_file = r.source_file
        AND f.source_file_sha256 = r.source_file_sha256 AND f.sent_at = r.sent_at AND f.recorded_at = r.recorded_at""",
    # What is still true of its record, and of that what nobody has sent a newer version of.
    "held": """
        SELECT q.* FROM lake.quality.quarantine AS q
        ANTI JOIN (SELECT * FROM lake.quality.resolution WHERE resolution <> 'replaced') AS r
        ON r.site_id = q.site_id AND r.feed = q.feed AND r.record_id = q.record_id AND r.reason_code = q.reason_code
        AND r.field_name = q.field_name AND r.quarantined_at = q.recorded_at""",
    "quarantine": """
        SELECT q.* FROM current.held AS q ANTI JOIN lake.quality.resolution AS r
        ON r.site_id = q.site_id AND r.feed = q.feed AND r.record_id = q.record_id AND r.reason_code = q.reason_code
        AND r.field_name = q.field_name AND r.quarantined_at = q.recorded_at""",
}


class LakeError(RuntimeError):
    """The lake cannot be opened or written; the sentence says what to do."""


def attach(
    settings: Settings, *, read_only: bool = False, snapshot: int | None = None, migrating: bool = False
) -> duckdb.DuckDBPyConnection:
    """A new in-memory connection with the lake attached as `lake` and its views in schema `current`.

    With `snapshot` the lake is read-only and as it was at that lake snapshot, whatever is committed meanwhile. A new
    lake is created, in an older one only a migration may work. Raises LakeError where the catalog was written by
    another version.
    """
    con = extensions.database()
    read_only = read_only or snapshot is not None
    try:
        # Two that begin the same new lake at once would both create it.
        with nullcontext() if read_only else alone(settings, "attach"):
            _attach(con, settings, read_only=read_only, snapshot=snapshot)
            _prepare(con, settings, read_only=read_only, migrating=migrating)
    except BaseException:
        con.close()
        raise
    return con


def as_known(settings: Settings, at: datetime) -> duckdb.DuckDBPyConnection:
    """A new connection on which `lake` is what was known at `at`: rows recorded later are not there.

    Marts built on it say what they said then. Read-only. Raises LakeError as `attach` does, ValueError for a time
    without a zone.
    """
    if at.tzinfo is None:
        raise ValueError("as_known needs a time with its zone, e.g. 2026-03-05T00:00:00Z")
    con = extensions.database()
    try:
        _attach(con, settings, read_only=True, snapshot=None, alias="whole")
        con.execute("ATTACH ':memory:' AS lake")
        moment = f"TIMESTAMPTZ {quoted(at.astimezone(UTC).isoformat())}"
        there = _tables(con, "whole")
        for table in dictionary().tables.values():
            con.execute(f"CREATE SCHEMA IF NOT EXISTS lake.{table.layer}")
            if table.qualified not in there:
                # A table of this version that nothing was written to yet.
                con.execute(ddl(dictionary(), table, "lake")[0])
                continue
            where = f"WHERE recorded_at <= {moment}" if "recorded_at" in table.columns else ""
            kind = "TABLE" if table.layer == "quality" else "VIEW"
            con.execute(
                f"CREATE {kind} lake.{table.qualified} AS SELECT * FROM whole.{table.qualified} {where}"
            )
        create_views(con)
    except BaseException:
        con.close()
        raise
    return con


def _attach(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    *,
    read_only: bool,
    snapshot: int | None,
    alias: str = "lake",
) -> None:
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET preserve_insertion_order = true")
    # What does not fit into memory is spilled inside the home, not into the folder that the command was started in.
    con.execute(f"SET temp_directory = {quoted(str(settings.home_path / 'tmp'))}")
    extensions.load(con, "ducklake")
    folder = settings.home_path / "lake"
    data = settings.lake_data or str(folder / "data")
    con.execute(f"SET VARIABLE lake_data = {quoted(data.rstrip('/'))}")
    # OVERRIDE_DATA_PATH: a copied home otherwise reads the old folder. Inlined rows would be in no Parquet file.
    options = [f"DATA_PATH {quoted(data)}", "OVERRIDE_DATA_PATH true", "DATA_INLINING_ROW_LIMIT 0"]
    if settings.catalog:
        extensions.load(con, "postgres_scanner")
        target = settings.catalog
    else:
        extensions.load(con, "sqlite_scanner")
        folder.mkdir(parents=True, exist_ok=True)
        target = f"sqlite:{folder / 'catalog.sqlite'}"
        # Without a write-ahead log and a busy timeout a reader waits seconds beside writers.
        options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 10000"]
    if object_storage.lies_there(data):
        extensions.load(con, "httpfs")
        object_storage.give_keys(con, settings)
    if read_only:
        options.append("READ_ONLY")
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {snapshot}")
    con.execute(f"ATTACH {quoted('ducklake:' + target)} AS {alias} ({', '.join(options)})")


def attach_as(con: duckdb.DuckDBPyConnection, settings: Settings, alias: str, *, snapshot: int) -> None:
    """Attach another home's lake, read-only and as it was at one of its snapshots, to a connection that has one."""
    _attach(con, settings, read_only=True, snapshot=snapshot, alias=alias)


def _prepare(con: duckdb.DuckDBPyConnection, settings: Settings, *, read_only: bool, migrating: bool) -> None:
    version = format_version(con)
    if version is None and not read_only:
        _create(con)
    elif version is not None and version > FORMAT_VERSION:
        raise LakeError(
            f"The lake has format version {version}, this cellfleet knows {FORMAT_VERSION}. "
            "Install the newer cellfleet."
        )
    elif version is not None and version < FORMAT_VERSION and not migrating:
        raise LakeError(
            f"The lake has format version {version}, this cellfleet needs {FORMAT_VERSION}. "
            "Run `cellfleet migrate` to see what it takes."
        )
    if version is not None and not read_only and (gone := lake_files.vanished(con, settings)) is not None:
        raise LakeError(
            f"{gone} is not there, though the catalog names it: is its disk mounted? Nothing was written; mount it, "
            "then run again."
        )
    if migrating and version != FORMAT_VERSION:
        return
    if version is not None and not read_only:
        _add_missing(con)
    create_views(con)


def create_views(con: duckdb.DuckDBPyConnection) -> None:
    """`current.<table>` and `live.<table>` of core; `current.file`, `.record` and `.quarantine` of the evidence."""
    # One transaction: each view by itself would ask the catalog for its state again.
    con.execute("BEGIN")
    con.execute("CREATE SCHEMA IF NOT EXISTS current")
    con.execute("CREATE SCHEMA IF NOT EXISTS live")
    for table in dictionary().tables.values():
        if table.layer == "core":
            con.execute(f"CREATE OR REPLACE VIEW live.{table.name} AS {live_sql(table)}")
            con.execute(f"CREATE OR REPLACE VIEW current.{table.name} AS {current_sql(table)}")
    for name, sql in EVIDENCE.items():
        con.execute(f"CREATE OR REPLACE VIEW current.{name} AS {sql}")
    con.execute("COMMIT")


def _create(con: duckdb.DuckDBPyConnection) -> None:
    """Schemas, tables and format version of a new lake, in one transaction."""
    d = dictionary()

    def create() -> None:
        for schema in ("raw", "core", "quality", "ops"):
            con.execute(f"CREATE SCHEMA IF NOT EXISTS lake.{schema}")
        con.execute("CREATE TABLE IF NOT EXISTS lake.ops.format (version BIGINT, applied_at TIMESTAMPTZ)")
        con.execute("INSERT INTO lake.ops.format VALUES (?, now())", [FORMAT_VERSION])
        for table in d.tables.values():
            for statement in ddl(d, table, "lake"):
                con.execute(statement)
            lake_layout.declare(con, table)

    commit(con, create, "cellfleet", f"create format version {FORMAT_VERSION}")
    _lay_out(con)
    lake_layout.count_empty(con)


def _add_missing(con: duckdb.DuckDBPyConnection) -> None:
    """Tables that a later release of the same format added: new tables alone need no migration."""
    d = dictionary()
    found = _tables(con, "lake")
    missing = [t for t in d.tables.values() if t.qualified not in found]

    def create() -> None:
        for table in missing:
            for statement in ddl(d, table, "lake"):
                con.execute(statement)
            lake_layout.declare(con, table)

    if missing:
        commit(con, create, "cellfleet", f"add tables {', '.join(t.qualified for t in missing)}")
        lake_layout.count_empty(con)
    _lay_out(con)


def _lay_out(con: duckdb.DuckDBPyConnection) -> None:
    for table in dictionary().tables.values():
        lake_layout.lay_out(con, table)


def latest_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """Number of the lake's newest snapshot: what a publication is pinned to."""
    row = con.execute("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')").fetchone()
    assert row is not None
    return int(row[0])


def format_version(con: duckdb.DuckDBPyConnection) -> int | None:
    """Format version of the attached lake; None where it is new."""
    if "ops.format" not in _tables(con, "lake"):
        return None
    row = con.execute("SELECT max(version) FROM lake.ops.format").fetchone()
    return int(row[0]) if row and row[0] is not None else None


def _tables(con: duckdb.DuckDBPyConnection, alias: str) -> frozenset[str]:
    """Committed tables of an attached lake, from its catalog: `duckdb_tables()` also counts the rows of each, which
    takes longer than all else of opening a lake."""
    catalog = f"__ducklake_metadata_{alias}"
    rows = con.execute(
        f"""SELECT s.schema_name || '.' || t.table_name FROM {catalog}.ducklake_table AS t
            JOIN (FROM {catalog}.ducklake_schema WHERE end_snapshot IS NULL) AS s USING (schema_id)
            WHERE t.end_snapshot IS NULL"""
    ).fetchall()
    return frozenset(name for (name,) in rows)


def columns_of(con: duckdb.DuckDBPyConnection, table: str) -> tuple[str, ...]:
    """Columns of a table or view of any attached catalog (`lake.quality.signal_act`); none where it is not there."""
    try:
        return tuple(row[0] for row in con.execute(f"DESCRIBE {table}").fetchall())
    except duckdb.CatalogException:
        return ()


def newest_first(table: Table) -> str:
    """ORDER BY terms that put the version in force first.

    The source's stamp decides, then when it was sent, then when we knew; the last terms only make ties definite.
    """
    version = "" if table.volume == "large" else "source_version DESC NULLS LAST, "
    return f"{version}sent_at DESC, recorded_at DESC, source_row DESC, source_file_sha256 DESC"


def live_sql(table: Table, source: str | None = None, withdrawal: str = "lake.quality.withdrawal") -> str:
    """SQL of a core table's rows that stand: all versions, less those that a later withdrawal takes back."""
    identity = "source_file_sha256" if table.volume == "large" else "record_id"
    return (
        f"SELECT t.* FROM {source or 'lake.' + table.qualified} AS t LEFT JOIN ("
        f"SELECT site_id, {identity}, max(recorded_at) AS gone_at FROM {withdrawal} "
        f"WHERE table_name = {quoted(table.name)} GROUP BY ALL) AS w "
        f"ON w.site_id = t.site_id AND w.{identity} = t.{identity} "
        "WHERE w.gone_at IS NULL OR w.gone_at <= t.recorded_at"
    )


def withdrawn(con: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Core tables of which any row was ever taken back; asked before the dear views `live` and `current` are used."""
    # Without a filter: to choose the files by one costs more than to read them, which are few and mostly none.
    rows = con.execute("SELECT DISTINCT table_name FROM lake.quality.withdrawal").fetchall()
    return frozenset(name for (name,) in rows)


def standing(table: Table, taken_back: frozenset[str]) -> str:
    """Relation of a core table's rows that stand: the table itself where nothing of it was taken back."""
    return f"live.{table.name}" if table.name in taken_back else f"lake.{table.qualified}"


def repeats(con: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Whether a large core table may hold a key more than once; asked once while its files are the same.

    By hashes of eight bytes: a key by chance the same as another costs the slower way, never a wrong answer.
    """
    files, name = _files_of(con, table), f"repeats_{table.name}"
    known = con.execute(f"SELECT getvariable({quoted(name)})").fetchone()
    if files and known and known[0] in (f"{files} true", f"{files} false"):
        return str(known[0]).endswith("true")
    row = con.execute(
        f"SELECT count(*) > count(DISTINCT hash({', '.join(table.key)})) FROM lake.{table.qualified}"
    ).fetchone()
    told = bool(row and row[0])
    con.execute(f"SET VARIABLE {name} = {quoted(f'{files} {str(told).lower()}')}")
    return told


def _files_of(con: duckdb.DuckDBPyConnection, table: Table) -> str:
    """The state of a table's files as one word; empty where `lake` is a view of the lake as it was known."""
    lake = con.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = 'lake' AND type = 'ducklake'")
    if lake.fetchone() is None:
        return ""
    row = con.execute(
        "SELECT concat_ws('-', file_count, file_size_bytes, delete_file_count, delete_file_size_bytes) "
        "FROM ducklake_table_info('lake') WHERE table_name = ?",
        [table.name],
    ).fetchone()
    return str(row[0]) if row else ""


def last_sql(
    table: Table,
    source: str | None = None,
    where: str = "true",
    withdrawal: str = "lake.quality.withdrawal",
) -> str:
    """SQL of a core table's last rows by key, deletions among them, of those that stand and satisfy `where`."""
    return last_of(table, f"(SELECT * FROM ({live_sql(table, source, withdrawal)}) WHERE {where})")


def last_of(table: Table, rows: str) -> str:
    """SQL of the last rows by key of a relation with the table's columns."""
    key = ", ".join(table.key)
    return (
        f"SELECT * FROM {rows} "
        f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {newest_first(table)}) = 1"
    )


def current_sql(
    table: Table,
    source: str | None = None,
    where: str = "true",
    withdrawal: str = "lake.quality.withdrawal",
) -> str:
    """SQL of a core table's rows in force: last by key of those that stand and satisfy `where`, and not deleted."""
    return in_force_of(table, last_sql(table, source, where, withdrawal))


def in_force_of(table: Table, last: str) -> str:
    """SQL of the rows in force, of SQL of the last rows by key."""
    if table.volume == "large":  # readings are never deleted
        return last
    return f"SELECT * FROM ({last}) WHERE reason IS DISTINCT FROM {quoted(DELETED)}"


def as_of_sql(table: Table, at: datetime, source: str | None = None) -> str:
    """SQL of a core table's rows as they were known at `at`."""
    if at.tzinfo is None:
        raise ValueError("as_of needs a time with its zone, e.g. 2026-03-05T00:00:00Z")
    known = f"recorded_at <= TIMESTAMPTZ {quoted(at.astimezone(UTC).isoformat())}"
    return current_sql(table, source, known, f"(SELECT * FROM lake.quality.withdrawal WHERE {known})")


def commit(con: duckdb.DuckDBPyConnection, write: Callable[[], None], author: str, message: str) -> None:
    """Run `write` in one transaction with a commit message; retried whole when another writer held the catalog.

    `write` may therefore run more than once, each time over the same lake state. The transaction is all or nothing
    also under SIGKILL. Any other error rolls back and is raised.
    """
    for attempt in range(ATTEMPTS):
        try:
            con.execute("BEGIN")
            write()
            reached("in_commit")
            con.execute("CALL lake.set_commit_message(?, ?)", [author, message])
            con.execute("COMMIT")
        except duckdb.Error as error:
            roll_back(con)
            if attempt == ATTEMPTS - 1 or not _transient(error):
                raise
            time.sleep((2**attempt) * 0.05 * (1 + random.random()))  # noqa: S311 - jitter, not a secret
        except BaseException:
            roll_back(con)
            raise
        else:
            if (shared := _of(con)) is not None:
                shared.commits += 1
            reached("after_commit")
            return


def _transient(error: duckdb.Error) -> bool:
    text = str(error).lower()
    return any(words in text for words in TRANSIENT)


def roll_back(con: duckdb.DuckDBPyConnection) -> None:
    """End a transaction that failed, so that the error that ended it is the one that is told."""
    # None is open any more where a failed COMMIT ended it, or where the catalog's server went away.
    with suppress(duckdb.Error):
        con.execute("ROLLBACK")


def set_recorded_at(con: duckdb.DuckDBPyConnection) -> None:
    """Set the variable `recorded_at` of what is promoted next: now, but later than every commit before it.

    Where the machine's clock was set back, times go on from the last commit, so that what is known last also counts
    as last; `doctor` tells of such a clock.
    """
    con.execute("""
        SET VARIABLE recorded_at = greatest(now(), (
          SELECT max(snapshot_time) + to_microseconds(max(snapshot_id) + 1) FROM ducklake_snapshots('lake')))""")


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
    """Hash of a table's rows in the lake: how many, and what they say.

    The order of rows does not matter, a row that is there twice does. Columns that differ from run to run
    (`recorded_at`, `run_id`) are left out.
    """
    columns = ", ".join(f'"{name}"' for name in table.columns if name not in NOT_CONTENT and name in d.fields)
    row = con.execute(f"""
        SELECT count(*), coalesce(sum(h::HUGEINT % 1000000000000000003), 0), coalesce(bit_xor(h), 0)
        FROM (SELECT hash({columns}) AS h FROM lake.{table.qualified})
        """).fetchone()
    assert row is not None
    return f"{row[0]}:{row[1]:x}:{row[2]:x}"


@dataclass
class _Shared:
    """This process's connection to a lake: how many use it now, one inside another, and what it committed."""

    con: duckdb.DuckDBPyConnection
    users: int = 0
    commits: int = 0


_shared: dict[tuple[int, str, bool], _Shared] = {}


@contextmanager
def opened(
    settings: Settings, *, read_only: bool = False, cores: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """This process's connection to the lake; attached once, since attaching costs as much as a small feed.

    Queries run on so many `cores`, on all where it is not said. Tables made in its memory database are the caller's to
    replace. After an error the connection is dropped, so that nothing half-done is met by the next caller; so it is
    after many commits, each of which leaves half a megabyte with it.
    """
    key = (os.getpid(), f"{settings.home_path}|{settings.catalog}|{settings.lake_data}", read_only)
    shared = _shared.get(key)
    if shared is not None and not shared.users and shared.commits >= COMMITS_HELD:
        _shared.pop(key).con.close()
        shared = None
    if shared is None or not _alive(shared.con, settings):
        shared = _shared[key] = _Shared(attach(settings, read_only=read_only))
    con = shared.con
    shared.users += 1
    try:
        if object_storage.lies_there(settings.lake_data):
            # Keys of a machine's role expire within hours; a worker lives for weeks.
            object_storage.give_keys(con, settings)
        _use(con, cores or os.cpu_count() or 1)
        yield con
    except BaseException:
        _shared.pop(key, None)
        con.close()
        raise
    finally:
        shared.users -= 1


def _of(con: duckdb.DuckDBPyConnection) -> _Shared | None:
    return next((s for s in _shared.values() if s.con is con), None)


def _use(con: duckdb.DuckDBPyConnection, cores: int) -> None:
    # Only where it changes: threads are ended and begun anew.
    if con.execute("SELECT current_setting('threads')").fetchone() != (cores,):
        con.execute(f"SET threads = {cores}")


def _alive(con: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether the lake that the connection is attached to still lies there (a home may have been removed)."""
    if not settings.catalog and not (settings.home_path / "lake" / "catalog.sqlite").exists():
        con.close()
        return False
    return True
