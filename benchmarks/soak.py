"""A network that lives for an hour: arrivals at 20 sites a hundred times as fast, under 20 readers of the dashboards.

    python benchmarks/soak.py [--minutes 60] [--speed 100] [--users 20] [--copies 5] [--scale tiny] [--write PAGE]

The sites are the demo's four, so many times over, each four drawn from a seed of their own. Every simulated day each
of them sends a day's files, four sites at a time; one process that never ends takes them in and publishes, and at the
end of the day does the maintenance. Meanwhile readers ask the dashboards, which never end either. What must not grow
is measured after each: memory of both, files, what the readers wait. Bounded; nothing leaves the loopback.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.load import memory, p95, recorded, rounds, served  # noqa: E402 - the root must be known first
from pipelines.publication import SYNTHETIC  # noqa: E402
from pipelines.simulator import next_day, simulate  # noqa: E402
from warehouse import lake, lake_files  # noqa: E402
from warehouse.settings import settings  # noqa: E402

SITES = ("northgate", "rhein", "prairie", "meridian")
DAY_S = 86_400
# Of what is held against what: the first third warms up, the last is held against the second.
GROWTH = {"memory of the dashboards": 1.1, "memory of the worker": 1.1, "files": 1.1, "waiting": 1.25}


@dataclass(frozen=True)
class Turn:
    """Four sites' day: what it took, what was there afterwards, how long readers waited meanwhile."""

    day: int
    seconds: float
    worker_mb: float
    dashboards_mb: float
    files_named: int
    files_there: int
    home_mb: float
    waits_ms: list[float]
    failed: int
    problem: str


def names(copy: int) -> tuple[str, ...]:
    """Sites of one copy; the first are the demo's own, which the plan compares."""
    return tuple(f"{site}{copy + 1}" if copy else site for site in SITES)


def prepare(folder: Path, copies: int, scale: str) -> None:
    """Contracts and sources of the whole network."""
    demo = ROOT / "pipelines" / "defs" / "sites"
    (folder / "sites").mkdir(parents=True)
    (folder / "sites" / "fleet.yaml").write_text((demo / "fleet.yaml").read_text("utf-8"), "utf-8")
    for copy in range(copies):
        sources = folder / "sources" / str(copy)
        sources.mkdir(parents=True)
        simulate(sources, scale=scale, seed=copy + 1, progress=lambda _: None)
        for site, name in zip(SITES, names(copy), strict=True):
            told = (demo / site / "defs.yaml").read_text("utf-8")
            told = told.replace(f"{site}/", f"{copy}/{site}/").replace(
                f"site_id: {site}\n", f"site_id: {name}\n"
            )
            (folder / "sites" / name).mkdir()
            (folder / "sites" / name / "defs.yaml").write_text(told, "utf-8")
    (folder / "sources" / SYNTHETIC).touch()


def work() -> None:
    """The process that takes in: a line names the copy to live a day, or `maintenance`; each is answered by one."""
    import dagster as dg

    from pipelines.maintenance import maintain
    from pipelines.runner import locked, run

    chosen = settings()
    for line in sys.stdin:
        asked, began = json.loads(line), time.perf_counter()
        problem = ""
        if asked["do"] == "maintenance":
            # Nobody else writes meanwhile, so what is younger than a day is no file under way.
            with dg.DagsterInstance.get() as instance:
                maintain(chosen, instance, apply=True, grace=timedelta(0))
        else:
            if asked["do"] == "day":
                next_day(chosen.sources_path / str(asked["copy"]))
            sites = list(names(asked["copy"])) if asked["do"] == "day" else None
            with locked(chosen, "soak"):
                ran = run(chosen, sites, lambda _: None)
            problem = "; ".join(f"{r.job}: {r.problem}" for r in ran if not r.success)
        print(json.dumps({"seconds": time.perf_counter() - began, "problem": problem}), flush=True)


@contextmanager
def worker(log: IO[bytes]) -> Iterator[tuple[Callable[..., dict[str, Any]], int]]:
    """A function that has the worker do something and gives its answer, and the worker's process."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--work"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    said, told = process.stdin, process.stdout

    def do(**asked: Any) -> dict[str, Any]:
        said.write(json.dumps(asked) + "\n")
        said.flush()
        answer: dict[str, Any] = json.loads(
            told.readline() or '{"seconds": 0, "problem": "the worker ended"}'
        )
        return answer

    try:
        yield do, process.pid
    finally:
        said.close()
        process.wait(60)


def readers(address: str, users: int, ended: threading.Event) -> queue.Queue[tuple[list[float], int]]:
    """Users who ask until `ended`; what they waited comes in pieces of some seconds."""
    pieces: queue.Queue[tuple[list[float], int]] = queue.Queue()
    asked = recorded(address)

    def ask() -> None:
        while not ended.is_set():
            pieces.put(rounds(address, asked, users, 10))

    threading.Thread(target=ask, daemon=True).start()
    return pieces


def waited(pieces: queue.Queue[tuple[list[float], int]]) -> tuple[list[float], int]:
    """Everything that readers waited since this was asked last."""
    waits: list[float] = []
    failed = 0
    while not pieces.empty():
        more, errors = pieces.get()
        waits += more
        failed += errors
    return waits, failed


def files() -> tuple[int, int, float]:
    """Files that the lake names, files of its data that are there, megabytes of the home."""
    chosen = settings()
    with closing(lake.attach(chosen, read_only=True)) as con:
        named = len(lake_files.named(con))
    there = len(list(Path(lake_files.data_path(chosen)).rglob("*.parquet")))
    # What is removed meanwhile is no part of it.
    sizes = 0
    for path in chosen.home_path.rglob("*"):
        try:
            sizes += path.stat().st_size
        except OSError:
            continue
    return named, there, sizes / 1e6


def soak(folder: Path, minutes: float, speed: float, users: int, copies: int, scale: str) -> list[Turn]:
    """Live so long; returns what was seen at every turn."""
    print(f"{4 * copies} sites are drawn and brought in …", flush=True)
    prepare(folder, copies, scale)
    turns: list[Turn] = []
    # What a month's maintenance removes is removed at the end of every day here.
    os.environ |= {
        "CELLFLEET_HOME": str(folder / "home"), "CELLFLEET_SITES": str(folder / "sites"),
        "CELLFLEET_SOURCES": str(folder / "sources"), "CELLFLEET_LAKE_SNAPSHOTS_DAYS": "0",
        "CELLFLEET_SNAPSHOTS_KEPT": "3", "CELLFLEET_REAL_FILES": "",
    }  # fmt: skip
    with (folder / "worker.log").open("wb") as log, worker(log) as (do, worker_pid):
        first = do(do="all")
        if first["problem"]:
            raise SystemExit(f"The network did not come in: {first['problem']}")
        do(do="maintenance")
        print(f"brought in after {first['seconds']:.0f} s", flush=True)
        with served(folder / "home") as (address, server_pid):
            ended = threading.Event()
            pieces = readers(address, users, ended)
            began, pace = time.monotonic(), DAY_S / speed / copies
            while time.monotonic() - began < 60 * minutes:
                due = began + pace * len(turns)
                time.sleep(max(0.0, due - time.monotonic()))
                day, copy = divmod(len(turns), copies)
                told = do(do="day", copy=copy)
                tidied = do(do="maintenance") if copy == copies - 1 else {"problem": ""}
                # Until the next is due readers are alone.
                time.sleep(max(0.0, due + pace - time.monotonic()))
                waits, failed = waited(pieces)
                turns.append(
                    Turn(
                        day + 1, told["seconds"], memory(worker_pid) / 1e6, memory(server_pid) / 1e6, *files(),
                        waits, failed, told["problem"] or tidied["problem"],
                    )
                )  # fmt: skip
                print(_line(turns[-1]), flush=True)
            ended.set()
    return turns


def _line(turn: Turn) -> str:
    return (
        f"day {turn.day}: {turn.seconds:.0f} s, worker {turn.worker_mb:.0f} MB, dashboards "
        f"{turn.dashboards_mb:.0f} MB, files {turn.files_named} of {turn.files_there}, home {turn.home_mb:.0f} MB, "
        f"{len(turn.waits_ms)} answers, p95 {p95(turn.waits_ms):.0f} ms, failed {turn.failed} {turn.problem}"
    )


def grown(turns: list[Turn]) -> dict[str, float]:
    """The last third over the second, of what must not grow."""
    third = len(turns) // 3
    middle, last = turns[third : len(turns) - third], turns[len(turns) - third :]

    def ratio(of: Callable[[list[Turn]], float]) -> float:
        return of(last) / of(middle)

    # Of a whole day's turns only the last has been maintained; the first day settles, where there are more than two.
    whole = max(sum(t.day == day for t in turns) for day in {t.day for t in turns})
    tidy = turns[whole - 1 :: whole]
    return {
        "memory of the dashboards": ratio(lambda part: max(t.dashboards_mb for t in part)),
        "memory of the worker": ratio(lambda part: max(t.worker_mb for t in part)),
        "files": tidy[-1].files_there / tidy[1 if len(tidy) > 2 else 0].files_there,
        "waiting": ratio(lambda part: p95([w for t in part for w in t.waits_ms])),
    }


def page(turns: list[Turn], users: int, speed: float, sites: int) -> str:
    """The report."""
    days: dict[int, list[Turn]] = {}
    for turn in turns:
        days.setdefault(turn.day, []).append(turn)
    minutes = sum(len(d) for d in days.values()) * DAY_S / speed / (sites / 4) / 60
    lines = [
        "# A network that lives for a while",
        "",
        f"Written by `python benchmarks/soak.py` on {os.cpu_count()} cores: {sites} sites, {minutes:.0f} minutes at "
        f"{speed:g} × real time, {users} readers, each with a second or two between an answer and the next question.",
        "One process takes in and publishes all the while, one server answers; readers, server and worker share the "
        "cores.",
        "",
        "| simulated day | arrivals of four sites, to published, s | answers | failed | p50, ms | p95, ms | "
        "dashboards, MB | worker, MB | lake files | home, MB |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for day, of_day in days.items():
        waits = [w for t in of_day for w in t.waits_ms]
        took = statistics.median(t.seconds for t in of_day)
        lines.append(
            f"| {day} | {took:.0f} | {len(waits):,} | {sum(t.failed for t in of_day)} | "
            f"{statistics.median(waits):.0f} | {p95(waits):.0f} | {max(t.dashboards_mb for t in of_day):.0f} | "
            f"{max(t.worker_mb for t in of_day):.0f} | {of_day[-1].files_there} | {of_day[-1].home_mb:.0f} |"
        )
    lines += ["", "| the last third over the second | measured | goal | met |", "|---|---:|---:|---|"]
    for name, value in grown(turns).items():
        lines.append(
            f"| {name} | {value:.2f} | ≤ {GROWTH[name]:g} | {'yes' if value <= GROWTH[name] else 'no'} |"
        )
    lines += [
        "",
        "Files are those of the lake's data after a day's maintenance, the last day over an earlier one. A home grows "
        "with what is kept: vaults and the lake's rows for ever, Dagster's events for `CELLFLEET_HISTORY_DAYS` days.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--speed", type=float, default=100)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--scale", default="tiny")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work()
        return
    with tempfile.TemporaryDirectory(prefix="cellfleet-soak-") as held:
        turns = soak(Path(held), given.minutes, given.speed, given.users, given.copies, given.scale)
    text = page(turns, given.users, given.speed, 4 * given.copies)
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")
    failed = sum(t.failed for t in turns), [t.problem for t in turns if t.problem]
    missed = [name for name, value in grown(turns).items() if value > GROWTH[name]]
    if any(failed) or missed:
        raise SystemExit(f"answers that failed: {failed[0]}; runs that failed: {failed[1]}; grew: {missed}")


if __name__ == "__main__":
    main()
