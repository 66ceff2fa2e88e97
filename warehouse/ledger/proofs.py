"""Proofs for outsiders: what `verify.py` checks.

Here belongs making the proof of one entry. Checking it does not: that must run without us.
"""

from __future__ import annotations

import base64
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Any

from warehouse.ledger.catalogue import Catalogue
from warehouse.ledger.entries import LedgerError, mark_of
from warehouse.ledger.files import Place, node_reader, parsed
from warehouse.ledger.heads import Head, read_heads
from warehouse.ledger.log import stored_at
from warehouse.ledger.stamps import read_stamp
from warehouse.ledger.tree import consistency_path, inclusion_path
from warehouse.ledger.verify import FORMAT, check_inclusion
from warehouse.ledger.witness import accepted_of_line


def prove(folder: Path, entry_id: str, *, show: bool = True, kept: Head | None = None) -> dict[str, Any]:
    """The proof that an entry is in the log, as JSON for `verify.py`.

    It leads from the entry to the first head that covers it and from there to the newest head, through
    `kept` (a head the asker has from earlier) when given. With `show` off, or once the entry is erased,
    neither salt nor text is in it. Raises LedgerError when the id is unknown, no head covers it yet, or the
    stored log does not lead to what was signed.
    """
    place = Place(folder)
    with place.locked(write=False), node_reader(place.tree) as read:
        catalogue = Catalogue(place.catalogue)
        try:
            found = catalogue.find(mark_of(entry_id))
        finally:
            catalogue.close()
        if found is None:
            raise LedgerError(f"entry {entry_id} is not in the ledger: check its id")
        number, start = found
        _, stored, _ = stored_at(place, start)
        heads = read_heads(place.heads)
        first = bisect_right(heads, number, key=lambda head: head.size)
        if first == len(heads):
            raise LedgerError(f"no signed head covers entry {entry_id} yet: sign one first")
        if kept is not None and kept not in heads:
            raise LedgerError(f"the head kept, of {kept.at}, is none that this ledger signed")
        wanted = {first, len(heads) - 1, *([] if kept is None else [heads.index(kept)])}
        way = [heads[step] for step in sorted(wanted)]
        leaf, path = read(0, number), inclusion_path(read, number, heads[first].size)
        ways = [[], *(consistency_path(read, old.size, new.size) for old, new in pairwise(way))]
    covering = heads[first]
    whole = check_inclusion(leaf, number, covering.size, path, bytes.fromhex(covering.root))
    if not whole or not (stored.erased or stored.leaf == leaf):
        raise LedgerError(
            f"entry {entry_id} does not lead to the head of {covering.at}: run `cellfleet ledger audit`"
        )
    seen, stamps = parsed(place.cosignatures, accepted_of_line), parsed(place.stamps, read_stamp)
    steps = [
        {
            "head": head.content,
            "consistency": [part.hex() for part in part_way],
            "cosignatures": [one.as_proof for _, one in seen if one.head.at == head.at],
            "stamps": [
                base64.b64encode(response).decode() for _, head_at, response in stamps if head_at == head.at
            ],
        }
        for head, part_way in zip(way, ways, strict=True)
    ]
    shown = {"salt": stored.salt.hex(), "entry": stored.text.decode()} if show and not stored.erased else {}
    return {
        "format": FORMAT,
        "index": number,
        "leaf": leaf.hex(),
        **shown,
        "inclusion": [step.hex() for step in path],
        "heads": steps,
    }
