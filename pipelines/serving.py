"""Serving the Dagster UI and the dashboards side by side until Ctrl-C, and ending both cleanly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.instance import dagster_home
from warehouse.access import Access
from warehouse.settings import ROOT, Settings, is_loopback

HOST = "127.0.0.1"
GRACE_SECONDS = 10


class PortTaken(RuntimeError):  # noqa: N818 - it names a state, and is shown as a sentence
    """A port is in use by another process."""


class OpenToOthers(RuntimeError):  # noqa: N818 - it names a state, and is shown as a sentence
    """The dashboards were to be served in a way that shows data to whoever reaches them."""


def require_guarded(chosen: Settings) -> None:
    """Raise OpenToOthers where others than this machine's users would reach data without a safe way to sign in."""
    if chosen.access not in ("open", "accounts"):
        raise OpenToOthers(f"CELLFLEET_ACCESS is {chosen.access!r}; it is `open` or `accounts`.")
    if chosen.access == "accounts" and not Access(chosen.access_path).accounts():
        raise OpenToOthers(
            "CELLFLEET_ACCESS is `accounts`, but there is none, so nobody could sign in. "
            "Make one with `cellfleet access grant NAME --role qa --site '*'`."
        )
    if is_loopback(chosen.dashboards_host):
        return
    if chosen.access == "open":
        raise OpenToOthers(
            f"CELLFLEET_DASHBOARDS_HOST is {chosen.dashboards_host}, but access is open, so the dashboards are served "
            "to this machine only. Set CELLFLEET_ACCESS=accounts (docs/access.md), or leave the host unset."
        )
    if not chosen.dashboards_url.startswith("https://"):
        raise OpenToOthers(
            f"CELLFLEET_DASHBOARDS_HOST is {chosen.dashboards_host}, but passwords would travel in plain text. Put a "
            "proxy with TLS in front and set CELLFLEET_DASHBOARDS_URL to its https address (docs/access.md)."
        )


def require_free(port: int, variable: str) -> None:
    """Raise PortTaken where something listens already, naming the setting that moves us."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} is taken. Stop what listens there, or set {variable} to another port."
            ) from error


def urls(chosen: Settings) -> dict[str, str]:
    """Where the two are served."""
    return {
        "Dagster UI": f"http://{HOST}:{chosen.dagster_port}",
        "Dashboards": f"http://{chosen.dashboards_host}:{chosen.dashboards_port}",
    }


def serve_until_interrupt(chosen: Settings, say: Callable[[str], None]) -> bool:
    """Start both, wait for Ctrl-C (or SIGTERM), end both; False where one ended by itself before.

    Raises OpenToOthers or PortTaken before anything starts.
    """
    require_guarded(chosen)
    require_free(int(chosen.dagster_port), "CELLFLEET_DAGSTER_PORT")
    require_free(int(chosen.dashboards_port), "CELLFLEET_DASHBOARDS_PORT")
    home = dagster_home(chosen)
    environment = os.environ | {"DAGSTER_HOME": str(home), "CELLFLEET_HOME": str(chosen.home_path)}
    here = Path(sys.executable).parent
    commands = {
        "Dagster UI": [
            str(here / "dagster"), "dev", "-m", "pipelines.definitions", "-h", HOST, "-p", chosen.dagster_port,
        ],
        "Dashboards": [
            str(here / "gunicorn"), "-w", "2", "-k", "gthread", "--threads", "4",
            # A browser asks for news every five seconds: a connection closed meanwhile would reset its next request.
            "--keep-alive", "75",
            "-b", f"{chosen.dashboards_host}:{chosen.dashboards_port}", "dashboards.wsgi:server",
        ],
    }  # fmt: skip
    logs = chosen.home_path / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    running: dict[str, subprocess.Popen[bytes]] = {}
    stop: list[int] = []
    previous = {
        s: signal.signal(s, lambda number, _: stop.append(number)) for s in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for name, command in commands.items():
            with (logs / f"{name.lower().replace(' ', '-')}.log").open("ab") as log:
                # Own session: Ctrl-C reaches this process alone, which then ends both in order.
                running[name] = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
                )
        for name, url in urls(chosen).items():
            say(f"{name}: {url}")
        say("Ctrl-C ends both.")
        while not stop:
            time.sleep(0.2)
            ended = [name for name, p in running.items() if p.poll() is not None]
            if ended:
                say(f"{', '.join(ended)} ended by itself; its log is in {logs}.")
                break
    finally:
        _end(running)
        for number, handler in previous.items():
            signal.signal(number, handler)
    say("Both have ended.")
    return bool(stop)


def _end(running: dict[str, subprocess.Popen[bytes]]) -> None:
    for process in running.values():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in running.values():
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
