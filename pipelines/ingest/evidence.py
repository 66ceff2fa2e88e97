"""Evidence about what came: files, records, refusals and remarks, as relations ready to be inserted.

Belongs here: what is stored of a run beside the core rows. Does not belong here: rules across tables
(`pipelines/validation/rules`).
"""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

from pipelines.harmonise.contract import Contract, Feed
from pipelines.ingest.days import late
from pipelines.ingest.stage import FileRead, Staged
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import quoted

# Qualified table of the lake → relation on the connection that holds its new rows.
Evidence = dict[str, str]
UTC_TIME = pl.Datetime("us", "UTC")
FILE: dict[str, Any] = {
    "source_system": pl.String, "source_file": pl.String, "source_file_sha256": pl.String, "bytes": pl.Int64,
    "sent_at": UTC_TIME, "format": pl.String, "received": pl.Int64, "file_state": pl.String, "refusal": pl.String,
}  # fmt: skip
REFUSED: dict[str, Any] = {
    "record_id": pl.String, "subject": pl.String, "source_file": pl.String, "source_file_sha256": pl.String,
    "source_row": pl.Int64, "sent_at": UTC_TIME, "reason_code": pl.String, "field_name": pl.String,
    "value_wanted": pl.String, "whole_record": pl.Boolean,
}  # fmt: skip
REMARK: dict[str, Any] = {
    "table_name": pl.String, "reason_code": pl.String, "severity": pl.String, "subject": pl.String,
    "detail": pl.String, "source_file": pl.String, "source_row": pl.Int64, "record_id": pl.String,
}  # fmt: skip
# Records as they arrived: read, or refused by the reader.
ARRIVALS = """
    SELECT record_id, subject, source_file, source_file_sha256, source_row, source_version, sent_at,
           CAST(payload AS JSON) AS payload
    FROM arrived
    UNION ALL BY NAME
    SELECT record_id, subject, source_file, source_file_sha256, source_row,
           CAST(NULL AS TIMESTAMPTZ) AS source_version, sent_at, CAST(NULL AS JSON) AS payload
    FROM refused WHERE whole_record"""
# A field that the reader refused belongs to the record that was made of the rest of its row.
ENTRIES = """
    SELECT * FROM problems
    UNION ALL BY NAME
    SELECT coalesce(a.record_id, r.record_id) AS record_id, coalesce(a.subject, r.subject) AS subject,
           r.reason_code, r.field_name, CAST(NULL AS VARCHAR) AS value_seen, r.value_wanted, r.whole_record,
           r.source_file, r.source_file_sha256, r.source_row
    FROM refused AS r LEFT JOIN arrived AS a USING (source_file, source_file_sha256, source_row)"""
# A row that differs though the source's own stamp did not move: against what the lake knew, or within one run.
SILENT = "'content changed while the version stamp did not'"
CHANGED = f"""
    SELECT '' AS table_name, 'changed_without_notice' AS reason_code, 'error' AS severity, t.subject,
           {SILENT} AS detail, t.source_file, t.source_row, t.record_id
    FROM to_map AS t
    JOIN known AS k ON k.subject = t.subject AND k.record_id <> t.record_id AND k.source_version = t.source_version
    WHERE t.sent_at >= k.sent_at AND NOT t.column_missing AND NOT k.lacking
      AND NOT t.deleted_at_source AND NOT k.deleted
    UNION ALL BY NAME
    SELECT '' AS table_name, 'changed_without_notice' AS reason_code, 'error' AS severity, subject,
           {SILENT} AS detail, max_by(source_file, sent_at) AS source_file,
           max_by(source_row, sent_at) AS source_row, max_by(record_id, sent_at) AS record_id
    FROM to_map
    WHERE source_version IS NOT NULL AND NOT column_missing AND NOT deleted_at_source
      AND subject NOT IN (SELECT subject FROM known)
    GROUP BY subject, source_version HAVING count(DISTINCT record_id) > 1"""


def prepare_evidence(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    staged: Staged,
) -> Evidence:
    """Evidence of a small feed, from `arrived`, `to_map`, `known` and `problems`."""
    here = f"{quoted(contract.site_id)} AS site_id, {quoted(feed_name)} AS feed"
    stamp = "getvariable('recorded_at') AS recorded_at, getvariable('run_id') AS run_id"
    version = quoted(contract.version_hash)
    prepare_files(con, contract, feed_name, staged)
    con.execute(f"CREATE OR REPLACE TABLE insert_record AS SELECT {here}, *, {stamp} FROM ({ARRIVALS})")
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_quarantine AS
        SELECT {here}, *, {version} AS contract_version, {stamp} FROM ({ENTRIES})""")
    con.execute(f"INSERT INTO remarked BY NAME {CHANGED}")
    new_findings(con, contract.site_id, feed_name)
    _replaced(con, contract)
    return {
        "raw.file": "insert_file",
        "raw.record": "insert_record",
        "quality.quarantine": "insert_quarantine",
        "quality.resolution": "insert_resolution",
        "quality.finding": "insert_finding",
    }


def prepare_large(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    files: list[FileRead],
    remarks: list[tuple[Any, ...]],
) -> Evidence:
    """Evidence of a large feed, from `repeated` and `problems`; its raw form is the vault's file."""
    here = f"{quoted(contract.site_id)} AS site_id, {quoted(feed_name)} AS feed"
    stamp = "getvariable('recorded_at') AS recorded_at, getvariable('run_id') AS run_id"
    prepare_files(con, contract, feed_name, Staged(files, 0, [], remarks))
    con.execute(f"CREATE OR REPLACE TABLE insert_duplicate AS SELECT {here}, *, {stamp} FROM repeated")
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_quarantine AS
        SELECT {here}, *, {quoted(contract.version_hash)} AS contract_version, {stamp}
        FROM (FROM problems UNION ALL BY NAME
              SELECT * EXCLUDE (sent_at), CAST(NULL AS VARCHAR) AS value_seen FROM refused)""")
    new_findings(con, contract.site_id, feed_name)
    return {
        "raw.file": "insert_file",
        "quality.duplicate": "insert_duplicate",
        "quality.quarantine": "insert_quarantine",
        "quality.finding": "insert_finding",
    }


def _replaced(con: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """`insert_resolution`: open entries of records of which a newer version is promoted now."""
    entry = "site_id, feed, record_id, q.subject, reason_code, field_name, q.recorded_at AS quarantined_at"
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_resolution AS
        WITH waiting AS (
          SELECT {entry}, k.source_version, k.sent_at
          FROM past_open AS q JOIN known AS k USING (record_id)
          UNION ALL BY NAME
          SELECT {entry}, m.source_version, m.sent_at FROM insert_quarantine AS q JOIN to_map AS m USING (record_id)
        ), promoted AS (
          SELECT * FROM to_map WHERE record_id IN (FROM kept)
          QUALIFY row_number() OVER (PARTITION BY subject ORDER BY source_version DESC NULLS LAST, sent_at DESC) = 1
        )
        SELECT w.* EXCLUDE (source_version, sent_at), 'replaced' AS resolution,
               {quoted(contract.version_hash)} AS contract_version, getvariable('recorded_at') AS recorded_at,
               getvariable('run_id') AS run_id
        FROM waiting AS w JOIN promoted AS p ON p.subject = w.subject AND p.record_id <> w.record_id
        WHERE p.source_version > w.source_version
           OR ((p.source_version IS NOT DISTINCT FROM w.source_version OR w.source_version IS NULL)
               AND p.sent_at > w.sent_at)""")


def prepare_files(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    staged: Staged,
) -> None:
    """`insert_file`, `refused` and `remarked`: what is known of the files before their records are looked at."""
    feed = contract.feeds[feed_name]
    here = f"{quoted(contract.site_id)} AS site_id, {quoted(feed_name)} AS feed"
    stamp = "getvariable('recorded_at') AS recorded_at, getvariable('run_id') AS run_id"
    frames = {
        "file": (_files(staged.files, feed), FILE),
        "refused": (_refused(staged.files), REFUSED),
        "remarked": ([*_remarks(feed, staged.files, staged.identified), *staged.remarks], REMARK),
    }
    for name, (rows, schema) in frames.items():
        con.register("frame", pl.DataFrame(rows, schema=schema, orient="row"))
        con.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM frame")
        con.unregister("frame")
    con.execute(f"CREATE OR REPLACE TABLE insert_file AS SELECT {here}, *, {stamp} FROM file")


def add_remarks(con: duckdb.DuckDBPyConnection, remarks: list[tuple[Any, ...]]) -> None:
    """Add to `remarked` what is known only once the records were mapped."""
    con.register("frame", pl.DataFrame(remarks, schema=REMARK, orient="row"))
    con.execute("INSERT INTO remarked BY NAME SELECT * FROM frame")
    con.unregister("frame")


def new_findings(con: duckdb.DuckDBPyConnection, site: str, feed: str) -> None:
    """`insert_finding`: remarks with their identity, less what the lake already holds: a finding is raised once."""
    here = f"{quoted(site)} AS site_id, {quoted(feed)} AS feed"
    stamp = "getvariable('recorded_at') AS recorded_at, getvariable('run_id') AS run_id"
    identity = (
        f"concat_ws('|', {quoted(site)}, {quoted(feed)}, reason_code, subject, source_file, source_row)"
    )
    some = con.execute("SELECT count(*) FROM remarked").fetchone()
    # Mostly nothing is remarkable, and the lake need not be asked.
    before = "SELECT '' AS finding_id LIMIT 0"
    if some and some[0]:
        before = f"SELECT finding_id FROM lake.quality.finding WHERE site_id = {quoted(site)} AND feed = {quoted(feed)}"
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_finding AS
        SELECT * FROM (SELECT DISTINCT ON (finding_id) md5({identity}) AS finding_id, {here}, *, {stamp} FROM remarked)
        WHERE finding_id NOT IN ({before})""")


def write_evidence(con: duckdb.DuckDBPyConnection, evidence: Evidence) -> None:
    """Append the prepared evidence to the lake, inside the caller's transaction."""
    for qualified, relation in evidence.items():
        table = next(t for t in dictionary().tables.values() if t.qualified == qualified)
        lake.insert(con, table, relation)


def _files(files: list[FileRead], feed: Feed) -> list[tuple[Any, ...]]:
    return [
        (
            feed.system, f.arrival.name, f.arrival.sha256, f.arrival.size, f.arrival.sent_at, f.format, f.received,
            "refused" if f.refusal else "unpacked" if f.arrival.archive else "read", f.refusal,
        )
        for f in files
    ]  # fmt: skip


def _refused(files: list[FileRead]) -> list[tuple[Any, ...]]:
    """Records and fields that the reader refused, and whole files."""
    rows: list[tuple[Any, ...]] = []
    for f in files:
        a = f.arrival
        if f.refusal:
            # Where the file could be counted each of its records is set aside, else the file counts as one.
            whole = range(1, f.received + 1) if f.reason_code == "column_missing" else range(1)
            rows += [
                (f"{a.sha256[:24]}:{n}:{a.name}", a.name, a.name, a.sha256, n, a.sent_at, f.reason_code, f.field_name,
                 f.refusal, True)
                for n in whole
            ]  # fmt: skip
        rows += [
            (f"{a.sha256[:24]}:{r.source_row}:{a.name}", f"{a.name}:{r.source_row}", a.name, a.sha256, r.source_row,
             a.sent_at, r.reason, r.field or "", r.mend, r.field is None)
            for r in f.refused
        ]  # fmt: skip
    return rows


def _remarks(feed: Feed, files: list[FileRead], identified: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What is remarkable as it came: late, new columns, the file's own flags, identifiers in free text."""
    rows: list[tuple[Any, ...]] = []
    for f in files:
        name = f.arrival.name
        mend = "map it in the contract, or add it to `ignore`"
        rows += [
            ("", "column_added", "warning", c, f"column {c} is not in the contract; {mend}", name, None, None)
            for c in f.unknown
        ]
        rows += [
            (
                "",
                "source_flag",
                "info",
                f"{name}:{g.source_row}:{g.field}",
                f"{g.field}: {g.text}",
                name,
                g.source_row,
                None,
            )
            for g in f.flags
        ]
        hours = late(feed, f.arrival)
        if hours is not None:
            said = f"written {hours:.0f} h after the end of its day; allowed {feed.late_after}"
            rows.append(("", "late_file", "warning", name, said, name, None, None))
    for hit in identified:
        said = f"free text holds what column {', '.join(hit['columns'])} says; it stayed in the vault"
        rows.append(
            (
                "",
                "identifier_in_free_text",
                "critical",
                hit["subject"],
                said,
                hit["source_file"],
                hit["source_row"],
                None,
            )
        )
    return rows
