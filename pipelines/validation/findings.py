"""Findings: what is true but remarkable across tables, found by SQL over the rows in force, kept once for all.

Belongs here: running the rules (`rules/*.sql`, one reason code a file) and the references that the dictionary
declares, giving each finding its identity and feed. Does not belong here: what one record shows by itself
(`pipelines/ingest`), what cannot be read (quarantine).

A rule is a SELECT of site_id, table_name, severity, subject, detail, source_file, source_row, record_id over
the temporary tables of `warehouse.marts.build.prepare`, `live` and `current`; its file name is its
reason code. Its header says what it finds, why, how severe it is, and what cannot be seen.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from warehouse import lake
from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.marts.build import prepare
from warehouse.plan import Fleet

RULES = Path(__file__).parent / "rules"
REFERENCE_MISSING = "reference_missing"
# References that a rule of their own judges.
JUDGED_ELSEWHERE = frozenset({("lot_use", "lot_id")})


def rules() -> dict[str, str]:
    """SQL of every rule by its reason code, references included."""
    read = {path.stem: path.read_text("utf-8") for path in sorted(RULES.glob("*.sql"))}
    return read | {REFERENCE_MISSING: _references()}


def find(con: duckdb.DuckDBPyConnection, run_id: str, fleet: Fleet | None = None) -> int:
    """Run every rule and keep what was not found before; returns how many findings are new.

    `con` is a connection of `warehouse.lake.attach`; `fleet` holds the limits of custody. A
    finding stays on record when its cause is mended: the rows in force show that it was.
    """
    prepare(con, fleet)
    lake.set_recorded_at(con)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE found (reason_code VARCHAR, site_id VARCHAR, table_name VARCHAR, "
        "severity VARCHAR, subject VARCHAR, detail VARCHAR, source_file VARCHAR, source_row BIGINT, record_id VARCHAR)"
    )
    for code, sql in rules().items():
        con.execute(f"INSERT INTO found BY NAME SELECT {quoted(code)} AS reason_code, * FROM ({sql}\n)")
    # The feed is the one that brought the record or the file; a table's own name where neither is known.
    con.execute(
        "CREATE OR REPLACE TEMP TABLE new_finding AS SELECT "
        "md5(concat_ws('|', f.reason_code, f.site_id, f.subject, coalesce(f.record_id, ''))) AS finding_id, f.site_id, "
        "coalesce(r.feed, s.feed, f.table_name) AS feed, f.table_name, f.reason_code, f.severity, f.subject, f.detail, "
        "f.source_file, f.source_row, f.record_id, getvariable('recorded_at') AS recorded_at, ? AS run_id FROM found f "
        "LEFT JOIN (SELECT site_id, record_id, min(feed) AS feed FROM lake.raw.record GROUP BY ALL) r "
        "ON r.site_id = f.site_id AND r.record_id = f.record_id "
        "LEFT JOIN (SELECT site_id, source_file, min(feed) AS feed FROM lake.raw.file GROUP BY ALL) s "
        "ON s.site_id = f.site_id AND s.source_file = f.source_file "
        "QUALIFY row_number() OVER (PARTITION BY finding_id ORDER BY f.detail) = 1",
        [run_id],
    )
    table = dictionary().tables["finding"]
    unknown = (
        "SELECT * FROM new_finding WHERE finding_id NOT IN (SELECT finding_id FROM lake.quality.finding)"
    )
    kept = 0

    def write() -> None:
        nonlocal kept
        kept = lake.insert(con, table, f"({unknown})")

    lake.commit(con, write, "cellfleet", f"run {run_id} findings")
    return kept


def _references() -> str:
    """One SELECT a reference of the dictionary: rows whose target is not in force at their site."""
    selects = []
    for table in dictionary().tables.values():
        for field, target in table.references.items():
            if (table.name, field) not in JUDGED_ELSEWHERE:
                selects.append(_reference(table, field, dictionary().tables[target]))
    return "\nUNION ALL BY NAME\n".join(selects)


def _reference(table: Table, field: str, target: Table) -> str:
    told = (
        f"{quoted(table.name)} AS table_name, 'warning' AS severity, "
        f"{quoted(f'{field} ')} || t.{field} || {quoted(f' is not among the {target.name} rows of the site')} AS detail"
    )
    # What a bench measures belongs to no batch of the fleet.
    missing = (
        f"t.{field} IS NOT NULL AND t.site_id NOT IN (SELECT site_id FROM in_force_site WHERE site_role = 'bench') "
        "AND NOT EXISTS "
        f"(FROM in_force_{target.name} o WHERE o.site_id = t.site_id AND o.{field} = t.{field})"
    )
    if table.volume == "large":
        # One finding a target, not one a reading.
        nothing = "CAST(NULL AS VARCHAR) AS source_file, CAST(NULL AS VARCHAR) AS record_id"
        return f"""
            SELECT t.site_id, {told}, t.{field} AS subject, {nothing}, min(t.source_row) AS source_row
            FROM in_force_{table.name} t WHERE {missing} GROUP BY t.site_id, t.{field}"""
    key = " || '|' || ".join(f"coalesce(t.{k}::VARCHAR, '')" for k in table.key if k != "site_id")
    return (
        f"SELECT t.site_id, {told}, {key} AS subject, t.source_file, t.record_id, t.source_row "
        f"FROM in_force_{table.name} t WHERE {missing}"
    )
