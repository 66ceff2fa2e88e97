"""The whole line on a tiny fleet: what was planted is found, nothing else is, and it all adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import cellfleet

STATES = ("promoted", "superseded", "duplicate", "quarantined")


@pytest.fixture(scope="module")
def scored(published_home: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(cellfleet(published_home, "score", "--json").stdout)
    return told


def test_every_planted_defect_is_found_and_nothing_else(scored: dict[str, Any]) -> None:
    missed = {name: d for name, d in scored["defects"].items() if d["recall"] != 1}
    invented = {name: d for name, d in scored["defects"].items() if d["false"]}
    assert len(scored["defects"]) == 25
    assert not missed
    assert not invented


def test_what_was_received_is_what_was_written(scored: dict[str, Any]) -> None:
    feeds = [(s, f, n) for s, by_feed in scored["received"].items() for f, n in by_feed.items()]
    assert len(feeds) > 60
    assert [f for f in feeds if f[2]["written"] != f[2]["received"]] == []


def test_every_feed_adds_up(published_home: Path) -> None:
    feeds = json.loads(cellfleet(published_home, "status", "--json").stdout)["feeds"]
    assert [f for f in feeds if f["received"] != sum(f[s] for s in STATES)] == []
    assert sum(f["quarantined"] for f in feeds) > 0
    assert sum(f["duplicate"] for f in feeds) > 0


def test_no_verdict_contradicts_the_truth(scored: dict[str, Any]) -> None:
    """Twelve lots a site rarely decide; what they must never do is decide wrongly."""
    confusion = scored["verdicts"]["confusion"]
    assert "comparable" not in confusion["not comparable"]
    assert "not comparable" not in confusion["comparable"]
    assert set(confusion["unlike_methods"]) == {"inconclusive"}
