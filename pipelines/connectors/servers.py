"""MySQL, MariaDB and SQL Server as streams of rows, each through its driver of Python's database interface.

Belongs here: how they are connected to, read only, in one snapshot; what their errors mean. Rows are printed as
`databases` prints those of SQLite. SQL Server needs the extra `sqlserver` and was not run: no server was at hand.
Does not belong here: which rows are new (`relational.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pipelines.connectors.databases import BATCH, SECONDS, Database, TextRows, quoted
from pipelines.failures import PermanentFailure, TransientFailure

# Seconds that a statement may take before its first row comes.
PATIENCE = 600
# Errors that trying again cannot help, though their drivers call them operational.
DENIED = frozenset({1044, 1045, 1049, 1130, 1142, 1143, 1227, 1251, 1698, 4060, 18452, 18456, 3952})


@dataclass(frozen=True)
class _Kind:
    """A make of server: its driver, how it is reached, its words for a snapshot and for the time in UTC."""

    name: str
    port: int
    connect: Callable[[SplitResult, int], Any]
    snapshot: tuple[str, ...]
    now: str
    streaming: Callable[[Any], Any]  # a cursor that keeps the rows on the server
    moments: frozenset[int]  # types of columns whose times are UTC in this session


def _mysql(url: SplitResult, port: int) -> Any:
    import pymysql

    return pymysql.connect(
        host=url.hostname or "127.0.0.1", port=port, user=unquote(url.username or ""),
        password=unquote(url.password or ""), database=unquote(url.path.strip("/")), charset="utf8mb4",
        connect_timeout=SECONDS, read_timeout=PATIENCE, write_timeout=SECONDS, autocommit=True,
    )  # fmt: skip


def _unbuffered(con: Any) -> Any:
    from pymysql.cursors import SSCursor

    return con.cursor(SSCursor)


def _mssql(url: SplitResult, port: int) -> Any:
    try:
        import pymssql
    except ImportError as missing:
        raise PermanentFailure(
            "SQL Server needs the driver pymssql.", "Install the project with its extra `sqlserver`."
        ) from missing
    return pymssql.connect(
        server=url.hostname or "127.0.0.1", port=str(port), user=unquote(url.username or ""),
        password=unquote(url.password or ""), database=unquote(url.path.strip("/")), charset="UTF-8",
        login_timeout=SECONDS, timeout=PATIENCE, autocommit=True,
    )  # fmt: skip


_MYSQL = _Kind(
    "MySQL", 3306, _mysql,
    (
        "SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+00:00'",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
    "SELECT utc_timestamp(6)", _unbuffered, frozenset({7}),
)  # fmt: skip
_MSSQL = _Kind(
    "SQL Server", 1433, _mssql,
    # The database must allow it: ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON.
    ("SET TRANSACTION ISOLATION LEVEL SNAPSHOT", "BEGIN TRANSACTION"),
    "SELECT sysutcdatetime()", lambda con: con.cursor(), frozenset(),
)  # fmt: skip
_KINDS = {"mysql": _MYSQL, "mariadb": _MYSQL, "mssql": _MSSQL, "sqlserver": _MSSQL}


def is_ours(url: str) -> bool:
    """Whether a URL names a server that is spoken to here."""
    return urlsplit(url).scheme in _KINDS


class _Server(TextRows):
    def __init__(self, con: Any, kind: _Kind, table: str) -> None:
        self.con, self.kind, self.table = con, kind, table
        with closing(con.cursor()) as cursor:
            for statement in kind.snapshot:
                cursor.execute(statement)
            cursor.execute(kind.now)
            self.now: datetime = cursor.fetchone()[0].replace(tzinfo=UTC)
            cursor.execute(f"SELECT * FROM {quoted(table)} WHERE 1 = 0")
            self.columns = [column[0] for column in cursor.description]
            types = [column[1] for column in cursor.description]
        self.utc = {n for n, code in enumerate(types) if code in kind.moments}

    def top(self, column: str) -> str | None:
        """The highest stamp; what `now` is beyond is for the caller to see, as zones are not known here."""
        with closing(self.con.cursor()) as cursor:
            cursor.execute(f"SELECT max({quoted(column)}) FROM {quoted(self.table)}")
            (top,) = cursor.fetchone()
        if isinstance(top, datetime) and self.columns.index(column) in self.utc:
            top = min(top.replace(tzinfo=UTC), self.now)
        return None if top is None else str(_printed(top))

    def fetched(self, query: str, stamps: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
        # The session's times are UTC, and MariaDB takes none with an offset.
        given = [stamp.removesuffix("+00:00") for stamp in stamps]
        cursor = self.kind.streaming(self.con)
        cursor.execute(query.replace("%", "%%").replace("?", "%s") if given else query, tuple(given) or None)
        whole = query.startswith("SELECT *")
        while rows := cursor.fetchmany(BATCH):
            yield [self._row(row) if whole else tuple(map(_printed, row)) for row in rows]

    def _row(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            _printed(v.replace(tzinfo=UTC) if n in self.utc and isinstance(v, datetime) else v)
            for n, v in enumerate(row)
        )


def _printed(value: Any) -> Any:
    """A value as text where JSON has none of its kind: times, decimals as the server has them, bytes."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)


@contextmanager
def server(url: str, variable: str, table: str) -> Iterator[Database]:
    """The table, in a snapshot that lasts as long as the block. Raises PermanentFailure or TransientFailure."""
    parts = urlsplit(url)
    kind = _KINDS[parts.scheme]
    where = f"{kind.name} ({variable})"
    con = None
    try:
        con = kind.connect(parts, parts.port or kind.port)
        yield _Server(con, kind, table)
    except (PermanentFailure, TransientFailure):
        raise
    except Exception as error:
        if (failure := _failure(where, error)) is None:
            raise
        raise failure from error
    finally:
        if con is not None:
            _forget_rows(con)
            con.close()


def _forget_rows(con: Any) -> None:
    """What was not fetched of a result is not waited for: PyMySQL would, of a line that is cut."""
    result = getattr(con, "_result", None)
    if result is not None:
        result.unbuffered_active = False


def _failure(where: str, error: Exception) -> PermanentFailure | TransientFailure | None:
    """What a driver's error means: PEP 249 names its classes alike in each. None: it is no driver's."""
    names = {base.__name__ for base in type(error).__mro__}
    if "Error" not in names and not isinstance(error, OSError):
        return None
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    said = str(error.args[-1] if error.args else error).strip().splitlines()[0].rstrip(".")
    lost = isinstance(error, OSError) or names & {"OperationalError", "InterfaceError"}
    if lost and code not in DENIED:
        return TransientFailure(f"{where}: {said}.", "It is tried again.")
    return PermanentFailure(
        f"{where}: {said}.", "Check the URL, the account's rights, `query_table` and `modified`."
    )
