"""What tests of every kind share: a small fleet that really ran, made once, and copied for those who change it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

import warehouse  # noqa: F401 - before numpy, whose threads it settles

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of the shell it was started from, but those that point at material."""
    for name in list(os.environ):
        if name.startswith("CELLFLEET_") and name not in (
            "CELLFLEET_REAL_FILES",
            "CELLFLEET_REFERENCE_CASES",
            "CELLFLEET_FAULTS",
        ):
            monkeypatch.delenv(name)


def cellfleet(
    home: Path, *words: str, check: bool = True, seconds: float = 600, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the real command in its own process against a home."""
    env = (
        {k: v for k, v in os.environ.items() if k != "CELLFLEET_REAL_FILES"}
        | {"CELLFLEET_HOME": str(home), "COLUMNS": "200"}
        | environment
    )
    command = [str(Path(sys.executable).parent / "cellfleet"), *words]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=seconds, cwd=home.parent
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(words)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def made_once(base: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Folder that all workers of a test session share, made by whoever is first; `base` is a worker's own."""
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session", autouse=True)
def _fleet_begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The fleet that many tests read is begun with the first test, so that none waits for it while others could run."""
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0" and any(
        "published_home" in getattr(item, "fixturenames", ()) for item in request.session.items
    ):
        base = tmp_path_factory.getbasetemp()
        Thread(target=made_once, args=(base, "published_home", _run_fleet), daemon=True).start()


@pytest.fixture(scope="session")
def published_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of a tiny fleet after a whole run, shared by all workers of this test session. Read it, never write it."""
    return made_once(tmp_path_factory.getbasetemp(), "published_home", _run_fleet)


def _run_fleet(home: Path) -> None:
    kept = _kept_home()
    if kept.exists():
        shutil.copytree(kept, home, symlinks=True, dirs_exist_ok=True)
    else:
        cellfleet(home, "simulate", "--scale", "tiny")
        cellfleet(home, "run")
        _keep(home, kept)


def _kept_home() -> Path:
    """Where the fleet that this very code ran is kept between test sessions: running it takes a minute or more."""
    code = hashlib.sha256()
    for folder in ("pipelines", "warehouse"):
        for path in sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".sql", ".yaml")):
            code.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    code.update((ROOT / "requirements.lock").read_bytes())
    return Path(tempfile.gettempdir()) / f"cellfleet-tests-{os.getuid()}" / code.hexdigest()[:20]


def _keep(home: Path, kept: Path) -> None:
    """Keep a finished home, and no more than a few of other code."""
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    for old in sorted(kept.parent.iterdir(), key=lambda p: p.stat().st_mtime)[:-8]:
        shutil.rmtree(old, ignore_errors=True)
    part = kept.with_name(f"{kept.name}.{os.getpid()}")
    shutil.copytree(home, part, symlinks=True)
    try:
        part.rename(kept)
    except OSError:  # another session was first
        shutil.rmtree(part)


@pytest.fixture
def fleet_home(published_home: Path, tmp_path: Path) -> Path:
    """A copy of the published home that a test may change; that a copied home works is itself promised."""
    home = tmp_path / "home"
    shutil.copytree(published_home, home, symlinks=True)
    return home
