"""Jobs that make reports in the background: asked for, waiting, under way with its step, done, failed, stopped.

Belongs here: state on disk, so that every worker process tells the same, and one thread that makes one report after
another. Does not belong here: what is made (`make.py`), who may see it (`desk.py`).

A job lies in `reports/<reader>/<id>/`: `job.json` and, when it is done, its files. Its id is a hash of what was asked
for, of whom and of which snapshot, so that asking again finds what is there. A lock on the job's file is held while it
waits or runs: a job whose lock is free and that is not done was stopped with its process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

State = Literal["waiting", "running", "done", "failed", "stopped"]
KEPT, UNDER_WAY = 20, 3
GLANCES = 25
Progress = Callable[[int, int, str], None]
Make = Callable[[Progress], Mapping[str, bytes]]


class TooMany(RuntimeError):  # noqa: N818 - it names a state, and is shown as a sentence
    """A reader has as many reports under way as one may have."""


@dataclass(frozen=True)
class Made:
    """One file of a report."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Job:
    """One report that was asked for.

    `sites` and `figures`: whose rows and verdicts it was made from; `programs`: of which programs only, None is all.
    """

    id: str
    title: str
    search: str
    snapshot: int
    sites: tuple[str, ...]
    figures: tuple[str, ...]
    asked_at: str
    programs: tuple[str, ...] | None = None
    state: State = "waiting"
    step: int = 0
    steps: int = 1
    doing: str = "waits for its turn"
    problem: str = ""
    files: tuple[Made, ...] = field(default_factory=tuple)

    @property
    def under_way(self) -> bool:
        """Whether it still waits or runs."""
        return self.state in ("waiting", "running")


def identity(asked: Mapping[str, Any]) -> str:
    """Id of a job: a hash of what was asked for."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:20]


class Jobs:
    """The reports of all readers, each reader's in a folder of his own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="report")
        self._lock = threading.Lock()

    def start(self, reader: str, job: Job, make: Make, failed: Callable[[Exception], str]) -> Job:
        """Begin a job, or find the one that was asked for before. `failed` tells of an error and gives its sentence.

        Raises TooMany. What failed or was stopped begins again.
        """
        with self._lock:
            found = self.find(reader, job.id)
            if found is not None and (found.under_way or found.state == "done"):
                return found
            under_way = [other for other in self.all(reader) if other.under_way]
            if len(under_way) >= UNDER_WAY:
                raise TooMany(f"{len(under_way)} reports are under way already. Wait for one of them to end.")
            self._forget(reader)
            place = self._place(reader, job.id)
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = _held(place)
            if held is None:  # another worker process was a moment earlier
                return self.find(reader, job.id) or job
            _write(place, job)
            self._pool.submit(self._run, place, job, make, failed, held)
            return job

    def all(self, reader: str) -> list[Job]:
        """Reports of a reader, the newest first."""
        found = [self._read(place) for place in self._home(reader).glob("*/")]
        return sorted((job for job in found if job), key=lambda job: (job.asked_at, job.id), reverse=True)

    def find(self, reader: str, job_id: str) -> Job | None:
        """One report of a reader; None where he has none of that id."""
        return self._read(self._place(reader, job_id)) if job_id.isalnum() else None

    def content(self, reader: str, job: Job, name: str) -> bytes | None:
        """Bytes of one of its files; None where it has none of that name, or where they are no longer the same."""
        made = next((f for f in job.files if f.name == name), None)
        path = self._place(reader, job.id) / (made.name if made else "")
        if made is None or not path.is_file():
            return None
        content = path.read_bytes()
        return content if hashlib.sha256(content).hexdigest() == made.sha256 else None

    def _run(self, place: Path, job: Job, make: Make, failed: Callable[[Exception], str], held: int) -> None:
        def progress(step: int, steps: int, doing: str) -> None:
            _write(place, replace(job, state="running", step=step, steps=steps, doing=doing))

        try:
            files = make(progress)
            for name, content in files.items():
                (place / name).write_bytes(content)
            made = tuple(Made(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in files.items())
            _write(place, replace(job, state="done", step=1, steps=1, doing="", files=made))
        except Exception as error:  # noqa: BLE001 - the boundary of the job; `failed` puts the whole reason into the log
            _write(place, replace(job, state="failed", doing="", problem=failed(error)))
        finally:
            os.close(held)

    def _read(self, place: Path) -> Job | None:
        job = _told(place)
        if job is None or not job.under_way or not _is_free(place):
            return job
        # Its lock is free: either it ended in this moment, or its process did.
        again = _told(place)
        return replace(again, state="stopped", doing="") if again and again.under_way else again

    def _forget(self, reader: str) -> None:
        """Remove the oldest finished reports of a reader beyond those kept; they can be made again."""
        for job in [j for j in self.all(reader) if not j.under_way][KEPT - 1 :]:
            shutil.rmtree(self._place(reader, job.id), ignore_errors=True)

    def _home(self, reader: str) -> Path:
        return self._folder / hashlib.sha256(reader.encode()).hexdigest()[:20]

    def _place(self, reader: str, job_id: str) -> Path:
        return self._home(reader) / job_id


def now() -> str:
    """The moment, as jobs tell it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(place: Path, job: Job) -> None:
    part = place / f".job.{os.getpid()}.{threading.get_ident()}"
    part.write_text(json.dumps(asdict(job)), "utf-8")
    part.replace(place / "job.json")


def _told(place: Path) -> Job | None:
    try:
        told = json.loads((place / "job.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    told["files"] = tuple(Made(**f) for f in told["files"])
    tuples = {name: tuple(told[name]) for name in ("sites", "figures", "programs") if told[name] is not None}
    return Job(**{**told, **tuples})


def _held(place: Path) -> int | None:
    """The job's lock, held until it is closed; None where somebody else holds it for longer than a glance."""
    handle = os.open(place / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(GLANCES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.02)
        else:
            return handle
    os.close(handle)
    return None


def _is_free(place: Path) -> bool:
    """Whether nobody holds the job's lock."""
    handle = os.open(place / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
