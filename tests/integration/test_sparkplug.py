"""Sparkplug B over a real broker: births, aliases, gaps, deaths, restarts and kills. Nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import polars as pl
import pytest
from live_servers import program
from paho.mqtt.enums import CallbackAPIVersion
from small_site import Site, attributes
from sparkplug_edge import BOOLEAN, DOUBLE, INT16, START, STRING, UINT32, Broker, Edge, broker, payload

from pipelines.connectors.sparkplug import listener as listening
from pipelines.connectors.sparkplug.listener import Listener
from pipelines.connectors.sparkplug.nodes import Message
from pipelines.connectors.sparkplug.store import SCHEMA, Store
from pipelines.failures import PermanentFailure
from pipelines.formats.registry import read_file
from pipelines.harmonise.systems import SparkplugSystem
from tests.conftest import ROOT
from warehouse.settings import Settings

SECONDS = 30.0


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as made:
        yield made


def system(port: int, **changed: Any) -> SparkplugSystem:
    given = {
        "kind": "sparkplug",
        "path": "mqtt",
        "host": "127.0.0.1",
        "port": port,
        "tls": False,
        "metrics": ["*/Temperature", "*/pH"],
    }
    return SparkplugSystem.model_validate(given | changed)


def until(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.02)


@contextmanager
def listener(home: Path, options: SparkplugSystem) -> Iterator[Listener]:
    """A listener in a thread, which has subscribed when the block begins and closed its segment when it ends."""
    told: list[str] = []
    made = Listener("here", options, Settings(home=str(home)), told.append)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        until(lambda: any("listening" in t for t in told), "a connection")
        # The subscription is acknowledged before anything is published to it.
        time.sleep(0.2)
        yield made
    finally:
        made.stop.set()
        thread.join(SECONDS)


def folder(home: Path) -> Path:
    return home / "sources" / "mqtt"


def heard(home: Path) -> pl.DataFrame:
    """Rows of every closed segment."""
    files = sorted(folder(home).glob("*.parquet"))
    return pl.concat([pl.DataFrame(schema=SCHEMA), *(pl.read_parquet(f) for f in files)])


def flags(home: Path) -> list[tuple[str, str]]:
    return [(f.field, f.text) for p in sorted(folder(home).glob("*.parquet")) for f in read_file(p).flags]


def as_sent(frame: pl.DataFrame) -> Counter[tuple[str, int, float]]:
    return Counter(frame.select("metric", pl.col("source_time").dt.epoch("ms"), "value").rows())


def test_births_aliases_flags_and_batches_come_as_they_were_sent(post: Broker, tmp_path: Path) -> None:
    with listener(tmp_path, system(post.port, batch_metric="Batch")):
        edge = Edge(post.port)
        edge.tell(START + 1_000, 36.5)
        edge.tell(START + 2_000, 36.6, historical=True, quality=500)
        # A value of before the batch changed arrives after the change.
        edge.say(
            "DDATA", payload(edge.next(), {"alias": 3, "type": STRING, "at": START + 5_000, "value": "B2"})
        )
        edge.tell(START + 4_000, 36.7, historical=True)
        edge.tell(START + 6_000, 36.8)
        edge.say(
            "DDATA", payload(edge.next(), {"alias": 3, "type": STRING, "at": START + 7_000, "value": ""})
        )
        edge.say("DDATA", payload(edge.next(), {"alias": 1, "at": START + 8_000, "value": 20.0}))
        edge.done()
        edge.close()
        time.sleep(0.5)
    frame = heard(tmp_path)
    assert as_sent(frame) == Counter(edge.sent)
    assert frame["path"].unique().sort().to_list() == ["Plant/Edge1/R1/Temperature", "Plant/Edge1/R1/pH"]
    rows = frame.filter(pl.col("metric") == "Temperature").sort("source_time")
    assert rows["batch"].to_list() == ["B1", "B1", "B1", "B1", "B2"]
    assert rows["historical"].to_list() == [False, False, True, True, False]
    assert rows["quality"].to_list() == ["good", "good", "uncertain", "good", "good"]
    assert set(rows["unit"]) == {"°C"}
    assert flags(tmp_path) == []


def test_each_datatype_is_read_as_it_is_meant(tmp_path: Path) -> None:
    told = [
        {"name": "a", "type": INT16, "value": (1 << 16) - 5}, {"name": "b", "type": UINT32, "value": (1 << 32) - 1},
        {"name": "c", "type": BOOLEAN, "value": True}, {"name": "d", "type": STRING, "value": "closed"},
        {"name": "e", "type": DOUBLE}, {"name": "f", "type": DOUBLE, "value": 1.5, "quality": 0},
    ]  # fmt: skip
    with Store(tmp_path, ["*"], None) as store:
        store.keep(
            [
                Message(1, "spBv1.0/G/NBIRTH/N", payload(0, *told)),
                Message(2, "spBv1.0/G/NDATA/N", b"\xff\xff"),
            ]
        )
    (segment,) = tmp_path.glob("*.parquet")
    frame = pl.read_parquet(segment)
    assert frame["value"].to_list() == [-5.0, 4294967295.0, 1.0, None, None, 1.5]
    assert frame["text"].to_list() == [None, None, None, "closed", None, None]
    assert frame["quality"].to_list() == ["good"] * 5 + ["bad"]
    assert [f.field for f in read_file(segment).flags] == ["payload"]


# A birth as npm's sparkplug-payload 1.0 (Eclipse Tahu) encodes it: an implementation that is not ours.
TAHU = bytes.fromhex(
    "0880b8c7b5ca3312140a016110071881b8c7b5ca33200250fbffffff0f12100a0162200458eccb9b8bb4fcffffff01120b0a"
    "0163200758ffffffff0f120a0a01642009650000c03f12320a0165200a4a220a07656e67556e69740a075175616c69747912"
    "07080c4203c2b0431205080318f403690000000000a0424012090a0166200b2801700112090a0167200c7a02423112070a01"
    "68200a380112070a0169200d5800120b0a016a200150ffffffff0f1805"
)


def test_a_payload_of_another_implementation_is_read(tmp_path: Path) -> None:
    with Store(tmp_path, ["*"], None) as store:
        store.keep([Message(1, "spBv1.0/G/NBIRTH/N", TAHU)])
    (segment,) = tmp_path.glob("*.parquet")
    rows = pl.read_parquet(segment).select("metric", "value", "text", "quality", "historical", "unit").rows()
    assert rows[:8] == [
        ("a", -5.0, None, "good", False, None), ("b", -123456789012.0, None, "good", False, None),
        ("c", 4294967295.0, None, "good", False, None), ("d", 1.5, None, "good", False, None),
        ("e", 37.25, None, "uncertain", False, "°C"), ("f", 1.0, None, "good", True, None),
        ("g", None, "B1", "good", False, None), ("h", None, None, "good", False, None),
    ]  # fmt: skip
    assert rows[-1][:2] == ("j", -1.0)


def test_a_gap_and_an_unknown_alias_are_flagged_and_a_rebirth_is_asked_for(
    post: Broker, tmp_path: Path
) -> None:
    with listener(tmp_path, system(post.port)):
        edge = Edge(post.port)
        edge.tell(START + 1_000, 36.5)
        edge.next()
        edge.tell(START + 3_000, 36.6)
        assert edge.rebirths.wait(SECONDS), "no rebirth was asked for after a gap"
        stranger = Edge(post.port, "Edge2", births=False)
        stranger.tell(START + 4_000, 36.7)
        assert stranger.rebirths.wait(SECONDS), "no rebirth was asked of a node that was never born"
        stranger.born()
        for e in (edge, stranger):
            e.done()
            e.close()
        time.sleep(0.5)
    told = flags(tmp_path)
    assert [about for about, _ in told] == ["sequence", "alias"]
    assert "Plant/Edge1: 4 came after 2: values between may be missing" in told[0][1]
    unknown = heard(tmp_path).filter(pl.col("metric").is_null())
    assert unknown.select("node", "alias", "value").rows() == [("Edge2", 1, 36.7)]


def test_a_death_takes_the_aliases_with_it_and_an_old_will_does_not(post: Broker, tmp_path: Path) -> None:
    with listener(tmp_path, system(post.port)):
        edge = Edge(post.port)
        old = {"name": "bdSeq", "type": UINT32, "value": edge.session - 1}
        edge.say("NDEATH", payload(None, old), device=False)
        edge.tell(START + 1_000, 36.5)
        edge.say(
            "NDEATH", payload(None, {"name": "bdSeq", "type": UINT32, "value": edge.session}), device=False
        )
        edge.tell(START + 2_000, 36.6)
        assert edge.rebirths.wait(SECONDS)
        edge.done()
        edge.close()
        time.sleep(0.5)
    assert [about for about, _ in flags(tmp_path)] == ["death", "alias"]
    assert heard(tmp_path).sort("source_time")["metric"].to_list()[-2:] == ["Temperature", None]


def test_what_is_published_while_the_broker_restarts_arrives_once(post: Broker, tmp_path: Path) -> None:
    with listener(tmp_path, system(post.port)):
        edge = Edge(post.port)
        for i in range(300):
            edge.tell(START + 1_000 * i, 30 + i / 100)
            if i in (100, 200):
                post.stop()
                post.start()
        edge.done()
        edge.close()
        time.sleep(1)
    assert as_sent(heard(tmp_path)) == Counter(edge.sent)


def started(home: Path, site: Site) -> subprocess.Popen[str]:
    """The real command in a process of its own, listening."""
    env = os.environ | {"CELLFLEET_HOME": str(home), "PYTHONPATH": str(ROOT), **site.environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "listen", site.name],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    while "listening" not in (line := process.stdout.readline()):
        assert line, "the listener ended"
    return process


def site(tmp_path: Path, port: int, **changed: Any) -> Site:
    columns = {
        "batch_id": "batch",
        "channel": "path",
        "quantity_name": {"from": "metric", "codes": "channel"},
        "read_at": "source_time",
        "reading": {"from": "value", "unit_from": "unit"},
        "reading_status": "quality",
    }
    feed = {
        "system": "edge",
        "format": {"name": "parquet"},
        "record": ["path", "source_time"],
        "ignore": [
            "group",
            "node",
            "device",
            "alias",
            "received_at",
            "text",
            "historical",
            "datatype",
            "seq",
        ],
        "time": {"format": "iso", "zone": "UTC"},
        "tables": [{"table": "reading", "columns": columns}],
    }
    options = system(port, path="kleinort/mqtt", batch_metric="Batch", **changed).model_dump(
        exclude_none=True
    )
    content = attributes(
        systems={"edge": options},
        units={"°C": "Cel", "pH": "[pH]"},
        codes={"channel": {"Temperature": "temperature_c", "pH": "ph"}},
        feeds={"sensor": feed},
    )
    return Site(tmp_path / "site", content)


def test_a_killed_listener_loses_nothing_and_the_lake_has_each_reading_once(
    post: Broker, tmp_path: Path
) -> None:
    made = site(tmp_path, post.port, segment_seconds=1)
    home = Path(made.settings.home)
    edge, process = None, None
    try:
        for turn in range(2):
            process = started(home, made)
            edge = edge or Edge(post.port)
            for i in range(400):
                edge.tell(START + 1_000 * (400 * turn + i + 1), 30 + i / 100)
                time.sleep(0.001)
            process.kill()
            process.wait(20)
        # Told while nobody listens: the broker keeps it.
        for i in range(50):
            edge.tell(START + 10_000_000 + 1_000 * i, 31.0)
        edge.done()
        process = started(home, made)
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if edge is not None:
            edge.close()
        if process is not None:
            process.kill()
    at = Path(made.settings.sources) / "kleinort" / "mqtt"
    assert not list(at.glob("*.part"))
    outcome = made.run("sensor")
    assert outcome.accounting["quarantined"] == 0
    in_lake = made.rows("SELECT quantity_name, epoch_ms(read_at), reading FROM current.reading")
    names = {"Temperature": "temperature_c", "pH": "ph"}
    assert sorted(in_lake) == sorted((names[n], at, pytest.approx(v)) for n, at, v in edge.sent)
    assert made.rows("SELECT DISTINCT batch_id FROM current.reading") == [("B1",)]
    assert list(at.glob("*.parquet"))
    again = made.run("sensor")
    assert again.rows == {}
    assert not list(at.glob("*.parquet")), "what the lake has taken stays in the listener's folder"


def test_a_journal_that_was_cut_short_gives_what_was_whole(tmp_path: Path) -> None:
    names = {"name": "T", "alias": 1, "value": 1.0}
    messages = [Message(1, "spBv1.0/G/NBIRTH/N", payload(0, names))] + [
        Message(1 + i, "spBv1.0/G/NDATA/N", payload(i, {"alias": 1, "at": START + i, "value": float(i)}))
        for i in range(1, 11)
    ]
    store = Store(tmp_path, ["*"], None).__enter__()
    store.keep(messages)
    store._lock.close()  # as the system does when a process is killed
    (journal,) = tmp_path.glob("*.journal")
    with journal.open("r+b") as handle:
        handle.truncate(journal.stat().st_size - 3)
    with Store(tmp_path, ["*"], None) as again:
        # The broker sends what was not acknowledged, and before it what was.
        again.keep(messages[8:])
    frames = [pl.read_parquet(p) for p in sorted(tmp_path.glob("*.parquet"))]
    assert pl.concat(frames)["value"].to_list() == [1.0, *map(float, range(1, 11))]


def test_one_listener_at_a_time_and_one_that_the_broker_knows(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        [program("mosquitto_passwd"), "-b", "-c", str(passwords), "cellfleet", "right"], check=True
    )
    passwords.chmod(0o644)
    with broker(tmp_path, "allow_anonymous false", f"password_file {passwords}") as post:
        options = system(post.port, user="cellfleet", password_env="LISTENER_PASSWORD")
        with pytest.raises(PermanentFailure, match="LISTENER_PASSWORD is not set"):
            Listener("here", options, Settings(home=str(tmp_path)), print)
        os.environ["LISTENER_PASSWORD"] = "wrong"
        try:
            with pytest.raises(PermanentFailure, match="refuses us"):
                Listener("here", options, Settings(home=str(tmp_path)), print).run()
            os.environ["LISTENER_PASSWORD"] = "right"
            with (
                listener(tmp_path, options),
                pytest.raises(PermanentFailure, match="Another listener writes to"),
            ):
                Listener("here", options, Settings(home=str(tmp_path)), print).run()
        finally:
            del os.environ["LISTENER_PASSWORD"]


def test_nodes_that_wait_for_the_host_are_told_that_it_is_there(post: Broker, tmp_path: Path) -> None:
    states: list[dict[str, Any]] = []
    node = mqtt.Client(CallbackAPIVersion.VERSION2)
    node.on_message = lambda _c, _u, m: states.append(json.loads(m.payload))
    node.connect("127.0.0.1", post.port)
    node.subscribe("spBv1.0/STATE/hub", 1)
    node.loop_start()
    with listener(tmp_path, system(post.port, host_id="hub")):
        until(lambda: states, "a state")
    until(lambda: not states[-1]["online"], "a second state")
    node.loop_stop()
    # A broker that saw the connection break says the will besides, which is the same.
    assert [s["online"] for s in states[:2]] == [True, False]
    assert len({s["timestamp"] for s in states}) == 1


def test_a_broker_that_is_not_there_yet_is_waited_for(
    post: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "FIRST_PAUSE", 0.05)
    post.stop()
    told: list[str] = []
    made = Listener("here", system(post.port), Settings(home=str(tmp_path)), told.append)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        until(lambda: told, "a word about the broker")
        assert "cannot be reached" in told[0]
        post.start()
        until(lambda: any("listening" in t for t in told), "a connection")
    finally:
        made.stop.set()
        thread.join(SECONDS)
