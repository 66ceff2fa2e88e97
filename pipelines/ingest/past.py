"""What the lake knows of a feed, looked up once a run into tables of the connection's memory.

Each mention of a lake table asks the catalog and opens files, which costs more than all the work on a small feed; so
the steps read `past_<table>` instead. Belongs here: which slices are looked up. Does not belong here: what is made of
them (`promote.py`, `withdraw.py`, `evidence.py`), what is counted after the rows are written (`accounting.py`).
"""

from __future__ import annotations

import duckdb

from pipelines.harmonise.contract import Contract
from pipelines.harmonise.sql import IS_DELETION
from warehouse import lake
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import SQL_TYPES, quoted

EVIDENCE = ("record", "alias", "quarantine", "resolution")
# Entries that are still true of their record, and those of them that no newer version has closed.
HELD = """
    CREATE OR REPLACE VIEW past_held AS
    SELECT q.* FROM past_quarantine AS q
    ANTI JOIN (SELECT * FROM past_resolution WHERE resolution <> 'replaced') AS r
    ON r.record_id = q.record_id AND r.reason_code = q.reason_code AND r.field_name = q.field_name
    AND r.quarantined_at = q.recorded_at"""
OPEN = """
    CREATE OR REPLACE VIEW past_open AS
    SELECT q.* FROM past_held AS q ANTI JOIN past_resolution AS r
    ON r.record_id = q.record_id AND r.reason_code = q.reason_code AND r.field_name = q.field_name
    AND r.quarantined_at = q.recorded_at"""


def look_up(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str) -> None:
    """Make the slices of a feed.

    `past_<evidence>`: the feed's rows, `past_record` with `deleted` instead of the payload; `past_held` and
    `past_open`: its entries; `past_<core table>`: the site's rows in force of each table that the feed fills.
    """
    d, site = dictionary(), quoted(contract.site_id)
    here = f"site_id = {site} AND feed = {quoted(feed_name)}"
    # A feed that never brought a file has left nothing else either.
    known = con.execute(f"SELECT 1 FROM lake.raw.file WHERE {here} LIMIT 1").fetchone() is not None
    for name in EVIDENCE:
        table = d.tables[name]
        columns = _columns(table)
        if known:
            said = ", ".join(f"{sql} AS {column}" for column, (_, sql) in columns.items())
            con.execute(
                f"CREATE OR REPLACE TABLE past_{name} AS SELECT {said} FROM lake.{table.qualified} WHERE {here}"
            )
        else:
            empty = ", ".join(f"{column} {kind}" for column, (kind, _) in columns.items())
            con.execute(f"CREATE OR REPLACE TABLE past_{name} ({empty})")
    con.execute(HELD)
    con.execute(OPEN)
    taken_back = lake.withdrawn(con)
    for name in dict.fromkeys(m.table for m in contract.feeds[feed_name].maps):
        table = d.tables[name]
        of_site = f"(SELECT * FROM {lake.standing(table, taken_back)} WHERE site_id = {site})"
        in_force = lake.in_force_of(table, lake.last_of(table, of_site))
        con.execute(f"CREATE OR REPLACE TABLE past_{name} AS {in_force}")


def _columns(table: Table) -> dict[str, tuple[str, str]]:
    """Type and SQL of the columns of a slice."""
    fields = dictionary().fields
    told = {c: (SQL_TYPES[fields[c].type], c) for c in table.columns if c != "payload"}
    return told | {"deleted": ("BOOLEAN", IS_DELETION)} if table.name == "record" else told
