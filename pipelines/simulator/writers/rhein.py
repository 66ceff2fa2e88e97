"""The European hospital: Latin-1 CSV with `;` and decimal comma, Excel batch records, NucleoView exports.

Belongs here: rhein's German headers, words and layouts. Does not belong here: what happened.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from openpyxl import Workbook

from ..sensors import by_day
from ..sites import FLEET_START, day_start
from ..world import Row, SiteWorld, World
from .common import Assay, Column, Notes, OutFile, csv_bytes, local, number, result_text, text, words
from .northgate import keys_file

TZ = "Europe/Berlin"
EXPORT_DAYS = 7
ASSAYS = {
    "VIAB": Assay("Vitalität", "Trypanblau", "1", 4, 0.01), "CD3": Assay("CD3", "Durchfluss", "1", 4, 0.01),
    "CAR": Assay("CAR", "Durchfluss", "1", 4, 0.01), "VCN": Assay("VCN", "ddPCR je Zelle", "Kopien/Zelle", 2),
    "CD4CD8": Assay("CD4/CD8", "Durchfluss", "1", 2), "IFNG": Assay("IFN-g", "ELISA", "pg/mL", 0),
    "KILL": Assay("Zytotoxizität", "Durchfluss", "1", 4, 0.01), "ENDO": Assay("Endotoxin", "LAL", "IE/mL", 2),
    "STER": Assay("Sterilität", "Kultur", "", 0), "MYCO": Assay("Mykoplasmen", "PCR", "", 0),
    "RCL": Assay("RCL", "PCR", "", 0), "BEADS": Assay("Beads", "Perlenzählung", "Beads/3e6 Zellen", 0),
    "TVC": Assay("Gesamtzellen", "Zählkammer", "Zellen", 0), "TVCAR": Assay("CAR-Zellen", "Durchfluss", "Zellen", 0),
    "FOLD": Assay("Expansion", "Zählkammer", "fach", 1),
}
RETIRED = "Vitalität_alt"
_RESULT_WORDS = {"negative": "negativ", "positive": "positiv"}


def _time(value: datetime | None) -> str:
    return "" if value is None else f"{local(value, TZ)[0]:%d.%m.%Y %H:%M}"


def _day(value: date | None) -> str:
    return "" if value is None else f"{value:%d.%m.%Y}"


_yes = words({True: "ja", False: "nein"})


def shown_result(row: Row) -> str:
    """The text in the column Ergebnis."""
    shown = result_text(ASSAYS[row["test"]], row, comma=True)
    return _RESULT_WORDS.get(shown, shown)


def _limit(side: str) -> Any:
    def show(row: Row) -> str:
        assay = ASSAYS[row["test"]]
        value = row[side]
        return "" if value is None else f"{value * assay.factor:.10g}".replace(".", ",")

    return show


def _of(part: str) -> Any:
    return lambda r: getattr(ASSAYS[r["test"]], part)


_DISPOSITION = words({"released": "freigegeben", "rejected": "gesperrt", "pending": "offen",
                      "oos_released": "OOS-freigegeben"})
_POINT = words({"ipc_d5": "IPK Tag 5", "harvest": "Ernte", "release": "Freigabe", "post_release": "nach Freigabe"})
_STAGE = words({"ipc": "IPK", "release": "Freigabe", "post_release": "nach Freigabe"})
_MODIFIED: Column = ("Geändert am", "modified", _time)
_FEEDS: dict[str, tuple[str, tuple[Column, ...]]] = {
    "order": ("auftrag", (
        ("Auftrag-Nr", "order_id", text), ("Fallnummer", "mrn", text), ("Name", "name", text),
        ("Geburtsdatum", "dob", _day), ("Geschlecht", "sex", words({"M": "m", "F": "w"})), ("Diagnose", "dx", text),
        ("Vortherapien", "prior_lines", text), ("Bendamustin_180T", "benda", _yes), ("ECOG", "ecog", text),
        ("LDH", "ldh", words({"N": "normal", "H": "erhöht", "VH": "stark erhöht"})), ("Produkt", "product", text),
        ("CoI", "coi", text), ("Slot", "slot", _day), ("Bestellt am", "ordered_at", _time),
        ("Status", "status", words({"open": "offen", "done": "erledigt", "withdrawn": "zurückgezogen",
                                    "died": "verstorben"})),
        ("Bemerkung", "comment", text), _MODIFIED)),
    "collection": ("entnahme", (
        ("Entnahme-Nr", "collection_id", text), ("Auftrag-Nr", "order_id", text), ("DIN", "din", text),
        ("Beginn", "start", _time), ("Ende", "end", _time), ("TNC [10^9]", "tnc", number(2, comma=True)),
        ("CD3 [10^9]", "cd3", number(2, comma=True)), ("CD3-Anteil", "cd3_pct", number(3, comma=True, factor=0.01)),
        ("Volumen [mL]", "volume_ml", number(0)), ("TBV [L]", "tbv_l", number(1, comma=True)),
        ("Antikoagulans", "anticoagulant", text), _MODIFIED)),
    "batch": ("charge", (
        ("Charge", "batch_id", text), ("Auftrag-Nr", "order_id", text), ("Produkt", "product", text),
        ("Raum", "suite", text), ("Vorschrift", "protocol", text), ("Versuch", "attempt", text),
        ("Status", "status", words({"in_process": "laufend", "complete": "abgeschlossen",
                                    "terminated": "abgebrochen"})),
        ("Beginn", "started", _time), ("Ernte", "harvested", _time), ("Formulierung", "formulated", _time),
        ("Entscheid", "disposition", _DISPOSITION), ("Abbruchgrund", "cause", text), _MODIFIED)),
    "sample": ("probe", (
        ("Probe", "sample_id", text), ("Charge", "batch_id", text), ("Zeitpunkt der Probe", "point", _POINT),
        ("Entnommen am", "taken_at", _time), _MODIFIED)),
    "assay": ("messwerte", (
        ("Ergebnis-Nr", "result_id", text), ("Probe", "sample_id", text), ("Charge", "batch_id", text),
        ("Prüfung", "*", lambda r: r.get("raw_test") or ASSAYS[r["test"]].code), ("Methode", "*", _of("method")),
        ("Labor", "lab", words({"qc": "QK-Labor", "external": "extern"})), ("Ergebnis", "*", shown_result),
        ("Einheit", "*", lambda r: r.get("raw_unit") or ASSAYS[r["test"]].unit), ("Wiederholung", "replicate", text),
        ("Prüferrolle", "role", text), ("Gemessen am", "result_at", _time), _MODIFIED, ("Grund", "reason", text))),
    "reagent_lot": ("reagenzlos", (
        ("Los", "lot_id", text),
        ("Material", "material", words({"vector": "Vektor", "activation_reagent": "Aktivierung", "medium": "Medium",
                                        "cytokine": "Zytokin", "bag_set": "Beutelset"})),
        ("Lieferant", "supplier", text), ("GTIN", "gtin", text), ("Eingang", "received", _day),
        ("Verfall", "expires", _day), ("Menge", "qty", number(1, comma=True)), ("Titer", "titre", number(0)),
        ("Status", "status", words({"released": "freigegeben"})), _MODIFIED)),
    "equipment": ("geraet", (
        ("Gerät", "equipment_id", text), ("Modell", "model", text), ("Seriennummer", "serial", text),
        ("Firmware", "firmware", text), ("Qualifizierung bis", "qualification_due", _day), _MODIFIED)),
    "deviation": ("abweichung", (
        ("Abweichung", "deviation_id", text), ("Charge", "batch_id", text),
        ("Klasse", "klass", words({"minor": "gering", "major": "schwer", "critical": "kritisch"})),
        ("Ursache", "cause", text), ("Eröffnet", "opened", _time), ("Geschlossen", "closed", _time), _MODIFIED)),
    "specification": ("spezifikation", (
        ("Spezifikation", "spec_id", text), ("Produkt", "product", text), ("Version", "version", text),
        ("Gültig ab", "effective_from", _day), ("Gültig bis", "effective_to", _day),
        ("Freigegeben durch", "approved_by", text), _MODIFIED)),
    "spec_limit": ("grenzwert", (
        ("Spezifikation", "spec_id", text), ("Version", "version", text), ("Prüfung", "*", _of("code")),
        ("Methode", "*", _of("method")), ("Unten", "*", _limit("low")), ("Oben", "*", _limit("high")),
        ("Einschließlich", "inclusive", _yes), ("Stufe", "stage", _STAGE), ("Sperrend", "blocking", _yes),
        ("Einheit", "*", _of("unit")), _MODIFIED)),
    "release": ("freigabe", (
        ("Freigabe-Nr", "release_id", text), ("Charge", "batch_id", text),
        ("Entscheid", "decision", words({"released": "freigegeben", "rejected": "gesperrt",
                                         "conditional": "bedingt"})),
        ("Spezifikation", "spec_id", text), ("Version", "spec_version", text), ("Rolle", "role", text),
        ("Unterschrieben am", "signed_at", _time), ("Bedingung", "condition", text), _MODIFIED)),
    "custody": ("uebergabe", (
        ("Ereignis", "event_id", text), ("CoI", "coi", text), ("Objekt", "object", text), ("Art", "kind", text),
        ("Von", "giver", text), ("An", "taker", text), ("Ort", "place", text), ("Zeitpunkt", "happened_at", _time),
        ("Vier-Augen", "verified", _yes), ("Temperatur [°C]", "temp_c", number(1, comma=True)), ("Lfd", "seq", text),
        _MODIFIED)),
    "infusion": ("infusion", (
        ("Infusion", "infusion_id", text), ("Auftrag-Nr", "order_id", text), ("Charge", "batch_id", text),
        ("Zeitpunkt", "infused_at", _time), ("CAR+ vital [10^6]", "dose_e6", number(1, comma=True)),
        ("je kg [10^6]", "per_kg_e6", number(2, comma=True)), ("Beutel", "bags", text), ("OOS", "oos", _yes),
        _MODIFIED)),
    "outcome": ("verlauf", (
        ("Verlauf-Nr", "outcome_id", text), ("Infusion", "infusion_id", text),
        ("Endpunkt", "endpoint", words({"crs": "CRS", "icans": "ICANS", "response": "Ansprechen",
                                        "relapse": "Rezidiv", "survival": "Überleben"})),
        ("Tag", "day", text), ("Wert", "value", words({"alive": "lebt", "dead": "verstorben", "yes": "ja"})),
        ("Zensiert", "censored", _yes), _MODIFIED)),
}


def file_stem(feed: str) -> str:
    """How the site names a feed's files."""
    return _FEEDS[feed][0]


def file_name(world: World, feed: str, day: int) -> str:
    """Name of the export of a feed on a fleet day."""
    return f"{_FEEDS[feed][0]}_{day_start(day):%Y%m%d}.csv"


def header(feed: str, field: str) -> str:
    """The column in which the site prints a field."""
    return next(h for h, name, _ in _FEEDS[feed][1] if field in (name, h))


def files(world: World, site: SiteWorld, notes: Notes) -> Iterator[OutFile]:
    """All files but the sensor days, as they lie there at the end of the fleet's last lived day."""
    now = day_start(world.lived)
    before = FLEET_START - timedelta(days=900)
    for day in world.export_days(EXPORT_DAYS):
        until = day_start(day)
        for feed in _FEEDS:
            yield from _export(world, site, feed, day, before, until, notes, "")
        again = until + timedelta(hours=12)
        if day in site.resends and again <= now:
            yield from _export(world, site, "assay", day, before, again, notes, "_r2", until)
        before = until
    yield from _batch_records(site, now, notes)
    yield from _nucleoview(world, site, now)
    yield keys_file(site, now)


def _export(
    world: World, site: SiteWorld, feed: str, day: int, after: datetime, at: datetime, notes: Notes, suffix: str,
    until: datetime | None = None,
) -> Iterator[OutFile]:
    rows = site.changes(feed, after, until or at, at)
    if not rows:
        return
    name = file_name(world, feed, day).replace(".csv", f"{suffix}.csv")
    data, n = csv_bytes(feed, rows, _FEEDS[feed][1], name, notes, sep=";", encoding="latin-1",
                        rename=None if suffix else site.renames.get((feed, day)), tz=TZ)
    yield OutFile(f"export/{name}", data, at + timedelta(hours=1), {feed: n})


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
        for row, words_ in enumerate((("Chargenprotokoll", "CAR-T Herstellung"), ("Charge", batch_id),
                                      ("Produkt", batch["product"])), start=1):
            sheet.cell(row, 1, words_[0])
            sheet.cell(row, 2, words_[1])
            sheet.merge_cells(start_row=row, start_column=2, end_row=row, end_column=5)
        head = ("Charge", "Schritt", "Vorgang", "Phase", "Beginn", "Ende", "Gerät", "Bedienerrolle", "Automatisierung")
        for column, word in enumerate(head, start=1):
            sheet.cell(5, column, word)
        draft = int(batch_id.split("-")[2]) % 3 == 0  # some operators leave a hidden draft line behind
        shown = [*steps, {**steps[-1], "op_id": f"{steps[-1]['op_id']}-E", "role": "Entwurf"}] if draft else steps
        for n, step in enumerate(shown, start=6):
            cells = (batch_id, step["op_id"], step["unit_procedure"] + " / " + step["operation"], step["phase"],
                     local(step["start"], TZ)[0], local(step["end"], TZ)[0], step["equipment_id"], step["role"],
                     _AUTOMATION(step["automation"]))
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
        yield OutFile(f"chargenprotokoll/{name}", _frozen(book, changed), changed + timedelta(minutes=20),
                      {"unit_operation": len(shown), "lot_use": len(lots)})


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
        counted = row.get("counted_at", row["taken_at"]) + timedelta(minutes=20)
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
            f"{title} - Zellzahl; ;", f"Image;{row['sample_id']};", "Operator;QK;", f"Viability (%);{pct:.1f};",
            f"Live (cells/ml);{live};", f"Dead (cells/ml);{dead};", f"Total (cells/ml);{printed};", " ; ;",
            f"Estimated cell diameter (um);{diameter};", "Cell diameter standard deviation (um);2.1;",
            "(%) of cells in aggregates with five or more cells;3;", "Sample Volume (ul);200.0;",
            "Dilution Volume (ul);0.000;", "Multiplication factor;1.000;", *[";"] * 14,
            f"cm filename;{row['sample_id']}.cm", f"Protocol template title;{title}",
            "Protocol template purpose;Cell Count and Viability with AO and DAPI",
            f"Protocol template filename;{title} - NC-200.cmsx", "Protocol adaptation title;Zellzahl",
            "Protocol adaptation purpose;Cell Count and Viability with AO and DAPI",
            "Protocol adaptation filename;94A29BE3f39d48cd8eb5cb9472add350.cmsu",
            "Instrument type;NucleoView NC-200", "Instrument s/n;s/n 9000201047112233",
            f"Date time;{wall:%Y%m%d %H%M%S}", f"Time zone offset;{offset}", "Login ID;qk", "PC;RHEIN-QK-02",
            "Application SW version;1.4.2.0", "21 CFR Part 11;disabled", "Event log format;Plain text",
            "csv file version;2", "", "//[ECEC5A41]",
        ]
        data = "\r\n".join(lines).encode("latin-1")
        yield OutFile(f"nucleoview/{row['sample_id']}.csv", data, counted + timedelta(minutes=5), {"cell_count": 1})


_CHANNELS = {"temp": "Temperatur", "ph": "pH", "do": "DO", "agit": "Ruehrer", "glucose": "Glukose",
             "lactate": "Laktat", "vcd": "VCD", "co2": "CO2"}


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
        yield OutFile(f"sensorik/{sensor_file_name(day)}", data,
                      day_start(day + 1) + timedelta(hours=1), {"sensor": made.height})
