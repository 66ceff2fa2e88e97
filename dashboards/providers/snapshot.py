"""Opening the published snapshot: its real path, read-only, a cursor for each query.

Belongs here: which file is read and how, and what of it a scope lets through. Does not belong here: what is asked
of it (the other providers). A connection keeps the file it opened, so a page that is being made never sees two
snapshots.

Each scope has a database of its own in memory, whose views hold the rows of the scope's sites and nothing else: a query
that forgets to ask for the sites still returns no other site's rows. A table that no rule here knows has no view.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from dashboards.security.scope import Scope
from warehouse.dictionary.render import quoted
from warehouse.publish import newest

CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 2}
SCHEMAS = ("core", "history", "raw", "quality", "mart", "meta")
# Tables over many batches of a site: shown of sites that a reader is compared with, but never of few batches.
FIGURES = ("mart.comparability", "mart.change")
# Tables that name no site's batches or records.
OPEN = ("mart.plan", "mart.plan_lock", "mart.chart_rule", "meta.dictionary", "meta.tables", "meta.snapshot")
# Figures over all sites at once: only for readers who may see every site's figures.
FLEET = ("mart.vein_contrast",)
# In this order: time zones load an extension, which a closed connection may not.
SESSION = ("SET GLOBAL TimeZone = 'UTC'", "SET enable_external_access = false")


class NoSnapshot(RuntimeError):  # noqa: N818 - it names a state, and is shown as a sentence
    """Nothing is published yet."""


@dataclass(frozen=True)
class Site:
    """One site of the fleet, as its contract names it."""

    id: str
    name: str
    time_zone: str
    role: str


class Snapshot:
    """One published snapshot, open for reading by any number of threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._views: dict[tuple[frozenset[str], frozenset[str]], duckdb.DuckDBPyConnection] = {}
        self._con = duckdb.connect(str(path), read_only=True, config=CONFIG)
        for setting in SESSION:
            self._con.execute(setting)
        self.facts: dict[str, str] = dict(
            self._con.execute("SELECT fact, value FROM meta.snapshot").fetchall()
        )
        self.number = int(self.facts["number"])
        # Fewer batches than this are not told of a site whose rows the reader does not see.
        self.few = int(self.facts.get("small_cell_limit", 5))

    @property
    def as_of(self) -> datetime | None:
        """When the newest data in it were taken in; None where the snapshot does not tell."""
        told = self.facts.get("as_of")
        return datetime.fromisoformat(told) if told else None

    @property
    def synthetic(self) -> bool:
        """Whether a simulator wrote the data."""
        return self.facts.get("data") == "synthetic"

    @cached_property
    def tables(self) -> frozenset[str]:
        """Every table of the snapshot, as `schema.name`."""
        found = self._con.cursor().execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()")
        return frozenset(row[0] for row in found.fetchall())

    @cached_property
    def columns_of(self) -> dict[str, frozenset[str]]:
        """Columns of every table, as `schema.name`: a snapshot published by an older program may lack some."""
        found: dict[str, set[str]] = {}
        for table, column in (
            self._con.cursor()
            .execute("SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns()")
            .fetchall()
        ):
            found.setdefault(str(table), set()).add(str(column))
        return {table: frozenset(names) for table, names in found.items()}

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Every site of the fleet, the reference first, then by name."""
        found = self._con.cursor().execute(
            "SELECT s.site_id, coalesce(s.site_name, s.site_id), coalesce(s.time_zone, 'UTC'), "
            "coalesce(s.site_role, '') "
            "FROM core.site s LEFT JOIN (SELECT DISTINCT reference FROM mart.plan) p ON p.reference = s.site_id "
            "ORDER BY p.reference IS NULL, s.site_id"
        )
        return tuple(Site(*row) for row in found.fetchall())

    def rows(self, sql: str, scope: Scope, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a query. The SQL must use `$sites`; one that does not is refused by the engine."""
        cursor = self._scoped(scope).cursor()
        cursor.execute(sql, {"sites": list(scope.sites), **parameters})
        names = [d[0] for d in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def figures(self, sql: str, scope: Scope, **parameters: Any) -> list[dict[str, Any]]:
        """The same of `FIGURES`: `$sites` are those whose figures over many batches the reader may see."""
        return self.rows(sql, scope, **{**parameters, "sites": list(scope.figures)})

    def columns(self, sql: str, scope: Scope, **parameters: Any) -> dict[str, Any]:
        """The same as `rows` as NumPy arrays, for long series."""
        cursor = self._scoped(scope).cursor()
        return dict(cursor.execute(sql, {"sites": list(scope.sites), **parameters}).fetchnumpy())

    def _scoped(self, scope: Scope) -> duckdb.DuckDBPyConnection:
        """The database of a scope, whatever part of it is looked at."""
        key = (frozenset(scope.allowed), frozenset(scope.compared))
        with self._lock:
            if key not in self._views:
                self._views[key] = _views(self.path, *key, self.few)
            return self._views[key]


def _views(path: Path, rows: frozenset[str], figures: frozenset[str], few: int) -> duckdb.DuckDBPyConnection:
    """A database in memory with a view for each table that readers of these sites may ask."""
    con = duckdb.connect(config=CONFIG)
    con.execute(f"ATTACH {quoted(str(path))} AS snap (READ_ONLY)")
    columns: dict[str, list[str]] = {}
    for schema, table, column in con.execute(
        "SELECT c.schema_name, c.table_name, c.column_name FROM duckdb_columns() c "
        "JOIN duckdb_tables() t USING (database_name, schema_name, table_name) "
        "WHERE c.database_name = 'snap' AND list_contains($1, c.schema_name) ORDER BY c.column_index",
        [list(SCHEMAS)],
    ).fetchall():
        columns.setdefault(f"{schema}.{table}", []).append(column)
    for schema in SCHEMAS:
        con.execute(f"CREATE SCHEMA {schema}")
    for name, has in columns.items():
        if name in OPEN:
            con.execute(f"CREATE VIEW {name} AS SELECT *, rowid AS rowid FROM snap.{name}")
            continue
        if name in FLEET:
            whole = f"NOT EXISTS (FROM snap.core.site WHERE site_id NOT IN ({_listed(rows | figures)}))"
            con.execute(f"CREATE VIEW {name} AS SELECT *, rowid AS rowid FROM snap.{name} WHERE {whole}")
            continue
        site = next((c for c in ("site_id", "site") if c in has), None)
        if site is None:
            continue
        own = f"{site} IN ({_listed(rows)})"
        if name in FIGURES:
            # Of few batches a figure tells of single ones; of two versions in one row the smaller number counts.
            counts = [c for c in has if c.startswith("n_")]
            many = " AND ".join(f"coalesce({c}, 0) >= {few}" for c in counts if not c.endswith("_before"))
            own = f"{own} OR ({site} IN ({_listed(figures)}) AND {many})"
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM snap.{name} WHERE {own}")
    for setting in SESSION:
        con.execute(setting)
    return con


def _listed(sites: frozenset[str]) -> str:
    return ", ".join(quoted(s) for s in sorted(sites)) or "NULL"


class Snapshots:
    """The folder of published snapshots: always the newest, switched without a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._open: Snapshot | None = None

    def current(self) -> Snapshot:
        """The newest snapshot. Raises NoSnapshot before the first.

        A snapshot that was replaced is closed when the last page that reads it lets go of it.
        """
        path = newest(self.folder)
        if path is None:
            raise NoSnapshot(
                f"Nothing is published in {self.folder} yet. Run `cellfleet run`; this page then shows it by itself."
            )
        with self._lock:
            if self._open is None or self._open.path != path:
                self._open = Snapshot(path)
            return self._open
