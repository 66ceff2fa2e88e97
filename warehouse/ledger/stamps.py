"""Time stamps by RFC 3161: an authority outside the fleet says that a head existed at a time.

Here belong the request, the keeping of the answer and its check. The authority is the user's choice; with
none, the heads' own times and the witnesses' are all there is.

The stamp is over the head's signed bytes and its signature. The chain of the authority must not be in the
answer (no `certs` in an `openssl ts` configuration): rfc3161-client refuses it.
"""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from warehouse.ledger.entries import LedgerError
from warehouse.ledger.files import Place, append_line, from_json_line, parsed, to_json_line
from warehouse.ledger.heads import HEX32, TIME, Head, read_heads

STAMP_FIELDS = {"head_at": TIME, "number": None, "response": "[0-9a-f]+", "sha256": HEX32}
_LONGEST = 1 << 18


def stamped_bytes(head: Head) -> bytes:
    """What the authority stamps: the head as signed."""
    return head.message + bytes.fromhex(head.signature)


def http_authority(url: str, timeout: float = 30.0) -> Callable[[bytes], bytes]:
    """An authority that answers over HTTP (RFC 3161 section 3.4). Failures to reach it are OSError: try
    again."""
    if not url.startswith(("https://", "http://")):
        raise LedgerError(f"the time stamp authority {url!r} is no http address: give its full address")

    def ask(request: bytes) -> bytes:
        question = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            url, data=request, headers={"Content-Type": "application/timestamp-query"}
        )
        with urllib.request.urlopen(question, timeout=timeout) as answer:  # noqa: S310 - the scheme is checked above
            content: bytes = answer.read(_LONGEST)
        return content

    return ask


def read_certificates(path: Path) -> list[Certificate]:
    """The authority's certificates from a PEM file: the signing one first, then its issuers."""
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise LedgerError(f"{path} cannot be read as PEM certificates: {fault}") from fault


def check_stamp(
    head: Head, response: bytes, authority: Sequence[Certificate], nonce: int | None = None
) -> datetime:
    """The time (UTC) at which the authority says the head existed.

    `authority` holds its signing certificate first, then its issuers. Raises LedgerError when the answer is
    not a stamp by that authority over this head.
    """
    signer, issuers = authority[0], authority[1:] or authority[:1]
    try:
        answer = decode_timestamp_response(response)
        VerifierBuilder(tsa_certificate=signer, roots=list(issuers), nonce=nonce).build().verify_message(
            answer, stamped_bytes(head)
        )
    except (VerificationError, ValueError) as fault:
        raise LedgerError(f"the time stamp on the head of {head.at} does not hold: {fault}") from fault
    return answer.tst_info.gen_time.astimezone(UTC)


def stamp(folder: Path, ask: Callable[[bytes], bytes], authority: Sequence[Certificate]) -> datetime:
    """Have the newest head stamped, check the answer, and keep it; return the authority's time.

    `ask` sends a DER request and returns the DER answer, as `http_authority` does. Raises LedgerError when
    there is no head or the answer does not hold; a failure of `ask` passes through.
    """
    place = Place(folder)
    with place.locked(write=True):
        heads = read_heads(place.heads)
        if not heads:
            raise LedgerError(f"{folder} has no signed head: sign one first")
        head = heads[-1]
        request = (
            TimestampRequestBuilder().data(stamped_bytes(head)).hash_algorithm(HashAlgorithm.SHA256).build()
        )
        response = ask(request.as_bytes())
        at = check_stamp(head, response, authority, request.nonce)
        digest = hashlib.sha256(response).hexdigest()
        number = len(parsed(place.stamps, read_stamp))
        line = to_json_line(
            {"head_at": head.at, "number": number, "response": response.hex(), "sha256": digest}
        )
        append_line(place.stamps, line, place.torn)
        return at


def read_stamp(line: bytes) -> tuple[int, str, bytes]:
    """Number of a line of stamps.jsonl, from 0, time of the head and the authority's answer from a line of
    stamps.jsonl; ValueError when a byte differs."""
    content = from_json_line(line, STAMP_FIELDS)
    response = bytes.fromhex(content["response"])
    if hashlib.sha256(response).hexdigest() != content["sha256"]:
        raise ValueError("the answer does not have its hash")
    return content["number"], content["head_at"], response
