"""SIGKILL at random, many times: run again, nothing is lost, nothing doubled, and no half-built snapshot was seen."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed

pytestmark = pytest.mark.faults
TRIALS = 500 if os.environ.get("CELLFLEET_FAULTS") == "all" else 15


@pytest.mark.parametrize("seed", range(TRIALS))
def test_killed_at_random(seed: int, undisturbed: Undisturbed, tmp_path: Path) -> None:
    made, drawn = undisturbed.place(tmp_path / "fleet"), random.Random(seed)
    # Now and then the one that comes after is killed too.
    for _ in range(drawn.choice((1, 1, 2))):
        night = made.begin()
        time.sleep(drawn.uniform(0, undisturbed.seconds))
        night.kill()
        assert made.published() in (None, undisturbed.results)
    undisturbed.is_made_by(made)
