"""Custody tried out: planted defects of identity and custody over seeds, tampering with the ledger; writes the page.

    python benchmarks/custody.py [--seeds 20] [--tamperings 1000] [--page docs/validation/custody.md]

Here belong the runs and the page. The defects are those of benchmarks/custody_trial.py, the tampering that of
tests/integration/ledger/tampering.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests" / "integration" / "ledger")]

from custody_trial import UNSEEN, Score, trial  # noqa: E402
from tampering import Fleet, attack  # noqa: E402


def defects(seeds: int) -> Score:
    """All seeds from 1 on, at the demo's scale."""
    total = Score()
    for seed in range(1, seeds + 1):
        total.add(trial(seed))
        print(f"seed {seed}: recall {total.recall:.4f}, precision {total.precision:.4f} so far", flush=True)
    return total


def tamperings(count: int) -> tuple[Counter[str], list[str]]:
    """Random tamperings by kind, and those that were not seen or wrongly named."""
    made: Counter[str] = Counter()
    unseen: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), 7)
        for _ in range(count):
            name, fault = attack(fleet)
            made[name] += 1
            if fault is not None:
                unseen.append(fault)
    return made, unseen


def page(score: Score, seeds: int, made: Counter[str], unseen: list[str]) -> str:
    """The page as Markdown."""
    lines = [
        "# Custody tried out",
        "",
        "Rendered by `python benchmarks/custody.py`; every number is of that run.",
        "",
        "## Planted defects of identity and custody",
        "",
        f"{seeds} fleets at the demo's scale, drawn by seeds 1 to {seeds}: {score.orders:,} orders. Each kind was "
        "planted at each of",
        "the four sites, in an order of its own, and the chains' faults were compared with what was planted. Named",
        "counts each order and reason once; false is what was neither planted nor follows from it (an exchanged label",
        "also breaks both chains).",
        "",
        "| defect | planted | named |",
        "|---|---:|---:|",
        *(f"| {kind} | {n} | {score.found[kind]} |" for kind, n in score.planted.items()),
        "",
        f"Recall {score.recall:.4f}, precision {score.precision:.4f}: {score.named:,} named, {len(score.false)} false, "
        f"{len(score.missed)} missed.",
        "",
        "## What no record can show",
        "",
        "| defect | why |",
        "|---|---|",
        *(f"| {what} | {why} |" for what, why in UNSEEN.items()),
        "",
        "Such an exchange is found by testing the material (sex, HLA, STR), not by computing.",
        "",
        "## Tampering with the ledger's files",
        "",
        f"{sum(made.values()):,} random tamperings on the files themselves, each on a whole ledger with heads, "
        "cosignatures, time stamps",
        f"and erased entries; {len(unseen)} were not seen or named another first bad entry than the evidence allows.",
        "",
        "| kind | made |",
        "|---|---:|",
        *(f"| {name.replace('_', ' ')} | {n} |" for name, n in sorted(made.items())),
        "",
        "`python benchmarks/ledger.py --tamperings 100000` makes as many as one likes. See [the ledger](../ledger.md).",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, write the page; 1 where a defect was missed or a tampering not seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tamperings", type=int, default=1000)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "validation" / "custody.md")
    chosen = parser.parse_args()
    score = defects(chosen.seeds)
    made, unseen = tamperings(chosen.tamperings)
    for fault in [*unseen, *map(str, score.missed), *map(str, score.false)]:
        print(fault)
    chosen.page.parent.mkdir(parents=True, exist_ok=True)
    chosen.page.write_text(page(score, chosen.seeds, made, unseen), encoding="utf-8")
    return 1 if unseen or score.missed or score.precision < 0.99 else 0


if __name__ == "__main__":
    sys.exit(main())
