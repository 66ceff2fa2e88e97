"""Snapshots on other machines: the newest whole one, brought once, never an older one, never other bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tests.integration.live_servers import S3_KEY, S3_SECRET, s3
from warehouse.distribution import distribute, fetch
from warehouse.object_storage import ObjectStorageError
from warehouse.publish import newest, numbers, switch
from warehouse.settings import Settings


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a machine whose snapshots go to a real S3 server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
    (tmp_path / "buckets" / "fleet").mkdir(parents=True)
    with s3(tmp_path / "buckets") as endpoint:
        yield Settings(
            home=str(tmp_path / "hub"),
            published="s3://fleet/published",
            s3_endpoint=endpoint,
            snapshots_kept="2",
        )


def published(hub: Settings, number: int) -> Path:
    """A snapshot as the publisher leaves it, distributed."""
    hub.published_path.mkdir(parents=True, exist_ok=True)
    path = hub.published_path / f"fleet-{number}.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(f"CREATE TABLE told AS SELECT {number} AS number")
    switch(hub.published_path, path)
    distribute(hub, path)
    return path


def test_the_newest_is_brought_and_older_ones_are_kept_by_count(store: Settings, tmp_path: Path) -> None:
    reader = replace(store, home=str(tmp_path / "reader"))
    assert fetch(reader) is None
    for number in (1, 2, 3):
        published(store, number)
        brought = fetch(reader)
        assert brought is not None
        assert brought.name == f"fleet-{number}.duckdb"
        assert newest(reader.published_path) == brought
    assert numbers(reader.published_path) == [2, 3]
    objects = {p.name for p in (tmp_path / "buckets").rglob("*") if p.is_file()}
    assert objects == {"fleet-2.duckdb", "fleet-3.duckdb", "newest.json"}
    assert fetch(replace(store, home=str(tmp_path / "another"))).name == "fleet-3.duckdb"  # type: ignore[union-attr]


def test_other_bytes_than_were_published_are_not_used(store: Settings, tmp_path: Path) -> None:
    published(store, 1)
    reader = replace(store, home=str(tmp_path / "reader"))
    first = fetch(reader)
    published(store, 2)
    (spoilt,) = (tmp_path / "buckets").rglob("fleet-2.duckdb")
    spoilt.write_bytes(spoilt.read_bytes()[:-1] + b"x")
    with pytest.raises(ObjectStorageError, match="other bytes than were published"):
        fetch(reader)
    assert newest(reader.published_path) == first
    assert not list(reader.published_path.glob("*.part"))


def test_a_store_that_is_away_leaves_what_is_here_in_use(store: Settings, tmp_path: Path) -> None:
    published(store, 1)
    reader = replace(store, home=str(tmp_path / "reader"))
    here = fetch(reader)
    wrong = replace(reader, published="s3://no-such-bucket/published")
    assert fetch(wrong) == here
    with pytest.raises(ObjectStorageError, match="what is here stays in use"):
        distribute(
            replace(store, published="s3://no-such-bucket/published"), store.published_path / "fleet-1.duckdb"
        )
    with pytest.raises(ObjectStorageError, match="it is `s3://bucket/prefix`"):
        fetch(replace(reader, published="/a/folder"))
