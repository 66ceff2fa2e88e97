"""The servers that many machines share, and workers on machines of their own: what tests and a benchmark bring up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.live_servers import POSTGRES_PASSWORD, S3_KEY, S3_SECRET, Postgres, postgres, redis, s3
from tests.integration.machines import Machine, NotAllowed, network

STOP_SECONDS = 60


@dataclass
class Hub:
    """Servers under `address`, the machines that reach them, and what a process needs to know to be one of them."""

    folder: Path
    address: str
    machines: list[Machine]
    catalog: Postgres
    endpoint: str
    queue: str
    sources: Path
    refused: str | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, fleet: str, machine: str) -> dict[str, str]:
        """Environment of a process of one fleet on one machine: a home of its own, the one setting, and keys."""
        return {
            "CELLFLEET_HOME": str(self.folder / fleet / machine),
            "CELLFLEET_SETTINGS": str(self.folder / fleet / "hub.env"),
            "PGPASSWORD": POSTGRES_PASSWORD,
            "AWS_ACCESS_KEY_ID": S3_KEY,
            "AWS_SECRET_ACCESS_KEY": S3_SECRET,
            "CELLFLEET_REAL_FILES": "",  # the fleet it is compared with read none
        }

    def new_fleet(self, name: str, queue: int = 0) -> None:
        """Databases, buckets and the file of settings of a fleet that has nothing yet."""
        for database in (f"{name}_lake", f"{name}_dagster"):
            self.catalog.sql(f"CREATE DATABASE {database}")
        (self.folder / "buckets" / name).mkdir(parents=True)
        (self.folder / name).mkdir()
        server = f"{self.address}:{self.catalog.port}"
        (self.folder / name / "hub.env").write_text(
            f"CELLFLEET_CATALOG=postgres:host={self.address} port={self.catalog.port} user=lims dbname={name}_lake\n"
            f"CELLFLEET_LAKE_DATA=s3://{name}/lake\n"
            f"CELLFLEET_S3_ENDPOINT={self.endpoint}\n"
            f"CELLFLEET_PUBLISHED=s3://{name}/published\n"
            f"CELLFLEET_DAGSTER_STORAGE=postgresql://lims@{server}/{name}_dagster\n"
            f"CELLFLEET_QUEUE={self.queue.removesuffix('/0')}/{queue}\n"
            f"CELLFLEET_SHARED={self.folder / name / 'shared'}\n"
            f"CELLFLEET_SOURCES={self.sources}\n",
            encoding="utf-8",
        )

    def start_worker(self, fleet: str, machine: Machine, *queues: str) -> subprocess.Popen[bytes]:
        """A worker of a fleet on a machine, ended with the hub."""
        program = str(Path(sys.executable).parent / "cellfleet")
        command = machine.command(program, "worker", *queues, "--name", machine.name)
        with self.log(fleet, machine).open("wb") as log:
            made = subprocess.Popen(
                command, env=os.environ | self.environment(fleet, machine.name), stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.workers.append(made)
        return made

    def log(self, fleet: str, machine: Machine) -> Path:
        """Where a worker's own words go."""
        return self.folder / fleet / f"{machine.name}.log"

    def stop_workers(self) -> None:
        """End every worker, those that do not hear with force."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGTERM)
        for worker in self.workers:
            try:
                worker.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
        self.workers.clear()


@contextmanager
def hub(folder: Path, machines: list[str], sources: Path) -> Iterator[Hub]:
    """Servers and machines, ended with the block. Where namespaces are refused the machines are this one."""
    with ExitStack() as stack:
        refused = None
        try:
            address, made = stack.enter_context(network(machines))
        except NotAllowed as error:
            address, made, refused = "127.0.0.1", [Machine(name) for name in machines], str(error)
        (folder / "buckets").mkdir()
        catalog = stack.enter_context(postgres(address))
        endpoint = stack.enter_context(s3(folder / "buckets", address))
        queue = stack.enter_context(redis(address))
        started = Hub(folder, address, made, catalog, endpoint, queue, sources, refused)
        stack.callback(started.stop_workers)
        yield started
