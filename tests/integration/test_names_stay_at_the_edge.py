"""Nobody's name, record number or birth date is in anything that a run left outside the vault and the sites' edge.

A sample of the fleet's patients; `benchmarks/canaries.py` plants in every feed, and looks in packs and reports too.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipelines.formats.registry import format_named
from pipelines.harmonise.contract import Contract, Feed, load_contract
from pipelines.harmonise.systems import FolderSystem
from pipelines.ingest.stage import options_of
from tests.leaks import leaks, words_in
from warehouse.settings import ROOT

SITES = ROOT / "pipelines" / "defs" / "sites"
PATIENTS = 2


def identifiers(sources: Path, contract: Contract, feed: Feed) -> set[str]:
    """What a feed's identifying columns say of its first patients."""
    if feed.query_table is not None:
        (database,) = sources.glob(f"{contract.site_id}/**/*.db")
        with sqlite3.connect(database) as con:
            columns = ", ".join(f'"{c}"' for c in feed.identifying)
            rows = con.execute(f'SELECT {columns} FROM "{feed.query_table}" LIMIT {PATIENTS}').fetchall()
        return {str(value) for row in rows for value in row if value}
    system = contract.systems[feed.system]
    assert isinstance(system, FolderSystem)
    assert feed.files is not None
    first = min((sources / system.path).glob(feed.files))
    records = format_named(feed.format.name).read(first, options_of(contract, feed)).records.head(PATIENTS)
    return {str(v) for c in feed.identifying if c in records.columns for v in records[c].drop_nulls()}


@pytest.fixture(scope="module")
def words(published_home: Path) -> list[str]:
    found: set[str] = set()
    for file in SITES.glob("*/defs.yaml"):
        contract = load_contract(file)
        for feed in contract.feeds.values():
            if feed.identifying:
                found |= identifiers(published_home / "sources", contract, feed)
    return sorted(word for word in found if len(word) > 5)


def test_the_vault_holds_them(published_home: Path, words: list[str]) -> None:
    assert len(words) > 20
    sent = (path for path in (published_home / "vault").rglob("*") if path.is_file())
    assert any(words_in(path, words) for path in sent)


def test_nothing_else_does(published_home: Path, words: list[str]) -> None:
    assert leaks(published_home, words) == []
