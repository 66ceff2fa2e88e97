"""Writes a fleet to a folder, and lets it live on day by day.

Belongs here: the order of the steps, files on disk with the times at which sites wrote them, and the
state that `next_day` needs. Does not belong here: what is drawn, planted or printed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from .build import build, chain_custody
from .defects import natural_consequences, plant
from .plan import Plan
from .sites import SCALES, SITES, day_start
from .truth import truth
from .world import SiteWorld, World
from .writers import meridian, northgate, prairie, rhein
from .writers.common import Notes, OutFile

_WRITERS = {"northgate": northgate, "rhein": rhein, "prairie": prairie, "meridian": meridian}
_SENSOR_CHUNK_DAYS = 90  # bounds memory: readings of a site are held for this many days at a time
_STATE = ".state/fleet.json"
_MARK = "SYNTHETIC"  # tells any reader that no patient stands behind these files

Files = dict[str, dict[str, dict[str, int]]]


def scales() -> list[str]:
    """Names of the fleet sizes, smallest first."""
    return list(SCALES)


def simulate(
    sources: Path, scale: str = "demo", seed: int = 1, progress: Callable[[str], None] | None = None
) -> None:
    """Write all files of the four sites and `truth.json` afresh below `sources`.

    The same seed and scale give the same bytes and file times. Raises ValueError for an unknown scale, or
    where a site's folder exists that no simulation wrote.
    """
    if scale not in SCALES:
        raise ValueError(f"scale '{scale}' is unknown: choose one of {', '.join(SCALES)}")
    _clear(sources)
    world, plan = _prepare(seed, scale, SCALES[scale].days)
    _write(sources, world, plan, _State({}, [], 0), progress or (lambda _: None))


def next_day(sources: Path) -> None:
    """Let an existing fleet live one day more: new files and rows appear as its sites would write them.

    Raises ValueError where `sources` holds no simulated fleet.
    """
    path = sources / _STATE
    if not path.exists():
        raise ValueError(f"{sources} holds no simulated fleet: run `cellfleet simulate` first")
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    world, plan = _prepare(state["seed"], state["scale"], state["lived"] + 1)
    before = _State(state["files"], state["repeated_hours"], state["lived"])
    _write(sources, world, plan, before, lambda _: None)


def _clear(sources: Path) -> None:
    ours = (sources / _STATE).exists()
    for site in SITES:
        folder = sources / site
        if folder.exists() and not ours:
            raise ValueError(
                f"{folder} exists and no simulation wrote it: choose an empty folder for the sources"
            )
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(sources / ".state", ignore_errors=True)
    for name in ("truth.json", _MARK):
        (sources / name).unlink(missing_ok=True)


def _prepare(seed: int, scale: str, lived: int) -> tuple[World, Plan]:
    world = build(seed, scale, lived)
    plan = plant(world)
    for site in world.sites.values():
        chain_custody(site)
    return world, plan


@dataclass
class _State:
    """What earlier days left: records per file, sensor readings in repeated hours, days written."""

    files: Files
    repeated_hours: list[dict[str, str]]
    lived: int


def _write(sources: Path, world: World, plan: Plan, state: _State, progress: Callable[[str], None]) -> None:
    notes = {}
    for name, site in world.sites.items():
        progress(f"{name}: records of {len(site.cultures)} batches")
        writer, noted = _WRITERS[name], Notes()
        known = state.files.setdefault(name, {})
        _put(sources / name, writer.files(world, site, noted), site, known)
        progress(f"{name}: sensor readings")
        for first in range(state.lived, world.lived, _SENSOR_CHUNK_DAYS):
            last = min(world.lived, first + _SENSOR_CHUNK_DAYS)
            _put(sources / name, writer.sensor_files(world, site, first, last, noted), site, known)
        notes[name] = noted
    natural = natural_consequences(world, plan, notes)
    natural += [n for n in state.repeated_hours if n not in natural]
    repeated = [n for n in natural if n["class"] == "dst" and n["feed"] == "sensor"]
    kept = {"seed": world.seed, "scale": world.scale_name, "lived": world.lived, "files": state.files}
    written = {
        _MARK: "Everything here was drawn by a simulator. No real patient, no real batch.",
        "truth.json": _json(
            truth(world, _received(state.files), plan.entries(notes), natural, plan.excursions)
        ),
        _STATE: _json({**kept, "repeated_hours": repeated}),
    }
    moment = day_start(world.lived).timestamp()
    for name, content in written.items():
        path = sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="utf-8")
        os.utime(path, (moment, moment))


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False)


def _put(folder: Path, made: Iterable[OutFile], site: SiteWorld, known: dict[str, dict[str, int]]) -> None:
    for file in made:
        path = folder / file.path
        known[file.path] = file.counts
        if path.exists() and path.stat().st_size == len(file.data) and path.read_bytes() == file.data:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.part")
        partial.write_bytes(file.data)
        moment = (file.mtime + timedelta(days=site.late.get(path.name, 0.0))).timestamp()
        os.utime(partial, (moment, moment))
        partial.replace(path)


def _received(files: Files) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for site, counts in files.items():
        feeds = total.setdefault(site, {})
        for per_file in counts.values():
            for feed, n in per_file.items():
                feeds[feed] = feeds.get(feed, 0) + n
    return total
