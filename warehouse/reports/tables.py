"""Which tables of a snapshot a dossier rests on, which of their rows, and those rows as files.

Does not belong here: what a dossier says in words (`dossier.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from warehouse.dictionary import dictionary
from warehouse.marts.build import mart_columns
from warehouse.reports.archive import table_files

_BATCH = "site_id = $site AND batch_id = $batch"
_ORDER = "site_id = $site AND order_id = $order"
_RESULTS = f"SELECT result_id FROM mart.assay_long WHERE {_BATCH}"
# Table of the snapshot, and which of its rows are about a batch.
OF_BATCH: dict[str, str] = {
    "mart.release_readiness": _BATCH,
    "mart.release_blocker": _BATCH,
    "mart.release_pending": _BATCH,
    "mart.batch_wide": _BATCH,
    "mart.assay_long": _BATCH,
    "mart.custody_chain": _ORDER,
    "mart.custody_step": "order_site_id = $site AND order_id = $order",
    "mart.vein_to_vein": _ORDER,
    "mart.vein_hours": _ORDER,
    "mart.genealogy": "site_id = $site AND ($batch IN (parent_id, child_id) OR parent_id = $order)",
    "mart.audit_trail": "site_id = $site AND (subject IN ($batch, $order) "
    f"OR (table_name = 'assay_result' AND subject IN ({_RESULTS})))",
    "core.batch": _BATCH,
    "core.therapy_order": _ORDER,
    "core.collection": _ORDER,
    "core.unit_operation": _BATCH,
    "core.lot_use": _BATCH,
    "core.deviation": _BATCH,
    "core.release_decision": _BATCH,
    "core.infusion": f"{_BATCH} OR ({_ORDER})",
    "core.specification": f"site_id = $site AND spec_id IN (SELECT spec_id FROM mart.release_readiness WHERE {_BATCH})",
    "core.spec_limit": f"site_id = $site AND spec_id IN (SELECT spec_id FROM mart.release_readiness WHERE {_BATCH})",
}
OF_STUDY: dict[str, str] = {
    "mart.plan": "true",
    "mart.comparability": "true",
    "mart.comparability_lots": "true",
    "mart.batch_wide": "true",
} | {
    # What is told of every order and batch of the fleet, at the same moment.
    f"mart.{name}": "true"
    for name in (
        "custody_chain", "release_readiness", "release_blocker", "release_pending", "vein_to_vein", "vein_hours",
        "vein_delay", "vein_measure", "vein_contrast", "vein_incidence", "order_forecast", "audit_trail",
    )
}  # fmt: skip
_COMPARED = "site = ANY($sites) AND attribute = ANY($attributes)"
# The same of the sites, attributes and days that a reader chose.
OF_CHOICE: dict[str, str] = {
    "mart.plan": "attribute = ANY($attributes)",
    "mart.comparability": _COMPARED,
    "mart.comparability_analysis": _COMPARED,
    "mart.comparability_family": _COMPARED,
    "mart.comparability_network": _COMPARED,
    "mart.comparability_range": _COMPARED,
    "mart.comparability_look": _COMPARED,
    "mart.failed_lots": "site = ANY($sites)",
    "mart.censored_fit": "site = ANY($sites)",
    "mart.variance_component": "attribute = ANY($attributes)",
    "mart.comparability_lots": f"{_COMPARED} AND (lot_at IS NULL OR lot_at >= $since AND lot_at < $until)",
}


def has(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether the snapshot has a table, and this reader's database shows it."""
    found = con.execute(
        "SELECT 1 FROM information_schema.tables WHERE table_schema || '.' || table_name = ? "
        "AND table_catalog NOT IN ('snap', 'system', 'temp')",
        [table],
    ).fetchone()
    return found is not None


def data_files(
    con: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str],
    values: Mapping[str, Any],
    formats: Sequence[str] = ("csv",),
) -> dict[str, bytes]:
    """Each table's rows as `data/<table>.<format>`: columns as the dictionary orders them, rows by key.

    A snapshot that an older program published may lack a column; then so does the file.
    """
    made: dict[str, bytes] = {}
    for table, where in tables.items():
        layer, name = table.split(".")
        if layer == "mart":
            columns, key = [f.name for f in mart_columns()[name].fields], mart_columns()[name].key
        else:
            columns, key = list(dictionary().tables[name].columns), dictionary().tables[name].key
        there = {row[0] for row in con.execute(f"DESCRIBE {table}").fetchall()}
        told = ", ".join(f'"{c}"' for c in columns if c in there)
        sql = f"SELECT {told} FROM {table} WHERE {where} ORDER BY {', '.join(key)}"
        for kind, content in table_files(con, sql, values, formats).items():
            made[f"data/{table}.{kind}"] = content
    return made
