"""A site's sensor asks for a run of a feed when files of it arrived and stand still, and only then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pipelines.definitions import build_defs
from pipelines.harmonise.contract import TYPE
from pipelines.ingest.take import LISTINGS
from tests.wiring.test_definitions import CONTRACTS, demo
from warehouse.settings import ROOT, Settings

STAMP = 1_770_000_000
READING = {
    "batch_id": "batch",
    "channel": "channel",
    "read_at": "at",
    "quantity_name": "quantity",
    "reading": {"from": "value", "unit": "1"},
}
SAMPLE = {"sample_id": "id", "batch_id": "batch"}


def test_each_site_with_places_where_files_lie_has_one_sensor() -> None:
    sensors = {s.name: s for s in demo().sensors or [] if s.name.endswith("_arrivals")}
    wanted = {
        f"{site}_arrivals": {n for n, f in c.feeds.items() if c.systems[f.system].kind in LISTINGS}
        for site, c in CONTRACTS.items()
    }
    assert set(sensors) == {name for name, feeds in wanted.items() if feeds}
    for name, sensor in sensors.items():
        assert sensor.description
        assert all(feed in sensor.description for feed in wanted[name])


@pytest.fixture
def arriving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A site with a folder that settles, one that does not, and one that is not there."""
    sites, sources = tmp_path / "sites", tmp_path / "sources"
    contract = {
        "site_id": "kleinort", "name": "Kleinort", "country": "DE", "role": "spoke",
        "time_zone": "Europe/Berlin", "owner": "team:test", "starts_on": "2026-01-05",
        "time": {"format": "iso", "zone": "Europe/Berlin"},
        "systems": {
            "lims": {"kind": "folder", "path": "lims", "settle_seconds": 1},
            "historian": {"kind": "folder", "path": "historian"},
            "away": {"kind": "folder", "path": "away"},
        },
        "feeds": {
            "sample": {"system": "lims", "files": "sample_*.csv", "record": "id",
                       "tables": [{"table": "sample", "columns": SAMPLE}]},
            "batch": {"system": "lims", "files": "batch_*.csv", "record": "id", "tables": [
                {"table": "batch", "columns": {"batch_id": "id", "order_id": "order"}}]},
            "reading": {"system": "historian", "files": "*/r_*.csv", "day": r"r_(\d{8})",
                        "format": {"name": "delimited"}, "record": "at",
                        "tables": [{"table": "reading", "columns": READING}]},
            "shipment": {"system": "away", "files": "*.csv", "record": "id",
                         "tables": [{"table": "sample", "columns": SAMPLE}]},
        },
    }  # fmt: skip
    (sites / "kleinort").mkdir(parents=True)
    (sites / "kleinort" / "defs.yaml").write_text(yaml.safe_dump({"type": TYPE, "attributes": contract}))
    fleet = (ROOT / "pipelines" / "defs" / "sites" / "fleet.yaml").read_text("utf-8")
    (sites / "fleet.yaml").write_text(fleet.replace("reference_site: northgate", "reference_site: kleinort"))
    (sources / "lims").mkdir(parents=True)
    (sources / "historian" / "s1").mkdir(parents=True)
    monkeypatch.setenv("CELLFLEET_SOURCES", str(sources))
    defs = build_defs(Settings(sites=str(sites)))
    assert not [k for k in defs.resolve_all_asset_keys() if k.path[0] == "contract"]
    return {"defs": defs, "sources": sources, "cursor": None}


def put(arriving: dict[str, Any], name: str, content: str, age: float = 0) -> None:
    path = arriving["sources"] / name
    path.write_text(content)
    os.utime(path, (STAMP - age, STAMP - age))


def tick(arriving: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Feeds for which a tick asks for a run, with the run's tags; the cursor moves on as Dagster moves it."""
    defs = arriving["defs"]
    (sensor,) = [s for s in defs.sensors if s.name.endswith("_arrivals")]
    repository = defs.get_repository_def()
    with dg.build_sensor_context(cursor=arriving["cursor"], repository_def=repository) as context:
        told = repository.get_sensor_def(sensor.name).evaluate_tick(context)
    arriving["cursor"] = told.cursor
    asked = {}
    for request in told.run_requests or []:
        assert {k.path[0] for k in request.asset_selection} == {"raw", "core"}
        span = {k: v for k, v in request.tags.items() if k.startswith("dagster/asset_partition")}
        asked |= dict.fromkeys({k.path[2] for k in request.asset_selection}, span)
    return asked


def test_files_start_a_run_of_their_feed_once(arriving: dict[str, Any]) -> None:
    assert tick(arriving) == {}
    put(arriving, "historian/s1/r_20260310.csv", "a")
    put(arriving, "historian/s1/r_20260402.csv", "a")
    span = {
        "dagster/asset_partition_range_start": "2026-03-01",
        "dagster/asset_partition_range_end": "2026-04-01",
    }
    assert tick(arriving) == {"reading": span}
    with pytest.raises(Exception, match="away"):  # nothing else to do: the tick shows what cannot be reached
        tick(arriving)
    put(arriving, "historian/s1/r_20260402.csv", "ab")  # sent again
    assert tick(arriving) == {"reading": span | {"dagster/asset_partition_range_start": "2026-04-01"}}
    put(arriving, "historian/s1/r_20240101.csv", "before the site's first month")
    assert tick(arriving)["reading"]["dagster/asset_partition_range_start"] == "2026-01-01"


def test_a_file_still_being_written_waits_until_two_ticks_agree(arriving: dict[str, Any]) -> None:
    put(arriving, "lims/sample_1.csv", "half", age=20)
    assert tick(arriving) == {}
    put(arriving, "lims/sample_1.csv", "half and half", age=10)
    assert tick(arriving) == {}
    assert set(tick(arriving)) == {"sample"}
    put(arriving, "lims/sample_2.csv.part", "unfinished")
    with pytest.raises(Exception, match="away"):
        tick(arriving)


def test_records_that_arrive_together_are_one_run(arriving: dict[str, Any]) -> None:
    put(arriving, "lims/sample_1.csv", "whole")
    put(arriving, "lims/batch_1.csv", "whole")
    tick(arriving)
    repository = arriving["defs"].get_repository_def()
    with dg.build_sensor_context(cursor=arriving["cursor"], repository_def=repository) as context:
        told = repository.get_sensor_def("kleinort_arrivals").evaluate_tick(context)
    (request,) = told.run_requests or []
    assert {k.path[2] for k in request.asset_selection} == {"sample", "batch"}


def test_the_cursor_is_what_was_seen_and_does_not_grow_with_the_files(arriving: dict[str, Any]) -> None:
    for n in range(300):
        put(arriving, f"lims/sample_{n}.csv", "whole")
    tick(arriving)
    assert set(tick(arriving)) == {"sample"}
    assert len(arriving["cursor"]) < 500
    assert set(json.loads(arriving["cursor"])) == {"sample", "batch", "reading"}
