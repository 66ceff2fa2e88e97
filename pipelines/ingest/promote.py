"""Small feeds: staged text records → typed rows → split → audit → one transaction.

A record ends promoted, superseded, duplicate or quarantined. What it was is told by its content (`record_id`), so
the order and repetition of files do not matter; which version is in force is told by the source's own stamp, else
by when the file was written.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import polars as pl

from pipelines.harmonise.contract import Contract, Feed, Mapping
from pipelines.harmonise.mapping import Compiler, columns_used, ident, text_of, version_sql
from pipelines.harmonise.sql import MARK
from pipelines.ingest.accounting import account
from pipelines.ingest.evidence import prepare_evidence, write_evidence
from pipelines.ingest.outcome import Outcome
from pipelines.ingest.past import look_up
from pipelines.ingest.stage import Staged
from pipelines.ingest.take import Taking, write_cursor
from pipelines.ingest.withdraw import withdraw
from pipelines.validation.audit import audit
from pipelines.validation.drift import renamed, set_aside_other_units
from pipelines.validation.written import dropped, written_otherwise
from warehouse import lake
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.faults import reached

FILE_AND_ROW = "source_file, source_file_sha256, source_row"


@dataclass(frozen=True)
class Mapped:
    """What one SELECT of a mapping gave: core table, relation, whether it is one of several results of a record."""

    mapping: Mapping
    relation: str

    @property
    def table(self) -> str:
        return self.mapping.table

    @property
    def each(self) -> bool:
        return bool(self.mapping.each)


def promote(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    staged: Staged,
    takings: list[Taking],
    run_id: str,
) -> Outcome:
    """Map, split, audit and commit what `stage` left in `staged`. Nothing is kept where an audit fails.

    Raises AuditFailed, LakeError, or AccountingError (nothing was committed).
    """
    feed, d = contract.feeds[feed_name], dictionary()
    look_up(con, contract, feed_name)
    identify(con, contract, feed_name, feed)
    _choose_new(con)
    mapped = map_records(con, contract, feed)
    compare_with_past(con, contract, feed_name, staged, mapped)
    split(con, staged, mapped)
    lake.set_recorded_at(con)
    con.execute("SET VARIABLE run_id = ?", [run_id])
    tables = [d.tables[name] for name in dict.fromkeys(m.table for m in feed.maps)]
    for table in tables:
        rows_to_insert(con, feed, table, mapped)
    gone = withdraw(con, contract, feed_name, feed, tables)
    audits = [audit(con, table, f"insert_{table.name}") for table in tables]
    _require_rows(con, f"{contract.site_id}/{feed_name}", sum(a.rows for a in audits) + gone)
    for checked in audits:
        checked.require()
    evidence = prepare_evidence(con, contract, feed_name, staged)
    outcome = Outcome(contract.site_id, feed_name, {}, audits=audits)
    outcome.refused_files = [f"{f.arrival.name}: {f.refusal}" for f in staged.files if f.refusal]
    reached("after_stage")

    def write() -> None:
        write_evidence(con, evidence)
        for table in tables:
            outcome.rows[table.name] = lake.insert(con, table, f"insert_{table.name}")
            outcome.rows[table.name] += lake.insert(con, table, f"gone_{table.name}")
        write_cursor(con, contract.site_id, feed_name, takings)
        outcome.accounting = account(con, contract, feed_name, run_id)

    lake.commit(con, write, "cellfleet", f"run {run_id} asset core/{contract.site_id}/{feed_name}")
    return outcome


def identify(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, feed: Feed) -> None:
    """`arrived`: staged with subject, version, payload, content_id and record_id. Needs the tables of `look_up`."""
    columns = {row[0] for row in con.execute("DESCRIBE staged").fetchall()}
    record = [feed.record] if isinstance(feed.record, str) else feed.record
    keyed = {c.source for m in feed.maps for c in m.columns.values() if c.patient}
    # Content is what may leave the vault: record numbers are patient keys by now, other identifiers stay out.
    payload = sorted((set(columns_used(feed)) & columns) - (set(feed.identifying) - keyed))
    packed = ", ".join(f"{ident(c)} := s.{ident(c)}" for c in payload)
    subject = ", ".join(f"coalesce({text_of(c)}, '')" for c in record)
    # Content that a later contract reads otherwise is still the record that it was (see `reprocess.py`).
    con.execute(f"""
        CREATE OR REPLACE TABLE arrived AS
        SELECT c.*, coalesce(a.record_id, c.content_id) AS record_id
        FROM (
          SELECT *, md5({quoted(f"{contract.site_id}|{feed_name}|")} || payload) AS content_id
          FROM (
            SELECT * REPLACE (CASE WHEN deleted_at_source THEN CAST(json_merge_patch(payload, json_object(
                                {quoted(MARK)}, CAST(coalesce(source_version, sent_at) AS VARCHAR))) AS VARCHAR)
                              ELSE payload END AS payload)
            FROM (
              SELECT s.*, concat_ws('|', {subject}) AS subject, {_stamp(contract, feed)} AS source_version,
                     CAST(to_json(struct_pack({packed})) AS VARCHAR) AS payload
              FROM staged AS s
            )
          )
        ) AS c LEFT JOIN (
          SELECT content_id, max_by(record_id, recorded_at) AS record_id FROM past_alias
          GROUP BY content_id) AS a USING (content_id)""")


def _choose_new(con: duckdb.DuckDBPyConnection) -> None:
    """`known`: what the lake has of the subjects that arrived; `to_map`: records that are new or in force again."""
    # For each record its newest arrival, and which record is in force. What a
    # file lacked a column of never was in force, and does not compare with what a whole file says.
    con.execute("""
        CREATE OR REPLACE TABLE known AS
        SELECT record_id, any_value(subject) AS subject, max(source_version) AS source_version,
               bool_or(deleted) AS deleted, max(sent_at) AS sent_at,
               bool_or(record_id IN (SELECT record_id FROM past_held WHERE reason_code = 'column_missing')) AS lacking
        FROM past_record WHERE subject IN (SELECT subject FROM arrived)
        GROUP BY record_id""")
    con.execute("""
        CREATE OR REPLACE TABLE in_force AS
        SELECT * FROM known WHERE NOT lacking
        QUALIFY row_number() OVER (
          PARTITION BY subject ORDER BY source_version DESC NULLS LAST, sent_at DESC, record_id) = 1""")
    con.execute("""
        CREATE OR REPLACE TABLE to_map AS
        SELECT a.*
        FROM arrived AS a
        LEFT JOIN known AS k USING (record_id)
        LEFT JOIN in_force AS f ON f.subject = a.subject
        WHERE k.record_id IS NULL
           OR (f.record_id <> a.record_id AND a.source_version IS NOT DISTINCT FROM f.source_version
               AND a.sent_at > f.sent_at)
        QUALIFY row_number() OVER (
          PARTITION BY a.record_id ORDER BY a.sent_at DESC, a.source_file, a.source_row) = 1""")


def _stamp(contract: Contract, feed: Feed) -> str:
    """SQL of a record's version stamp; a deletion without one is as new as the file that tells it."""
    version = version_sql(contract, feed)
    if feed.version is None:
        return version
    return f"CASE WHEN s.deleted_at_source THEN coalesce({version}, s.sent_at) ELSE {version} END"


def map_records(con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed) -> list[Mapped]:
    """One table for each SELECT of each mapping."""
    con.execute(
        "CREATE OR REPLACE VIEW mappable AS SELECT * FROM to_map "
        "WHERE NOT column_missing AND NOT deleted_at_source"
    )
    mapped: list[Mapped] = []
    for n, mapping in enumerate(feed.maps):
        for m, select in enumerate(Compiler(dictionary(), contract, feed, mapping).selects()):
            relation = f"mapped_{n}_{m}"
            over_new = select.replace("FROM staged AS s", "FROM mappable AS s")
            con.execute(f"CREATE OR REPLACE TABLE {relation} AS {over_new}")
            mapped.append(Mapped(mapping, relation))
    return mapped


def compare_with_past(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, staged: Staged, mapped: list[Mapped]
) -> None:
    """Set aside what looks like another unit, and add to the remarks what drifted, with the line that accepts it."""
    feed = contract.feeds[feed_name]
    for m in mapped:
        staged.remarks += set_aside_other_units(con, contract, feed, m.mapping, m.relation)
    for f in staged.files:
        told = renamed(con, contract, feed_name, f.arrival.name, f.missing, f.strange)
        staged.remarks += told + dropped(
            contract.site_id, feed_name, f.arrival.name, f.missing, f.unknown, told
        )
    staged.remarks += written_otherwise(con, contract, feed_name, [(m.mapping, m.relation) for m in mapped])


def split(con: duckdb.DuckDBPyConnection, staged: Staged, mapped: list[Mapped]) -> None:
    """`problems`: one row a reason; `good_<relation>`: rows of records that are promoted; `kept`: these records."""
    gone = pl.DataFrame(
        [(f.arrival.sha256, name) for f in staged.files for name in f.missing],
        schema={"source_file_sha256": pl.String, "field_name": pl.String},
        orient="row",
    )
    con.register("gone_frame", gone)
    told = [
        """
        SELECT record_id, subject, source_file, source_file_sha256, source_row, 'column_missing' AS reason_code,
               g.field_name, CAST(NULL AS VARCHAR) AS value_seen, 'the declared column' AS value_wanted,
               true AS whole_record
        FROM to_map JOIN gone_frame AS g USING (source_file_sha256) WHERE column_missing"""
    ]
    told += [
        f"SELECT record_id, subject, {FILE_AND_ROW}, p.reason_code, p.field_name, p.value_seen, p.value_wanted, "
        f"p.whole_record FROM (SELECT *, unnest(problems) AS p FROM {m.relation})"
        for m in mapped
    ]
    con.execute(f"CREATE OR REPLACE TABLE problems AS {' UNION ALL BY NAME '.join(told)}")
    con.unregister("gone_frame")
    # A record that no mapping took says nothing to us: it is set aside whole.
    taken = " UNION ALL ".join(f"SELECT record_id FROM {m.relation}" for m in mapped)
    con.execute(f"""
        INSERT INTO problems BY NAME
        SELECT record_id, subject, {FILE_AND_ROW}, 'no_table_for_record' AS reason_code, '' AS field_name,
               NULL AS value_seen, 'a record that a table of the contract takes' AS value_wanted, true AS whole_record
        FROM mappable WHERE record_id NOT IN ({taken})""")
    for m in mapped:
        # In a wide record a result with a problem is left out alone; the others stand.
        alone = " AND len(problems) = 0" if m.each else ""
        con.execute(f"""
            CREATE OR REPLACE TABLE good_{m.relation} AS SELECT * FROM {m.relation}
            WHERE record_id NOT IN (SELECT record_id FROM problems WHERE whole_record){alone}""")
    kept = " UNION ".join(f"SELECT record_id FROM good_{m.relation}" for m in mapped)
    con.execute(f"CREATE OR REPLACE TABLE kept AS {kept}")
    # … but a record none of whose results could be read is set aside whole.
    con.execute("UPDATE problems SET whole_record = true WHERE record_id NOT IN (FROM kept)")


def rows_to_insert(con: duckdb.DuckDBPyConnection, feed: Feed, table: Table, mapped: list[Mapped]) -> None:
    """`insert_<table>`: rows with technical fields; `supersedes` and `reason` tell which version they replace."""
    union = " UNION ALL BY NAME ".join(
        f"SELECT * EXCLUDE (problems) FROM good_{m.relation}" for m in mapped if m.table == table.name
    )
    key = ", ".join(table.key)
    fields = ", ".join(f"r.{ident(f)}" for f in table.fields)
    match = " AND ".join(f"c.{ident(k)} IS NOT DISTINCT FROM r.{ident(k)}" for k in table.key)
    change = "r.change_reason" if "change_reason" in table.fields else "CAST(NULL AS VARCHAR)"
    # Rows of the same key, record and content say the same twice (a patient named by two orders): one is enough.
    con.execute(f"""
        CREATE OR REPLACE TABLE insert_{table.name} AS
        WITH r AS (
          SELECT *, lag(record_id) OVER (
              PARTITION BY {key} ORDER BY source_version NULLS FIRST, sent_at, source_row) AS earlier
          FROM ({union})
          QUALIFY row_number() OVER (PARTITION BY {key}, record_id ORDER BY source_row) = 1
        ),
        c AS (FROM past_{table.name})
        SELECT {fields}, r.record_id, {quoted(feed.system)} AS source_system, r.source_file, r.source_file_sha256,
               r.source_row, r.source_version, r.sent_at, r.utc_offset_minutes,
               getvariable('recorded_at') AS recorded_at, 'cellfleet' AS recorded_by,
               coalesce(r.earlier, c.record_id) AS supersedes,
               CASE WHEN coalesce(r.earlier, c.record_id) IS NOT NULL
                    THEN coalesce({change}, 'newer version from the source') END AS reason,
               r.quality_flag, getvariable('run_id') AS run_id
        FROM r LEFT JOIN c ON {match}""")


def _require_rows(con: duckdb.DuckDBPyConnection, what: str, rows: int) -> None:
    """An audit of no rows where records came is a failure: expectations pass on an empty set."""
    told = con.execute("""
        SELECT (SELECT count(*) FROM to_map), (SELECT count(DISTINCT record_id) FROM problems WHERE whole_record)
        """).fetchone()
    assert told is not None
    if rows == 0 and told[0] > told[1]:
        raise lake.LakeError(
            f"{what}: {told[0]} records came and no row was made of them; check `tables` of the contract"
        )
