"""The control site: a relational LIMS, Vi-CELL BLU exports, Parquet historian files, FHIR NDJSON outcomes.

Belongs here: northgate's table and column names, codes and layouts. Does not belong here: what happened.
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from ..sensors import by_day
from ..sites import FLEET_START, day_start
from ..world import Row, SiteWorld, World
from .common import Assay, Column, Notes, OutFile, cell, local, result_text, same, words

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


def _utc(value: datetime | None) -> str | None:
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
_UPPER = words({k: k.upper() for k in ("in_process", "complete", "terminated", "released", "rejected", "pending",
                                       "oos_released")})
_MODIFIED: Column = ("MODIFIED_AT TEXT NOT NULL", "modified", _utc)
_TABLES: dict[str, tuple[str, tuple[Column, ...]]] = {
    "order": ("TREATMENT_ORDER", (
        ("ORDER_NO TEXT PRIMARY KEY", "order_id", same), ("HOSPITAL_NO TEXT", "mrn", same),
        ("PATIENT_NAME TEXT", "name", same), ("DATE_OF_BIRTH TEXT", "dob", _day), ("SEX TEXT", "sex", same),
        ("DIAGNOSIS TEXT", "dx", same), ("PRIOR_LINES INTEGER", "prior_lines", same),
        ("BENDA_180D INTEGER", "benda", _flag), ("ECOG INTEGER", "ecog", same), ("LDH_BAND TEXT", "ldh", same),
        ("PRODUCT_CODE TEXT", "product", same), ("COI TEXT", "coi", same), ("SLOT_DATE TEXT", "slot", _day),
        ("ORDERED_AT TEXT", "ordered_at", _utc), ("STATUS TEXT", "status", _STATUS),
        ("COMMENT TEXT", "comment", same), _MODIFIED)),
    "collection": ("COLLECTION", (
        ("COLLECTION_NO TEXT PRIMARY KEY", "collection_id", same), ("ORDER_NO TEXT", "order_id", same),
        ("DIN TEXT", "din", same), ("STARTED_AT TEXT", "start", _utc), ("ENDED_AT TEXT", "end", _utc),
        ("TNC_E9 REAL", "tnc", _rounded(2)), ("CD3_E9 REAL", "cd3", _rounded(2)),
        ("CD3_PCT REAL", "cd3_pct", _rounded(1)), ("VOLUME_ML REAL", "volume_ml", _rounded(0)),
        ("TBV_L REAL", "tbv_l", _rounded(1)), ("ANTICOAGULANT TEXT", "anticoagulant", same), _MODIFIED)),
    "batch": ("BATCH", (
        ("BATCH_NO TEXT PRIMARY KEY", "batch_id", same), ("ORDER_NO TEXT", "order_id", same),
        ("PRODUCT_CODE TEXT", "product", same), ("SUITE TEXT", "suite", same),
        ("PROTOCOL_VERSION TEXT", "protocol", same), ("ATTEMPT_NO INTEGER", "attempt", same),
        ("STATUS TEXT", "status", _UPPER), ("STARTED_AT TEXT", "started", _utc),
        ("HARVESTED_AT TEXT", "harvested", _utc), ("FORMULATED_AT TEXT", "formulated", _utc),
        ("DISPOSITION TEXT", "disposition", _UPPER), ("TERMINATION_CAUSE TEXT", "cause", same), _MODIFIED)),
    "unit_operation": ("UNIT_OPERATION", (
        ("OPERATION_NO TEXT PRIMARY KEY", "op_id", same), ("BATCH_NO TEXT", "batch_id", same),
        ("UNIT_PROCEDURE TEXT", "unit_procedure", same), ("OPERATION TEXT", "operation", same),
        ("PHASE TEXT", "phase", same), ("STARTED_AT TEXT", "start", _utc), ("ENDED_AT TEXT", "end", _utc),
        ("EQUIPMENT_NO TEXT", "equipment_id", same), ("OPERATOR_ROLE TEXT", "role", same),
        ("AUTOMATION TEXT", "automation", same), _MODIFIED)),
    "equipment": ("EQUIPMENT", (
        ("EQUIPMENT_NO TEXT PRIMARY KEY", "equipment_id", same), ("MODEL TEXT", "model", same),
        ("SERIAL TEXT", "serial", same), ("FIRMWARE TEXT", "firmware", same),
        ("QUALIFICATION_DUE TEXT", "qualification_due", _day), _MODIFIED)),
    "reagent_lot": ("REAGENT_LOT", (
        ("LOT_NO TEXT PRIMARY KEY", "lot_id", same), ("MATERIAL TEXT", "material", same),
        ("SUPPLIER TEXT", "supplier", same), ("GTIN TEXT", "gtin", same), ("RECEIVED_ON TEXT", "received", _day),
        ("EXPIRES_ON TEXT", "expires", _day), ("QTY REAL", "qty", same), ("TITRE REAL", "titre", same),
        ("STATUS TEXT", "status", same), _MODIFIED)),
    "lot_use": ("LOT_USE", (
        ("BATCH_NO TEXT", "batch_id", same), ("LOT_NO TEXT", "lot_id", same), ("QTY REAL", "qty", same),
        ("PHASE TEXT", "phase", same), _MODIFIED)),
    "sample": ("SAMPLE", (
        ("SAMPLE_NO TEXT PRIMARY KEY", "sample_id", same), ("BATCH_NO TEXT", "batch_id", same),
        ("POINT TEXT", "point", same), ("TAKEN_AT TEXT", "taken_at", _utc), _MODIFIED)),
    "assay": ("RESULT", (
        ("RESULT_NO TEXT PRIMARY KEY", "result_id", same), ("SAMPLE_NO TEXT", "sample_id", same),
        ("BATCH_NO TEXT", "batch_id", same),
        ("TEST_CODE TEXT", "*", lambda r: r.get("raw_test") or ASSAYS[r["test"]].code),
        ("METHOD_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].method), ("LAB TEXT", "lab", same),
        ("RESULT_TEXT TEXT", "*", shown_result),
        ("UNIT TEXT", "*", lambda r: r.get("raw_unit") or ASSAYS[r["test"]].unit),
        ("REPLICATE INTEGER", "replicate", same), ("ANALYST_ROLE TEXT", "role", same),
        ("RESULT_AT TEXT", "result_at", _utc), _MODIFIED, ("CHANGE_REASON TEXT", "reason", same))),
    "deviation": ("DEVIATION", (
        ("DEVIATION_NO TEXT PRIMARY KEY", "deviation_id", same), ("BATCH_NO TEXT", "batch_id", same),
        ("CLASS TEXT", "klass", same), ("CAUSE TEXT", "cause", same), ("OPENED_AT TEXT", "opened", _utc),
        ("CLOSED_AT TEXT", "closed", _utc), _MODIFIED)),
    "specification": ("SPECIFICATION", (
        ("SPEC_NO TEXT", "spec_id", same), ("PRODUCT_CODE TEXT", "product", same),
        ("VERSION INTEGER", "version", same), ("EFFECTIVE_FROM TEXT", "effective_from", _day),
        ("EFFECTIVE_TO TEXT", "effective_to", _day), ("APPROVED_BY_ROLE TEXT", "approved_by", same), _MODIFIED)),
    "spec_limit": ("SPEC_LIMIT", (
        ("SPEC_NO TEXT", "spec_id", same), ("VERSION INTEGER", "version", same),
        ("TEST_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].code),
        ("METHOD_CODE TEXT", "*", lambda r: ASSAYS[r["test"]].method), ("LOW REAL", "low", same),
        ("HIGH REAL", "high", same), ("INCLUSIVE INTEGER", "inclusive", _flag), ("STAGE TEXT", "stage", same),
        ("BLOCKING INTEGER", "blocking", _flag), ("UNIT TEXT", "*", lambda r: ASSAYS[r["test"]].unit), _MODIFIED)),
    "release": ("RELEASE_DECISION", (
        ("RELEASE_NO TEXT PRIMARY KEY", "release_id", same), ("BATCH_NO TEXT", "batch_id", same),
        ("DECISION TEXT", "decision", same), ("SPEC_NO TEXT", "spec_id", same),
        ("SPEC_VERSION INTEGER", "spec_version", same), ("SIGNER_ROLE TEXT", "role", same),
        ("SIGNED_AT TEXT", "signed_at", _utc), ("CONDITIONAL_ON TEXT", "condition", same), _MODIFIED)),
    "custody": ("CUSTODY_EVENT", (
        ("EVENT_NO TEXT PRIMARY KEY", "event_id", same), ("COI TEXT", "coi", same), ("OBJECT TEXT", "object", same),
        ("KIND TEXT", "kind", same), ("FROM_PARTY TEXT", "giver", same), ("TO_PARTY TEXT", "taker", same),
        ("PLACE TEXT", "place", same), ("HAPPENED_AT TEXT", "happened_at", _utc),
        ("VERIFIED_BY_2 INTEGER", "verified", _flag), ("TEMP_C REAL", "temp_c", same), ("SEQ INTEGER", "seq", same),
        ("PREV_HASH TEXT", "prev_hash", same), ("LEAF_HASH TEXT", "leaf_hash", same), _MODIFIED)),
    "infusion": ("INFUSION", (
        ("INFUSION_NO TEXT PRIMARY KEY", "infusion_id", same), ("ORDER_NO TEXT", "order_id", same),
        ("BATCH_NO TEXT", "batch_id", same), ("INFUSED_AT TEXT", "infused_at", _utc),
        ("CAR_POS_VIABLE_CELLS_E6 REAL", "dose_e6", same), ("PER_KG_E6 REAL", "per_kg_e6", same),
        ("BAGS INTEGER", "bags", same), ("OOS INTEGER", "oos", _flag), _MODIFIED)),
}


def files(world: World, site: SiteWorld, notes: Notes) -> Iterator[OutFile]:
    """All files but the sensor days, as they lie there at the end of the fleet's last lived day."""
    now = day_start(world.lived)
    yield _database(site, now, notes)
    yield from _vicell(world, site, notes)
    yield from _fhir(world, site)
    yield keys_file(site, now)


def keys_file(site: SiteWorld, now: datetime) -> OutFile:
    """The site's own key file: record number to patient key, complete for its patients."""
    known = {r["mrn"]: r["patient_key"] for r in site.state("order", now)}
    body = "record_number,patient_key\r\n" + "".join(f"{k},{v}\r\n" for k, v in known.items())
    return OutFile("edge/patient_keys.csv", body.encode(), now)


def _database(site: SiteWorld, now: datetime, notes: Notes) -> OutFile:
    con = sqlite3.connect(":memory:")
    counts = {}
    for feed, (table, columns) in _TABLES.items():
        con.execute(f"CREATE TABLE {table} ({', '.join(c[0] for c in columns)})")
        rows = site.state(feed, now)
        con.executemany(
            f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})",
            [[cell(row, c) for c in columns] for row in rows],
        )
        counts[feed] = len(rows)
        for n, row in enumerate(rows, start=1):
            notes.place(feed, row, "lims.db", n)
    con.commit()
    data = con.serialize()
    con.close()
    return OutFile("lims/lims.db", data, now, counts)


_VICELL_HEADER = (
    "Sample ID,Cell count,Viable cells,Total (x10^6) cells/mL,Viable (x10^6) cells/mL,Viability (%),"
    "Average diameter (μm),Average viable diameter (μm),Average circularity,Average viable circularity,"
    "Average cells per image,Average background intensity,Bubble count,Cluster count,Images for analysis,Cell type,"
    "Minimum Diameter (μm),Maximum Diameter (μm),Images,Cell sharpness,Minimum circularity,Decluster degree,"
    "Aspiration cycles,Viable spot brightness (%),Viable spot area (%),Mixing cycles,Analysis date/time,"
    "Reanalysis date/time,Analysis by,Reanalysis by,Dilution,Wash,Tag"
)


def _vicell(world: World, site: SiteWorld, notes: Notes) -> Iterator[OutFile]:
    now = day_start(world.lived)
    lines: dict[str, list[str]] = {}
    last: dict[str, datetime] = {}
    viability: dict[str, float] = {}
    for row in site.tables["assay"]:
        if row["test"] == "VIAB":
            viability.setdefault(row["sample_id"], row["value"])
    for row in site.state("sample", now):
        counted = row.get("counted_at", row["taken_at"]) + timedelta(minutes=25)
        if row["point"] not in ("ipc_d5", "harvest") or counted.date() >= now.date():
            continue
        rng = np.random.default_rng((world.seed, site.site.index, 5, int(row["sample_id"][-6:])))
        density = float(rng.uniform(1.2, 2.6) if row["point"] == "ipc_d5" else rng.uniform(2.5, 6.0))
        pct = float(viability[row["sample_id"]] + rng.normal(0, 0.4))
        pct = min(pct, 99.9)
        count = int(density * 2810)
        viable = int(count * pct / 100)
        shown = ("ERROR", "ERROR") if rng.random() < 0.06 else (str(count), str(viable))
        wall, twice = local(counted, site.site.tz)
        name = f"ViCellBLU_{wall:%Y-%m-%d}.csv"
        if twice:
            notes.ambiguous["cell_count", row["sample_id"]] = name
        lines.setdefault(name, []).append(
            f"{row['sample_id']},{shown[0]},{shown[1]},{density:.2f},{density * pct / 100:.2f},{pct:.2f},"
            f"{rng.normal(10.8, 0.5):.2f},{rng.normal(11.0, 0.4):.2f},0.9,0.91,{count // 100},134,0,"
            f"{int(rng.integers(0, 6))},100,Mammalian,6,30,100,7,0.1,Medium,3,50,5,3,"
            f"{wall.month}/{wall.day}/{wall.year} {wall.hour}:{wall:%M},,Vi-CELL,,1,Normal Wash,"
        )
        last[name] = day_start((counted - FLEET_START).days + 1) + timedelta(hours=1)
    for name, body in lines.items():
        data = "\n".join([_VICELL_HEADER, *body]) + "\n"
        yield OutFile(f"vicell/{name}", data.encode(), last[name], {"cell_count": len(body)})


_TAGS = {"temp": "TEMP", "ph": "PH", "do": "DO", "agit": "AGIT", "glucose": "GLC", "lactate": "LAC", "vcd": "VCD",
         "co2": "CO2"}


def sensor_label(channel: str, reactor: int) -> str:
    """The tag under which a channel is recorded."""
    return f"BR{reactor:02d}.{_TAGS[channel]}"


def sensor_file_name(day: int) -> str:
    """Name of the file with the readings of a fleet day."""
    return f"{day_start(day):%Y-%m-%d}.parquet"


def sensor_files(world: World, site: SiteWorld, first: int, last: int, notes: Notes) -> Iterator[OutFile]:
    """Historian files, one Parquet file per UTC day."""
    for day, frame in by_day(world, site, first, last, pl.col("ts").dt.date()):
        made = frame.select(
            "batch",
            pl.format("BR{}.{}", pl.col("suite").cast(pl.String).str.zfill(2),
                      pl.col("channel").replace_strict(_TAGS)).alias("tag"),
            "ts", "value",
            pl.col("quality").replace_strict({0: 192, 1: 64, 2: 0}, return_dtype=pl.Int32),
        )
        buffer = io.BytesIO()
        made.write_parquet(buffer, compression="zstd")
        name = f"{day_start(day):%Y}/{sensor_file_name(day)}"
        yield OutFile(f"historian/{name}", buffer.getvalue(), day_start(day + 1) + timedelta(hours=1),
                      {"sensor": made.height})


_ASTCT = "https://cellfleet.example/astct"
_OUTCOME = "https://cellfleet.example/outcome"
_FHIR_DAYS = 60


def _fhir(world: World, site: SiteWorld) -> Iterator[OutFile]:
    """Bulk exports every 60 days: patients and observations new or changed since the last one."""
    before = FLEET_START - timedelta(days=365)
    for n, day in enumerate(world.export_days(_FHIR_DAYS)):
        until = day_start(day)
        patients = {r["coi"]: r for r in site.state("order", until)}
        fresh = [r for r in site.state("outcome", until) if before < r["_seen"] <= until]
        deaths = {r["coi"]: r for r in site.state("outcome", until) if r["value"] == "dead"}
        changed = [
            p for p in patients.values()
            if before < p["_seen"] <= until or before < deaths.get(p["coi"], p)["_seen"] <= until
        ]
        if changed:
            body = "".join(_line(_patient(p, deaths.get(p["coi"]))) for p in changed)
            yield OutFile(f"fhir/Patient.{n:03d}.ndjson", body.encode(), until + timedelta(hours=1),
                          {"patient": len(changed)})
        if fresh:
            body = "".join(_line(_observation(r, patients[r["coi"]])) for r in fresh)
            yield OutFile(f"fhir/Observation.{n:03d}.ndjson", body.encode(), until + timedelta(hours=1),
                          {"outcome": len(fresh)})
        before = until


def _line(resource: dict[str, Any]) -> str:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")) + "\n"


def _patient(order: Row, death: Row | None) -> dict[str, Any]:
    family, given = order["name"].split(", ")
    made: dict[str, Any] = {
        "resourceType": "Patient", "id": f"p-{order['order_id']}",
        "identifier": [{
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            "system": "https://northgate.example/hospital-number", "value": order["mrn"],
        }],
        "name": [{"family": family, "given": [given]}],
        "gender": "male" if order["sex"] == "M" else "female", "birthDate": order["dob"].isoformat(),
    }
    if death is not None:
        made["deceasedDateTime"] = _utc(death["at"])
    return made


def _observation(row: Row, order: Row) -> dict[str, Any]:
    codes = {"crs": (_ASTCT, "crs-grade"), "icans": (_ASTCT, "icans-grade"), "response": (_ASTCT, "response"),
             "relapse": (_OUTCOME, "relapse"), "survival": (_OUTCOME, "survival-status")}
    system, code = codes[row["endpoint"]]
    made: dict[str, Any] = {
        "resourceType": "Observation", "id": row["outcome_id"], "status": "final",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/p-{order['order_id']}"},
        "focus": [{"display": row["infusion_id"]}], "effectiveDateTime": _utc(row["at"]),
        "component": [{"code": {"text": "onset-day"}, "valueInteger": row["day"]}],
    }
    if row["endpoint"] in ("crs", "icans"):
        made["valueInteger"] = int(row["value"])
    elif row["endpoint"] == "response":
        made["valueCodeableConcept"] = {"coding": [{"system": f"{_ASTCT}/response", "code": row["value"]}]}
    else:
        made["valueString"] = row["value"]
    return made
