"""How much of a fault is found by its size, from sizes that nobody could see to such that nobody could miss.

    python benchmarks/magnitudes.py [--seed 1] [--page docs/validation/magnitudes.md]

Faults of sensors and shifts of results are written into a lake of their own, size by size, beside as many sound series,
and judged by the fleet's own findings and marts. The simulator is not used: these sizes are not those that it plants.
Belongs here: drawing, counting, the page. Does not belong here: how a fault is found.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipelines.validation.findings import find  # noqa: E402
from warehouse import lake  # noqa: E402
from warehouse.dictionary import dictionary  # noqa: E402
from warehouse.dictionary.render import polars_schema  # noqa: E402
from warehouse.marts.build import build  # noqa: E402
from warehouse.plan import load_plan  # noqa: E402
from warehouse.settings import Settings  # noqa: E402

START = datetime(2026, 2, 1, tzinfo=UTC).replace(tzinfo=None)
STEP_MIN, DAYS = 10, 6
# One series in eight is spoilt: what is usual is learnt from the others.
SERIES, EVERY = 160, 8
SPOILT = SERIES // EVERY
PER_HOUR = 60 // STEP_MIN
NOISE = 0.05
LOTS, SITES, BLOCK = 40, 50, 8
SHIFTS = (0, 0.5, 1, 1.5, 2, 3, 4)
Values = npt.NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Fault:
    """A kind of fault: what its size is, the sizes, how it spoils a series, and the table and word that tell it."""

    name: str
    size: str
    sizes: tuple[float, ...]
    spoil: Callable[[Values, float, Rng], Values]
    told: str


def flat(values: Values, hours: float, rng: Rng) -> Values:
    """It stands still for so many hours."""
    first = int(rng.integers(24 * PER_HOUR, 96 * PER_HOUR))
    values[first : first + round(hours * PER_HOUR)] = values[first]
    return values


def drift(values: Values, deviations: float, rng: Rng) -> Values:
    """It leaves its level by so many deviations of its noise, evenly from a day on."""
    begin = int(rng.integers(0, values.size // 2))
    ramp = np.clip((np.arange(values.size) - begin) / (values.size - begin), 0, None)
    moved: Values = values + rng.choice([-1.0, 1.0]) * deviations * NOISE * ramp
    return moved


def spike(values: Values, times: float, rng: Rng) -> Values:
    """One reading is off by so many times the usual change from reading to reading."""
    change = float(np.median(np.abs(np.diff(values))))
    values[int(rng.integers(50, values.size - 50))] += rng.choice([-1.0, 1.0]) * times * change
    return values


def gap(values: Values, steps: float, rng: Rng) -> Values:
    """Readings are lost, so that two lie so many steps apart."""
    first = int(rng.integers(450, values.size - 50))
    values[first : first + round(steps) - 1] = np.nan
    return values


FAULTS = (
    Fault("sensor that stands still", "hours", (2, 4, 5, 6, 7, 8, 12, 24), flat, "sensor_flat_line"),
    Fault("sensor that drifts", "deviations of its noise", (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5), drift, "sensor_drift"),
    Fault("spike", "times the usual change", (4, 8, 10, 12, 15, 20, 40), spike, "spike"),
    Fault("gap", "steps", (2, 3, 4, 6, 12), gap, "gap"),
)  # fmt: skip


def insert(con: duckdb.DuckDBPyConnection, table: str, columns: dict[str, Any], rows: int) -> None:
    """Rows of a core table, given by column; technical columns are filled in."""
    d = dictionary()
    technical: dict[str, Any] = {
        "record_id": [f"{table}-{n}" for n in range(rows)], "source_system": "trial", "source_file": table,
        "source_file_sha256": "0" * 64, "source_row": list(range(1, rows + 1)), "sent_at": START, "recorded_at": START,
        "recorded_by": "trial", "run_id": "trial",
    }  # fmt: skip
    told, schema = technical | columns, polars_schema(d, table)
    naive = {n: (pl.Datetime("us") if isinstance(t, pl.Datetime) else t) for n, t in schema.items()}
    frame = pl.DataFrame(
        {
            n: told[n] if isinstance(told.get(n), list | np.ndarray) else [told.get(n)] * rows
            for n in d.tables[table].columns
        },
        schema=naive,
    )
    con.register("trial_rows", frame)
    zoned = ", ".join(
        f'timezone(\'UTC\', "{n}") AS "{n}"' for n, t in schema.items() if isinstance(t, pl.Datetime)
    )

    def write() -> None:
        lake.insert(con, d.tables[table], f"(SELECT * REPLACE ({zoned}) FROM trial_rows)")

    lake.commit(con, write, "trial", table)
    con.unregister("trial_rows")


def sensors(con: duckdb.DuckDBPyConnection, fault: Fault, size: float, rng: Rng) -> set[str]:
    """Fill `reading` with sound series and one in EVERY spoilt; the batches of the spoilt ones."""
    n = DAYS * 24 * PER_HOUR
    batches, moments, numbers, spoilt = [], [], [], set()
    at = np.datetime64(START, "us") + np.arange(n) * np.timedelta64(STEP_MIN, "m")
    for k in range(SERIES):
        batch = f"B{k:03d}"
        values = np.round(37 + NOISE * rng.standard_normal(n), 3)
        if k % EVERY == 0:
            spoilt.add(batch)
            values = fault.spoil(values, size, rng)
        there = np.isfinite(values)
        batches += [batch] * int(there.sum())
        moments.append(at[there])
        numbers.append(np.round(values[there], 3))
    columns = {
        "site_id": "a", "batch_id": batches, "channel": "T", "quantity_name": "temperature_c",
        "read_at": np.concatenate(moments), "reading": np.concatenate(numbers), "reading_status": "good",
    }  # fmt: skip
    insert(con, "reading", columns, len(batches))
    return spoilt


def named(fault: Fault, size: float, seed: int) -> tuple[int, int]:
    """Of SPOILT spoilt series those that were named, and of the sound ones those that were."""
    rng = np.random.default_rng((seed, FAULTS.index(fault), round(100 * size)))
    with tempfile.TemporaryDirectory() as home, lake.opened(Settings(home=home)) as con:
        spoilt = sensors(con, fault, size, rng)
        con.execute(f"ATTACH '{home}/snap.duckdb' AS snap")
        find(con, "trial")
        if fault.told.startswith("sensor_"):
            sql = "SELECT split_part(subject, '|', 1) FROM lake.quality.finding WHERE reason_code = ?"
        else:
            build(con, "snap", load_plan(Settings().sites_path / "fleet.yaml"), 1)
            sql = "SELECT DISTINCT batch_id FROM snap.mart.sensor_fault WHERE fault = ?"
        told = {row[0] for row in con.execute(sql, [fault.told]).fetchall()}
    return len(told & spoilt), len(told - spoilt)


def shifted(size: float, seed: int) -> tuple[int]:
    """Of SITES sites whose newest block of lots lies so many deviations off, those whose drift was named."""
    rng = np.random.default_rng((seed, 99, round(100 * size)))
    rows: dict[str, list[Any]] = {n: [] for n in ("site_id", "batch_id", "value")}
    for s in range(SITES):
        values = rng.normal(90, 3, LOTS)
        values[-BLOCK:] += size * 3
        rows["site_id"] += [f"s{s}"] * LOTS
        rows["batch_id"] += [f"B{s}-{k}" for k in range(LOTS)]
        rows["value"] += list(values)
    n = SITES * LOTS
    order = np.tile(np.arange(LOTS), SITES)
    at = np.datetime64(START, "us") + order * np.timedelta64(1, "D")
    with tempfile.TemporaryDirectory() as home, lake.opened(Settings(home=home)) as con:
        insert(con, "batch", {"site_id": rows["site_id"], "batch_id": rows["batch_id"], "product_id": "X",
                              "batch_started_at": at}, n)  # fmt: skip
        names = [f"S-{b}" for b in rows["batch_id"]]
        insert(con, "sample", {"site_id": rows["site_id"], "sample_id": names, "batch_id": rows["batch_id"],
                               "sample_point": "release", "taken_at": at}, n)  # fmt: skip
        insert(con, "assay_result", {"site_id": rows["site_id"], "result_id": [f"R-{b}" for b in rows["batch_id"]],
                                     "sample_id": names, "batch_id": rows["batch_id"], "attribute": "cd3_pct",
                                     "method_id": "flow", "value": rows["value"], "unit_as_given": "%",
                                     "operator": "=", "replicate": 1, "result_at": at}, n)  # fmt: skip
        con.execute(f"ATTACH '{home}/snap.duckdb' AS snap")
        build(con, "snap", load_plan(Settings().sites_path / "fleet.yaml"), 1)
        row = con.execute("SELECT count(*) FILTER (drifted), count(*) FROM snap.mart.drift").fetchone()
    assert row is not None
    assert row[1] == SITES, row
    return (int(row[0]),)


class Kept:
    """Counts that were made before are not made again: a long run may be broken off and taken up."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self.there = {tuple(told[:3]): tuple(told[3:]) for told in map(json.loads, lines)}

    def __call__(self, name: str, size: float, count: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        key = (self.seed, name, size)
        if key not in self.there:
            self.there[key] = count()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([*key, *self.there[key]]) + "\n")
            print(name, size, self.there[key], flush=True)
        return self.there[key]


def page(rows: list[tuple[Fault, list[tuple[float, int, int]]]], moved: list[tuple[float, int]]) -> str:
    """The page as Markdown."""
    lines = [
        "# How much is found, by size",
        "",
        f"Rendered by `python benchmarks/magnitudes.py`. {SPOILT} spoilt series of {DAYS} days, a reading every "
        f"{STEP_MIN} minutes,",
        f"beside {SERIES - SPOILT} sound ones, for each kind and size. The simulator draws none of them, so that the",
        "sizes are nobody's plan. What the rules promise stands in [the reason codes](../reason-codes.md).",
        "",
    ]
    for fault, found in rows:
        lines += [
            f"## {fault.name}",
            "",
            f"| {fault.size} | found | of sound ones named |",
            "|---:|---:|---:|",
        ]
        lines += [f"| {size:g} | {hit / SPOILT:.2f} | {false} |" for size, hit, false in found] + [""]
    lines += [
        "## results that move for good",
        "",
        f"{SITES} sites of {LOTS} lots of one attribute; the newest block of {BLOCK} lies off. Promised is a false",
        "alarm of at most 1 % a block and site.",
        "",
        "| deviations between lots | named |",
        "|---:|---:|",
        *(f"| {size:g} | {n / SITES:.2f} |" for size, n in moved),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Draw, judge, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "magnitudes.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "validation" / "magnitudes.md")
    given = parser.parse_args()
    kept, seed = Kept(given.kept, given.seed), given.seed
    rows = []
    for fault in FAULTS:
        found = []
        for size in fault.sizes:
            hit, false = kept(fault.told, size, partial(named, fault, size, seed))
            found.append((size, hit, false))
        rows.append((fault, found))
    moved = [(size, kept("shift", size, partial(shifted, size, seed))[0]) for size in SHIFTS]
    given.page.write_text(page(rows, moved), "utf-8")


if __name__ == "__main__":
    main()
