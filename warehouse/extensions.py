"""DuckDB's extensions from their installed wheels; nothing is downloaded.

That the extension is the one its makers signed is checked once a process, by a database that takes no other: to check
it reads tens of megabytes, which took as long as all else of opening a lake.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import duckdb

from warehouse.dictionary.render import quoted


class MissingExtensionError(RuntimeError):
    """An extension is not installed, or not for this DuckDB; the sentence says what to do."""


def database() -> duckdb.DuckDBPyConnection:
    """A new in-memory database, which takes what `load` gives it without checking it again."""
    return duckdb.connect(config={"allow_unsigned_extensions": "true"})


def load(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension; into a connection that is not of `database` it is checked again.

    Raises MissingExtensionError, and duckdb.Error where the file is not as its makers signed it.
    """
    con.execute(f"LOAD {quoted(str(_checked(name)))}")


@cache
def _checked(name: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtensionError(f"DuckDB extension {name} is not installed; run `make install`")
    folder = Path(next(iter(spec.submodule_search_locations)))
    found = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not found.exists():
        raise MissingExtensionError(
            f"DuckDB extension {name} has no build for DuckDB {duckdb.__version__}; run `make install`"
        )
    with duckdb.connect() as strict:
        strict.execute(f"LOAD {quoted(str(found))}")
    return found
