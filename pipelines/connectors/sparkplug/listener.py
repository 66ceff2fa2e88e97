"""The listener: one MQTT connection that stays, every message on disk before the broker is told that it came.

It asks a node for its births where something is missing, says that the host is online where the contract names one, and
comes back to a broker that was away. Does not belong here: what messages mean (`nodes.py`), the files (`store.py`).
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from pipelines.connectors.sparkplug.nodes import BIRTHS, DATA, DEATHS, NAMESPACE, EdgeNode, Message
from pipelines.connectors.sparkplug.store import Store
from pipelines.connectors.sparkplug.wire import Payload
from pipelines.failures import PermanentFailure
from pipelines.harmonise.systems import SparkplugSystem
from warehouse.settings import Settings

KINDS = frozenset((*BIRTHS, *DEATHS, *DATA))
# Messages made durable by one fsync, and how long the first of them waits for others.
TOGETHER, WAIT_SECONDS = 2_000, 0.01
GOODBYE_SECONDS = 2.0
IDLE_SECONDS = 0.2
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
BOOLEAN = 11
# What a broker says when trying again cannot help (MQTT 3.1.1, 3.2.2.3, in paho's words).
REFUSED = {
    "Bad user name or password": "Check `user` and what `password_env` names.",
    "Not authorized": "Ask whether our account may connect and read the groups.",
    "Client identifier not valid": "Give the system another `client_id`.",
    "Unsupported protocol version": "The broker must speak MQTT 3.1.1.",
}


class Listener:
    """Listens until it is told to stop. `progress` is told of each segment and of every loss of the broker."""

    def __init__(
        self, name: str, system: SparkplugSystem, chosen: Settings, progress: Callable[[str], None]
    ) -> None:
        self.name, self.system, self.progress = name, system, progress
        self.stop = threading.Event()
        self.store = Store(chosen.sources_path / system.path, system.metrics, system.batch_metric)
        self._pending: list[tuple[Message, int, int]] = []
        self._refused: PermanentFailure | None = None
        self._connected = False
        self._client = self._made()

    @property
    def where(self) -> str:
        return f"MQTT broker {self.system.host}:{self.system.port}"

    def run(self) -> None:
        """Listen. Raises PermanentFailure where the broker refuses us or the disk takes nothing more."""
        pause = FIRST_PAUSE
        with self.store:
            self.store.fleet.rebirth = self._rebirth
            since = time.monotonic()
            while not self.stop.is_set():
                if self._listened():
                    pause = FIRST_PAUSE
                elif self._refused is not None:
                    raise self._refused
                else:
                    self.stop.wait(pause * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not a secret
                    pause = min(LONGEST_PAUSE, pause * 2)
                if self.store.full or time.monotonic() - since >= self.system.segment_seconds:
                    since = time.monotonic()
                    self._rolled()
            self._leave()
        self._rolled()

    def _listened(self) -> bool:
        """Read what there is, or connect; False where the broker is away."""
        if not self._connected and self._client.socket() is None:
            try:
                self._client.connect(self.system.host, self.system.port, keepalive=30)
            except OSError as error:
                self.progress(f"{self.where} cannot be reached ({error}); it is tried again.")
                return False
        before = len(self._pending)
        code = self._client.loop(timeout=WAIT_SECONDS if self._pending else IDLE_SECONDS)
        if self._pending and (len(self._pending) == before or len(self._pending) >= TOGETHER):
            self._kept()
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            return True
        if self._pending:
            self._kept()
        if self._refused is None:
            self.progress(f"{self.where} is away ({mqtt.error_string(code)}); it is tried again.")
        self._connected = False
        return False

    def _kept(self) -> None:
        """Make what came durable, then acknowledge it. What came before a connection broke is sent again by itself."""
        pending, self._pending = self._pending, []
        try:
            self.store.keep([m for m, _, _ in pending])
        except OSError as error:
            raise PermanentFailure(
                f"{self.store.folder} takes nothing more ({error.strerror}).",
                "Make room and start the listener again; the broker keeps what was not acknowledged.",
            ) from error
        for _, mid, qos in pending:
            if qos and self._connected:
                self._client.ack(mid, qos)

    def _rolled(self) -> None:
        if rows := self.store.roll():
            self.progress(f"{self.name}: {rows:,} values in segment {self.store.last}")

    def _made(self) -> mqtt.Client:
        s = self.system
        # The broker keeps what it has for this client while it is away: the session is not a clean one.
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=s.client_id, clean_session=False, protocol=mqtt.MQTTv311,
            manual_ack=True, reconnect_on_failure=False,
        )  # fmt: skip
        if s.tls:
            client.tls_set(ca_certs=_named(s.ca_file_env) if s.ca_file_env else None)
        if s.user is not None:
            client.username_pw_set(s.user, _named(s.password_env))
        client.on_connect, client.on_message = self._on_connect, self._on_message
        client.on_disconnect = self._on_disconnect
        if s.host_id is not None:
            self._since = int(time.time() * 1000)
            client.will_set(f"{NAMESPACE}/STATE/{s.host_id}", self._state(online=False), qos=1, retain=True)
        return client

    def _state(self, *, online: bool) -> str:
        return json.dumps({"online": online, "timestamp": self._since})

    def _on_connect(self, client: mqtt.Client, *told: Any) -> None:
        reason = told[2]
        if reason.is_failure:
            mend = REFUSED.get(str(reason))
            if mend is not None:
                self._refused = PermanentFailure(f"{self.where} refuses us: {reason}.", mend)
            return
        self._connected = True
        client.subscribe([(f"{NAMESPACE}/{group}/#", 1) for group in self.system.groups])
        if self.system.host_id is not None:
            topic = f"{NAMESPACE}/STATE/{self.system.host_id}"
            client.publish(topic, self._state(online=True), qos=1, retain=True)
        self.progress(f"{self.name}: listening at {self.system.host}:{self.system.port}")

    def _on_disconnect(self, *_: Any) -> None:
        self._connected = False

    def _on_message(self, client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        parts = message.topic.split("/", 3)
        if len(parts) < 3 or parts[2] not in KINDS:
            client.ack(message.mid, message.qos)
            return
        heard = Message(time.time_ns() // 1000, message.topic, bytes(message.payload))
        self._pending.append((heard, message.mid, message.qos))

    def _rebirth(self, node: EdgeNode) -> None:
        """Ask a node to say again what it has (specification 3.0, 6.4.23)."""
        asked = Payload(timestamp=time.time_ns() // 1_000_000)
        asked.metrics.add(name="Node Control/Rebirth", datatype=BOOLEAN, boolean_value=True)
        self._client.publish(f"{NAMESPACE}/{node.group}/NCMD/{node.name}", asked.SerializeToString(), qos=0)

    def _leave(self) -> None:
        if self._pending:
            self._kept()
        if self._connected and self.system.host_id is not None:
            topic = f"{NAMESPACE}/STATE/{self.system.host_id}"
            gone = self._client.publish(topic, self._state(online=False), qos=1, retain=True)
            end = time.monotonic() + GOODBYE_SECONDS
            # A socket closed over an answer not yet read is a break to the broker, which then says our will besides.
            while not gone.is_published() and time.monotonic() < end:
                if self._client.loop(timeout=IDLE_SECONDS) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
        self._client.disconnect()
        self._client.loop(timeout=0.2)


def _named(variable: str | None) -> str:
    value = os.environ.get(variable or "")
    if not value:
        raise PermanentFailure(
            f"Environment variable {variable} is not set.", "Set it before the listener starts."
        )
    return value
