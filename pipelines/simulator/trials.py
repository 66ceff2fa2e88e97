"""Whole fleets of several seeds, each simulated, run and scored on its own, pooled into one page.

Belongs here: running the seeds and printing `docs/validation/defects.md`. Does not belong here: scoring one
fleet (`score.py`), any knowledge of how something is detected.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from scipy.stats import beta

GOAL = 0.99
BINS = 4
Scores = dict[int, dict[str, Any]]


class TrialFailed(RuntimeError):  # noqa: N818 - it names a state, and is shown as a sentence
    """A fleet could not be simulated, run or scored."""


def trials(homes: Path, scale: str, seeds: Iterable[int], progress: Callable[[str], None]) -> Scores:
    """Scores by seed. Each seed has its own home `<homes>/seed-<n>`; one that was scored before is not run again.

    Raises TrialFailed with what the failing command said.
    """
    scores: Scores = {}
    for seed in seeds:
        home = homes / f"seed-{seed}"
        kept = home / "score.json"
        if not kept.exists():
            home.mkdir(parents=True, exist_ok=True)
            for words in (["simulate", "--scale", scale, "--seed", str(seed)], ["run"]):
                _cellfleet(home, *words)
            told = _cellfleet(home, "score", "--json")
            part = kept.with_suffix(".part")
            part.write_text(told, encoding="utf-8")
            part.replace(kept)
        scores[seed] = json.loads(kept.read_text("utf-8"))
        found = sum(c["found"] for c in scores[seed]["defects"].values())
        progress(
            f"seed {seed}: {found} of {sum(c['planted'] for c in scores[seed]['defects'].values())} found"
        )
    return scores


def _cellfleet(home: Path, *words: str) -> str:
    environment = os.environ | {"CELLFLEET_HOME": str(home), "CELLFLEET_SOURCES": str(home / "sources")}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise TrialFailed(f"`cellfleet {' '.join(words)}` in {home} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def page(scores: Scores, scale: str) -> str:
    """`docs/validation/defects.md`."""
    seeds = ", ".join(map(str, sorted(scores)))
    rows = {
        name: _pooled(name, scores) for name in sorted({c for s in scores.values() for c in s["defects"]})
    }
    lines = [
        "# Planted defects and what was found",
        "",
        f"Written by `cellfleet score --seeds … --write docs/validation/defects.md`: fleets of scale {scale}, seeds",
        f"{seeds}, each simulated, run from the files to the snapshot, and scored by the published tables alone. The",
        "simulator that plants and the rules that find share no code and no constants.",
        "",
        "`recall ≥` is the lower end of the exact one-sided 95 % interval (Clopper-Pearson): what these counts prove.",
        "",
        "| class | planted | found | false | recall | recall ≥ | precision | recall by magnitude, small to large |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| `{name}` | {r['planted']} | {r['found']} | {r['false']} | {_rate(r['recall'])} | {_rate(r['least'])} | "
        f"{_rate(r['precision'])} | {r['curve']} |"
        for name, r in rows.items()
    ]
    short = [n for n, r in rows.items() if min(r["recall"] or 0, r["precision"] or 0) < GOAL]
    unproven = [n for n, r in rows.items() if n not in short and (r["least"] or 0) < GOAL]
    lines += [
        "",
        f"Short of {GOAL} in recall or precision: {_named(short)}.",
        f"Reached in these counts, though too few were planted to prove {GOAL} with 95 % confidence:",
        f"{_named(unproven)}.",
        "",
        *_other(scores),
        "",
        "## Counts",
        "",
        _received(scores),
        "",
        "## Excursions and drifts of the process",
        "",
        *_watched(scores),
        "",
        "## Verdicts",
        "",
        "| planted truth | " + " | ".join(_words(scores)) + " |",
        "|---|" + "---:|" * len(_words(scores)),
    ]
    for label, told in sorted(_confusion(scores).items()):
        lines.append(f"| {label} | " + " | ".join(str(told.get(w, 0)) for w in _words(scores)) + " |")
    return "\n".join(lines) + "\n"


def _pooled(name: str, scores: Scores) -> dict[str, Any]:
    parts = [s["defects"][name] for s in scores.values() if name in s["defects"]]
    planted, found, false = (sum(p[k] for p in parts) for k in ("planted", "found", "false"))
    least = float(beta.ppf(0.05, found, planted - found + 1)) if found else 0.0
    return {
        "planted": planted,
        "found": found,
        "false": false,
        "recall": found / planted if planted else None,
        "least": least if planted else None,
        "precision": found / (found + false) if found + false else None,
        "curve": _curve([b for p in parts for b in p["by_magnitude"] or []]),
    }


def _curve(bins: list[dict[str, Any]]) -> str:
    """Bins of all seeds, put together into BINS of about as many defects."""
    ordered = sorted(bins, key=lambda b: (b["from"], b["to"]))
    total, done = sum(b["planted"] for b in ordered), 0
    told: list[str] = []
    group: list[dict[str, Any]] = []
    for b in ordered:
        group.append(b)
        done += b["planted"]
        if done >= total * (len(told) + 1) / BINS:
            planted, found = sum(g["planted"] for g in group), sum(g["found"] for g in group)
            low, high = min(g["from"] for g in group), max(g["to"] for g in group)
            told.append(f"{low:.3g} to {high:.3g}: {found}/{planted}")
            group = []
    return "; ".join(told)


def _other(scores: Scores) -> list[str]:
    named: dict[str, int] = {}
    for s in scores.values():
        for reason, n in s["other"].items():
            named[reason] = named.get(reason, 0) + n
    told = ", ".join(f"`{reason}` {n}" for reason, n in sorted(named.items()))
    return [
        "Named beside these for reasons that no planted class stands for (true of the drawn fleets, such as results",
        f"out of specification, or false; counted, not judged): {told or 'none'}.",
    ]


def _received(scores: Scores) -> str:
    pairs = [
        (f["written"], f["received"])
        for s in scores.values()
        for feeds in s["received"].values()
        for f in feeds.values()
    ]
    # A feed that nothing was written to has no number.
    same = sum((written or 0) == (received or 0) for written, received in pairs)
    return (
        f"Records received are those written in {same} of {len(pairs)} feeds "
        f"({sum(w or 0 for w, _ in pairs):,} records written, {sum(r or 0 for _, r in pairs):,} received)."
    )


def _watched(scores: Scores) -> list[str]:
    told = [s["watch"] for s in scores.values() if "watch" in s]
    planted, found, false = (sum(t["excursions"][k] for t in told) for k in ("planted", "found", "false"))
    lines = [f"Excursions of cultures: {planted} planted, {found} found, {false} false."]
    drifts = [d for t in told for d in t["drifts"]]
    watched = [d for d in drifts if d["watched"]]
    if not watched:
        return [*lines, f"Drifts: {len(drifts)} planted, none where approved limits watch (too few batches)."]
    hit = [d for d in watched if d["found"]]
    lines.append(
        f"Drifts under approved limits: {len(watched)} planted, {len(hit)} found"
        + (f", after {sum(d['batches'] for d in hit) / len(hit):.1f} batches in the mean." if hit else ".")
    )
    return lines


def _confusion(scores: Scores) -> dict[str, dict[str, int]]:
    pooled: dict[str, dict[str, int]] = {}
    for s in scores.values():
        for label, told in s["verdicts"]["confusion"].items():
            for word, n in told.items():
                row = pooled.setdefault(label, {})
                row[word] = row.get(word, 0) + n
    return pooled


def _words(scores: Scores) -> list[str]:
    return sorted({word for told in _confusion(scores).values() for word in told})


def _named(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names) or "none"


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.3f}"
