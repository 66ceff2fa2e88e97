"""An OPC UA server of the tests' own: asyncua's, in a process of its own, with histories in memory.

`python opcua_server.py <plan.json>`; the plan names the port, the variables, how the server lies and how it is
secured. Lines on stdin change it: `["add", path, [[micros, value, status], ...]]`, `["unit", path, unit, code]`; each
is answered by `ok` on stdout, the first `ok` says that the server listens.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.history import HistoryDict
from asyncua.server.user_managers import UserManager

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POLICIES = {
    "none": ua.SecurityPolicyType.NoSecurity,
    "sign": ua.SecurityPolicyType.Basic256Sha256_Sign,
    "sign_and_encrypt": ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
}


class Accounts(UserManager):
    """Lets in who is in the plan; everyone where the plan names no one."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    def get_user(
        self, iserver: Any, username: str | None = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        given = password.decode() if isinstance(password, bytes) else password
        right = not self.known or (username in self.known and self.known[username] == given)
        return User(role=UserRole.User) if right else None


class Lying(HistoryDict):
    """asyncua's history in memory, which may cut short, repeat, mix up or delay its answers."""

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__(plan.get("response", 10_000))
        self.plan, self.calls = plan, 0
        self.luck = random.Random(7)

    async def read_node_history(
        self, node_id: ua.NodeId, start: datetime | None, end: datetime | None, nb_values: int
    ) -> tuple[list[ua.DataValue], datetime | None]:
        self.calls += 1
        await asyncio.sleep(self.plan.get("delay", 0))
        found, point = await super().read_node_history(node_id, start, end, nb_values)
        if "cut" in self.plan:
            found, point = found[: self.plan["cut"]], None
        if self.plan.get("repeat"):
            found = [v for v in found for _ in range(2 if self.luck.random() < 0.1 else 1)]
        if self.plan.get("shuffle_answer"):
            self.luck.shuffle(found)
        return found, point


def value(micros: int, number: Any, status: int) -> ua.DataValue:
    """One value of a history; a text makes a String, None no value at all."""
    kind = ua.VariantType.String if isinstance(number, str) else ua.VariantType.Double
    at = EPOCH + timedelta(microseconds=micros)
    variant = ua.Variant(number, kind) if number is not None else None
    return ua.DataValue(variant, ua.StatusCode(status), at, at)


def numbers(path: str, count: int, step: int = 1_000_000, first: int = 1_772_323_200_000_000) -> list[Any]:
    """`count` values made up for a path, the same on both sides of the wire: [micros, value, status]."""
    luck = random.Random(path)
    return [
        [first + i * step, round(37 + luck.gauss(0, 0.2), 3), 0x408F0000 if luck.random() < 0.01 else 0]
        for i in range(count)
    ]


async def serve(plan: dict[str, Any]) -> None:
    """Serve until stdin ends."""
    server = Server(user_manager=Accounts(plan.get("accounts", {})))
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{plan['port']}/cellfleet")
    security = plan.get("security", "none")
    server.set_security_policy([POLICIES[security]])
    if security != "none":
        await server.load_certificate(plan["certificate"])
        await server.load_private_key(plan["key"])
    history = Lying(plan.get("lies", {}))
    server.iserver.history_manager.set_storage(history)
    space = await server.register_namespace("urn:cellfleet:tests")
    nodes: dict[str, Any] = {}
    for path, told in plan["variables"].items():
        *folders, last = path.split("/")
        parent, above = server.nodes.objects, ""
        for folder in folders:
            above = f"{above}/{folder}"
            if above not in nodes:
                nodes[above] = await parent.add_folder(ua.NodeId(above, space), f"{space}:{folder}")
            parent = nodes[above]
        node = await parent.add_variable(ua.NodeId(path, space), f"{space}:{last}", 0.0)
        nodes[path] = node
        if "unit" in told:
            await node.add_property(
                ua.NodeId(f"{path}.unit", space), "0:EngineeringUnits", unit(*told["unit"])
            )
        rows = told.get("values") or numbers(path, told["count"], told.get("step", 1_000_000))
        stored = [value(*row) for row in rows]
        if plan.get("lies", {}).get("shuffle_store"):
            random.Random(3).shuffle(stored)
        history._datachanges[node.nodeid] = stored
        history._datachanges_period[node.nodeid] = (None, 0)
    async with server:
        print("ok", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, path, *rest = json.loads(line)
            if what == "add":
                held = history._datachanges[nodes[path].nodeid]
                held += [value(*row) for row in rest[0]]
                held.sort(key=lambda v: v.SourceTimestamp)
            elif what == "edit":
                held = history._datachanges[nodes[path].nodeid]
                held[rest[0]] = value(*rest[1])
            elif what == "unit":
                await server.get_node(ua.NodeId(f"{path}.unit", space)).write_value(unit(*rest))
            print("ok", flush=True)


def unit(printed: str, code: str) -> ua.EUInformation:
    """Engineering units as a server gives them."""
    told = ua.EUInformation()
    told.NamespaceUri = "http://www.opcfoundation.org/UA/units/un/cefact"
    told.UnitId = int.from_bytes(code.encode(), "big")
    told.DisplayName = ua.LocalizedText(printed)
    return told


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
