"""`benchmarks/results/latest.json`, and `docs/benchmarks.md` written from it: no figure there is typed by hand."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from warehouse.settings import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "latest.json"
PAGE = ROOT / "docs" / "benchmarks.md"
WORDS = {
    "ingest": "Files of sensor readings to core rows: kept in the vault, read, units converted, validated, "
    "de-duplicated, accounted for and committed. The floor is DuckDB reading the same bytes and writing Parquet once; "
    "dlt loads them into DuckDB with no validation. A ladder's rung is all that was done up to it; units are converted "
    "in the pass that sorts. CSV is prairie's layout (local times, °F, mg/dL), Parquet northgate's historian, OPC UA "
    "the pages that its connector writes.",
    "increment": "One new day at one site, and the night that publishes one new batch. The lake lies as compaction "
    "leaves it: readings by site and month.",
    "drop": "From a file's arrival to its batch on the Sensors page, with everything between: findings are searched, "
    "the snapshot is published. A fresh process is `cellfleet run --site`, which looks at all of the site's feeds; a "
    "warm worker runs what the site's sensor asks for. That it looks twice a minute is not in it.",
    "question": "Asked through the Sensors page's own provider; p50. What it costs to have readings in the snapshot or "
    "to leave them in the lake stands on [scale](scale.md) too.",
    "verdict": "All attributes × sites × methods of the demo's plan; one of two cores.",
}


def write(rows: list[dict[str, Any]], *, quick: bool) -> None:
    """Store the figures and render the page."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(rendered(rows, machine(), quick=quick), encoding="utf-8")


def machine() -> str:
    """Machine, versions and commit, in a sentence."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in _lines(Path("/proc/cpuinfo"))
            if line.startswith("model name")
        ),
        platform.processor() or "unknown processor",
    )
    memory = next(
        (line.split()[1] for line in _lines(Path("/proc/meminfo")) if line.startswith("MemTotal")), "0"
    )
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("duckdb", "polars", "dagster", "great-expectations", "dlt")
    )
    return (
        f"{os.cpu_count()} cores ({processor}), {int(memory) / 2**20:.0f} GiB, {platform.system()}, "
        f"load {os.getloadavg()[0]:.1f} at the end; Python {platform.python_version()}, {versions}; "
        f"commit {commit or 'unknown'}"
    )


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def rendered(rows: list[dict[str, Any]], where: str, *, quick: bool) -> str:
    """The page."""
    how = "make bench QUICK=1" if quick else "make bench"
    lines = [
        "# Benchmarks", "",
        f"Written by `benchmarks/bench/` (`{how}`, or one of its parts) from `benchmarks/results/latest.json`; parts "
        "that were not measured in the last run are of a run before it, on a machine that may have been busier.",
        "", f"Last run: {where}.", "",
        "A ratio is of two times of the same run, so that a slower machine changes it little. `goal` is what the "
        "ratio, or without one the value, may not exceed.", "",
    ]  # fmt: skip
    for part, words in WORDS.items():
        lines += [
            f"## {part.capitalize()}",
            "",
            words,
            "",
            "| figure | size | value | ratio | goal |",
            "|---|---|---|---|---|",
        ]
        for row in rows:
            if row["name"].startswith(part):
                ratio = "" if row["ratio"] is None else f"{row['ratio']:g} × {row['against']}"
                met = "" if row["met"] is None else f"{row['goal']:g}: {'met' if row['met'] else 'missed'}"
                lines.append(
                    f"| {row['name']} | {row['size']} | {row['value']:g} {row['unit']} | {ratio} | {met} |"
                )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
