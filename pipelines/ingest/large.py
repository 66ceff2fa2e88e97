"""Feeds of many millions of readings: the same steps as `promote.py`, inside DuckDB, some files at a time.

No reading becomes a Python object and none has a raw row: the vault's file is its raw form, file and row its identity.
Each group of files is one transaction, so a killed run goes on with the next group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import polars as pl

from pipelines.formats import delimited, parquet
from pipelines.formats.delimited import Scan
from pipelines.formats.protocol import UnreadableFile
from pipelines.harmonise.contract import Contract, Feed
from pipelines.harmonise.mapping import Compiler, columns_used, ident, text_of
from pipelines.ingest.accounting import account
from pipelines.ingest.evidence import prepare_large, write_evidence
from pipelines.ingest.outcome import Outcome
from pipelines.ingest.stage import FileRead, options_of
from pipelines.ingest.take import Taking, write_cursor
from pipelines.validation.audit import audit
from warehouse import lake
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.faults import reached
from warehouse.vault import Arrival

SCANS: dict[str, Callable[..., Scan]] = {"delimited": delimited.scan, "parquet": parquet.scan}
# Bytes of files that are handled together: bounds memory and the work lost when a run is killed.
GROUP_BYTES = 160 << 20
GROUP_FILE: dict[str, Any] = {
    "file_no": pl.Int32, "source_file": pl.String, "source_file_sha256": pl.String, "sent_at": pl.Datetime("us", "UTC"),
}  # fmt: skip


@dataclass(frozen=True)
class _Group:
    files: list[FileRead]
    scans: list[tuple[Arrival, Scan]]


def promote_large(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    takings: list[Taking],
    run_id: str,
    progress: Callable[[str], None],
) -> Outcome:
    """Read, map, split, audit and commit the files of a large feed, group by group.

    Raises AuditFailed, LakeError or AccountingError; groups already committed stay.
    """
    feed = contract.feeds[feed_name]
    table = dictionary().tables[feed.maps[0].table]
    outcome = Outcome(contract.site_id, feed_name, {})
    groups = list(_grouped(takings))
    con.execute("SET VARIABLE run_id = ?", [run_id])
    for i, group in enumerate(groups or [[]], 1):
        # Of each group its own: the newest accounting is told by it.
        lake.set_recorded_at(con)
        with TemporaryDirectory() as scratch:
            read = _scanned(contract, feed, [a for t in group for a in t.arrivals], Path(scratch))
            _map(con, contract, feed, table, read)
        _split(con, contract, feed, table)
        _commit(con, contract, feed_name, table, read, group, run_id, outcome)
        progress(
            f"{contract.site_id}/{feed_name}: group {i} of {len(groups)}, {outcome.rows.get(table.name, 0):,} readings"
        )
    return outcome


def _grouped(takings: list[Taking]) -> Iterator[list[Taking]]:
    group: list[Taking] = []
    for taking in takings:
        group.append(taking)
        if sum(t.size for t in group) >= GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def _scanned(contract: Contract, feed: Feed, arrivals: list[Arrival], scratch: Path) -> _Group:
    used = set(columns_used(feed))
    known = used | set(feed.ignore) | set(feed.identifying) | set(feed.free_text)
    files, scans = [], []
    for n, arrival in enumerate(arrivals):
        files.append(read := FileRead(arrival, feed.format.name, 1))
        if arrival.archive:
            read.unpacked()
            continue
        folder = scratch / str(n)
        folder.mkdir()
        try:
            scan = SCANS[feed.format.name](arrival.path, options_of(contract, feed), folder)
        except UnreadableFile as error:
            read.refusal = f"{error.problem} {error.mend}".replace(arrival.path.name, arrival.name)
            continue
        read.received, read.refused, read.flags = scan.received, scan.refused, scan.flags
        if feed.format.name == "delimited" and (twice := delimited.repeated_names(tuple(scan.columns), used)):
            read.refusal = (
                f"Column {', '.join(twice)} stands twice among the names; which is meant cannot be told. "
                "Ask for the file again, or state `columns` in the contract."
            )
            read.received, read.refused, read.flags = 1, (), ()
            continue
        read.missing = sorted(used - set(scan.columns))
        read.unknown = sorted(set(scan.columns) - known)
        if read.missing:
            read.refusal = (
                f"Column {', '.join(read.missing)} is missing (found {', '.join(scan.columns)}). "
                "Map the new name in the contract, or ask for the file again."
            )
            read.reason_code, read.field_name = "column_missing", "|".join(read.missing)
            read.received, read.refused = scan.received, ()
            continue
        scans.append((arrival, scan))
    return _Group(files, scans)


def _map(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table, group: _Group) -> None:
    """`staged`: text with the number of its file; `mapped`: typed rows with `problems`, file and row."""
    used = sorted(columns_used(feed))
    texts = ", ".join(f"CAST({ident(c)} AS VARCHAR) AS {ident(c)}" for c in used)
    staged = [
        f"SELECT {n} AS file_no, source_row, {texts} FROM {scan.sql}"
        for n, (_, scan) in enumerate(group.scans)
    ]
    if not staged:
        nothing = ", ".join(f"CAST(NULL AS VARCHAR) AS {ident(c)}" for c in used)
        staged = [f"SELECT 0 AS file_no, CAST(0 AS BIGINT) AS source_row, {nothing} WHERE false"]
    # Rows carry a number for their file; its name, hash and time join in at the end, where they compress to nothing.
    files = [(n, a.name, a.sha256, a.sent_at) for n, (a, _) in enumerate(group.scans)]
    con.register("frame", pl.DataFrame(files, schema=GROUP_FILE, orient="row"))
    con.execute("CREATE OR REPLACE TABLE group_files AS SELECT * FROM frame")
    con.unregister("frame")
    con.execute(f"CREATE OR REPLACE TABLE staged AS {' UNION ALL '.join(staged)}")
    compiler = Compiler(dictionary(), contract, feed, feed.maps[0])
    fields = ", ".join(ident(f) for f in table.fields)
    typed = " UNION ALL ".join(
        f"SELECT {fields}, file_no, source_row, problems FROM ({select})" for select in compiler.selects()
    )
    con.execute(f"CREATE OR REPLACE TABLE mapped AS {typed}")


def _split(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table) -> None:
    """`problems`, `repeated` (readings said before) and `insert_reading` (in the order they are read back)."""
    record = [feed.record] if isinstance(feed.record, str) else feed.record
    subject = ", ".join(f"coalesce({text_of(c)}, '')" for c in record)
    con.execute(f"""
        CREATE OR REPLACE TABLE problems AS
        SELECT left(f.source_file_sha256, 24) || ':' || s.source_row AS record_id, concat_ws('|', {subject}) AS subject,
               f.source_file, f.source_file_sha256, s.source_row,
               p.reason_code, p.field_name, p.value_seen, p.value_wanted, p.whole_record
        FROM (SELECT file_no, source_row, unnest(problems) AS p FROM mapped WHERE len(problems) > 0)
        JOIN staged AS s USING (file_no, source_row)
        JOIN group_files AS f USING (file_no)""")
    con.execute("DROP TABLE staged")
    fields = ", ".join(ident(f) for f in table.fields)
    con.execute(f"""
        CREATE OR REPLACE TABLE good AS SELECT {fields}, file_no, source_row FROM mapped
        WHERE len(problems) = 0 OR len(list_filter(problems, lambda p: p.whole_record)) = 0""")
    con.execute("DROP TABLE mapped")
    _find_repeated(con, contract, table, fields)
    left_out = "WHERE (f.source_file, f.source_file_sha256, g.source_row) NOT IN (FROM repeated)"
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_{table.name} AS
        SELECT {fields}, {quoted(feed.system)} AS source_system, f.source_file_sha256, g.source_row, f.sent_at,
               getvariable('recorded_at') AS recorded_at, getvariable('run_id') AS run_id
        FROM good AS g JOIN group_files AS f USING (file_no)
        {left_out if _some(con, "repeated") else ""}
        ORDER BY batch_id, channel, read_at, file_no, source_row""")
    con.execute("DROP TABLE good")


def _find_repeated(con: duckdb.DuckDBPyConnection, contract: Contract, table: Table, fields: str) -> None:
    """`repeated`: readings of `good` that say again what was said, here or in the lake. Mostly there are none."""
    site = quoted(contract.site_id)
    key = ", ".join(ident(k) for k in table.key)
    con.execute(f"CREATE OR REPLACE TABLE twice AS SELECT {key} FROM good GROUP BY {key} HAVING count(*) > 1")
    span = con.execute("SELECT min(read_at), max(read_at) FROM good").fetchone()
    if span and span[0] is not None:
        con.execute(
            f"""INSERT INTO twice SELECT DISTINCT {key} FROM lake.core.{table.name}
                WHERE site_id = {site} AND read_at BETWEEN ? AND ? AND batch_id IN (SELECT batch_id FROM good)
                  AND ({key}) IN (SELECT ({key}) FROM good)""",
            list(span),
        )
    con.execute(
        "CREATE OR REPLACE TABLE repeated (source_file VARCHAR, source_file_sha256 VARCHAR, source_row BIGINT)"
    )
    if not _some(con, "twice"):
        return
    con.execute(f"""
        INSERT INTO repeated
        WITH every AS (
          SELECT g.* EXCLUDE (file_no), f.* EXCLUDE (file_no), false AS stored
          FROM good AS g JOIN group_files AS f USING (file_no) WHERE ({key}) IN (FROM twice)
          UNION ALL BY NAME
          SELECT {fields}, '' AS source_file, source_file_sha256, source_row, sent_at, true AS stored
          FROM lake.core.{table.name} WHERE site_id = {site} AND ({key}) IN (FROM twice)
        )
        SELECT source_file, source_file_sha256, source_row FROM every
        QUALIFY row_number() OVER (
          PARTITION BY {key}, reading, reading_status ORDER BY stored DESC, sent_at, source_file, source_row) > 1
          AND NOT stored""")


def _some(con: duckdb.DuckDBPyConnection, relation: str) -> bool:
    row = con.execute(f"SELECT count(*) FROM {relation}").fetchone()
    return bool(row and row[0])


def _commit(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    table: Table,
    group: _Group,
    takings: list[Taking],
    run_id: str,
    outcome: Outcome,
) -> None:
    checked = audit(con, table, f"insert_{table.name}")
    checked.require()
    outcome.audits.append(checked)
    outcome.refused_files += [f"{f.arrival.name}: {f.refusal}" for f in group.files if f.refusal]
    evidence = prepare_large(con, contract, feed_name, group.files)
    reached("after_stage")

    def write() -> None:
        write_evidence(con, evidence)
        outcome.rows[table.name] = outcome.rows.get(table.name, 0) + lake.insert(
            con, table, f"insert_{table.name}"
        )
        write_cursor(con, contract.site_id, feed_name, takings)
        outcome.accounting = account(con, contract, feed_name, run_id)

    lake.commit(con, write, "cellfleet", f"run {run_id} asset core/{contract.site_id}/{feed_name}")
