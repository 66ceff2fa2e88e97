"""Readings that a published snapshot leaves in the lake: `core.reading` is then a view of the lake as it was.

To copy readings makes the file stand alone and a trace fastest, but the file is copied and hashed every night, and
several are kept. Above `CELLFLEET_READINGS_COPIED` readings the snapshot holds their hours, faults and excursions;
readings are read from the lake's own files, at the lake snapshot that it is pinned to. Figures: `docs/scale.md`.

Belongs here: what such a view says, attaching the lake for it. Does not belong here: copying (`publish.py`), how lake
files lie (`lake_layout.py`), which lake snapshots are kept (`upkeep.py` keeps those that are pinned).
"""

from __future__ import annotations

import duckdb

from warehouse import lake, lake_files, lake_layout
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import comments, quoted
from warehouse.lake_changes import state
from warehouse.settings import Settings

# Fact of `meta.snapshot`, and what it says of where readings lie.
FACT, COPIED, LEFT = "readings", "copied into this file", "left in the lake"
# The row in force of each key that was told more than once: few, and found once, not by each query.
TOLD_AGAIN = "quality.reading_told_again"


def where_they_lie(con: duckdb.DuckDBPyConnection, chosen: Settings) -> str:
    """`COPIED` or `LEFT`: what the next snapshot of the attached lake does with readings."""
    counts = " + ".join(f"(SELECT count(*) FROM lake.{t.qualified})" for t in _large())
    row = con.execute(f"SELECT {counts}").fetchone()
    return LEFT if row and row[0] > int(chosen.readings_copied) else COPIED


def leave(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Make `snap.core.<table>` a view of the attached lake as it is now, having looked through all its rows."""
    key = ", ".join(table.key)
    stands = lake.standing(table, lake.withdrawn(con))
    con.execute(f"CREATE OR REPLACE TEMP TABLE told_again AS SELECT {key} FROM {stands} LIMIT 0")
    # A site and month at a time, as the files lie: all at once would not fit into memory.
    for part in lake_layout.months(con, f"lake.{table.qualified}"):
        con.execute(
            f"INSERT INTO told_again SELECT {key} FROM {stands} WHERE {part.condition} GROUP BY ALL HAVING count(*) > 1"
        )
    con.execute(f"CREATE OR REPLACE TABLE snap.{TOLD_AGAIN} AS SELECT * FROM lake.{table.qualified} LIMIT 0")
    words = f"Rows in force of {table.qualified} whose key was told more than once; they replace the lake's there."
    con.execute(f"COMMENT ON TABLE snap.{TOLD_AGAIN} IS {quoted(words)}")
    _add_in_force(con, table)


def leave_more(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """The same where `snap.core.<table>` is a view of the lake as it was before the rows in `came_in`."""
    span = con.execute("SELECT min(read_at), max(read_at) FROM came_in").fetchone() or (None, None)
    key = ", ".join(table.key)
    # The span of what came in is said, so that only files of these months are looked into.
    con.execute(
        "CREATE OR REPLACE TEMP TABLE told_again AS "
        f"SELECT {key} FROM came_in GROUP BY ALL HAVING count(*) > 1 "
        f"UNION SELECT DISTINCT {key} FROM (FROM snap.{table.qualified} WHERE read_at BETWEEN $first AND $last) "
        f"SEMI JOIN came_in USING ({key})",
        dict(zip(("first", "last"), span, strict=True)),
    )
    con.execute(f"DELETE FROM snap.{TOLD_AGAIN} WHERE ({key}) IN (FROM told_again)")
    _add_in_force(con, table)


def _add_in_force(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Note the rows in force of the keys in `told_again`, and make the view anew."""
    key = ", ".join(table.key)
    again = con.execute("SELECT count(*) FROM told_again").fetchone()
    if again and again[0]:
        last = lake.current_sql(table, where=f"({key}) IN (FROM told_again)")
        con.execute(f"INSERT INTO snap.{TOLD_AGAIN} BY NAME SELECT * FROM ({last}) ORDER BY {key}")
    con.execute("DROP TABLE told_again")
    rows = f"(FROM lake.{table.qualified} AT (VERSION => {state(con).snapshot}))"
    if table.name in lake.withdrawn(con):
        rows = f"({lake.live_sql(table, rows, 'quality.withdrawal')})"
    if con.execute(f"FROM snap.{TOLD_AGAIN} LIMIT 1").fetchone():
        rows = f"{rows} AS r ANTI JOIN {TOLD_AGAIN} AS a USING ({key}) UNION ALL BY NAME FROM {TOLD_AGAIN}"
    # A view's body is bound in the database it is made in, but for the lake, which readers attach.
    con.execute(f"USE snap; CREATE OR REPLACE VIEW {table.qualified} AS SELECT * FROM {rows}; USE memory")
    told = comments(dictionary(), table, f"snap.{table.qualified}", "VIEW")
    con.execute(";".join(told))


def reach(con: duckdb.DuckDBPyConnection, chosen: Settings, *, catalog: str | None = None) -> str | None:
    """Attach the lake as `lake`, read-only and pinned, where the snapshot that `con` has open left readings in it.

    `catalog` is the name the snapshot is attached by, None where it is the connection's own. Returns the folder or
    `s3://` prefix of the files that queries will read, None where the snapshot stands alone. Raises duckdb.Error where
    the lake cannot be reached from here.
    """
    prefix = f"{catalog}." if catalog else ""
    facts = dict(con.execute(f"SELECT fact, value FROM {prefix}meta.snapshot").fetchall())
    if facts.get(FACT) != LEFT:
        return None
    lake.attach_as(con, chosen, "lake", snapshot=int(facts["lake_snapshot"]))
    return lake_files.data_path(chosen)


def _large() -> list[Table]:
    return [t for t in dictionary().tables.values() if t.layer == "core" and t.volume == "large"]
