"""Feeds of many millions of readings: the same steps as `promote.py`, inside DuckDB, some files at a time.

No reading becomes a Python object and none has a raw row: the vault's file is its raw form, file and row its identity.
Each group of files is one transaction, so a killed run goes on with the next group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from pipelines.formats import delimited, parquet
from pipelines.formats.delimited import Scan
from pipelines.formats.protocol import UnreadableFile
from pipelines.harmonise.contract import Contract, Feed
from pipelines.harmonise.mapping import Compiler, columns_used, ident
from pipelines.ingest.accounting import account
from pipelines.ingest.evidence import file_frame, refused_frame, remark_frame
from pipelines.ingest.outcome import Outcome
from pipelines.ingest.stage import FileRead, options_of
from pipelines.validation.audit import audit
from warehouse import lake
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.vault import Arrival

SCANS: dict[str, Callable[..., Scan]] = {"delimited": delimited.scan, "parquet": parquet.scan}
# Bytes of files that are handled together: bounds memory and the work lost when a run is killed.
GROUP_BYTES = 160 << 20


@dataclass(frozen=True)
class _Group:
    files: list[FileRead]
    scans: list[tuple[Arrival, Scan]]


def promote_large(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    arrivals: list[Arrival],
    run_id: str,
    progress: Callable[[str], None],
) -> Outcome:
    """Read, map, split, audit and commit the files of a large feed, group by group.

    Raises AuditFailed, LakeError or AccountingError; groups already committed stay.
    """
    feed = contract.feeds[feed_name]
    table = dictionary().tables[feed.maps[0].table]
    outcome = Outcome(contract.site_id, feed_name, {})
    groups = list(_grouped(arrivals))
    for i, group in enumerate(groups or [[]], 1):
        with TemporaryDirectory() as scratch:
            read = _scanned(contract, feed, group, Path(scratch))
            _map(con, contract, feed, table, read)
        _split(con, contract, feed, table)
        _commit(con, contract, feed_name, table, read, run_id, outcome)
        progress(
            f"{contract.site_id}/{feed_name}: group {i} of {len(groups)}, {outcome.rows.get(table.name, 0):,} readings"
        )
    return outcome


def _grouped(arrivals: list[Arrival]) -> Iterator[list[Arrival]]:
    group: list[Arrival] = []
    for arrival in arrivals:
        group.append(arrival)
        if sum(a.size for a in group) >= GROUP_BYTES:
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
        folder = scratch / str(n)
        folder.mkdir()
        try:
            scan = SCANS[feed.format.name](arrival.path, options_of(contract, feed), folder)
        except UnreadableFile as error:
            read.refusal = f"{error.problem} {error.mend}".replace(arrival.path.name, arrival.name)
            continue
        read.received, read.refused = scan.received, scan.refused
        read.missing = sorted(used - set(scan.columns))
        read.unknown = sorted(set(scan.columns) - known)
        if read.missing:
            read.refusal = f"Column {', '.join(read.missing)} is missing (found {', '.join(scan.columns)}). Map the new name in the contract, or ask for the file again."
            read.reason_code, read.field_name = "column_missing", "|".join(read.missing)
            read.received, read.refused = scan.received, ()
            continue
        scans.append((arrival, scan))
    return _Group(files, scans)


def _map(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table, group: _Group) -> None:
    """`mapped`: typed rows with `problems`, file and row."""
    used = sorted(columns_used(feed))
    texts = ", ".join(f"CAST({ident(c)} AS VARCHAR) AS {ident(c)}" for c in used)
    fields = ", ".join(ident(f) for f in table.fields)
    technical = "file_no, source_row, problems"
    selects = Compiler(dictionary(), contract, feed, feed.maps[0]).selects()
    typed = " UNION ALL ".join(f"SELECT {fields}, {technical} FROM ({s})" for s in selects)
    staged = " UNION ALL ".join(
        f"SELECT {n} AS file_no, source_row, {texts} FROM {scan.sql}" for n, (_, scan) in enumerate(group.scans)
    )
    if not group.scans:
        nothing = ", ".join(f"CAST(NULL AS VARCHAR) AS {ident(c)}" for c in used)
        staged = f"SELECT 0 AS file_no, CAST(0 AS BIGINT) AS source_row, {nothing} WHERE false"
    # Rows carry a number for their file; its name, hash and time join in at the end, where they compress to nothing.
    files = [(n, a.name, a.sha256, a.sent_at) for n, (a, _) in enumerate(group.scans)]
    schema = {"file_no": pl.Int32, "source_file": pl.String, "source_file_sha256": pl.String, "sent_at": pl.Datetime("us", "UTC")}
    con.register("group_frame", pl.DataFrame(files, schema=schema, orient="row"))
    con.execute("CREATE OR REPLACE TABLE group_files AS SELECT * FROM group_frame")
    con.unregister("group_frame")
    con.execute(f"CREATE OR REPLACE TABLE staged AS {staged}")
    con.execute(f"CREATE OR REPLACE TABLE mapped AS {typed}")
    con.execute("DROP TABLE staged")


def _split(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table) -> None:
    """`problems`, `repeated` (readings said before) and `insert_reading` (in the order they are read back)."""
    con.execute(
        "CREATE OR REPLACE TABLE problems AS SELECT left(source_file_sha256, 24) || ':' || source_row AS record_id, source_file || ':' || source_row AS subject, source_file, source_file_sha256, source_row, "
        "p.reason_code, p.field_name, p.value_seen, p.value_wanted, p.whole_record FROM (SELECT file_no, source_row, unnest(problems) AS p FROM mapped WHERE len(problems) > 0) JOIN group_files USING (file_no)"
    )
    key = ", ".join(ident(k) for k in table.key)
    fields = ", ".join(ident(f) for f in table.fields)
    same = ", ".join((key, "reading", "reading_status"))
    con.execute(
        f"CREATE OR REPLACE TABLE good AS SELECT {fields}, file_no, source_row FROM mapped "
        "WHERE len(problems) = 0 OR len(list_filter(problems, lambda p: p.whole_record)) = 0"
    )
    con.execute("DROP TABLE mapped")
    # Only keys that occur twice, here or in the lake, need a closer look; mostly there are none.
    span = con.execute("SELECT min(read_at), max(read_at) FROM good").fetchone()
    con.execute(f"CREATE OR REPLACE TABLE twice AS SELECT {key} FROM good GROUP BY {key} HAVING count(*) > 1")
    if span and span[0] is not None:
        con.execute(
            f"INSERT INTO twice SELECT DISTINCT {key} FROM lake.core.{table.name} l WHERE site_id = {quoted(contract.site_id)} "
            f"AND read_at BETWEEN ? AND ? AND batch_id IN (SELECT batch_id FROM good) AND ({key}) IN (SELECT ({key}) FROM good)",
            list(span),
        )
    con.execute(
        f"CREATE OR REPLACE TABLE repeated AS WITH every AS (SELECT g.* EXCLUDE (file_no), f.* EXCLUDE (file_no), false AS stored FROM good g JOIN group_files f USING (file_no) WHERE ({key}) IN (FROM twice) UNION ALL BY NAME "
        f"SELECT {fields}, '' AS source_file, source_file_sha256, source_row, sent_at, true AS stored FROM lake.core.{table.name} WHERE site_id = {quoted(contract.site_id)} AND ({key}) IN (FROM twice)) "
        f"SELECT source_file, source_file_sha256, source_row FROM every QUALIFY row_number() OVER (PARTITION BY {same} ORDER BY stored DESC, sent_at, source_file, source_row) > 1 AND NOT stored"
    ) if _some(con, "twice") else con.execute(
        "CREATE OR REPLACE TABLE repeated (source_file VARCHAR, source_file_sha256 VARCHAR, source_row BIGINT)"
    )
    left_out = (
        "WHERE (source_file, source_file_sha256, source_row) NOT IN (FROM repeated)"
        if _some(con, "repeated")
        else ""
    )
    con.execute(
        f"CREATE OR REPLACE TABLE insert_{table.name} AS SELECT {fields}, {quoted(feed.system)} AS source_system, f.source_file_sha256, g.source_row, f.sent_at, now() AS recorded_at, getvariable('run_id') AS run_id "
        f"FROM good g JOIN group_files f USING (file_no) {left_out} ORDER BY batch_id, channel, read_at, file_no, source_row"
    )
    con.execute("DROP TABLE good")


def _some(con: duckdb.DuckDBPyConnection, relation: str) -> bool:
    row = con.execute(f"SELECT count(*) FROM {relation}").fetchone()
    return bool(row and row[0])


def _commit(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    table: Table,
    group: _Group,
    run_id: str,
    outcome: Outcome,
) -> None:
    feed, d = contract.feeds[feed_name], dictionary()
    checked = audit(con, table, f"insert_{table.name}")
    checked.require()
    outcome.audits.append(checked)
    outcome.refused_files += [f"{f.arrival.name}: {f.refusal}" for f in group.files if f.refusal]
    here = f"{quoted(contract.site_id)} AS site_id, {quoted(feed_name)} AS feed"
    stamp = f"now() AS recorded_at, {quoted(run_id)} AS run_id"
    con.register("file_frame", file_frame(group.files, feed))
    con.register("refused_frame", refused_frame(group.files))
    con.register("remark_frame", remark_frame(feed, group.files, []))
    con.execute(f"CREATE OR REPLACE TABLE insert_file AS SELECT {here}, *, {stamp} FROM file_frame")
    con.execute(f"CREATE OR REPLACE TABLE insert_duplicate AS SELECT {here}, *, {stamp} FROM repeated")
    con.execute(
        f"CREATE OR REPLACE TABLE insert_quarantine AS SELECT {here}, *, {quoted(contract.version_hash)} AS contract_version, {stamp} FROM ("
        "FROM problems UNION ALL BY NAME SELECT * EXCLUDE (sent_at), CAST(NULL AS VARCHAR) AS value_seen FROM refused_frame)"
    )
    con.execute(
        f"CREATE OR REPLACE TABLE insert_finding AS SELECT md5(concat_ws('|', {quoted(contract.site_id)}, {quoted(feed_name)}, reason_code, subject, source_file, source_row)) AS finding_id, {here}, *, {stamp} FROM remark_frame"
    )
    con.execute(
        "DELETE FROM insert_finding WHERE finding_id IN (SELECT finding_id FROM lake.quality.finding)"
    )

    def write() -> None:
        for name in ("raw.file", "quality.duplicate", "quality.quarantine", "quality.finding"):
            target = next(t for t in d.tables.values() if t.qualified == name)
            lake.insert(con, target, f"insert_{target.name}")
        outcome.rows[table.name] = outcome.rows.get(table.name, 0) + lake.insert(
            con, table, f"insert_{table.name}"
        )
        outcome.accounting = account(con, contract, feed_name, run_id)

    lake.commit(con, write, "cellfleet", f"run {run_id} asset core/{contract.site_id}/{feed_name}")
    for name in ("file_frame", "refused_frame", "remark_frame"):
        con.unregister(name)
