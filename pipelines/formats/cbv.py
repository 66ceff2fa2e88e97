"""The words of GS1's Core Business Vocabulary 2.0 that EPCIS events are checked against.

Here: word lists and how a word may be written. What an event must hold belongs in `epcis`.
"""

from __future__ import annotations

import re

BIZ_STEPS = frozenset(
    [
        "accepting",
        "arriving",
        "assembling",
        "collecting",
        "commissioning",
        "consigning",
        "creating_class_instance",
        "cycle_counting",
        "decommissioning",
        "departing",
        "destroying",
        "disassembling",
        "dispensing",
        "encoding",
        "entering_exiting",
        "holding",
        "inspecting",
        "installing",
        "killing",
        "loading",
        "other",
        "packing",
        "picking",
        "receiving",
        "removing",
        "repackaging",
        "repairing",
        "replacing",
        "reserving",
        "retail_selling",
        "sampling",
        "sensor_reporting",
        "shipping",
        "staging_outbound",
        "stock_taking",
        "stocking",
        "storing",
        "transporting",
        "unloading",
        "unpacking",
        "void_shipping",
    ]
)
DISPOSITIONS = frozenset(
    [
        "active",
        "available",
        "completeness_inferred",
        "completeness_verified",
        "conformant",
        "container_closed",
        "container_open",
        "damaged",
        "destroyed",
        "dispensed",
        "disposed",
        "encoded",
        "expired",
        "in_progress",
        "in_transit",
        "inactive",
        "mismatch_class",
        "mismatch_instance",
        "mismatch_quantity",
        "needs_replacement",
        "no_pedigree_match",
        "non_conformant",
        "non_sellable_other",
        "partially_dispensed",
        "recalled",
        "reserved",
        "retail_sold",
        "returned",
        "sellable_accessible",
        "sellable_not_accessible",
        "stolen",
        "unavailable",
        "unknown",
    ]
)
TRANSACTION_TYPES = frozenset(
    [
        "bol",
        "cert",
        "desadv",
        "inv",
        "pedigree",
        "po",
        "poc",
        "prodorder",
        "recadv",
        "rma",
        "testprd",
        "testres",
        "upevt",
    ]
)
PARTY_TYPES = frozenset(["location", "owning_party", "possessing_party"])
ERROR_REASONS = frozenset(["did_not_occur", "incorrect_data"])

_OWN = re.compile(
    r"(?:https?://(?:ref|ns)\.gs1\.org/cbv/\w+-|urn:epcglobal:cbv:(?:bizstep|disp|btt|sdt|er):)(.+)"
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


def known(word: object, words: frozenset[str]) -> bool:
    """A bare word must be in the list, as must one under GS1's own addresses; other URIs are the user's."""
    if not isinstance(word, str):
        return False
    if own := _OWN.fullmatch(word):
        return own[1] in words
    return word in words or _URI.fullmatch(word) is not None
