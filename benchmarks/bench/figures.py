"""What a measurement says: a row of `benchmarks/results/latest.json` and of `docs/benchmarks.md`."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure. `goal`: what the ratio, or without one the value, may not exceed; None where there is no goal."""

    name: str
    size: str
    value: float
    unit: str
    ratio: float | None = None
    against: str | None = None
    goal: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return (self.value if self.ratio is None else self.ratio) <= self.goal

    def row(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self) | {"met": self.met}


def figure(
    name: str,
    size: str,
    value: float,
    unit: str,
    *,
    of: float | None = None,
    against: str | None = None,
    goal: float | None = None,
) -> Figure:
    """A figure with its ratio to `of`, both rounded to three digits."""
    ratio = None if of is None else _rounded(value / of)
    return Figure(name, size, _rounded(value), unit, ratio, against, goal)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def count(n: int) -> str:
    """A number of readings as people say it."""
    for size, unit in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if n >= size:
            return f"{n / size:g} {unit}"
    return str(n)


def apart(module: str, *words: str) -> Any:
    """What a process of its own prints as its last line, as JSON: memory and imports are then of this measurement."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words], capture_output=True, text=True, check=False, env=os.environ
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def peak_mib() -> float:
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
