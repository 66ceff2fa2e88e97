"""The lake's tests run twice: on one machine's files, and on the servers that many machines share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copytree

import pytest

from tests.integration.live_servers import POSTGRES_PASSWORD, S3_KEY, S3_SECRET, Postgres, postgres, s3
from tests.unit.conftest import SmallLake
from warehouse import lake
from warehouse.settings import Settings

BUCKET = "lake"
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, str]]:
    """A PostgreSQL server and an S3 server's address; the database `empty` holds the catalog of an empty lake."""
    buckets = tmp_path_factory.mktemp("buckets")
    (buckets / BUCKET).mkdir()
    home = tmp_path_factory.mktemp("home")
    with postgres() as catalog, s3(buckets) as endpoint, pytest.MonkeyPatch.context() as keys:
        _give_keys(keys)
        catalog.sql("CREATE DATABASE empty")
        lake.attach(_on_servers(home, catalog, endpoint, "empty")).close()
        yield catalog, endpoint


def _give_keys(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PGPASSWORD", POSTGRES_PASSWORD)
    environment.setenv("AWS_ACCESS_KEY_ID", S3_KEY)
    environment.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)


def _on_servers(home: Path, catalog: Postgres, endpoint: str, database: str) -> Settings:
    return Settings(
        home=str(home),
        catalog=f"postgres:host={catalog.address} port={catalog.port} user=lims dbname={database}",
        lake_data=f"s3://{BUCKET}/data",  # one for all: file names are unique,
        s3_endpoint=endpoint,
    )


@pytest.fixture(params=["one machine", "many machines"])
def small_lake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallLake]:
    """An empty lake of its own, with a database `snap` attached to build marts into."""
    if request.param == "one machine":
        copytree(request.getfixturevalue("empty_home"), tmp_path, dirs_exist_ok=True)
        chosen = Settings(home=str(tmp_path))
    else:
        catalog, endpoint = request.getfixturevalue("servers")
        _give_keys(monkeypatch)
        database = f"lake_{next(numbers)}"
        catalog.sql(f"CREATE DATABASE {database} TEMPLATE empty")
        chosen = _on_servers(tmp_path, catalog, endpoint, database)
    with closing(lake.attach(chosen)) as con:
        con.execute(f"ATTACH '{tmp_path / 'snap.duckdb'}' AS snap")
        yield SmallLake(con, chosen)
