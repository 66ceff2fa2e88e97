"""Databases: PostgreSQL, MariaDB (real servers) and SQLite through one contract; late, edited, deleted, dropped."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from live_servers import MariaDb, Postgres, mariadb, postgres, proxy
from small_site import Site, attributes

from pipelines.connectors import protocol, servers
from pipelines.connectors.protocol import Seen
from pipelines.connectors.relational import Relational, less
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import RelationalSystem
from tests.conftest import ROOT

TABLE = "CREATE TABLE {table} (id TEXT, sample TEXT, test TEXT, result TEXT, unit TEXT, at {stamp}, changed {stamp})"
DAY = datetime(2026, 3, 5, 12, tzinfo=UTC)


def feed(**changed: Any) -> dict[str, Any]:
    return attributes()["feeds"]["assay"] | {
        "system": "lims", "files": None, "query_table": "lims.RESULT", "modified": "changed", "overlap": "1 day",
        "format": {"name": "jsonl"},
    } | changed  # fmt: skip


def mysql(server: MariaDb) -> pymysql.Connection[Any]:
    """A connection whose times are UTC, and which quotes names as the standard does."""
    return pymysql.connect(
        host="127.0.0.1", port=server.port, user="lims", password="lims-secret", database="lims",
        autocommit=True, init_command="SET sql_mode = 'ANSI_QUOTES', time_zone = '+00:00'",
    )  # fmt: skip


@dataclass
class Lims:
    """A LIMS database with one table, on a server or in a file."""

    kind: str
    server: Postgres | MariaDb | None
    path: Path
    system: dict[str, Any]

    def run(self, sql: str, rows: Sequence[Sequence[Any]] = ((),)) -> None:
        if isinstance(self.server, MariaDb):
            with mysql(self.server) as con, con.cursor() as cursor:
                for row in rows:
                    cursor.execute(sql.replace("?", "%s"), row)
        elif self.server is not None:
            with psycopg.connect(self.server.url) as con, con.cursor() as cursor:
                cursor.executemany(sql.replace("?", "%s"), rows)
        else:
            con = sqlite3.connect(self.path)
            with con:
                con.executemany(sql, rows)
            con.close()

    @property
    def table(self) -> str:
        return 'lims."RESULT"' if self.server is not None else '"RESULT"'

    @property
    def named(self) -> str:
        """The table as a contract names it."""
        return "lims.RESULT" if self.server is not None else "RESULT"

    def add(self, number: int, changed: datetime | None, value: str = "90.5") -> None:
        """Insert a result with a stamp; the same number again edits it."""
        stamp: Any = changed if self.server is not None or changed is None else changed.isoformat()
        self.run(f"DELETE FROM {self.table} WHERE id = ?", [[f"R{number}"]])
        row = [f"R{number}", f"S{number}", "viab", value, "%", stamp, stamp]
        self.run(f"INSERT INTO {self.table} VALUES (?, ?, ?, ?, ?, ?, ?)", [row])

    def remove(self, number: int) -> None:
        self.run(f"DELETE FROM {self.table} WHERE id = ?", [[f"R{number}"]])


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as made:
        yield made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.05)


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDb]:
    with mariadb() as made:
        yield made


@pytest.fixture(params=["postgres", "mariadb", "sqlite"])
def lims(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lims:
    if request.param == "postgres":
        server = request.getfixturevalue("server")
        monkeypatch.setenv("LIMS_URL", server.url)
        made = Lims("postgres", server, tmp_path, {"kind": "relational", "url_env": "LIMS_URL"})
        made.run("DROP SCHEMA IF EXISTS lims CASCADE")
        made.run("CREATE SCHEMA lims")
    elif request.param == "mariadb":
        server = request.getfixturevalue("maria")
        monkeypatch.setenv("LIMS_URL", server.url)
        made = Lims("mariadb", server, tmp_path, {"kind": "relational", "url_env": "LIMS_URL"})
        made.run(f"DROP TABLE IF EXISTS {made.table}")
    else:
        path = tmp_path / "sources" / "lims.db"
        path.parent.mkdir()
        made = Lims("sqlite", None, path, {"kind": "relational", "path": "lims.db"})
    stamps = {"postgres": "timestamptz", "mariadb": "TIMESTAMP(6) NULL", "sqlite": "TEXT"}
    made.run(TABLE.format(table=made.table, stamp=stamps[request.param]))
    return made


@dataclass
class Puller:
    """Extracts one after the other, each from the cursor that the last one left, as the lake keeps it."""

    lims: Lims
    scratch: Path
    feed: Feed
    cursor: dict[str, Any] | None = None

    def pull(self, keys: Callable[[], set[tuple[str, ...]]] = set) -> list[dict[str, Any]]:
        system = RelationalSystem.model_validate(self.lims.system)
        seen = Seen(cursor=self.cursor or {}, keys=keys)
        came: list[dict[str, Any]] = []
        for offer in Relational().offers(system, self.feed, self.scratch / "sources", seen, self.scratch):
            assert offer.path is not None
            came += [json.loads(line) for line in offer.path.read_text().splitlines()]
            self.cursor = offer.cursor
        return came


@pytest.fixture
def puller(lims: Lims, tmp_path: Path) -> Puller:
    return Puller(lims, tmp_path, Feed.model_validate(feed(query_table=lims.named)))


def numbers(came: list[dict[str, Any]]) -> list[str]:
    return sorted(row["id"] for row in came)


def test_only_what_is_new_or_changed_comes(lims: Lims, puller: Puller) -> None:
    for n in range(1, 6):
        lims.add(n, DAY + timedelta(days=n))
    assert numbers(puller.pull()) == ["R1", "R2", "R3", "R4", "R5"]
    assert puller.pull() == []
    lims.add(6, DAY + timedelta(days=6))
    lims.add(2, DAY + timedelta(days=7), "91.5")
    assert numbers(puller.pull()) == ["R2", "R6"]
    assert puller.pull() == []


def test_late_commits_and_clocks_behind_are_caught_within_the_overlap(lims: Lims, puller: Puller) -> None:
    lims.add(1, DAY)
    puller.pull()
    lims.add(2, DAY - timedelta(hours=20))  # stamped before what was read, committed after
    lims.add(3, DAY - timedelta(hours=30))  # before the overlap: the contract's overlap was too short
    lims.add(4, DAY + timedelta(hours=30))
    assert numbers(puller.pull()) == ["R2", "R4"]
    assert puller.pull() == []


def test_rows_without_a_stamp_come_once(lims: Lims, puller: Puller) -> None:
    lims.add(1, None)
    assert numbers(puller.pull()) == ["R1"]
    lims.add(2, DAY)
    lims.add(3, None)
    assert numbers(puller.pull()) == ["R2", "R3"]
    assert puller.pull() == []


def test_a_stamp_from_the_future_hides_nothing(lims: Lims, puller: Puller) -> None:
    lims.add(1, datetime(2037, 1, 1, tzinfo=UTC))  # TIMESTAMP of MariaDB ends in 2038
    assert numbers(puller.pull()) == ["R1"]
    now = datetime.now(UTC)
    lims.add(2, now)
    lims.add(3, now - timedelta(hours=2))
    assert numbers(puller.pull()) == ["R2", "R3"]
    assert puller.pull() == []


# SQLite has one writer, who holds its readers up or is read whole.
@pytest.mark.parametrize("lims", ["postgres"], indirect=True)
def test_a_transaction_that_is_open_while_we_read_comes_next_time(
    server: Postgres, lims: Lims, puller: Puller
) -> None:
    lims.add(1, DAY)
    with psycopg.connect(server.url) as slow:
        slow.execute(f"INSERT INTO {lims.table} VALUES ('R2', 'S2', 'viab', '90', '%%', now(), %s)", [DAY])
        lims.add(3, DAY + timedelta(minutes=5))
        assert numbers(puller.pull()) == ["R1", "R3"]
        slow.commit()
    assert numbers(puller.pull()) == ["R2"]


def test_a_deleted_key_is_told_and_an_emptied_table_is_not_believed(lims: Lims, puller: Puller) -> None:
    puller.feed = Feed.model_validate(feed(query_table=lims.named, compare_keys=True))
    for n in (1, 2, 3):
        lims.add(n, DAY)
    puller.pull()
    lims.remove(2)
    known = {("R1",), ("R2",), ("R3",)}
    assert puller.pull(lambda: set(known)) == [{"id": "R2", "@deleted": "true"}]
    known.remove(("R2",))
    assert puller.pull(lambda: set(known)) == []
    for n in (1, 3):
        lims.remove(n)
    with pytest.raises(PermanentFailure, match="is empty, and 2 keys of it are known"):
        puller.pull(lambda: set(known))


def test_values_come_as_the_database_prints_them(lims: Lims, puller: Puller) -> None:
    nasty = 'a "quote", a \\backslash, ü, a\nnew line,\tand \x01'
    lims.add(1, DAY, nasty)
    (row,) = puller.pull()
    assert row["result"] == nasty
    assert datetime.fromisoformat(row["changed"]) == DAY


@pytest.mark.parametrize(
    ("stamp", "earlier"),
    [
        ("2026-03-05T12:00:00Z", "2026-03-03T12:00:00Z"),
        ("2026-03-05 12:00:00.5+00", "2026-03-03 12:00:00.500000+00:00"),
        ("2026-03-05 12:00:00", "2026-03-03 12:00:00"),
        ("2026-03-05", "2026-03-03"),
        ("123456", "113456"),
        ("last Tuesday", None),
    ],
)
def test_the_overlap_is_printed_as_the_source_prints(stamp: str, earlier: str | None) -> None:
    assert less(stamp, "2 days") == earlier


@pytest.fixture
def full(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Lims:
    """A PostgreSQL table of 60,000 rows."""
    monkeypatch.setenv("LIMS_URL", server.url)
    made = Lims("postgres", server, Path(), {"kind": "relational", "url_env": "LIMS_URL"})
    made.run("DROP SCHEMA IF EXISTS lims CASCADE")
    made.run("CREATE SCHEMA lims")
    made.run(TABLE.format(table=made.table, stamp="timestamptz"))
    made.run(
        f"INSERT INTO {made.table} SELECT 'R' || n, 'S' || n, 'viab', '90', '%%', now(), "
        "timestamptz '2026-01-01Z' + n * interval '1 minute' FROM generate_series(1, 60000) AS n"
    )
    return made


def test_a_slow_line_and_one_that_drops_lose_nothing(
    full: Lims, server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    puller = Puller(full, tmp_path, Feed.model_validate(feed()))
    with proxy(server.port) as line:
        monkeypatch.setenv("LIMS_URL", server.at(line.port))
        line.delay = 0.001
        line.cut_after = 4 << 20
        assert len({row["id"] for row in puller.pull()}) == 60_000
        assert line.cuts == 1


def test_a_server_that_restarts_is_waited_for(
    full: Lims, server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.5)
    puller = Puller(full, tmp_path, Feed.model_validate(feed()))
    server.stop()
    again = threading.Timer(0.3, server.start)
    again.start()
    try:
        assert len(puller.pull()) == 60_000
    finally:
        again.join()


def test_what_trying_again_cannot_help_stops_and_shows_no_secret(
    lims: Lims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = lims.server
    if server is None:
        missing = Puller(lims, tmp_path, Feed.model_validate(feed(query_table="NOWHERE")))
        with pytest.raises(PermanentFailure, match="NOWHERE"):
            missing.pull()
        return
    for wrong in (
        server.url.replace("lims-secret", "guessed"),
        server.url.rpartition("/")[0] + "/nowhere",
    ):
        monkeypatch.setenv("LIMS_URL", wrong)
        with pytest.raises(PermanentFailure) as told:
            Puller(lims, tmp_path, Feed.model_validate(feed())).pull()
        assert "guessed" not in str(told.value)
        assert "lims-secret" not in str(told.value)
    monkeypatch.setenv("LIMS_URL", server.url)
    for changed in ({"query_table": "lims.NOWHERE"}, {"modified": "nothing"}):
        with pytest.raises(PermanentFailure, match=r"NOWHERE|nothing"):
            Puller(lims, tmp_path, Feed.model_validate(feed(**changed))).pull()
    monkeypatch.delenv("LIMS_URL")
    with pytest.raises(PermanentFailure, match="LIMS_URL is not set"):
        Puller(lims, tmp_path, Feed.model_validate(feed())).pull()
    monkeypatch.setenv("LIMS_URL", server.at(1))
    started = time.monotonic()
    with pytest.raises(TransientFailure):
        Puller(lims, tmp_path, Feed.model_validate(feed())).pull()
    assert time.monotonic() - started < 30


def test_mysql_behind_a_slow_line_that_drops_and_a_server_that_restarts(
    maria: MariaDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Lims("mariadb", maria, Path(), {"kind": "relational", "url_env": "LIMS_URL"})
    made.run(f"DROP TABLE IF EXISTS {made.table}")
    made.run(TABLE.format(table=made.table, stamp="TIMESTAMP(6) NULL"))
    made.run(
        f"INSERT INTO {made.table} SELECT concat('R', seq), concat('S', seq), 'viab', '90', '%%', now(6), "
        "'2026-01-01' + INTERVAL seq MINUTE FROM seq_1_to_30000",
        [[]],
    )
    with proxy(maria.port) as line:
        monkeypatch.setenv("LIMS_URL", maria.at(line.port))
        line.delay = 0.001
        line.cut_after = 1 << 20
        pulled = Puller(made, tmp_path, Feed.model_validate(feed())).pull()
        assert len({row["id"] for row in pulled}) == len(pulled) == 30_000
        assert line.cuts == 1
    monkeypatch.setenv("LIMS_URL", maria.url)
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.5)
    maria.stop()
    again = threading.Timer(0.3, maria.start)
    again.start()
    try:
        assert len(Puller(made, tmp_path, Feed.model_validate(feed())).pull()) == 30_000
    finally:
        again.join()


def test_sql_server_without_its_driver_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(map(servers.is_ours, ("mssql://h/db", "sqlserver://h/db", "mariadb://h/db")))
    monkeypatch.setitem(sys.modules, "pymssql", None)
    monkeypatch.setenv("LIMS_URL", "mssql://lims:lims-secret@127.0.0.1:1/lims")
    made = Lims("mssql", None, tmp_path, {"kind": "relational", "url_env": "LIMS_URL"})
    with pytest.raises(PermanentFailure, match="pymssql"):
        Puller(made, tmp_path, Feed.model_validate(feed())).pull()


@pytest.mark.parametrize(
    ("lims", "layout"),
    [("postgres", "jsonl"), ("postgres", "delimited"), ("mariadb", "jsonl"), ("sqlite", "jsonl")],
    indirect=["lims"],
)
def test_edits_and_deletions_reach_the_lake_as_versions(lims: Lims, tmp_path: Path, layout: str) -> None:
    content = attributes(systems={"lims": lims.system})
    changed = feed(query_table=lims.named, compare_keys=True, format={"name": layout})
    content["feeds"] = {"assay": {k: v for k, v in changed.items() if v is not None}}
    site = Site(tmp_path, content)
    for n in (1, 2, 3):
        lims.add(n, DAY)
    counts = site.run().accounting
    assert (counts["received"], counts["promoted"], counts["quarantined"]) == (3, 3, 0)
    lims.add(1, DAY + timedelta(hours=1), "95")
    lims.remove(2)
    counts = site.run().accounting
    assert (counts["received"], counts["promoted"], counts["superseded"]) == (5, 3, 2)
    current = "SELECT result_id, value FROM current.assay_result ORDER BY 1"
    assert site.rows(current) == [("R1", 95.0), ("R3", 90.5)]
    before = site.rows("SELECT count(*) FROM lake.raw.file")
    assert site.run().accounting == counts
    assert site.rows("SELECT count(*) FROM lake.raw.file") == before
    lims.add(2, DAY + timedelta(hours=2), "70")
    site.run()
    assert site.rows(current) == [("R1", 95.0), ("R2", 70.0), ("R3", 90.5)]


def test_readings_of_a_table_killed_in_their_commit_come_once(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMS_URL", server.url)
    with psycopg.connect(server.url) as con:
        con.execute("DROP TABLE IF EXISTS trend")
        con.execute("CREATE TABLE trend (batch text, tag text, at timestamptz, value float8, quality text)")
        con.execute(
            "INSERT INTO trend SELECT 'B1', 'T1', timestamptz '2026-03-01Z' + n * interval '1 second', 37, 'good' "
            "FROM generate_series(1, 50000) AS n"
        )
    columns = {
        "batch_id": "batch", "channel": "tag", "quantity_name": {"value": "temperature_c"}, "read_at": "at",
        "reading": {"from": "value", "unit": "Cel"}, "reading_status": "quality",
    }  # fmt: skip
    trend = {
        "system": "lims", "query_table": "trend", "modified": "at", "overlap": "1 minute",
        "format": {"name": "delimited"}, "record": ["tag", "at"],
        "tables": [{"table": "reading", "columns": columns}],
    }  # fmt: skip
    system = {"kind": "relational", "url_env": "LIMS_URL"}
    site = Site(tmp_path, attributes(systems={"lims": system}, feeds={"trend": trend}))
    again = (
        "import sys; from pathlib import Path; folder = Path(sys.argv[1]); "
        "from pipelines.harmonise.contract import load_contract; from pipelines.ingest.asset import ingest; "
        "from warehouse.settings import settings; "
        "ingest(load_contract(folder / 'sites/kleinort/defs.yaml'), 'trend', settings(), 'killed')"
    )
    environment = os.environ | site.environment | {
        "CELLFLEET_HOME": site.settings.home, "CELLFLEET_KILL_AT": "in_commit:2",
        "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}",
    }  # fmt: skip
    killed = subprocess.run(
        [sys.executable, "-c", again, str(tmp_path)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    stored = "SELECT (SELECT count(*) FROM lake.core.reading), (SELECT count(*) FROM lake.raw.cursor)"
    assert site.rows(stored) == [(0, 0)]
    counts = site.run("trend").accounting
    assert (counts["received"], counts["promoted"], counts["duplicate"]) == (50_000, 50_000, 0)
    assert site.rows(stored) == [(50_000, 1)]
    with psycopg.connect(server.url) as con:
        con.execute("INSERT INTO trend VALUES ('B1', 'T1', '2026-03-01T18:00Z', 36.5, 'good')")
    counts = site.run("trend").accounting
    assert (counts["received"], counts["promoted"]) == (50_001, 50_001)
    assert site.run("trend").accounting == counts
    assert site.rows(stored) == [(50_001, 2)]
