"""Publishing: a whole file or none, numbers that never go back, old ones kept by count, readable by DuckDB alone."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tests.unit.conftest import SmallLake
from warehouse.publish import Snapshot, newest, numbers, publish
from warehouse.settings import Settings


def published(small: SmallLake, chosen: Settings, **facts: str) -> Snapshot:
    return publish(small.con, chosen, {"run_id": "test", **facts}, lambda *_: {})


@pytest.fixture
def chosen(small_lake: SmallLake) -> Settings:
    small_lake.con.execute("DETACH snap")  # where other tests build marts; publishing makes its own
    return replace(small_lake.chosen, snapshots_kept="2")


def test_the_file_stands_alone_and_explains_itself(small_lake: SmallLake, chosen: Settings) -> None:
    small_lake.add("shipment", {"site_id": "a", "shipment_id": "S1", "carrier": "K", "allowed_high_c": 8.0})
    done = published(small_lake, chosen, data="as received")
    assert done.rows["core.shipment"] == 1
    # Nothing but the DuckDB program: no extension, no lake, no code of ours.
    with closing(duckdb.connect(str(newest(chosen.published_path)), read_only=True)) as con:
        assert con.execute("SELECT carrier FROM core.shipment").fetchall() == [("K",)]
        comment = con.execute(
            "SELECT comment FROM duckdb_columns() WHERE schema_name = 'core' AND table_name = 'shipment' "
            "AND column_name = 'allowed_high_c'"
        ).fetchone()
        assert comment is not None
        assert "Cel" in comment[0]
        told = dict(con.execute("SELECT fact, value FROM meta.snapshot").fetchall())
        assert (told["number"], told["data"]) == ("1", "as received")
        unit = con.execute("SELECT unit FROM meta.dictionary WHERE field = 'allowed_high_c'").fetchone()
        assert unit == ("Cel",)


def test_a_snapshot_answers_as_it_was_known(small_lake: SmallLake, chosen: Settings) -> None:
    for day, status in ((2, "in_process"), (5, "complete")):
        small_lake.add("batch", {"site_id": "a", "batch_id": "B1", "order_id": "O1", "batch_status": status,
                                 "sent_at": f"2026-01-0{day}T00:00:00+00:00",
                                 "recorded_at": f"2026-01-0{day}T00:00:00+00:00"})  # fmt: skip
    published(small_lake, chosen)
    with closing(duckdb.connect(str(newest(chosen.published_path)), read_only=True)) as con:
        asked = "SELECT batch_status FROM as_of_batch(TIMESTAMPTZ '2026-01-0{}T12:00:00Z')"
        assert [con.execute(asked.format(day)).fetchall() for day in (1, 2, 5)] == [
            [],
            [("in_process",)],
            [("complete",)],
        ]
        assert con.execute("SELECT count(*) FROM history.batch").fetchone() == (2,)


def test_numbers_rise_and_old_ones_are_kept_by_count(small_lake: SmallLake, chosen: Settings) -> None:
    seen = []
    for _ in range(3):
        published(small_lake, chosen)
        seen.append(newest(chosen.published_path))
    assert [p.name for p in seen if p] == [f"fleet-{n}.duckdb" for n in (1, 2, 3)]
    assert numbers(chosen.published_path) == [2, 3]
    assert (chosen.published_path / "fleet.duckdb").resolve().name == "fleet-3.duckdb"


def test_one_that_fails_half_way_leaves_the_last_in_place(small_lake: SmallLake, chosen: Settings) -> None:
    published(small_lake, chosen)

    def broken(*_: object) -> dict[str, int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish(small_lake.con, chosen, {}, broken)
    assert numbers(chosen.published_path) == [1]
    assert newest(chosen.published_path) == chosen.published_path / "fleet-1.duckdb"
    assert published(small_lake, chosen).number == 2
    assert list(chosen.published_path.glob("*.part*")) == []


def test_before_the_first_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
