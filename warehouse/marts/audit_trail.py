"""The audit trail: each field that a later version of a row says otherwise, with who, when, what, old, new and why.

Belongs here: comparing the versions of core rows. Does not belong here: which version is in force
(`warehouse/lake.py`), what is remarkable about a change (`pipelines/validation/rules`).
"""

from __future__ import annotations

import duckdb

from warehouse.dictionary import Table, dictionary
from warehouse.dictionary.render import quoted
from warehouse.marts.rows import store_frame

# Words of the source itself about who made a version, where it gives any; else the system that sent it.
ROLES = ("analyst_role", "signer_role", "approved_by_role", "operator_role")


def build(con: duckdb.DuckDBPyConnection, target: str, history: str = "lake.core") -> None:
    """Create `<target>.mart.audit_trail` from all versions of core rows, as they lie in schema `history`."""
    # A table that is all key has nothing that a later version could say otherwise.
    tables = [
        t
        for t in dictionary().tables.values()
        if t.layer == "core" and t.volume == "small" and set(t.fields) > set(t.key)
    ]
    # Most tables have one version of each row: to ask so costs less than to plan what would find nothing.
    again = (
        f"SELECT {quoted(t.name)} WHERE EXISTS ("
        f"SELECT 1 FROM {history}.{t.name} GROUP BY {', '.join(t.key)} HAVING count(*) > 1)"
        for t in tables
    )
    changed = {name for (name,) in con.execute(" UNION ALL ".join(again)).fetchall()}
    if not changed:
        store_frame(con, target, "audit_trail", None)
        return
    union = " UNION ALL ".join(f"({_changes(t, f'{history}.{t.name}')})" for t in tables if t.name in changed)
    con.execute(
        f"CREATE OR REPLACE TABLE {target}.mart.audit_trail AS SELECT * FROM ({union}) "
        "ORDER BY site_id, table_name, subject, recorded_at, changed_at, source_row, field_name"
    )


def _changes(table: Table, source: str) -> str:
    """One row a field that differs from the version before, oldest version first."""
    key = ", ".join(table.key)
    told = ", ".join(f'"{name}" := "{name}"' for name in table.fields if name not in table.key)
    fields = ", ".join(quoted(name) for name in table.fields if name not in table.key)
    role = next((name for name in ROLES if name in table.fields), None)
    subject = " || '|' || ".join(f"coalesce({k}::VARCHAR, '')" for k in table.key if k != "site_id")
    same = " AND ".join(f"b.{k} = r.{k}" for k in table.key)
    old, new = "json_extract_string(before, field_name)", "json_extract_string(told, field_name)"
    order = "source_version NULLS FIRST, sent_at, recorded_at, source_row, source_file_sha256"
    # A version is read again when a contract is mended. What a contract changed is told apart from what the source did:
    # a row read again is compared with the row before of the same record, a new record with the record before it as
    # that was known then.
    return f"""
        WITH several AS (
            -- Most rows have one version, and nothing to compare.
            SELECT * FROM {source} QUALIFY count(*) OVER (PARTITION BY {key}) > 1
        ), version AS (
            SELECT *, to_json(struct_pack({told})) AS told, lag(record_id) OVER (
                       PARTITION BY {key}, record_id ORDER BY recorded_at, sent_at, source_row) IS NOT NULL
                     AND reason LIKE 'contract v%' AS again
            FROM several
        ), record AS (
            SELECT *, lag(record_id) OVER (PARTITION BY {key} ORDER BY {order}) AS earlier FROM version WHERE NOT again
        ), step AS (
            SELECT r.*, max_by(
                     b.told, epoch(b.recorded_at) * if(b.recorded_at <= r.recorded_at, 1, -1)) AS before
            FROM record r JOIN version b ON {same} AND b.record_id = r.earlier
            GROUP BY ALL
            UNION ALL BY NAME
            SELECT *, record_id AS earlier FROM (
                SELECT *, lag(told) OVER (
                  PARTITION BY {key}, record_id ORDER BY recorded_at, sent_at, source_row) AS before
                FROM version) WHERE again
        )
        SELECT site_id, {quoted(table.name)} AS table_name, {subject or "site_id"} AS subject, field_name,
               {old} AS old_value, {new} AS new_value,
               CASE WHEN again THEN recorded_by
                    ELSE {f'coalesce("{role}", source_system)' if role else "source_system"} END AS changed_by,
               CASE WHEN again THEN recorded_at ELSE coalesce(source_version, sent_at) END AS changed_at,
               recorded_at, recorded_by, coalesce(reason, 'newer version from the source') AS why,
               earlier AS supersedes, record_id, source_file, source_row
        FROM (SELECT *, unnest([{fields}]) AS field_name FROM step WHERE before IS NOT NULL AND before <> told)
        WHERE {old} IS DISTINCT FROM {new}"""
