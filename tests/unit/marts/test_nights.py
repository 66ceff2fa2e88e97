"""Nights that add to the snapshot before: every table says what one from scratch says, and little is made anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from tests.unit.conftest import SmallLake
from tests.unit.marts.test_memory import WATCHED, lots
from tests.unit.marts.test_trajectory_marts import ORIGIN, add_runs, run_of
from warehouse import lake, lake_layout, lake_readings, made_by
from warehouse.dictionary import dictionary
from warehouse.marts import memory
from warehouse.marts.build import build
from warehouse.plan import Fleet
from warehouse.publish import Snapshot, newest, publish
from warehouse.settings import Settings

# What tells of the publication itself, or of the one before it.
OF_THE_NIGHT = ("meta.snapshot", "mart.change", lake_readings.TOLD_AGAIN)
SCHEMAS = "('core', 'history', 'raw', 'quality', 'mart', 'meta')"


def tables(path: Path, chosen: Settings) -> Iterator[tuple[str, pl.DataFrame]]:
    """Every table of a snapshot, its rows in an order of their own; readings also where they were left in the lake."""
    with closing(duckdb.connect(str(path), read_only=True)) as con:
        con.execute("SET TimeZone = 'UTC'")
        lake_readings.reach(con, chosen)
        names = con.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name <> 'lake' "
            f"AND schema_name IN {SCHEMAS} UNION SELECT 'core.reading' ORDER BY ALL"
        ).fetchall()
        for (name,) in names:
            if name not in OF_THE_NIGHT:
                frame = con.execute(f"SELECT * FROM {name} ORDER BY ALL").pl()
                yield name, frame.drop("snapshot") if name == "mart.comparability" else frame


def comments(path: Path) -> list[tuple[Any, ...]]:
    """What the file says of its columns, and its macros."""
    with closing(duckdb.connect(str(path), read_only=True)) as con:
        told = con.execute(
            "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() "
            f"WHERE schema_name IN {SCHEMAS} AND schema_name || '.' || table_name <> '{lake_readings.TOLD_AGAIN}' "
            "ORDER BY ALL"
        ).fetchall()
        macros = con.execute(
            "SELECT function_name, macro_definition FROM duckdb_functions() "
            "WHERE function_type = 'table_macro' AND NOT internal ORDER BY ALL"
        ).fetchall()
        return told + macros


@dataclass
class Nights:
    """A fleet that is published each night, once on from the night before and once from scratch."""

    small: SmallLake
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    fleet: Fleet = WATCHED

    def published(self, chosen: Settings) -> tuple[Snapshot, memory.Memory]:
        made: list[memory.Memory] = []

        def noted(*told: Any) -> memory.Memory:
            made.append(memory.Memory(*told))
            return made[0]

        def marts(target: str, number: int, previous: Path | None, touched: str | None) -> dict[str, int]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("warehouse.marts.build.Memory", noted)
                return build(self.small.con, target, self.fleet, number, previous, touched)

        return publish(self.small.con, chosen, {}, marts), made[0]

    def night(self) -> tuple[Snapshot, memory.Memory]:
        """Tonight's snapshot, after it was held against one from scratch."""
        done, parts = self.published(self.small.chosen)
        elsewhere = Settings(home=str(self.small.chosen.home_path / f"scratch-{done.number}"))
        whole, anew = self.published(elsewhere)
        assert (whole.rolled_up, anew.taken) == (None, 0)
        assert whole.rows == done.rows | {"mart.change": whole.rows["mart.change"]}
        ours, theirs = (dict(tables(path, self.small.chosen)) for path in (done.path, whole.path))
        assert ours.keys() == theirs.keys()
        for name, frame in ours.items():
            assert frame.equals(theirs[name]), name
        assert comments(done.path) == comments(whole.path)
        return done, parts


@pytest.fixture
def nights(small_lake: SmallLake) -> Nights:
    """A dozen lots at each of two sites, seven runs with readings, published once."""
    small_lake.con.execute("DETACH snap")
    told = Nights(small_lake)
    for site in ("a", "b"):
        lots(small_lake, told.rng, 0, 12, site)
    runs = {f"R{i}": run_of(told.rng) for i in range(7)}
    add_runs(small_lake, runs, dict.fromkeys(runs, ORIGIN))
    told.published(small_lake.chosen)
    return told


def reading(small: SmallLake, batch: str, hour: float, value: float, **told: Any) -> None:
    at = (ORIGIN + timedelta(hours=hour)).isoformat()
    small.add("reading", {"site_id": "a", "batch_id": batch, "channel": "temp", "quantity_name": "temperature_c",
                          "read_at": at, "reading": value, "reading_status": "good"} | told)  # fmt: skip


def test_a_night_makes_anew_what_came_in(nights: Nights) -> None:
    small = nights.small
    quiet, parts = nights.night()
    assert (quiet.copied, quiet.rolled_up, parts.taken) == (frozenset(), 0, len(parts._now))
    # A new batch, a result corrected at the other site, and readings that come late.
    add_runs(small, {"R9": run_of(nights.rng)}, {"R9": ORIGIN})
    lots(small, nights.rng, 3, 1, "b", stamp=5)
    reading(small, "R2", 3.25, 36.9)
    for name in ("reading", "batch"):
        lake.commit(
            small.con, partial(lake_layout.merge, small.con, dictionary().tables[name]), "test", "merge"
        )
    done, parts = nights.night()
    assert done.copied == {"batch", "unit_operation", "sample", "assay_result"}
    assert done.rolled_up == 2
    assert 0 < parts.taken < len(parts._now)
    # A plan of another margin: readings and results are what they were.
    plan = nights.fleet.plan
    name, one = next(iter(plan.attributes.items()))
    wider = one.model_copy(update={"sd_ratio_max": 3.0})
    nights.fleet = nights.fleet.model_copy(
        update={"plan": plan.model_copy(update={"attributes": {**plan.attributes, name: wider}})}
    )
    done, parts = nights.night()
    assert (done.copied, done.rolled_up) == (frozenset(), 0)
    assert 0 < parts.taken < len(parts._now)


def test_readings_that_are_corrected_or_taken_back_are_copied_again(nights: Nights) -> None:
    small = nights.small
    reading(small, "R2", 3.5, 41.0, sent_at="2026-07-01T00:00:00+00:00")
    reading(small, "R3", 3.25, 39.0, source_file_sha256="f" * 64)
    done, _ = nights.night()
    assert (done.copied, done.rolled_up) == ({"reading"}, None)
    gone = {
        "site_id": "a", "feed": "sensor", "reason": "deleted", "recorded_at": "2026-08-01T00:00:00+00:00",
        "run_id": "test",
    }  # fmt: skip
    record = small.one("SELECT record_id FROM lake.core.assay_result WHERE result_id = 'acd3_pct3'")
    small.add(
        "withdrawal",
        gone | {"table_name": "reading", "record_id": "", "source_file_sha256": "f" * 64},
        gone | {"table_name": "assay_result", "source_file_sha256": ""} | record,
    )
    done, _ = nights.night()
    assert (done.copied, done.rolled_up) == ({"reading", "assay_result"}, None)
    # What was corrected once stays so, and costs no more.
    reading(small, "R2", 4.25, 36.9)
    done, _ = nights.night()
    assert (done.copied, done.rolled_up) == (frozenset(), 1)


def test_what_cannot_be_relied_on_is_not_taken_over(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    small = nights.small
    core = {t.name for t in dictionary().tables.values() if t.layer == "core"}

    def all_anew() -> None:
        done, parts = nights.published(small.chosen)
        assert (done.copied, done.rolled_up, parts.taken) == (core, None, 0)

    with monkeypatch.context() as patch:
        patch.setattr(made_by, "code", lambda: "another")
        patch.setattr("warehouse.publish.code", lambda: "another")
        all_anew()
    all_anew()
    # Cut off after it was published, or damaged where no hash tells.
    path = newest(small.chosen.published_path)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-4096])
    all_anew()
    # The lake's history between the two is no longer known.
    reading(small, "R2", 3.25, 36.9)
    reading(small, "R2", 4.25, 36.9)
    lost = lake.latest_snapshot(small.con) - 1
    small.con.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{lost}])")
    done, _ = nights.published(small.chosen)
    assert (done.copied, done.rolled_up) == (core, None)
