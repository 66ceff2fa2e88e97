"""Heads and cosignatures as files: for a witness that sees no folder of the keeper's.

Here belongs the form of the two files. What a witness checks and signs is in witness.py. The keeper sends an offer
(newest head, and the proof that it continues the head that the site cosigned last), the site answers with its
cosignature. Both hold hashes and signatures only; they may go by mail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from warehouse.ledger.entries import LedgerError
from warehouse.ledger.files import Place, from_json_line, parsed, to_json_line
from warehouse.ledger.heads import HEAD_FIELDS, Head, read_heads
from warehouse.ledger.witness import (
    SEEN_FIELDS,
    Seen,
    accepted_of_line,
    consistency,
    cosign,
    last_seen,
)

FORMAT = "cellfleet ledger offer 1"


def offer(folder: Path, site: str) -> dict[str, Any]:
    """What the keeper sends to a site: format, head, `since` (entries the site saw last) and the proof from there.

    Raises LedgerError where no head is signed or the log does not hold what the site saw.
    """
    place = Place(folder)
    heads = read_heads(place.heads) if place.heads.exists() else ()
    if not heads:
        raise LedgerError(f"{folder} has no signed head: sign one first")
    seen = [one.head for _, one in parsed(place.cosignatures, accepted_of_line) if one.site == site]
    since = seen[-1].size if seen else 0
    way = consistency(folder, since, heads[-1].size) if since <= heads[-1].size else []
    return {
        "format": FORMAT,
        "head": heads[-1].content,
        "since": since,
        "consistency": [step.hex() for step in way],
    }


def cosign_offer(
    witness: Path,
    content: Mapping[str, Any],
    *,
    site: str,
    key: Ed25519PrivateKey,
    keeper: str,
    seen_at: datetime,
) -> Seen:
    """At a site: check an offer against what was seen before, keep its head, and cosign it.

    Raises LedgerError where the file is no offer, starts from another head than the site's last, or its signature is
    wrong; ForkSeenError where the log no longer begins with what the site saw.
    """
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        head = Head(**from_json_line(to_json_line(dict(content["head"])), HEAD_FIELDS))
        way = [bytes.fromhex(str(step)) for step in content["consistency"]]
        since = int(content["since"])
    except (KeyError, TypeError, ValueError) as fault:
        raise LedgerError(f"this is no offer of a ledger ({fault}): ask the keeper for another") from fault
    last = last_seen(witness)
    if (
        last is not None
        and last != head
        and last.size != since
        and last.size <= head.size
        and last.at < head.at
    ):
        raise LedgerError(
            f"the offer starts from {since} entries and {site} saw {last.size} last: "
            "send the keeper your last answer, and ask for an offer made after it"
        )
    return cosign(witness, head, way, site=site, key=key, keeper=keeper, seen_at=seen_at)


def read_answer(content: Mapping[str, Any]) -> Seen:
    """What a site answered with. Raises LedgerError where the file is no answer."""
    try:
        return Seen.of(from_json_line(to_json_line(dict(content)), SEEN_FIELDS))
    except (TypeError, ValueError) as fault:
        raise LedgerError(f"this is no answer of a witness ({fault}): ask the site for another") from fault


def read_file(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises LedgerError where it is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise LedgerError(f"{path} cannot be read as JSON: {fault}") from fault
    if not isinstance(content, dict):
        raise LedgerError(f"{path} holds no JSON object: give the file that was sent")
    return content
