"""A thousand random tamperings: every one is seen, and the first bad entry named."""

import collections

import pytest
from tampering import ATTACKS, Fleet, attack


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_every_tampering_is_seen_and_named(tmp_path, seed):
    fleet, made = Fleet(tmp_path, seed), collections.Counter()
    for _ in range(250):
        name, fault = attack(fleet)
        assert fault is None, fault
        made[name] += 1
    assert made.keys() == {act.__name__ for act in ATTACKS}
    assert fleet.audit().ok
