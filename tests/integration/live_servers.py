"""Real servers that tests start for themselves, and a proxy that makes any of them slow or drops its answers."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

START_SECONDS = 60
S3_KEY, S3_SECRET = "cellfleet", "object-storage-secret"
POSTGRES_PASSWORD = "lims-secret"
BITE = 1 << 14


def program(name: str) -> str:
    """Path of a program, beside the tests' Python or on the machine; the test skips without it."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes] | None = None, address: str = "127.0.0.1") -> None:
    """Wait until something answers on the port."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}")
        with suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing answers on port {port}")


@contextmanager
def running(
    *command: str, port: int, address: str = "127.0.0.1", **settings: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that listens on a port, ended with the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings)  # type: ignore[call-overload]
    try:
        wait_for(port, process, address)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


@dataclass
class Proxy:
    """A proxy on `port` before a server on `target`.

    Each answer is held back `delay` seconds a bite; after `cut_after` bytes of answers in all it drops every
    connection, once, and goes on as if nothing had been (`cut_for_good`: takes no other until `restore`).
    """

    target: int
    port: int = 0
    delay: float = 0
    cut_after: int | None = None
    cut_for_good: bool = False
    cuts: int = 0
    passed: int = 0

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        self._away = False
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()
        self.drop()

    def go_away(self) -> None:
        """Drop every connection, and take no other until `restore`."""
        self._away = True
        self.drop()

    def restore(self) -> None:
        """Take connections again."""
        self._away = False

    def drop(self) -> None:
        """Drop every connection."""
        with self._lock:
            dropped, self._open = self._open, []
        for s in dropped:
            with suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                if self._away:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with self._lock:
                self._open += [client, server]
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=(source, sink, answers), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(BITE):
                if answers:
                    time.sleep(self.delay)
                    self.passed += len(data)
                    if self.cut_after is not None and self.passed >= self.cut_after:
                        self.cut_after = None
                        self.cuts += 1
                        self._away = self.cut_for_good
                        self.drop()
                        return
                sink.sendall(data)
        for s in (source, sink):
            with suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy before a server, closed with the block."""
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def s3(folder: Path, address: str = "127.0.0.1") -> Iterator[str]:
    """An S3 server whose buckets are the folders of a folder; its address. Keys: `S3_KEY`, `S3_SECRET`."""
    port = free_port()
    command = [
        program("rclone"), "serve", "s3", str(folder), "--addr", f"{address}:{port}", "--config", os.devnull,
        "--auth-key", f"{S3_KEY},{S3_SECRET}", "--dir-cache-time", "1ms",
    ]  # fmt: skip
    with running(*command, port=port, address=address):
        yield f"http://{address}:{port}"


@contextmanager
def redis(address: str = "127.0.0.1") -> Iterator[str]:
    """A Redis server that keeps nothing; its address."""
    port = free_port()
    command = [
        program("redis-server"), "--port", str(port), "--bind", address, "--save", "", "--protected-mode", "no"
    ]  # fmt: skip
    with running(*command, port=port, address=address):
        yield f"redis://{address}:{port}/0"


@dataclass
class Postgres:
    """A PostgreSQL server of the test's own; `stop` and `start` as often as it likes."""

    folder: Path
    port: int
    address: str = "127.0.0.1"

    def sql(self, statement: str) -> None:
        """One statement, as the superuser."""
        import psycopg

        with psycopg.connect(
            host=self.address, port=self.port, user="lims", password=POSTGRES_PASSWORD, dbname="postgres",
            autocommit=True,
        ) as con:  # fmt: skip
            con.execute(statement)  # type: ignore[call-overload]

    @property
    def url(self) -> str:
        return self.at(self.port)

    def at(self, port: int) -> str:
        """Its address behind a proxy."""
        return f"postgresql://lims:{POSTGRES_PASSWORD}@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def _run(self, name: str, *words: str) -> None:
        # The server refuses to run as root.
        whom = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        subprocess.run(
            [postgres_program(name), *words], check=True, cwd=self.folder, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, **whom,  # type: ignore[call-overload]
        )  # fmt: skip


def postgres_program(name: str) -> str:
    """Path of one of PostgreSQL's programs, which Debian keeps off the path; the test skips without it."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    return str(newest[-1]) if newest else program(name)


@contextmanager
def postgres(address: str = "127.0.0.1") -> Iterator[Postgres]:
    """A PostgreSQL server with an empty database, gone with the block. It answers the networks of its address."""
    postgres_program("initdb")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    with TemporaryDirectory(prefix="cellfleet-postgres-") as held:
        made = Postgres(Path(held), free_port(), address)
        (made.folder / "password").write_text(POSTGRES_PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(made.folder, "postgres", "postgres")
            shutil.chown(made.folder / "password", "postgres", "postgres")
        made._run(
            "initdb", "-D", str(made.folder / "data"), "-U", "lims", "-A", "scram-sha-256", "-N",
            "--pwfile", str(made.folder / "password"), "-E", "UTF8", "--locale", "C",
        )  # fmt: skip
        with (made.folder / "data" / "postgresql.conf").open("a") as conf:
            conf.write(
                f"port = {made.port}\nlisten_addresses = '{address}'\nunix_socket_directories = ''\n"
                "fsync = off\ntimezone = 'Europe/Berlin'\n"
            )
        with (made.folder / "data" / "pg_hba.conf").open("a") as hba:
            hba.write("host all all samenet scram-sha-256\n")
        made.start()
        try:
            yield made
        finally:
            with suppress(subprocess.CalledProcessError):
                made.stop()


@dataclass
class MariaDb:
    """A MariaDB server of the test's own, with a database and an account `lims`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.at(self.port)

    def at(self, port: int) -> str:
        """Its address behind a proxy."""
        return f"mysql://lims:lims-secret@127.0.0.1:{port}/lims"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            [program("mariadbd"), "--no-defaults", "--skip-name-resolve",
             f"--datadir={self.folder / 'data'}", f"--port={self.port}",
             f"--socket={self.folder / 'socket'}", "--bind-address=127.0.0.1",
             f"--init-file={self.folder / 'init.sql'}",
             "--innodb-flush-log-at-trx-commit=0", f"--pid-file={self.folder / 'pid'}", *_as_mysql()],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self.port, self.process)

    def stop(self) -> None:
        """End it without a word to anybody."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=20)


def _as_mysql() -> list[str]:
    """The server refuses to run as root without being told for whom."""
    return ["--user=root"] if os.geteuid() == 0 else []


@contextmanager
def mariadb() -> Iterator[MariaDb]:
    """A MariaDB server with an empty database, gone with the block."""
    install = program("mariadb-install-db")
    program("mariadbd")
    with TemporaryDirectory(prefix="cellfleet-mariadb-") as held:
        made = MariaDb(Path(held), free_port())
        (made.folder / "init.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS lims;\n"
            "CREATE OR REPLACE USER lims@'127.0.0.1' IDENTIFIED BY 'lims-secret';\n"
            "GRANT ALL ON lims.* TO lims@'127.0.0.1';\n"
        )
        subprocess.run(
            [install, "--no-defaults", f"--datadir={made.folder / 'data'}", "--auth-root-authentication-method=normal",
             "--skip-test-db", *_as_mysql()],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        made.start()
        try:
            yield made
        finally:
            made.stop()
