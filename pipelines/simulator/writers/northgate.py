"""The control site: a relational LIMS, Vi-CELL BLU exports, Parquet historian files, FHIR NDJSON outcomes.

Belongs here: northgate's table and column names, codes and layouts. Does not belong here: what happened.
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from pipelines.simulator.sensors import by_day
from pipelines.simulator.sites import FLEET_START, day_start
from pipelines.simulator.world import Row, SiteWorld, World

from .common import Notes, OutFile, cell, csv_bytes, local
from .northgate_tables import COSTS, FEEDS, utc


def files(world: World, site: SiteWorld, notes: Notes) -> Iterator[OutFile]:
    """All files but the sensor days, as they lie there at the end of the fleet's last lived day."""
    now = day_start(world.lived)
    yield _database(site, now, notes)
    yield from _vicell(world, site, notes)
    yield from _fhir(world, site)
    yield from _costs(site, now, notes)
    yield keys_file(site, now)


def keys_file(site: SiteWorld, now: datetime, feeds: tuple[str, ...] = ("order",)) -> OutFile:
    """The site's own key file: record number to patient key, complete for the patients that its feeds name."""
    known = {r["mrn"]: r["patient_key"] for feed in feeds for r in site.state(feed, now)}
    body = "record_number,patient_key\r\n" + "".join(f"{k},{v}\r\n" for k, v in known.items())
    return OutFile("edge/patient_keys.csv", body.encode(), now)


def _costs(site: SiteWorld, now: datetime, notes: Notes) -> Iterator[OutFile]:
    """The finance system's postings, a file a month."""
    months: dict[str, list[Row]] = {}
    for row in site.state("cost_item", now):
        months.setdefault(f"postings_{row['_seen']:%Y-%m}.csv", []).append(row)
    for name, rows in months.items():
        data, n = csv_bytes("cost_item", rows, COSTS, name, notes=notes)
        yield OutFile(f"finance/{name}", data, rows[-1]["_seen"] + timedelta(hours=2), {"cost_item": n})


def _database(site: SiteWorld, now: datetime, notes: Notes) -> OutFile:
    con = sqlite3.connect(":memory:")
    counts = {}
    for feed, (table, columns) in FEEDS.items():
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
    "Average cells per image,Average background intensity,Bubble count,Cluster count,Images for analysis,"
    "Cell type,"
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
        counted: datetime = (row.get("counted_at") or row["taken_at"]) + timedelta(minutes=25)
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


_TAGS = {
    "temp": "TEMP",
    "ph": "PH",
    "do": "DO",
    "agit": "AGIT",
    "glucose": "GLC",
    "lactate": "LAC",
    "vcd": "VCD",
    "co2": "CO2",
}


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
            pl.format(
                "BR{}.{}",
                pl.col("suite").cast(pl.String).str.zfill(2),
                pl.col("channel").replace_strict(_TAGS),
            ).alias("tag"),
            "ts",
            "value",
            pl.col("quality").replace_strict({0: 192, 1: 64, 2: 0}, return_dtype=pl.Int32),
        )
        buffer = io.BytesIO()
        made.write_parquet(buffer, compression="zstd")
        name = f"{day_start(day):%Y}/{sensor_file_name(day)}"
        yield OutFile(
            f"historian/{name}",
            buffer.getvalue(),
            day_start(day + 1) + timedelta(hours=1),
            {"sensor": made.height},
        )


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
            p
            for p in patients.values()
            if before < p["_seen"] <= until or before < deaths.get(p["coi"], p)["_seen"] <= until
        ]
        if changed:
            body = "".join(_line(_patient(p, deaths.get(p["coi"]))) for p in changed)
            yield OutFile(
                f"fhir/Patient.{n:03d}.ndjson",
                body.encode(),
                until + timedelta(hours=1),
                {"patient": len(changed)},
            )
        if fresh:
            body = "".join(_line(_observation(r, patients[r["coi"]])) for r in fresh)
            yield OutFile(
                f"fhir/Observation.{n:03d}.ndjson",
                body.encode(),
                until + timedelta(hours=1),
                {"outcome": len(fresh)},
            )
        for feed, (resource, made) in _CARE.items():
            rows = [r for r in site.state(feed, until) if before < r["_seen"] <= until]
            if rows:
                body = "".join(_line(made(r)) for r in rows)
                name = f"fhir/{resource}.{n:03d}.ndjson"
                yield OutFile(name, body.encode(), until + timedelta(hours=1), {feed: len(rows)})
        before = until


def _line(resource: dict[str, Any]) -> str:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")) + "\n"


def _patient(order: Row, death: Row | None) -> dict[str, Any]:
    family, given = order["name"].split(", ")
    made: dict[str, Any] = {
        "resourceType": "Patient",
        "id": f"p-{order['order_id']}",
        "meta": {"lastUpdated": utc(max(order["_seen"], death["_seen"] if death else order["_seen"]))},
        "identifier": [
            {
                "type": {
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]
                },
                "system": "https://northgate.example/hospital-number",
                "value": order["mrn"],
            }
        ],
        "name": [{"family": family, "given": [given]}],
        "gender": "male" if order["sex"] == "M" else "female",
        "birthDate": order["dob"].isoformat(),
    }
    if death is not None:
        made["deceasedDateTime"] = utc(death["at"])
    return made


_HOSPITAL = "https://northgate.example"
_ATC = {"fludarabine": "L01BB05", "cyclophosphamide": "L01AA01", "bendamustine": "L01AA09"}


def _reference(order_id: str) -> dict[str, Any]:
    return {"reference": f"Patient/p-{order_id}"}


def _consent(row: Row) -> dict[str, Any]:
    period = {"start": row["start"].isoformat()}
    if row["end"] is not None:
        period["end"] = row["end"].isoformat()
    number = {"system": f"{_HOSPITAL}/hospital-number", "value": row["mrn"]}
    return {
        "resourceType": "Consent",
        "id": row["consent_id"],
        "meta": {"lastUpdated": utc(row["_seen"])},
        "status": "active" if row["end"] is None else "inactive",
        "scope": {"coding": [{"system": f"{_HOSPITAL}/consent-scope", "code": row["scope"]}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": _reference(row["order_id"]) | {"identifier": number},
        "policy": [{"uri": f"{_HOSPITAL}/consent-form/{row['version']}"}],
        "provision": {"period": period},
    }


def _course(row: Row) -> dict[str, Any]:
    unit = {"unit": "mg/m2", "system": "http://unitsofmeasure.org", "code": "mg/m2"}
    return {
        "resourceType": "MedicationAdministration",
        "id": row["course_id"],
        "meta": {"lastUpdated": utc(row["_seen"])},
        "status": "completed",
        "medicationCodeableConcept": {
            "coding": [
                {"system": "http://www.whocc.no/atc", "code": _ATC[row["agent"]], "display": row["agent"]}
            ]
        },
        "subject": _reference(row["order_id"]),
        "supportingInformation": [{"display": row["order_id"]}],
        "effectivePeriod": {"start": utc(row["start"]), "end": utc(row["end"])},
        "dosage": {"dose": {"value": row["dose"], **unit}},
    }


def _adverse_event(row: Row) -> dict[str, Any]:
    told = [
        {"url": f"{_HOSPITAL}/ae-grade", "valueInteger": row["grade"]},
        {"url": f"{_HOSPITAL}/ae-system", "valueCode": row["system"]},
        {"url": f"{_HOSPITAL}/ae-onset-day", "valueInteger": row["onset"]},
        {"url": f"{_HOSPITAL}/ae-treatment", "valueCode": row["treatment"]},
    ]
    if row["resolved"] is not None:
        told.append({"url": f"{_HOSPITAL}/ae-resolved-day", "valueInteger": row["resolved"]})
    return {
        "resourceType": "AdverseEvent",
        "id": row["event_id"],
        "meta": {"lastUpdated": utc(row["_seen"])},
        "extension": told,
        "actuality": "actual",
        "event": {"coding": [{"system": f"{_HOSPITAL}/ae-term", "code": row["term"]}]},
        "subject": _reference(row["order_id"]),
        "date": utc(row["at"]),
        "outcome": {"coding": [{"code": "ongoing" if row["resolved"] is None else "resolved"}]},
        "suspectEntity": [{"instance": {"display": row["infusion_id"]}}],
    }


_CARE: dict[str, tuple[str, Callable[[Row], dict[str, Any]]]] = {
    "consent": ("Consent", _consent),
    "lymphodepletion": ("MedicationAdministration", _course),
    "adverse_event": ("AdverseEvent", _adverse_event),
}


def _observation(row: Row, order: Row) -> dict[str, Any]:
    codes = {
        "crs": (_ASTCT, "crs-grade"),
        "icans": (_ASTCT, "icans-grade"),
        "response": (_ASTCT, "response"),
        "relapse": (_OUTCOME, "relapse"),
        "survival": (_OUTCOME, "survival-status"),
    }
    system, code = codes[row["endpoint"]]
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "id": row["outcome_id"],
        "meta": {"lastUpdated": utc(row["_seen"])},
        "status": "final",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/p-{order['order_id']}"},
        "focus": [{"display": row["infusion_id"]}],
        "effectiveDateTime": utc(row["at"]),
        "component": [{"code": {"text": "onset-day"}, "valueInteger": row["day"]}],
    }
    if row["endpoint"] in ("crs", "icans"):
        made["valueInteger"] = int(row["value"])
    elif row["endpoint"] == "response":
        made["valueCodeableConcept"] = {"coding": [{"system": f"{_ASTCT}/response", "code": row["value"]}]}
    else:
        made["valueString"] = row["value"]
    return made
