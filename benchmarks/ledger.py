"""Speed and strength of the ledger: one JSON row for each figure.

    python benchmarks/ledger.py [--events 1000000] [--tamperings 0] [--home FOLDER]

Here belong measurements. The tampering itself is that of tests/integration/ledger/tampering.py, which the
tests run 1,000 times; `--tamperings 100000` runs it as often as that here.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from warehouse.ledger import Entry, append, audit, check_proof, new_key, prove, read_key, sign_head

START = datetime(2026, 1, 1, tzinfo=UTC)


def events(count: int) -> Iterator[Entry]:
    """Made-up custody events of an ordinary size (about 330 bytes as text), with ids in no order."""
    draw = random.Random(7)
    for number in range(count):
        yield Entry(
            f"{draw.getrandbits(64):016x}-{number}",
            "custody_event",
            {
                "order": f"O-{number // 12:07d}",
                "event": "hand-over",
                "at": "2026-01-01T08:15:00Z",
                "giver": "courier-3",
                "receiver": "apheresis-desk",
                "place": "dock 2",
                "identifiers_checked": 2,
                "temperature_c": "-150.2",
                "time_out_of_control_s": 0,
            },
        )


class Clock:
    """Wall and processor seconds since it was made: on a busy machine only the second is the ledger's own."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Both, rounded."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2)}


def say(**row: object) -> None:
    """One row, with the peak memory of this process so far."""
    row["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def speed(folder: Path, count: int) -> None:
    """Append, prove and audit `count` events."""
    key_file = folder.parent / "key.pem"
    public, key = new_key(key_file), read_key(key_file)
    clock = Clock()
    made = sum(1 for _ in events(count))
    say(figure="make the events, part of append", events=made, **clock.read())
    clock = Clock()
    done = append(folder, events(count), at=START)
    took = clock.read()
    rates = {
        "per_second": round(count / took["seconds"]),
        "per_cpu_second": round(count / took["cpu_seconds"]),
    }
    say(figure="append", events=done.size, **took, **rates)

    sign_head(folder, key, START + timedelta(days=1))
    append(
        folder, [Entry("one more", "snapshot", {"sha256": "0" * 64})], at=START + timedelta(days=1, hours=1)
    )
    sign_head(folder, key, START + timedelta(days=2))
    draw = random.Random(11)
    wanted = set(draw.sample(range(count), 1000))
    ids = [entry.id for number, entry in enumerate(events(count)) if number in wanted]
    times, hashes = [], []
    for entry_id in ids:
        begin = time.perf_counter()
        proof = prove(folder, entry_id)
        times.append(time.perf_counter() - begin)
        hashes.append(len(proof["inclusion"]))
    check_proof(proof, public)
    times.sort()
    say(
        figure="proof",
        events=count,
        median_ms=round(statistics.median(times) * 1000, 3),
        p99_ms=round(times[-10] * 1000, 3),
        most_hashes=max(hashes),
    )
    clock = Clock()
    report = audit(folder, key=public)
    say(figure="audit", events=report.size, ok=report.ok, **clock.read())

    times = []
    for number in range(200):
        begin = time.perf_counter()
        append(folder, [Entry(f"single-{number}", "snapshot", {"n": number})], at=START + timedelta(days=3))
        times.append(time.perf_counter() - begin)
    say(figure="append one", events=200, median_ms=round(statistics.median(times) * 1000, 2))
    clock = Clock()
    again = append(folder, events(count))
    say(figure="append again", already=again.already, added=again.added, **clock.read())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    say(figure="size on disk", events=again.size, bytes_per_event=round(size / again.size))


def main() -> None:
    """Run what was asked for, speed in a process of its own so that its memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--tamperings", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, default=None)
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="ledger-", dir=given.home))
    try:
        if given.events:
            speed(home / "ledger", given.events)
        if given.tamperings:
            program = Path(__file__).resolve().parents[1] / "tests/integration/ledger/tampering.py"
            subprocess.run(
                [sys.executable, program, str(given.tamperings), str(given.seed), home / "tampered"],
                check=True,
            )
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
