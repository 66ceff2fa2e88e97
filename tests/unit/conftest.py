"""A small real lake that a test fills by hand, through the one writer there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import duckdb
import polars as pl
import pytest

from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import polars_schema
from warehouse.settings import Settings

NEW_YEAR = "2026-01-01T00:00:00+00:00"


class SmallLake:
    """Rows in, as dicts of the fields that matter; technical fields are filled in, a record a row."""

    def __init__(self, con: duckdb.DuckDBPyConnection, chosen: Settings | None = None) -> None:
        self.con = con
        # Where it lies; that of a test that attaches for itself is the test's to know.
        self.chosen = chosen or Settings()
        self.rows = 0

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        d = dictionary()
        filled = []
        for row in rows:
            self.rows += 1
            technical = {
                "record_id": f"r{self.rows:06d}", "source_system": "lims", "source_file": f"{table}.csv",
                "source_file_sha256": "0" * 64, "source_row": self.rows, "sent_at": "2026-06-01T00:00:00+00:00",
                "recorded_at": NEW_YEAR, "recorded_by": "test", "run_id": "test",
            }  # fmt: skip
            columns = d.tables[table].columns
            filled.append({name: (technical | row).get(name) for name in columns})
        schema = polars_schema(d, table)
        texts = {n: (pl.String() if t.is_temporal() else t) for n, t in schema.items()}
        frame = pl.DataFrame(filled, schema=texts, orient="row")
        self.con.register("small_rows", frame)
        types = ", ".join(
            f'"{n}"::{"TIMESTAMPTZ" if isinstance(t, pl.Datetime) else "DATE"} AS "{n}"'
            for n, t in schema.items()
            if t.is_temporal()
        )
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE typed AS SELECT * REPLACE ({types}) FROM small_rows")
        lake.commit(
            self.con, lambda: lake.insert(self.con, d.tables[table], "typed") and None, "test", f"add {table}"
        )
        self.con.unregister("small_rows")

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
