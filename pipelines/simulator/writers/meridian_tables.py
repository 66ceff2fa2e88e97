"""The keys, codes and words of meridian's JSON lines.

Belongs here: names and how single values are printed. Does not belong here: the files (meridian.py).
"""

from __future__ import annotations

from datetime import date
from typing import Any

from pipelines.simulator.world import Row

from .common import Assay, Column, epoch_ms, number, result_text, same

# fmt: off
ASSAYS = {
    "VIAB": Assay("VIAB_FLOW", "7AAD_FLOW", "%", 1), "CD3": Assay("CD3", "FLOW", "%", 1),
    "CAR": Assay("CARPOS", "FLOW", "%", 1),
    "VCN": Assay("VCN_TRANSDUCED", "DDPCR_TRANSDUCED", "copies/transduced cell", 2),
    "CD4CD8": Assay("CD4_CD8", "FLOW", "1", 2), "IFNG": Assay("IFNG", "ELISA", "pg/mL", 0),
    "KILL": Assay("KILLING", "FLOW", "%", 1), "ENDO": Assay("ENDOTOXIN", "LAL", "EU/mL", 2),
    "STER": Assay("STERILITY", "CULTURE", "", 0), "MYCO": Assay("MYCOPLASMA", "PCR", "", 0),
    "RCL": Assay("RCL", "PCR", "", 0), "BEADS": Assay("BEADS", "BEAD_COUNT", "beads/3e6 cells", 0),
    "TVC": Assay("TVC", "AUTO_COUNT", "cells", 0), "TVCAR": Assay("TVCAR", "FLOW", "cells", 0),
    "FOLD": Assay("FOLD", "AUTO_COUNT", "fold", 1),
}
RETIRED = "VIAB_FLOW_V1"


def _iso(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def shown_result(row: Row) -> str:
    """The number or word of a result as text (the `<` stands in `operator`)."""
    return result_text(ASSAYS[row["test"]], row, sign=False)


def _value(row: Row) -> Any:
    if row.get("raw_value") is not None:
        raw = str(row["raw_value"])
        return raw if "," in raw else float(raw)
    return row["text"] if row["value"] is None else float(number(ASSAYS[row["test"]].decimals)(row["value"]))


def _of(part: str) -> Any:
    return lambda r: getattr(ASSAYS[r["test"]], part)


def _round(decimals: int) -> Any:
    return lambda v: None if v is None else round(float(v), decimals)


_MODIFIED: Column = ("modifiedMs", "modified", epoch_ms)
FEEDS: dict[str, tuple[str, tuple[Column, ...]]] = {
    "order": ("orders", (
        ("orderId", "order_id", same), ("mrn", "mrn", same), ("name", "name", same), ("dob", "dob", _iso),
        ("sex", "sex", same), ("indication", "dx", same), ("priorLines", "prior_lines", same),
        ("benda180d", "benda", same), ("ecog", "ecog", same), ("ldhBand", "ldh", same),
        ("product", "product", same),
        ("coiId", "coi", same), ("slotDate", "slot", _iso), ("orderedAtMs", "ordered_at", epoch_ms),
        ("status", "status", same), ("remark", "comment", same), _MODIFIED)),
    "collection": ("collections", (
        ("collectionId", "collection_id", same), ("orderId", "order_id", same), ("din", "din", same),
        ("startMs", "start", epoch_ms), ("endMs", "end", epoch_ms), ("tncE9", "tnc", _round(2)),
        ("cd3E9", "cd3", _round(2)), ("cd3Pct", "cd3_pct", _round(1)), ("volumeMl", "volume_ml", _round(0)),
        ("tbvL", "tbv_l", _round(1)), ("anticoagulant", "anticoagulant", same), _MODIFIED)),
    "sample": ("samples", (
        ("sampleId", "sample_id", same), ("batchId", "batch_id", same), ("point", "point", same),
        ("takenMs", "taken_at", epoch_ms), _MODIFIED)),
    "assay": ("results", (
        ("resultId", "result_id", same), ("sampleId", "sample_id", same), ("batchId", "batch_id", same),
        ("assay", "*", lambda r: r.get("raw_test") or ASSAYS[r["test"]].code), ("method", "*", _of("method")),
        ("lab", "lab", same), ("value", "*", _value),
        ("operator", "*", lambda r: "=" if r.get("raw_value") is not None else r["op"]),
        ("unit", "*", lambda r: r.get("raw_unit") or ASSAYS[r["test"]].unit),
        ("replicate", "replicate", same),
        ("analystRole", "role", same),
        ("resultMs", "result_at", epoch_ms), _MODIFIED, ("reason", "reason", same))),
    "reagent_lot": ("reagentLots", (
        ("lotId", "lot_id", same), ("material", "material", same), ("supplier", "supplier", same),
        ("gtin", "gtin", same), ("receivedOn", "received", _iso), ("expiresOn", "expires", _iso),
        ("qty", "qty", same),
        ("titre", "titre", same), ("status", "status", same), _MODIFIED)),
    "equipment": ("equipment", (
        ("equipmentId", "equipment_id", same), ("model", "model", same), ("serial", "serial", same),
        ("firmware", "firmware", same), ("qualificationDue", "qualification_due", _iso), _MODIFIED)),
    "deviation": ("deviations", (
        ("deviationId", "deviation_id", same), ("batchId", "batch_id", same), ("class", "klass", same),
        ("cause", "cause", same), ("openedMs", "opened", epoch_ms),
        ("closedMs", "closed", epoch_ms), _MODIFIED)),
    "specification": ("specifications", (
        ("specId", "spec_id", same), ("product", "product", same), ("version", "version", same),
        ("effectiveFrom", "effective_from", _iso), ("effectiveTo", "effective_to", _iso),
        ("approvedByRole", "approved_by", same), _MODIFIED)),
    "spec_limit": ("specLimits", (
        ("specId", "spec_id", same), ("version", "version", same), ("assay", "*", _of("code")),
        ("method", "*", _of("method")), ("low", "low", same), ("high", "high", same),
        ("inclusive", "inclusive", same),
        ("stage", "stage", same), ("blocking", "blocking", same), ("unit", "*", _of("unit")), _MODIFIED)),
    "release": ("releases", (
        ("releaseId", "release_id", same), ("batchId", "batch_id", same), ("decision", "decision", same),
        ("specId", "spec_id", same), ("specVersion", "spec_version", same), ("signerRole", "role", same),
        ("signedMs", "signed_at", epoch_ms), ("conditionalOn", "condition", same), _MODIFIED)),
    "infusion": ("infusions", (
        ("infusionId", "infusion_id", same), ("orderId", "order_id", same), ("batchId", "batch_id", same),
        ("infusedMs", "infused_at", epoch_ms), ("carPosViableCellsE6", "dose_e6", same),
        ("perKgE6", "per_kg_e6", same), ("bags", "bags", same), ("oos", "oos", same), _MODIFIED)),
    "outcome": ("outcomes", (
        ("outcomeId", "outcome_id", same), ("infusionId", "infusion_id", same),
        ("endpoint", "endpoint", same),
        ("day", "day", same), ("value", "value", same), ("censored", "censored", same), _MODIFIED)),
    "shipment": ("shipments", (
        ("shipmentId", "shipment_id", same), ("orderId", "order_id", same), ("coiId", "coi", same),
        ("object", "object", same), ("carrier", "carrier", same), ("from", "giver", same), ("to", "taker", same),
        ("dispatchedMs", "left", epoch_ms), ("deliveredMs", "arrived", epoch_ms), ("minC", "low", same),
        ("maxC", "high", same), _MODIFIED)),
}
# Master data: one file of several kinds, every line with every key.
KINDS: dict[str, dict[str, tuple[str, Any]]] = {
    "program": {"id": ("program_id", same), "sponsor": ("sponsor", same), "modality": ("modality", same),
                "phase": ("clinical_phase", same), "reference": ("reference", same)},
    "product": {"id": ("product_id", same), "programId": ("program_id", same), "construct": ("construct", same),
                "preservation": ("preservation", same), "dose": ("dose", same)},
    "suite": {"id": ("suite_id", same), "grade": ("grade", same), "capacity": ("capacity", same)},
    "material": {"id": ("material_id", same), "material": ("material", same), "name": ("name", same),
                 "supplier": ("supplier", same), "gtin": ("gtin", same), "storage": ("storage", same)},
    "assay_method": {"id": ("*", lambda r: f"{ASSAYS[r['test']].code}/{r['version']}"), "assay": ("*", _of("code")),
                     "method": ("*", _of("method")), "version": ("version", same), "unit": ("*", _of("unit")),
                     "lod": ("lod", same), "loq": ("loq", same), "rangeLow": ("low", same),
                     "rangeHigh": ("high", same), "cvPct": ("cv", same)},
    "activation_milestone": {"id": ("*", lambda r: f"{r['program_id']}/{r['step']}"), "programId": ("program_id", same),
                             "step": ("step", same), "planned": ("planned", _iso), "actual": ("actual", _iso)},
}
LOGGER: tuple[Column, ...] = (
    ("logger", "logger", same), ("shipment", "shipment_id", same),
    ("utc", "at", lambda v: f"{v:%Y-%m-%dT%H:%M:%SZ}"), ("celsius", "celsius", number(1)),
)
