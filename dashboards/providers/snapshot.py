"""Opening the published snapshot: its real path, read-only, a cursor for each query.

Belongs here: which file is read and how. Does not belong here: what of it a scope lets through (`scoped.py`), what is
asked of it (the other providers). A connection keeps the file it opened, so a page that is being made never sees two
snapshots.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import duckdb

from dashboards.providers.left_readings import LeftReadings
from dashboards.providers.scoped import CONFIG, SESSION, views
from dashboards.security.scope import Scope
from warehouse import lake_readings
from warehouse.publish import newest, numbers

# Feeds that come regularly, with the median hours between their files: three intervals or more. Files of the same
# hour came together.
RHYTHM = (
    "SELECT site_id, feed, median(step) AS usual_h FROM (SELECT site_id, feed, epoch(hour - lag(hour) OVER "
    "(PARTITION BY site_id, feed ORDER BY hour)) / 3600 AS step FROM (SELECT DISTINCT site_id, feed, "
    "date_trunc('hour', sent_at) AS hour FROM raw.file WHERE sent_at IS NOT NULL)) WHERE step IS NOT NULL "
    "GROUP BY ALL HAVING count(*) >= 3"
)
# Answers that are kept, and of those that are large, as usual courses are: a megabyte a hundred batches.
KEPT, LARGE_KEPT = 128, 16
T = TypeVar("T")


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
        self._views: dict[Scope, duckdb.DuckDBPyConnection] = {}
        self._kept: dict[bool, OrderedDict[tuple[Scope, Hashable], Any]] = {
            large: OrderedDict() for large in (False, True)
        }
        self._con = duckdb.connect(str(path), read_only=True, config=CONFIG)
        for setting in SESSION:
            self._con.execute(setting)
        self.facts: dict[str, str] = dict(
            self._con.execute("SELECT fact, value FROM meta.snapshot").fetchall()
        )
        self.number = int(self.facts["number"])
        # Fewer batches than this are not told of a site whose rows the reader does not see.
        self.few = int(self.facts.get("small_cell_limit", 5))
        left = self.facts.get(lake_readings.FACT) == lake_readings.LEFT
        self._left = LeftReadings(path, self.few) if left else None

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

    @cached_property
    def clock(self) -> datetime | None:
        """When the newest file of any regular feed was written, whichever site's, else the newest file of all.

        How far feeds are behind runs to it. A time alone tells no row, so every reader has the same.
        """
        [(at,)] = (
            self._con.cursor()
            .execute(
                f"WITH usual AS ({RHYTHM}) SELECT coalesce((SELECT max(sent_at) FROM raw.file SEMI JOIN usual "
                "USING (site_id, feed)), (SELECT max(sent_at) FROM raw.file))"
            )
            .fetchall()
        )
        return cast("datetime | None", at)

    def kept(self, scope: Scope, name: Hashable, make: Callable[[], T], *, large: bool = False) -> T:
        """What is asked again and again of a scope: a snapshot does not change, so the last answers are kept."""
        key, answers = (scope, name), self._kept[large]
        with self._lock:
            if key in answers:
                answers.move_to_end(key)
                return cast("T", answers[key])
        made = make()
        with self._lock:
            answers[key] = made
            while len(answers) > (LARGE_KEPT if large else KEPT):
                answers.popitem(last=False)
        return made

    def rows(
        self, sql: str, scope: Scope, *, readings: bool = False, **parameters: Any
    ) -> list[dict[str, Any]]:
        """Rows of a query. The SQL must use `$sites`; one that does not is refused by the engine.

        Only with `readings` it may ask for `core.reading`, and raises ReadingsAway where they cannot be had.
        """

        def found(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
            cursor.execute(sql, {"sites": list(scope.sites), **parameters})
            names = [d[0] for d in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        return self._asked(scope, found, readings=readings)

    def columns(self, sql: str, scope: Scope, *, readings: bool = False, **parameters: Any) -> dict[str, Any]:
        """The same as NumPy arrays, for long series."""
        told = {"sites": list(scope.sites), **parameters}
        return self._asked(scope, lambda c: dict(c.execute(sql, told).fetchnumpy()), readings=readings)

    def _asked(
        self, scope: Scope, question: Callable[[duckdb.DuckDBPyConnection], T], *, readings: bool
    ) -> T:
        if readings and self._left is not None:
            return self._left.ask(scope, question)
        return question(self.cursor(scope))

    def figures(self, sql: str, scope: Scope, **parameters: Any) -> list[dict[str, Any]]:
        """The same of `FIGURES`: `$sites` are those whose figures over many batches the reader may see."""
        return self.rows(sql, scope, **{**parameters, "sites": list(scope.figures)})

    def cursor(self, scope: Scope) -> duckdb.DuckDBPyConnection:
        """A cursor on the scope's own database, for queries of the warehouse: no other site's rows are in it."""
        return self._scoped(scope).cursor()

    @cached_property
    def before(self) -> Snapshot | None:
        """The snapshot before this one; None for the first, and where it is no longer kept."""
        older = [n for n in numbers(self.path.parent) if n < self.number]
        try:
            return Snapshot(self.path.with_name(f"fleet-{older[-1]}.duckdb")) if older else None
        except duckdb.IOException:  # it was removed a moment ago
            return None

    @cached_property
    def sha256(self) -> str:
        """Hash of the snapshot's file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _scoped(self, scope: Scope) -> duckdb.DuckDBPyConnection:
        """The database of a scope, whatever part of it is looked at."""
        whole = scope.whole()
        with self._lock:
            if whole not in self._views:
                self._views[whole] = views(self.path, whole, self.few, readings=self._left is None)
            return self._views[whole]


def _opened(path: Path) -> Snapshot:
    try:
        return Snapshot(path)
    except duckdb.Error as error:
        raise NoSnapshot(
            f"The snapshot {path} cannot be read: it was cut or damaged. Run `cellfleet publish`, which makes it anew; "
            "`cellfleet doctor` tells what else is wrong."
        ) from error


class Snapshots:
    """The folder of published snapshots: always the newest, switched without a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._open: Snapshot | None = None

    def current(self) -> Snapshot:
        """The newest snapshot. Raises NoSnapshot before the first, and of one that was damaged.

        A snapshot that was replaced is closed when the last page that reads it lets go of it.
        """
        path = newest(self.folder)
        if path is None:
            raise NoSnapshot(
                f"Nothing is published in {self.folder} yet. Run `cellfleet run`; this page then shows it by itself."
            )
        with self._lock:
            if self._open is None or self._open.path != path:
                self._open = _opened(path)
            return self._open
