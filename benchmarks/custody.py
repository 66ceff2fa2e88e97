"""Custody tried out: planted defects of identity and custody over seeds, tampering with the ledger; writes the page.

    python benchmarks/custody.py [--seeds 20] [--tamperings 100000] [--kept FOLDER] [--page docs/validation/custody.md]

Here belong the runs and the page. The defects are those of benchmarks/custody_trial.py and, in the sites' files, of the
simulator (benchmarks/custody_files.py); the tampering is that of tests/integration/ledger/tampering.py. Each part of a
run is one JSON row in `--kept`: what is there is not run again, so that a long run may be broken off and taken up.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests" / "integration" / "ledger")]

from custody_files import through_files  # noqa: E402
from custody_trial import UNSEEN, trial  # noqa: E402
from tampering import Fleet, attack  # noqa: E402

PART = 2500
Rows = list[dict[str, Any]]


def kept(path: Path, seeds: Iterable[int], run: Callable[[int], dict[str, Any]]) -> Rows:
    """One row for each seed, those of `path` first; each that is missing is run and written down at once."""
    wanted = list(seeds)
    there = path.read_text("utf-8").splitlines() if path.exists() else []
    rows = {row["seed"]: row for row in map(json.loads, there)}
    for seed in wanted:
        if seed not in rows:
            rows[seed] = {"seed": seed, **run(seed)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[seed]) + "\n")
            print(f"{path.stem}, seed {seed}", flush=True)
    return [rows[seed] for seed in wanted]


def tables(seed: int) -> dict[str, Any]:
    """Every kind of defect in the tables of one fleet at the demo's scale."""
    score = trial(seed)
    return {name: getattr(score, name) for name in ("planted", "found", "named", "false", "missed", "orders")}


def files(seed: int) -> dict[str, Any]:
    """The simulator's own defects in the files of one tiny fleet."""
    with tempfile.TemporaryDirectory() as folder:
        return through_files(seed, "tiny", Path(folder))


def tampered(seed: int) -> dict[str, Any]:
    """Random tamperings by kind, and those that were not seen or wrongly named."""
    made: Counter[str] = Counter()
    unseen: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), seed)
        for _ in range(PART):
            name, fault = attack(fleet)
            made[name] += 1
            if fault is not None:
                unseen.append(fault)
    return {"by_kind": dict(made), "missed": unseen}


def summed(parts: Iterable[dict[str, int]]) -> Counter[str]:
    """Counts of all parts together."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


def page(told: Rows, through: Rows, attacks: Rows) -> str:
    """The page as Markdown."""
    planted, found = summed(r["planted"] for r in told), summed(r["found"] for r in told)
    named, false = sum(r["named"] for r in told), sum(len(r["false"]) for r in told)
    classes = {
        kind: summed(r["classes"][kind] for r in through)
        for kind in (through[0]["classes"] if through else {})
    }
    made, unseen = summed(r["by_kind"] for r in attacks), sum(len(r["missed"]) for r in attacks)
    in_files, orders = summed(classes.values()), sum(r["orders"] for r in told)
    lost, precision = planted.total() - found.total(), 1 - false / named
    lines = [
        "# Custody tried out",
        "",
        "Rendered by `python benchmarks/custody.py`; every number is of that run.",
        "",
        "## Planted defects of identity and custody",
        "",
        f"{len(told)} fleets at the demo's scale, drawn by seed: {orders:,} orders. Each kind was "
        "planted at each of",
        "the four sites, in an order of its own, and the chains' faults were compared with what was planted. Named",
        "counts each order and reason once; false is what was neither planted nor follows from it (an exchanged label",
        "also breaks both chains). A disposal can only be lost where a batch failed.",
        "",
        "| defect | planted | named |",
        "|---|---:|---:|",
        *(f"| {kind} | {n} | {found[kind]} |" for kind, n in planted.items()),
        "",
        f"Recall {found.total() / planted.total():.4f}, precision {precision:.4f}: {named:,} named, {false} false, "
        f"{lost} missed.",
        "",
        "## The same in the sites' files",
        "",
        f"{len(through)} tiny fleets ({sum(r['orders'] for r in through):,} orders) whose files were written, read "
        "under the contracts, audited, promoted",
        "and judged by every rule. False is what a rule named in a chain that no planted defect touched.",
        "",
        "| class | planted | named | false |",
        "|---|---:|---:|---:|",
        *(f"| `{kind}` | {n['planted']} | {n['found']} | {n['false']} |" for kind, n in classes.items()),
        "",
        f"{in_files['planted']} planted, {in_files['planted'] - in_files['found']} missed, {in_files['false']} false.",
        "`cellfleet score` tells the same of a whole run.",
        "",
        "## What no record can show",
        "",
        "| defect | why |",
        "|---|---|",
        *(f"| {what} | {why} |" for what, why in UNSEEN.items()),
        "",
        "Such an exchange is found by testing the material, not by computing. Where a laboratory reports such a test",
        "(DNA of the Y chromosome, HLA types), it is held against the patient: `identity_conflict`.",
        "",
        "## Tampering with the ledger's files",
        "",
        f"{made.total():,} random tamperings on the files themselves, each on a whole ledger with heads, "
        "cosignatures, time stamps",
        f"and erased entries; {unseen} were not seen or named another first bad entry than the evidence allows.",
        "",
        "| kind | made |",
        "|---|---:|",
        *(f"| {name.replace('_', ' ')} | {n:,} |" for name, n in sorted(made.items())),
        "",
        "The tests make 1,000 of them each time. See [the ledger](../ledger.md).",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, write the page; 1 where a defect was missed or a tampering not seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--file-seeds", type=int, default=20)
    parser.add_argument("--tamperings", type=int, default=100_000)
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "custody-kept")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "validation" / "custody.md")
    chosen = parser.parse_args()
    chosen.kept.mkdir(parents=True, exist_ok=True)
    told = kept(chosen.kept / "tables.jsonl", range(1, chosen.seeds + 1), tables)
    through = kept(chosen.kept / "files.jsonl", range(1, chosen.file_seeds + 1), files)
    parts = -(-chosen.tamperings // PART)
    attacks = kept(chosen.kept / "tampering.jsonl", range(1001, 1001 + parts), tampered)
    for row in [*told, *attacks]:
        for fault in [*row["missed"], *row.get("false", [])]:
            print(row["seed"], fault)
    chosen.page.parent.mkdir(parents=True, exist_ok=True)
    chosen.page.write_text(page(told, through, attacks), encoding="utf-8")
    classes = [c for row in through for c in row["classes"].values()]
    missed = any(row["missed"] for row in [*told, *attacks]) or any(
        c["planted"] > c["found"] for c in classes
    )
    false = sum(len(r["false"]) for r in told) + sum(c["false"] for c in classes)
    return 1 if missed or false > 0.01 * sum(r["named"] for r in told) else 0


if __name__ == "__main__":
    sys.exit(main())
