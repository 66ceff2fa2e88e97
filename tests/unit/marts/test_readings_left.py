"""Readings that are too many to copy stay in the lake: the snapshot says the same, night by night, to every reader."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial

import duckdb
import pytest

from dashboards.app import create_app
from dashboards.providers.sensors import SensorProvider
from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope
from tests.unit.marts.test_nights import Nights, nights, reading
from tests.unit.marts.test_trajectory_marts import ORIGIN, add_runs, run_of
from warehouse import lake, lake_layout, lake_readings
from warehouse.dictionary import dictionary

__all__ = ["nights"]
READING = dictionary().tables["reading"]


@pytest.fixture
def left(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> Nights:
    """A fleet whose first snapshot held its readings, and whose next ones leave them in the lake.

    `Nights.night` holds each against one from scratch, which holds its readings.
    """
    nights.small.chosen = replace(nights.small.chosen, readings_copied="100")
    monkeypatch.setenv("CELLFLEET_HOME", nights.small.chosen.home)
    return nights


def test_nights_say_what_copies_say(left: Nights) -> None:
    small = left.small
    done, _ = left.night()
    assert (done.rolled_up, "reading" in done.copied) == (None, True)
    # Readings that come late, of a new batch, and files merged between.
    reading(small, "R2", 3.25, 36.9)
    add_runs(small, {"R9": run_of(left.rng)}, {"R9": ORIGIN})
    lake.commit(small.con, partial(lake_layout.merge, small.con, READING), "test", "merge")
    done, _ = left.night()
    assert (done.rolled_up, "reading" in done.copied) == (2, False)
    # Nothing new: what the snapshot before was pinned to may be gone, this one is pinned to what is there.
    done, _ = left.published(small.chosen)
    assert done.rolled_up == 0
    newest = lake.latest_snapshot(small.con)
    earlier = [
        n for (n,) in small.con.execute("SELECT snapshot_id FROM ducklake_snapshots('lake')").fetchall()
    ]
    small.con.execute(
        f"CALL ducklake_expire_snapshots('lake', versions => {[n for n in earlier if n < newest]})"
    )
    with closing(duckdb.connect(str(done.path), read_only=True)) as con:
        assert lake_readings.reach(con, small.chosen) is not None
        assert con.execute("SELECT count(*) FROM core.reading").fetchone() == (done.rows["core.reading"],)


def test_what_is_told_again_or_taken_back(left: Nights) -> None:
    small = left.small
    left.published(small.chosen)
    reading(small, "R2", 3.5, 41.0, sent_at="2026-07-01T00:00:00+00:00")
    left.published(small.chosen)
    # The same once more, an older one that comes late and changes nothing, and one of a file that is taken back.
    reading(small, "R2", 3.5, 42.0, sent_at="2026-07-02T00:00:00+00:00")
    reading(small, "R2", 3.5, 43.0, sent_at="2026-06-30T00:00:00+00:00")
    reading(small, "R3", 3.25, 39.0, source_file_sha256="f" * 64)
    done, _ = left.night()
    assert (done.rolled_up, "reading" in done.copied) == (2, False)
    small.add(
        "withdrawal",
        {"site_id": "a", "feed": "sensor", "reason": "deleted", "recorded_at": "2026-08-01T00:00:00+00:00",
         "run_id": "test", "table_name": "reading", "record_id": "", "source_file_sha256": "f" * 64},
    )  # fmt: skip
    done, _ = left.night()
    assert (done.rolled_up, "reading" in done.copied) == (None, True)


def test_pages_read_them_from_the_lake_and_no_other_site(left: Nights) -> None:
    reading(left.small, "R2", 3.5, 41.0, sent_at="2026-07-01T00:00:00+00:00")
    copies, _ = left.published(replace(left.small.chosen, readings_copied="1000000"))
    leaves, _ = left.published(left.small.chosen)
    held, there = Snapshot(copies.path), Snapshot(leaves.path)
    assert (there.number, there.facts["readings"]) == (held.number + 1, lake_readings.LEFT)
    scope = Scope(("a",))
    traces = []
    for snapshot in (held, there):
        provider = SensorProvider(snapshot)
        [run] = provider.runs(scope, [("a", "R2")])
        traces.append(provider.traces(scope, run))
    assert traces[0] == traces[1]
    assert any(41.0 in trace.values for trace in traces[0])
    other = Scope(("b",))
    counted = "SELECT count(*) AS n FROM core.reading WHERE len($sites) = 1"
    assert there.rows(counted, other, readings=True) == [{"n": 0}]
    # Opened for the lake's files, and for no other.
    with pytest.raises(duckdb.PermissionException):
        there.rows("FROM read_text('/etc/hostname') WHERE len($sites) = 1", other, readings=True)


def test_without_the_lake_hours_are_shown_until_it_is_back(
    left: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    left.small.add("site", {"site_id": "a"})
    reading(left.small, "R2", 3.25, 41.0)
    left.published(left.small.chosen)
    monkeypatch.setattr("dashboards.providers.left_readings.TRIED_AGAIN", 0)
    lake_folder = left.small.chosen.home_path / "lake"
    lake_folder.rename(away := lake_folder.with_name("away"))
    client = create_app(left.small.chosen).server.test_client()

    def asked(table: str) -> tuple[int, str]:
        answer = client.get(f"/csv/sensors/{table}.csv?batches=a/R2")
        return answer.status_code, answer.text

    status, hourly = asked("traces")
    assert status == 200
    assert hourly.count("a/R2")
    assert asked("events")[0] == 200
    for table in ("channels", "files"):
        status, said = asked(table)
        assert (status, "cannot be read just now" in said) == (503, True)
    away.rename(lake_folder)
    status, whole = asked("traces")
    assert status == 200
    assert whole.count("a/R2") > hourly.count("a/R2")
    assert asked("channels")[0] == 200
    # Its files are gone while it is open, and come back.
    data = lake_folder / "data"
    data.rename(away)
    assert asked("traces") == (200, hourly)
    away.rename(data)
    assert asked("traces") == (200, whole)
