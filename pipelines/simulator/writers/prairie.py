"""The US regional hospital: comma CSV re-sent in full each month, local times without zone, US units.

Belongs here: prairie's headers, words, units and layouts. Does not belong here: what happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from ..sensors import by_day
from ..sites import FLEET_START, day_start
from ..world import Row, SiteWorld, World, key_of
from .common import Assay, Column, Notes, OutFile, csv_bytes, local, number, result_text, text, words
from .northgate import keys_file

TZ = "America/Chicago"
EXPORT_DAYS = 30
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
    return f"{wall.month}/{wall.day}/{wall.year} {wall.hour % 12 or 12}:{wall:%M} {'AM' if wall.hour < 12 else 'PM'}"


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
_FEEDS: dict[str, tuple[str, tuple[Column, ...]]] = {
    "order": ("orders", (
        ("order_id", "order_id", text), ("mrn", "mrn", text), ("patient_name", "name", text), ("dob", "dob", _day),
        ("sex", "sex", text), ("dx", "dx", text), ("prior_lines", "prior_lines", text), ("benda_180d", "benda", _yes),
        ("ecog", "ecog", text), ("ldh_band", "ldh", text), ("product", "product", text), ("coi_id", "coi", text),
        ("slot_date", "slot", _day), ("ordered_at", "ordered_at", _time), ("status", "status", text),
        ("notes", "comment", text), _MODIFIED)),
    "collection": ("collections", (
        ("collection_id", "collection_id", text), ("order_id", "order_id", text), ("din", "din", text),
        ("start", "start", _time), ("end", "end", _time), ("tnc_e6", "tnc", number(0, factor=1000)),
        ("cd3_e6", "cd3", number(0, factor=1000)), ("cd3_pct", "cd3_pct", number(1)),
        ("volume_ml", "volume_ml", number(0)), ("tbv_l", "tbv_l", number(1)), ("anticoagulant", "anticoagulant", text),
        _MODIFIED)),
    "batch": ("batches", (
        ("batch_id", "batch_id", text), ("order_id", "order_id", text), ("product", "product", text),
        ("suite", "suite", text), ("protocol_version", "protocol", text), ("attempt", "attempt", text),
        ("status", "status", text), ("started", "started", _time), ("harvested", "harvested", _time),
        ("formulated", "formulated", _time), ("disposition", "disposition", text),
        ("termination_cause", "cause", text), _MODIFIED)),
    "unit_operation": ("unit_operations", (
        ("op_id", "op_id", text), ("batch_id", "batch_id", text), ("unit_procedure", "unit_procedure", text),
        ("operation", "operation", text), ("phase", "phase", text), ("start", "start", _time), ("end", "end", _time),
        ("equipment_id", "equipment_id", text), ("operator_role", "role", text), ("automation", "automation", text),
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
        ("unit", "*", lambda r: r.get("raw_unit") or ASSAYS[r["test"]].unit), ("replicate", "replicate", text),
        ("analyst_role", "role", text), ("result_at", "result_at", _time), _MODIFIED, ("reason", "reason", text))),
    "deviation": ("deviations", (
        ("deviation_id", "deviation_id", text), ("batch_id", "batch_id", text), ("class", "klass", text),
        ("cause", "cause", text), ("opened_at", "opened", _time), ("closed_at", "closed", _time), _MODIFIED)),
    "specification": ("specifications", (
        ("spec_id", "spec_id", text), ("product", "product", text), ("version", "version", text),
        ("effective_from", "effective_from", _day), ("effective_to", "effective_to", _day),
        ("approved_by_role", "approved_by", text), _MODIFIED)),
    "spec_limit": ("spec_limits", (
        ("spec_id", "spec_id", text), ("version", "version", text), ("test", "*", _of("code")),
        ("method", "*", _of("method")), ("low", "low", _bare), ("high", "high", _bare), ("inclusive", "inclusive", _yes),
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
        ("outcome_id", "outcome_id", text), ("infusion_id", "infusion_id", text), ("endpoint", "endpoint", text),
        ("day", "day", text), ("value", "value", text), ("censored", "censored", _yes), _MODIFIED)),
}


def file_name(world: World, feed: str, day: int) -> str:
    """Name of the full export of a feed on a fleet day."""
    return f"{_FEEDS[feed][0]}_{day_start(day):%Y%m%d}.csv"


def files(world: World, site: SiteWorld, notes: Notes) -> Iterator[OutFile]:
    """All files but the sensor days, as they lie there at the end of the fleet's last lived day."""
    now = day_start(world.lived)
    for day in world.export_days(EXPORT_DAYS):
        at = day_start(day)
        for feed in _FEEDS:
            yield from _export(world, site, feed, day, at, notes, "")
        again = at + timedelta(hours=12)
        if day in site.resends and again <= now:
            yield from _export(world, site, "assay", day, again, notes, "_r2")
    yield from _custody(site, now, notes)
    yield keys_file(site, now)


def _export(
    world: World, site: SiteWorld, feed: str, day: int, at: datetime, notes: Notes, suffix: str
) -> Iterator[OutFile]:
    rows = site.changes(feed, FLEET_START - timedelta(days=900), day_start(day), at)
    if not rows:
        return
    name = file_name(world, feed, day).replace(".csv", f"{suffix}.csv")
    data, n = csv_bytes(feed, rows, _FEEDS[feed][1], name, notes, tz=TZ,
                        rename=None if suffix else site.renames.get((feed, day)))
    yield OutFile(f"outbound/{name}", data, at + timedelta(hours=1), {feed: n})


def _custody(site: SiteWorld, now: datetime, notes: Notes) -> Iterator[OutFile]:
    lines: dict[str, list[str]] = {}
    written: dict[str, datetime] = {}
    for row in site.state("custody", now):
        wall, twice = local(row["happened_at"], TZ)
        name = f"custody_{local(row['_seen'], TZ)[0]:%Y%m}.jsonl"
        if twice:
            notes.ambiguous["custody", key_of("custody", row)] = name
        made = lines.setdefault(name, [])
        made.append(json.dumps({
            "event_id": row["event_id"], "coi_id": row["coi"], "object": row["object"], "kind": row["kind"],
            "from_party": row["giver"], "to_party": row["taker"], "place": row["place"],
            "happened_at": f"{wall:%Y-%m-%dT%H:%M:%S}", "verified_by_two": row["verified"],
            "temp_f": round(row["temp_c"] * 9 / 5 + 32, 1), "seq": row["seq"], "prev_hash": row["prev_hash"],
            "leaf_hash": row["leaf_hash"],
        }))
        notes.place("custody", row, name, len(made))
        written[name] = row["_seen"]
    for name, made in lines.items():
        yield OutFile(f"custody/{name}", ("\n".join(made) + "\n").encode(), written[name] + timedelta(minutes=1),
                      {"custody": len(made)})


_TAGS = {"temp": "temp", "ph": "ph", "do": "do", "agit": "agit", "glucose": "glucose", "lactate": "lactate",
         "vcd": "vcd", "co2": "co2"}
_UNITS = {"temp": "degF", "ph": "", "do": "%", "agit": "rpm", "glucose": "mg/dL", "lactate": "mg/dL",
          "vcd": "10^6/mL", "co2": "%"}
_GLUCOSE_MG_PER_MMOL, _LACTATE_MG_PER_MMOL = 180.156, 90.078


def sensor_label(channel: str, reactor: int) -> str:
    """The tag under which a channel is recorded (the same in every suite)."""
    return _TAGS[channel]


def wall_of_wrong_hour(at: datetime) -> str:
    """How a logger whose clock did not spring forward prints an instant of that hour."""
    return f"{local(at, TZ)[0] - timedelta(hours=1):%m/%d/%Y %H:%M:%S}"


def sensor_file_name(day: int) -> str:
    """Name of the file with the readings of a fleet day."""
    return f"telemetry_{day_start(day):%Y-%m-%d}.csv"


def sensor_files(world: World, site: SiteWorld, first: int, last: int, notes: Notes) -> Iterator[OutFile]:
    """Telemetry files, one per Chicago calendar day (the last lived day is not over yet in Chicago)."""
    wall = pl.col("ts").dt.convert_time_zone(TZ)
    naive = wall.dt.replace_time_zone(None) - pl.when(pl.col("dst")).then(pl.duration(hours=1)).otherwise(
        pl.duration(hours=0))
    value = pl.col("value")
    for day, frame in by_day(world, site, first - 1, last - 1, wall.dt.date()):
        made = frame.select(
            "batch",
            pl.col("channel").alias("tag"),
            naive.dt.strftime("%m/%d/%Y %H:%M:%S").alias("local_time"),
            pl.when(pl.col("channel") == "temp").then((value * 1.8 + 32).round(3))
            .when(pl.col("channel") == "glucose").then((value * _GLUCOSE_MG_PER_MMOL / 10).round(2))
            .when(pl.col("channel") == "lactate").then((value * _LACTATE_MG_PER_MMOL / 10).round(2))
            .otherwise(value).alias("value"),
            pl.col("channel").replace_strict(_UNITS).alias("unit"),
            pl.col("quality").replace_strict({0: "GOOD", 1: "UNCERTAIN", 2: "BAD"}).alias("quality"),
        )
        name = sensor_file_name(day)
        _note_ambiguous(frame, made, name, notes)
        yield OutFile(f"telemetry/{name}", made.write_csv(line_terminator="\r\n").encode(),
                      day_start(day + 1) + timedelta(hours=8), {"sensor": made.height})


def _note_ambiguous(frame: pl.DataFrame, made: pl.DataFrame, name: str, notes: Notes) -> None:
    """Remember readings in the hour that the clocks of Chicago repeat: 1 o'clock, first and second time."""
    times = frame["ts"].unique().sort()
    zone = ZoneInfo(TZ)
    if times[0].astimezone(zone).utcoffset() == times[-1].astimezone(zone).utcoffset():
        return
    twice = [t for t in times if local(t, TZ)[1]]
    for row in made.filter(frame["ts"].is_in(twice)).select("batch", "tag", "local_time").iter_rows():
        notes.ambiguous["sensor", "|".join(row)] = name
