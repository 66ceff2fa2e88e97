"""Times the checks of one day of sensor readings beside loading it, in one run, and prints JSON.

Run as `python benchmarks/checks.py [readings …]` (20,000,000 where left out; several sizes run one after another, each
in a process of its own). The day is one Parquet file of the demo's northgate contract: vault, mapping, split, audit by
Great Expectations, commit and accounting, as every run does. Targets: checks take at most as long as everything
else (ratio 1.0), and memory does not grow between 5 and 100 million readings.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from pipelines.harmonise.contract import load_contract
from pipelines.ingest.asset import ingest
from warehouse.settings import ROOT, Settings

READINGS = 20_000_000
TARGET_RATIO = 1.0
# Channel, lowest and highest value.
CHANNELS = (("BR01.TEMP", 36.8, 37.1), ("BR01.PH", 7.1, 7.2), ("BR01.GLC", 4.7, 7.7), ("BR01.DO", 51.0, 58.0))


def write_day(folder: Path, readings: int) -> None:
    """One day of as many batches as it takes to reach the number, four channels, a reading a second each."""
    folder.mkdir(parents=True)
    per_batch = 86_400 * len(CHANNELS)
    tags = ", ".join(f"('{tag}', {low}, {high})" for tag, low, high in CHANNELS)
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"""
            COPY (
              SELECT printf('NG-B-%05d', b.range) AS batch, c.tag, TIMESTAMPTZ '2025-11-07' + to_seconds(s.range) AS ts,
                     round(c.low + (c.high - c.low) * (hash(b.range, c.tag, s.range) % 1000) / 1000, 3) AS value,
                     192::INTEGER AS quality
              FROM range({-(-readings // per_batch)}) AS b, (VALUES {tags}) AS c(tag, low, high), range(86400) AS s
              LIMIT {readings}
            ) TO '{folder / "2025-11-07.parquet"}' (FORMAT parquet)""")


def measure(readings: int) -> dict[str, float]:
    """Seconds of the whole run and of its checks, their ratio, and peak memory."""
    contract = load_contract(ROOT / "pipelines" / "defs" / "sites" / "northgate" / "defs.yaml")
    with tempfile.TemporaryDirectory() as folder:
        chosen = Settings(home=folder, sources=f"{folder}/sources")
        system = contract.systems[contract.feeds["sensor"].system]
        write_day(chosen.sources_path / str(getattr(system, "path", "")) / "2025", readings)
        # What a process does once is no part of a day: the library's import, and the first suite.
        from pipelines.validation.suites import suite_of

        suite_of("reading")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        outcome = ingest(contract, "sensor", chosen, "benchmark", progress=lambda _: None)
        whole = time.perf_counter() - started
    checks = sum(a.seconds for a in outcome.audits)
    return {
        "readings": readings,
        "promoted": outcome.accounting["promoted"],
        "seconds": round(whole, 2),
        "seconds_checks": round(checks, 2),
        "ratio_checks_to_loading": round(checks / (whole - checks), 3),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "peak_mib_before": round(before / 1024),
    }


def main() -> None:
    """Measure the sizes asked for, and fail where checks take longer than loading."""
    sizes = [int(word.replace("_", "").replace(",", "")) for word in sys.argv[1:]] or [READINGS]
    if len(sizes) == 1:
        told = measure(sizes[0])
        print(json.dumps(told))
        sys.exit(0 if told["ratio_checks_to_loading"] <= TARGET_RATIO else 1)
    codes = [subprocess.run([sys.executable, __file__, str(n)], check=False).returncode for n in sizes]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
