"""Rows made in Python, stored as a mart with the columns that `columns.yaml` declares. Says nothing of its own."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

from warehouse.dictionary.render import POLARS_TYPES
from warehouse.marts.columns import mart_columns


def store(con: duckdb.DuckDBPyConnection, target: str, name: str, rows: list[dict[str, Any]]) -> None:
    """Create mart `name` in database `target` from rows by column name."""
    schema = pl.Schema({f.name: POLARS_TYPES[f.type] for f in mart_columns()[name].fields})
    con.register("mart_rows", pl.DataFrame(rows, schema=schema, orient="row"))
    con.execute(f"CREATE OR REPLACE TABLE {target}.mart.{name} AS SELECT * FROM mart_rows")
    con.unregister("mart_rows")
