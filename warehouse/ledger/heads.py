"""Signed tree heads: the keeper of the ledger says, under its key, what the log was at a time.

Here belong the keeper's key, signing and reading of heads. What others sign is in witness.py and stamps.py.

A head is one line of heads.jsonl. The key is the ledger's identity: one key signs one ledger, and its
public half is published where the keeper cannot change it. The private half is a file outside the ledger's
folder.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from warehouse.ledger.entries import LedgerError
from warehouse.ledger.files import Place, from_json_line, last_line, parsed
from warehouse.ledger.verify import head_message

HEX32, HEX64 = "[0-9a-f]{64}", "[0-9a-f]{128}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
HEAD_FIELDS = {"at": TIME, "key": HEX32, "root": HEX32, "signature": HEX64, "size": None}


@dataclass(frozen=True, slots=True)
class Head:
    """Signed tree head: entries covered, root (hex), time (UTC text), public key and signature (hex)."""

    size: int
    root: str
    at: str
    key: str
    signature: str

    @property
    def content(self) -> dict[str, Any]:
        """The fields of its line."""
        return asdict(self)

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        return head_message(self.size, self.root, self.at)

    @property
    def holds(self) -> bool:
        """Whether the signature fits content and key."""
        return signature_fits(self.key, self.message, self.signature)


def new_key(path: Path) -> str:
    """Draw a signing key into a new PEM file (mode 0600) and return its public half in hex."""
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as fault:
        raise LedgerError(
            f"{path} exists already and a key is never overwritten: name another file"
        ) from fault
    with os.fdopen(handle, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    return public_hex(key)


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read the key that `new_key` wrote."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as fault:
        raise LedgerError(f"{path} cannot be read as an unencrypted PEM key: {fault}") from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise LedgerError(f"{path} holds a key of another kind than Ed25519: make one with `new_key`")
    return key


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public half in hex: what others pin."""
    return key.public_key().public_bytes_raw().hex()


@lru_cache(maxsize=16_384)
def signature_fits(key: str, message: bytes, signature: str) -> bool:
    """Whether an Ed25519 signature (hex) over the message is by this public key (hex).

    The answer depends on nothing else, and the same head comes back under every cosignature: hence the
    memory.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def make_head(size: int, root: str, at: str, key: Ed25519PrivateKey) -> Head:
    """Sign what the log is; nothing is written."""
    return Head(size, root, at, public_hex(key), key.sign(head_message(size, root, at)).hex())


def read_heads(path: Path) -> tuple[Head, ...]:
    """All heads, oldest first. Raises LedgerError when a line is not one that was written."""
    return parsed(path, head_of_line)


def head_of_line(line: bytes) -> Head:
    """Read a line of heads.jsonl; ValueError when a byte of its form differs."""
    return Head(**from_json_line(line, HEAD_FIELDS))


def last_head(place: Place) -> Head | None:
    """The newest head, or None when none was signed."""
    if not place.heads.exists():
        return None
    line, _ = last_line(place.heads)
    try:
        return head_of_line(line) if line else None
    except ValueError as fault:
        raise LedgerError(f"{place.heads} was changed: run `cellfleet ledger audit`") from fault
