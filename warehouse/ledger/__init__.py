"""The ledger: an append-only Merkle log (RFC 6962, 9162) whose proofs anyone can check with one file,
verify.py.

Here belong custody events, release decisions, specification versions and published snapshots as
commitments. What they mean does not belong here: the ledger logs what it is given.

What others use, each function taking the ledger's folder (`$CELLFLEET_HOME/ledger`) as its first argument:

    append(folder, entries, at=None) -> Appended              log entries: on disk on return, idempotent
    erase(folder, entry_id, reason, at=None)                  erase salt and text; the log stays
    sign_head(folder, key, at) -> Head                        once a day; new_key(path), read_key(path)
    prove(folder, entry_id, *, show=True, kept=None) -> dict  what `python verify.py PROOF.json` checks
    check_proof(proof, key=None, witnesses=(), kept=None)     the same check as a function
    audit(folder, witnesses=(), *, key=None, authority=(), public_only=False) -> AuditReport
    last_seen(witness), consistency(folder, first, second), cosign(witness, …) -> Seen, accept(folder, seen)
    stamp(folder, ask, authority), http_authority(url), read_certificates(path)      RFC 3161

Every refusal is a LedgerError with one sentence; a proof that does not hold is a Refused.
"""

from warehouse.ledger.audit import AuditReport, audit
from warehouse.ledger.entries import KINDS, Entry, LedgerError
from warehouse.ledger.heads import Head, new_key, public_hex, read_heads, read_key
from warehouse.ledger.log import Appended, append, erase
from warehouse.ledger.proofs import prove
from warehouse.ledger.signing import sign_head
from warehouse.ledger.stamps import check_stamp, http_authority, read_certificates, stamp
from warehouse.ledger.verify import Refused, check_proof
from warehouse.ledger.walk import Finding
from warehouse.ledger.witness import ForkSeenError, Seen, accept, consistency, cosign, last_seen

__all__ = [
    "KINDS",
    "Appended",
    "AuditReport",
    "Entry",
    "Finding",
    "ForkSeenError",
    "Head",
    "LedgerError",
    "Refused",
    "Seen",
    "accept",
    "append",
    "audit",
    "check_proof",
    "check_stamp",
    "consistency",
    "cosign",
    "erase",
    "http_authority",
    "last_seen",
    "new_key",
    "prove",
    "public_hex",
    "read_certificates",
    "read_heads",
    "read_key",
    "sign_head",
    "stamp",
]
