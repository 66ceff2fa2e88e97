"""A tiny fleet, written once for all tests of the simulator that only read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.simulator import simulate


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = tmp_path_factory.mktemp("fleet")
    simulate(sources, "tiny", 1)
    return sources


@pytest.fixture(scope="session")
def truth(fleet: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((fleet / "truth.json").read_text(encoding="utf-8"))
    return read
