"""The columns, codes and words of prairie's CSV exports.

Belongs here: names and how single values are printed. Does not belong here: the files (prairie.py).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pipelines.simulator.world import Row

from .common import Assay, Column, local, number, result_text, text, words

TZ = "America/Chicago"

# fmt: off
ASSAYS = {
    "VIAB": Assay("viability", "trypan_blue", "%", 1), "CD3": Assay("cd3_pct", "flow", "%", 1),
    "CAR": Assay("car_pct", "flow", "%", 1), "VCN": Assay("vcn", "ddpcr", "copies/cell", 2),
    "CD4CD8": Assay("cd4_cd8", "flow", "1", 2), "IFNG": Assay("ifng", "elisa", "pg/mL", 0),
    "KILL": Assay("cytotox", "flow", "%", 1), "ENDO": Assay("endotoxin", "lal", "EU/mL", 2),
    "STER": Assay("sterility", "culture", "", 0), "MYCO": Assay("mycoplasma", "pcr", "", 0),
    "RCL": Assay("rcl", "pcr", "", 0), "BEADS": Assay("beads", "bead_count", "beads/3e6 cells", 0),
    "TVC": Assay("tvc", "hemocytometer", "cells", 0), "TVCAR": Assay("tv_car", "flow", "cells", 0),
    "FOLD": Assay("fold", "hemocytometer", "fold", 1),
}
RETIRED = "viability_old"


def _time(value: datetime | None) -> str:
    if value is None:
        return ""
    wall = local(value, TZ)[0]
    half = "AM" if wall.hour < 12 else "PM"
    return f"{wall.month}/{wall.day}/{wall.year} {wall.hour % 12 or 12}:{wall:%M} {half}"


def _day(value: date | None) -> str:
    return "" if value is None else f"{value.month}/{value.day}/{value.year}"


_yes = words({True: "Y", False: "N"})


def shown_result(row: Row) -> str:
    """The text in the column result."""
    return result_text(ASSAYS[row["test"]], row)


def _of(part: str) -> Any:
    return lambda r: getattr(ASSAYS[r["test"]], part)


def _bare(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


_MODIFIED: Column = ("last_updated", "modified", _time)
FEEDS: dict[str, tuple[str, tuple[Column, ...]]] = {
    "order": ("orders", (
        ("order_id", "order_id", text), ("mrn", "mrn", text), ("patient_name", "name", text),
        ("dob", "dob", _day),
        ("sex", "sex", text), ("dx", "dx", text), ("prior_lines", "prior_lines", text),
        ("benda_180d", "benda", _yes),
        ("ecog", "ecog", text), ("ldh_band", "ldh", text), ("product", "product", text),
        ("coi_id", "coi", text),
        ("slot_date", "slot", _day), ("ordered_at", "ordered_at", _time), ("status", "status", text),
        ("notes", "comment", text), _MODIFIED)),
    "collection": ("collections", (
        ("collection_id", "collection_id", text), ("order_id", "order_id", text), ("din", "din", text),
        ("start", "start", _time), ("end", "end", _time), ("tnc_e6", "tnc", number(0, factor=1000)),
        ("cd3_e6", "cd3", number(0, factor=1000)), ("cd3_pct", "cd3_pct", number(1)),
        ("volume_ml", "volume_ml", number(0)), ("tbv_l", "tbv_l", number(1)),
        ("anticoagulant", "anticoagulant", text),
        _MODIFIED)),
    "batch": ("batches", (
        ("batch_id", "batch_id", text), ("order_id", "order_id", text), ("product", "product", text),
        ("suite", "suite", text), ("protocol_version", "protocol", text), ("attempt", "attempt", text),
        ("status", "status", text), ("started", "started", _time), ("harvested", "harvested", _time),
        ("formulated", "formulated", _time), ("disposition", "disposition", text),
        ("termination_cause", "cause", text), _MODIFIED)),
    "unit_operation": ("unit_operations", (
        ("op_id", "op_id", text), ("batch_id", "batch_id", text), ("unit_procedure", "unit_procedure", text),
        ("operation", "operation", text), ("phase", "phase", text), ("start", "start", _time),
        ("end", "end", _time),
        ("equipment_id", "equipment_id", text), ("operator_role", "role", text),
        ("automation", "automation", text),
        _MODIFIED)),
    "equipment": ("equipment", (
        ("equipment_id", "equipment_id", text), ("model", "model", text), ("serial", "serial", text),
        ("firmware", "firmware", text), ("qualification_due", "qualification_due", _day), _MODIFIED)),
    "reagent_lot": ("reagent_lots", (
        ("lot_id", "lot_id", text), ("material", "material", text), ("supplier", "supplier", text),
        ("gtin", "gtin", text), ("received_on", "received", _day), ("expires_on", "expires", _day),
        ("qty", "qty", number(1)), ("titre", "titre", number(0)), ("status", "status", text), _MODIFIED)),
    "lot_use": ("lot_use", (
        ("batch_id", "batch_id", text), ("lot_id", "lot_id", text), ("qty", "qty", number(2)),
        ("phase", "phase", text), _MODIFIED)),
    "sample": ("samples", (
        ("sample_id", "sample_id", text), ("batch_id", "batch_id", text), ("point", "point", text),
        ("taken_at", "taken_at", _time), _MODIFIED)),
    "assay": ("results", (
        ("result_id", "result_id", text), ("sample_id", "sample_id", text), ("batch_id", "batch_id", text),
        ("test", "*", lambda r: r.get("raw_test") or ASSAYS[r["test"]].code), ("method", "*", _of("method")),
        ("lab", "lab", text), ("result", "*", shown_result),
        ("unit", "*", lambda r: r.get("raw_unit") or ASSAYS[r["test"]].unit),
        ("replicate", "replicate", text),
        ("analyst_role", "role", text),
        ("result_at", "result_at", _time), _MODIFIED, ("reason", "reason", text))),
    "deviation": ("deviations", (
        ("deviation_id", "deviation_id", text), ("batch_id", "batch_id", text), ("class", "klass", text),
        ("cause", "cause", text), ("opened_at", "opened", _time), ("closed_at", "closed", _time), _MODIFIED)),
    "specification": ("specifications", (
        ("spec_id", "spec_id", text), ("product", "product", text), ("version", "version", text),
        ("effective_from", "effective_from", _day), ("effective_to", "effective_to", _day),
        ("approved_by_role", "approved_by", text), _MODIFIED)),
    "spec_limit": ("spec_limits", (
        ("spec_id", "spec_id", text), ("version", "version", text), ("test", "*", _of("code")),
        ("method", "*", _of("method")), ("low", "low", _bare), ("high", "high", _bare),
        ("inclusive", "inclusive", _yes),
        ("stage", "stage", text), ("blocking", "blocking", _yes), ("unit", "*", _of("unit")), _MODIFIED)),
    "release": ("releases", (
        ("release_id", "release_id", text), ("batch_id", "batch_id", text), ("decision", "decision", text),
        ("spec_id", "spec_id", text), ("spec_version", "spec_version", text), ("signer_role", "role", text),
        ("signed_at", "signed_at", _time), ("conditional_on", "condition", text), _MODIFIED)),
    "infusion": ("infusions", (
        ("infusion_id", "infusion_id", text), ("order_id", "order_id", text), ("batch_id", "batch_id", text),
        ("infused_at", "infused_at", _time), ("car_pos_viable_cells_e6", "dose_e6", number(1)),
        ("per_kg_e6", "per_kg_e6", number(2)), ("bags", "bags", text), ("oos", "oos", _yes), _MODIFIED)),
    "outcome": ("outcomes", (
        ("outcome_id", "outcome_id", text), ("infusion_id", "infusion_id", text),
        ("endpoint", "endpoint", text),
        ("day", "day", text), ("value", "value", text), ("censored", "censored", _yes), _MODIFIED)),
    "adverse_event": ("adverse_events", (
        ("ae_id", "event_id", text), ("infusion_id", "infusion_id", text), ("grading", "system", text),
        ("term", "term", text), ("grade", "grade", text), ("onset_day", "onset", text),
        ("resolved_day", "resolved", text), ("treatment", "treatment", text), _MODIFIED)),
    "activation_milestone": ("activation", (
        ("program", "program_id", text), ("step", "step", text), ("planned", "planned", _day),
        ("actual", "actual", _day), _MODIFIED)),
    "catchment": ("catchment", (
        ("region", "region", text), ("population", "population", text), ("drive_minutes", "minutes", text),
        _MODIFIED)),
    "agreement": ("payer_agreements", (
        ("agreement_id", "agreement_id", text), ("payer", "payer", text), ("product", "product", text),
        ("scheme", "scheme", text), ("endpoint", "endpoint", text), ("list_price", "price", number(2)),
        ("currency", "currency", text), ("schedule", "schedule", text), ("agreed", "agreed", _day), _MODIFIED)),
    "payment": ("payments", (
        ("payment_id", "payment_id", text), ("agreement_id", "agreement_id", text),
        ("infusion_id", "infusion_id", text), ("kind", "kind", text), ("amount", "amount", number(2)),
        ("currency", "currency", text), ("due", "due", _day), ("paid", "paid", _day), _MODIFIED)),
}
