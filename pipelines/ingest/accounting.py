"""It adds up: `received` counted by the reader on the bytes, the four states by SQL on stored rows, compared.

Of readings, which are too many to be counted again with every run, the rows that the run stored are counted and what
they share with rows stored before; the feed's last account says the rest, and the sum must hold over all of it.
"""

from __future__ import annotations

import duckdb

from pipelines.harmonise.contract import Contract, Feed
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.lake import last_of, standing, withdrawn

STATES = ("promoted", "superseded", "duplicate", "quarantined")
COLUMNS = ("received", *STATES, "fields_quarantined", "findings")
# Rows of the transaction under way: no commit before it has its time (`lake.set_recorded_at`).
NOW = "recorded_at = getvariable('recorded_at')"


class AccountingError(RuntimeError):
    """What was received is not what is stored; nothing was committed."""


def account(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, run_id: str
) -> dict[str, int]:
    """Count, compare and store, inside the caller's transaction. Raises AccountingError where the sum is off."""
    feed = contract.feeds[feed_name]
    here = f"site_id = {quoted(contract.site_id)} AND feed = {quoted(feed_name)}"
    # Looked up once: every mention of a table of the lake opens its files again.
    con.execute(f"CREATE OR REPLACE TEMP TABLE stored_file AS SELECT * FROM current.file WHERE {here}")
    _held(con, here)
    sums = {
        "received": "SELECT coalesce(sum(received), 0) FROM stored_file",
        "fields_quarantined": "SELECT count(*) FROM held_entries WHERE NOT whole_record",
        "findings": f"SELECT count(*) FROM lake.quality.finding WHERE {here}",
    }
    sums |= _large(con, contract, feed, here) if is_large(feed) else _small(con, contract, feed, here)
    counts = {c: _number(con, sums[c]) for c in COLUMNS}
    if counts["received"] != sum(counts[s] for s in STATES):
        told = ", ".join(f"{s} {counts[s]}" for s in STATES)
        raise AccountingError(
            f"{contract.site_id}/{feed_name}: {counts['received']} records received, but {told}; nothing was committed"
        )
    con.execute(
        f"INSERT INTO lake.quality.accounting BY NAME "
        f"SELECT {quoted(contract.site_id)} AS site_id, {quoted(feed_name)} AS feed, "
        + ", ".join(f"{counts[c]} AS {c}" for c in COLUMNS)
        + f", getvariable('recorded_at') AS recorded_at, {quoted(run_id)} AS run_id"
    )
    return counts


def _held(con: duckdb.DuckDBPyConnection, here: str) -> None:
    """`held_entries`: the feed's entries that are still true of their record, as `current.held` has them."""
    columns = "record_id, source_file_sha256, source_file, source_row, whole_record"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE held_entries AS SELECT * FROM lake.quality.quarantine WHERE {here}"
    )
    # Mostly nothing is held, and nothing was ever closed.
    if _number(con, "SELECT count(*) FROM held_entries"):
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE held_entries AS SELECT {columns} FROM current.held WHERE {here}"
        )


def last_account(con: duckdb.DuckDBPyConnection, site: str, feed: str) -> dict[str, int] | None:
    """The feed's accounting as last stored; None before its first run."""
    row = con.execute(
        f"SELECT {', '.join(COLUMNS)} FROM lake.quality.accounting WHERE site_id = ? AND feed = ? "
        "ORDER BY recorded_at DESC LIMIT 1",
        [site, feed],
    ).fetchone()
    return dict(zip(COLUMNS, map(int, row), strict=True)) if row else None


def _number(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def set_aside(account: dict[str, int]) -> int:
    """Records and fields of a feed's account that are, or were until their mend, in quarantine."""
    return account.get("quarantined", 0) + account.get("fields_quarantined", 0)


def is_large(feed: Feed) -> bool:
    """Whether the feed's records are readings, stored without a raw row each."""
    return any(dictionary().tables[m.table].volume == "large" for m in feed.maps)


def _small(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, here: str) -> dict[str, str]:
    """SQL of the four states of a feed whose records are stored each by itself."""
    tables = dict.fromkeys(m.table for m in feed.maps)
    site = quoted(contract.site_id)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE arrived_records AS "
        f"SELECT r.record_id FROM (SELECT * FROM lake.raw.record WHERE {here}) AS r "
        "SEMI JOIN stored_file AS f USING (source_file, source_file_sha256, sent_at, recorded_at)"
    )
    arrivals = "SELECT record_id FROM arrived_records"
    taken_back = withdrawn(con)
    for t in tables:
        stands = standing(dictionary().tables[t], taken_back)
        con.execute(f"CREATE OR REPLACE TEMP TABLE live_{t} AS SELECT * FROM {stands} WHERE site_id = {site}")
    stored = " UNION ".join(
        f"SELECT DISTINCT record_id FROM live_{t} WHERE record_id IN ({arrivals})" for t in tables
    )
    # A deletion that is the last word on what it names counts as promoted, and what it names as superseded.
    current = " UNION ".join(
        f"SELECT record_id FROM ({last_of(dictionary().tables[t], f'live_{t}')})" for t in tables
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE stored_records AS "
        f"SELECT record_id, record_id IN ({current}) AS in_force FROM ({stored})"
    )
    return {
        "promoted": "SELECT count(*) FROM stored_records WHERE in_force",
        "superseded": "SELECT count(*) FROM stored_records WHERE NOT in_force",
        "duplicate": f"SELECT count(*) - count(DISTINCT record_id) FROM ({arrivals})",
        "quarantined": "SELECT count(DISTINCT record_id) FROM held_entries WHERE whole_record "
        f"AND record_id IN ({arrivals}) AND record_id NOT IN (SELECT record_id FROM stored_records)",
    }


def _large(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, here: str) -> dict[str, str]:
    """SQL of the four states of a feed of readings."""
    table = dictionary().tables[feed.maps[0].table]
    mine = f"site_id = {quoted(contract.site_id)} AND source_system = {quoted(feed.system)}"
    before = con.execute(
        f"SELECT promoted, superseded, duplicate FROM lake.quality.accounting WHERE {here} "
        "ORDER BY recorded_at DESC LIMIT 1"
    ).fetchone()
    if table.name in withdrawn(con):
        # What was taken back may be of any run.
        keys, n = _all_readings(con, table, f"live.{table.name}", mine)
        before, since = None, "true"
    else:
        keys, n = _new_readings(con, table, mine)
        since = NOW
    promoted, superseded, duplicate = map(int, before or (0, 0, 0))
    held = "SELECT DISTINCT source_file, source_file_sha256, source_row FROM held_entries WHERE whole_record"
    # A reading that is held is one record, however often its file is sent: each further time it is a duplicate.
    sent_again = (
        "SELECT source_file, source_file_sha256, count(*) FILTER (new) - bool_and(new)::INT AS n "
        f"FROM (SELECT *, {since} AS new FROM stored_file) GROUP BY ALL HAVING n > 0"
    )
    return {
        "promoted": f"SELECT {promoted + keys}",
        "superseded": f"SELECT {superseded + n - keys}",
        # Of a file that was read again, the newest reading counts.
        "duplicate": f"SELECT {duplicate} + (SELECT count(*) FROM lake.quality.duplicate SEMI JOIN stored_file "
        f"USING (source_file, source_file_sha256, recorded_at) WHERE {here} AND {since}) + (SELECT coalesce(sum(n), 0) "
        f"FROM ({held}) JOIN ({sent_again}) USING (source_file, source_file_sha256))",
        "quarantined": f"SELECT count(*) FROM ({held})",
    }


def _new_readings(con: duckdb.DuckDBPyConnection, table: Table, mine: str) -> tuple[int, int]:
    """Keys that this run brought into force for the first time, and rows that it stored. Needs `twice` of the run."""
    stored = f"FROM lake.core.{table.name} WHERE {mine}"
    n = _number(con, f"SELECT count(*) {stored} AND {NOW}")
    # Of readings that share a key one is in force, the others are superseded. Mostly none share one: where the run met
    # no key twice, in its files or with what was stored before, there are as many keys as rows.
    if not _number(con, "SELECT count(*) FROM twice"):
        return n, n
    key = ", ".join(table.key)
    new = f"SELECT {key} {stored} AND {NOW}"
    # Earlier rows can share a key only where they are of the same hours: of others no file is opened.
    span = con.execute(f"SELECT min(read_at), max(read_at) {stored} AND {NOW}").fetchone()
    old = f"SELECT {key} {stored} AND read_at BETWEEN ? AND ? AND NOT {NOW}"
    row = con.execute(f"SELECT count(*) FROM (({new}) EXCEPT ({old}))", list(span or ())).fetchone()
    assert row is not None
    return int(row[0]), n


def _all_readings(con: duckdb.DuckDBPyConnection, table: Table, stored: str, mine: str) -> tuple[int, int]:
    """Keys and rows of a feed, all counted."""
    key = ", ".join(table.key)
    n = _number(con, f"SELECT count(*) FROM {stored} WHERE {mine}")
    return _number(con, f"SELECT count(*) FROM (SELECT DISTINCT {key} FROM {stored} WHERE {mine})"), n
