"""What of a snapshot a scope lets through: a database in memory whose views hold its rows and nothing else.

Belongs here: the rules of rows, figures and programs. Does not belong here: which file is read (`snapshot.py`), what is
asked of it (the other providers), how a reader gets a scope (`dashboards/security`).

A query that forgets to ask for the sites still returns no other site's rows, and none of another program's. A table
that no rule here knows has no view.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from dashboards.security.scope import Scope
from warehouse import lake_readings
from warehouse.dictionary.render import quoted
from warehouse.settings import settings

CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 2}
SCHEMAS = ("core", "history", "raw", "quality", "mart", "meta")
# In this order: time zones load an extension, which a closed connection may not.
SESSION = ("SET GLOBAL TimeZone = 'UTC'", "SET enable_external_access = false")
# Tables over many batches of a site: shown of sites that a reader is compared with, but never of few batches.
FIGURES = ("mart.comparability", "mart.change")
# Tables that name no site's batches or records.
OPEN = (
    "mart.plan", "mart.plan_lock", "mart.chart_rule", "meta.dictionary", "meta.tables", "meta.snapshot",
    "meta.maintenance",
)  # fmt: skip
# Rows of a site that may name a lot of the site that it is compared with.
NAMES_A_LOT = {"mart.comparability_influence": "unit_left_out"}
# Figures over all sites at once: only for readers who may see every site's figures.
FLEET = ("mart.vein_contrast", "mart.variance_component")
# Tables of a site that are of no program: what all its programs share, and how much its feeds brought.
OF_SITE = (
    *(f"{schema}.{table}" for schema in ("core", "history")
      for table in ("site", "suite", "equipment", "material", "reagent_lot", "assay_method", "catchment")),
    "mart.feed_status", "quality.accounting",
)  # fmt: skip
# What leads from a row to its program, the nearest first; the first that a row has decides. Ids are a site's own but
# for products and chains of identity, which have one meaning in the whole fleet.
KEYS: dict[str, str] = {
    "program_id": "SELECT DISTINCT '' AS site, program_id AS id FROM snap.history.program "
    "WHERE program_id IN ({programs})",
    "product_id": "SELECT DISTINCT '' AS site, product_id AS id FROM snap.history.product "
    "WHERE program_id IN ({programs})",
    "order_id": "SELECT DISTINCT site_id AS site, order_id AS id FROM snap.core.therapy_order "
    "SEMI JOIN key_product_id k ON k.id = product_id",
    "batch_id": "SELECT DISTINCT b.site_id AS site, b.batch_id AS id FROM snap.core.batch b WHERE CASE "
    "WHEN b.product_id IS NOT NULL THEN b.product_id IN (SELECT id FROM key_product_id) "
    "ELSE EXISTS (FROM key_order_id k WHERE k.site = b.site_id AND k.id = b.order_id) END",
    "sample_id": "SELECT DISTINCT site_id AS site, sample_id AS id FROM snap.core.sample "
    "SEMI JOIN key_batch_id k ON k.site = site_id AND k.id = batch_id",
    "collection_id": "SELECT DISTINCT site_id AS site, collection_id AS id FROM snap.core.collection "
    "SEMI JOIN key_order_id k ON k.site = site_id AND k.id = order_id",
    "infusion_id": "SELECT DISTINCT site_id AS site, infusion_id AS id FROM snap.core.infusion "
    "SEMI JOIN key_order_id k ON k.site = site_id AND k.id = order_id",
    "shipment_id": "SELECT DISTINCT site_id AS site, shipment_id AS id FROM snap.core.shipment "
    "SEMI JOIN key_order_id k ON k.site = site_id AND k.id = order_id",
    "spec_id": "SELECT DISTINCT site_id AS site, spec_id AS id FROM snap.history.specification "
    "SEMI JOIN key_product_id k ON k.id = product_id",
    "coi_id": "SELECT DISTINCT '' AS site, o.coi_id AS id FROM snap.core.therapy_order o "
    "SEMI JOIN key_order_id k ON k.site = o.site_id AND k.id = o.order_id WHERE o.coi_id IS NOT NULL",
    "patient_key": "SELECT DISTINCT o.site_id AS site, o.patient_key AS id FROM snap.core.therapy_order o "
    "SEMI JOIN key_order_id k ON k.site = o.site_id AND k.id = o.order_id "
    "UNION SELECT site_id, patient_key FROM snap.core.screening WHERE program_id IN ({programs})",
    "child_id": "FROM key_order_id UNION FROM key_batch_id UNION FROM key_collection_id UNION FROM key_infusion_id "
    "UNION FROM key_sample_id",
}  # fmt: skip
# Leads from what is told of a record (findings, quarantine, edits) to the record's own program.
RECORD, FILE = "record_id", "source_file_sha256"
# Sentences that may name a second batch or order; where that one is of another program, they are not told.
SENTENCES = ("detail", "what", "note", "blockers", "let_go_despite")
NAMED = {"order_id": "therapy_order", "batch_id": "batch", "sample_id": "sample", "collection_id": "collection",
         "infusion_id": "infusion", "coi_id": "therapy_order"}  # fmt: skip
NOT_TOLD = "Names something of a program that you may not see."


def views(path: Path, scope: Scope, few: int, *, readings: bool) -> duckdb.DuckDBPyConnection:
    """A database in memory with a view for each table of the snapshot at `path` that readers of a scope may ask.

    `few` is the smallest number of batches that a figure about a site without visible rows may stand on. With
    `readings` the lake is opened where the snapshot left its readings there, and duckdb.Error raised where it cannot
    be; without, the lake is not touched and `core.reading` is not there.
    """
    con = duckdb.connect(config=CONFIG)
    con.execute(f"ATTACH {quoted(str(path))} AS snap (READ_ONLY)")
    # The folder of the lake's files, where the snapshot does not have readings itself.
    files = lake_readings.reach(con, settings(), catalog="snap") if readings else None
    columns: dict[str, list[str]] = {}
    for schema, table, column in con.execute(
        "SELECT c.schema_name, c.table_name, c.column_name FROM duckdb_columns() c "
        "WHERE c.database_name = 'snap' AND list_contains($1, c.schema_name) ORDER BY c.column_index",
        [list(SCHEMAS)],
    ).fetchall():
        columns.setdefault(f"{schema}.{table}", []).append(column)
    if not readings:
        del columns["core.reading"]
    of_programs = {} if scope.programs is None else _of_programs(con, columns, scope.programs)
    if scope.programs is not None:
        _name_hidden(con)
    for schema in SCHEMAS:
        con.execute(f"CREATE SCHEMA {schema}")
    for name, has in columns.items():
        shown = _shown(name, has, scope, few)
        if shown is None:
            continue
        if scope.programs is not None and name not in OPEN:
            shown = f"({shown}) AND {of_programs[name]}"
        # A row's own place serves where a table has no key; views of sites' rows leave it out.
        rowid = ", rowid AS rowid" if name in (*OPEN, *FLEET) else ""
        told = "*" if scope.programs is None else _told(has)
        con.execute(f"CREATE VIEW {name} AS SELECT {told}{rowid} FROM snap.{name} AS t WHERE {shown}")
    if files:
        con.execute(f"SET allowed_directories = [{quoted(files + '/')}]")
    for setting in SESSION:
        con.execute(setting)
    return con


def _shown(name: str, has: list[str], scope: Scope, few: int) -> str | None:
    """Condition on a table's rows by site; None where the table is not shown."""
    if name in OPEN:
        return "true"
    rows, figures = frozenset(scope.allowed), frozenset(scope.compared)
    if name in FLEET:
        return f"NOT EXISTS (FROM snap.core.site WHERE site_id NOT IN ({_listed(rows | figures)}))"
    site = _site(has)
    if site is None:
        return None
    own = f"{site} IN ({_listed(rows)})"
    if name in NAMES_A_LOT:
        lot = f"FROM snap.core.batch b WHERE b.batch_id = {NAMES_A_LOT[name]} AND b.site_id NOT IN ({_listed(rows)})"
        return f"{own} AND NOT EXISTS ({lot})"
    if name not in FIGURES:
        return own
    # Of few batches a figure tells of single ones; of two versions in one row the smaller number counts.
    counts = [c for c in has if c.startswith("n_")]
    many = " AND ".join(f"coalesce({c}, 0) >= {few}" for c in counts if not c.endswith("_before"))
    return f"{own} OR ({site} IN ({_listed(figures)}) AND {many})"


def _of_programs(
    con: duckdb.DuckDBPyConnection, columns: Mapping[str, list[str]], programs: tuple[str, ...]
) -> dict[str, str]:
    """Condition on each table's rows by program. What is told over all programs is for who may see all of them."""
    listed = _listed(frozenset(programs))
    for key, found in KEYS.items():
        con.execute(f"CREATE TABLE key_{key} AS {found.format(programs=listed)}")
    covered = f"NOT EXISTS (FROM snap.history.program WHERE program_id NOT IN ({listed}))"
    conditions = {name: _by_key(name, has) for name, has in columns.items()}
    of_record = [
        f"SELECT '{name.split('.')[1]}' AS name, record_id AS id, source_file_sha256 AS file, "
        f"coalesce({condition}, false) AS mine FROM snap.{name} AS t"
        for name, condition in conditions.items()
        if condition and name.startswith("history.") and RECORD in columns[name]
    ]
    con.execute(f"CREATE TABLE key_record AS {' UNION '.join(of_record)}")
    for name, has in columns.items():
        if name in OF_SITE:
            conditions[name] = "true"
        elif conditions[name] is None and name == "raw.file":
            conditions[name] = f"{FILE} IN (SELECT file FROM key_record WHERE mine)"
        elif conditions[name] is None and RECORD in has and "table_name" in has:
            conditions[name] = (
                f"EXISTS (FROM key_record k WHERE k.mine AND k.id = t.{RECORD} AND k.name = t.table_name)"
            )
        elif conditions[name] is None and RECORD in has and not name.startswith(("core.", "history.")):
            # One record can tell of a patient of both and of an order of one: it is shown where all of it may be.
            conditions[name] = f"{RECORD} IN (SELECT id FROM key_record GROUP BY id HAVING bool_and(mine))"
    return {name: condition or covered for name, condition in conditions.items()}


def _name_hidden(con: duckdb.DuckDBPyConnection) -> None:
    """Keep the names of everything that is of no program of the reader's, for `_told`."""
    every = " UNION ALL ".join(
        f"SELECT {key} AS id FROM snap.core.{table} t WHERE {key} IS NOT NULL AND NOT EXISTS "
        f"(FROM key_{key} k WHERE k.id = t.{key} AND k.site IN ('', t.site_id))"
        for key, table in NAMED.items()
    )
    con.execute(f"CREATE TABLE hidden_names AS SELECT coalesce(list(DISTINCT id), []) AS ids FROM ({every})")


def _told(has: list[str]) -> str:
    """The columns of a table, its sentences without what names something hidden."""
    words = r"list_transform(string_split_regex(t.{0}, '[\s,;:|()]+'), lambda w: rtrim(w, '.'))"
    replaced = [
        f"CASE WHEN list_has_any({words.format(c)}, (SELECT ids FROM hidden_names)) "
        f"THEN {quoted(NOT_TOLD)} ELSE t.{c} END AS {c}"
        for c in SENTENCES if c in has
    ]  # fmt: skip
    return f"* REPLACE ({', '.join(replaced)})" if replaced else "*"


def _by_key(name: str, has: list[str]) -> str | None:
    """Condition by the nearest key that a row has; None where the table has none."""
    site, keys = _site(has), [k for k in KEYS if k in has]
    if name in OF_SITE or site is None or not keys:
        return None
    each = " ".join(
        f"WHEN {k} IS NOT NULL THEN EXISTS (FROM key_{k} k WHERE k.id = t.{k} AND k.site IN ('', t.{site}))"
        for k in keys
    )
    return f"(CASE {each} ELSE false END)"


def _site(has: list[str]) -> str | None:
    return next((c for c in ("site_id", "site") if c in has), None)


def _listed(names: frozenset[str]) -> str:
    # An empty list is not (NULL): nothing is IN it, and everything is NOT IN it.
    return ", ".join(quoted(n) for n in sorted(names)) or "SELECT NULL::VARCHAR WHERE false"
