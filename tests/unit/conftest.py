"""A small real lake that a test fills by hand, through the one writer there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from shutil import copytree
from typing import Any, TypeVar

import duckdb
import polars as pl
import pytest

from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import polars_schema
from warehouse.settings import Settings

T = TypeVar("T")
NEW_YEAR = "2026-01-01T00:00:00+00:00"


class SmallLake:
    """Rows in, as dicts of the fields that matter; technical fields are filled in, a record a row."""

    def __init__(self, con: duckdb.DuckDBPyConnection, chosen: Settings | None = None) -> None:
        self.con = con
        # Where it lies; that of a test that attaches for itself is the test's to know.
        self.chosen = chosen or Settings()
        self.rows = 0
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        self._together = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is added meanwhile is committed at the end: a file of the lake a row makes every later query slow."""
        if self._together:
            yield
            return
        self._together = True
        try:
            yield
        finally:
            self._together = False
        self._write()

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        """Rows of a table, committed at once, or at the end of `together`."""
        d = dictionary()
        for row in rows:
            self.rows += 1
            technical = {
                "record_id": f"r{self.rows:06d}", "source_system": "lims", "source_file": f"{table}.csv",
                "source_file_sha256": "0" * 64, "source_row": self.rows, "sent_at": "2026-06-01T00:00:00+00:00",
                "recorded_at": NEW_YEAR, "recorded_by": "test", "run_id": "test",
            }  # fmt: skip
            columns = d.tables[table].columns
            self._waiting.setdefault(table, []).append(
                {name: (technical | row).get(name) for name in columns}
            )
        if not self._together:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        d = dictionary()
        for table, filled in waiting.items():
            schema = polars_schema(d, table)
            texts = {n: (pl.String() if t.is_temporal() else t) for n, t in schema.items()}
            self.con.register("small_rows", pl.DataFrame(filled, schema=texts, orient="row"))
            types = ", ".join(
                f'"{n}"::{"TIMESTAMPTZ" if isinstance(t, pl.Datetime) else "DATE"} AS "{n}"'
                for n, t in schema.items()
                if t.is_temporal()
            )
            self.con.execute(
                f"CREATE OR REPLACE TEMP TABLE typed_{table} AS SELECT * REPLACE ({types}) FROM small_rows"
            )
            self.con.unregister("small_rows")

        def insert() -> None:
            for table in waiting:
                lake.insert(self.con, d.tables[table], f"typed_{table}")

        lake.commit(self.con, insert, "test", f"add {', '.join(waiting)}")

    def one(self, sql: str) -> dict[str, Any]:
        """The only row of a query."""
        found = self.all(sql)
        assert len(found) == 1, f"{len(found)} rows: {sql}"
        return found[0]

    def all(self, sql: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""
        cursor = self.con.execute(sql, values or [])
        names = [c[0] for c in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def together(fill: Callable[..., T]) -> Callable[..., T]:
    """A function whose first argument is a small lake, all that it adds committed at its end."""

    @wraps(fill)
    def filled(lake: SmallLake, *args: Any, **named: Any) -> T:
        with lake.together():
            return fill(lake, *args, **named)

    return filled


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an empty lake, to be copied: creating its tables takes seconds, copying it none."""
    home = tmp_path_factory.mktemp("empty")
    lake.attach(Settings(home=str(home))).close()
    return home


@pytest.fixture
def small_lake(tmp_path: Path, empty_home: Path) -> Iterator[SmallLake]:
    """An empty lake of its own, with a database `snap` attached to build marts into."""
    copytree(empty_home, tmp_path, dirs_exist_ok=True)
    chosen = Settings(home=str(tmp_path))
    with lake.opened(chosen) as con:
        con.execute(f"ATTACH '{tmp_path / 'snap.duckdb'}' AS snap")
        yield SmallLake(con, chosen)
