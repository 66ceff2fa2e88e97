"""Witnesses: each site keeps the heads it saw and signs that it saw them, so that the keeper cannot show
two logs.

Here belongs what runs at a site (`cosign`) and what the keeper does with the answer (`accept`). A witness
needs no entry and no file of the ledger: a head, the consistency proof from the head it saw last, and its
own folder with witness.jsonl (what it saw and signed) and conflicts.jsonl (two heads that cannot both be
true, each signed by the keeper: evidence that anyone can check).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from warehouse.ledger.entries import LedgerError, utc_text
from warehouse.ledger.files import (
    Place,
    append_line,
    from_json_line,
    last_line,
    node_reader,
    parsed,
    to_json_line,
)
from warehouse.ledger.heads import (
    HEAD_FIELDS,
    HEX32,
    HEX64,
    TIME,
    Head,
    public_hex,
    read_heads,
    signature_fits,
)
from warehouse.ledger.tree import consistency_path
from warehouse.ledger.verify import check_consistency, cosigned_message

FILE = "witness.jsonl"
CONFLICTS = "conflicts.jsonl"
_OWN_FIELDS = {"site": "[^\n]{1,100}", "seen_at": TIME, "site_key": HEX32, "cosignature": HEX64}
SEEN_FIELDS = {**HEAD_FIELDS, **_OWN_FIELDS}


class ForkSeenError(LedgerError):
    """The keeper's new head contradicts one that it signed before. Both are kept at the site."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A head as a site saw and signed it."""

    head: Head
    site: str
    seen_at: str
    site_key: str
    cosignature: str

    @classmethod
    def of(cls, content: dict[str, Any]) -> Seen:
        """From the fields of a line."""
        own = {name: content[name] for name in _OWN_FIELDS}
        return cls(Head(**{name: content[name] for name in HEAD_FIELDS}), **own)

    @property
    def content(self) -> dict[str, Any]:
        """The fields of its line."""
        own = {name: value for name, value in asdict(self).items() if name != "head"}
        return {**self.head.content, **own}

    @property
    def holds(self) -> bool:
        """Whether both signatures fit."""
        message = cosigned_message(self.site, self.seen_at, self.head.message, self.head.signature)
        return self.head.holds and signature_fits(self.site_key, message, self.cosignature)

    @property
    def as_proof(self) -> dict[str, Any]:
        """The cosignature as a proof shows it."""
        return {
            "site": self.site,
            "seen_at": self.seen_at,
            "key": self.site_key,
            "signature": self.cosignature,
        }


def seen_of_line(line: bytes) -> Seen:
    """Read a line of witness.jsonl; ValueError when a byte of its form differs."""
    return Seen.of(from_json_line(line, SEEN_FIELDS))


def accepted_of_line(line: bytes) -> tuple[int, Seen]:
    """Read a line of the keeper's cosignatures.jsonl: its number there, from 0, and what the site signed."""
    content = from_json_line(line, {**SEEN_FIELDS, "number": None})
    return content["number"], Seen.of(content)


def last_seen(witness: Path) -> Head | None:
    """The newest head that this witness saw: what the keeper must prove consistency with."""
    path = witness / FILE
    if not path.exists():
        return None
    line, _ = last_line(path)
    try:
        return seen_of_line(line).head if line else None
    except ValueError as fault:
        raise LedgerError(f"{path} was changed: restore it from the site's backup") from fault


def consistency(folder: Path, first: int, second: int) -> list[bytes]:
    """For the keeper: the proof, at most 2·log2(second) hashes, that `first` entries are unchanged in
    `second`."""
    place = Place(folder)
    with place.locked(write=False), node_reader(place.tree) as read:
        return consistency_path(read, first, second) if first else []


def cosign(
    witness: Path,
    head: Head,
    proof: Sequence[bytes],
    *,
    site: str,
    key: Ed25519PrivateKey,
    keeper: str,
    seen_at: datetime,
) -> Seen:
    """At a site: check a head against what was seen before, keep it, and sign that it was seen.

    `proof` leads from `last_seen` to `head`; `keeper` is the ledger's public key in hex as the site knows
    it. A head seen last already is answered as before. Raises LedgerError when the signature or the key is
    wrong and ForkSeenError, with both heads kept in conflicts.jsonl, when the log no longer begins with
    what the site saw.
    """
    if head.key != keeper or not head.holds:
        raise LedgerError(
            f"the head of {head.at} is not signed with the ledger's key {keeper}: ask for another"
        )
    witness.mkdir(parents=True, exist_ok=True)
    path, last = witness / FILE, last_seen(witness)
    if last == head:
        return seen_of_line(last_line(path)[0])
    if last is not None:
        grown = last.at < head.at and check_consistency(
            last.size, head.size, proof, bytes.fromhex(last.root), bytes.fromhex(head.root)
        )
        if not grown:
            pair = to_json_line(last.content) + to_json_line(head.content)
            append_line(witness / CONFLICTS, pair, witness / "torn")
            raise ForkSeenError(
                f"the head of {head.at} ({head.size} entries) does not continue what {site} saw at {last.at}"
                f" ({last.size} entries): both are kept in {witness / CONFLICTS}"
            )
    moment = utc_text(seen_at)
    signature = key.sign(cosigned_message(site, moment, head.message, head.signature)).hex()
    seen = Seen(head, site, moment, public_hex(key), signature)
    append_line(path, to_json_line(seen.content), witness / "torn")
    return seen


def accept(folder: Path, seen: Seen) -> None:
    """For the keeper: keep a cosignature that a site gave. Raises LedgerError when it is not under a head
    of ours."""
    place = Place(folder)
    with place.locked(write=True):
        if seen.head not in read_heads(place.heads) or not seen.holds:
            raise LedgerError(f"the cosignature of {seen.site} is not under a head of this ledger")
        accepted = parsed(place.cosignatures, accepted_of_line)
        if seen not in [one for _, one in accepted]:
            line = to_json_line({**seen.content, "number": len(accepted)})
            append_line(place.cosignatures, line, place.torn)
