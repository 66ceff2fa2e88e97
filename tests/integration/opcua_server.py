"""An OPC UA server of the tests' own: asyncua's, in a process of its own, with histories in memory.

`python opcua_server.py <plan.json>`; the plan names the port, the variables, how the server lies and how it is
secured. Lines on stdin change it, `["add", path, [[micros, value, status], ...]]` and the like (`Plant`); each is
answered by `ok` on stdout, the first `ok` says that the server listens.
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
    plant = Plant(server, history, await server.register_namespace("urn:cellfleet:tests"))
    await plant.build(plan["variables"])
    async with server:
        print("ok", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, *rest = json.loads(line)
            await getattr(plant, what)(*rest)
            print("ok", flush=True)


class Plant:
    """The variables of the server and their histories; its methods are the words that stdin takes."""

    def __init__(self, server: Server, history: Lying, space: int) -> None:
        self.server, self.history, self.space = server, history, space
        self.nodes: dict[str, Any] = {}

    async def build(self, variables: dict[str, Any], lies: dict[str, Any] | None = None) -> None:
        """Have these variables, and no others, and lie like this from now on."""
        if lies is not None:
            self.history.plan, self.history.max_history_data_response_size = (
                lies,
                lies.get("response", 10_000),
            )
        for path in [p for p in self.nodes if "/" not in p.lstrip("/")]:
            await self.server.delete_nodes([self.nodes[path]], recursive=True)
        self.nodes.clear()
        self.history._datachanges.clear()
        for path, told in variables.items():
            *folders, last = path.split("/")
            parent, above = self.server.nodes.objects, ""
            for folder in folders:
                above = f"{above}/{folder}"
                if above not in self.nodes:
                    self.nodes[above] = await parent.add_folder(self.id(above), f"{self.space}:{folder}")
                parent = self.nodes[above]
            self.nodes[path] = await parent.add_variable(self.id(path), f"{self.space}:{last}", 0.0)
            if "unit" in told:
                await self.nodes[path].add_property(
                    self.id(f"{path}.unit"), "0:EngineeringUnits", unit(*told["unit"])
                )
            rows = told.get("values") or numbers(path, told["count"], told.get("step", 1_000_000))
            stored = [value(*row) for row in rows]
            if self.history.plan.get("shuffle_store"):
                random.Random(3).shuffle(stored)
            self.history._datachanges[self.nodes[path].nodeid] = stored
            self.history._datachanges_period[self.nodes[path].nodeid] = (None, 0)

    def id(self, path: str) -> ua.NodeId:
        return ua.NodeId(path, self.space)

    async def add(self, path: str, rows: list[Any]) -> None:
        held = self.history._datachanges[self.id(path)]
        held += [value(*row) for row in rows]
        held.sort(key=lambda v: v.SourceTimestamp)

    async def edit(self, path: str, place: int, row: list[Any]) -> None:
        self.history._datachanges[self.id(path)][place] = value(*row)

    async def unit(self, path: str, printed: str, code: str) -> None:
        await self.server.get_node(self.id(f"{path}.unit")).write_value(unit(printed, code))


def unit(printed: str, code: str) -> ua.EUInformation:
    """Engineering units as a server gives them."""
    told = ua.EUInformation()
    told.NamespaceUri = "http://www.opcfoundation.org/UA/units/un/cefact"
    told.UnitId = int.from_bytes(code.encode(), "big")
    told.DisplayName = ua.LocalizedText(printed)
    return told


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
