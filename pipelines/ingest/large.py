"""Feeds of many millions of readings: the same steps as `promote.py`, inside DuckDB, some files at a time.

No reading becomes a Python object and none has a raw row: the vault's file is its raw form, file and row its identity.
Each group of files is one transaction, so a killed run goes on with the next group.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from pipelines.formats import delimited, parquet
from pipelines.formats.delimited import Scan
from pipelines.formats.protocol import UnreadableFile
from pipelines.harmonise.contract import Contract, Feed
from pipelines.harmonise.mapping import columns_used, ident
from pipelines.ingest.accounting import account
from pipelines.ingest.evidence import prepare_large, write_evidence
from pipelines.ingest.memory import bounded
from pipelines.ingest.outcome import Outcome
from pipelines.ingest.readings import Batch, enum, map_readings
from pipelines.ingest.stage import FileRead, options_of
from pipelines.ingest.take import Taking, write_cursor
from pipelines.validation.audit import audit
from warehouse import lake, lake_layout
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.faults import reached
from warehouse.vault import Arrival

SCANS: dict[str, Callable[..., Scan]] = {"delimited": delimited.scan, "parquet": parquet.scan}
# Bytes of files that are handled together, some four million readings: bounds memory and the work lost when a run is
# killed. A file is always whole.
GROUP_BYTES = {"delimited": 160 << 20, "parquet": 20 << 20}


@dataclass
class _Group:
    files: list[FileRead] = field(default_factory=list)
    batch: Batch = field(default_factory=Batch)


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
    groups = list(_grouped(takings, GROUP_BYTES[feed.format.name]))
    con.execute("SET VARIABLE run_id = ?", [run_id])
    for i, group in enumerate(groups or [[]], 1):
        with bounded(con):
            # Of each group its own: the newest accounting is told by it.
            lake.set_recorded_at(con)
            read = _mapped(con, contract, feed, table, [a for t in group for a in t.arrivals])
            _to_insert(con, contract, feed, table)
            _commit(con, contract, feed_name, table, read, group, run_id, outcome)
        progress(
            f"{contract.site_id}/{feed_name}: group {i} of {len(groups)}, "
            f"{outcome.rows.get(table.name, 0):,} readings"
        )
    return outcome


def _grouped(takings: list[Taking], most: int) -> Iterator[list[Taking]]:
    group: list[Taking] = []
    size = 0
    for taking in takings:
        group.append(taking)
        size += taking.size
        if size >= most:
            yield group
            group, size = [], 0
    if group:
        yield group


def _mapped(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table, arrivals: list[Arrival]
) -> list[FileRead]:
    """`sorted_reading` and `problems` of the files; a file that deceives the quick look is looked at closely."""
    for quick in (True, False):
        with TemporaryDirectory() as scratch:
            group = _scanned(contract, feed, arrivals, Path(scratch), quick=quick)
            try:
                map_readings(con, contract, feed, table, group.batch)
            except duckdb.Error:
                # Of what kind depends on where in the file the damage lies.
                if not quick:
                    raise
            else:
                return group.files
    raise AssertionError("a close look either maps or raises")


def _scanned(
    contract: Contract, feed: Feed, arrivals: list[Arrival], scratch: Path, *, quick: bool
) -> _Group:
    used = set(columns_used(feed))
    known = used | set(feed.ignore) | set(feed.identifying) | set(feed.free_text)
    group, options = _Group(), options_of(contract, feed)

    def scanned(arrival: Arrival) -> Scan | UnreadableFile | None:
        try:
            return (
                None
                if arrival.archive
                else SCANS[feed.format.name](arrival.path, options, scratch, quick=quick)
            )
        except UnreadableFile as error:
            return error

    # To count the records of a file is work of one core, outside of Python for the most part.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scans = list(pool.map(scanned, arrivals))
    for arrival, scan in zip(arrivals, scans, strict=True):
        group.files.append(read := FileRead(arrival, feed.format.name, 1))
        if scan is None:
            read.unpacked()
            continue
        if isinstance(scan, UnreadableFile):
            read.refusal = f"{scan.problem} {scan.mend}".replace(arrival.path.name, arrival.name)
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
        group.batch.scans.append((arrival, scan))
    return group


def _to_insert(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table) -> None:
    """View `to_insert`, in the order in which it is read back; `repeated`, readings said before, which it lacks; and
    `changed`, readings that stand for another of the same time."""
    fields = ", ".join(ident(f) for f in table.fields)
    _compare_with_stored(con, contract, table, fields)
    left_out = (
        "ANTI JOIN (SELECT r.source_row, f.file_no FROM repeated AS r JOIN group_files AS f "
        "USING (source_file, source_file_sha256)) AS r USING (file_no, source_row)"
    )
    # Small integers where texts would be: cheaper to copy, sort and check; the lake's columns are texts.
    con.execute("DROP VIEW IF EXISTS to_insert")
    con.execute("DROP TABLE IF EXISTS stamp")
    once = {"source_system": quoted(feed.system), "run_id": "getvariable('run_id')"}
    for name, value in (once | {"source_file_sha256": "source_file_sha256"}).items():
        enum(con, f"field_{name}", f"SELECT {value} FROM (SELECT NULL) LEFT JOIN group_files ON true")
    told = ", ".join(f"CAST({value} AS field_{name}) AS {name}" for name, value in once.items())
    con.execute(f"""
        CREATE TABLE stamp AS
        SELECT file_no, CAST(source_file_sha256 AS field_source_file_sha256) AS source_file_sha256, sent_at,
               getvariable('recorded_at') AS recorded_at, {told}
        FROM group_files""")
    # No copy of them all: what a file's readings share is looked up where it is asked for.
    con.execute(f"""
        CREATE VIEW to_insert AS
        SELECT {fields}, source_system, source_file_sha256, source_row, sent_at, recorded_at, run_id
        FROM sorted_reading {left_out if _some(con, "repeated") else ""} JOIN stamp USING (file_no)""")


def _compare_with_stored(
    con: duckdb.DuckDBPyConnection, contract: Contract, table: Table, fields: str
) -> None:
    """`repeated`: readings that say again what was said, here or in the lake; `changed`: those of a later file that say
    otherwise. Mostly there are none."""
    site = quoted(contract.site_id)
    key = ", ".join(ident(k) for k in table.key)
    # Sorted by key, so that readings that share it are neighbours.
    alike = " AND ".join(f"{ident(k)} = {ident('before ' + k)}" for k in table.key)
    before = ", ".join(f"lag({ident(k)}) OVER () AS {ident('before ' + k)}" for k in table.key)
    con.execute(
        f"CREATE OR REPLACE TABLE twice AS SELECT DISTINCT {_as_texts(table, table.key)} "
        f"FROM (SELECT {key}, {before} FROM sorted_reading) WHERE {alike}"
    )
    span = con.execute("SELECT min(read_at), max(read_at) FROM sorted_reading").fetchone()
    # Mostly the lake has nothing of these hours: the files are asked only where it has. Which batches there are, or a
    # few more, the type of their names tells: readings are not looked through for them. Without readings it has none.
    some = span is not None and span[0] is not None
    batches = f"SELECT CAST(unnest({'enum_range(NULL::field_batch_id)' if some else '[]'}) AS VARCHAR)"
    con.execute(
        f"""CREATE OR REPLACE TABLE stored AS
            SELECT {fields}, source_file_sha256, source_row, sent_at FROM lake.core.{table.name}
            WHERE site_id = {site} AND read_at BETWEEN ? AND ?
              AND batch_id IN ({batches})""",
        list(span or ()),
    )
    if _some(con, "stored"):
        con.execute(
            f"INSERT INTO twice SELECT DISTINCT {key} FROM stored "
            f"SEMI JOIN (SELECT {_as_texts(table, table.key)} FROM sorted_reading) USING ({key})"
        )
    place = "source_file VARCHAR, source_file_sha256 VARCHAR, source_row BIGINT"
    con.execute(f"CREATE OR REPLACE TABLE repeated ({place})")
    con.execute(f"CREATE OR REPLACE TABLE changed ({place})")
    if not _some(con, "twice"):
        return
    con.execute(
        f"""
        CREATE OR REPLACE TABLE every AS
        SELECT * FROM (
          SELECT {_as_texts(table, table.fields)}, source_row, f.* EXCLUDE (file_no), false AS stored
          FROM sorted_reading AS g JOIN group_files AS f USING (file_no)
          UNION ALL BY NAME
          SELECT *, '' AS source_file, true AS stored FROM stored
        ) SEMI JOIN twice USING ({key})"""
    )
    con.execute(
        f"""
        INSERT INTO repeated
        SELECT source_file, source_file_sha256, source_row FROM every
        QUALIFY row_number() OVER (
          PARTITION BY {key}, reading, reading_status ORDER BY stored DESC, sent_at, source_file, source_row) > 1
          AND NOT stored"""
    )
    # Two values of one time in one file are told by `mart.sensor_fault`.
    con.execute(
        f"""
        INSERT INTO changed
        SELECT source_file, source_file_sha256, source_row FROM (
          SELECT *, lag({{'r': reading, 's': reading_status}}) OVER key AS earlier,
                 lag(source_file_sha256) OVER key AS earlier_file, row_number() OVER (
                   PARTITION BY {key} ORDER BY sent_at DESC, source_file DESC, source_row DESC) AS newest
          FROM every WINDOW key AS (PARTITION BY {key} ORDER BY sent_at, source_file, source_row))
        WHERE newest = 1 AND NOT stored AND earlier_file <> source_file_sha256
          AND earlier IS DISTINCT FROM {{'r': reading, 's': reading_status}}"""
    )
    con.execute("DROP TABLE every")


def _remarks(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """One remark a file whose readings stand for others of the same times."""
    rows = con.execute(
        "SELECT source_file, count(*), min(source_row) FROM changed GROUP BY source_file ORDER BY source_file"
    ).fetchall()
    return [
        ("", "changed_without_notice", "error", name,
         f"{n} readings say otherwise than an earlier file said of the same times; both are kept, these count",
         name, row, None)
        for name, n, row in rows
    ]  # fmt: skip


def _as_texts(table: Table, names: Iterable[str]) -> str:
    """The named fields as the lake has them: texts, where `sorted_reading` has small integers."""
    types = dictionary().fields
    return ", ".join(
        f"CAST({ident(n)} AS VARCHAR) AS {ident(n)}" if types[n].type == "string" else ident(n) for n in names
    )


def _some(con: duckdb.DuckDBPyConnection, relation: str) -> bool:
    row = con.execute(f"SELECT count(*) FROM {relation}").fetchone()
    return bool(row and row[0])


def _commit(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    table: Table,
    files: list[FileRead],
    takings: list[Taking],
    run_id: str,
    outcome: Outcome,
) -> None:
    checked = audit(con, table, "to_insert")
    checked.require()
    outcome.audits.append(checked)
    outcome.refused_files += [f"{f.arrival.name}: {f.refusal}" for f in files if f.refusal]
    evidence = prepare_large(con, contract, feed_name, files, _remarks(con))
    written = lake_layout.write_files(con, table, "to_insert")
    reached("after_stage")

    def write() -> None:
        write_evidence(con, evidence)
        lake_layout.add_files(con, table, written)
        write_cursor(con, contract.site_id, feed_name, takings)
        outcome.accounting = account(con, contract, feed_name, run_id)

    lake.commit(con, write, "cellfleet", f"run {run_id} asset core/{contract.site_id}/{feed_name}")
    outcome.rows[table.name] = outcome.rows.get(table.name, 0) + checked.rows
    # The connection outlives the feed: a worker would hold these readings until the next one.
    con.execute("DROP VIEW to_insert")
    con.execute("DROP TABLE sorted_reading")
