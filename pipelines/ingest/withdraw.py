"""Deletions at the source: a further version of what they name, with its key alone, that ends its being in force.

Nothing is removed. The order in which a record and its deletion arrive does not matter: the later of the two brings
the version. Belongs here: `gone_<table>`, the versions that deletions add. Does not belong here: how a source says that
it deleted something (`Feed.marks_of_deletion`, the connectors), what is in force (`warehouse/lake.py`).
"""

from __future__ import annotations

import duckdb

from pipelines.harmonise.contract import Contract, Feed
from pipelines.harmonise.sql import ident
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import SQL_TYPES, quoted
from warehouse.lake import DELETED


def withdraw(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, feed: Feed, tables: list[Table]
) -> int:
    """Make `gone_<table>` for each table, from `arrived` and the `insert_<table>` of this run; returns how many rows.

    A deletion of what was never received is added to `problems`.
    """
    columns = "record_id, subject, source_version, sent_at, source_file, source_file_sha256, source_row"
    con.execute(f"""
        CREATE OR REPLACE TABLE deletions AS
        SELECT {columns} FROM (
          SELECT {columns} FROM to_map WHERE deleted_at_source
          UNION ALL
          SELECT {columns} FROM past_record WHERE subject IN (SELECT subject FROM arrived) AND deleted
        ) QUALIFY row_number() OVER (PARTITION BY record_id ORDER BY sent_at, source_file, source_row) = 1""")
    some = con.execute("SELECT count(*) FROM deletions").fetchone()
    if some is None or not some[0]:
        for table in tables:
            con.execute(f"CREATE OR REPLACE TABLE gone_{table.name} AS FROM insert_{table.name} LIMIT 0")
        return 0
    con.execute("""
        CREATE OR REPLACE TABLE said AS
        SELECT record_id, subject, source_version, sent_at, deleted FROM past_record
        UNION ALL SELECT record_id, subject, source_version, sent_at, deleted_at_source FROM arrived""")
    con.execute("""
        CREATE OR REPLACE TABLE standing AS
        SELECT subject, deleted FROM said
        QUALIFY row_number() OVER (
          PARTITION BY subject ORDER BY source_version DESC NULLS LAST, sent_at DESC, deleted DESC) = 1""")
    rows = sum(_gone(con, contract, feed, table) for table in tables)
    known = " UNION ALL ".join(
        f"SELECT record_id FROM gone_{t.name} UNION ALL SELECT record_id FROM lake.core.{t.name} "
        f"WHERE site_id = {quoted(contract.site_id)} AND reason = {quoted(DELETED)}"
        for t in tables
    )
    con.execute(f"""
        INSERT INTO problems BY NAME
        SELECT record_id, subject, source_file, source_file_sha256, source_row, 'deletion_of_unknown' AS reason_code,
               '' AS field_name, NULL AS value_seen, 'the deletion of a record that was received' AS value_wanted,
               true AS whole_record
        FROM to_map WHERE deleted_at_source AND record_id NOT IN ({known})""")
    return rows


def _gone(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table) -> int:
    """`gone_<table>`: a version for each key that a deleted record filled, and no record that stands fills."""
    d, site = dictionary(), quoted(contract.site_id)
    key = ", ".join(map(ident, table.key))
    same = " AND ".join(f"a.{ident(k)} IS NOT DISTINCT FROM b.{ident(k)}" for k in table.key)
    fields = ", ".join(
        f"a.{ident(f)}" if f in table.key else f"CAST(NULL AS {SQL_TYPES[d.fields[f].type]}) AS {ident(f)}"
        for f in table.fields
    )
    con.execute(f"""
        CREATE OR REPLACE TABLE filled AS
        SELECT DISTINCT {key}, subject FROM (
          SELECT {key}, record_id FROM lake.core.{table.name}
          WHERE site_id = {site} AND reason IS DISTINCT FROM {quoted(DELETED)}
          UNION ALL SELECT {key}, record_id FROM insert_{table.name}
        ) JOIN said USING (record_id)""")
    con.execute(f"""
        CREATE OR REPLACE TABLE gone_{table.name} AS
        SELECT {fields}, d.record_id, {quoted(feed.system)} AS source_system, d.source_file, d.source_file_sha256,
               d.source_row, d.source_version, d.sent_at, CAST(NULL AS BIGINT) AS utc_offset_minutes,
               getvariable('recorded_at') AS recorded_at, 'cellfleet' AS recorded_by,
               coalesce(
                 (SELECT max_by(b.record_id, (b.source_version, b.sent_at)) FROM insert_{table.name} AS b WHERE {same}),
                 (SELECT any_value(b.record_id) FROM current.{table.name} AS b WHERE {same})) AS supersedes,
               {quoted(DELETED)} AS reason, CAST(NULL AS VARCHAR) AS quality_flag,
               getvariable('run_id') AS run_id
        FROM filled AS a JOIN deletions AS d USING (subject)
        WHERE NOT EXISTS (
            FROM filled AS b JOIN standing AS o USING (subject)
            WHERE {same} AND b.subject <> a.subject AND NOT o.deleted)
          AND NOT EXISTS (
            FROM lake.core.{table.name} AS b WHERE {same} AND b.record_id = d.record_id)""")
    count = con.execute(f"SELECT count(*) FROM gone_{table.name}").fetchone()
    return int(count[0]) if count else 0
