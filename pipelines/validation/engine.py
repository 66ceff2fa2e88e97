"""Great Expectations inside our own DuckDB connection: no row leaves the engine.

GE's SQL engine fetches after the connection is returned, which loses DuckDB's result; the subclass below keeps its
connection. Importing GE costs seconds and 250 MB, so it happens here, once a process, inside functions.
Does not belong here: what is expected (`suites.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import duckdb


@cache
def _datasource_class() -> Any:
    """The datasource class, defined once a process: GE registers it by its `type`."""
    from typing import Literal

    from great_expectations.datasource.fluent import SQLDatasource
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine
    from sqlalchemy import Connection, Engine, create_engine, types
    from sqlalchemy.pool import StaticPool

    known = {
        "VARCHAR": types.String, "BIGINT": types.BigInteger, "DOUBLE": types.Double, "BOOLEAN": types.Boolean,
        "DATE": types.Date, "JSON": types.JSON,
    }  # fmt: skip

    class Columns:
        """What GE asks of an inspector: names and types of one table's columns.

        SQLAlchemy's own would list the columns of every table and view of every attached database, and so load the
        whole lake's catalog for each audit.
        """

        def __init__(self, engine: KeptConnectionEngine) -> None:
            self.dialect, self._kept = engine.engine.dialect, engine._kept

        def get_pk_constraint(self, table_name: str, schema: str | None = None) -> dict[str, Any]:
            del table_name, schema
            return {"constrained_columns": []}

        def get_columns(self, table_name: str, schema: str | None = None) -> list[dict[str, Any]]:
            del schema
            rows = self._kept.exec_driver_sql(f'DESCRIBE "{table_name}"').fetchall()
            return [{"name": row[0], "type": known.get(row[1], types.NullType)()} for row in rows]

    class KeptConnectionEngine(SqlAlchemyExecutionEngine):
        """Keeps one connection for its life."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._kept = self.engine.connect()
            kept.append(self._kept)

        def get_inspector(self) -> Any:
            return Columns(self)

        def execute_query(self, query: Any) -> Any:
            return self._kept.execute(query)

    class CellfleetDuckDB(SQLDatasource):
        """A datasource over a live DuckDB connection."""

        type: Literal["cellfleet_duckdb"] = "cellfleet_duckdb"  # type: ignore[assignment]
        connection_string: str = "duckdb:///:memory:"

        def get_engine(self) -> Engine:
            return live[0]

        def get_execution_engine(self) -> Any:
            return KeptConnectionEngine(engine=live[0], create_temp_table=False)

        def test_connection(self, test_assets: bool = True) -> None:
            del test_assets

    live: list[Engine] = []
    kept: list[Connection] = []

    @contextmanager
    def over(con: duckdb.DuckDBPyConnection) -> Iterator[type[CellfleetDuckDB]]:
        live[:] = [create_engine("duckdb:///:memory:", creator=con.cursor, poolclass=StaticPool)]
        try:
            yield CellfleetDuckDB
        finally:
            # Left to the collector they would be rolled back when `con` is closed, and complain.
            for connection in kept:
                connection.close()
            kept.clear()
            live.pop().dispose()

    return over


@cache
def _context() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def warm() -> None:
    """Import what an audit needs; to be called aside, where other work waits for no Python."""
    import great_expectations.expectations
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    del great_expectations, ValidationResultsPageRenderer


def validate(con: duckdb.DuckDBPyConnection, relation: str, suite: Any) -> Any:
    """Validate table `relation` of the connection's own database against a GE suite; returns GE's result.

    The relation must be an ordinary committed table: GE sees nothing of a temporary or uncommitted one.
    """
    with _datasource_class()(con) as datasource_class:
        datasource = datasource_class(name="lake")
        datasource._data_context = _context()
        asset = datasource.add_table_asset(name=relation, table_name=relation)
        batch = asset.add_batch_definition_whole_table("all").get_batch()
        return batch.validate(suite)
