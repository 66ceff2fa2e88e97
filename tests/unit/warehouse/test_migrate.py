"""An older lake is planned, backed up and brought here; a newer one is refused in a plain sentence."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import cellfleet
from tests.unit.conftest import SmallLake
from warehouse import lake
from warehouse.migrate import migrate
from warehouse.settings import Settings


def lower(chosen: Settings, version: int) -> None:
    """Make the lake one of another format version, without what version 2 brought."""
    with closing(lake.attach(chosen)) as con:
        SmallLake(con).add("batch", {"site_id": "a", "batch_id": "B1", "order_id": "O1"})
        if version < lake.FORMAT_VERSION:
            con.execute("DROP TABLE lake.core.shipment")
            con.execute("ALTER TABLE lake.core.batch DROP COLUMN suite_id")
            for table in ("raw.alias", "quality.resolution", "quality.withdrawal"):
                con.execute(f"DROP TABLE lake.{table}")
        con.execute("DELETE FROM lake.ops.format")
        con.execute("INSERT INTO lake.ops.format VALUES (?, now())", [version])


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    chosen = Settings(home=str(tmp_path / "home"))
    lower(chosen, 1)
    return chosen


def test_an_older_lake_is_not_worked_on_and_the_mend_is_said(old: Settings) -> None:
    with pytest.raises(
        lake.LakeError, match=r"format version 1, this cellfleet needs 3\. Run `cellfleet migrate`"
    ):
        lake.attach(old)


def test_a_plan_changes_nothing(old: Settings) -> None:
    told = list(migrate(old, apply=False))
    assert told[0].startswith("1 → 2: add the tables and columns")
    assert "migrate --apply" in told[-1]
    with pytest.raises(lake.LakeError, match="format version 1"):
        lake.attach(old)
    assert not (old.home_path / "backups").exists()


def test_applied_it_has_what_was_missing_and_keeps_every_row(old: Settings) -> None:
    told = list(migrate(old, apply=True))
    assert told[-2:] == ["Applied 1 → 2.", "Applied 2 → 3."]
    with closing(lake.attach(old)) as con:
        assert con.execute("SELECT batch_id, order_id, suite_id FROM current.batch").fetchall() == [
            ("B1", "O1", None)
        ]
        assert con.execute("SELECT count(*) FROM current.shipment").fetchall() == [(0,)]
        small = SmallLake(con)
        small.add("batch", {"site_id": "a", "batch_id": "B2", "order_id": "O2", "suite_id": "S1"})
        assert con.execute("SELECT suite_id FROM current.batch ORDER BY batch_id").fetchall() == [
            (None,),
            ("S1",),
        ]
        messages = con.execute("SELECT commit_message FROM ducklake_snapshots('lake')").fetchall()
        assert any("migrate to 2" in (text or "") for (text,) in messages)
    assert list(migrate(old, apply=True)) == [
        "The lake has format 3, which is this version's. Nothing to do."
    ]


def test_the_backup_is_the_lake_before(old: Settings, tmp_path: Path) -> None:
    list(migrate(old, apply=True))
    (backup,) = (old.home_path / "backups").glob("catalog-*.sqlite")
    with closing(sqlite3.connect(backup)) as con:
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (old.home_path / "lake" / "catalog.sqlite").unlink()
    for left in (old.home_path / "lake").glob("catalog.sqlite-*"):
        left.unlink()
    backup.rename(old.home_path / "lake" / "catalog.sqlite")
    with pytest.raises(lake.LakeError, match="format version 1"):
        lake.attach(old)


def test_a_newer_lake_is_refused_by_every_command(tmp_path: Path) -> None:
    home = tmp_path / "home"
    lower(Settings(home=str(home)), lake.FORMAT_VERSION + 1)
    for words in (("migrate", "--apply"), ("publish",)):
        done = cellfleet(home, *words, check=False)
        assert done.returncode == 1
        said = " ".join(done.stderr.split())
        assert f"format version {lake.FORMAT_VERSION + 1}, this cellfleet knows {lake.FORMAT_VERSION}" in said
        assert "Install the newer cellfleet." in said
        assert "Traceback" not in said
