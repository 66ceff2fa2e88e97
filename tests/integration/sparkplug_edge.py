"""An edge node of the tests' own: it publishes Sparkplug B at QoS 1 over a real broker, which is here too."""

from __future__ import annotations

import getpass
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from live_servers import free_port, program, wait_for
from paho.mqtt.enums import CallbackAPIVersion

from pipelines.connectors.sparkplug.wire import Payload

START = 1_772_323_200_000
INT16, UINT32, FLOAT, DOUBLE, BOOLEAN, STRING = 2, 7, 9, 10, 11, 12
FIELD = {INT16: "int_value", UINT32: "int_value", FLOAT: "float_value", DOUBLE: "double_value",
         BOOLEAN: "boolean_value", STRING: "string_value"}  # fmt: skip


class Broker:
    """A mosquitto that a test may end and start again; it keeps sessions on disk."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.port = free_port()
        self.file = folder / "mosquitto.conf"
        kept = folder / "mosquitto"
        kept.mkdir(exist_ok=True)
        lines = [
            f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {kept}/",
            "max_queued_messages 0", "max_inflight_messages 100", f"user {getpass.getuser()}",
            *(more or ["allow_anonymous true"]),
        ]  # fmt: skip
        self.file.write_text("\n".join(lines) + "\n", "utf-8")
        self.start()

    def start(self) -> None:
        command = [program("mosquitto"), "-c", str(self.file)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port, self.process)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def broker(folder: Path, *more: str) -> Iterator[Broker]:
    made = Broker(folder, *more)
    try:
        yield made
    finally:
        made.stop()


def payload(seq: int | None, *metrics: dict[str, Any], at: int = START) -> bytes:
    """A payload; a metric is `{name, alias, at, type, value, historical, quality, unit}`, each where it is given."""
    made = Payload(timestamp=at)
    if seq is not None:
        made.seq = seq
    for told in metrics:
        metric = made.metrics.add()
        if "name" in told:
            metric.name = told["name"]
        if "alias" in told:
            metric.alias = told["alias"]
        metric.timestamp = told.get("at", at)
        if told.get("historical"):
            metric.is_historical = True
        kind = told.get("type", DOUBLE)
        if told.get("say_type", True):
            metric.datatype = kind
        if told.get("value") is None:
            metric.is_null = True
        else:
            setattr(metric, FIELD[kind], told["value"])
        for name, field, value in (
            ("engUnit", "string_value", told.get("unit")),
            ("Quality", "int_value", told.get("quality")),
        ):
            if value is not None:
                metric.properties.keys.append(name)
                setattr(metric.properties.values.add(), field, value)
    return bytes(made.SerializeToString())


class Edge:
    """Edge node `Plant/<name>` with a device `R1`: temperature (alias 1), pH (alias 2) and batch (alias 3)."""

    def __init__(self, port: int, name: str = "Edge1", *, births: bool = True) -> None:
        self.name, self.seq, self.session = name, 0, 7
        self.births = births
        self.rebirths = threading.Event()
        self.sent: list[tuple[str, int, float]] = []
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"edge-{name}", clean_session=False, protocol=mqtt.MQTTv311
        )
        self.client.reconnect_delay_set(min_delay=1, max_delay=1)
        self.client.max_queued_messages_set(0)
        self.client.on_message = lambda *_: self.rebirths.set()
        self.client.on_connect = lambda *_: self.client.subscribe(f"spBv1.0/Plant/NCMD/{name}", 1)
        self.client.connect("127.0.0.1", port, keepalive=10)
        self.client.loop_start()
        if births:
            self.born()

    def say(self, kind: str, content: bytes, *, device: bool = True) -> mqtt.MQTTMessageInfo:
        topic = f"spBv1.0/Plant/{kind}/{self.name}" + ("/R1" if device else "")
        return self.client.publish(topic, content, qos=1)

    def next(self) -> int:
        self.seq = (self.seq + 1) % 256
        return self.seq

    def born(self, batch: str = "B1") -> None:
        self.seq = 0
        session = {"name": "bdSeq", "type": UINT32, "value": self.session}
        self.say("NBIRTH", payload(0, session), device=False)
        self.say(
            "DBIRTH",
            payload(
                self.next(),
                {"name": "Temperature", "alias": 1, "value": 37.0, "unit": "°C"},
                {"name": "pH", "alias": 2, "type": FLOAT, "value": 7.25, "unit": "pH"},
                {"name": "Batch", "alias": 3, "type": STRING, "value": batch},
            ),
        )
        self.sent += [("Temperature", START, 37.0), ("pH", START, 7.25)]

    def tell(self, at: int, temperature: float, **said: Any) -> mqtt.MQTTMessageInfo:
        """One reading, by alias alone."""
        self.sent.append(("Temperature", at, temperature))
        metric = {"alias": 1, "at": at, "value": temperature, "say_type": False, **said}
        return self.say("DDATA", payload(self.next(), metric))

    def done(self, seconds: float = 20) -> None:
        """Wait until the broker has acknowledged everything."""
        end = time.monotonic() + seconds
        while self.client._out_messages and time.monotonic() < end:
            time.sleep(0.01)
        assert not self.client._out_messages, "the broker did not acknowledge everything"

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
