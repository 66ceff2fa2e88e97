"""The columns, codes and words of northgate's relational LIMS.

Belongs here: names and how single values are printed. Does not belong here: the files (northgate.py).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pipelines.simulator.world import Row

from .common import Assay, Column, number, result_text, same, text, words

# fmt: off
ASSAYS = {
    "VIAB": Assay("VIAB", "TB-01", "%", 1), "CD3": Assay("CD3", "FC-02", "%", 1),
    "CAR": Assay("CAR", "FC-02", "%", 1), "VCN": Assay("VCN", "DD-01", "copies/cell", 2),
    "CD4CD8": Assay("CD4CD8", "FC-02", "1", 2), "IFNG": Assay("IFNG", "EL-03", "pg/mL", 0),
    "KILL": Assay("KILL", "FC-05", "%", 1), "ENDO": Assay("ENDO", "LAL-01", "EU/mL", 2),
    "STER": Assay("STER", "BACT-01", "", 0), "MYCO": Assay("MYCO", "PCR-07", "", 0),
    "RCL": Assay("RCL", "PCR-08", "", 0), "BEADS": Assay("BEADS", "MIC-01", "beads/3e6 cells", 0),
    "TVC": Assay("TVC", "TB-01", "cells", 0), "TVCAR": Assay("TVCAR", "FC-02", "cells", 0),
    "FOLD": Assay("FOLD", "TB-01", "fold", 1),
}
RETIRED = "VIAB_OLD"
FREE_TEXT = "COMMENT"


def utc(value: datetime | None) -> str | None:
    """UTC text as the LIMS stores it."""
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _flag(value: bool) -> int:
    return int(value)


def _rounded(decimals: int) -> Any:
    return lambda v: None if v is None else round(float(v), decimals)


def shown_result(row: Row) -> str:
    """The text in RESULT_TEXT."""
    return result_text(ASSAYS[row["test"]], row)


_STATUS = words({"open": "OPEN", "done": "DONE", "withdrawn": "WITHDRAWN", "died": "DIED"})
_UPPER = words({k: k.upper() for k in ("in_process", "complete", "terminated", "released", "rejected",
"pending",
                                       "oos_released")})
_MODIFIED: Column = ("MODIFIED_AT TEXT NOT NULL", "modified", utc)
FEEDS: dict[str, tuple[str, tuple[Column, ...]]] = {
    "order": ("TREATMENT_ORDER", (
        ("ORDER_NO TEXT PRIMARY KEY", "order_id", same), ("HOSPITAL_NO TEXT", "mrn", same),
        ("PATIENT_NAME TEXT", "name", same), ("DATE_OF_BIRTH TEXT", "dob", _day), ("SEX TEXT", "sex", same),
        ("DIAGNOSIS TEXT", "dx", same), ("PRIOR_LINES INTEGER", "prior_lines", same),
        ("BENDA_180D INTEGER", "benda", _flag), ("ECOG INTEGER", "ecog", same),
        ("LDH_BAND TEXT", "ldh", same),
        ("PRODUCT_CODE TEXT", "product", same), ("COI TEXT", "coi", same), ("SLOT_DATE TEXT", "slot", _day),
        ("ORDERED_AT TEXT", "ordered_at", utc), ("STATUS TEXT", "status", _STATUS),
        ("COMMENT TEXT", "comment", same), _MODIFIED)),
    "collection": ("COLLECTION", (
        ("COLLECTION_NO TEXT PRIMARY KEY", "collection_id", same), ("ORDER_NO TEXT", "order_id", same),
        ("DIN TEXT", "din", same), ("STARTED_AT TEXT", "start", utc), ("ENDED_AT TEXT", "end", utc),
        ("TNC_E9 REAL", "tnc", _rounded(2)), ("CD3_E9 REAL", "cd3", _rounded(2)),
        ("CD3_PCT REAL", "cd3_pct", _rounded(1)), ("VOLUME_ML REAL", "volume_ml", _rounded(0)),
        ("TBV_L REAL", "tbv_l", _rounded(1)), ("ANTICOAGULANT TEXT", "anticoagulant", same), _MODIFIED)),
    "batch": ("BATCH", (
        ("BATCH_NO TEXT PRIMARY KEY", "batch_id", same), ("ORDER_NO TEXT", "order_id", same),
        ("PRODUCT_CODE TEXT", "product", same), ("SUITE TEXT", "suite", same),
        ("PROTOCOL_VERSION TEXT", "protocol", same), ("ATTEMPT_NO INTEGER", "attempt", same),
        ("STATUS TEXT", "status", _UPPER), ("STARTED_AT TEXT", "started", utc),
        ("HARVESTED_AT TEXT", "harvested", utc), ("FORMULATED_AT TEXT", "formulated", utc),
        ("DISPOSITION TEXT", "disposition", _UPPER), ("TERMINATION_CAUSE TEXT", "cause", same), _MODIFIED)),
    "unit_operation": ("UNIT_OPERATION", (
        ("OPERATION_NO TEXT PRIMARY KEY", "op_id", same), ("BATCH_NO TEXT", "batch_id", same),
        ("UNIT_PROCEDURE TEXT", "unit_procedure", same), ("OPERATION TEXT", "operation", same),
        ("PHASE TEXT", "phase", same), ("STARTED_AT TEXT", "start", utc), ("ENDED_AT TEXT", "end", utc),
        ("EQUIPMENT_NO TEXT", "equipment_id", same), ("OPERATOR_ROLE TEXT", "role", same),
        ("AUTOMATION TEXT", "automation", same), _MODIFIED)),
    "equipment": ("EQUIPMENT", (
        ("EQUIPMENT_NO TEXT PRIMARY KEY", "equipment_id", same), ("MODEL TEXT", "model", same),
        ("SERIAL TEXT", "serial", same), ("FIRMWARE TEXT", "firmware", same),
        ("QUALIFICATION_DUE TEXT", "qualification_due", _day), _MODIFIED)),
    "reagent_lot": ("REAGENT_LOT", (
        ("LOT_NO TEXT PRIMARY KEY", "lot_id", same), ("MATERIAL TEXT", "material", same),
        ("SUPPLIER TEXT", "supplier", same), ("GTIN TEXT", "gtin", same),
        ("RECEIVED_ON TEXT", "received", _day),
        ("EXPIRES_ON TEXT", "expires", _day), ("QTY REAL", "qty", same), ("TITRE REAL", "titre", same),
        ("STATUS TEXT", "status", same), _MODIFIED)),
    "lot_use": ("LOT_USE", (
        ("BATCH_NO TEXT", "batch_id", same), ("LOT_NO TEXT", "lot_id", same), ("QTY REAL", "qty", same),
        ("PHASE TEXT", "phase", same), _MODIFIED)),
    "sample": ("SAMPLE", (
        ("SAMPLE_NO TEXT PRIMARY KEY", "sample_id", same), ("BATCH_NO TEXT", "batch_id", same),
        ("POINT TEXT", "point", same), ("TAKEN_AT TEXT", "taken_at", utc), _MODIFIED)),
    "assay": ("RESULT", (
        ("RESULT_NO TEXT PRIMARY KEY", "result_id", same), ("SAMPLE_NO TEXT", "sample_id", same),
        ("BATCH_NO TEXT", "batch_id", same),
        ("TEST_CODE TEXT", "*", lambda r: r.get("raw_test") or ASSAYS[r["test"]].code),
        ("METHOD_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].method), ("LAB TEXT", "lab", same),
        ("RESULT_TEXT TEXT", "*", shown_result),
        ("UNIT TEXT", "*", lambda r: r.get("raw_unit") or ASSAYS[r["test"]].unit),
        ("REPLICATE INTEGER", "replicate", same), ("ANALYST_ROLE TEXT", "role", same),
        ("RESULT_AT TEXT", "result_at", utc), _MODIFIED, ("CHANGE_REASON TEXT", "reason", same))),
    "study": ("STUDY_RESULT", (
        ("RESULT_NO TEXT PRIMARY KEY", "result_id", same), ("STUDY_NO TEXT", "study", same),
        ("ARM TEXT", "arm", same), ("DONOR_NO TEXT", "donor", same), ("LOT_NO TEXT", "lot", same),
        ("TEST_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].code),
        ("METHOD_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].method), ("LAB TEXT", "lab", same),
        ("RESULT_TEXT TEXT", "*", shown_result), ("UNIT TEXT", "*", lambda r: ASSAYS[r["test"]].unit),
        ("REPLICATE INTEGER", "replicate", same), ("RESULT_AT TEXT", "result_at", utc), _MODIFIED)),
    "deviation": ("DEVIATION", (
        ("DEVIATION_NO TEXT PRIMARY KEY", "deviation_id", same), ("BATCH_NO TEXT", "batch_id", same),
        ("CLASS TEXT", "klass", same), ("CAUSE TEXT", "cause", same), ("OPENED_AT TEXT", "opened", utc),
        ("CLOSED_AT TEXT", "closed", utc), _MODIFIED)),
    "specification": ("SPECIFICATION", (
        ("SPEC_NO TEXT", "spec_id", same), ("PRODUCT_CODE TEXT", "product", same),
        ("VERSION INTEGER", "version", same), ("EFFECTIVE_FROM TEXT", "effective_from", _day),
        ("EFFECTIVE_TO TEXT", "effective_to", _day),
        ("APPROVED_BY_ROLE TEXT", "approved_by", same), _MODIFIED)),
    "spec_limit": ("SPEC_LIMIT", (
        ("SPEC_NO TEXT", "spec_id", same), ("VERSION INTEGER", "version", same),
        ("TEST_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].code),
        ("METHOD_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].method), ("LOW REAL", "low", same),
        ("HIGH REAL", "high", same), ("INCLUSIVE INTEGER", "inclusive", _flag), ("STAGE TEXT", "stage", same),
        ("BLOCKING INTEGER", "blocking", _flag),
        ("UNIT TEXT", "*", lambda r: ASSAYS[r["test"]].unit), _MODIFIED)),
    "release": ("RELEASE_DECISION", (
        ("RELEASE_NO TEXT PRIMARY KEY", "release_id", same), ("BATCH_NO TEXT", "batch_id", same),
        ("DECISION TEXT", "decision", same), ("SPEC_NO TEXT", "spec_id", same),
        ("SPEC_VERSION INTEGER", "spec_version", same), ("SIGNER_ROLE TEXT", "role", same),
        ("SIGNED_AT TEXT", "signed_at", utc), ("CONDITIONAL_ON TEXT", "condition", same), _MODIFIED)),
    "custody": ("CUSTODY_EVENT", (
        ("EVENT_NO TEXT PRIMARY KEY", "event_id", same), ("COI TEXT", "coi", same),
        ("OBJECT TEXT", "object", same),
        ("KIND TEXT", "kind", same), ("FROM_PARTY TEXT", "giver", same), ("TO_PARTY TEXT", "taker", same),
        ("PLACE TEXT", "place", same), ("HAPPENED_AT TEXT", "happened_at", utc),
        ("VERIFIED_BY_2 INTEGER", "verified", _flag), ("TEMP_C REAL", "temp_c", same),
        ("SEQ INTEGER", "seq", same),
        ("PREV_HASH TEXT", "prev_hash", same), ("LEAF_HASH TEXT", "leaf_hash", same), _MODIFIED)),
    "infusion": ("INFUSION", (
        ("INFUSION_NO TEXT PRIMARY KEY", "infusion_id", same), ("ORDER_NO TEXT", "order_id", same),
        ("BATCH_NO TEXT", "batch_id", same), ("INFUSED_AT TEXT", "infused_at", utc),
        ("CAR_POS_VIABLE_CELLS_E6 REAL", "dose_e6", same), ("PER_KG_E6 REAL", "per_kg_e6", same),
        ("BAGS INTEGER", "bags", same), ("OOS INTEGER", "oos", _flag), _MODIFIED)),
    "material": ("MATERIAL_MASTER", (
        ("MATERIAL_NO TEXT PRIMARY KEY", "material_id", same), ("MATERIAL_CLASS TEXT", "material", same),
        ("DESCRIPTION TEXT", "name", same), ("SUPPLIER TEXT", "supplier", same), ("GTIN TEXT", "gtin", same),
        ("STORAGE TEXT", "storage", same), _MODIFIED)),
    "batch_genealogy": ("MATERIAL_GENEALOGY", (
        ("PARENT_NO TEXT", "parent", same), ("CHILD_NO TEXT", "child", same),
        ("LINK TEXT", "kind", words({"collection": "COL-BAT", "lot": "LOT-BAT", "infusion": "BAT-INF"})),
        _MODIFIED)),
    "assay_method": ("ASSAY_METHOD", (
        ("TEST_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].code),
        ("METHOD_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].method), ("VERSION TEXT", "version", same),
        ("LOD REAL", "lod", same), ("LOQ REAL", "loq", same), ("RANGE_LOW REAL", "low", same),
        ("RANGE_HIGH REAL", "high", same), ("CV_PCT REAL", "cv", same),
        ("UNIT TEXT", "*", lambda r: ASSAYS[r["test"]].unit), _MODIFIED)),
}
COSTS: tuple[Column, ...] = (
    ("cost_ref", "cost_id", text), ("batch_no", "batch_id", text), ("cost_centre", "category", text),
    ("amount", "amount", number(2)), ("currency", "*", lambda _: "GBP"), ("posted_on", "date", _day),
)
