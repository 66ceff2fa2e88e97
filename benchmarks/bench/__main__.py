"""`python -m benchmarks.bench [--quick] [--only PART …] [--most READINGS]`: measure, write the results and the page.

Each part's figures are written as soon as they are there, in place of that part's older ones, so that an ended run
loses nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain

from benchmarks.bench import drop, increment, ingest, page, publishing, questions, verdict
from benchmarks.bench.figures import Figure
from benchmarks.bench.page import RESULTS

MILLION = 10**6


def readings(most: int, *millions: float) -> list[int]:
    """Sizes in readings, without those beyond `most`."""
    return [size for size in (int(m * MILLION) for m in millions) if size <= most]


# By part, given how many readings are measured at most.
FULL: dict[str, Callable[[int], Iterator[Figure]]] = {
    "ingest": lambda most: chain(
        ingest.figures(readings(most, 1, 3, 10, 100), runs=3), ingest.largest(readings(most, 1000))
    ),
    "increment": lambda _: chain(
        increment.figures([(10, 20), (100, 20), (1000, 20)], readings=2_000),
        publishing.figures([11, 43, 163]),
    ),
    "drop": lambda _: drop.figures(["tiny", "demo", "large"]),
    "question": lambda most: questions.figures(readings(most, 10, 30, 100, 1000)),
    "verdict": lambda _: verdict.figures([1_000, 3_000, 10_000]),
}
QUICK: dict[str, Callable[[int], Iterator[Figure]]] = {
    "ingest": lambda most: ingest.figures(readings(most, 0.5, 1, 2), runs=1),
    "increment": lambda _: chain(
        increment.figures([(10, 4), (40, 4), (120, 4)], readings=2_000), publishing.figures([3, 4, 6])
    ),
    "drop": lambda _: drop.figures(["tiny"]),
    "question": lambda most: questions.figures(readings(most, 3, 4, 6)),
    "verdict": lambda _: verdict.figures([1_000, 3_000, 10_000]),
}


def main() -> None:
    """Measure what was asked for; exit 1 where a goal was missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="small sizes, once: under five minutes")
    parser.add_argument("--only", action="append", choices=list(FULL), help="only this part, again for more")
    parser.add_argument("--most", type=int, default=1000 * MILLION, help="no more readings than this")
    asked = parser.parse_args()
    started, missed = time.perf_counter(), 0
    for name, measured in (QUICK if asked.quick else FULL).items():
        if asked.only and name not in asked.only:
            continue
        rows, begun = [], time.perf_counter()
        for told in measured(asked.most):
            rows.append(told.row())
            missed += told.met is False
            verdict_word = {None: "", True: "met", False: "MISSED"}[told.met]
            ratio = "" if told.ratio is None else f"{told.ratio:g} × {told.against}"
            print(
                f"{told.name} | {told.size} | {told.value:g} {told.unit} | {ratio} | {verdict_word}",
                flush=True,
            )
        kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else []
        rows = [row for row in kept if not row["name"].startswith(name)] + rows
        order = list(FULL)
        rows.sort(key=lambda row: next(n for n, part in enumerate(order) if row["name"].startswith(part)))
        page.write(rows, quick=asked.quick)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"Took {time.perf_counter() - started:.0f} s; {missed} goals missed; written to {RESULTS}.")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
