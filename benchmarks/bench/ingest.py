"""Files of readings to core rows, beside the floor (DuckDB reading the same bytes and writing Parquet once) and dlt.

Run as `python -m benchmarks.bench.ingest LAYOUT READINGS,READINGS,… ours` it measures each size once in this process
and prints JSON, with `floor` or `dlt` the same; files of at most `TURN` readings are written, measured and removed in
turn, so that a billion needs no more disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.bench.data import CONTRACT, LAYOUTS, days, write_day
from benchmarks.bench.figures import Figure, apart, count, figure, peak_mib
from pipelines.harmonise.contract import Contract, load_contract
from warehouse.settings import ROOT, Settings

GOAL_FLOOR, GOAL_DLT, GOAL_MIB = 2.5, 0.5, 1024
TURN = 20_000_000
FEW = 1_000
SITES = {"csv": "prairie", "parquet": "northgate"}
# Steps of a run in the order in which they are taken; units are converted in the pass that sorts.
LADDER = {
    "read": ("take.keep", "large._scanned", "readings._read"),
    "+ typed rejects": ("readings._understand", "readings._placed", "readings._map_thoroughly"),
    "+ units and sort": ("readings._sort",),
    "+ de-duplication": ("large._to_insert",),
    "+ checks": ("large.audit",),
    "+ commit": ("large.prepare_large", "lake_layout.write_files", "lake.commit"),
}


def contract_of(layout: str) -> Contract:
    """The demo site's contract that reads the layout, or the benchmark's own."""
    if layout == "opcua":
        return load_contract(CONTRACT)
    return load_contract(ROOT / "pipelines" / "defs" / "sites" / SITES[layout] / "defs.yaml")


def folder_of(contract: Contract, chosen: Settings) -> Path:
    """Where the site's readings arrive."""
    system: Any = contract.systems[contract.feeds["sensor"].system]
    return chosen.sources_path / system.path


@contextlib.contextmanager
def laps() -> Iterator[dict[str, float]]:
    """Seconds of each rung while the block runs, by the steps' own functions."""
    from pipelines.ingest import large, readings, take
    from warehouse import lake, lake_layout

    modules = {"take": take, "large": large, "readings": readings, "lake": lake, "lake_layout": lake_layout}
    spent = dict.fromkeys(LADDER, 0.0)
    originals: list[tuple[Any, str, Any]] = []

    def timed(rung: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return step(*args, **named)
            finally:
                spent[rung] += time.perf_counter() - began

        return run

    for rung, steps in LADDER.items():
        for step in steps:
            module, name = step.split(".")
            originals.append((modules[module], name, getattr(modules[module], name)))
            setattr(modules[module], name, timed(rung, originals[-1][2]))
    try:
        yield spent
    finally:
        for module, name, step in originals:
            setattr(module, name, step)


def floor(paths: list[Path], layout: str, scratch: Path) -> float:
    """Seconds of `COPY (FROM read_csv(…)) TO … Parquet`."""
    files = ", ".join(f"'{p}'" for p in paths)
    reader = f"read_csv([{files}])" if layout == "csv" else f"read_parquet([{files}])"
    began = time.perf_counter()
    with duckdb.connect() as con:
        con.execute(f"COPY (FROM {reader}) TO '{scratch / 'floor.parquet'}' (FORMAT parquet)")
    return time.perf_counter() - began


def dlt_run(paths: list[Path], layout: str, scratch: Path) -> float:
    """Seconds of dlt loading the same files into DuckDB, as Arrow batches and without any validation."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    import dlt
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    def reading() -> Iterator[Any]:
        for path in paths:
            if layout == "csv":
                with pyarrow.csv.open_csv(path) as batches:
                    yield from (pa.Table.from_batches([b]) for b in batches)
            else:
                for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=500_000):
                    yield pa.Table.from_batches([batch])

    pipeline = dlt.pipeline(
        "bench", destination=dlt.destinations.duckdb(str(scratch / "dlt.duckdb")), dataset_name="raw",
        pipelines_dir=str(scratch / "dlt"),
    )  # fmt: skip
    began = time.perf_counter()
    pipeline.run(reading(), table_name="reading", loader_file_format="parquet")
    return time.perf_counter() - began


def ours(layout: str, sizes: list[int]) -> list[dict[str, Any]]:
    """Of each size, smallest first, in a lake of its own: seconds of taking in, by the clock and of the processor, of
    each rung, and the most memory held so far."""
    from pipelines.validation.engine import warm
    from pipelines.validation.suites import suite_of

    contract = contract_of(layout)
    warm()
    suite_of("reading")
    # Files are written by another process: what that takes is no memory of ours.
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor(1, get_context("spawn")) as writer:
        # What a process does once is done before, as it is for the others: a few readings.
        return [
            taken_in(contract, layout, readings, Path(place) / str(n), writer)
            for n, readings in enumerate([FEW, *sorted(sizes)])
        ][1:]


def taken_in(
    contract: Contract, layout: str, readings: int, place: Path, writer: ProcessPoolExecutor
) -> dict[str, Any]:
    """What `ours` tells of one size."""
    from pipelines.ingest.asset import ingest
    from warehouse import lake

    chosen = Settings(home=f"{place}/home", sources=f"{place}/sources")
    with lake.opened(chosen):
        pass
    told = {"seconds": 0.0, "cpu": 0.0, "kept": 0}
    with laps() as spent:
        for turn in _turns(readings):
            folder = folder_of(contract, chosen)
            paths = [writer.submit(write_day, folder, layout, day, n).result() for day, n in turn]
            began, cpu = time.perf_counter(), time.process_time()
            outcome = ingest(contract, "sensor", chosen, "benchmark", progress=lambda _: None)
            told["seconds"] += time.perf_counter() - began
            told["cpu"] += time.process_time() - cpu
            # The hour that a change of clocks leaves out is set aside, as it should be.
            told["kept"] = outcome.accounting["promoted"] + outcome.accounting["quarantined"]
            for path in paths:
                path.unlink()
            shutil.rmtree(chosen.vault_path(contract.site_id))
    if told["kept"] != readings:
        raise RuntimeError(f"{told['kept']} of {readings} readings were promoted or set aside")
    return told | {"laps": spent, "peak_mib": peak_mib()}


def peers(name: str, layout: str, sizes: list[int]) -> list[dict[str, Any]]:
    """The floor or dlt at each size; what a process does once is done before, as it is for ours."""
    peer(name, layout, FEW)
    return [peer(name, layout, size) for size in sizes]


def peer(name: str, layout: str, readings: int) -> dict[str, Any]:
    """Seconds of the floor or of dlt over the same files."""
    run = {"floor": floor, "dlt": dlt_run}[name]
    seconds, cpu = 0.0, 0.0
    with tempfile.TemporaryDirectory() as place:
        for n, turn in enumerate(_turns(readings)):
            (scratch := Path(place) / str(n)).mkdir()
            paths = [write_day(scratch, layout, day, rows) for day, rows in turn]
            began = time.process_time()
            seconds += run(paths, layout, scratch)
            cpu += time.process_time() - began
            shutil.rmtree(scratch)
    return {"seconds": seconds, "cpu": cpu}


def _turns(readings: int) -> Iterator[list[tuple[Any, int]]]:
    turn: list[tuple[Any, int]] = []
    for day in days(readings):
        turn.append(day)
        if sum(n for _, n in turn) >= TURN:
            yield turn
            turn = []
    if turn:
        yield turn


def figures(sizes: list[int], runs: int) -> Iterator[Figure]:
    """Each layout at each size; the middle of so many runs, ours and the others in turn."""
    for layout in LAYOUTS:
        times: dict[str, list[list[Any]]] = {"ours": [], "floor": [], "dlt": []}
        for _ in range(runs):
            for name, measured in times.items():
                measured.append(apart("benchmarks.bench.ingest", layout, ",".join(map(str, sizes)), name))
        for n, size in enumerate(sizes):
            middle = {
                name: sorted((run[n] for run in told), key=lambda t: t["seconds"])[runs // 2]
                for name, told in times.items()
            }
            own, least, other = (middle[name]["seconds"] for name in ("ours", "floor", "dlt"))
            said = count(size)
            yield figure(f"ingest {layout}", said, own, "s", of=least, against="floor", goal=GOAL_FLOOR)
            yield figure(
                f"ingest {layout} beside dlt", said, own, "s", of=other, against="dlt", goal=GOAL_DLT
            )
            # Of the processor, which others' work on the machine stretches less.
            yield figure(
                f"ingest {layout}, processor", said, middle["ours"]["cpu"], "s", of=middle["floor"]["cpu"],
                against="floor",
            )  # fmt: skip
            peak = middle["ours"]["peak_mib"]
            yield figure(f"ingest {layout} memory", said, peak, "MiB", goal=GOAL_MIB)
            so_far = 0.0
            for rung, seconds in middle["ours"]["laps"].items():
                so_far += seconds
                yield figure(f"ingest {layout} ladder: {rung}", said, so_far, "s", of=least, against="floor")


def largest(sizes: list[int], layouts: Iterable[str] = LAYOUTS) -> Iterator[Figure]:
    """Ours alone, once: what it holds in memory, and what it takes, where the peers would take too long."""
    for size in sizes:
        for layout in layouts:
            [own] = apart("benchmarks.bench.ingest", layout, str(size), "ours")
            yield figure(f"ingest {layout}", count(size), own["seconds"], "s")
            yield figure(f"ingest {layout} memory", count(size), own["peak_mib"], "MiB", goal=GOAL_MIB)


def main() -> None:
    """One measurement of this process."""
    layout, sizes, name = sys.argv[1], [int(n) for n in sys.argv[2].split(",")], sys.argv[3]
    print(json.dumps(ours(layout, sizes) if name == "ours" else peers(name, layout, sizes)))


if __name__ == "__main__":
    main()
