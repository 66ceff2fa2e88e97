"""Bringing an older lake to this version's format: planned, backed up, applied; a newer lake is refused.

Belongs here: the steps from each format version to the next. They only add: no row of the lake is ever rewritten.
Does not belong here: creating a new lake (`lake.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import SQL_TYPES, ddl
from warehouse.settings import Settings


def _add_what_is_missing(con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables, and add the columns, that the dictionary has and the lake has not."""
    d = dictionary()
    for table in d.tables.values():
        have = lake.columns_of(con, f"lake.{table.qualified}")
        if not have:
            for statement in ddl(d, table, "lake"):
                con.execute(statement)
            continue
        for name in (n for n in table.columns if n not in have):
            kind = SQL_TYPES[d.fields[name].type]
            con.execute(f'ALTER TABLE lake.{table.qualified} ADD COLUMN "{name}" {kind}')


# From version → what it takes to reach the next.
STEPS: dict[int, tuple[str, Callable[[duckdb.DuckDBPyConnection], None]]] = {
    1: (
        "add the tables and columns of the whole model: programs, consent, care, transport, changes, money",
        _add_what_is_missing,
    ),
    2: (
        "add the tables that close quarantine entries and take rows back; older releases would show rows taken back",
        _add_what_is_missing,
    ),
}


def migrate(chosen: Settings, *, apply: bool) -> Iterator[str]:
    """Lines that say what is or would be done. Raises LakeError for a lake of a newer version."""
    with closing(lake.attach(chosen, migrating=True)) as con:
        have = lake.format_version(con) or lake.FORMAT_VERSION
    steps = [(v, *STEPS[v]) for v in range(have, lake.FORMAT_VERSION)]
    if not steps:
        yield f"The lake has format {have}, which is this version's. Nothing to do."
        return
    for version, what, _ in steps:
        yield f"{version} → {version + 1}: {what}"
    if not apply:
        yield "Nothing was changed. Run `cellfleet migrate --apply` to back up and apply."
        return
    yield _backed_up(chosen)
    with closing(lake.attach(chosen, migrating=True)) as con:
        for version, what, step in steps:
            lake.commit(con, _applied(con, version, step), "cellfleet", f"migrate to {version + 1}: {what}")
            yield f"Applied {version} → {version + 1}."


def _backed_up(chosen: Settings) -> str:
    """Copy the catalog; the data files that it names are never rewritten, so with it the lake is as it was."""
    if chosen.catalog:
        return "The catalog is a database of yours: its backup is yours (`pg_dump`)."
    folder = chosen.home_path / "backups"
    folder.mkdir(parents=True, exist_ok=True)
    backup = folder / f"catalog-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.sqlite"
    # By SQLite itself: what stands in its write-ahead log is in no copy of the file.
    with (
        closing(_sqlite(chosen.home_path / "lake" / "catalog.sqlite")) as source,
        closing(_sqlite(backup)) as copy,
    ):
        source.backup(copy)
    return f"Backed up the catalog to {backup}."


def _sqlite(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path)


def _applied(
    con: duckdb.DuckDBPyConnection, version: int, step: Callable[[duckdb.DuckDBPyConnection], None]
) -> Callable[[], None]:
    def write() -> None:
        step(con)
        con.execute("INSERT INTO lake.ops.format VALUES (?, now())", [version + 1])

    return write
