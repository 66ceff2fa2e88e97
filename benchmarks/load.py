"""The dashboards under load, on this machine alone: callbacks, first paint, transfer, layout shift, memory.

    python benchmarks/load.py [--home HOME] [--readings 100000000] [--users 20] [--seconds 60] [--write PAGE]

Takes the newest snapshot of a home, makes a copy with as many readings as asked for (every reading of the snapshot
again, moved by parts of its interval), serves it by gunicorn as `cellfleet serve` does, and sends what browsers send:
every page and every callback of its controls. Bounded in users and time; nothing leaves the loopback.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.dash_bodies import Body, bodies, components, page_body
from dashboards.pages import PAGES
from warehouse.publish import newest
from warehouse.settings import settings

GOALS = {"one reader, callback p95, ms": 100, "readers, callback p95, ms": 400, "readers, errors": 0,
         "memory growth, ratio": 1.1, "first contentful paint, ms": 1000, "first transfer, MB": 2.0,
         "layout shift": 0.1}  # fmt: skip


# Before the server has compressed its files as well as it can, which it does once for an installation.
VERY_FIRST = "very first reader of an installation"


def thickened(source: Path, target: Path, readings: int) -> int:
    """A copy of a snapshot with about so many readings; returns how many."""
    shutil.copyfile(source, target)
    with duckdb.connect(str(target)) as con:
        found = con.execute("SELECT count(*) FROM core.reading").fetchone()
        assert found is not None
        times = max(1, round(readings / max(1, found[0])))
        if times > 1:
            # Copies lie between a reading and the next of its channel. Batch by batch in the order of the snapshot, so
            # that rows stay sorted and memory small.
            copies = (
                "SELECT r.* EXCLUDE (step) REPLACE (read_at + i * step AS read_at) FROM (SELECT *, "
                "coalesce(lead(read_at) OVER (PARTITION BY channel ORDER BY read_at) - read_at, "
                f"INTERVAL 10 SECOND) / {times} AS step FROM core.reading WHERE site_id = ? AND batch_id = ?) r, "
                f"range({times}) t(i) ORDER BY channel, read_at"
            )
            con.execute("CREATE TABLE core.thick AS FROM core.reading LIMIT 0")
            for key in con.execute(
                "SELECT DISTINCT site_id, batch_id FROM core.reading ORDER BY ALL"
            ).fetchall():
                con.execute(f"INSERT INTO core.thick {copies}", key)
            con.execute("DROP TABLE core.reading")
            con.execute("ALTER TABLE core.thick RENAME TO reading")
            con.execute("CHECKPOINT")
        return int(found[0] * times)


@contextmanager
def served(home: Path) -> Iterator[tuple[str, int]]:
    """The dashboards over a home, with the workers and threads of `cellfleet serve`; address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "gunicorn"), "-w", "2", "-k", "gthread", "--threads", "4",
               "--keep-alive", "75",
               "-b", f"127.0.0.1:{port}", "dashboards.wsgi:server"]  # fmt: skip
    process = subprocess.Popen(
        command, env=os.environ | {"CELLFLEET_HOME": str(home)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{address}/health", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(20)


def send(browser: httpx.Client, body: Body) -> Any:
    """One callback; raises httpx.HTTPError where it is not answered."""
    answer = browser.post("/_dash-update-component", json=body, timeout=60)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def recorded(address: str) -> list[Body]:
    """What browsers send: the callback of every page and of its controls with the values that the page shows."""
    asked: list[Body] = []
    with httpx.Client(base_url=address) as browser:
        dependencies = browser.get("/_dash-dependencies").json()
        for path in (p.path for p in PAGES if "<" not in p.path):
            shown = page_body(path)
            asked += [shown, *bodies(dependencies, dict(components(send(browser, shown))))]
        for body in asked * 2:
            send(browser, body)
    return asked


def memory(pid: int) -> int:
    """Resident bytes of a process and its children."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            told = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        if str(pid) in (told["Pid"].strip(), told["PPid"].strip()):
            total += int(told.get("VmRSS", "0 kB").split()[0]) * 1024
    return total


def rounds(address: str, asked: list[Body], users: int, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of every callback that `users` at once were answered within the time, and how many failed.

    A user sends a callback, looks at the answer for a second or two, and sends the next.
    """
    times: list[float] = []
    failed = [0]
    end = time.monotonic() + seconds

    def user(seed: int) -> None:
        drawn = random.Random(seed)
        with httpx.Client(base_url=address) as browser:
            while time.monotonic() < end:
                started = time.perf_counter()
                try:
                    send(browser, drawn.choice(asked))
                except httpx.HTTPError as error:
                    failed[0] += 1
                    print(f"not answered: {type(error).__name__} {error}", file=sys.stderr, flush=True)
                times.append(1000 * (time.perf_counter() - started))
                if users > 1:
                    time.sleep(drawn.uniform(1, 2))

    threads = [threading.Thread(target=user, args=(seed,)) for seed in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, failed[0]


def first_visit(address: str) -> dict[str, float]:
    """What a browser that was never here measures on the first page. Needs Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.add_init_script(
            "window.shift = 0; new PerformanceObserver(l => l.getEntries().forEach(e => { if (!e.hadRecentInput) "
            "window.shift += e.value })).observe({type: 'layout-shift', buffered: true})"
        )
        page.goto(address)
        page.wait_for_selector("#page h1", timeout=60_000)
        page.wait_for_timeout(3000)
        told: dict[str, float] = page.evaluate(
            "() => ({'first contentful paint, ms': "
            "performance.getEntriesByName('first-contentful-paint')[0].startTime, "
            "'layout shift': window.shift, 'first transfer, MB': performance.getEntriesByType('resource').reduce("
            "(a, e) => a + e.transferSize, performance.getEntriesByType('navigation')[0].transferSize) / 1e6})"
        )
        browser.close()
    return told


def settled(folder: Path, most_s: float = 120.0) -> None:
    """Wait until the server has compressed as well as it can what the very first reader got quickly."""
    seen, end = -1, time.monotonic() + most_s
    while time.monotonic() < end and seen != (now := len(list(folder.glob("*.br")))):
        seen = now
        time.sleep(20)


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def measured(home: Path, readings: int, users: int, seconds: float) -> dict[str, float]:
    """Every figure, over a copy of the home's newest snapshot."""
    source = newest(home / "published")
    if source is None:
        raise SystemExit(f"Nothing is published in {home}: run `cellfleet demo --no-serve` first.")
    with tempfile.TemporaryDirectory() as folder:
        published = Path(folder) / "published"
        published.mkdir()
        count = thickened(source, published / source.name, readings)
        if source.name != "fleet.duckdb":
            (published / "fleet.duckdb").symlink_to(source.name)
        print(f"{count:,} readings", flush=True)
        with served(Path(folder)) as (address, pid):
            asked = recorded(address)
            told: dict[str, float] = {
                "readings": count,
                "users": users,
                "callbacks of different kinds": len(asked),
            }
            alone, _ = rounds(address, asked, 1, seconds / 3)
            told["one reader, callback p50, ms"] = statistics.median(alone)
            told["one reader, callback p95, ms"] = p95(alone)
            rounds(address, asked, users, seconds / 3)
            before = memory(pid)
            many, failed = rounds(address, asked, users, seconds)
            told["readers, callbacks"] = len(many)
            told["readers, callback p50, ms"] = statistics.median(many)
            told["readers, callback p95, ms"] = p95(many)
            told["readers, errors"] = failed
            told["memory, MB"] = memory(pid) / 1e6
            told["memory growth, ratio"] = memory(pid) / before
            told |= {
                f"{VERY_FIRST}, {name}": value for name, value in first_visit(address).items() if "MB" in name
            }
            settled(Path(folder) / "cache" / "files")
            told |= first_visit(address)
    return told


def page(told: dict[str, float]) -> str:
    lines = [
        "# The dashboards under load",
        "",
        f"Written by `python benchmarks/load.py` on {os.cpu_count()} cores; readers, server and browser share them.",
        "",
        "| figure | measured | goal | met |",
        "|---|---:|---:|---|",
    ]
    for name, value in told.items():
        goal = GOALS.get(name)
        met = "" if goal is None else "yes" if value <= goal else "no"
        shown = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}"
        lines.append(f"| {name} | {shown} | {'' if goal is None else f'≤ {goal:g}'} | {met} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=settings().home_path)
    parser.add_argument("--readings", type=int, default=100_000_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    told = measured(given.home, given.readings, given.users, given.seconds)
    text = page(told)
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
