"""Serving: both pages answer, Ctrl-C ends both and leaves their ports, a taken port is one sentence before any work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from live_servers import free_port

from tests.conftest import cellfleet


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return bool(page.status == 200)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def test_both_are_served_until_ctrl_c_ends_them(fleet_home: Path) -> None:
    ports = free_port(), free_port()
    names = ("CELLFLEET_DAGSTER_PORT", "CELLFLEET_DASHBOARDS_PORT")
    environment = (
        os.environ | dict(zip(names, map(str, ports), strict=True)) | {"CELLFLEET_HOME": str(fleet_home)}
    )
    command = [str(Path(sys.executable).parent / "cellfleet"), "serve"]
    serving = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, cwd=fleet_home.parent
    )
    try:
        until = time.monotonic() + 240
        while time.monotonic() < until and serving.poll() is None and not all(map(answers, ports)):
            time.sleep(0.5)
        assert all(map(answers, ports))
        serving.send_signal(signal.SIGINT)
        said, _ = serving.communicate(timeout=60)
    finally:
        serving.kill()
    assert serving.returncode == 0
    assert said.rstrip().endswith("Both have ended.")
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_a_taken_port_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        ports = {"CELLFLEET_DAGSTER_PORT": str(free_port()), "CELLFLEET_DASHBOARDS_PORT": str(port)}
        for words in (["serve"], ["demo", "--scale", "tiny"]):
            done = cellfleet(tmp_path / "home", *words, check=False, **ports)
            assert done.returncode == 2
            assert f"Port {port} is taken" in done.stderr
            assert "CELLFLEET_DASHBOARDS_PORT" in done.stderr
            assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "sources").exists()
