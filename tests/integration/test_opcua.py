"""Histories of a real OPC UA server, slow, dropped, restarted, secured, lying: received equals sent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from live_servers import free_port, program, proxy
from opcua_server import numbers
from small_site import Site, attributes

from pipelines.connectors import protocol
from pipelines.connectors.opcua import OpcUa, extract
from pipelines.connectors.protocol import Seen
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import OpcUaSystem
from tests.conftest import ROOT

HERE = Path(__file__).parent
MAPPED = {
    "batch_id": {"from": "path", "part": "/(B[0-9]+)/"},
    "channel": "path",
    "quantity_name": {"from": "path", "part": "([A-Za-z]+)$", "codes": "channel"},
    "read_at": "source_time",
    "reading": {"from": "value", "unit_from": "unit"},
    "reading_status": "quality",
}
FEED: dict[str, Any] = {
    "system": "historian",
    "nodes": ["Suite/*/Temperature"],
    "format": {"name": "parquet"},
    "record": ["path", "source_time"],
    "ignore": ["batch", "server_time", "text", "status", "unit_code", "node"],
    "time": {"format": "iso", "zone": "UTC"},
    "tables": [{"table": "reading", "columns": MAPPED}],
}
CELSIUS = ["°C", "CEL"]


class Server:
    """The server process, and the plan that it serves."""

    def __init__(self, folder: Path, variables: dict[str, Any], **plan: Any) -> None:
        self.port = free_port()
        self.file = folder / f"plan-{self.port}.json"
        self.variables = variables
        self.file.write_text(json.dumps({"port": self.port, "variables": variables, **plan}), "utf-8")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "opcua_server.py"), str(self.file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._answered()

    def tell(self, *words: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        self._answered()

    def _answered(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ok\n", "the server ended"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def system(self, **changed: Any) -> OpcUaSystem:
        url = f"opc.tcp://127.0.0.1:{changed.pop('port', self.port)}/cellfleet"
        return OpcUaSystem.model_validate({"kind": "opcua", "url": url, "security": "none", **changed})

    def sent(self) -> Counter[tuple[str, int, float | None, int]]:
        return Counter(
            (path, micros, number, status)
            for path, told in self.variables.items()
            if path.endswith("Temperature")
            for micros, number, status in told.get("values") or numbers(path, told["count"])
        )


TWO = {f"Suite/B{i}/Temperature": {"count": 5_000, "unit": CELSIUS} for i in (1, 2)}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server process for the tests that need none of their own: starting one takes seconds."""
    server = Server(tmp_path_factory.mktemp("server"), {})
    yield server
    server.stop()


@pytest.fixture
def plant(shared: Server) -> Callable[..., Server]:
    """The shared server, with the variables and the lies that a test asks for."""

    def build(variables: dict[str, Any] = TWO, lies: dict[str, Any] | None = None) -> Server:
        shared.variables = variables
        shared.tell("build", variables, lies or {})
        return shared

    return build


@contextmanager
def serving(folder: Path, **plan: Any) -> Iterator[Server]:
    """A server process of the test's own."""
    server = Server(folder, TWO, **plan)
    try:
        yield server
    finally:
        server.stop()


def received(
    system: OpcUaSystem, scratch: Path, cursor: dict[str, Any] | None = None, **feed: Any
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Rows of every file that is offered, and the cursor after them."""
    frames, after = [pl.DataFrame(schema=extract.SCHEMA)], cursor or {}
    for offer in OpcUa().offers(
        system, Feed.model_validate(FEED | feed), Path(), Seen(cursor=after), scratch
    ):
        assert offer.path is not None
        assert offer.cursor is not None
        frames.append(pl.read_parquet(offer.path))
        # As it comes back from the lake.
        after = json.loads(json.dumps(offer.cursor))
    return pl.concat(frames), after


def counted(frame: pl.DataFrame) -> Counter[tuple[str, int, float | None, int]]:
    rows = frame.select("path", pl.col("source_time").dt.epoch("us"), "value", "status").rows()
    return Counter(rows)


def test_what_is_received_is_what_was_sent_once(plant: Callable[..., Server], tmp_path: Path) -> None:
    server = plant()
    frame, cursor = received(server.system(), tmp_path)
    assert counted(frame) == server.sent()
    assert set(frame["unit"]) == {"°C"}
    assert set(frame["unit_code"]) == {"CEL"}
    by_status = dict(frame.select("status", "quality").unique().rows())
    assert by_status == {0: "good", 0x408F0000: "uncertain"}
    again, _ = received(server.system(), tmp_path, cursor)
    assert again.is_empty()


def test_late_new_and_edited_values_come_with_the_next_reading(
    plant: Callable[..., Server], tmp_path: Path
) -> None:
    path = "Suite/B1/Temperature"
    server = plant({path: {"count": 5_000, "unit": CELSIUS}})
    first = numbers(path, 5_000)
    _, cursor = received(server.system(), tmp_path, overlap="2 hours")
    newer = [[first[-1][0] + i * 1_000_000, 36.5, 0] for i in range(1, 11)]
    server.tell("add", path, newer)
    frame, cursor = received(server.system(), tmp_path, cursor, overlap="2 hours")
    assert frame["source_time"].dt.epoch("us").to_list() == [n[0] for n in newer]
    server.tell("add", path, [[first[2_500][0] + 500_000, 35.0, 0]])
    server.tell("edit", path, 3_000, [first[2_999][0], 34.0, 0])
    frame, cursor = received(server.system(), tmp_path, cursor, overlap="2 hours")
    assert {35.0, 34.0} <= set(frame["value"])
    assert len(frame) == 2 * 900 + 1, "more than the changed parts of the overlap was taken again"
    # Another overlap is another digest: it is made anew, and nothing is taken again for that.
    server.tell("add", path, [[newer[-1][0] + 1_000_000, 36.0, 0]])
    frame, cursor = received(server.system(), tmp_path, cursor, overlap="1 hours")
    assert frame["value"].to_list() == [36.0]
    server.tell("add", path, [[first[4_000][0] + 500_000, 33.0, 0]])
    frame, cursor = received(server.system(), tmp_path, cursor, overlap="1 hours")
    assert 33.0 in set(frame["value"])


@pytest.mark.parametrize(
    ("lies", "at_once"),
    [
        ({"cut": 300}, 10_000),
        ({"response": 300}, 10_000),
        ({}, 300),
        ({"cut": 700, "repeat": True}, 10_000),
        ({"cut": 400, "shuffle_store": True}, 10_000),
        ({"cut": 400, "shuffle_answer": True}, 10_000),
    ],
    ids=[
        "truncates silently",
        "continuation points",
        "small pages",
        "repeats",
        "stored in disorder",
        "answers in disorder",
    ],
)
def test_a_server_that_lies_loses_nothing(
    plant: Callable[..., Server], tmp_path: Path, lies: dict[str, Any], at_once: int
) -> None:
    server = plant({f"Suite/B{i}/Temperature": {"count": 1_500, "unit": CELSIUS} for i in (1, 2)}, lies)
    frame, _ = received(server.system(page_values=at_once), tmp_path)
    found, sent = counted(frame), server.sent()
    assert set(found) == set(sent)
    if not {"repeat", "shuffle_store", "shuffle_answer"} & set(lies):
        assert found == sent


def test_many_values_at_one_moment_and_values_that_are_none(
    plant: Callable[..., Server], tmp_path: Path
) -> None:
    start = 1_772_323_200_000_000
    rows: list[list[Any]] = [[start, 30 + i / 100, 0] for i in range(40)]
    rows += [[start + 1_000_000 + i, None, 0x80000000] for i in range(3)] + [
        [start + 2_000_000, 37.0, 0x40000000]
    ]
    server = plant({"Suite/B1/Temperature": {"values": rows}})
    frame, _ = received(server.system(page_values=10), tmp_path)
    assert counted(frame) == server.sent()
    assert frame["quality"].to_list() == ["good"] * 40 + ["bad"] * 3 + ["uncertain"]
    assert frame["unit"].null_count() == len(frame)


def test_a_dropped_and_a_slow_connection_lose_nothing(plant: Callable[..., Server], tmp_path: Path) -> None:
    server = plant()
    with proxy(server.port) as between:
        between.delay, between.cut_after = 0.002, 120_000
        frame, _ = received(server.system(port=between.port, page_values=500), tmp_path)
        assert between.cuts == 1
        assert counted(frame) == server.sent()


def test_a_server_that_stays_away_is_tried_again_later_from_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "FILE_VALUES", 2_000)
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.01)
    with serving(tmp_path) as server:
        offers = OpcUa().offers(
            server.system(page_values=500), Feed.model_validate(FEED), Path(), Seen(), tmp_path
        )
        first = next(offers)
        assert first.path is not None
        taken, cursor = counted(pl.read_parquet(first.path)), json.loads(json.dumps(first.cursor))
        server.stop()
        with pytest.raises(TransientFailure, match=f"127.0.0.1:{server.port}"):
            next(offers)
        server.start()
        frame, _ = received(server.system(page_values=500), tmp_path, cursor)
        assert taken + counted(frame) == server.sent()


def test_a_server_that_does_not_answer_in_time_may_be_tried_again(
    plant: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "ATTEMPTS", 2)
    server = plant(lies={"delay": 2})
    with pytest.raises(TransientFailure, match="Temperature"):
        received(server.system(timeout_seconds=0.5), tmp_path)


def test_what_cannot_be_mended_by_trying_again_says_what_can(
    plant: Callable[..., Server], tmp_path: Path
) -> None:
    server = plant()
    with pytest.raises(PermanentFailure, match=r"No 'Temp' in Suite/\*; there is: Temperature"):
        received(server.system(), tmp_path, nodes=["Suite/*/Temp"])
    fahrenheit = MAPPED | {"reading": {"from": "value", "unit": "[degF]"}}
    with pytest.raises(PermanentFailure, match=r"is in °C \(Cel\), the contract says \[degF\]"):
        received(server.system(), tmp_path, tables=[{"table": "reading", "columns": fahrenheit}])


def test_the_batch_that_ran_is_read_from_the_variable_beside(
    plant: Callable[..., Server], tmp_path: Path
) -> None:
    start, second = 1_772_323_200_000_000, 1_000_000
    runs = [[start + 10 * second, "B7", 0], [start + 60 * second, "", 0], [start + 80 * second, "B8", 0]]
    values = [[start + i * second, 37.0, 0] for i in range(120)]
    server = plant(
        {
            "Suite/R1/Temperature": {"values": values[:100], "unit": CELSIUS},
            "Suite/R1/Batch": {"values": runs},
        }
    )
    frame, cursor = received(server.system(), tmp_path, batch_variable="Batch")
    assert frame["batch"].to_list() == ["B7"] * 50 + ["B8"] * 20
    server.tell("add", "Suite/R1/Batch", [[start + 110 * second, "B9", 0]])
    server.tell("add", "Suite/R1/Temperature", values[100:])
    frame, cursor = received(server.system(), tmp_path, cursor, batch_variable="Batch")
    assert frame["batch"].to_list() == ["B8"] * 10 + ["B9"] * 10
    with pytest.raises(PermanentFailure, match="no variable 'Lot' beside"):
        received(server.system(), tmp_path, batch_variable="Lot")


def test_a_server_of_another_make_pages_by_continuation_points(tmp_path: Path) -> None:
    node, count, port = program("node"), 3_000, free_port()
    asked = [node, "-e", "require.resolve('node-opcua')"]
    if subprocess.run(asked, check=False, capture_output=True, timeout=60).returncode:
        pytest.skip("node-opcua is not installed (npm install node-opcua, and NODE_PATH)")
    command = [node, str(HERE / "node_opcua_server.js"), str(port), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ok\n":
            assert line, "the server ended"
        system = OpcUaSystem(
            kind="opcua", url=f"opc.tcp://127.0.0.1:{port}/cellfleet", security="none", page_values=700
        )
        frame, cursor = received(system, tmp_path)
        assert frame["value"].to_list() == [37 + i / 1e6 for i in range(count)]
        assert frame["quality"].to_list() == ["good" if i % 97 else "uncertain" for i in range(count)]
        assert set(frame["unit_code"]) == {"CEL"}
        assert received(system, tmp_path, cursor)[0].is_empty()
    finally:
        process.kill()
        process.wait(20)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key, as files."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = [x509.UniformResourceIdentifier(f"urn:cellfleet:{name}"), x509.DNSName("localhost")]
    made = (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    at, secret = folder / f"{name}.der", folder / f"{name}.pem"
    at.write_bytes(made.public_bytes(serialization.Encoding.DER))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return at, secret


def test_certificates_and_a_password_sign_in_and_wrong_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theirs, their_key), (ours, our_key), (others, _) = (
        certificate(tmp_path, name) for name in ("server", "client", "other")
    )
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.01)
    for name, value in (
        ("OUR_CERT", ours),
        ("OUR_KEY", our_key),
        ("THEIR_CERT", theirs),
        ("OPC_PASSWORD", "s3cret"),
    ):
        monkeypatch.setenv(name, str(value))
    secured = {
        "security": "sign_and_encrypt", "certificate_env": "OUR_CERT", "key_env": "OUR_KEY",
        "server_certificate_env": "THEIR_CERT", "user": "cellfleet", "password_env": "OPC_PASSWORD",
    }  # fmt: skip
    plan = {
        "security": "sign_and_encrypt", "certificate": str(theirs), "key": str(their_key),
        "accounts": {"cellfleet": "s3cret"},
    }  # fmt: skip
    with serving(tmp_path, **plan) as server:
        frame, _ = received(server.system(**secured), tmp_path)
        assert counted(frame) == server.sent()
        monkeypatch.setenv("OPC_PASSWORD", "wrong")
        with pytest.raises(PermanentFailure, match="Check `user` and what OPC_PASSWORD holds"):
            received(server.system(**secured), tmp_path)
        monkeypatch.setenv("OPC_PASSWORD", "s3cret")
        monkeypatch.setenv("THEIR_CERT", str(others))
        with pytest.raises(PermanentFailure, match="shows another certificate than THEIR_CERT names"):
            received(server.system(**secured), tmp_path)
        monkeypatch.delenv("OUR_KEY")
        with pytest.raises(PermanentFailure, match="OUR_KEY is not set"):
            received(server.system(**secured), tmp_path)


def site(tmp_path: Path, server: Server) -> Site:
    content = attributes(
        systems={"historian": server.system(page_values=1_000).model_dump(exclude_none=True)},
        units={"°C": "Cel", "°F": "[degF]"},
        codes={"channel": {"Temperature": "temperature_c"}},
        feeds={"sensor": FEED},
    )
    return Site(tmp_path / "site", content)


IN_LAKE = """SELECT channel, epoch_us(read_at), reading, reading_status FROM current.reading ORDER BY ALL"""
KILLED = """
import sys
from pathlib import Path
sys.path[:0] = [{here!r}, {root!r}]
from pipelines.connectors.opcua import extract
from pipelines.ingest import large
from pipelines.harmonise.contract import load_contract
from pipelines.ingest.asset import ingest
from warehouse.settings import settings
extract.FILE_VALUES = 2_000
large.GROUP_BYTES.update(dict.fromkeys(large.GROUP_BYTES, 1))
ingest(load_contract(Path({contract!r})), "sensor", settings(), "killed")
"""


def test_in_the_lake_it_adds_up_also_after_a_kill_and_a_changed_unit(
    plant: Callable[..., Server], tmp_path: Path
) -> None:
    server = plant()
    made = site(tmp_path, server)
    code = KILLED.format(here=str(HERE), root=str(ROOT), contract=str(made.contract_file))
    where = {
        "CELLFLEET_HOME": made.settings.home, "CELLFLEET_KILL_AT": "after_commit:2",
        "PATH": "/usr/bin:/bin", **made.environment,
    }  # fmt: skip
    killed = subprocess.run([sys.executable, "-c", code], env=where, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    partly = len(made.rows(IN_LAKE))
    assert 0 < partly < 10_000
    outcome = made.run("sensor")
    assert outcome.rows == {"reading": 10_000 - partly}
    assert outcome.accounting | {"findings": 0} == {
        "received": 10_000, "promoted": 10_000, "superseded": 0, "duplicate": 0, "quarantined": 0,
        "fields_quarantined": 0, "findings": 0,
    }  # fmt: skip
    status = {0: "good", 0x408F0000: "uncertain"}
    sent = sorted((p, t, n, status[s]) for p, t, n, s in server.sent())
    assert [(p, t, pytest.approx(n), s) for p, t, n, s in sent] == made.rows(IN_LAKE)
    path = "Suite/B1/Temperature"
    server.tell("unit", path, "°F", "FAH")
    last = max(t for p, t, _, _ in sent if p == path)
    server.tell("add", path, [[last + 1_000_000, 98.6, 0]])
    made.run("sensor")
    assert made.rows("SELECT reading FROM current.reading ORDER BY read_at DESC LIMIT 1") == [
        (pytest.approx(37.0),)
    ]
    server.tell("unit", path, "Réaumur", "X01")
    server.tell("add", path, [[last + 2_000_000, 29.6, 0]])
    assert made.run("sensor").accounting["quarantined"] == 1
