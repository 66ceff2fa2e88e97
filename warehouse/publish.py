"""The published snapshot: one native, self-contained DuckDB file that readers open and nobody writes again.

`published/fleet-<n>.duckdb` is built aside, made durable, renamed; `published/fleet.duckdb` is a symlink switched by
rename, so a reader sees the old or the new snapshot, never half of one, and numbers never go back.
It begins as a copy of the snapshot before, where that is sound and was made by the same code: tables that nothing was
written to since stay as they are, readings are added to, all else is replaced. What stays is what would have been made
anew; where that is not certain, all is.

Does not belong here: what the marts say (`warehouse/marts`), who may see what (`dashboards/security`).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from warehouse import lake_readings
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import comments, described, quoted
from warehouse.faults import reached
from warehouse.lake import current_sql, live_sql, repeats, roll_back, withdrawn
from warehouse.lake_changes import State, added_sql, state, written_since
from warehouse.made_by import code
from warehouse.settings import Settings
from warehouse.vault import sha256_of

NAME = re.compile(r"fleet-(\d+)\.duckdb")
CURRENT = "fleet.duckdb"
# Temporary table of the batches whose readings changed since the snapshot before.
TOUCHED = "touched_batch"
BuildMarts = Callable[[str, int, Path | None, str | None], dict[str, int]]


@dataclass(frozen=True)
class Earlier:
    """The snapshot that the next one begins as a copy of: its state of the lake, the tables written to since, and those
    that rows were taken back of."""

    state: State
    written: frozenset[str]
    taken_back: frozenset[str]


@dataclass(frozen=True)
class Snapshot:
    """One published snapshot: how many rows each table has, which core tables were copied from the lake whole, and of
    how many batches readings were rolled up (None: of all)."""

    number: int
    path: Path
    rows: dict[str, int]
    copied: frozenset[str] = frozenset()
    rolled_up: int | None = None


def numbers(folder: Path) -> list[int]:
    """Numbers of the snapshots in the folder, oldest first."""
    found = (NAME.fullmatch(p.name) for p in folder.glob("fleet-*.duckdb"))
    return sorted(int(m.group(1)) for m in found if m)


def file_name(number: int) -> str:
    """Name of a snapshot's file."""
    return f"fleet-{number}.duckdb"


def newest(folder: Path) -> Path | None:
    """The snapshot that readers see, as its real path; None before the first."""
    link = folder / CURRENT
    return link.resolve() if link.exists() else None


def publish(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    facts: dict[str, str],
    build_marts: BuildMarts,
) -> Snapshot:
    """Build and publish the next snapshot of the attached lake.

    `facts` go into `meta.snapshot`; `build_marts(catalog, number, previous, touched)` makes the marts in
    `catalog.mart`. What is there of marts then is of the snapshot before: `touched` names the table of the batches
    whose readings changed since, and is None where nothing of it may be relied on.
    A crash at any point leaves the previous snapshot in place and at most a `.part` file, removed by the next publish.
    """
    folder = settings.published_path
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.part*"):
        left.unlink()
    number = (numbers(folder) or [0])[-1] + 1
    part = folder / f"{file_name(number)}.part"
    previous = newest(folder)
    if previous is not None and is_sound(previous) is False:
        previous = None  # What is taken over from one that was damaged since would be wrong too.
    try:
        # One transaction: each of the hundreds of comments would otherwise be made safe on disk by itself.
        con.execute("BEGIN")
        try:
            readings = lake_readings.where_they_lie(con, settings)
            facts = {**facts, lake_readings.FACT: readings}
            earlier = None if previous is None else _earlier(con, previous, readings)
            if previous is not None and earlier is not None:
                shutil.copyfile(previous, part)
            # Without a log to recover from: what a crash leaves is thrown away, so to write all twice is of no use.
            # Written out once, at the end: after each commit what is there would be gone through again.
            con.execute("SET checkpoint_threshold = '1TB'")
            con.execute(f"ATTACH {quoted(str(part))} AS snap (RECOVERY_MODE no_wal_writes)")
            copied, touched = _fill(con, number, facts, earlier)
        except BaseException:
            roll_back(con)
            raise
        con.execute("COMMIT")
        rows = _counted(con)
        rolled_up = None if touched is None else con.execute(f"SELECT * FROM {touched}").fetchall()
        rows |= build_marts("snap", number, previous, touched)
        con.execute("CHECKPOINT snap")
        reached("in_publish")
    finally:
        con.execute("DETACH DATABASE IF EXISTS snap")
    with part.open("rb") as written:
        os.fsync(written.fileno())
    final = folder / file_name(number)
    hash_beside(final).write_text(sha256_of(part) + "\n", encoding="ascii")
    part.rename(final)
    switch(folder, final)
    reached("after_publish")
    for old in numbers(folder)[: -max(int(settings.snapshots_kept), 1)]:
        (folder / file_name(old)).unlink()
        hash_beside(folder / file_name(old)).unlink(missing_ok=True)
    return Snapshot(number, final, rows, copied, None if rolled_up is None else len(rolled_up))


def is_sound(snapshot: Path) -> bool | None:
    """Whether a published snapshot still has the bytes it was published with; None where no hash lies beside it."""
    try:
        wanted = hash_beside(snapshot).read_text("ascii").strip()
    except FileNotFoundError:
        return None
    return sha256_of(snapshot) == wanted


def hash_beside(snapshot: Path) -> Path:
    """The file with a snapshot's SHA-256."""
    return snapshot.with_suffix(".sha256")


def switch(folder: Path, final: Path) -> None:
    """Let readers see another snapshot of the folder, from one moment to the next."""
    link = folder / f"{CURRENT}.part"
    link.unlink(missing_ok=True)
    link.symlink_to(final.name)
    link.replace(folder / CURRENT)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _earlier(con: duckdb.DuckDBPyConnection, previous: Path, readings: str) -> Earlier | None:
    """What the snapshot before is worth today; None where other code made it, readings lie elsewhere now, or what was
    done since is not known."""
    with closing(duckdb.connect(str(previous), read_only=True)) as file:
        told = dict(file.execute("SELECT fact, value FROM meta.snapshot").fetchall())
    if (told.get("made_by"), told.get(lake_readings.FACT)) != (code(), readings):
        return None
    at = State(int(told["lake_snapshot"]), datetime.fromisoformat(told["lake_snapshot_at"]))
    written = written_since(con, at)
    if written is None:
        return None
    taken_back: frozenset[str] = frozenset()
    if "withdrawal" in written:
        added = added_sql(con, dictionary().tables["withdrawal"], at)
        taken_back = frozenset(
            n for (n,) in con.execute(f"SELECT DISTINCT table_name FROM ({added})").fetchall()
        )
    return Earlier(at, written, taken_back)


def _fill(
    con: duckdb.DuckDBPyConnection, number: int, facts: dict[str, str], earlier: Earlier | None
) -> tuple[frozenset[str], str | None]:
    """Core tables in force, their history, `as_of_<table>(ts)`, evidence, and `meta`: the dictionary itself.

    Returns the core tables that were copied whole, and the table of touched batches, None where readings were.
    """
    for schema in ("core", "history", "raw", "quality", "mart", "meta"):
        con.execute(f"CREATE SCHEMA IF NOT EXISTS snap.{schema}")
    for name in ("quarantine", "resolution", "withdrawal", "finding", "plan_lock"):
        con.execute(
            f"CREATE OR REPLACE TABLE snap.quality.{name} AS SELECT * FROM lake.quality.{name} ORDER BY ALL"
        )
    copied: set[str] = set()
    touched: str | None = None
    left = facts[lake_readings.FACT] == lake_readings.LEFT
    large = lake_readings.leave if left else _large
    for table in _core():
        if table.volume == "large" and earlier is not None and _added(con, table, earlier, left=left):
            touched = TOUCHED
        elif earlier is None or table.volume == "large" or table.name in earlier.written | earlier.taken_back:
            (large if table.volume == "large" else _small)(con, table)
            copied.add(table.name)
    con.execute("CREATE OR REPLACE TABLE snap.raw.file AS SELECT * FROM current.file ORDER BY ALL")
    con.execute(
        "CREATE OR REPLACE TABLE snap.quality.accounting AS SELECT * FROM lake.quality.accounting "
        "QUALIFY row_number() OVER (PARTITION BY site_id, feed ORDER BY recorded_at DESC) = 1 ORDER BY site_id, feed"
    )
    _describe(con, number, facts)
    return frozenset(copied), touched


def _core() -> list[Table]:
    return [table for table in dictionary().tables.values() if table.layer == "core"]


def _counted(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows of each core table of the snapshot."""
    counts = (f"SELECT {quoted(t.qualified)}, count(*) FROM snap.{t.qualified}" for t in _core())
    return dict(con.execute(" UNION ALL ".join(counts)).fetchall())


def _large(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Copy a large table's rows in force."""
    # Readings are almost never corrected: only keys that occur twice are ranked. Each file of the lake is sorted as
    # readings are read back, and each thread copies whole files: to sort it all again would cost most of publishing.
    key = ", ".join(table.key)
    if table.name in withdrawn(con):
        source = f"({current_sql(table)}) ORDER BY {key}"
    elif repeats(con, table):
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE twice AS SELECT {key} FROM lake.core.{table.name} "
            f"GROUP BY {key} HAVING count(*) > 1"
        )
        later = current_sql(table, where=f"({key}) IN (FROM twice)")
        once = f"SELECT * FROM lake.core.{table.name} WHERE ({key}) NOT IN (FROM twice)"
        source = f"({once} UNION ALL BY NAME {later}) ORDER BY {key}"
    else:
        source = f"lake.core.{table.name}"
    # In which order the files follow one another says nothing; to keep it costs half as much again, and space.
    con.execute(f"SET preserve_insertion_order = {str('ORDER BY' in source).lower()}")
    con.execute(f"CREATE OR REPLACE TABLE snap.core.{table.name} AS SELECT * FROM {source}")
    con.execute("SET preserve_insertion_order = true")
    con.execute(";".join(comments(dictionary(), table, f"snap.core.{table.name}")))


def _added(con: duckdb.DuckDBPyConnection, table: Table, earlier: Earlier, *, left: bool) -> bool:
    """Add a large table's new rows to those of the snapshot before, and note their batches; whether that is enough.

    It is not where a row that was known is taken back, or where a key of those copied is told again: then the newest
    must be picked.
    """
    key = ", ".join(table.key)
    if table.name in earlier.taken_back:
        return False
    con.execute(f"CREATE OR REPLACE TEMP TABLE came_in AS SELECT * FROM lake.core.{table.name} LIMIT 0")
    new = table.name in earlier.written
    if new:
        con.execute(
            f"INSERT INTO came_in BY NAME {live_sql(table, f'({added_sql(con, table, earlier.state)})')}"
        )
    if left:
        # Also where nothing is new: the lake snapshot that the view named is not kept for this one.
        lake_readings.leave_more(con, table)
    elif new and _told_again(con, table):
        return False
    elif new:
        con.execute(f"INSERT INTO snap.core.{table.name} BY NAME SELECT * FROM came_in ORDER BY {key}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE {TOUCHED} AS SELECT DISTINCT site_id, batch_id FROM came_in")
    con.execute("DROP TABLE came_in")
    return True


def _told_again(con: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Whether a key of `came_in` is there twice, or was known before."""
    key = ", ".join(table.key)
    row = con.execute(
        f"SELECT (SELECT count(*) > count(DISTINCT ({key})) FROM came_in) "
        f"OR EXISTS (FROM snap.core.{table.name} SEMI JOIN came_in USING ({key}))"
    ).fetchone()
    return row is None or bool(row[0])


def _small(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Copy a small table: all versions, those in force, and what was known at a time."""
    key = ", ".join(table.key)
    con.execute(
        f"CREATE OR REPLACE TABLE snap.history.{table.name} AS SELECT * FROM lake.core.{table.name} "
        f"ORDER BY {key}, recorded_at, source_row"
    )
    # From the copies just made: each reading of a lake table costs ten milliseconds, of an empty one too.
    in_force = current_sql(table, f"snap.history.{table.name}", withdrawal="snap.quality.withdrawal")
    con.execute(f"CREATE OR REPLACE TABLE snap.core.{table.name} AS {in_force} ORDER BY {key}")
    known = current_sql(
        table,
        f"history.{table.name}",
        "recorded_at <= known_at",
        "(SELECT * FROM quality.withdrawal WHERE recorded_at <= known_at)",
    )
    # A macro's body is bound in the database it is made in, so that the file stands alone.
    con.execute(
        f"USE snap; CREATE OR REPLACE MACRO as_of_{table.name}(known_at) AS TABLE {known}; USE memory"
    )
    con.execute(";".join(comments(dictionary(), table, f"snap.core.{table.name}")))


def _describe(con: duckdb.DuckDBPyConnection, number: int, facts: dict[str, str]) -> None:
    d, at = dictionary(), state(con)
    told = {
        "number": str(number),
        "lake_snapshot": str(at.snapshot),
        "lake_snapshot_at": at.made_at.isoformat(),
        "made_by": code(),
        **facts,
    }
    _table(
        con,
        "dictionary",
        [
            {
                "field": f.name, "type": f.type, "unit": f.unit, "digits": f.digits, "privacy": f.privacy,
                "vocabulary": f.vocabulary, "scale": f.scale, "description": described(f),
            }
            for f in d.fields.values()
        ],
    )  # fmt: skip
    _table(
        con,
        "tables",
        [{"name": t.qualified, "row_is": t.row, "key": ", ".join(t.key)} for t in d.tables.values()],
    )
    _table(con, "snapshot", [{"fact": fact, "value": value} for fact, value in told.items()])


def _table(con: duckdb.DuckDBPyConnection, name: str, rows: list[dict[str, str | int | None]]) -> None:
    """Create `meta.<name>` of these rows."""
    con.register("told_rows", pl.DataFrame(rows, infer_schema_length=None))
    con.execute(f"CREATE OR REPLACE TABLE snap.meta.{name} AS SELECT * FROM told_rows")
    con.unregister("told_rows")
