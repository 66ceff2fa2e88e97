"""What was written to the lake since one of its snapshots, so that a publication does not read again what it knows.

Belongs here: naming a state of the lake, the tables written to since, the rows added since. Does not belong here: what
is made of them (`publish.py`, `warehouse/marts`).

The lake is insert only: all that can have happened since is rows added, and files merged, which changes no answer.
Anything else, a snapshot that maintenance has expired, or a lake restored from elsewhere, and nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

from warehouse.dictionary import Table

ADDED, MERGED = "tables_inserted_into", "merge_adjacent"


@dataclass(frozen=True)
class State:
    """A state of the lake: the number of its snapshot, and when that was made, which tells a restored lake apart."""

    snapshot: int
    made_at: datetime


def state(con: duckdb.DuckDBPyConnection) -> State:
    """The state that queries see: of the transaction under way, else of now."""
    row = con.execute(
        "SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('lake') "
        "WHERE snapshot_id = (SELECT id FROM lake.current_snapshot())"
    ).fetchone()
    assert row is not None
    return State(int(row[0]), row[1])


def written_since(con: duckdb.DuckDBPyConnection, earlier: State) -> frozenset[str] | None:
    """Names of the tables that rows were added to since; None where that cannot be told."""
    now = state(con).snapshot
    steps = con.execute(
        "SELECT snapshot_id, snapshot_time, changes FROM ducklake_snapshots('lake') "
        "WHERE snapshot_id BETWEEN ? AND ? ORDER BY snapshot_id",
        [earlier.snapshot, now],
    ).fetchall()
    if not steps or steps[0][:2] != (earlier.snapshot, earlier.made_at):
        return None
    if len(steps) != now - earlier.snapshot + 1 or any(
        set(told) - {ADDED, MERGED} for _, _, told in steps[1:]
    ):
        return None
    names = dict(con.execute("SELECT table_id, table_name FROM ducklake_table_info('lake')").fetchall())
    return frozenset(names[int(table)] for _, _, told in steps[1:] for table in told.get(ADDED, ()))


def added_sql(con: duckdb.DuckDBPyConnection, table: Table, earlier: State) -> str:
    """SQL of the rows added to a table since, the table's columns; to be asked where it was written to."""
    return (
        f"SELECT * FROM ducklake_table_insertions('lake', '{table.layer}', '{table.name}', "
        f"{earlier.snapshot + 1}, {state(con).snapshot})"
    )
