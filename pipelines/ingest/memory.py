"""How much memory DuckDB may take while a large feed is taken in, and when it gives it back.

Does not belong here: what the process as a whole keeps (`warehouse/__init__.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from warehouse.dictionary.render import quoted

# What does not fit is spilled into the home. Rows that are mapped as texts take much that is not counted.
MEMORY, MEMORY_OF_TEXTS = "320MiB", "192MiB"


@contextmanager
def bounded(con: duckdb.DuckDBPyConnection, most: str = MEMORY, *, then: str | None = None) -> Iterator[None]:
    """Let DuckDB take no more than `most`, whatever the size of the files, and afterwards `then`, or what is usual.

    It keeps what dropped tables took until its limit is set anew, and takes what comes next beside it: so that is given
    back before and after.
    """
    con.execute(f"SET memory_limit = {quoted(most)}")
    try:
        yield
    finally:
        con.execute(f"SET memory_limit = {quoted(most)}")
        con.execute(f"SET memory_limit = {quoted(then or _usual(con))}")


def _usual(con: duckdb.DuckDBPyConnection) -> str:
    """DuckDB's own limit: what it says after RESET, which of itself changes only what is said, not what holds.

    Never what was said before: that is rounded down, each time a little more.
    """
    con.execute("RESET memory_limit")
    row = con.execute("SELECT current_setting('memory_limit')").fetchone()
    assert row is not None
    return str(row[0])
