"""The same fleet on many machines: PostgreSQL, S3, Redis and three workers, each in a network of its own.

What a run in one process made and what these make together must be the same content, byte for byte of its hash, though
one of the workers is lost on the way.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from dashboards.providers.snapshot import Snapshot
from dashboards.security.scope import Scope
from tests.conftest import cellfleet
from tests.integration.hub import Hub, hub
from tests.integration.live_servers import POSTGRES_PASSWORD
from warehouse import lake, lake_readings
from warehouse.dictionary import dictionary
from warehouse.publish import newest
from warehouse.settings import Settings, read_file

FLEET = "night"
QUEUES = {"hub": ("hub", "sites"), "second": ("sites",), "third": ("sites",)}
LOST = "third"
# A minute on two quiet cores; three workers and their servers on a busy machine take many.
RUN_SECONDS = 2400
# What tells of runs, not of what was sent.
OF_RUNS = ("accounting", "cursor")


@dataclass
class Night:
    """A fleet's run by three workers, done."""

    hub: Hub
    said: str

    @property
    def environment(self) -> dict[str, str]:
        return self.hub.environment(FLEET, "hub")


@pytest.fixture(scope="module")
def night(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("machines")
    with hub(folder, [*QUEUES, "reader"], published_home / "sources") as started:
        started.new_fleet(FLEET)
        # Readings are too many to copy for this fleet: dashboards read them from the bucket.
        with (folder / FLEET / "hub.env").open("a", encoding="utf-8") as told:
            told.write("CELLFLEET_READINGS_COPIED=1000\n")
        for machine in started.machines:
            if machine.name in QUEUES:
                started.start_worker(FLEET, machine, *QUEUES[machine.name])
        home = folder / FLEET / "hub"
        home.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(1) as beside:
            lost = beside.submit(lose, started, LOST)
            done = cellfleet(home, "run", seconds=RUN_SECONDS, **started.environment(FLEET, "hub"))
            assert lost.result(1), "the worker was never busy"
        yield Night(started, done.stdout)


def counted(started: Hub, name: str) -> tuple[int, int]:
    """How many runs a machine's worker took, and how many it ended."""
    [machine] = [m for m in started.machines if m.name == name]
    told = started.log(FLEET, machine).read_text("utf-8")
    return len(re.findall(r"\] received", told)), len(re.findall(r"succeeded in", told))


def lose(started: Hub, name: str) -> bool:
    """SIGKILL a machine's worker in the middle of a run, once it has ended one; whether that came to be."""
    end = time.monotonic() + RUN_SECONDS
    while time.monotonic() < end:
        took, ended = counted(started, name)
        if took > ended >= 1:
            worker = started.workers[list(QUEUES).index(name)]
            os.killpg(worker.pid, signal.SIGKILL)
            return True
        time.sleep(0.2)
    return False


def content(chosen: Settings) -> dict[str, str]:
    with closing(lake.attach(chosen, read_only=True)) as con:
        tables = [t for t in dictionary().tables.values() if t.name not in OF_RUNS]
        return {t.qualified: lake.content_hash(con, dictionary(), t) for t in tables}


def test_the_content_is_that_of_one_machine(
    night: Night, published_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in night.environment.items():
        monkeypatch.setenv(name, value)
    told = read_file(Path(night.environment["CELLFLEET_SETTINGS"]))
    on_servers = Settings(
        home=night.environment["CELLFLEET_HOME"],
        catalog=told["CELLFLEET_CATALOG"],
        lake_data=told["CELLFLEET_LAKE_DATA"],
        s3_endpoint=told["CELLFLEET_S3_ENDPOINT"],
    )
    one = content(Settings(home=str(published_home)))
    assert int(one["core.batch"].split(":")[0]) > 10
    assert int(one["core.reading"].split(":")[0]) > 1000
    assert content(on_servers) == one
    # Nothing of the lake was left on the disk of a worker.
    assert not list(night.hub.folder.glob(f"{FLEET}/*/lake"))


def test_every_worker_took_runs_and_they_ran_side_by_side(night: Night) -> None:
    done = {
        m.name: len(re.findall(r"succeeded in", night.hub.log(FLEET, m).read_text("utf-8")))
        for m in night.hub.machines
        if m.name in QUEUES
    }
    spans = rows(night, "SELECT start_time, end_time FROM runs WHERE status = 'SUCCESS' ORDER BY start_time")
    assert sum(done.values()) == len(spans) >= 8
    assert all(done.values()), f"a worker took no run: {done}"
    assert any(later < end for (_, end), (later, _) in itertools.pairwise(spans)), "no two ran at once"


def test_what_a_lost_worker_left_is_taken_in_by_another(night: Night) -> None:
    failed = rows(night, "SELECT pipeline_name FROM runs WHERE status = 'FAILURE'")
    assert len(failed) == 1
    again = rows(night, "SELECT status FROM runs WHERE pipeline_name = '{}' ORDER BY id".format(*failed[0]))
    assert again == [("FAILURE",), ("SUCCESS",)]
    took, ended = counted(night.hub, LOST)
    assert took == ended + 1


def rows(night: Night, sql: str) -> list[tuple[Any, ...]]:
    """Rows of Dagster's storage, which lies in PostgreSQL."""
    with psycopg.connect(
        host=night.hub.address, port=night.hub.catalog.port, user="lims", password=POSTGRES_PASSWORD,
        dbname=f"{FLEET}_dagster",
    ) as con:  # fmt: skip
        return con.execute(sql).fetchall()  # type: ignore[call-overload,no-any-return]


def test_another_machine_reads_the_same_answers(night: Night, published_home: Path) -> None:
    reader = night.hub.machines[-1]
    program = reader.command(sys.executable, "-m", "pipelines.cli")
    environment = os.environ | night.hub.environment(FLEET, "reader")
    subprocess.run([*program, "fetch"], env=environment, check=True, capture_output=True, timeout=120)
    here = newest(night.hub.folder / FLEET / "reader" / "published")
    there = newest(published_home / "published")
    assert here is not None
    assert there is not None
    assert here.read_bytes() == (night.hub.folder / FLEET / "hub" / "published" / here.name).read_bytes()
    asked = "SELECT * EXCLUDE (snapshot) FROM mart.comparability ORDER BY site, attribute"
    told = []
    for path in (here, there):
        with duckdb.connect(str(path), read_only=True) as con:
            told.append(con.execute(asked).fetchall())
    assert told[0] == told[1] != []


def test_dashboards_read_readings_from_the_lake(
    night: Night, published_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for home, environment in (
        (published_home, {"CELLFLEET_HOME": str(published_home)}),
        (night.hub.folder / FLEET / "hub", night.environment),
    ):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        path = newest(home / "published")
        assert path is not None
        snapshot = Snapshot(path)
        told.append(
            snapshot.rows(
                "SELECT batch_id, channel, count(*), min(reading), max(reading), max(read_at) FROM core.reading "
                "WHERE len($sites) = 1 GROUP BY ALL ORDER BY ALL",
                Scope(("prairie",)),
                readings=True,
            )
        )
    assert snapshot.facts[lake_readings.FACT] == lake_readings.LEFT
    assert told[0] == told[1] != []


def test_a_worker_s_machine_reaches_the_servers_and_nothing_else(night: Night) -> None:
    if night.hub.refused is not None:
        pytest.skip(f"workers shared this machine's network: {night.hub.refused}")
    asked = (
        "import socket, sys; s = socket.socket(); s.settimeout(5); "
        "sys.exit(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
    )
    worker = night.hub.machines[1]

    def reached(address: str) -> bool:
        words = ("python3", "-c", asked, address, str(night.hub.catalog.port))
        return subprocess.run(worker.command(*words), check=False).returncode == 0

    assert reached(night.hub.address)
    assert not reached("127.0.0.1")
