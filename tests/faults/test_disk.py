"""Disks that are full, read-only or gone: a plain message, nothing lost, and running again is all it takes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed

pytestmark = pytest.mark.faults
Mount = Callable[..., None]
# Where within the night the room ends: at once, in the middle of the feeds, in publication.
ROOM = {"in a feed": 600_000}
if os.environ.get("CELLFLEET_FAULTS") == "all":
    ROOM |= {"at once": 40_000, "early": 200_000, "late": 1_500_000, "in publication": 3_500_000}


def _mounted(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")


@contextmanager
def _disk(folder: Path, size: str) -> Iterator[None]:
    _mounted("-t", "tmpfs", "-o", f"size={size}", "cellfleet-test", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk() -> Iterator[Mount]:
    """Mounts a disk of a size on a folder, taken away with the test."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    with ExitStack() as held:
        yield lambda folder, size: held.enter_context(_disk(folder, size))


@pytest.mark.parametrize("room", ROOM.values(), ids=list(ROOM))
def test_a_full_disk(disk: Mount, undisturbed: Undisturbed, tmp_path: Path, room: int) -> None:
    made = undisturbed.place(tmp_path / "fleet")
    home = made.settings.home_path
    home.mkdir()
    disk(home, "64m")
    filler = home / "filler"
    with filler.open("wb") as file:
        file.write(b"\0" * (64 * (1 << 20) - room))
    said = made.whole()
    assert "full" in said, said
    assert "run again" in said
    assert made.published() is None
    filler.unlink()
    undisturbed.is_made_by(made)


def test_a_read_only_disk(disk: Mount, undisturbed: Undisturbed, tmp_path: Path) -> None:
    made = undisturbed.place(tmp_path / "fleet")
    home = made.settings.home_path
    home.mkdir()
    disk(home, "64m")
    assert made.whole() == ""
    before = made.hashes()
    made.send_another()
    _mounted("-o", "remount,ro", str(home))
    said = made.whole()
    assert "cannot be written" in said, said
    assert made.published() == undisturbed.results
    _mounted("-o", "remount,rw", str(home))
    assert made.hashes() == before
    assert made.whole() == ""
    assert made.published() == undisturbed.results + 1


def test_the_disk_of_the_lake_s_files_is_not_mounted(
    disk: Mount, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    made = undisturbed.place(tmp_path / "fleet")
    assert made.whole() == ""
    made.send_another()
    data = made.settings.home_path / "lake" / "data"
    disk(data, "64m")  # an empty folder stands where the disk was
    said = made.whole()
    assert "mount" in said, said
    assert list(data.iterdir()) == []
    assert made.published() == undisturbed.results
    subprocess.run(["umount", str(data)], check=True)
    _mounted("--bind", str(data), str(data))  # what the fixture takes away again
    assert made.whole() == ""
    assert made.published() == undisturbed.results + 1


def test_a_file_of_the_lake_is_gone(undisturbed: Undisturbed, tmp_path: Path) -> None:
    made = undisturbed.place(tmp_path / "fleet")
    assert made.whole() == ""
    made.send_another()
    gone = max(
        (made.settings.home_path / "lake" / "data" / "core").rglob("*.parquet"),
        key=lambda p: p.stat().st_size,
    )
    kept = gone.read_bytes()
    gone.unlink()
    said = made.whole()
    assert "missing" in said, said
    assert gone.name in said
    assert "restore" in said
    assert made.published() == undisturbed.results
    gone.write_bytes(kept)
    assert made.whole() == ""
    assert made.published() == undisturbed.results + 1
