"""Witnesses: a keeper who shows two logs is found out, and keeps no say in it."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from warehouse.ledger import (
    Entry,
    ForkSeenError,
    LedgerError,
    accept,
    append,
    audit,
    check_proof,
    consistency,
    cosign,
    last_seen,
    prove,
    public_hex,
    sign_head,
)
from warehouse.ledger.heads import Head
from warehouse.ledger.witness import seen_of_line

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SITES = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)) for name in ("alpha", "beta")}


def day(folder, number, prefix="e", names=range(4)):
    append(
        folder,
        [Entry(f"{prefix}{number}-{n}", "custody_event", {"n": n}) for n in names],
        at=START + timedelta(days=number),
    )
    return sign_head(folder, KEY, START + timedelta(days=number, hours=1))


def witness(folder, home, head, name):
    last = last_seen(home)
    proof = consistency(folder, last.size if last else 0, head.size)
    at = datetime.fromisoformat(head.at) + timedelta(hours=1)
    return cosign(home, head, proof, site=name, key=SITES[name], keeper=public_hex(KEY), seen_at=at)


def test_an_honest_log_is_cosigned_day_by_day(tmp_path):
    homes = {name: tmp_path / name for name in SITES}
    for number in range(4):
        head = day(tmp_path / "hub", number)
        for name, home in homes.items():
            seen = witness(tmp_path / "hub", home, head, name)
            assert witness(tmp_path / "hub", home, head, name) == seen
            accept(tmp_path / "hub", seen)
            accept(tmp_path / "hub", seen)
    report = audit(tmp_path / "hub", list(homes.values()), key=public_hex(KEY))
    assert report.ok, report.findings
    assert report.cosignatures == 8
    proof = prove(tmp_path / "hub", "e1-2")
    check_proof(proof, public_hex(KEY), [public_hex(key) for key in SITES.values()])


def test_a_fork_is_refused_by_the_site_and_both_heads_are_kept(tmp_path):
    home = tmp_path / "alpha"
    head = day(tmp_path / "hub", 0)
    witness(tmp_path / "hub", home, head, "alpha")
    append(tmp_path / "fork", [Entry(f"f-{n}", "custody_event", {}) for n in range(4)], at=START)
    forked = day(tmp_path / "fork", 1)
    with pytest.raises(ForkSeenError, match="both are kept"):
        witness(tmp_path / "fork", home, forked, "alpha")
    kept = [Head(**json.loads(line)) for line in (home / "conflicts.jsonl").read_text().splitlines()]
    assert kept == [head, forked]
    assert all(one.holds for one in kept)
    assert last_seen(home) == head
    report = audit(tmp_path / "hub", [home])
    assert [finding.check for finding in report.findings if finding.check == "fork"] == ["fork"]


def test_a_fork_that_each_site_believes_shows_when_their_heads_meet(tmp_path):
    """The keeper shows alpha one log and beta another, both with the same beginning."""
    shared = day(tmp_path / "hub", 0)
    shutil.copytree(tmp_path / "hub", tmp_path / "fork")
    for name in SITES:
        witness(tmp_path / "hub", tmp_path / name, shared, name)
    witness(tmp_path / "hub", tmp_path / "alpha", day(tmp_path / "hub", 1), "alpha")
    witness(tmp_path / "fork", tmp_path / "beta", day(tmp_path / "fork", 1, "other"), "beta")
    accept(tmp_path / "hub", witness_line(tmp_path / "alpha", -1))
    for home in ("alpha", "beta"):
        accept(tmp_path / "hub", witness_line(tmp_path / home, 0))
    report = audit(tmp_path / "hub", [tmp_path / "alpha", tmp_path / "beta"])
    assert not report.ok
    assert {finding.check for finding in report.findings} == {"witness", "history"}
    assert report.first_bad.doubt == (4, 7)
    assert any("beta" in finding.sentence for finding in report.findings)


def witness_line(home, number):
    return seen_of_line((home / "witness.jsonl").read_bytes().splitlines(keepends=True)[number])


def test_a_shorter_older_or_foreign_head_is_not_cosigned(tmp_path):
    home = tmp_path / "alpha"
    first = day(tmp_path / "hub", 0)
    second = day(tmp_path / "hub", 1)
    witness(tmp_path / "hub", home, second, "alpha")
    with pytest.raises(ForkSeenError):
        cosign(
            home,
            first,
            [],
            site="alpha",
            key=SITES["alpha"],
            keeper=public_hex(KEY),
            seen_at=START + timedelta(days=9),
        )
    with pytest.raises(LedgerError, match="not signed with the ledger's key"):
        cosign(home, second, [], site="alpha", key=SITES["alpha"], keeper="0" * 64, seen_at=START)
    changed = Head(**{**second.content, "at": "2026-03-09T00:00:00.000000Z"})
    with pytest.raises(LedgerError, match="not signed with the ledger's key"):
        cosign(home, changed, [], site="alpha", key=SITES["alpha"], keeper=public_hex(KEY), seen_at=START)


def test_a_cosignature_under_another_ledgers_head_is_not_accepted(tmp_path):
    day(tmp_path / "hub", 0)
    other = day(tmp_path / "other", 0, "other")
    seen = witness(tmp_path / "other", tmp_path / "alpha", other, "alpha")
    with pytest.raises(LedgerError, match="not under a head of this ledger"):
        accept(tmp_path / "hub", seen)
