"""The Merkle tree against published vectors and against a second, naive implementation written from the
RFC's text."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.ledger.tree import (
    HASH_BYTES,
    consistency_path,
    fold,
    grow,
    inclusion_path,
    nodes_in,
    position,
    read_peaks,
    root_of,
)
from warehouse.ledger.verify import check_consistency, check_inclusion, leaf_hash

# Leaves, roots and proofs of the Certificate Transparency reference tests (transparency-dev/merkle).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
N = {
    "0": "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "1": "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "01": "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "23": "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "4": "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "45": "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "67": "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0123": "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4567": "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
}
INCLUSION = [
    (0, 1, []),
    (0, 2, ["1"]),
    (1, 2, ["0"]),
    (2, 3, ["01"]),
    (1, 5, ["0", "23", "4"]),
    (0, 8, ["1", "23", "4567"]),
    (5, 8, ["4", "67", "0123"]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, ["1", "23", "4567"]),
    (2, 5, ["23", "4"]),
    (6, 8, ["45", "67", "0123"]),
]


class Store:
    """A tree in memory, in the order of the ledger's file."""

    def __init__(self, leaves):
        self.data, self.size = b"", len(leaves)
        peaks = []
        for size, leaf in enumerate(leaves):
            self.data += grow(peaks, size, [leaf_hash(leaf)])
        self.peaks = peaks

    def read(self, level, number):
        start = position(level, number) * HASH_BYTES
        assert start + HASH_BYTES <= len(self.data)
        return self.data[start : start + HASH_BYTES]


# The second implementation: RFC 6962 sections 2.1 to 2.1.2, word for word, on lists.


def k_of(n):
    return max(2**e for e in range(64) if 2**e < n)


def mth(d):
    if not d:
        return hashlib.sha256(b"").digest()
    if len(d) == 1:
        return hashlib.sha256(b"\x00" + d[0]).digest()
    k = k_of(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path_of(m, d):
    if len(d) == 1:
        return []
    k = k_of(len(d))
    return [*path_of(m, d[:k]), mth(d[k:])] if m < k else [*path_of(m - k, d[k:]), mth(d[:k])]


def subproof(m, d, whole):
    if m == len(d):
        return [] if whole else [mth(d)]
    k = k_of(len(d))
    if m <= k:
        return [*subproof(m, d[:k], whole), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


@pytest.mark.reference
@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size):
    store = Store(LEAVES[:size])
    assert fold(store.peaks).hex() == ROOTS[size]
    assert mth(LEAVES[:size]).hex() == ROOTS[size]
    assert root_of(Store(LEAVES).read, size).hex() == ROOTS[size]


@pytest.mark.reference
@pytest.mark.parametrize(("index", "size", "names"), INCLUSION)
def test_inclusion_paths_are_the_published_ones(index, size, names):
    path = inclusion_path(Store(LEAVES).read, index, size)
    assert [step.hex() for step in path] == [N[name] for name in names]
    assert check_inclusion(leaf_hash(LEAVES[index]), index, size, path, bytes.fromhex(ROOTS[size]))


@pytest.mark.reference
@pytest.mark.parametrize(("first", "second", "names"), CONSISTENCY)
def test_consistency_paths_are_the_published_ones(first, second, names):
    path = consistency_path(Store(LEAVES).read, first, second)
    assert [step.hex() for step in path] == [N[name] for name in names]
    assert check_consistency(first, second, path, bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second]))


def test_every_proof_of_every_small_tree_agrees_with_the_naive_implementation():
    leaves = [bytes([number]) * (number % 5) for number in range(40)]
    store = Store(leaves)
    for size in range(1, 41):
        root = root_of(store.read, size)
        assert root == mth(leaves[:size])
        assert fold(read_peaks(store.read, size)) == root
        for index in range(size):
            path = inclusion_path(store.read, index, size)
            assert path == path_of(index, leaves[:size])
            assert check_inclusion(leaf_hash(leaves[index]), index, size, path, root)
            assert not check_inclusion(leaf_hash(b"other"), index, size, path, root)
            assert not check_inclusion(leaf_hash(leaves[index]), index, size, [*path, root], root)
        for first in range(1, size + 1):
            path = consistency_path(store.read, first, size)
            assert path == subproof(first, leaves[:size], True)
            assert check_consistency(first, size, path, mth(leaves[:first]), root)
            assert not check_consistency(first, size, path, mth(leaves[:first]), leaf_hash(b"other"))
            assert not check_consistency(first, size, [*path, root], mth(leaves[:first]), root)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.data())
def test_larger_trees_agree_and_a_changed_leaf_shows(size, data):
    leaves = [number.to_bytes(2, "big") for number in range(size)]
    store = Store(leaves)
    assert len(store.data) == nodes_in(size) * HASH_BYTES
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert inclusion_path(store.read, index, size) == path_of(index, leaves)
    assert consistency_path(store.read, first, size) == subproof(first, leaves, True)
    other = Store([*leaves[:index], b"changed", *leaves[index + 1 :]])
    assert root_of(other.read, size) != root_of(store.read, size)
    if index < first:
        was = root_of(store.read, first)
        path = consistency_path(other.read, first, size)
        assert not check_consistency(first, size, path, was, root_of(other.read, size))


def test_paths_outside_the_tree_are_refused():
    store = Store(LEAVES)
    with pytest.raises(IndexError):
        inclusion_path(store.read, 8, 8)
    with pytest.raises(IndexError):
        consistency_path(store.read, 0, 8)
    assert not check_consistency(0, 8, [], bytes.fromhex(ROOTS[0]), bytes.fromhex(ROOTS[8]))
