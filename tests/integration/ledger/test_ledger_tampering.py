"""A thousand random tamperings: every one is seen, and the first bad entry named."""

import collections
import json

import pytest
from tampering import ATTACKS, Fleet, attack, expected_at

from warehouse.ledger.tree import HASH_BYTES


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_every_tampering_is_seen_and_named(tmp_path, seed):
    fleet, made = Fleet(tmp_path, seed), collections.Counter()
    for _ in range(250):
        name, fault = attack(fleet)
        assert fault is None, fault
        made[name] += 1
    assert made.keys() == {act.__name__ for act in ATTACKS}
    assert fleet.audit().ok


@pytest.mark.parametrize("kind", ["drop", "insert", "flip"])
def test_every_single_hash_of_the_tree_is_missed_when_it_changes(tmp_path, kind):
    """Also those of erased entries, whose content can no longer be hashed again."""
    fleet = Fleet(tmp_path, 101)
    path, clean = fleet.place.tree, fleet.clean[fleet.place.tree]
    for at in range(0, len(clean), HASH_BYTES):
        here, rest = clean[at : at + HASH_BYTES], clean[at + HASH_BYTES :]
        new = {"drop": b"", "insert": bytes(HASH_BYTES) + here, "flip": bytes([here[0] ^ 1]) + here[1:]}[kind]
        path.write_bytes(clean[:at] + new + rest)
        expected, report = expected_at(fleet, path, at), fleet.audit()
        assert not report.ok
        first, last = report.first_bad.doubt
        assert first <= expected.entries[1]
        assert expected.entries[0] <= last
        assert not expected.exact or (first, last) == expected.entries


def test_a_batch_that_acknowledges_more_than_there_is_is_named(tmp_path):
    """Whichever it is: the line after it, which is whole, does not follow on it either."""
    fleet = Fleet(tmp_path, 102)
    lines = fleet.clean[fleet.place.batches].splitlines(keepends=True)
    for number, line in enumerate(lines):
        size = json.loads(line)["size"]
        more = line.replace(f'"size":{size}'.encode(), f'"size":{size + 40 + len(fleet.lines)}'.encode())
        assert more != line
        fleet.place.batches.write_bytes(b"".join([*lines[:number], more, *lines[number + 1 :]]))
        report = fleet.audit()
        assert any(f"first by line {number + 1} of batches.jsonl" in f.sentence for f in report.findings)
