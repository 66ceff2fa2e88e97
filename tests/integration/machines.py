"""Machines for tests: network namespaces on a bridge, each with an address and a loopback of its own.

A process in one reaches what listens on the bridge's address and nothing else of this machine: what a worker on another
machine could reach. Needs root and the right to make network interfaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


class NotAllowed(RuntimeError):  # noqa: N818 - it names a state, and is shown as a reason
    """This machine makes no network namespaces."""


@dataclass(frozen=True)
class Machine:
    """One machine: how to run a command on it. One without a namespace is this machine itself."""

    name: str
    namespace: str | None = None

    def command(self, *words: str) -> list[str]:
        """The words as a command that runs on the machine."""
        if self.namespace is None:
            return list(words)
        return ["ip", "netns", "exec", self.namespace, *words]


@contextmanager
def network(names: list[str]) -> Iterator[tuple[str, list[Machine]]]:
    """An address that servers listen on, and machines that reach it, gone with the block. Raises NotAllowed."""
    if os.geteuid() != 0:
        raise NotAllowed("network namespaces need root")
    if shutil.which("ip") is None:
        raise NotAllowed("the program `ip` (iproute2) is not installed")
    mark = f"{os.getpid() % 100_000:05d}"
    bridge, subnet = f"cf{mark}", f"10.{90 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
    address, made = f"{subnet}.1", list[Machine]()
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{address}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for n, name in enumerate(names):
            made.append(machine := Machine(name, f"cf{mark}-{n}"))
            inside, outside = f"cf{mark}i{n}", f"cf{mark}o{n}"
            _ip("netns", "add", str(machine.namespace))
            _ip(
                "link",
                "add",
                outside,
                "type",
                "veth",
                "peer",
                "name",
                inside,
                "netns",
                str(machine.namespace),
            )
            _ip("link", "set", outside, "master", bridge, "up")
            _ip("-n", str(machine.namespace), "addr", "add", f"{subnet}.{10 + n}/24", "dev", inside)
            _ip("-n", str(machine.namespace), "link", "set", inside, "up")
            _ip("-n", str(machine.namespace), "link", "set", "lo", "up")
        yield address, made
    finally:
        for machine in made:
            with suppress(NotAllowed):
                _ip("netns", "del", str(machine.namespace))
        with suppress(NotAllowed):
            _ip("link", "del", bridge)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotAllowed(f"ip {' '.join(words)}: {done.stderr.strip()}")
