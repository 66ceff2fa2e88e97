"""The keeper's daily act: sign what the log is now.

Here belongs making the next head of a stored log. Keys and the form of a head are in heads.py.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from warehouse.ledger.entries import LedgerError, utc_text
from warehouse.ledger.files import append_line, node_reader, to_json_line
from warehouse.ledger.heads import Head, last_head, make_head, public_hex
from warehouse.ledger.log import writer
from warehouse.ledger.tree import fold, root_of


def sign_head(folder: Path, key: Ed25519PrivateKey, at: datetime) -> Head:
    """Sign the log in `folder` as it is at the time `at`, store the head, and return it.

    Called again with the same time and nothing appended it returns the head that is there. Raises
    LedgerError when the log is empty, no longer begins with what was signed last, the key is another, or
    `at` is not the latest time.
    """
    with writer(folder) as ledger:
        place, moment = ledger.place, utc_text(at)
        if ledger.size == 0:
            raise LedgerError(f"{folder} holds no entry yet: there is nothing to sign")
        last = last_head(place)
        head = make_head(ledger.size, fold(ledger.peaks).hex(), moment, key)
        if last is not None:
            if last == head:
                return last
            if last.key != public_hex(key):
                raise LedgerError(
                    f"{folder} is signed with key {last.key}, not {public_hex(key)}: use that key"
                )
            with node_reader(place.tree) as read:
                begins = last.size <= ledger.size and root_of(read, last.size).hex() == last.root
            if not begins:
                raise LedgerError(
                    f"{folder} does not begin with what was signed at {last.at}: run `cellfleet ledger audit`"
                )
        if moment < ledger.earliest() or (last is not None and moment == last.at):
            raise LedgerError(
                f"{moment} is not later than {ledger.earliest()}, up to which the ledger is recorded"
            )
        append_line(place.heads, to_json_line(head.content), place.torn)
        return head
