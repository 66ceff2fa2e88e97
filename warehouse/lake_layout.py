"""How the lake's Parquet files lie: readings by site and month, sorted as they are read; few files a table.

Belongs here: the partitions of large tables, what the catalog counts of new ones, writing files, merging small ones
(compaction). A merge changes no row and no answer: snapshots that published ones are pinned to read the merged files as
they read the small ones, which maintenance removes later. Does not belong here: what to write (`pipelines`),
transactions (`lake.py`), removing files (`upkeep.py`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from warehouse import object_storage
from warehouse.dictionary import Table
from warehouse.dictionary.render import quoted

CATALOG = "__ducklake_metadata_lake"
# The file of a site and month; within it as a trace is read.
PARTITIONS = ("site_id", "year(read_at)", "month(read_at)")
ORDER = ("batch_id", "channel", "read_at")
MICROSECONDS_A_DAY = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Files of a table, or of a site and month, from which on merging is worth it.
FEWEST = 2


@dataclass(frozen=True)
class Merged:
    """Files of the lake: how many there were, and how many of them were, or would be, merged."""

    there: int
    merged: int
    bytes: int


@dataclass(frozen=True, order=True)
class Month:
    """A site's readings of one month: the site, and the month's first moment in UTC."""

    site: str
    start: datetime

    @property
    def condition(self) -> str:
        """SQL condition on its readings."""
        end = (self.start + timedelta(days=31)).replace(day=1)
        return (
            f"site_id = {quoted(self.site)} AND read_at >= TIMESTAMPTZ '{self.start.isoformat()}' "
            f"AND read_at < TIMESTAMPTZ '{end.isoformat()}'"
        )


def declare(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Declare partitions and order of a large table that has none; nothing where it is small."""
    if table.volume == "large":
        con.execute(f"ALTER TABLE lake.{table.qualified} SET PARTITIONED BY ({', '.join(PARTITIONS)})")
        con.execute(f"ALTER TABLE lake.{table.qualified} SET SORTED BY ({', '.join(ORDER)})")


def lay_out(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Let a large table have all that belongs to its layout, which may be there; nothing where it is small."""
    if table.volume != "large":
        return
    row = con.execute(
        f"""SELECT EXISTS (FROM {CATALOG}.ducklake_partition_info AS p WHERE p.table_id = t.table_id
                           AND p.end_snapshot IS NULL),
                   EXISTS (FROM {CATALOG}.ducklake_metadata AS m WHERE m.scope = 'table' AND m.scope_id = t.table_id
                           AND m.key = 'parquet_version')
            FROM {CATALOG}.ducklake_table AS t WHERE t.table_name = ? AND t.end_snapshot IS NULL""",
        [table.name],
    ).fetchone()
    declared, versioned = row or (False, False)
    if not declared:
        declare(con, table)
    if not versioned:
        # Of the second version rows' numbers and times are differences: half the bytes. Of a table that is made in
        # the same transaction it cannot be said.
        con.execute(
            f"CALL lake.set_option('parquet_version', 2, schema => {quoted(table.layer)}, "
            f"table_name => {quoted(table.name)})"
        )


def count_empty(con: duckdb.DuckDBPyConnection) -> None:
    """Tell the catalog of new tables that they have no rows, as DuckLake itself does of one whose rows were deleted.

    Without it the extension asks the catalog once a column each time a query names an empty table (30 to 50 ms, mended
    upstream in duckdb/ducklake#1313). To be called where a table was just made: nobody has written to it yet.
    """
    con.execute("BEGIN")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE uncounted AS
        SELECT table_id FROM {CATALOG}.ducklake_table
        WHERE end_snapshot IS NULL AND table_id NOT IN (SELECT table_id FROM {CATALOG}.ducklake_table_stats)""")
    con.execute(f"""
        INSERT INTO {CATALOG}.ducklake_table_stats BY NAME
        SELECT table_id, 0 AS record_count, 0 AS next_row_id, 0 AS file_size_bytes FROM uncounted""")
    con.execute(f"""
        INSERT INTO {CATALOG}.ducklake_table_column_stats BY NAME
        SELECT table_id, column_id FROM {CATALOG}.ducklake_column
        WHERE end_snapshot IS NULL AND table_id IN (SELECT table_id FROM uncounted)""")
    con.execute("DROP TABLE uncounted")
    con.execute("COMMIT")


def write_files(con: duckdb.DuckDBPyConnection, table: Table, relation: str) -> list[str]:
    """Write the rows of a sorted `relation` as files of the lake that no snapshot names yet; returns their paths.

    Ahead of the transaction that names them (`add_files`), which is then short. What a killed process leaves behind
    is removed by maintenance. Written here, not by INSERT, which would sort again and use one core.
    """
    given = dict(row[:2] for row in con.execute(f"DESCRIBE {relation}").fetchall())
    # An ENUM is written as text from its own dictionary, in a quarter of the time; but with the whole dictionary's
    # least and greatest as a row group's, which would no longer tell in which of them a batch lies.
    columns = ", ".join(
        name if given[name].startswith("ENUM") and name not in ORDER else f"CAST({name} AS {kind}) AS {name}"
        for name, kind, *_ in con.execute(f"DESCRIBE lake.{table.qualified}").fetchall()
    )
    row = con.execute("SELECT getvariable('lake_data')").fetchone()
    assert row is not None
    written: list[str] = []
    for part in months(con, relation):
        place = f"site_id={part.site}/year={part.start.year}/month={part.start.month}"
        folder = f"{row[0]}/{table.layer}/{table.name}/{place}"
        if not object_storage.lies_there(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
        path = f"{folder}/ducklake-{uuid.uuid4()}.parquet"
        con.execute(
            f"COPY (SELECT {columns} FROM {relation} WHERE {part.condition}) "
            f"TO {quoted(path)} (FORMAT parquet, PARQUET_VERSION v2)"
        )
        written.append(path)
    return written


def add_files(con: duckdb.DuckDBPyConnection, table: Table, paths: list[str]) -> None:
    """Let the transaction under way name files of `write_files`."""
    for path in paths:
        con.execute(
            f"CALL ducklake_add_data_files('lake', {quoted(table.name)}, {quoted(path)}, "
            f"schema => {quoted(table.layer)}, hive_partitioning => true)"
        )


def months(con: duckdb.DuckDBPyConnection, relation: str) -> Iterator[Month]:
    """Sites and UTC months that a relation has readings of, sorted."""
    day = f"epoch_us(read_at) // {MICROSECONDS_A_DAY}"
    ends = con.execute(
        f"SELECT CAST(site_id AS VARCHAR), unnest([min({day}), max({day})]) FROM {relation} GROUP BY site_id"
    ).fetchall()
    found = {_month(*end) for end in ends}
    if len(found) > len({site for site, _ in ends}):
        # By whole days: a calendar would be asked reading by reading.
        days = con.execute(f"SELECT DISTINCT CAST(site_id AS VARCHAR), {day} FROM {relation}").fetchall()
        found = {_month(*one) for one in days}
    yield from sorted(found)


def _month(site: str, day: int) -> Month:
    """The month of a day since 1970."""
    return Month(site, (EPOCH + timedelta(days=day)).replace(day=1))


def small_files(con: duckdb.DuckDBPyConnection) -> tuple[Merged, frozenset[str]]:
    """Files that `merge` would merge, and their tables: those of a site and month for readings, of a table else."""
    in_force = f"SELECT * FROM {CATALOG}.ducklake_data_file WHERE end_snapshot IS NULL"
    values = (
        f"SELECT data_file_id, list(partition_value ORDER BY partition_key_index) AS place "
        f"FROM {CATALOG}.ducklake_file_partition_value GROUP BY ALL"
    )
    groups = con.execute(f"""
        SELECT t.table_name, count(*), sum(f.file_size_bytes)
        FROM ({in_force}) AS f LEFT JOIN ({values}) AS v USING (data_file_id)
        JOIN (SELECT * FROM {CATALOG}.ducklake_table WHERE end_snapshot IS NULL) AS t USING (table_id)
        GROUP BY t.table_name, v.place""").fetchall()
    small = [(name, int(n), int(size)) for name, n, size in groups if n >= FEWEST]
    there = sum(int(n) for _, n, _ in groups)
    told = Merged(there, sum(n for _, n, _ in small), sum(size for _, _, size in small))
    return told, frozenset(name for name, _, _ in small)


def merge(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Merge the small files of a table, inside a transaction; large ones by site and month, in `ORDER`."""
    con.execute(
        f"CALL ducklake_merge_adjacent_files('lake', {quoted(table.name)}, schema => {quoted(table.layer)})"
    )
