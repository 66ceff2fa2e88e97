"""Files that arrive over SFTP and S3, from servers that are slow, break off, come back, or say less than they hold."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import paramiko
import pytest
from live_servers import free_port, program, proxy, running
from lying_servers import lying_s3, lying_sftp
from small_site import RESULTS, Site, attributes, result

from pipelines.connectors import protocol
from pipelines.connectors.arriving import Listed
from pipelines.connectors.protocol import Seen
from pipelines.connectors.s3 import S3
from pipelines.connectors.sftp import Sftp
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import S3System, SftpSystem

USER, PASSWORD = "cellfleet", "drop-folder-secret"
STAMP = 1_770_000_000
FEED = Feed.model_validate(
    {
        "system": "drop",
        "files": "*/results_*.csv",
        "record": "id",
        "tables": [{"table": "sample", "columns": {"sample_id": "id"}}],
    }
)
BIG = os.urandom(3 << 20)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROP_USER", USER)
    monkeypatch.setenv("DROP_SECRET", PASSWORD)


@dataclass
class Drop:
    """A drop folder served by a real server process that a test may end and start again."""

    kind: str
    folder: Path
    port: int
    key: Path
    process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        at = ["--addr", f"127.0.0.1:{self.port}", "--dir-cache-time", "1ms", "--config", os.devnull]
        if self.kind == "sftp":
            who = ["--user", USER, "--pass", PASSWORD, "--key", str(self.key)]
        else:
            who = ["--auth-key", f"{USER},{PASSWORD}"]
        return [program("rclone"), "serve", self.kind, str(self.folder), *at, *who]

    def put(self, name: str, content: bytes, age: float = 0) -> None:
        """Lay a file in the drop folder, whole, as if written so many seconds before the test's moment."""
        path = self.folder / "drop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (STAMP - age, STAMP - age))

    def system(self, port: int | None = None, **changed: Any) -> SftpSystem | S3System:
        port = port or self.port
        if self.kind == "s3":
            given = {
                "kind": "s3", "bucket": "drop", "endpoint": f"http://127.0.0.1:{port}",
                "access_key_env": "DROP_USER", "secret_key_env": "DROP_SECRET",
            }  # fmt: skip
            return S3System.model_validate(given | changed)
        public = paramiko.RSAKey.from_private_key_file(str(self.key))
        given = {
            "kind": "sftp", "host": "127.0.0.1", "port": port, "host_key": f"ssh-rsa {public.get_base64()}",
            "path": "drop", "user": USER, "password_env": "DROP_SECRET", "settle_seconds": 0,
        }  # fmt: skip
        return SftpSystem.model_validate(given | changed)


CONNECTORS = {"sftp": Sftp(), "s3": S3()}


@pytest.fixture(scope="session")
def host_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "host"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(path))
    return path


@pytest.fixture(params=["sftp", "s3"])
def drop(request: pytest.FixtureRequest, tmp_path: Path, host_key: Path) -> Iterator[Drop]:
    served = tmp_path / "served"
    (served / "drop").mkdir(parents=True)
    made = Drop(request.param, served, free_port(), host_key)
    with running(*made.command(), port=made.port) as made.process:
        yield made


def taken(
    drop: Drop, system: SftpSystem | S3System, scratch: Path, seen: Seen | None = None
) -> dict[str, bytes | None]:
    """Everything that is offered, in order, as it was brought."""
    brought: dict[str, bytes | None] = {}
    for offer in CONNECTORS[drop.kind].offers(system, FEED, Path(), seen or Seen(), scratch):
        path = offer.file()
        brought[offer.name] = path.read_bytes() if path else None
    return brought


def seen_by(listed: list[Listed]) -> Seen:
    return Seen(frozenset((f.name, f.size, f.written) for f in listed))


def test_whole_files_come_oldest_first_and_once(drop: Drop, tmp_path: Path) -> None:
    drop.put("a/results_2.csv", b"second", age=10)
    drop.put("b/results_1.csv", b"first", age=20)
    drop.put("b/results_3.csv", b"")
    for unfinished in ("a/results_4.csv.part", "a/.results_5.csv", "a/other.csv", "results_6.csv"):
        drop.put(unfinished, b"not the feed's, or not yet")
    system = drop.system()
    sent = {"b/results_1.csv": b"first", "a/results_2.csv": b"second", "b/results_3.csv": b""}
    brought = taken(drop, system, tmp_path)
    assert brought == sent
    assert list(brought) == list(sent)
    (listed,) = CONNECTORS[drop.kind].listings(system, [FEED], Path())
    seen = seen_by(listed)
    assert datetime.fromtimestamp(STAMP - 20, UTC) in {written for _, _, written in seen.files}
    assert taken(drop, system, tmp_path, seen) == {}
    drop.put("a/results_2.csv", b"resent", age=5)
    assert taken(drop, system, tmp_path, seen) == {"a/results_2.csv": b"resent"}


def test_a_slow_server_is_waited_for(drop: Drop, tmp_path: Path) -> None:
    drop.put("a/results_1.csv", BIG[: 1 << 19])
    with proxy(drop.port) as slow:
        slow.delay = 0.01
        assert taken(drop, drop.system(slow.port), tmp_path) == {"a/results_1.csv": BIG[: 1 << 19]}


def test_a_download_that_breaks_off_goes_on_where_it_stopped(drop: Drop, tmp_path: Path) -> None:
    drop.put("a/results_1.csv", BIG)
    with proxy(drop.port) as broken:
        broken.cut_after = 2 << 20
        assert taken(drop, drop.system(broken.port), tmp_path) == {"a/results_1.csv": BIG}
        assert broken.cuts == 1
        assert broken.passed < 1.7 * len(BIG), "the whole file was sent twice"


def test_a_server_that_restarts_meanwhile_loses_nothing(drop: Drop, tmp_path: Path) -> None:
    drop.put("a/results_1.csv", BIG)
    drop.put("a/results_2.csv", b"second")
    offers = CONNECTORS[drop.kind].offers(drop.system(), FEED, Path(), Seen(), tmp_path)
    first = next(offers)
    assert drop.process is not None
    drop.process.kill()
    drop.process.wait()
    again: list[Any] = []
    with after(0.3, lambda: again.append(subprocess.Popen(drop.command(), stderr=subprocess.DEVNULL))):
        path = first.file()
        assert path is not None
        brought = {first.name: path.read_bytes()}
        for offer in offers:
            path = offer.file()
            assert path is not None
            brought[offer.name] = path.read_bytes()
    drop.process = again[0]
    again[0].terminate()
    again[0].wait()
    assert brought == {"a/results_1.csv": BIG, "a/results_2.csv": b"second"}


@contextmanager
def after(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Do something meanwhile."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_server_that_is_away_is_tried_again_and_then_told(
    drop: Drop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.01)
    with pytest.raises(TransientFailure, match=r"127\.0\.0\.1"):
        taken(drop, drop.system(free_port()), tmp_path)


def test_a_wrong_secret_stops_and_is_never_shown(
    drop: Drop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DROP_SECRET", "not-the-password")
    with pytest.raises(PermanentFailure) as wrong:
        taken(drop, drop.system(), tmp_path)
    assert "not-the-password" not in str(wrong.value)
    monkeypatch.delenv("DROP_SECRET")
    with pytest.raises(PermanentFailure, match="Environment variable DROP_SECRET is not set"):
        taken(drop, drop.system(), tmp_path)


def test_a_place_that_does_not_exist_stops(drop: Drop, tmp_path: Path) -> None:
    elsewhere = {"path": "nowhere"} if drop.kind == "sftp" else {"bucket": "nowhere"}
    with pytest.raises(PermanentFailure, match="nowhere"):
        taken(drop, drop.system(**elsewhere), tmp_path)


def test_a_file_that_is_replaced_or_gone_when_it_is_fetched_waits(drop: Drop, tmp_path: Path) -> None:
    drop.put("a/results_1.csv", b"as listed", age=10)
    drop.put("a/results_2.csv", b"as listed")
    offers = list(CONNECTORS[drop.kind].offers(drop.system(), FEED, Path(), Seen(), tmp_path))
    drop.put("a/results_1.csv", b"replaced!")
    (drop.folder / "drop" / "a" / "results_2.csv").unlink()
    assert [o.file() for o in offers] == [None, None]


def test_another_host_key_is_never_trusted(tmp_path: Path, host_key: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    made = Drop("sftp", served, free_port(), host_key)
    other = paramiko.RSAKey.generate(2048).get_base64()
    with (
        running(*made.command(), port=made.port),
        pytest.raises(PermanentFailure, match="another host key"),
    ):
        taken(made, made.system(host_key=f"ssh-rsa {other}"), tmp_path)


@pytest.mark.parametrize("drop", ["sftp"], indirect=True)
def test_a_file_still_being_written_waits_until_it_stands(drop: Drop, tmp_path: Path) -> None:
    drop.put("a/results_1.csv", b"half")
    growing = drop.folder / "drop" / "a" / "results_1.csv"
    system = drop.system(settle_seconds=0.6)
    with after(0.2, lambda: growing.write_bytes(b"half and half")):
        assert taken(drop, system, tmp_path) == {}
    assert taken(drop, system, tmp_path) == {"a/results_1.csv": b"half and half"}


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_a_server_that_truncates_silently_is_found_out(kind: str, tmp_path: Path, host_key: Path) -> None:
    whole, given = b"0123456789" * 1000, 7000
    made = Drop(kind, tmp_path, 0, host_key)
    with lying_sftp(whole, given, host_key) if kind == "sftp" else lying_s3(whole, given) as port:
        assert taken(made, made.system(port), tmp_path) == {"a/results_1.csv": None}


def zipped(*members: tuple[str, str]) -> bytes:
    held = BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members:
            archive.writestr(name, text)
    return held.getvalue()


def test_archives_over_sftp_and_s3_reach_the_lake_once(drop: Drop, tmp_path: Path) -> None:
    content = attributes(systems={"export": drop.system().model_dump(mode="json")})
    feed = content["feeds"]["assay"]
    content["feeds"] = {"assay": feed | {"files": "*/results_*", "members": "*.csv"}}
    site = Site(tmp_path / "site", content)
    month = zipped(
        ("jan/results_a.csv", RESULTS + result(1) + result(2)),
        ("jan/results_b.csv", RESULTS + result(3)),
        ("readme.txt", "not the feed's"),
    )
    drop.put("a/results_1.zip", month, age=30)
    drop.put("a/results_2.csv.gz", gzip.compress((RESULTS + result(4)).encode()), age=20)
    drop.put("a/results_3.zip", month[:-30], age=10)
    told = site.run().accounting
    assert (told["received"], told["promoted"], told["quarantined"]) == (5, 4, 1)
    again = site.run().accounting
    assert again == told
    drop.put("a/results_3.zip", month, age=5)  # sent again, whole this time: says nothing new
    told = site.run().accounting
    assert (told["received"], told["promoted"], told["duplicate"]) == (8, 4, 3)
    rows = site.rows("SELECT result_id, source_file FROM current.assay_result ORDER BY result_id")
    assert rows[0] == ("R1", "a/results_1.zip/jan/results_a.csv")
    assert [r[0] for r in rows] == ["R1", "R2", "R3", "R4"]
    vault = site.settings.home_path / "vault" / site.name
    assert month in [p.read_bytes() for p in vault.glob("??/*")]


@pytest.mark.parametrize("drop", ["sftp"], indirect=True)
def test_what_came_before_a_failure_is_promoted_and_the_failure_told(
    drop: Drop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.01)
    with proxy(drop.port) as line:
        content = attributes(systems={"export": drop.system(line.port).model_dump(mode="json")})
        content["feeds"]["assay"]["files"] = "*/results_*.csv"
        content["feeds"] = {"assay": content["feeds"]["assay"]}
        site = Site(tmp_path / "site", content)
        drop.put("a/results_1.csv", (RESULTS + result(1)).encode(), age=20)
        filler = "".join(result(n) for n in range(2, 20_000))
        drop.put("a/results_2.csv", (RESULTS + filler).encode(), age=10)
        line.cut_after = 1 << 19
        line.cut_for_good = True
        with pytest.raises(TransientFailure):
            site.run()
        assert site.rows("SELECT result_id FROM current.assay_result") == [("R1",)]
        line.restore()
        assert site.run().accounting["promoted"] == 19_999
