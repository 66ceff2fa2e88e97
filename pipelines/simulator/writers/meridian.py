"""The CDMO: BatchML batch records, JSON lines in epoch milliseconds, EPCIS custody, historian files.

Belongs here: meridian's names, codes and layouts, and its own methods. Does not belong here: what happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from lxml import etree

from pipelines.simulator.sensors import by_day
from pipelines.simulator.sites import day_start
from pipelines.simulator.world import Row, SiteWorld, World

from .common import Export, Notes, OutFile, cell, csv_bytes, epoch_ms, exports, jsonl_bytes
from .meridian_tables import FEEDS, KINDS, LOGGER
from .northgate import keys_file

TZ = "Asia/Singapore"
EXPORT_DAYS = 14


def file_name(world: World, feed: str, day: int) -> str:
    """Name of the export of a feed on a fleet day: a running number, one per export."""
    return f"{FEEDS[feed][0]}_{world.export_days(EXPORT_DAYS).index(day) + 1:04d}.jsonl"


def files(world: World, site: SiteWorld, notes: Notes) -> Iterator[OutFile]:
    """All files but the sensor days, as they lie there at the end of the fleet's last lived day."""
    now = day_start(world.lived)
    for export in exports(world, site, EXPORT_DAYS):
        for feed in ("assay",) if export.resent else FEEDS:
            yield from _export(world, site, feed, export, notes)
        if not export.resent:
            yield from _master_data(site, export)
    yield from _batch_records(site, now, notes)
    yield from _epcis(site, now, notes)
    yield from _loggers(site, now, notes)
    yield keys_file(site, now)


def _export(world: World, site: SiteWorld, feed: str, export: Export, notes: Notes) -> Iterator[OutFile]:
    rows = export.rows(site, feed)
    if not rows:
        return
    name = export.name(file_name(world, feed, export.day))
    data, n = jsonl_bytes(feed, rows, FEEDS[feed][1], name, notes=notes, rename=export.rename(site, feed))
    yield OutFile(f"lims/{name}", data, export.at + timedelta(hours=1), {feed: n})


def _master_data(site: SiteWorld, export: Export) -> Iterator[OutFile]:
    """What changed of the master data, all kinds in one file."""
    keys = dict.fromkeys(key for columns in KINDS.values() for key in columns)
    lines = []
    for kind, columns in KINDS.items():
        for row in export.rows(site, kind):
            shown = {key: cell(row, (key, *columns[key])) if key in columns else None for key in keys}
            lines.append(json.dumps({"kind": kind, **shown, "modifiedMs": epoch_ms(row["modified"])}))
    if lines:
        name = f"lims/masterData_{export.day:04d}.jsonl"
        data = ("\n".join(lines) + "\n").encode()
        yield OutFile(name, data, export.at + timedelta(hours=1), {"master_data": len(lines)})


def _loggers(site: SiteWorld, now: datetime, notes: Notes) -> Iterator[OutFile]:
    """Readings of the courier's temperature loggers, read out at arrival, a file a month."""
    months: dict[str, list[Row]] = {}
    for row in site.state("logger_reading", now):
        months.setdefault(f"loggers_{row['_seen']:%Y%m}.csv", []).append(row)
    for name, rows in months.items():
        data, n = csv_bytes("logger_reading", rows, LOGGER, name, notes=notes, sep=";")
        yield OutFile(
            f"courier/{name}", data, rows[-1]["_seen"] + timedelta(minutes=5), {"logger_reading": n}
        )


_NS = "http://www.wbf.org/xml/B2MML-V0401"
_ZONE = ZoneInfo(TZ)


def _offset(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(_ZONE).isoformat()


def _child(parent: Any, tag: str, words_: str | None = None) -> Any:
    made = etree.SubElement(parent, f"{{{_NS}}}{tag}")
    made.text = words_
    return made


def _property(parent: Any, name: str, value: str, kind: str = "string") -> None:
    info = _child(parent, "OtherInformation")
    _child(info, "ID", name)
    box = _child(info, "Value")
    _child(box, "ValueString", value)
    _child(box, "DataInterpretation", "Constant")
    _child(box, "DataType", kind)
    _child(box, "UnitOfMeasure")
    _child(info, "Description", name)


def _element(parent: Any, identity: str, kind: str) -> Any:
    made = _child(parent, "RuntimeRecipeElement")
    _child(made, "ID", identity)
    _child(made, "ObjectType", "RuntimeRecipeElementType")
    _child(made, "RecipeElementType", kind)
    return made


def _batch_records(site: SiteWorld, now: datetime, notes: Notes) -> Iterator[OutFile]:
    steps: dict[str, list[Row]] = {}
    lots: dict[str, list[Row]] = {}
    for row in site.state("unit_operation", now):
        steps.setdefault(row["batch_id"], []).append(row)
    for row in site.state("lot_use", now):
        lots.setdefault(row["batch_id"], []).append(row)
    for batch in site.state("batch", now):
        batch_id = batch["batch_id"]
        own, used = steps.get(batch_id, []), lots.get(batch_id, [])
        changed = max(r["_seen"] for r in (batch, *own, *used))
        name = f"BR_{batch_id}.xml"
        data = _batch_record(batch, own, used, changed)
        for n, row in enumerate(used, start=1):
            notes.place("lot_use", row, name, n)
        yield OutFile(
            f"batch_records/{name}",
            data,
            changed + timedelta(minutes=10),
            {"batch": 1, "unit_operation": len(own), "lot_use": len(used)},
        )


def _batch_record(batch: Row, steps: list[Row], lots: list[Row], changed: datetime) -> bytes:
    batch_id = batch["batch_id"]
    root = etree.Element(f"{{{_NS}}}BatchProductionRecord", nsmap={None: _NS})
    _child(root, "ID", f"BR_{batch_id}")
    _child(root, "ObjectType", "BatchProductionRecordType")
    head = _child(root, "Header")
    _child(head, "CreationDate", _offset(batch["started"]))
    _child(head, "LastChangedDate", _offset(changed))
    recipe = _child(_child(root, "ExecutedControlRecipes"), "ExecutedControlRecipe")
    _child(recipe, "ID", f"{batch_id}-CR")
    _child(recipe, "ObjectType", "ExecutedControlRecipeType")
    _child(recipe, "BatchID", batch_id)
    product = _child(recipe, "Header")
    _child(product, "ProductID", batch["product"])
    _child(product, "ProductName", "Autologous anti-CD19 CAR-T cells")
    for name, value in (
        ("orderId", batch["order_id"]),
        ("suite", batch["suite"]),
        ("protocolVersion", batch["protocol"]),
        ("attempt", str(batch["attempt"])),
        ("status", batch["status"]),
        ("disposition", batch["disposition"]),
        ("started", _offset(batch["started"])),
        ("harvested", _offset(batch["harvested"])),
        ("formulated", _offset(batch["formulated"])),
        ("terminationCause", batch["cause"]),
        ("modified", _offset(batch["modified"])),
    ):
        _property(recipe, name, value)
    for lot in lots:
        actual = _child(recipe, "MaterialActual")
        _child(actual, "LotID", lot["lot_id"])
        quantity = _child(actual, "Quantity")
        _child(quantity, "QuantityString", f"{lot['qty']:.2f}")
        _child(quantity, "DataType", "double")
        _child(quantity, "UnitOfMeasure", "1")
        _child(actual, "Phase", lot["phase"])
    procedure = _element(recipe, f"{batch_id}|Manufacture", "Procedure")
    parents: dict[tuple[str, ...], Any] = {}
    for step in steps:
        unit_key: tuple[str, ...] = (step["unit_procedure"],)
        if unit_key not in parents:
            parents[unit_key] = _element(procedure, f"{batch_id}|Manufacture|{unit_key[0]}", "UnitProcedure")
        operation_key = (*unit_key, step["operation"])
        if operation_key not in parents:
            parents[operation_key] = _element(
                parents[unit_key], "|".join((batch_id, "Manufacture", *operation_key)), "Operation"
            )
        phase = _element(parents[operation_key], step["op_id"], "Phase")
        _property(phase, "phase", step["phase"])
        _property(phase, "automation", step["automation"])
        _child(phase, "StartTime", _offset(step["start"]))
        _child(phase, "CompletionTime", _offset(step["end"]))
        _child(phase, "EquipmentID", step["equipment_id"])
        _child(phase, "Performer", step["role"])
        _child(phase, "InstanceCount", "1")
    body: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return body


# kind -> (event type, bizStep, disposition); the words are those of the Core Business Vocabulary.
_EPCIS = {
    "collect": ("ObjectEvent", "commissioning", "active"),
    "dispatch": ("ObjectEvent", "shipping", "in_transit"),
    "receive": ("ObjectEvent", "receiving", "in_progress"),
    "start": ("TransformationEvent", "creating_class_instance", "in_progress"),
    "harvest": ("TransformationEvent", "commissioning", "in_progress"),
    "release": ("ObjectEvent", "inspecting", "conformant"),
    "deliver": ("AggregationEvent", "arriving", "in_progress"),
    "infuse": ("ObjectEvent", "dispensing", "dispensed"),
    "dispose": ("ObjectEvent", "destroying", "destroyed"),
}


def _epcis(site: SiteWorld, now: datetime, notes: Notes) -> Iterator[OutFile]:
    months: dict[str, list[dict[str, Any]]] = {}
    written: dict[str, datetime] = {}
    for row in site.state("custody", now):
        name = f"epcis_{row['_seen']:%Y%m}.json"
        events = months.setdefault(name, [])
        events.append(_event(row))
        notes.place("custody", row, name, len(events))
        written[name] = row["_seen"]
    for name, events in months.items():
        document = {
            "@context": [
                "https://ref.gs1.org/standards/epcis/epcis-context.jsonld",
                {"cellfleet": "https://cellfleet.example/epcis/"},
            ],
            "id": f"https://meridian.example/epcis/{name}",
            "type": "EPCISDocument",
            "schemaVersion": "2.0",
            "creationDate": f"{written[name]:%Y-%m-%dT%H:%M:%SZ}",
            "epcisBody": {"eventList": events},
        }
        yield OutFile(
            f"custody/{name}",
            (json.dumps(document, indent=1) + "\n").encode(),
            written[name] + timedelta(minutes=1),
            {"custody": len(events)},
        )


def _event(row: Row) -> dict[str, Any]:
    kind, step, disposition = _EPCIS[row["kind"]]
    epc = f"urn:cellfleet:coi:{row['coi']}"
    event: dict[str, Any] = {
        "eventID": row["event_id"],
        "type": kind,
        "eventTime": f"{row['happened_at']:%Y-%m-%dT%H:%M:%S.000Z}",
        "eventTimeZoneOffset": "+08:00",
    }
    if kind == "ObjectEvent":
        event |= {"action": "ADD" if step == "commissioning" else "OBSERVE", "epcList": [epc]}
    elif kind == "AggregationEvent":
        event |= {
            "action": "OBSERVE",
            "parentID": f"urn:cellfleet:shipper:{row['coi'][-7:]}",
            "childEPCs": [epc],
        }
    else:
        event |= {"inputEPCList": [epc], "outputEPCList": [epc]}
    return event | {
        "bizStep": step,
        "disposition": disposition,
        "readPoint": {"id": f"urn:cellfleet:place:{row['place']}"},
        "sourceList": [{"type": "possessing_party", "source": f"urn:cellfleet:party:{row['giver']}"}],
        "destinationList": [
            {"type": "possessing_party", "destination": f"urn:cellfleet:party:{row['taker']}"}
        ],
        "sensorElementList": [
            {"sensorReport": [{"type": "Temperature", "value": row["temp_c"], "uom": "CEL"}]}
        ],
        "cellfleet:object": row["object"],
        "cellfleet:kind": row["kind"],
        "cellfleet:verifiedByTwo": row["verified"],
        "cellfleet:seq": row["seq"],
    }


_SIGNALS = {
    "temp": "T",
    "ph": "PH",
    "do": "PO2",
    "agit": "RPM",
    "glucose": "GLU",
    "lactate": "LAC",
    "vcd": "VCD",
    "co2": "CO2",
}
_GLUCOSE_G_PER_MMOL, _LACTATE_G_PER_MMOL = 0.180156, 0.090078


def sensor_label(channel: str, reactor: int) -> str:
    """The signal under which a channel is recorded (the unit stands in its own column)."""
    return _SIGNALS[channel]


def sensor_file_name(day: int) -> str:
    """Name of the file with the readings of a fleet day."""
    return f"hist_{day_start(day):%Y-%m-%d}.csv"


def sensor_files(world: World, site: SiteWorld, first: int, last: int, notes: Notes) -> Iterator[OutFile]:
    """Historian files, one per UTC day, pipe-separated, epoch milliseconds."""
    value = pl.col("value")
    for day, frame in by_day(world, site, first, last, pl.col("ts").dt.date()):
        made = frame.select(
            pl.format("BR{}", pl.col("suite").cast(pl.String).str.zfill(2)).alias("unit"),
            "batch",
            pl.col("channel").replace_strict(_SIGNALS).alias("signal"),
            (pl.col("seconds") * 1000).alias("epoch_ms"),
            pl.when(pl.col("channel") == "glucose")
            .then((value * _GLUCOSE_G_PER_MMOL).round(4))
            .when(pl.col("channel") == "lactate")
            .then((value * _LACTATE_G_PER_MMOL).round(4))
            .otherwise(value)
            .alias("val"),
            pl.col("quality").alias("q"),
        )
        yield OutFile(
            f"historian/{sensor_file_name(day)}",
            made.write_csv(separator="|").encode(),
            day_start(day + 1) + timedelta(hours=1),
            {"sensor": made.height},
        )
