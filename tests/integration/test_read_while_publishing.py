"""Another process reads the published snapshot while the pipeline writes the lake and publishes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import cellfleet

# Opens the snapshot anew for each look, as an analyst's `duckdb` would, until it is told to stop.
READER = """
import sys
import time
from pathlib import Path
import duckdb

path, stop = sys.argv[1], Path(sys.argv[2])
while True:
    last = stop.exists()
    with duckdb.connect(path, read_only=True) as con:
        number = con.execute("SELECT value FROM meta.snapshot WHERE fact = 'number'").fetchone()[0]
        tables = con.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ('core', 'mart')"
        ).fetchall()
        rows = sum(con.execute(f'SELECT count(*) FROM "{s}"."{t}"').fetchone()[0] for s, t in tables)
    print(number, len(tables), rows, flush=True)
    if last:
        break
    time.sleep(0.05)
"""


def test_a_reader_sees_whole_snapshots_whose_numbers_never_go_back(fleet_home: Path, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    published = fleet_home / "published" / "fleet.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(published), str(stop)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as reader:  # fmt: skip
        try:
            cellfleet(fleet_home, "simulate", "--next-day")
            cellfleet(fleet_home, "run", "--site", "rhein")
            cellfleet(fleet_home, "publish")
        finally:
            stop.touch()
        said, complaints = reader.communicate(timeout=60)
    assert reader.returncode == 0, complaints
    looks = [tuple(map(int, line.split())) for line in said.splitlines()]
    numbers = [number for number, _, _ in looks]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 2, "snapshots were published while it read"
    # A snapshot never changes: every look at one number counted the same tables and rows.
    assert len(set(looks)) == len(set(numbers))
    assert numbers[-1] == int(published.resolve().stem.removeprefix("fleet-"))
