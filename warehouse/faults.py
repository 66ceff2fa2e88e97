"""Named points at which a test may kill the process, to prove that nothing is lost or doubled there.

`CELLFLEET_KILL_AT=<point>[:<n>]` kills the process with SIGKILL when the point is reached for the n-th time. Without
the variable a point does nothing. Does not belong here: what is done about it (`tests/faults`).
"""

from __future__ import annotations

import os
import signal
from collections import Counter

from warehouse.settings import settings

POINTS = ("after_stage", "in_commit", "after_commit", "in_publish", "after_publish")
_reached: Counter[str] = Counter()


def reached(point: str) -> None:
    """Say that the process is at `point`."""
    wanted, _, count = settings().kill_at.partition(":")
    if wanted != point:
        return
    _reached[point] += 1
    if _reached[point] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
