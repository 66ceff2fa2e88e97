"""Check a proof from a cellfleet ledger: this one file, Python's standard library, and nothing else.

    python verify.py PROOF.json [--key HEX] [--witness HEX ...] [--head HEAD.json]

Here belongs what an outsider needs to check a proof: the hashes of RFC 6962 section 2.1, inclusion and
consistency by RFC 9162 sections 2.1.3.2 and 2.1.4.2, and Ed25519 by RFC 8032 section 5.1.7 in plain Python.
Nothing that makes a proof, reads a ledger or needs our software belongs here, and nothing of ours is
imported.

It answers 0 when everything holds, 1 with the first thing that does not, 2 when the file cannot be read as
a proof. Without --key the signature is checked against the key named in the proof, which shows that the
proof hangs together but not who made it: get the key from a place that the keeper of the ledger cannot
change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

FORMAT = "cellfleet ledger proof 1"
Proof = dict[str, Any]


class Refused(Exception):  # noqa: N818 - it is the answer, not a fault of the program
    """The proof does not hold; the text says the first thing that is wrong."""


# Merkle tree, RFC 6962 section 2.1


def leaf_hash(data: bytes) -> bytes:
    """32-byte hash of a leaf: SHA-256 of 0x00 and the leaf's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """32-byte hash of a node: SHA-256 of 0x01 and its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` shows that the leaf hash stands at `index` of the tree of `size` leaves with this root.

    RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size or len(leaf) != 32:
        return False
    fn, sn, computed = index, size - 1, leaf
    for step in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            computed = node_hash(step, computed)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            computed = node_hash(computed, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and computed == root


def check_consistency(first: int, second: int, path: Sequence[bytes], was: bytes, root: bytes) -> bool:
    """Whether `path` shows that `first` leaves with root `was` begin the tree of `second` leaves with this
    root.

    RFC 9162 section 2.1.4.2. An empty first tree is refused: it is the beginning of anything and proves
    nothing.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and was == root
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, was)
    if not steps:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old, new = node_hash(step, old), node_hash(step, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old == was and new == root


# Ed25519, RFC 8032 section 5.1

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def _add(a: _Point, b: _Point) -> _Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    c, d = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    x, y, z, t = f - e, d - c, d + c, f + e
    return x * y % _P, z * t % _P, y * z % _P, x * t % _P


def _times(scalar: int, point: _Point) -> _Point:
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point, scalar = _add(point, point), scalar >> 1
    return total


def _decode(data: bytes) -> _Point | None:
    sign, y = divmod(int.from_bytes(data, "little"), 1 << 255)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else _P - x
    return x, y, 1, x * y % _P


def _encode(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE = _decode((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))


def check_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the 64-byte Ed25519 signature over the message was made with this 32-byte public key."""
    if len(key) != 32 or len(signature) != 64 or _BASE is None:
        return False
    point, s = _decode(key), int.from_bytes(signature[32:], "little")
    if point is None or s >= _L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    minus = (-point[0] % _P, point[1], point[2], -point[3] % _P)
    return _encode(_add(_times(s, _BASE), _times(h, minus))) == signature[:32]


# What is signed


def head_message(size: int, root: str, at: str) -> bytes:
    """The bytes that the keeper of the ledger signs: number of entries, root in hex, time in UTC."""
    return f"cellfleet tree head 1\n{size}\n{root}\n{at}\n".encode()


def cosigned_message(site: str, seen_at: str, message: bytes, signature: str) -> bytes:
    """The bytes that a witness signs: its name, when it saw the head, and the head with its signature."""
    return f"cellfleet cosigned head 1\n{site}\n{seen_at}\n".encode() + message + signature.encode()


# The proof


def _bytes(value: Any, name: str, length: int) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * length}}}", value):
        raise ValueError(f"{name} is not {2 * length} lower-case hexadecimal digits")
    return bytes.fromhex(value)


def _count(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} is not a count")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or "\n" in value:
        raise ValueError(f"{name} is not a line of text")
    return value


def _path(value: Any, name: str) -> list[bytes]:
    return [_bytes(step, name, 32) for step in value]


def _check_head(head: Proof, key: bytes, cosignatures: Any, seen: dict[str, str]) -> None:
    at, root = _text(head["at"], "at"), _bytes(head["root"], "root", 32).hex()
    signed = head_message(_count(head["size"], "size"), root, at)
    if _bytes(head["key"], "key", 32) != key:
        raise Refused(f"the head of {at} is signed with another key than {key.hex()}")
    if not check_signature(key, signed, _bytes(head["signature"], "signature", 64)):
        raise Refused(f"the signature of the head of {at} does not fit its content")
    for other in cosignatures:
        site, seen_at = _text(other["site"], "site"), _text(other["seen_at"], "seen_at")
        message = cosigned_message(site, seen_at, signed, head["signature"])
        own, signature = _bytes(other["key"], "key", 32), _bytes(other["signature"], "signature", 64)
        if not check_signature(own, message, signature):
            raise Refused(f"the cosignature of {site} under the head of {at} does not fit")
        seen[other["key"]] = f"cosigned by {site} at {seen_at} with key {other['key']}"


def _check_entry(proof: Proof, index: int, leaf: bytes) -> str:
    if proof.get("entry") is None:
        return f"entry {index}: content not shown or erased; only its place in the log is proved"
    if leaf_hash(_bytes(proof["salt"], "salt", 32) + proof["entry"].encode()) != leaf:
        raise Refused(f"the salt and text shown are not those that entry {index} was made from")
    return f"entry {index}: {proof['entry']}"


def _check_growth(steps: Sequence[Proof]) -> None:
    for step, following in pairwise(steps):
        old, new = step["head"], following["head"]
        path, was, root = following["consistency"], bytes.fromhex(old["root"]), bytes.fromhex(new["root"])
        grown = check_consistency(old["size"], new["size"], _path(path, "consistency"), was, root)
        if new["at"] < old["at"] or not grown:
            raise Refused(f"the log of {new['at']} does not begin with the log of {old['at']}")


def check_proof(
    proof: Proof, key: str | None = None, witnesses: Sequence[str] = (), kept: Proof | None = None
) -> list[str]:
    """Check a whole proof and return, as sentences, what it shows.

    `key` is the ledger's public key (hex) known from elsewhere, `witnesses` public keys of sites that must
    have cosigned, `kept` a head the reader kept from earlier, which the log must still begin with. Raises
    `Refused` with the first thing that does not hold, ValueError, KeyError or TypeError when it is no proof.
    """
    if proof.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    index, leaf = _count(proof["index"], "index"), _bytes(proof["leaf"], "leaf", 32)
    said = [_check_entry(proof, index, leaf)]
    steps = proof["heads"]
    trusted = _bytes(key if key is not None else steps[0]["head"]["key"], "key", 32)
    seen: dict[str, str] = {}
    for step in steps:
        _check_head(step["head"], trusted, step["cosignatures"], seen)
    _check_growth(steps)
    heads = [step["head"] for step in steps]
    first = next((head for head in heads if head["size"] > index), None)
    if first is None:
        raise Refused(f"no head in the proof covers entry {index}")
    path, root = _path(proof["inclusion"], "inclusion"), bytes.fromhex(first["root"])
    if not check_inclusion(leaf, index, first["size"], path, root):
        raise Refused(f"entry {index} is not in the log of {first['at']}")
    said.append(f"in the log since {first['at']} at the latest (head of {first['size']} entries)")
    said.append(f"unchanged up to {heads[-1]['at']} (head of {heads[-1]['size']} entries)")
    if kept is not None and all(
        (kept["size"], kept["root"]) != (head["size"], head["root"]) for head in heads
    ):
        raise Refused(f"the proof does not lead through the head you kept, of {kept['size']} entries")
    for witness in witnesses:
        if witness not in seen:
            raise Refused(f"no cosignature of witness {witness}")
    said += [f"{line}{'' if name in witnesses else ' (key not compared)'}" for name, line in seen.items()]
    doubt = "" if key else " (compare it with the published one, or give --key)"
    return [*said, f"signed with key {trusted.hex()}{doubt}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 the proof holds, 1 it does not, 2 it cannot be read."""
    parser = argparse.ArgumentParser(description="Check a proof from a cellfleet ledger.")
    parser.add_argument("proof", type=Path)
    parser.add_argument("--key", help="the ledger's public key in hex, from a source you trust")
    parser.add_argument(
        "--witness", action="append", default=[], help="key of a site that must have cosigned"
    )
    parser.add_argument("--head", type=Path, help="a head you kept; the log must still begin with it")
    given = parser.parse_args(arguments)
    key = given.key and given.key.lower()
    try:
        proof = json.loads(given.proof.read_text("utf-8"))
        kept = json.loads(given.head.read_text("utf-8")) if given.head else None
        said = check_proof(proof, key, given.witness, kept)
    except Refused as wrong:
        print(f"NOT PROVED: {wrong}.")
        return 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as wrong:
        print(f"{given.proof} cannot be read as a proof: {wrong!r}.", file=sys.stderr)
        return 2
    print("\n".join(["PROVED", *(f"  {line}" for line in said)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
