"""Rate of the OPC UA connector beside asyncua's own bare read in the same run: one JSON row for each figure.

    python benchmarks/opcua.py [--variables 4] [--values 100000] [--page 10000] [--runs 3]

Both read the same histories of asyncua's server (tests/integration/opcua_server.py, a process of its own, loopback).
The bare read gives Python objects and keeps nothing; the connector writes Parquet files, which are counted. Processor
seconds of both processes are told too: on a busy machine only they are the parts' own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polars as pl
from asyncua import Client, ua

from pipelines.connectors.opcua import OpcUa
from pipelines.connectors.protocol import Seen
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import OpcUaSystem

SERVER = Path(__file__).resolve().parents[1] / "tests" / "integration" / "opcua_server.py"
SPAN = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


def cpu_of(process: int) -> float:
    """Processor seconds of a process so far."""
    told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def measured(read: Callable[[], int], server: int) -> dict[str, float]:
    """Values, and seconds: wall, own processor, server's processor."""
    theirs, own, wall = cpu_of(server), time.process_time(), time.perf_counter()
    count = read()
    return {
        "values": count,
        "wall_s": time.perf_counter() - wall,
        "own_cpu_s": time.process_time() - own,
        "server_cpu_s": cpu_of(server) - theirs,
    }


def bare(url: str, paths: list[str]) -> int:
    """asyncua's own high-level read of each history."""

    async def read() -> int:
        async with Client(url, timeout=120) as client:
            got = 0
            for path in paths:
                got += len(await client.get_node(ua.NodeId(path, 2)).read_raw_history(*SPAN))
            return got

    return asyncio.run(read())


def connector(url: str, page: int) -> int:
    """The connector into Parquet files, as a run takes them."""
    system = OpcUaSystem(kind="opcua", url=url, security="none", page_values=page, timeout_seconds=120)
    feed = Feed.model_validate(
        {
            "system": "s", "nodes": ["Suite/*/Temperature"], "record": "path",
            "tables": [{"table": "reading", "columns": {}}],
        }
    )  # fmt: skip
    got = 0
    with tempfile.TemporaryDirectory() as scratch:
        for offer in OpcUa().offers(system, feed, Path(), Seen(), Path(scratch)):
            assert offer.path is not None
            got += pl.scan_parquet(offer.path).select(pl.len()).collect().item()
            offer.path.unlink()
    return got


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variables", type=int, default=4)
    parser.add_argument("--values", type=int, default=100_000)
    parser.add_argument("--page", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    url = f"opc.tcp://127.0.0.1:{port}/cellfleet"
    paths = [f"Suite/B{i}/Temperature" for i in range(asked.variables)]
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.json"
        plan.write_text(
            json.dumps({"port": port, "variables": {p: {"count": asked.values} for p in paths}}), "utf-8"
        )
        server = subprocess.Popen(
            [sys.executable, str(SERVER), str(plan)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == b"ok\n"
        wanted = asked.variables * asked.values
        rates: dict[str, list[float]] = {"bare": [], "connector": []}
        try:
            for _ in range(asked.runs):
                for name, read in (
                    ("bare", lambda: bare(url, paths)),
                    ("connector", lambda: connector(url, asked.page)),
                ):
                    told = measured(read, server.pid)
                    if told["values"] != wanted:
                        sys.exit(f"{name}: {told['values']} of {wanted} values came")
                    rates[name].append(told["values"] / told["wall_s"])
                    print(
                        json.dumps(
                            {"read": name}
                            | {k: round(v, 3) for k, v in told.items()}
                            | {"values_per_s": round(rates[name][-1])}
                        )
                    )
        finally:
            server.terminate()
            server.wait()
    middle = {name: statistics.median(r) for name, r in rates.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "median_values_per_s": {n: round(r) for n, r in middle.items()},
                "time_over_bare": round(middle["bare"] / middle["connector"], 2),
                "peak_mb": round(peak),
            }
        )
    )


if __name__ == "__main__":
    main()
