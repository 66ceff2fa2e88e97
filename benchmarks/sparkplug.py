"""Rates of the Sparkplug listener: decoding beside protobuf's bare read, and listening beside paho's: JSON rows.

    python benchmarks/sparkplug.py [--messages 4000] [--metrics 100] [--runs 5] [--broker-messages 5000]

Decoding: DDATA by alias alone into the columns of a segment, and its Parquet file; bare is protobuf parsing the same
payloads and reading the same fields into lists. `mixed` messages hold whole numbers, booleans, text and marks of late
values besides. Listening: a real mosquitto at QoS 1, every message on disk before it is acknowledged; bare is paho's
client counting messages that it acknowledges unread. Left out where no mosquitto is found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from pipelines.connectors.sparkplug.listener import Listener
from pipelines.connectors.sparkplug.nodes import Fleet, Message
from pipelines.connectors.sparkplug.store import frame_of
from pipelines.connectors.sparkplug.wire import Payload
from pipelines.harmonise.systems import SparkplugSystem
from warehouse.settings import Settings

START = 1_772_323_200_000


def messages(count: int, metrics: int, *, mixed: bool = False) -> list[Message]:
    """A birth and `count` DDATA by alias alone."""
    birth = Payload(timestamp=START, seq=1)
    for i in range(metrics):
        kind = {1: 8, 2: 11}.get(i % 4, 10) if mixed else 10
        birth.metrics.add(name=f"Sensor {i}", alias=i, datatype=kind, timestamp=START, is_null=True)
    node = Payload(timestamp=START, seq=0)
    node.metrics.add(name="bdSeq", datatype=8, long_value=1)
    made = [
        Message(0, "spBv1.0/Plant/NBIRTH/Edge", node.SerializeToString()),
        Message(0, "spBv1.0/Plant/DBIRTH/Edge/R1", birth.SerializeToString()),
    ]
    for k in range(count):
        data = Payload(timestamp=START + k, seq=(k + 2) % 256)
        for i in range(metrics):
            other = (
                {"long_value": i}
                if i % 4 == 1
                else {"boolean_value": True}
                if i % 4 == 2
                else {"double_value": 37.0 + i}
            )
            late = {"is_historical": True} if i % 10 == 0 else {}
            value = {**other, **late} if mixed else {"double_value": 37.0 + i}
            data.metrics.add(alias=i, timestamp=START + k * 1000 + i, **value)
        made.append(Message(k, "spBv1.0/Plant/DDATA/Edge/R1", data.SerializeToString()))
    return made


def bare(heard: list[Message]) -> int:
    """Parse, and read of each metric what a listener must."""
    rows = []
    for m in heard:
        payload = Payload.FromString(m.payload)
        rows += [
            (x.name, x.alias, x.timestamp, x.WhichOneof("value"), x.double_value, x.is_historical,
             x.HasField("properties"))
            for x in payload.metrics
        ]  # fmt: skip
    return len(rows)


def decoded(heard: list[Message]) -> int:
    """As the listener does, into the columns of a segment."""
    fleet = Fleet(None)
    for m in heard:
        fleet.take(m)
    if fleet.rows.flags:
        sys.exit(f"flagged: {fleet.rows.flags[0]}")
    return len(fleet.rows)


def filed(heard: list[Message]) -> int:
    """The same, and the Parquet file of it."""
    fleet = Fleet(None)
    for m in heard:
        fleet.take(m)
    frame = frame_of(fleet, ["*"])
    with tempfile.TemporaryDirectory() as folder:
        frame.write_parquet(Path(folder) / "segment.parquet", compression="zstd")
    return len(frame)


def timed(work: Callable[[], int], runs: int) -> tuple[float, float]:
    """Median things a second: by the wall, by processor time."""
    by_wall, by_cpu = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        count = work()
        by_wall.append(count / (time.perf_counter() - wall))
        by_cpu.append(count / (time.process_time() - cpu))
    return statistics.median(by_wall), statistics.median(by_cpu)


def decoding(heard: list[Message], runs: int) -> dict[str, float]:
    """Metrics a second of the listener and of the bare read, and how much longer the first takes."""
    told: dict[str, float] = {}
    for name, work in (("decoded", decoded), ("to_file", filed), ("bare", bare)):
        wall, cpu = timed(partial(work, heard), runs)
        told |= {f"{name}_metrics_per_s": round(wall), f"{name}_by_cpu": round(cpu)}
    for name in ("decoded", "to_file"):
        told[f"{name}_time_over_bare"] = round(told["bare_metrics_per_s"] / told[f"{name}_metrics_per_s"], 2)
        told[f"{name}_cpu_over_bare"] = round(told["bare_by_cpu"] / told[f"{name}_by_cpu"], 2)
    return told


def published(port: int, heard: list[Message]) -> None:
    """Publish at QoS 1 and wait until the broker has everything."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-edge")
    client.max_inflight_messages_set(1_000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    last: Any = None
    for m in heard:
        last = client.publish(m.topic, m.payload, qos=1)
    last.wait_for_publish(300)
    client.disconnect()
    client.loop_stop()


def listened(port: int, heard: list[Message], home: Path) -> float:
    """Messages a second from the first published to all on disk and acknowledged."""
    ready = threading.Event()
    system = SparkplugSystem(kind="sparkplug", path="mqtt", host="127.0.0.1", port=port, tls=False)
    listener = Listener(
        "bench", system, Settings(home=str(home)), lambda told: "listening" in told and ready.set()
    )
    thread = threading.Thread(target=listener.run)
    thread.start()
    ready.wait(30)
    time.sleep(0.3)
    began = time.perf_counter()
    published(port, heard)
    while listener.store.fleet.rows.messages < len(heard):
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    listener.stop.set()
    thread.join()
    return len(heard) / seconds


def counted(port: int, heard: list[Message]) -> float:
    """The same, with paho acknowledging and nothing kept."""
    count = 0

    def on_message(*_: Any) -> None:
        nonlocal count
        count += 1

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-bare", clean_session=True)
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.subscribe("spBv1.0/#", 1)
    client.loop_start()
    time.sleep(0.3)
    began = time.perf_counter()
    published(port, heard)
    while count < len(heard):
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    return len(heard) / seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=4_000)
    parser.add_argument("--metrics", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--broker-messages", type=int, default=5_000)
    asked = parser.parse_args()
    for mixed in (False, True):
        told = decoding(messages(asked.messages, asked.metrics, mixed=mixed), asked.runs)
        print(json.dumps({"mixed": mixed} | told))
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") is None:
        print(json.dumps({"broker": "no mosquitto found"}))
        return
    from sparkplug_edge import broker

    few = messages(asked.broker_messages, 20)
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as post:
        count = counted(post.port, few)
        kept = listened(post.port, few, Path(folder) / "home")
    print(
        json.dumps(
            {
                "listened_messages_per_s": round(kept), "listened_metrics_per_s": round(kept * 20),
                "paho_messages_per_s": round(count), "time_over_bare": round(count / kept, 2),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
