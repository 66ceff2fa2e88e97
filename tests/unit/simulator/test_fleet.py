"""The fleet on disk: determinism, repeatability, living on, refusals."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pipelines.simulator import next_day, scales, simulate


def prints(root: Path) -> dict[str, tuple[str, float]]:
    """Hash and time of every file."""
    return {
        str(p.relative_to(root)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime)
        for p in root.rglob("*")
        if p.is_file()
    }


def test_same_seed_same_bytes_and_times(fleet: Path, tmp_path: Path) -> None:
    told: list[str] = []
    simulate(tmp_path, "tiny", 1, told.append)
    assert prints(tmp_path) == prints(fleet)
    assert any("meridian" in line for line in told)


def test_writing_again_replaces_what_lies_there(tmp_path: Path) -> None:
    simulate(tmp_path, "tiny", 3)
    once = prints(tmp_path)
    next_day(tmp_path)
    assert prints(tmp_path) != once
    simulate(tmp_path, "tiny", 3)
    assert prints(tmp_path) == once


def test_another_seed_is_another_fleet(fleet: Path, tmp_path: Path) -> None:
    simulate(tmp_path, "tiny", 2)
    mine, theirs = prints(fleet), prints(tmp_path)
    alike = {p.split("/")[-1].rsplit("_", 1)[0] for p in mine if p in theirs and mine[p][0] == theirs[p][0]}
    # Only what nobody draws is alike: the specification's dates and limits, agreements, master data.
    words = {"SYNTHETIC", "spezifikation", "grenzwert", "specifications", "spec_limits", "specLimits",
             "payer_agreements", "masterData"}  # fmt: skip
    assert alike <= words


def test_next_day_adds_and_leaves_the_past(fleet: Path, tmp_path: Path) -> None:
    shutil.copytree(fleet, tmp_path, dirs_exist_ok=True)
    before = prints(tmp_path)
    planted = json.loads((tmp_path / "truth.json").read_text())["defects"]
    for _ in range(4):
        next_day(tmp_path)
    after = prints(tmp_path)
    assert set(before) <= set(after)
    changed = {p for p in before if before[p] != after[p]}
    # What a site itself rewrites or appends to: its database, running batch records, this month's log, keys.
    growing = (
        "lims/lims.db",
        "batch_records/",
        "chargenprotokoll/",
        "custody/",
        "finance/",
        "courier/",
        "edge/",
        "truth.json",
        "SYNTHETIC",
        ".state/",
    )
    assert all(any(g in p for g in growing) for p in changed), changed
    new = set(after) - set(before)
    for site in ("northgate", "rhein", "prairie", "meridian"):
        assert any(p.startswith(site) for p in new), site
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert truth["days"] == 134
    kept = {(d["class"], d["site"], d["subject"]) for d in truth["defects"]}
    assert {(d["class"], d["site"], d["subject"]) for d in planted} <= kept
    assert len(truth["defects"]) > len(planted)


def test_next_day_is_the_same_from_the_same_fleet(fleet: Path, tmp_path: Path) -> None:
    one, two = (shutil.copytree(fleet, tmp_path / name) for name in ("one", "two"))
    for root in (one, two):
        next_day(root)
    assert prints(one) == prints(two) != prints(fleet)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="huge"):
        simulate(tmp_path, "huge", 1)
    with pytest.raises(ValueError, match="cellfleet simulate"):
        next_day(tmp_path)
    (tmp_path / "rhein").mkdir()
    with pytest.raises(ValueError, match="rhein exists"):
        simulate(tmp_path, "tiny", 1)


def test_scales() -> None:
    assert scales() == ["tiny", "demo", "large"]
