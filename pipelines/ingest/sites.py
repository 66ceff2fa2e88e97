"""The sites themselves, from their contracts: a row is added when a contract says something new about its site."""

from __future__ import annotations

import duckdb

from pipelines.harmonise.contract import Contract
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import SQL_TYPES

FIELDS = ("site_id", "site_name", "country", "time_zone", "site_role")


def record_sites(con: duckdb.DuckDBPyConnection, contracts: list[Contract], run_id: str) -> int:
    """Add a row to core.site for each contract that tells something new; returns how many."""
    table = dictionary().tables["site"]
    told = {tuple(row) for row in con.execute(f"SELECT {', '.join(FIELDS)} FROM current.site").fetchall()}
    rows = [(c.site_id, c.name, c.country, c.time_zone, c.role) for c in contracts]
    fresh = [row for row in rows if row not in told]
    if not fresh:
        return 0
    con.execute(f"CREATE OR REPLACE TABLE new_site ({', '.join(f'{f} VARCHAR' for f in FIELDS)})")
    con.executemany("INSERT INTO new_site VALUES (?, ?, ?, ?, ?)", fresh)
    own = {
        *FIELDS,
        "record_id",
        "source_system",
        "source_file",
        "recorded_at",
        "sent_at",
        "recorded_by",
        "run_id",
    }
    empty = ", ".join(f"CAST(NULL AS {kind}) AS {f}" for f, kind in _types(table.columns) if f not in own)
    lake.set_recorded_at(con)
    con.execute(
        f"""CREATE OR REPLACE TABLE insert_site AS
            SELECT *, md5(concat_ws('|', {", ".join(FIELDS)})) AS record_id, 'contract' AS source_system,
                   site_id || '/defs.yaml' AS source_file, getvariable('recorded_at') AS recorded_at,
                   TIMESTAMPTZ '1970-01-01 00:00:00Z' AS sent_at,
                   'cellfleet' AS recorded_by, '{run_id}' AS run_id, {empty}
            FROM new_site"""
    )
    lake.commit(con, lambda: _insert(con), "cellfleet", f"run {run_id} asset core/site")
    return len(fresh)


def _insert(con: duckdb.DuckDBPyConnection) -> None:
    lake.insert(con, dictionary().tables["site"], "insert_site")


def _types(columns: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, SQL_TYPES[dictionary().fields[name].type]) for name in columns]
