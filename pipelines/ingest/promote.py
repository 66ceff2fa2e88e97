"""Small feeds: staged text records → typed rows → split → audit → one transaction.

A record ends promoted, superseded, duplicate or quarantined. What it was is told by its content (`record_id`), so the
order and repetition of files do not matter; which version is in force is told by the source's own stamp, else by when
the file was written.
"""

from __future__ import annotations

import json
from typing import Any

import duckdb
import polars as pl

from pipelines.harmonise.contract import Contract, Feed
from pipelines.harmonise.mapping import Compiler, columns_used, ident, text_of, version_sql
from pipelines.ingest.accounting import account
from pipelines.ingest.evidence import file_frame, refused_frame, remark_frame
from pipelines.ingest.outcome import Outcome
from pipelines.ingest.stage import Staged
from pipelines.validation.audit import audit
from warehouse import lake
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted


def promote(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    staged: Staged,
    cursor: dict[str, Any] | None,
    run_id: str,
) -> Outcome:
    """Map, split, audit and commit what `stage` left in `staged`. Nothing is kept where an audit fails.

    Raises AuditFailed, LakeError, or AccountingError (nothing was committed).
    """
    feed, d = contract.feeds[feed_name], dictionary()
    _identify(con, contract, feed_name, feed)
    mapped = _map(con, contract, feed)
    _split(con, contract, feed_name, staged, mapped)
    tables = list(dict.fromkeys(m.table for m in feed.maps))
    moment = con.execute("SELECT now()").fetchone()
    assert moment is not None
    con.execute("SET VARIABLE recorded_at = ?::TIMESTAMPTZ", [moment[0]])
    con.execute("SET VARIABLE run_id = ?", [run_id])
    for table in tables:
        _rows_to_insert(con, contract, feed, d.tables[table])
    new_records = con.execute("SELECT count(*) FROM to_map").fetchone()
    audits = [audit(con, d.tables[t], f"insert_{t}") for t in tables]
    # A record may fill one of several tables (`where`), so a single one may stay empty; all of them may not.
    total = sum(a.rows for a in audits)
    held = con.execute("SELECT count(DISTINCT record_id) FROM problems WHERE whole_record").fetchone()
    if new_records and held and new_records[0] > held[0] and total == 0:
        raise lake.LakeError(
            f"{contract.site_id}/{feed_name}: {new_records[0]} records came and no row was made of them"
        )
    for a in audits:
        a.require()
    _evidence(con, contract, feed_name, feed, staged)
    outcome = Outcome(contract.site_id, feed_name, {}, audits=audits)
    outcome.refused_files = [f"{f.arrival.name}: {f.refusal}" for f in staged.files if f.refusal]

    def write() -> None:
        for name in ("raw.file", "raw.record", "quality.quarantine", "quality.finding"):
            table = next(t for t in d.tables.values() if t.qualified == name)
            lake.insert(con, table, f"insert_{name.replace('.', '_')}")
        for name in tables:
            outcome.rows[name] = lake.insert(con, d.tables[name], f"insert_{name}")
        if cursor is not None:
            con.execute("INSERT INTO lake.raw.cursor BY NAME SELECT ? AS site_id, ? AS feed, ? AS cursor, getvariable('recorded_at') AS recorded_at, getvariable('run_id') AS run_id", [contract.site_id, feed_name, json.dumps(cursor)])  # fmt: skip
        outcome.accounting = account(con, contract, feed_name, run_id)

    lake.commit(con, write, "cellfleet", f"run {run_id} asset core/{contract.site_id}/{feed_name}")
    return outcome


def _identify(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, feed: Feed) -> None:
    """`arrived`: staged with subject, version, payload and record_id; `to_map`: those whose content is new or in force again."""
    columns = {row[0] for row in con.execute("DESCRIBE staged").fetchall()}
    record = [feed.record] if isinstance(feed.record, str) else feed.record
    pseudonymised = {
        s
        for m in feed.maps
        for c in m.columns.values()
        if c.patient
        for s in [c.source]
        if isinstance(s, str)
    }
    payload = sorted((set(columns_used(feed)) & columns) - (set(feed.identifying) - pseudonymised))
    packed = ", ".join(f"{ident(c)} := s.{ident(c)}" for c in payload)
    subject = "concat_ws('|', " + ", ".join(f"coalesce({text_of(c)}, '')" for c in record) + ")"
    version = version_sql(contract, feed)
    con.execute(
        f"CREATE OR REPLACE TABLE arrived AS SELECT *, md5({quoted(contract.site_id + '|' + feed_name + '|')} || payload) AS record_id "
        f"FROM (SELECT s.*, {subject} AS subject, {version} AS source_version, CAST(to_json(struct_pack({packed})) AS VARCHAR) AS payload FROM staged AS s)"
    )
    # What the lake knows of these subjects: for each record its newest arrival, and which record is in force.
    con.execute(
        "CREATE OR REPLACE TABLE known AS SELECT record_id, any_value(subject) AS subject, max(source_version) AS source_version, max(sent_at) AS sent_at "
        f"FROM lake.raw.record WHERE site_id = {quoted(contract.site_id)} AND feed = {quoted(feed_name)} "
        "AND subject IN (SELECT subject FROM arrived) GROUP BY record_id"
    )
    con.execute(
        "CREATE OR REPLACE TABLE in_force AS SELECT subject, record_id, source_version, sent_at FROM known "
        "QUALIFY row_number() OVER (PARTITION BY subject ORDER BY source_version DESC NULLS LAST, sent_at DESC, record_id) = 1"
    )
    con.execute(
        "CREATE OR REPLACE TABLE to_map AS SELECT a.* FROM arrived a LEFT JOIN known k USING (record_id) LEFT JOIN in_force f ON f.subject = a.subject "
        "WHERE k.record_id IS NULL OR (f.record_id <> a.record_id AND a.source_version IS NOT DISTINCT FROM f.source_version AND a.sent_at > f.sent_at) "
        "QUALIFY row_number() OVER (PARTITION BY a.record_id ORDER BY a.sent_at DESC, a.source_file, a.source_row) = 1"
    )


def _map(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed) -> list[str]:
    """Tables `mapped_<n>_<m>`, one a SELECT of each mapping; returns their names with the core table they fill."""
    names: list[str] = []
    con.execute("CREATE OR REPLACE VIEW mappable AS SELECT * FROM to_map WHERE NOT column_missing")
    for n, mapping in enumerate(feed.maps):
        for m, select in enumerate(Compiler(dictionary(), contract, feed, mapping).selects()):
            name = f"mapped_{n}_{m}"
            con.execute(
                f"CREATE OR REPLACE TABLE {name} AS {select.replace('FROM staged AS s', 'FROM mappable AS s')}"
            )
            names.append(f"{mapping.table}:{name}")
    return names


def _split(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, staged: Staged, mapped: list[str]
) -> None:
    """`problems`: one row a reason; `good_<n>`: rows of records that are promoted."""
    missing = {f.arrival.sha256: f.missing for f in staged.files if f.missing}
    gone = pl.DataFrame(
        [{"source_file_sha256": sha, "field_name": name} for sha, names in missing.items() for name in names],
        schema={"source_file_sha256": pl.String, "field_name": pl.String},
    )
    con.register("gone_frame", gone)
    queries = [
        "SELECT a.record_id, a.subject, a.source_file, a.source_file_sha256, a.source_row, 'column_missing' AS reason_code, g.field_name, "
        "CAST(NULL AS VARCHAR) AS value_seen, 'the declared column' AS value_wanted, true AS whole_record FROM to_map a JOIN gone_frame g USING (source_file_sha256) WHERE a.column_missing"
    ]
    for entry in mapped:
        name = entry.split(":")[1]
        queries.append(
            "SELECT record_id, subject, source_file, source_file_sha256, source_row, p.reason_code, p.field_name, p.value_seen, p.value_wanted, p.whole_record "
            f"FROM (SELECT *, unnest(problems) AS p FROM {name})"
        )
    rows = " UNION ALL ".join(f"SELECT record_id FROM {entry.split(':')[1]}" for entry in mapped)
    con.execute(f"CREATE OR REPLACE TABLE problems AS {' UNION ALL BY NAME '.join(queries)}")
    con.unregister("gone_frame")
    # A record that no mapping took, or none of whose results could be read, says nothing: it is set aside whole.
    con.execute(
        "INSERT INTO problems BY NAME SELECT record_id, subject, source_file, source_file_sha256, source_row, 'no_table_for_record' AS reason_code, "
        "'' AS field_name, NULL AS value_seen, 'a record that a table of the contract takes' AS value_wanted, true AS whole_record "
        f"FROM mappable WHERE record_id NOT IN ({rows})"
    )
    for entry in mapped:
        name = entry.split(":")[1]
        con.execute(
            f"CREATE OR REPLACE TABLE good_{name} AS SELECT * FROM {name} m WHERE record_id NOT IN (SELECT record_id FROM problems WHERE whole_record) "
            f"AND NOT (len(problems) > 0 AND {_is_each(con, name)})"
        )
    kept = " UNION ".join(f"SELECT record_id FROM good_{entry.split(':')[1]}" for entry in mapped)
    con.execute(f"UPDATE problems SET whole_record = true WHERE record_id NOT IN ({kept})")
    con.execute(
        "CREATE OR REPLACE TABLE good_names AS SELECT * FROM (VALUES "
        + ", ".join(f"({quoted(e.split(':')[0])}, {quoted('good_' + e.split(':')[1])})" for e in mapped)
        + ") AS v(table_name, relation)"
    )
    del contract, feed_name


def _is_each(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """Wide records come as several SELECTs of one mapping: there a row with a problem is left out alone."""
    several = con.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE ?", [name.rsplit("_", 1)[0] + "\\_%"]
    ).fetchone()
    return (
        "true"
        if several
        and several[0] > 1
        and con.execute(f"SELECT count(*) FROM (DESCRIBE {name}) WHERE column_name = 'attribute'").fetchone()
        != (0,)
        else "false"
    )


def _rows_to_insert(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, table: Table) -> None:
    """`insert_<table>`: rows with technical fields; `supersedes` and `reason` tell which version they replace."""
    relations = [
        r[0]
        for r in con.execute("SELECT relation FROM good_names WHERE table_name = ?", [table.name]).fetchall()
    ]
    union = " UNION ALL BY NAME ".join(f"SELECT * EXCLUDE (problems) FROM {r}" for r in relations)
    key = ", ".join(table.key)
    fields = ", ".join(f"r.{ident(f)}" for f in table.fields)
    match = " AND ".join(f"c.{ident(k)} IS NOT DISTINCT FROM r.{ident(k)}" for k in table.key)
    change = "r.change_reason" if "change_reason" in table.fields else "CAST(NULL AS VARCHAR)"
    con.execute(
        f"CREATE OR REPLACE TABLE insert_{table.name} AS WITH r AS (SELECT *, lag(record_id) OVER (PARTITION BY {key} ORDER BY source_version NULLS FIRST, sent_at, source_row) AS earlier FROM ({union})), "
        f"joined AS (SELECT {fields}, r.record_id, {quoted(feed.system)} AS source_system, r.source_file, r.source_file_sha256, r.source_row, r.source_version, r.sent_at, "
        f"r.utc_offset_minutes, getvariable('recorded_at') AS recorded_at, 'cellfleet' AS recorded_by, coalesce(r.earlier, c.record_id) AS supersedes, {change} AS given_reason, "
        f"CAST(NULL AS VARCHAR) AS quality_flag, getvariable('run_id') AS run_id "
        f"FROM r LEFT JOIN (SELECT * FROM current.{table.name} WHERE site_id = {quoted(contract.site_id)}) c ON {match}) "
        "SELECT * EXCLUDE (given_reason), CASE WHEN supersedes IS NOT NULL THEN coalesce(given_reason, 'newer version from the source') END AS reason FROM joined"
    )
    # Rows of the same key, record and content say the same twice (a patient named by two orders): one is enough.
    con.execute(
        f"CREATE OR REPLACE TABLE insert_{table.name} AS SELECT * FROM insert_{table.name} "
        f"QUALIFY row_number() OVER (PARTITION BY {key}, record_id ORDER BY source_row) = 1"
    )


def _evidence(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, feed: Feed, staged: Staged
) -> None:
    """`insert_raw_file`, `insert_raw_record`, `insert_quality_quarantine`, `insert_quality_finding`."""
    stamp = "getvariable('recorded_at') AS recorded_at, getvariable('run_id') AS run_id"
    where = f"{quoted(contract.site_id)} AS site_id, {quoted(feed_name)} AS feed"
    con.register("file_frame", file_frame(staged.files, feed))
    con.execute(f"CREATE OR REPLACE TABLE insert_raw_file AS SELECT {where}, *, {stamp} FROM file_frame")
    refused = refused_frame(staged.files)
    con.register("refused_frame", refused)
    con.execute(
        f"CREATE OR REPLACE TABLE insert_raw_record AS SELECT {where}, record_id, subject, source_file, source_file_sha256, source_row, source_version, sent_at, CAST(payload AS JSON) AS payload, {stamp} FROM arrived "
        f"UNION ALL BY NAME SELECT {where}, record_id, subject, source_file, source_file_sha256, source_row, CAST(NULL AS TIMESTAMPTZ) AS source_version, sent_at, CAST(NULL AS JSON) AS payload, {stamp} FROM refused_frame WHERE whole_record"
    )
    con.execute(
        f"CREATE OR REPLACE TABLE insert_quality_quarantine AS SELECT {where}, record_id, subject, reason_code, field_name, value_seen, value_wanted, whole_record, source_file, source_file_sha256, source_row, "
        f"{quoted(contract.version_hash)} AS contract_version, {stamp} FROM problems "
        f"UNION ALL BY NAME SELECT {where}, coalesce(r.record_id_of_row, r.record_id) AS record_id, r.subject, r.reason_code, r.field_name, CAST(NULL AS VARCHAR) AS value_seen, r.value_wanted, r.whole_record, r.source_file, r.source_file_sha256, r.source_row, "
        f"{quoted(contract.version_hash)} AS contract_version, {stamp} FROM (SELECT f.*, a.record_id AS record_id_of_row FROM refused_frame f LEFT JOIN arrived a USING (source_file, source_file_sha256, source_row)) r"
    )
    con.register("remark_frame", remark_frame(feed, staged.files, staged.identified))
    con.execute(
        f"CREATE OR REPLACE TABLE insert_quality_finding AS SELECT md5(concat_ws('|', {quoted(contract.site_id)}, {quoted(feed_name)}, reason_code, subject, source_file, source_row)) AS finding_id, {where}, * EXCLUDE (record_id), record_id, {stamp} FROM ("
        "SELECT * FROM remark_frame UNION ALL BY NAME "
        # A row of a re-sent file that differs though the source's own stamp did not move: changed without notice.
        "SELECT '' AS table_name, 'changed_without_notice' AS reason_code, 'error' AS severity, t.subject, 'content changed while the version stamp did not' AS detail, t.source_file, t.source_row, t.record_id "
        "FROM to_map t JOIN known k ON k.subject = t.subject AND k.record_id <> t.record_id AND k.source_version = t.source_version WHERE t.source_version IS NOT NULL AND t.sent_at >= k.sent_at "
        "UNION ALL BY NAME SELECT '' AS table_name, 'changed_without_notice' AS reason_code, 'error' AS severity, a.subject, 'content changed while the version stamp did not' AS detail, max_by(a.source_file, a.sent_at) AS source_file, max_by(a.source_row, a.sent_at) AS source_row, max_by(a.record_id, a.sent_at) AS record_id "
        "FROM to_map a WHERE a.source_version IS NOT NULL AND a.subject NOT IN (SELECT subject FROM known) GROUP BY a.subject, a.source_version HAVING count(DISTINCT a.record_id) > 1)"
    )
    # A finding is raised once: what the lake already holds is not raised again.
    con.execute(
        "DELETE FROM insert_quality_finding WHERE finding_id IN (SELECT finding_id FROM lake.quality.finding)"
    )
    for name in ("file_frame", "refused_frame", "remark_frame"):
        con.execute(f"DROP VIEW IF EXISTS {name}")
