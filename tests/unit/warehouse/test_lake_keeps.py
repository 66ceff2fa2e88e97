"""The lake through its own face: insert only, what is in force, as it was known, and who wrote what."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.unit.conftest import SmallLake
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.settings import Settings

BATCH = dictionary().tables["batch"]


def batch(
    status: str, *, known: int, stamp: str | None = None, sent: int = 1, name: str = "B1"
) -> dict[str, Any]:
    """A version of a batch: known to the lake and sent on days of January."""
    return {
        "site_id": "a", "batch_id": name, "order_id": "O1", "batch_status": status, "source_version": stamp,
        "recorded_at": f"2026-01-{known:02d}T00:00:00+00:00", "sent_at": f"2026-01-{sent:02d}T00:00:00+00:00",
    }  # fmt: skip


def in_force(small: SmallLake) -> str:
    return str(small.one("SELECT batch_status FROM current.batch")["batch_status"])


def test_a_correction_is_a_further_row(small_lake: SmallLake) -> None:
    small_lake.add("batch", batch("in_process", known=2))
    small_lake.add("batch", batch("complete", known=5, sent=3))
    assert small_lake.one("SELECT count(*) AS n FROM lake.core.batch")["n"] == 2
    assert in_force(small_lake) == "complete"


def test_the_source_s_stamp_decides_before_the_time_of_sending(small_lake: SmallLake) -> None:
    small_lake.add("batch", batch("complete", known=2, sent=3, stamp="2026-01-02T10:00:00+00:00"))
    # An older version that came later, from a file sent again.
    small_lake.add("batch", batch("in_process", known=9, sent=9, stamp="2026-01-01T10:00:00+00:00"))
    assert in_force(small_lake) == "complete"


@pytest.mark.parametrize(
    ("day", "wanted"), [(1, []), (3, ["in_process"]), (5, ["complete"]), (30, ["complete"])]
)
def test_as_it_was_known(small_lake: SmallLake, day: int, wanted: list[str]) -> None:
    small_lake.add("batch", batch("in_process", known=2))
    small_lake.add("batch", batch("complete", known=5, sent=3))
    told = small_lake.all(
        f"SELECT batch_status FROM ({lake.as_of_sql(BATCH, datetime(2026, 1, day, tzinfo=UTC))})"
    )
    assert [row["batch_status"] for row in told] == wanted


def test_as_of_asks_for_a_zone() -> None:
    with pytest.raises(ValueError, match="needs a time with its zone"):
        lake.as_of_sql(BATCH, datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused


def test_a_commit_names_its_author_and_what_it_was_for(small_lake: SmallLake) -> None:
    small_lake.add("batch", batch("complete", known=2))
    newest = small_lake.one(
        "SELECT author, commit_message FROM ducklake_snapshots('lake') ORDER BY snapshot_id DESC LIMIT 1"
    )
    assert newest == {"author": "test", "commit_message": "add batch"}


def test_what_fails_half_way_is_not_there(small_lake: SmallLake) -> None:
    def write() -> None:
        small_lake.con.execute("INSERT INTO lake.raw.cursor (site_id) VALUES ('a')")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lake.commit(small_lake.con, write, "test", "half")
    assert small_lake.one("SELECT count(*) AS n FROM lake.raw.cursor")["n"] == 0
    small_lake.add("batch", batch("complete", known=2))
    assert in_force(small_lake) == "complete"


def test_a_writer_that_was_first_is_waited_for(small_lake: SmallLake) -> None:
    tries = []

    def write() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise duckdb.TransactionException("database is locked")

    lake.commit(small_lake.con, write, "test", "again")
    assert len(tries) == 3


def test_a_process_attaches_anew_after_many_commits_but_under_nobody(
    tmp_path: Path, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake, "COMMITS_HELD", 2)
    chosen = Settings(home=str(shutil.copytree(empty_home, tmp_path / "home")))

    def kept(con: duckdb.DuckDBPyConnection) -> bool:
        return con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'mine'").fetchone() == (
            1,
        )

    with lake.opened(chosen) as outer:
        outer.execute("CREATE TABLE memory.mine AS SELECT 1")
        for day in (2, 3):
            SmallLake(outer).add("batch", batch("complete", known=day, name=f"B{day}"))
            with lake.opened(chosen) as inner:
                assert kept(inner)
    with lake.opened(chosen) as con:
        assert not kept(con)
        assert SmallLake(con).one("SELECT count(*) AS n FROM current.batch") == {"n": 2}
        con.execute("CREATE TABLE memory.mine AS SELECT 1")
        SmallLake(con).add("batch", batch("complete", known=4, name="B4"))
    with lake.opened(chosen) as con:
        assert kept(con)


def test_columns_must_be_those_of_the_dictionary(small_lake: SmallLake) -> None:
    small_lake.con.execute("CREATE TEMP TABLE odd AS SELECT 'a' AS site_id, 1 AS guess")
    with pytest.raises(
        lake.LakeError, match=r"core\.batch: missing columns .*batch_id.*unknown columns \['guess'\]"
    ):
        lake.insert(small_lake.con, BATCH, "odd")


def test_the_content_hash_tells_content_not_when_it_came(small_lake: SmallLake) -> None:
    d = dictionary()
    empty = lake.content_hash(small_lake.con, d, BATCH)
    small_lake.add("batch", batch("complete", known=2))
    one = lake.content_hash(small_lake.con, d, BATCH)
    small_lake.con.execute(
        "CREATE TEMP TABLE later AS SELECT * REPLACE (now() AS recorded_at) FROM lake.core.batch"
    )
    small_lake.con.execute("CREATE TEMP TABLE twice AS FROM lake.core.batch")
    assert empty != one
    lake.commit(small_lake.con, lambda: lake.insert(small_lake.con, BATCH, "twice") and None, "test", "twice")
    assert lake.content_hash(small_lake.con, d, BATCH) not in (empty, one)


def test_a_copied_home_works_elsewhere_and_leaves_the_first_alone(tmp_path: Path, empty_home: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "elsewhere" / "copy"
    shutil.copytree(empty_home, first)
    with closing(lake.attach(Settings(home=str(first)))) as con:
        SmallLake(con).add("batch", batch("complete", known=2))
    shutil.copytree(first, copy)
    before = sorted(p for p in first.rglob("*") if p.is_file())
    with closing(lake.attach(Settings(home=str(copy)))) as con:
        assert SmallLake(con).one("SELECT batch_id FROM current.batch") == {"batch_id": "B1"}
        SmallLake(con).add("batch", batch("complete", known=3, name="B2"))
    shutil.rmtree(first / "lake" / "data")
    with closing(lake.attach(Settings(home=str(copy)))) as con:
        assert SmallLake(con).one("SELECT count(*) AS n FROM current.batch") == {"n": 2}
    assert [p for p in before if "data" not in p.parts] == sorted(p for p in first.rglob("*") if p.is_file())


def test_a_reader_pinned_to_a_snapshot_does_not_see_what_came_after(small_lake: SmallLake) -> None:
    small_lake.add("batch", batch("complete", known=2))
    pinned = lake.latest_snapshot(small_lake.con)
    small_lake.add("batch", batch("complete", known=2, name="B2"))
    with closing(lake.attach(small_lake.chosen, snapshot=pinned)) as con:
        assert con.execute("SELECT count(*) FROM current.batch").fetchone() == (1,)
        with pytest.raises(duckdb.Error, match="read-only"):
            con.execute("DELETE FROM lake.core.batch")
