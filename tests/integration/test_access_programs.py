"""Access by program: a reader of one program sees nothing of another's batches at the very same sites."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import duckdb
import pytest

from dashboards.pages import PAGES
from dashboards.providers.scoped import SCHEMAS
from dashboards.providers.snapshot import Snapshot, Snapshots
from dashboards.security.scope import Scope
from tests.conftest import cellfleet
from tests.integration.readers import PASSWORD, SITES, client_of, home_with_accounts, shown, sign_in
from warehouse.access import Access

FIRST, OTHER = "PRG-CAR19", "PRG-OTHER"
# What names a batch or an order, wherever it stands. Samples and chains are swapped between orders by planted defects.
NAMES = ("batch_id", "order_id", "collection_id", "infusion_id")
KNOWN = {"batch_id": "core.batch", "order_id": "core.therapy_order"}
MADE = (("program", {"program_id": OTHER}), ("product", {"program_id": OTHER, "product_id": "P-OTHER"}))
EVERYTHING = Scope(SITES, compared=SITES)
MINE, THEIRS = (Scope(SITES, compared=SITES, programs=(program,)) for program in (FIRST, OTHER))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, published_home: Path) -> Path:
    """The small fleet as if every second patient of each site were treated in another program."""
    home = home_with_accounts(tmp_path_factory.mktemp("programs") / "home", published_home)
    with duckdb.connect(str((home / "published" / "fleet.duckdb").resolve())) as con:
        con.execute(
            "CREATE TABLE moved AS SELECT site_id, order_id FROM (SELECT *, dense_rank() OVER "
            "(PARTITION BY site_id ORDER BY patient_key) AS n FROM core.therapy_order) WHERE n % 2 = 0"
        )
        con.execute(
            "CREATE TABLE moved_batch AS SELECT site_id, batch_id FROM core.batch "
            "SEMI JOIN moved USING (site_id, order_id)"
        )
        for schema in ("core", "history"):
            for table, made in MADE:
                replaced = ", ".join(f"'{value}' AS {name}" for name, value in made.items())
                con.execute(
                    f"INSERT INTO {schema}.{table} SELECT * REPLACE ({replaced}) FROM {schema}.{table} LIMIT 1"
                )
        for name, columns in con.execute(
            "SELECT schema_name || '.' || table_name, list(column_name) FROM duckdb_columns() JOIN duckdb_tables() "
            "USING (schema_name, table_name) WHERE schema_name IN ('core', 'history', 'mart') GROUP BY 1"
        ).fetchall():
            if "product_id" in columns and {"order_id", "batch_id"} & set(columns) and "site_id" in columns:
                by, key = ("moved", "order_id") if "order_id" in columns else ("moved_batch", "batch_id")
                con.execute(
                    f"UPDATE {name} SET product_id = 'P-OTHER' "
                    f"WHERE (site_id, {key}) IN (SELECT site_id, {key} FROM {by})"
                )
    access = Access(home / "access")
    for name, programs in {
        "one": [FIRST],
        "other": [OTHER],
        "both": [FIRST, OTHER],
        "neither": ["PRG-NOT-YET"],
    }.items():
        access.grant(name, "qa", ["*"], PASSWORD, by="test", programs=programs)
    return home


@pytest.fixture(scope="module")
def snapshot(home: Path) -> Snapshot:
    return Snapshots(home / "published").current()


def values(snapshot: Snapshot, scope: Scope, table: str, column: str) -> set[str]:
    rows = snapshot.rows(f"SELECT DISTINCT {column} AS v FROM {table}, (SELECT len($sites))", scope)
    return {r["v"] for r in rows if r["v"] is not None}


def tables_of(snapshot: Snapshot) -> dict[str, set[str]]:
    rows = snapshot.rows(
        "SELECT schema_name || '.' || table_name AS name, list(column_name) AS has FROM duckdb_columns() "
        "WHERE list_contains($schemas, schema_name) AND len($sites) > 0 AND NOT internal GROUP BY 1",
        EVERYTHING, schemas=list(SCHEMAS),
    )  # fmt: skip
    return {r["name"]: set(r["has"]) for r in rows}


def test_every_name_is_seen_by_readers_of_its_program_and_by_nobody_else(snapshot: Snapshot) -> None:
    """Of each table with names of batches or orders, the two programs' readers see two parts of the whole."""
    told = 0
    for table, has in tables_of(snapshot).items():
        for column in (c for c in NAMES if c in has):
            every, one, other = (values(snapshot, s, table, column) for s in (EVERYTHING, MINE, THEIRS))
            assert not one & other, f"{table}.{column}"
            assert one | other <= every
            # One of the two is told of each that is known; only rows without a known program are told to neither.
            if column in KNOWN and table.startswith(("core.", "mart.batch", "mart.custody")):
                assert one | other >= every & values(snapshot, EVERYTHING, KNOWN[column], column), table
            told += bool(one) + bool(other)
    assert told > 80


def test_records_behind_findings_edits_and_files_are_of_the_program_too(snapshot: Snapshot) -> None:
    theirs = {
        record
        for table in (
            "batch",
            "therapy_order",
            "assay_result",
            "unit_operation",
            "release_decision",
            "infusion",
        )
        for record in values(snapshot, THEIRS, f"history.{table}", "record_id")
    }
    for table in ("quality.finding", "mart.audit_trail", "mart.genealogy", "quality.quarantine"):
        seen = values(snapshot, MINE, table, "record_id")
        assert not seen & theirs, table
        assert seen <= values(snapshot, EVERYTHING, table, "record_id")
    assert values(snapshot, THEIRS, "quality.finding", "record_id")
    shared = values(snapshot, MINE, "core.reagent_lot", "lot_id")
    assert shared == values(snapshot, THEIRS, "core.reagent_lot", "lot_id") != set()
    assert values(snapshot, Scope(SITES, programs=()), "raw.file", "source_file") == set()


def test_figures_over_all_programs_are_for_those_who_may_see_all_of_them(snapshot: Snapshot) -> None:
    asked = "SELECT attribute FROM mart.comparability WHERE site = ANY($sites)"
    for programs, sees in ((None, True), ((FIRST, OTHER), True), ((FIRST,), False), ((), False)):
        scope = Scope(SITES, compared=SITES, programs=programs)
        assert bool(snapshot.figures(asked, scope)) is sees, programs


@pytest.mark.parametrize("reader", ["one", "other", "both", "neither"])
def test_no_page_or_table_shows_another_program_s_batches(
    home: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    client = client_of(home, monkeypatch)
    sign_in(client, reader)
    client.get("/")
    asked = "SELECT batch_id, site_id, product_id = 'P-OTHER' AS other FROM core.batch WHERE site_id = ANY($sites)"
    found = snapshot.rows(asked, EVERYTHING)
    sites = {row["batch_id"]: row["site_id"] for row in found}
    sees = {"one": (False,), "other": (True,), "both": (False, True), "neither": ()}[reader]
    hidden = {row["batch_id"] for row in found if row["other"] not in sees}
    asked_for = [f"/batch/{sites[b]}/{b}" for b in sorted(hidden)[:2]]
    for path in [p.path for p in PAGES if "<" not in p.path] + asked_for:
        answer = shown(client, path)
        assert answer.status_code == 200
        _tells_nothing_of(hidden, answer.text, path)
    for page in PAGES:
        for table in page.tables:
            _tells_nothing_of(
                hidden, client.get(f"/csv/{page.name}/{table}.csv").text, f"{page.name}/{table}"
            )
    for batch in sorted(set(sites) - hidden)[:1]:
        assert batch in shown(client, f"/batch/{sites[batch]}/{batch}").text


def _tells_nothing_of(hidden: set[str], text: str, where: str) -> None:
    assert "This could not be shown" not in text, where
    seen = {b for b in hidden if re.search(rf"\b{re.escape(b)}\b", text)}
    assert not seen, f"{where} told of {sorted(seen)[:3]}"


def test_programs_on_the_command_line(home: Path) -> None:
    words = ("access", "grant", "x", "--role", "qa", "--site", "*", "--no-password", "--program")
    refused = cellfleet(home, *words, "PRG-X", check=False)
    assert refused.returncode == 2
    assert "no program PRG-X" in " ".join(refused.stderr.split())
    cellfleet(home, *words, OTHER)
    listed = {
        a["name"]: a["programs"] for a in json.loads(cellfleet(home, "access", "list", "--json").stdout)
    }
    assert listed["x"] == [OTHER]
    assert listed["everywhere"] == ["*"]


def test_an_account_from_before_there_were_programs_sees_every_one(tmp_path: Path) -> None:
    access = Access(tmp_path)
    access.grant("old", "qa", ["*"], PASSWORD, by="test")
    with sqlite3.connect(access.path) as con:
        con.executescript("DROP TRIGGER no_update_of_account; ALTER TABLE account DROP COLUMN programs")
    found = access.account("old")
    assert found is not None
    assert found.only_programs is None
    assert access.grant("new", "qa", ["*"], None, by="test", programs=["P"]).only_programs == ("P",)
