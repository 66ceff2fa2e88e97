"""Scores of several seeds, pooled: what was found, what these counts prove, and which classes fall short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.simulator.trials import TrialFailed, page, trials


def score(found: int, planted: int, false: int = 0) -> dict[str, Any]:
    bins = [
        {"from": 0.1, "to": 0.2, "planted": planted - 1, "found": found - 1},
        {"from": 0.5, "to": 0.9, "planted": 1, "found": 1},
    ]
    entry = {"planted": planted, "found": found, "false": false, "by_magnitude": bins}
    return {
        "received": {"a": {"assay": {"written": 10, "received": 10}}},
        "defects": {"late_file": entry},
        "other": {"volume_unusual": false},
        "verdicts": {"confusion": {"comparable": {"comparable": 2, "inconclusive": 1}}},
    }


def test_what_was_scored_before_is_pooled_and_not_run_again(tmp_path: Path) -> None:
    for seed, told in ((2, score(3, 4)), (3, score(4, 4, false=1))):
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}" / "score.json").write_text(json.dumps(told), "utf-8")
    said: list[str] = []
    text = page(trials(tmp_path, "tiny", range(2, 4), said.append), "tiny")
    assert said == ["seed 2: 3 of 4 found", "seed 3: 4 of 4 found"]
    assert "| `late_file` | 8 | 7 | 1 | 0.875 | 0.529 | 0.875 |" in text
    assert "0.5 to 0.9: 1/1; 0.5 to 0.9: 1/1" in text
    assert "Short of 0.99 in recall or precision: `late_file`." in text
    assert "2 of 2 feeds (20 records written, 20 received)" in text
    assert "| comparable | 4 | 2 |" in text
    assert "`volume_unusual` 1." in text


def test_a_fleet_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(TrialFailed, match="simulate"):
        trials(tmp_path, "no such scale", [1], print)
