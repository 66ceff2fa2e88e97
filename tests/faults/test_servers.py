"""Servers that go away under a night: PostgreSQL as the catalog, an object store for the files."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.night import Place
from tests.integration.live_servers import (
    POSTGRES_PASSWORD,
    S3_KEY,
    S3_SECRET,
    Postgres,
    Proxy,
    postgres,
    proxy,
    s3,
)

pytestmark = pytest.mark.faults
KEYS = {"AWS_ACCESS_KEY_ID": S3_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET}
AWAY = "did not answer"
RESTARTS = 20 if os.environ.get("CELLFLEET_FAULTS") == "all" else 1


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the object store, for what the tests themselves ask of the lake."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def catalog() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


def in_catalog(undisturbed: Undisturbed, folder: Path, server: Postgres, name: str) -> Place:
    """The small site with a database of its own as its catalog."""
    server.sql(f"CREATE DATABASE {name}")
    address = f"host=127.0.0.1 port={server.port} user=lims password={POSTGRES_PASSWORD} dbname={name}"
    return undisturbed.place(folder, catalog=f"postgres:{address}")


@pytest.mark.parametrize("seed", range(RESTARTS))
def test_the_catalog_s_server_restarts_at_any_time(
    seed: int, undisturbed: Undisturbed, catalog: Postgres, tmp_path: Path
) -> None:
    made = in_catalog(undisturbed, tmp_path / "fleet", catalog, f"restarts{seed}")
    night = made.begin()
    time.sleep(random.Random(seed).uniform(0.2, 0.9) * undisturbed.seconds)
    catalog.stop()  # without a word to those who are connected
    catalog.start()
    said = night.end()
    assert said == "" or AWAY in said, said
    undisturbed.is_made_by(made)


def test_a_catalog_that_stays_away_is_told(
    undisturbed: Undisturbed, catalog: Postgres, tmp_path: Path
) -> None:
    made = in_catalog(undisturbed, tmp_path / "fleet", catalog, "away")
    catalog.stop()
    try:
        said = made.whole()
    finally:
        catalog.start()
    assert AWAY in said, said
    assert POSTGRES_PASSWORD not in said
    undisturbed.is_made_by(made)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """An object store behind a proxy that can be told to fail."""
    folder = tmp_path_factory.mktemp("buckets")
    for bucket in ("slow", "cut", "away"):
        (folder / bucket).mkdir()
    with s3(folder) as address, proxy(int(address.rsplit(":", 1)[1])) as between:
        yield between


def in_store(undisturbed: Undisturbed, folder: Path, store: Proxy, bucket: str) -> Place:
    """The small site with its lake's files in a bucket."""
    return undisturbed.place(
        folder, KEYS, lake_data=f"s3://{bucket}/lake", s3_endpoint=f"http://127.0.0.1:{store.port}"
    )


def test_a_slow_store(undisturbed: Undisturbed, store: Proxy, tmp_path: Path) -> None:
    made = in_store(undisturbed, tmp_path / "fleet", store, "slow")
    store.delay = 0.02
    try:
        undisturbed.is_made_by(made)
    finally:
        store.delay = 0


def test_a_store_that_drops_its_answers(undisturbed: Undisturbed, store: Proxy, tmp_path: Path) -> None:
    made = in_store(undisturbed, tmp_path / "fleet", store, "cut")
    night, ended = made.begin(), threading.Event()

    def cut() -> None:
        while not ended.wait(0.3):
            store.drop()

    cutting = threading.Thread(target=cut, daemon=True)
    cutting.start()
    said = night.end()
    ended.set()
    cutting.join()
    assert said == "" or AWAY in said, said
    undisturbed.is_made_by(made)


def test_a_store_that_stays_away_is_told(undisturbed: Undisturbed, store: Proxy, tmp_path: Path) -> None:
    made = in_store(undisturbed, tmp_path / "fleet", store, "away")
    night = made.begin()
    time.sleep(0.4 * undisturbed.seconds)
    store.go_away()
    said = night.end()
    store.restore()
    assert said == "" or AWAY in said, said
    undisturbed.is_made_by(made)
