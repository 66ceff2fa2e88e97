"""A backup holds the home as of one moment, is compared when it is brought back, and goes by its time."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from tests.integration.small_site import RESULTS, Site, result
from warehouse import lake, lake_files
from warehouse.backup import BackupError, Store, back_up, retained, table_hashes
from warehouse.ledger import Entry, append, audit
from warehouse.restore import chosen_backup, restore, restore_missing
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A home with results, a ledger, a database of Dagster's history and a key."""
    made = Site(tmp_path_factory.mktemp("prepared") / "fleet")
    made.send("results_1.csv", RESULTS + result(1) + result(2))
    made.run()
    home = made.settings.home_path
    append(made.settings.ledger_path, [Entry("e:1", "release_decision", {"batch": "B1"})])
    (home / "dagster" / "history").mkdir(parents=True)
    with closing(sqlite3.connect(home / "dagster" / "history" / "runs.db")) as con:
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("CREATE TABLE run (id TEXT)")
        con.execute("INSERT INTO run VALUES ('r1')")
        con.commit()
    (home / "keys").mkdir()
    (home / "keys" / "ledger.pem").write_text("secret")
    return made


@pytest.fixture
def site(prepared: Site, tmp_path: Path) -> Site:
    """A copy of that home which a test may change."""
    shutil.copytree(prepared.folder, tmp_path / "fleet")
    return moved(prepared, tmp_path / "fleet")


def moved(site: Site, folder: Path) -> Site:
    """The site as it is known where its folder was copied to."""
    there = Site.__new__(Site)
    there.__dict__.update(site.__dict__, folder=folder)
    return there


def elsewhere(site: Site, name: str = "elsewhere") -> Settings:
    return Settings(home=str(site.folder / name), sites=site.settings.sites, sources=site.settings.sources)


def content(chosen: Settings) -> dict[str, str]:
    with closing(lake.attach(chosen, read_only=True)) as con:
        return table_hashes(con)


def test_restored_elsewhere_every_hash_is_as_it_was_saved(site: Site, tmp_path: Path) -> None:
    made = back_up(site.settings, tmp_path / "backups")
    there = elsewhere(site)
    done = restore(Store(tmp_path / "backups"), there)
    assert content(there) == made.tables == content(site.settings)
    assert audit(there.ledger_path).ok
    with closing(sqlite3.connect(there.home_path / "dagster" / "history" / "runs.db")) as con:
        assert con.execute("SELECT id FROM run").fetchall() == [("r1",)]
    # What the hub's backup must not hold, is not in it and is told of.
    assert not (there.home_path / "keys").exists()
    assert not (there.home_path / "vault").exists()
    assert any("signing key" in left for left in done.left)
    assert "1 of 1 files of kleinort's vault, from that site's own backup" in done.left
    held = "".join(p.read_text("latin-1") for p in (tmp_path / "backups").rglob("*") if p.is_file())
    assert "secret" not in held
    # Life goes on where it was brought back: what came before is known there, what is new is taken in.
    site.send("results_2.csv", RESULTS + result(3), hours=1)
    shutil.rmtree(site.settings.home_path)
    there.home_path.rename(site.settings.home_path)
    assert site.run().accounting["received"] == 3


def test_a_second_backup_copies_only_what_is_new(site: Site, tmp_path: Path) -> None:
    back_up(site.settings, tmp_path / "backups")
    before = set((tmp_path / "backups").glob("objects/??/*"))
    site.send("results_2.csv", RESULTS + result(3), hours=1)
    site.run()
    back_up(site.settings, tmp_path / "backups")
    after = set((tmp_path / "backups").glob("objects/??/*"))
    assert before < after
    assert len(after - before) < len(before)


def test_back_to_a_moment_the_lake_is_as_it_was_then(site: Site, tmp_path: Path) -> None:
    then, at = content(site.settings), datetime.now(UTC)
    site.send("results_2.csv", RESULTS + result(1, "42.0", changed="2026-02-03T10:00:00Z"), hours=1)
    site.run()
    back_up(site.settings, tmp_path / "backups")
    there = elsewhere(site)
    done = restore(Store(tmp_path / "backups"), there, at)
    assert content(there) == then != content(site.settings)
    assert any("cellfleet publish" in left for left in done.left)
    with pytest.raises(BackupError, match="no commit until"):
        restore(Store(tmp_path / "backups"), elsewhere(site, "before"), datetime(2020, 1, 1, tzinfo=UTC))
    assert not (site.folder / "before" / "lake").exists()


def test_a_missing_file_of_the_lake_comes_back_alone(site: Site, tmp_path: Path) -> None:
    back_up(site.settings, tmp_path / "backups")
    whole = content(site.settings)
    with closing(lake.attach(site.settings, read_only=True)) as con:
        gone, cut_off = (lake_files.named(con)[n] for n in (0, 1))
    base = site.settings.home_path / "lake" / "data"
    (base / gone.path).unlink()
    os.truncate(base / cut_off.path, 10)
    assert restore_missing(Store(tmp_path / "backups"), site.settings) == [gone.path, cut_off.path]
    assert content(site.settings) == whole
    shutil.rmtree(tmp_path / "backups")
    (base / gone.path).unlink()
    with pytest.raises(BackupError, match=r"no backup in .* holds"):
        restore_missing(Store(tmp_path / "backups"), site.settings)


def test_an_altered_backup_is_refused_and_leaves_nothing_in_place(site: Site, tmp_path: Path) -> None:
    made = back_up(site.settings, tmp_path / "backups")
    store = Store(tmp_path / "backups")
    assert store.damaged(made) == []
    victim = next(f for f in made.files if f.path.startswith("lake/data/"))
    path = store.object_path(victim.sha256)
    path.chmod(0o600)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert store.damaged(made) == [victim.path]
    there = elsewhere(site)
    with pytest.raises(BackupError, match="was altered"):
        restore(store, there)
    assert not (there.home_path / "lake").exists()
    path.unlink()
    # The next backup of the same bytes mends it, and the restore that was cut off goes on.
    back_up(site.settings, tmp_path / "backups")
    restore(store, there)
    assert content(there) == content(site.settings)


def test_a_home_that_has_something_is_not_written_over(site: Site, tmp_path: Path) -> None:
    back_up(site.settings, tmp_path / "backups")
    with pytest.raises(BackupError, match="move them away"):
        restore(Store(tmp_path / "backups"), site.settings)
    with pytest.raises(BackupError, match="another disk"):
        back_up(site.settings, site.settings.home_path / "saved")


def test_retention_keeps_the_last_of_each_day_and_month() -> None:
    first = datetime(2026, 1, 1, 3, tzinfo=UTC)
    made = [first + timedelta(hours=12 * n) for n in range(2 * 120)]
    kept = retained(made, days=7, months=3)
    assert made[-1] in kept
    assert len(kept) == 7 + 2  # the newest month's last is one of the seven
    assert {m.hour for m in kept} == {15}
    assert retained(made, days=0, months=0) == {made[-1]}


def test_the_backup_for_a_moment_is_the_first_made_after_it(site: Site, tmp_path: Path) -> None:
    store = Store(tmp_path / "backups")
    with pytest.raises(BackupError, match="holds no backup"):
        chosen_backup(store, None)
    first, second = (back_up(site.settings, store.folder) for _ in range(2))
    assert chosen_backup(store, None) == second
    assert chosen_backup(store, first.made - timedelta(hours=1)) == first
    assert chosen_backup(store, first.made + timedelta(microseconds=1)) == second
    assert chosen_backup(store, second.made + timedelta(hours=1)) == second
    store.forget(days=1, months=0)
    assert store.manifests() == [second]
    assert store.damaged(second) == []


def test_by_command(site: Site, tmp_path: Path) -> None:
    folder = str(tmp_path / "backups")
    here = {**site.environment, "CELLFLEET_HOME": site.settings.home}
    run = CliRunner().invoke
    assert "set CELLFLEET_BACKUPS" in run(app, ["backup"], env=here).output
    told = run(app, ["backup", folder, "--json"], env=here)
    assert json.loads(told.stdout)["vault_files"] == {"kleinort": 1}
    assert "every byte as saved" in run(app, ["backup", folder, "--verify"], env=here).output
    assert "lake snapshot" in run(app, ["restore", folder, "--list"], env=here).output
    assert "No file of the lake is missing" in run(app, ["restore", folder, "--missing"], env=here).output
    refused = run(app, ["restore", folder], env=here)
    assert refused.exit_code == 1
    assert "move them away" in refused.output
    there = here | {"CELLFLEET_HOME": str(tmp_path / "there")}
    assert run(app, ["restore", folder, "--at", "2026-03-01"], env=there).exit_code == 2
    done = run(app, ["restore", folder], env=there)
    assert done.exit_code == 0, done.output
    assert "every hash is as it was saved" in done.output
