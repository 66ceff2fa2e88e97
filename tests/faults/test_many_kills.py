"""SIGKILL at named points and at random: run again, nothing is lost or doubled, and no half-built snapshot was seen."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed

pytestmark = pytest.mark.faults
SEEDS, KILLS = (50, 10) if os.environ.get("CELLFLEET_FAULTS") == "all" else (5, 3)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_at_random(seed: int, undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Night after night is killed, each going on from what the one before left."""
    made, drawn = undisturbed.place(tmp_path / "fleet"), random.Random(seed)
    for _ in range(KILLS):
        night = made.begin()
        time.sleep(drawn.uniform(0, undisturbed.seconds))
        night.kill()
        assert made.published() in (None, undisturbed.results)
    undisturbed.is_made_by(made)


@pytest.mark.parametrize(
    "point", ["after_stage:2", "in_commit:2", "after_commit:1", "in_publish", "after_publish"]
)
def test_killed_at_a_named_point(point: str, undisturbed: Undisturbed, tmp_path: Path) -> None:
    made = undisturbed.place(tmp_path / "fleet", {"CELLFLEET_KILL_AT": point})
    assert made.whole() == "killed"
    assert made.published() == (undisturbed.results if point == "after_publish" else None)
    made.environment.clear()
    undisturbed.is_made_by(made)
