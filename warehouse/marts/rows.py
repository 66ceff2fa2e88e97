"""Rows made in Python, stored as a mart with the columns that `columns.yaml` declares. Says nothing of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import duckdb
import polars as pl

from warehouse.dictionary.render import POLARS_TYPES
from warehouse.marts.columns import mart_columns


def schema_of(name: str) -> pl.Schema:
    """Columns and types of mart `name`."""
    return pl.Schema({f.name: POLARS_TYPES[f.type] for f in mart_columns()[name].fields})


def frame_of(name: str, rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Rows by column name as mart `name` has them; a column that a row lacks is empty."""
    schema = schema_of(name)
    return pl.DataFrame(
        [{column: row.get(column) for column in schema} for row in rows], schema=schema, orient="row"
    )


def inputs_hash(records: Iterable[str]) -> str:
    """MD5 of the sorted record_ids that a row was made of."""
    return hashlib.md5("|".join(sorted(set(records))).encode(), usedforsecurity=False).hexdigest()


def store(con: duckdb.DuckDBPyConnection, target: str, name: str, rows: Iterable[dict[str, Any]]) -> None:
    """Create mart `name` in database `target` from rows by column name; a column that a row lacks is empty."""
    store_frame(con, target, name, frame_of(name, rows))


def store_frame(con: duckdb.DuckDBPyConnection, target: str, name: str, frame: pl.DataFrame | None) -> None:
    """Create mart `name` in database `target` from a frame with (at least) the mart's columns; None is an empty one."""
    schema = schema_of(name)
    chosen = pl.DataFrame(schema=schema) if frame is None else frame.select(list(schema))
    con.register("mart_rows", chosen)
    con.execute(f"CREATE OR REPLACE TABLE {target}.mart.{name} AS SELECT * FROM mart_rows")
    con.unregister("mart_rows")


def store_parts(con: duckdb.DuckDBPyConnection, target: str, name: str, parts: list[pl.DataFrame]) -> None:
    """Create mart `name` from its parts, in their order."""
    columns = [pl.col(column).cast(kind) for column, kind in schema_of(name).items()]
    store_frame(con, target, name, pl.concat([p.select(columns) for p in parts]) if parts else None)
