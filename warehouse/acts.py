"""What people decide about charts and signals: insert-only tables of acts, and the state that follows from them.

Belongs here: `quality.chart_act` and `quality.signal_act`, adding to them and reading them back. Not here: what limits
are (`marts/chart_kinds.py`), what raises a signal (`marts/signals.py`).

These tables hold nothing that a site sent. They are made where a lake has none yet, so that they need no migration.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import duckdb
import polars as pl

from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import ddl, polars_schema

TABLES = ("chart_act", "signal_act")


def there(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether the attached lake has the table."""
    return bool(lake.columns_of(con, f"lake.quality.{table}"))


def add(con: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]], message: str) -> int:
    """Append acts in one transaction; `recorded_at` is now. Returns how many."""
    if not rows:
        return 0
    d = dictionary()
    now = datetime.now(UTC)
    stamped = [row | {"recorded_at": now} for row in rows]
    columns = d.tables[table].columns
    frame = pl.DataFrame(
        [{name: row.get(name) for name in columns} for row in stamped],
        schema=polars_schema(d, table),
        orient="row",
    )

    def write() -> None:
        if not there(con, table):
            for statement in ddl(d, d.tables[table], "lake"):
                con.execute(statement)
        con.register("new_acts", frame)
        lake.insert(con, d.tables[table], "new_acts")
        con.unregister("new_acts")

    lake.commit(con, write, "cellfleet", message)
    return len(rows)


def of(con: duckdb.DuckDBPyConnection, table: str) -> list[dict[str, Any]]:
    """Every act ever recorded, oldest first."""
    if not there(con, table):
        return []
    cursor = con.execute(f"SELECT * FROM lake.quality.{table} ORDER BY recorded_at")
    names = [c[0] for c in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
