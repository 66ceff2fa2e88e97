"""Witnessing by files: offer, cosign, accept; a fork by the keeper is seen at a site that sees none of its folders."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from warehouse.ledger import (
    Entry,
    ForkSeenError,
    LedgerError,
    accept,
    append,
    audit,
    new_key,
    read_key,
    sign_head,
)
from warehouse.ledger.exchange import cosign_offer, offer, read_answer, read_file

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def grow(folder: Path, key: Path, day: int, word: str, entries: int = 5) -> None:
    moment = NOW + timedelta(days=day)
    append(folder, [Entry(f"{word}-{day}-{n}", "custody_event", {"n": n}) for n in range(entries)], moment)
    sign_head(folder, read_key(key), moment + timedelta(hours=1))


@pytest.fixture
def keeper(tmp_path: Path) -> tuple[Path, Path, str]:
    """A ledger with one head, its key file and its public key."""
    key = tmp_path / "keeper.pem"
    public = new_key(key)
    grow(tmp_path / "ledger", key, 0, "true")
    return tmp_path / "ledger", key, public


def exchanged(folder: Path, witness: Path, public: str, day: int, via: Path) -> None:
    """One round by files."""
    site_key = witness.parent / "site.pem"
    if not site_key.exists():
        new_key(site_key)
    via.write_text(json.dumps(offer(folder, "rhein")), encoding="utf-8")
    moment = NOW + timedelta(days=day, hours=2)
    seen = cosign_offer(
        witness, read_file(via), site="rhein", key=read_key(site_key), keeper=public, seen_at=moment
    )
    via.write_text(json.dumps(seen.content), encoding="utf-8")
    accept(folder, read_answer(read_file(via)))


def test_rounds_by_files_and_a_fork_is_seen_at_the_site(
    keeper: tuple[Path, Path, str], tmp_path: Path
) -> None:
    folder, key, public = keeper
    witness, via = tmp_path / "site" / "witness", tmp_path / "mail.json"
    exchanged(folder, witness, public, 0, via)
    old = tmp_path / "kept"
    shutil.copytree(folder, old)
    for day in (1, 2):
        grow(folder, key, day, "true")
        exchanged(folder, witness, public, day, via)
    exchanged(folder, witness, public, 2, via)  # asked again: the same answer
    assert audit(folder, [witness], key=public).ok
    # The keeper goes back two days and tells another story, signed with its own key.
    grow(old, key, 3, "other", 12)
    other, site_key = offer(old, "rhein") | {"since": 15}, read_key(witness.parent / "site.pem")
    with pytest.raises(ForkSeenError, match="does not continue"):
        cosign_offer(witness, other, site="rhein", key=site_key, keeper=public, seen_at=NOW)
    assert (witness / "conflicts.jsonl").exists()
    assert not audit(folder, [witness], key=public).ok


def test_an_offer_from_another_place_is_refused_and_nothing_is_kept(
    keeper: tuple[Path, Path, str], tmp_path: Path
) -> None:
    folder, key, public = keeper
    witness, via = tmp_path / "site" / "witness", tmp_path / "mail.json"
    exchanged(folder, witness, public, 0, via)
    grow(folder, key, 1, "true")
    whole = offer(folder, "rhein")
    site = {
        "site": "rhein",
        "key": read_key(tmp_path / "site" / "site.pem"),
        "keeper": public,
        "seen_at": NOW,
    }
    kept = (witness / "witness.jsonl").read_bytes()
    for content, words in (
        (whole | {"since": 3}, "saw 5 last"),
        (whole | {"format": "other"}, "no offer"),
        ({}, "no offer"),
        (whole | {"head": whole["head"] | {"size": 9}}, "not signed"),
    ):
        with pytest.raises(LedgerError, match=words):
            cosign_offer(witness, content, **site)
    assert (witness / "witness.jsonl").read_bytes() == kept
    with pytest.raises(LedgerError, match="no answer"):
        read_answer(whole)
    via.write_text("[1]", encoding="utf-8")
    with pytest.raises(LedgerError, match="no JSON object"):
        read_file(via)
