"""What Sparkplug messages mean for their edge nodes: births, aliases, sequence, deaths; and the values they carry.

Everything here follows from the messages alone, so replaying them gives the same rows. Does not belong here: the bytes
of a payload (`wire.py`), keeping messages (`store.py`), the broker (`listener.py`).
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from math import isnan
from typing import Any

from google.protobuf.message import DecodeError

from pipelines.connectors.sparkplug.wire import (
    NUMERIC,
    WHOLE,
    Payload,
    number_of,
    property_of,
    quality_of,
    text_of,
)

NAMESPACE = "spBv1.0"
BIRTHS, DEATHS, DATA = ("NBIRTH", "DBIRTH"), ("NDEATH", "DDEATH"), ("NDATA", "DDATA")
SESSION = "bdSeq"
CONTROL = ("Node Control/", "Device Control/")
# A message delivered again comes soon after the first: what was not acknowledged when a connection broke.
RECENT = 1_024
# Changes of a batch that are remembered a device, for values that arrive late.
CHANGES = 200
REBIRTH_SECONDS = 10.0
NAN = float("nan")


@dataclass(frozen=True)
class Message:
    """One message as it came: when (UTC, microseconds), on which topic."""

    received: int
    topic: str
    payload: bytes


@dataclass(frozen=True, eq=False)
class Channel:
    """One metric of one device ('' for the node itself). `name` is None where only an unknown alias is known.

    Told apart by identity, which is quick to hash; `Fleet.channel` makes each once.
    """

    group: str
    node: str
    device: str
    name: str | None
    alias: int | None
    datatype: int
    unit: str


@dataclass
class Device:
    """What the last birth of a device said, and which batches ran on it (milliseconds, name; '' for none)."""

    metrics: dict[str, Channel] = field(default_factory=dict)
    aliases: dict[int, Channel] = field(default_factory=dict)
    batches: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class EdgeNode:
    """One edge node: its sequence, its session and its devices."""

    group: str
    name: str
    seq: int | None = None
    session: int | None = None
    asked: float = 0.0
    devices: dict[str, Device] = field(default_factory=dict)
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def where(self) -> str:
        return f"{self.group}/{self.name}"

    def device(self, name: str) -> Device:
        return self.devices.setdefault(name, Device())


class Rows:
    """Values in columns; what most rows share is kept by message, what few have by row."""

    def __init__(self) -> None:
        self.channels: dict[Channel, int] = {}
        self.channel = array("i")
        self.stamp = array("q")
        self.value = array("d")
        self.text: dict[int, str] = {}
        self.quality: dict[int, str] = {}
        self.historical: set[int] = set()
        # By message: rows before it, when it was received, its sequence number (-1: none).
        self.first = array("q")
        self.received = array("q")
        self.seq = array("h")
        # What is remarkable: row (from 1), what it is about, the sentence.
        self.flags: list[tuple[int, str, str]] = []
        self.messages = 0

    def __len__(self) -> int:
        return len(self.stamp)

    def number(self, channel: Channel) -> int:
        """The channel's number in this file."""
        return self.channels.setdefault(channel, len(self.channels))


class Fleet:
    """The edge nodes that a listener hears."""

    def __init__(self, batch_metric: str | None, told: dict[str, Any] | None = None) -> None:
        self.batch_metric = batch_metric
        self.nodes: dict[tuple[str, str], EdgeNode] = {}
        self.rows = Rows()
        self.rebirth: Callable[[EdgeNode], None] = lambda _: None
        self._channels: dict[tuple[Any, ...], Channel] = {}
        for node in (told or {}).get("nodes", []):
            self._restore(node)

    def channel(self, *said: Any) -> Channel:
        """The channel of that group, node, device, name, alias, datatype and unit."""
        return self._channels.get(said) or self._channels.setdefault(said, Channel(*said))

    def take(self, message: Message) -> None:
        """Take one message in. Never raises for what a message says: what cannot be read is flagged."""
        parts = message.topic.split("/")
        rows = self.rows
        rows.messages += 1
        if len(parts) not in (4, 5) or parts[0] != NAMESPACE or parts[2] not in (*BIRTHS, *DEATHS, *DATA):
            return
        group, kind, name = parts[1:4]
        node = self.nodes.setdefault((group, name), EdgeNode(group, name))
        digest = blake2b(message.payload, key=message.topic.encode()[:64], digest_size=8).digest()
        if digest in node.recent:
            return
        node.recent.append(digest)
        try:
            payload = Payload.FromString(message.payload)
        except DecodeError:
            self._flag(
                "payload", f"{message.topic}: a payload of {len(message.payload)} bytes cannot be read"
            )
            self._ask(node, message)
            return
        rows.first.append(len(rows))
        rows.received.append(message.received)
        rows.seq.append(payload.seq % 256 if payload.HasField("seq") else -1)
        device = parts[4] if len(parts) == 5 else ""
        if kind == "NDEATH":
            self._died(node, payload)
            return
        self._counted(node, payload, message, birth=kind == "NBIRTH")
        if kind == "DDEATH":
            node.devices.pop(device, None)
            self._flag("death", f"{node.where}/{device} went offline")
        elif kind in BIRTHS:
            self._born(node, device, payload, message)
        else:
            self._told(node, device, payload, message)

    def _counted(self, node: EdgeNode, payload: Any, message: Message, *, birth: bool) -> None:
        """Compare the sequence number with the last one; a gap means that messages were lost on the way."""
        seq = int(payload.seq) if payload.HasField("seq") else None
        if birth:
            node.seq, node.asked = seq, 0.0
            return
        if node.seq is None:
            self._ask(node, message)
        elif seq is not None and seq != (node.seq + 1) % 256:
            self._flag(
                "sequence",
                f"{node.where}: {seq} came after {node.seq}: values between may be missing, a rebirth was asked for",
            )
            self._ask(node, message)
        if node.seq is not None and seq is not None:
            node.seq = seq

    def _ask(self, node: EdgeNode, message: Message) -> None:
        """Ask a node for its births, not more often than it can answer."""
        now = message.received / 1e6
        if now - node.asked >= REBIRTH_SECONDS:
            node.asked = now
            self.rebirth(node)

    def _died(self, node: EdgeNode, payload: Any) -> None:
        session = next((int(m.long_value or m.int_value) for m in payload.metrics if m.name == SESSION), None)
        if session is not None and node.session is not None and session != node.session:
            return  # the will of a session that a later birth has replaced
        batches = {d: told.batches for d, told in node.devices.items()}
        node.devices = {d: Device(batches=told) for d, told in batches.items()}
        node.seq = node.session = None
        self._flag("death", f"{node.where} went offline")

    def _born(self, node: EdgeNode, device: str, payload: Any, message: Message) -> None:
        if not device:
            # A node's birth begins everything anew; its devices follow with theirs.
            node.devices = {d: Device(batches=told.batches) for d, told in node.devices.items()}
            node.session = next(
                (int(m.long_value or m.int_value) for m in payload.metrics if m.name == SESSION), None
            )
        told = node.devices[device] = Device(batches=node.device(device).batches)
        for metric in payload.metrics:
            name = metric.name
            if not name or name == SESSION or name.startswith(CONTROL):
                continue
            alias = int(metric.alias) if metric.HasField("alias") else None
            unit = property_of(metric, "engUnit") if metric.HasField("properties") else None
            channel = Channel(
                node.group, node.name, device, name, alias, int(metric.datatype), str(unit or "")
            )
            told.metrics[name] = channel
            if alias is not None:
                told.aliases[alias] = channel
        self._told(node, device, payload, message)

    def _told(self, node: EdgeNode, device: str, payload: Any, message: Message) -> None:
        """Values of a birth or of data. This is the loop that everything else waits for."""
        if self._alike(node.device(device), payload, message):
            return
        told = node.device(device)
        names, aliases, rows, batch = told.metrics, told.aliases, self.rows, self.batch_metric
        numbers, unknown = rows.channels, False
        channels, stamps, values = rows.channel.append, rows.stamp.append, rows.value.append
        when = int(payload.timestamp) or message.received // 1000
        row = len(rows.stamp)
        for metric in payload.metrics:
            name = metric.name
            channel = names.get(name) if name else aliases.get(metric.alias)
            if channel is None:
                if name == SESSION or name.startswith(CONTROL):
                    continue
                alias = int(metric.alias) if metric.HasField("alias") else None
                channel = Channel(
                    node.group, node.name, device, name or None, alias, int(metric.datatype), ""
                )
                unknown = unknown or not name
            number = numbers.get(channel)
            kind, stamp = metric.WhichOneof("value"), metric.timestamp or when
            if kind == "double_value":
                value = metric.double_value
            elif kind == "float_value":
                value = metric.float_value
            else:
                value = NAN if kind is None else self._other(metric, kind, channel, row)
            if metric.is_historical:
                rows.historical.add(row)
            if metric.HasField("properties"):
                self._quality(metric, row)
            if batch is not None and channel.name == batch:
                self._batch(told, stamp, rows.text.get(row, ""), value)
            channels(rows.number(channel) if number is None else number)
            stamps(stamp)
            values(value)
            row += 1
        if unknown:
            self._flag(
                "alias", f"{node.where}/{device}: an alias that no birth explained; a rebirth was asked for"
            )
            self._ask(node, message)

    def _alike(self, told: Device, payload: Any, message: Message) -> bool:
        """Take a message of floating-point values by known aliases and nothing else, which most are, column by column.

        False where there is anything else about it: nothing was taken then.
        """
        metrics, rows, aliases = list(payload.metrics), self.rows, told.aliases
        field = {m.WhichOneof("value") for m in metrics}
        if field not in ({"double_value"}, {"float_value"}) or {m.name for m in metrics} != {""}:
            return False
        if True in {m.is_historical or m.HasField("properties") for m in metrics}:
            return False
        try:
            channels = [aliases[m.alias] for m in metrics]
            numbers = [rows.channels[c] for c in channels]
        except KeyError:
            return False
        if self.batch_metric is not None and told.metrics.get(self.batch_metric) in channels:
            return False
        when = int(payload.timestamp) or message.received // 1000
        double = field == {"double_value"}
        rows.value.extend([m.double_value for m in metrics] if double else [m.float_value for m in metrics])
        rows.stamp.extend([m.timestamp or when for m in metrics])
        rows.channel.extend(numbers)
        return True

    def _other(self, metric: Any, kind: str, channel: Channel, row: int) -> float:
        """The number of a metric that is neither float nor double, or its text put by.

        A whole number whose type nobody told may be negative: it stays text.
        """
        if kind not in WHOLE:
            self.rows.text[row] = text_of(metric, kind)
        elif (datatype := metric.datatype or channel.datatype) in NUMERIC:
            return number_of(metric, kind, datatype)
        else:
            self.rows.text[row] = str(int(getattr(metric, kind)))
        return NAN

    def _quality(self, metric: Any, row: int) -> None:
        said = quality_of(property_of(metric, "Quality"))
        if said != "good":
            self.rows.quality[row] = said

    def _batch(self, device: Device, stamp: int, text: str, number: float) -> None:
        change = stamp, text.strip() or ("" if isnan(number) else f"{number:.15g}")
        if change not in device.batches:
            insort(device.batches, change)
            del device.batches[:-CHANGES]

    def _flag(self, about: str, sentence: str) -> None:
        self.rows.flags.append((len(self.rows) + 1, about, sentence))

    def batches(self, channel: Channel) -> list[tuple[int, str]] | None:
        """The batches of a channel's device, or of its node where the device tells none; None where neither does."""
        node = self.nodes.get((channel.group, channel.node))
        if node is None or self.batch_metric is None:
            return None
        for device in (channel.device, ""):
            if device in node.devices and node.devices[device].batches:
                return node.devices[device].batches
        return None

    def told(self) -> dict[str, Any]:
        """Everything that later messages need, as JSON."""
        return {
            "nodes": [
                {
                    "group": n.group, "name": n.name, "seq": n.seq, "session": n.session,
                    "recent": [d.hex() for d in n.recent],
                    "devices": {
                        d: {
                            "metrics": [[c.name, c.alias, c.datatype, c.unit] for c in told.metrics.values()],
                            "batches": told.batches,
                        }
                        for d, told in n.devices.items()
                    },
                }
                for n in self.nodes.values()
            ]
        }  # fmt: skip

    def _restore(self, told: dict[str, Any]) -> None:
        node = EdgeNode(told["group"], told["name"], told["seq"], told["session"])
        node.recent.extend(bytes.fromhex(d) for d in told["recent"])
        for name, said in told["devices"].items():
            device = node.device(name)
            device.batches = [(stamp, batch) for stamp, batch in said["batches"]]
            for metric, alias, datatype, unit in said["metrics"]:
                channel = self.channel(node.group, node.name, name, metric, alias, datatype, unit)
                device.metrics[metric] = channel
                if alias is not None:
                    device.aliases[alias] = channel
        self.nodes[node.group, node.name] = node
