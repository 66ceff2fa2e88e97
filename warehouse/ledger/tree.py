"""The Merkle tree of RFC 6962 section 2.1 over hashes that lie in one append-only sequence.

Here belong positions, growth, roots and the making of proofs. Files do not (log.py), nor does the checking of
proofs (verify.py, which an outsider runs alone and whose hash functions are used here).

Order of the sequence: after each leaf follow the nodes which that leaf completes, lowest first ("Merkle
mountain range" order). A log only ever grows at its end, each complete subtree has one place for ever, and
a reader passes every child before its parent, so a whole audit is one pass with a stack of at most 64
hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from warehouse.ledger.verify import node_hash

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()

Read = Callable[[int, int], bytes]
"""`read(level, number)`: hash of the whole subtree over leaves number·2^level to (number+1)·2^level − 1."""


def nodes_in(size: int) -> int:
    """How many hashes the sequence holds for `size` leaves."""
    return 2 * size - size.bit_count()


def position(level: int, number: int) -> int:
    """Place in the sequence of the complete subtree `number` of 2^level leaves."""
    return nodes_in(((number + 1) << level) - 1) + level


def grow(peaks: list[bytes], size: int, leaves: Iterable[bytes]) -> bytes:
    """Add leaf hashes to a tree of `size` leaves; change `peaks` in place and return the hashes to append.

    `peaks` are the roots of the complete subtrees, largest first, as `read_peaks` gives them.
    """
    out = []
    for leaf in leaves:
        node, rest = leaf, size
        out.append(node)
        while rest & 1:
            node = node_hash(peaks.pop(), node)
            out.append(node)
            rest >>= 1
        peaks.append(node)
        size += 1
    return b"".join(out)


def _subtrees(start: int, size: int) -> Iterable[tuple[int, int]]:
    """Level and number of the complete subtrees that make up `size` leaves from an aligned `start`."""
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            yield level, start >> level
            start += 1 << level


def read_peaks(read: Read, size: int) -> list[bytes]:
    """Roots of the complete subtrees of a tree of `size` leaves, largest first."""
    return [read(level, number) for level, number in _subtrees(0, size)]


def fold(peaks: list[bytes]) -> bytes:
    """The root over complete subtrees, largest first (RFC 6962 section 2.1)."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def root_of(read: Read, size: int, start: int = 0) -> bytes:
    """Root of the tree over `size` leaves from `start` (a multiple of the largest power of two in `size`)."""
    return fold([read(level, number) for level, number in _subtrees(start, size)])


def _split(size: int) -> int:
    """Largest power of two below `size` (RFC 6962's k)."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_path(read: Read, index: int, size: int) -> list[bytes]:
    """Audit path of leaf `index` in the tree of `size` leaves: PATH(m, D[n]) of RFC 6962 section 2.1.1."""
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} is not in a tree of {size}")
    path = []
    start = 0
    while size > 1:
        k = _split(size)
        if index - start < k:
            path.append(root_of(read, size - k, start + k))
            size = k
        else:
            path.append(root_of(read, k, start))
            start, size = start + k, size - k
    return path[::-1]


def consistency_path(read: Read, first: int, second: int) -> list[bytes]:
    """Proof that the first `first` of `second` leaves are unchanged: PROOF(m, D[n]) of RFC 6962 section
    2.1.2."""
    if not 0 < first <= second:
        raise IndexError(f"no consistency proof from {first} to {second} leaves")
    path = []
    start, size, whole = 0, second, True
    while first < size:
        k = _split(size)
        if first <= k:
            path.append(root_of(read, size - k, start + k))
            size = k
        else:
            path.append(root_of(read, k, start))
            start, first, size, whole = start + k, first - k, size - k, False
    if not whole:
        path.append(root_of(read, size, start))
    return path[::-1]
