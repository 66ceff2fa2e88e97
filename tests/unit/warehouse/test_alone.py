"""One process at a time: others wait, and a holder that is killed holds nothing off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.integration.live_servers import POSTGRES_PASSWORD, Postgres
from warehouse.alone import alone
from warehouse.settings import ROOT, Settings

HOLD = """
import sys, time
from warehouse.alone import alone
from warehouse.settings import Settings
with alone(Settings(home=sys.argv[1], catalog=sys.argv[2]), "a feed"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["one machine", "many machines"])
def chosen(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    if request.param == "one machine":
        return Settings(home=str(tmp_path))
    catalog: Postgres = request.getfixturevalue("servers")[0]
    monkeypatch.setenv("PGPASSWORD", POSTGRES_PASSWORD)
    address = f"postgres:host={catalog.address} port={catalog.port} user=lims dbname=postgres"
    return Settings(home=str(tmp_path), catalog=address)


def test_another_waits_until_the_holder_s_process_ends_however_it_ends(chosen: Settings) -> None:
    command = [sys.executable, "-c", HOLD, chosen.home, chosen.catalog]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    entered: list[float] = []

    def enter() -> None:
        with alone(chosen, "a feed"):
            entered.append(time.monotonic())

    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with alone(chosen, "another feed"):
            pass  # what is locked is one thing, not the lake
        waiting = threading.Thread(target=enter)
        waiting.start()
        waiting.join(1.0)
        assert entered == []
        holder.send_signal(signal.SIGKILL)
    waiting.join(30)
    assert len(entered) == 1
