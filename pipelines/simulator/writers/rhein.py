"""The European hospital: Latin-1 CSV with `;` and decimal comma, Excel batch records, NucleoView exports.

Belongs here: rhein's German headers, words and layouts. Does not belong here: what happened.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from openpyxl import Workbook

from pipelines.simulator.sensors import by_day
from pipelines.simulator.sites import day_start
from pipelines.simulator.world import Row, SiteWorld, World

from .common import Export, Notes, OutFile, csv_bytes, exports, local, words
from .northgate import keys_file
from .rhein_tables import FEEDS, TZ

EXPORT_DAYS = 7


def file_stem(feed: str) -> str:
    """How the site names a feed's files."""
    return FEEDS[feed][0]


def file_name(world: World, feed: str, day: int) -> str:
    """Name of the export of a feed on a fleet day."""
    return f"{FEEDS[feed][0]}_{day_start(day):%Y%m%d}.csv"


def header(feed: str, field: str) -> str:
    """The column in which the site prints a field."""
    return next(h for h, name, _ in FEEDS[feed][1] if field in (name, h))


def files(world: World, site: SiteWorld, notes: Notes) -> Iterator[OutFile]:
    """All files but the sensor days, as they lie there at the end of the fleet's last lived day."""
    now = day_start(world.lived)
    for export in exports(world, site, EXPORT_DAYS):
        for feed in ("assay",) if export.resent else FEEDS:
            yield from _export(world, site, feed, export, notes)
    yield from _batch_records(site, now, notes)
    yield from _nucleoview(world, site, now)
    yield keys_file(site, now, ("order", "screening"))


def _export(world: World, site: SiteWorld, feed: str, export: Export, notes: Notes) -> Iterator[OutFile]:
    rows = export.rows(site, feed)
    if not rows:
        return
    name = export.name(file_name(world, feed, export.day))
    data, n = csv_bytes(
        feed,
        rows,
        FEEDS[feed][1],
        name,
        notes=notes,
        sep=";",
        encoding="latin-1",
        rename=export.rename(site, feed),
        tz=TZ,
    )
    yield OutFile(f"export/{name}", data, export.at + timedelta(hours=1), {feed: n})


_AUTOMATION = words({"manual": "manuell", "semi": "halbautomatisch", "closed": "geschlossen"})


def _batch_records(site: SiteWorld, now: datetime, notes: Notes) -> Iterator[OutFile]:
    operations, uses = _by_batch(site, "unit_operation", now), _by_batch(site, "lot_use", now)
    for batch in site.state("batch", now):
        batch_id = batch["batch_id"]
        steps, lots = operations.get(batch_id, []), uses.get(batch_id, [])
        if not steps:
            continue
        name = f"CP_{batch_id}.xlsx"
        book = Workbook()
        sheet = book.active
        sheet.title = "Protokoll"
        for row, words_ in enumerate(
            (("Chargenprotokoll", "CAR-T Herstellung"), ("Charge", batch_id), ("Produkt", batch["product"])),
            start=1,
        ):
            sheet.cell(row, 1, words_[0])
            sheet.cell(row, 2, words_[1])
            sheet.merge_cells(start_row=row, start_column=2, end_row=row, end_column=5)
        head = (
            "Charge",
            "Schritt",
            "Vorgang",
            "Phase",
            "Beginn",
            "Ende",
            "Gerät",
            "Bedienerrolle",
            "Automatisierung",
        )
        for column, word in enumerate(head, start=1):
            sheet.cell(5, column, word)
        draft = int(batch_id.split("-")[2]) % 3 == 0  # some operators leave a hidden draft line behind
        shown = (
            [*steps, {**steps[-1], "op_id": f"{steps[-1]['op_id']}-E", "role": "Entwurf"}] if draft else steps
        )
        for n, step in enumerate(shown, start=6):
            cells = (
                batch_id,
                step["op_id"],
                step["unit_procedure"] + " / " + step["operation"],
                step["phase"],
                local(step["start"], TZ)[0],
                local(step["end"], TZ)[0],
                step["equipment_id"],
                step["role"],
                _AUTOMATION(step["automation"]),
            )
            for column, value in enumerate(cells, start=1):
                sheet.cell(n, column, value)
            notes.place("unit_operation", step, name, n)
        if draft:
            sheet.row_dimensions[5 + len(shown)].hidden = True
        reagents = book.create_sheet("Reagenzien")
        reagents.append(("Charge", "Los", "Menge", "Phase"))
        for n, lot in enumerate(lots, start=2):
            reagents.append((batch_id, lot["lot_id"], lot["qty"], lot["phase"]))
            notes.place("lot_use", lot, name, n)
        changed = max(r["_seen"] for r in (*steps, *lots))
        yield OutFile(
            f"chargenprotokoll/{name}",
            _frozen(book, changed),
            changed + timedelta(minutes=20),
            {"unit_operation": len(shown), "lot_use": len(lots)},
        )


def _by_batch(site: SiteWorld, feed: str, now: datetime) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in site.state(feed, now):
        found.setdefault(row["batch_id"], []).append(row)
    return found


def _frozen(book: Workbook, changed: datetime) -> bytes:
    """The workbook's bytes with every wall-clock trace replaced, so that one seed gives one file."""
    raw, clean = io.BytesIO(), io.BytesIO()
    book.save(raw)
    stamp = f"{changed:%Y-%m-%dT%H:%M:%SZ}".encode()
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(clean, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            body = source.read(name)
            if name == "docProps/core.xml":
                body = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp, body)
            target.writestr(zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0)), body, zipfile.ZIP_DEFLATED)
    return clean.getvalue()


def _nucleoview(world: World, site: SiteWorld, now: datetime) -> Iterator[OutFile]:
    viability: dict[str, float] = {}
    for row in site.tables["assay"]:
        if row["test"] == "VIAB":
            viability.setdefault(row["sample_id"], row["value"])
    for row in site.state("sample", now):
        if row["point"] not in ("ipc_d5", "harvest"):
            continue
        counted: datetime = (row.get("counted_at") or row["taken_at"]) + timedelta(minutes=20)
        rng = np.random.default_rng((world.seed, site.site.index, 5, int(row["sample_id"][-6:])))
        pct = min(99.9, viability[row["sample_id"]] + float(rng.normal(0, 0.4)))
        total = float(rng.uniform(1.2, 2.6) if row["point"] == "ipc_d5" else rng.uniform(2.5, 6.0))
        live, dead = f"{total * pct / 100:.2f}E6", f"{total * (1 - pct / 100):.2f}E6"
        odd, printed, diameter = rng.random(), f"{total:.2f}E6", f"{rng.normal(10.6, 0.4):.1f}"
        if odd < 0.05:
            printed = f"{total:.2f}E6 (Out of optimal range)"
        elif odd < 0.10:
            diameter = "Not determined"
        wall = local(counted, TZ)[0]
        offset = round((wall - counted.replace(tzinfo=None)).total_seconds() / 3600)
        title = "Viability and Cell Count Assay"
        lines = [
            f"{title} - Zellzahl; ;",
            f"Image;{row['sample_id']};",
            "Operator;QK;",
            f"Viability (%);{pct:.1f};",
            f"Live (cells/ml);{live};",
            f"Dead (cells/ml);{dead};",
            f"Total (cells/ml);{printed};",
            " ; ;",
            f"Estimated cell diameter (um);{diameter};",
            "Cell diameter standard deviation (um);2.1;",
            "(%) of cells in aggregates with five or more cells;3;",
            "Sample Volume (ul);200.0;",
            "Dilution Volume (ul);0.000;",
            "Multiplication factor;1.000;",
            *[";"] * 14,
            f"cm filename;{row['sample_id']}.cm",
            f"Protocol template title;{title}",
            "Protocol template purpose;Cell Count and Viability with AO and DAPI",
            f"Protocol template filename;{title} - NC-200.cmsx",
            "Protocol adaptation title;Zellzahl",
            "Protocol adaptation purpose;Cell Count and Viability with AO and DAPI",
            "Protocol adaptation filename;94A29BE3f39d48cd8eb5cb9472add350.cmsu",
            "Instrument type;NucleoView NC-200",
            "Instrument s/n;s/n 9000201047112233",
            f"Date time;{wall:%Y%m%d %H%M%S}",
            f"Time zone offset;{offset}",
            "Login ID;qk",
            "PC;RHEIN-QK-02",
            "Application SW version;1.4.2.0",
            "21 CFR Part 11;disabled",
            "Event log format;Plain text",
            "csv file version;2",
            "",
            "//[ECEC5A41]",
        ]
        data = "\r\n".join(lines).encode("latin-1")
        yield OutFile(
            f"nucleoview/{row['sample_id']}.csv", data, counted + timedelta(minutes=5), {"cell_count": 1}
        )


_CHANNELS = {
    "temp": "Temperatur",
    "ph": "pH",
    "do": "DO",
    "agit": "Ruehrer",
    "glucose": "Glukose",
    "lactate": "Laktat",
    "vcd": "VCD",
    "co2": "CO2",
}


def sensor_label(channel: str, reactor: int) -> str:
    """The name under which a channel is recorded (the same in every suite)."""
    return _CHANNELS[channel]


def sensor_file_name(day: int) -> str:
    """Name of the file with the readings of a fleet day."""
    return f"sensorik_{day_start(day):%Y-%m-%d}.csv"


def sensor_files(world: World, site: SiteWorld, first: int, last: int, notes: Notes) -> Iterator[OutFile]:
    """Sensor files, one per Berlin calendar day; offsets stand in each time."""
    wall = pl.col("ts").dt.convert_time_zone(TZ)
    for day, frame in by_day(world, site, first, last, wall.dt.date()):
        made = frame.select(
            pl.col("batch").alias("Charge"),
            pl.col("channel").replace_strict(_CHANNELS).alias("Kanal"),
            wall.dt.strftime("%Y-%m-%dT%H:%M:%S%:z").alias("Zeit"),
            pl.col("value").alias("Wert"),
            pl.col("quality").replace_strict({0: "gut", 1: "unsicher", 2: "schlecht"}).alias("Status"),
        )
        data = made.write_csv(separator=";", decimal_comma=True, line_terminator="\r\n").encode("latin-1")
        yield OutFile(
            f"sensorik/{sensor_file_name(day)}",
            data,
            day_start(day + 1) + timedelta(hours=1),
            {"sensor": made.height},
        )
