"""The published snapshot: one native, self-contained DuckDB file that readers open and nobody writes again.

`published/fleet-<n>.duckdb` is built aside, made durable, renamed; `published/fleet.duckdb` is a symlink switched by
rename, so a reader sees the old or the new snapshot, never half of one, and numbers never go back.
Does not belong here: what the marts say (`warehouse/marts`), who may see what (`dashboards/security`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import comments, described, quoted
from warehouse.faults import reached
from warehouse.lake import current_sql, repeats, roll_back, withdrawn
from warehouse.settings import Settings
from warehouse.vault import sha256_of

NAME = re.compile(r"fleet-(\d+)\.duckdb")
CURRENT = "fleet.duckdb"


@dataclass(frozen=True)
class Snapshot:
    """One published snapshot."""

    number: int
    path: Path
    rows: dict[str, int]


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
    build_marts: Callable[[str, int, Path | None], dict[str, int]],
) -> Snapshot:
    """Build and publish the next snapshot of the attached lake.

    `facts` go into `meta.snapshot`; `build_marts(catalog, number, previous)` makes the marts in `catalog.mart`.
    A crash at any point leaves the previous snapshot in place and at most a `.part` file, removed by the next publish.
    """
    folder = settings.published_path
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.part*"):
        left.unlink()
    number = (numbers(folder) or [0])[-1] + 1
    part = folder / f"{file_name(number)}.part"
    # Without a log to recover from: what a crash leaves is thrown away, so to write everything twice is of no use.
    con.execute(f"ATTACH {quoted(str(part))} AS snap (RECOVERY_MODE no_wal_writes)")
    try:
        # One transaction: each of the hundreds of comments would otherwise be made safe on disk by itself.
        con.execute("BEGIN")
        try:
            rows = _fill(con, number, facts)
        except BaseException:
            roll_back(con)
            raise
        con.execute("COMMIT")
        previous = newest(folder)
        # What is taken over from a snapshot that was damaged since would be wrong too: then all is made anew.
        rows |= build_marts(
            "snap", number, previous if previous and is_sound(previous) is not False else None
        )
        con.execute("CHECKPOINT snap")
        reached("in_publish")
    finally:
        con.execute("DETACH snap")
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
    return Snapshot(number, final, rows)


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


def _fill(con: duckdb.DuckDBPyConnection, number: int, facts: dict[str, str]) -> dict[str, int]:
    """Core tables in force, their history, `as_of_<table>(ts)`, evidence, and `meta`: the dictionary itself."""
    d = dictionary()
    rows: dict[str, int] = {}
    for schema in ("core", "history", "raw", "quality", "mart", "meta"):
        con.execute(f"CREATE SCHEMA snap.{schema}")
    for name in ("quarantine", "resolution", "withdrawal", "finding", "plan_lock"):
        con.execute(f"CREATE TABLE snap.quality.{name} AS SELECT * FROM lake.quality.{name} ORDER BY ALL")
    for table in d.tables.values():
        if table.layer == "core":
            rows[table.qualified] = _core(con, table)
    con.execute("CREATE TABLE snap.raw.file AS SELECT * FROM current.file ORDER BY ALL")
    con.execute(
        "CREATE TABLE snap.quality.accounting AS SELECT * FROM lake.quality.accounting "
        "QUALIFY row_number() OVER (PARTITION BY site_id, feed ORDER BY recorded_at DESC) = 1 ORDER BY site_id, feed"
    )
    _describe(con, number, facts)
    return rows


def _core(con: duckdb.DuckDBPyConnection, table: Table) -> int:
    key = ", ".join(table.key)
    if table.volume == "large":
        # Readings are almost never corrected: only keys that occur twice are ranked. Each file of the lake is sorted as
        # readings are read back, and the copy keeps that order: to sort it all again would cost most of publishing.
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
        con.execute(f"CREATE TABLE snap.core.{table.name} AS SELECT * FROM {source}")
    else:
        con.execute(
            f"CREATE TABLE snap.history.{table.name} AS SELECT * FROM lake.core.{table.name} "
            f"ORDER BY {key}, recorded_at, source_row"
        )
        # From the copy just made: each reading of a lake table costs tens of milliseconds, an empty one most.
        in_force = current_sql(table, f"snap.history.{table.name}")
        con.execute(f"CREATE TABLE snap.core.{table.name} AS {in_force} ORDER BY {key}")
        # A macro's body is bound in the database it is made in, so that the file stands alone.
        con.execute("USE snap")
        con.execute(f"""
            CREATE MACRO as_of_{table.name}(known_at) AS TABLE
            {
            current_sql(
                table,
                f"history.{table.name}",
                "recorded_at <= known_at",
                "(SELECT * FROM quality.withdrawal WHERE recorded_at <= known_at)",
            )
        }""")
        con.execute("USE memory")
    for statement in comments(dictionary(), table, f"snap.core.{table.name}"):
        con.execute(statement)
    count = con.execute(f"SELECT count(*) FROM snap.core.{table.name}").fetchone()
    return int(count[0]) if count else 0


def _describe(con: duckdb.DuckDBPyConnection, number: int, facts: dict[str, str]) -> None:
    d = dictionary()
    con.execute(
        "CREATE TABLE snap.meta.dictionary (field VARCHAR, type VARCHAR, unit VARCHAR, digits BIGINT, "
        "privacy VARCHAR, vocabulary VARCHAR, scale VARCHAR, description VARCHAR)"
    )
    con.executemany(
        "INSERT INTO snap.meta.dictionary VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            [f.name, f.type, f.unit, f.digits, f.privacy, f.vocabulary, f.scale, described(f)]
            for f in d.fields.values()
        ],
    )
    con.execute("CREATE TABLE snap.meta.tables (name VARCHAR, row_is VARCHAR, key VARCHAR)")
    con.executemany(
        "INSERT INTO snap.meta.tables VALUES (?, ?, ?)",
        [[t.qualified, t.row, ", ".join(t.key)] for t in d.tables.values()],
    )
    con.execute("CREATE TABLE snap.meta.snapshot (fact VARCHAR, value VARCHAR)")
    latest = con.execute("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')").fetchone()
    told = {"number": str(number), "lake_snapshot": str(latest[0] if latest else ""), **facts}
    con.executemany("INSERT INTO snap.meta.snapshot VALUES (?, ?)", [[k, v] for k, v in told.items()])
