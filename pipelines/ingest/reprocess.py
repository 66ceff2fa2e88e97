"""Records that the vault holds, read again under the contract in force: what would change, then changed by superseding.

Belongs here: replay (records with an open quarantine entry) and reprocess (all records since a day) of small feeds.
Does not belong here: bringing in what is new (`promote.py`), readings (`reread_large.py`).

A deletion is not read again; it ends being in force also of the keys that its record has by now (`withdraw.py`).
A record stays what it was: its `record_id` is found by file, hash and row, whatever the contract now makes of its
content; that other content is remembered (`raw.alias`), so that the same record sent again is a duplicate. Nothing is
changed or removed: a record whose rows differ has its earlier rows taken back (`quality.withdrawal`) and its new rows
inserted with the reason *contract v…*, in one transaction with the closed and opened quarantine entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb

from pipelines.failures import PermanentFailure
from pipelines.harmonise.contract import Contract
from pipelines.harmonise.sql import IS_DELETION, ident
from pipelines.ingest.accounting import account
from pipelines.ingest.evidence import (
    ARRIVALS,
    ENTRIES,
    add_remarks,
    new_findings,
    prepare_files,
    write_evidence,
)
from pipelines.ingest.past import look_up
from pipelines.ingest.promote import compare_with_past, identify, map_records, rows_to_insert, split
from pipelines.ingest.stage import Staged, stage
from pipelines.ingest.withdraw import withdraw
from pipelines.validation.audit import Audit, audit
from warehouse import lake
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.marts import change
from warehouse.marts.build import build
from warehouse.plan import load_plan
from warehouse.settings import Settings
from warehouse.vault import Arrival, Vault

# What a row says, beside its table's own fields.
SAID = ("source_system", "source_version", "utc_offset_minutes", "quality_flag")
PLACE = "source_file, source_file_sha256, source_row, sent_at"
VERDICT = "attribute, site, verdict_before, verdict_after, estimate_before, estimate_after, moved, why"


@dataclass
class Reread:
    """What reading again changes, or would change. Rows: by core table how many are added, changed, gone."""

    site: str
    feed: str
    contract_version: str
    files: int = 0
    records: int = 0
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    opened: dict[str, int] = field(default_factory=dict)
    identities: int = 0
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    applied: bool = False
    accounting: dict[str, int] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether there is anything to apply."""
        return bool(self.identities or self.closed or self.opened or any(map(_any, self.rows.values())))


def _any(counts: dict[str, int]) -> bool:
    return any(counts.values())


def reread(
    chosen: Settings,
    contract: Contract,
    feed_name: str,
    run_id: str,
    *,
    since: date | None = None,
    only_open: bool = False,
    apply: bool = False,
) -> Reread:
    """Read records of a small feed again; without `apply` nothing is written and the verdicts that move are told.

    `since`: files that the site wrote on that UTC day or later. `only_open`: records with an open quarantine entry,
    and of these only what now passes. Raises PermanentFailure (a file is not in the vault, or can be read no
    more), AuditFailed, AccountingError or LakeError; nothing is then changed.
    """
    told = Reread(contract.site_id, feed_name, contract.version_hash)
    with lake.opened(chosen) as con:
        lake.set_recorded_at(con)
        con.execute("SET VARIABLE run_id = ?", [run_id])
        tables = _tables(con, contract, feed_name)
        _choose(con, contract, feed_name, tables, since, only_open)
        arrivals = _arrivals(con, contract, feed_name, chosen)
        told.files = len(arrivals)
        if not arrivals:
            return told
        feed = contract.feeds[feed_name]
        staged = stage(con, contract, feed, arrivals, chosen)
        _none_refused(con, contract, feed_name, staged)
        look_up(con, contract, feed_name)
        identify(con, contract, feed_name, feed)
        _place(con, contract, feed_name, staged)
        mapped = map_records(con, contract, feed)
        compare_with_past(con, contract, feed_name, staged, mapped)
        add_remarks(con, staged.remarks)
        split(con, staged, mapped)
        filled = {m.table for m in feed.maps}
        for table in tables:
            if table.name in filled:
                rows_to_insert(con, feed, table, mapped)
        withdraw(con, contract, feed_name, feed, [t for t in tables if t.name in filled])
        _consider(con, contract, feed_name, only_open=only_open)
        con.execute(
            "CREATE OR REPLACE TABLE insert_withdrawal AS SELECT * FROM lake.quality.withdrawal LIMIT 0"
        )
        con.execute("CREATE OR REPLACE TABLE ended (record_id VARCHAR)")
        touched = [t for t in tables if _compare(con, contract, feed_name, t, t.name in filled, told)]
        evidence = _evidence(con, contract, feed_name, told, only_open=only_open)
        told.records = _one(con, "SELECT count(*) FROM considered")
        if not told.changes:
            return told
        told.audits = [audit(con, t, f"insert_{t.name}") for t in touched]
        for checked in told.audits:
            checked.require()
        if not apply:
            told.verdicts = _moved(con, chosen, touched)
            return told

        def write() -> None:
            write_evidence(con, evidence)
            for table in touched:
                lake.insert(con, table, f"insert_{table.name}")
            told.accounting = account(con, contract, feed_name, run_id)

        what = "replay" if only_open else "reprocess"
        lake.commit(con, write, "cellfleet", f"run {run_id} {what} core/{contract.site_id}/{feed_name}")
        told.applied = True
        return told


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def _here(contract: Contract, feed_name: str) -> str:
    return f"site_id = {quoted(contract.site_id)} AND feed = {quoted(feed_name)}"


def _tables(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str) -> list[Table]:
    """Core tables that the feed fills, or may have filled under another contract."""
    feed = contract.feeds[feed_name]
    filled = {m.table for m in feed.maps}

    def holds(t: Table) -> bool:
        sql = f"SELECT 1 FROM lake.{t.qualified} WHERE site_id = ? AND source_system = ? LIMIT 1"
        return con.execute(sql, [contract.site_id, feed.system]).fetchone() is not None

    small = (t for t in dictionary().tables.values() if t.layer == "core" and t.volume == "small")
    return [t for t in small if t.name in filled or holds(t)]


def _choose(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    tables: list[Table],
    since: date | None,
    only_open: bool,
) -> None:
    """`chosen`: for each record the newest arrival that was made into rows, or into an entry of the quarantine."""
    here, site = _here(contract, feed_name), quoted(contract.site_id)
    con.execute(f"CREATE OR REPLACE TABLE feed_record AS SELECT * FROM current.record WHERE {here}")
    read = f"SELECT record_id FROM feed_record WHERE NOT ({IS_DELETION})"
    made = [
        f"SELECT record_id, {PLACE} FROM live.{t.name} WHERE site_id = {site} AND record_id IN ({read})"
        for t in tables
    ]
    made.append(
        "SELECT q.record_id, q.source_file, q.source_file_sha256, q.source_row, r.sent_at "
        f"FROM (SELECT * FROM current.held WHERE {here}) AS q "
        "JOIN feed_record AS r USING (record_id, source_file, source_file_sha256, source_row) "
        f"WHERE NOT ({IS_DELETION})"
    )
    wanted = ["true"]
    if since is not None:
        wanted.append(f"sent_at >= TIMESTAMPTZ {quoted(f'{since.isoformat()} 00:00:00Z')}")
    if only_open:
        wanted.append(f"record_id IN (SELECT record_id FROM current.quarantine WHERE {here})")
    con.execute(f"""
        CREATE OR REPLACE TABLE chosen AS
        SELECT * FROM ({" UNION ".join(made)}) WHERE {" AND ".join(wanted)}
        QUALIFY row_number() OVER (PARTITION BY record_id ORDER BY sent_at DESC, source_file, source_row) = 1""")


def _arrivals(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, chosen: Settings
) -> list[Arrival]:
    """The files that hold the chosen records, from the vault."""
    vault = Vault(chosen.vault_path(contract.site_id))
    rows = con.execute(f"""
        SELECT source_file, source_file_sha256, bytes, sent_at FROM current.file
        WHERE {_here(contract, feed_name)} AND (source_file, source_file_sha256, sent_at) IN (
          SELECT (source_file, source_file_sha256, sent_at) FROM chosen)
        ORDER BY sent_at, source_file""").fetchall()
    arrivals = [Arrival(vault.path(sha, name), name, sha, size, sent) for name, sha, size, sent in rows]
    for arrival in arrivals:
        if not arrival.path.exists():
            raise PermanentFailure(
                f"{arrival.name} (SHA-256 {arrival.sha256[:12]}…) is not in the vault of {contract.site_id}.",
                "Restore the vault from the site's backup; nothing was changed.",
            )
    return arrivals


def _none_refused(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, staged: Staged) -> None:
    """A contract under which a file that was read can be read no more is a mistake, not a correction."""
    was_read = {
        (name, sha)
        for name, sha in con.execute(
            f"SELECT source_file, source_file_sha256 FROM current.file "
            f"WHERE {_here(contract, feed_name)} AND file_state = 'read'"
        ).fetchall()
    }
    for f in staged.files:
        if f.refusal and (f.arrival.name, f.arrival.sha256) in was_read:
            raise PermanentFailure(
                f"{f.arrival.name} was read before and cannot be read under this contract: {f.refusal}",
                f"Mend `format` of {contract.site_id}/{feed_name}; nothing was changed.",
            )


def _place(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, staged: Staged) -> None:
    """Each record that was read gets the identity of its place back; `to_map`: the chosen ones and those never seen.

    `reread_file`: files whose records are others than before (one that could not be read now can).
    """
    prepare_files(con, contract, feed_name, staged)
    before = f"(SELECT DISTINCT record_id AS was, {PLACE} FROM feed_record)"
    for relation in ("arrived", "refused"):
        con.execute(f"""
            CREATE OR REPLACE TABLE {relation} AS
            SELECT a.* REPLACE (coalesce(b.was, a.record_id) AS record_id), b.was IS NOT NULL AS was_there
            FROM {relation} AS a LEFT JOIN {before} AS b USING ({PLACE})""")
    now = f"SELECT record_id, {PLACE} FROM ({ARRIVALS})"
    then = (
        f"SELECT record_id, {PLACE} FROM feed_record "
        "WHERE (source_file, source_file_sha256, sent_at) IN "
        "(SELECT (source_file, source_file_sha256, sent_at) FROM file)"
    )
    con.execute(f"""
        CREATE OR REPLACE TABLE reread_file AS
        SELECT DISTINCT source_file, source_file_sha256, sent_at FROM (
          (({now}) EXCEPT ({then})) UNION ALL (({then}) EXCEPT ({now})))""")
    con.execute(f"""
        CREATE OR REPLACE TABLE gone_record AS
        SELECT record_id FROM ({then}) WHERE record_id NOT IN (SELECT record_id FROM ({now}))
        AND record_id NOT IN (
          SELECT record_id FROM feed_record WHERE (source_file, source_file_sha256, sent_at) NOT IN (
            SELECT (source_file, source_file_sha256, sent_at) FROM reread_file))""")
    con.execute(f"""
        CREATE OR REPLACE TABLE to_map AS
        SELECT * FROM arrived
        WHERE (record_id, {PLACE}) IN (SELECT (record_id, {PLACE}) FROM chosen)
           OR (NOT was_there AND record_id NOT IN (SELECT record_id FROM feed_record))
        QUALIFY row_number() OVER (PARTITION BY record_id ORDER BY sent_at DESC, source_file, source_row) = 1""")


def _consider(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, *, only_open: bool) -> None:
    """`entry_now`: what is wrong now; `entry_held`: what is held against; `considered`: records that may change."""
    here = _here(contract, feed_name)
    con.execute(f"""
        CREATE OR REPLACE TABLE entry_now AS SELECT DISTINCT ON (record_id, reason_code, field_name, whole_record) *
        FROM ({ENTRIES})""")
    con.execute(f"""
        CREATE OR REPLACE TABLE entry_held AS SELECT * FROM current.held
        WHERE {here} AND record_id IN (SELECT record_id FROM chosen UNION SELECT record_id FROM gone_record)""")
    con.execute("""
        CREATE OR REPLACE TABLE considered AS
        SELECT record_id FROM to_map
        UNION SELECT record_id FROM refused WHERE whole_record AND record_id IN (SELECT record_id FROM chosen)
        UNION SELECT record_id FROM gone_record""")
    if only_open:
        # Replay promotes what passes now; what fails as before, or otherwise, waits as it did.
        con.execute("""
            CREATE OR REPLACE TABLE considered AS
            SELECT record_id FROM considered WHERE record_id IN (SELECT record_id FROM gone_record)
               OR record_id NOT IN (SELECT record_id FROM feed_record)
               OR record_id IN (
                 SELECT record_id FROM entry_held ANTI JOIN entry_now
                 USING (record_id, reason_code, field_name, whole_record)
                 WHERE record_id IN (FROM kept))""")


def _compare(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    table: Table,
    filled: bool,
    told: Reread,
) -> bool:
    """`insert_<table>`: the rows that differ from what stands; withdraw what they replace. Whether there are any."""
    name, site = table.name, quoted(contract.site_id)
    key = ", ".join(map(ident, (*table.key, "record_id")))
    content = ", ".join(f"{ident(c)} := {ident(c)}" for c in (*table.fields, *SAID))
    old, new = f"old_{name}", f"insert_{name}"
    if not filled:
        con.execute(f"CREATE OR REPLACE TABLE {new} AS SELECT * FROM lake.core.{name} LIMIT 0")
    con.execute(f"""
        CREATE OR REPLACE TABLE {old} AS SELECT * FROM live.{name}
        WHERE site_id = {site} AND record_id IN (FROM considered)
        QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY sent_at DESC, recorded_at DESC) = 1""")
    con.execute(f"""
        CREATE OR REPLACE TABLE differs AS
        SELECT coalesce(o.record_id, n.record_id) AS record_id,
               CASE WHEN o.record_id IS NULL THEN 'added' WHEN n.record_id IS NULL THEN 'gone' ELSE 'changed' END AS how
        FROM (SELECT {key}, struct_pack({content}) AS said FROM {old}) AS o
        FULL JOIN (SELECT {key}, struct_pack({content}) AS said FROM {new} WHERE record_id IN (FROM considered)) AS n
        USING ({key})
        WHERE o.record_id IS NULL OR n.record_id IS NULL OR o.said IS DISTINCT FROM n.said""")
    counts = dict(con.execute("SELECT how, count(*) FROM differs GROUP BY how").fetchall())
    deleted = _one(con, f"SELECT count(*) FROM gone_{name}") if filled else 0
    if not counts and not deleted:
        return False
    counts["added"] = counts.get("added", 0) + deleted
    told.rows[name] = {how: int(counts.get(how, 0)) for how in ("added", "changed", "gone")}
    reason = quoted(f"contract v{contract.version_hash}")
    con.execute(f"""
        CREATE OR REPLACE TABLE {new} AS
        SELECT n.* REPLACE (
          {reason} AS reason,
          CASE WHEN n.supersedes = n.record_id THEN o.supersedes ELSE n.supersedes END AS supersedes)
        FROM {new} AS n
        LEFT JOIN (SELECT record_id, any_value(supersedes) AS supersedes FROM {old} GROUP BY ALL) AS o USING (record_id)
        WHERE n.record_id IN (SELECT record_id FROM differs)""")
    if deleted:
        con.execute(f"INSERT INTO {new} BY NAME SELECT * FROM gone_{name}")
        con.execute(f"INSERT INTO ended SELECT record_id FROM gone_{name}")
    con.execute(f"""
        INSERT INTO insert_withdrawal BY NAME
        SELECT DISTINCT {site} AS site_id, {quoted(feed_name)} AS feed, {quoted(name)} AS table_name, record_id,
               CAST(NULL AS VARCHAR) AS source_file_sha256, {reason} AS reason,
               {quoted(contract.version_hash)} AS contract_version, getvariable('recorded_at') AS recorded_at,
               getvariable('run_id') AS run_id
        FROM {old} WHERE record_id IN (SELECT record_id FROM differs)""")
    return True


def _evidence(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, told: Reread, *, only_open: bool
) -> dict[str, str]:
    """Relations of what is stored beside the rows: files read anew, identities, entries closed and opened."""
    new_findings(con, contract.site_id, feed_name)
    here = f"{quoted(contract.site_id)} AS site_id, {quoted(feed_name)} AS feed"
    version = f"{quoted(contract.version_hash)} AS contract_version"
    stamp = "getvariable('recorded_at') AS recorded_at, getvariable('run_id') AS run_id"
    file = "(source_file, source_file_sha256, sent_at)"
    anew = f"{file} IN (SELECT {file} FROM reread_file)"
    con.execute(f"CREATE OR REPLACE TABLE insert_file AS SELECT {here}, *, {stamp} FROM file WHERE {anew}")
    con.execute(
        f"CREATE OR REPLACE TABLE insert_record AS SELECT {here}, *, {stamp} FROM ({ARRIVALS}) WHERE {anew}"
    )
    same = "USING (record_id, reason_code, field_name, whole_record)"
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_resolution AS
        SELECT site_id, feed, record_id, subject, reason_code, field_name, h.recorded_at AS quarantined_at,
               CASE WHEN record_id IN (FROM kept) THEN 'promoted' ELSE 'withdrawn' END AS resolution,
               {version}, {stamp}
        FROM entry_held AS h ANTI JOIN entry_now {same} WHERE record_id IN (FROM considered)
        UNION ALL BY NAME
        SELECT site_id, feed, record_id, subject, reason_code, field_name, recorded_at AS quarantined_at,
               'promoted' AS resolution, {version}, {stamp}
        FROM current.held WHERE {_here(contract, feed_name)} AND record_id IN (FROM ended)""")
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_quarantine AS
        SELECT {here}, *, {version}, {stamp} FROM entry_now ANTI JOIN entry_held {same}
        WHERE record_id IN (FROM considered)""")
    # Where the content was already sent as a record of its own, it stays that.
    applied = "AND record_id IN (FROM considered)" if only_open else ""
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_alias AS
        SELECT {here}, content_id, record_id, {version}, {stamp}
        FROM arrived
        WHERE content_id <> record_id {applied} AND content_id NOT IN (SELECT record_id FROM feed_record)
          AND (content_id, record_id) NOT IN (
            SELECT (content_id, max_by(record_id, recorded_at)) FROM lake.raw.alias
            WHERE {_here(contract, feed_name)} GROUP BY content_id)
        QUALIFY row_number() OVER (
          PARTITION BY content_id ORDER BY source_version DESC NULLS LAST, sent_at DESC, record_id) = 1""")
    count = "SELECT {0}, count(*) FROM {1} GROUP BY ALL ORDER BY ALL"
    told.closed = dict(con.execute(count.format("resolution", "insert_resolution")).fetchall())
    told.opened = dict(con.execute(count.format("reason_code", "insert_quarantine")).fetchall())
    told.identities = _one(con, "SELECT count(*) FROM insert_alias")
    return {
        "raw.file": "insert_file",
        "raw.record": "insert_record",
        "raw.alias": "insert_alias",
        "quality.quarantine": "insert_quarantine",
        "quality.resolution": "insert_resolution",
        "quality.withdrawal": "insert_withdrawal",
        "quality.finding": "insert_finding",
    }


def _moved(con: duckdb.DuckDBPyConnection, chosen: Settings, touched: list[Table]) -> list[dict[str, Any]]:
    """Verdicts on the lake as it would be against those on the lake as it is; the lake is not written."""
    fleet = load_plan(chosen.sites_path / "fleet.yaml")
    for name in ("as_is", "would_be"):
        con.execute(f"ATTACH ':memory:' AS {name}")
    try:
        build(con, "as_is", fleet, 0, alpha=float(chosen.alpha), power=float(chosen.power))
        with _overlaid(con, touched):
            build(con, "would_be", fleet, 0, alpha=float(chosen.alpha), power=float(chosen.power))
        con.execute(change.SQL.format(target="would_be", before="as_is.mart.comparability"))
        cursor = con.execute(f"SELECT {VERDICT} FROM would_be.mart.change")
        names = [c[0] for c in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        for name in ("as_is", "would_be"):
            con.execute(f"DETACH {name}")


@contextmanager
def _overlaid(con: duckdb.DuckDBPyConnection, touched: list[Table]) -> Iterator[None]:
    """The views `live` and `current` as they would be with the prepared rows and withdrawals."""
    withdrawal = "(FROM lake.quality.withdrawal UNION ALL BY NAME FROM memory.main.insert_withdrawal)"
    for t in touched:
        source = f"(FROM lake.core.{t.name} UNION ALL BY NAME FROM memory.main.insert_{t.name})"
        con.execute(f"CREATE OR REPLACE VIEW live.{t.name} AS {lake.live_sql(t, source, withdrawal)}")
        con.execute(
            f"CREATE OR REPLACE VIEW current.{t.name} AS {lake.current_sql(t, source, withdrawal=withdrawal)}"
        )
    try:
        yield
    finally:
        lake.create_views(con)
