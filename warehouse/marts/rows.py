"""Rows made in Python, stored as a mart with the columns that `columns.yaml` declares. Says nothing of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb
import polars as pl

from warehouse.dictionary.render import POLARS_TYPES
from warehouse.marts.columns import mart_columns


def store(con: duckdb.DuckDBPyConnection, target: str, name: str, rows: Iterable[dict[str, Any]]) -> None:
    """Create mart `name` in database `target` from rows by column name; a column that a row lacks is empty."""
    fields = mart_columns()[name].fields
    schema = pl.Schema({f.name: POLARS_TYPES[f.type] for f in fields})
    whole = [{f.name: row.get(f.name) for f in fields} for row in rows]
    store_frame(con, target, name, pl.DataFrame(whole, schema=schema, orient="row"))


def store_frame(con: duckdb.DuckDBPyConnection, target: str, name: str, frame: pl.DataFrame | None) -> None:
    """Create mart `name` in database `target` from a frame with (at least) the mart's columns; None is an empty one."""
    schema = pl.Schema({f.name: POLARS_TYPES[f.type] for f in mart_columns()[name].fields})
    chosen = pl.DataFrame(schema=schema) if frame is None else frame.select(list(schema))
    con.register("mart_rows", chosen)
    con.execute(f"CREATE OR REPLACE TABLE {target}.mart.{name} AS SELECT * FROM mart_rows")
    con.unregister("mart_rows")
