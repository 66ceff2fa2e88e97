"""The ledger after a run: logged and signed by the fleet's own job, only what is new is read, damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from pipelines.ledger_asset import CHECK, LOG, ledger_definitions
from pipelines.logbook import heads_of, log_fleet
from pipelines.publication import publish_fleet
from warehouse.ledger import audit, prove
from warehouse.publish import newest
from warehouse.settings import Settings


def logged(folder: Path) -> list[dict[str, object]]:
    """Entries of the private store."""
    lines = (folder / "private" / "entries.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line[65:]) for line in lines]


def materialised(home: Path, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    """The asset, run as the night's job runs it."""
    monkeypatch.setenv("CELLFLEET_HOME", str(home))
    definitions = ledger_definitions(
        dg.AssetKey(["published", "fleet"]), dg.AutomationCondition.eager(), ["team:fleet-quality"]
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([definitions.resolve_assets_def(LOG)], instance=instance, raise_on_error=False)


def test_a_run_leaves_a_signed_ledger_with_the_snapshot_it_published(published_home: Path) -> None:
    chosen = Settings(home=str(published_home))
    kept = logged(chosen.ledger_path)
    assert {e["kind"] for e in kept} == {"custody_event", "release_decision", "specification", "snapshot"}
    assert heads_of(chosen.ledger_path)[-1].size == len(kept)
    assert audit(chosen.ledger_path).ok
    snapshot = newest(chosen.published_path)
    assert snapshot is not None
    with duckdb.connect(str(snapshot), read_only=True) as con:
        events = con.execute("SELECT count(*) FROM history.custody_event").fetchone()
        assert con.execute("FROM meta.ledger_head").fetchall() == []
    assert events is not None
    assert sum(e["kind"] == "custody_event" for e in kept) == events[0]


def test_the_next_publication_reads_only_what_is_new_and_shows_the_head(
    fleet_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Settings(home=str(fleet_home))
    before = heads_of(chosen.ledger_path)
    published = publish_fleet(chosen, "test")
    with duckdb.connect(str(published.path), read_only=True) as con:
        shown = con.execute("SELECT entries, root FROM meta.ledger_head ORDER BY signed_at").fetchall()
    assert shown == [(head.size, head.root) for head in before]
    result = materialised(fleet_home, monkeypatch)
    assert result.success
    (told,) = result.asset_materializations_for_node("log_ledger")
    assert told.metadata["read"].value == told.metadata["added"].value == 1
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (CHECK, True)
    again = log_fleet(chosen)
    assert (again.added, again.read) == (0, 1)
    # The note of what was counted is no evidence: without it everything is read again and nothing added.
    (chosen.ledger_path / "private" / "counted.json").unlink()
    whole = log_fleet(chosen)
    assert whole.added == 0
    assert whole.read == whole.size - 1  # one snapshot of the two is no longer the newest
    assert prove(chosen.ledger_path, str(logged(chosen.ledger_path)[0]["id"]))["index"] == 0


def test_damage_fails_the_check_and_names_the_entry(
    fleet_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fleet_home / "ledger" / "private" / "entries.jsonl"
    store.write_bytes(store.read_bytes().replace(b'"custody_kind":"shipped"', b'"custody_kind":"shippet"', 1))
    result = materialised(fleet_home, monkeypatch)
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert "entry" in str(check.metadata["first bad"].value)
