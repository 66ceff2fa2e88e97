"""Instruments without a reader of their own here, through allotropy, and a light reading beside it.

Here: the list of those instruments, the Allotrope model as flat records, and the light reading, which knows
nothing of allotropy: it looks for ERROR texts, censoring marks, overflows and hidden rows in the file itself, so that
none is dropped silently where allotropy leaves a field out. One record is one measurement document, one
calculated value, or one line of the file that bears a mark. Identifiers that allotropy draws at random and
paths of this machine are left out: the same file gives the same records. Meaning is the contract's to give.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

from pipelines.formats.collect import Collector, Record
from pipelines.formats.jsonl import dump
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.text import as_utf8, decode, whole

# Text exports by what stands in their first lines; of several that fit the first is taken.
_TEXTS: tuple[tuple[str, frozenset[str], re.Pattern[bytes]], ...] = tuple(
    (vendor, frozenset(endings.split()), re.compile(mark))
    for vendor, endings, mark in (
        ("CFXMAESTRO", "csv", rb"\A[^\n]*\bWell\b[^\n]*\bFluor\b[^\n]*\bCq\b"),
        ("REVVITY_MATRIX", "csv", rb"\APlate Name,|\A[^\n]*Well Name[^\n]*Live (?:Count|Concentration)"),
        ("THERMO_FISHER_QUBIT_FLEX", "csv", rb"\A(?:sep=[^\n]*\n)?[^\n]*Test Date[^\n]*Sample RFU"),
        ("THERMO_FISHER_QUBIT4", "csv", rb"\A[^\n]*Test Date[^\n]*RFU"),
        ("THERMO_FISHER_NANODROP_EIGHT", "txt tsv", rb"(?m)^(?:Application|Serial Number|User name):\t"),
        ("THERMO_FISHER_NANODROP_8000", "txt", rb"(?i)\A(?:[^\n]*\n){0,4}[^\n]*(?<!\w)Plate ID\t[^\n]*Sample ID"),
        ("THERMO_FISHER_NANODROP_ONE", "csv", rb"\A[^\n]*Nucleic Acid[^\n]*A260/A280"),
        ("AGILENT_GEN5", "txt", rb"\A(?:[^\n]*\n){0,4}Software Version\t"),
        ("CTL_IMMUNOSPOT", "txt", rb"\A(?:[^\n]*\n){0,19}[^\n]*ImmunoSpot"),
        ("PERKIN_ELMER_ENVISION", "csv", rb"(?m)\A(?:[^\n]*\n){0,19}Plate information"),
        ("BMG_MARS", "csv", rb"\AUser: (?s:.*)Raw Data"),
        ("BIORAD_BIOPLEX", "xml", rb"<PlateDimensions[\s>]|<BioPlex[\w]*[\s>]"),
    )
)  # fmt: skip
# Workbooks and archives, by allotropy's own look inside; the first that fits is taken.
_BOOKS = {
    "xlsx": (
        "BECKMAN_VI_CELL_XR", "MABTECH_APEX", "THERMO_SKANIT", "APPBIO_QUANTSTUDIO_DESIGNANDANALYSIS",
        "APPBIO_QUANTSTUDIO", "REVVITY_MATRIX", "THERMO_FISHER_QUBIT_FLEX", "THERMO_FISHER_QUBIT4",
        "THERMO_FISHER_NANODROP_ONE", "MSD_WORKBENCH", "ROCHE_CEDEX_HIRES", "CTL_IMMUNOSPOT", "TECAN_MAGELLAN",
    ),
    "xls": ("BECKMAN_VI_CELL_XR", "APPBIO_QUANTSTUDIO_DESIGNANDANALYSIS"),
    "zip": ("CYTIVA_UNICORN",),
}  # fmt: skip
_NO_ZONE = timezone(timedelta(hours=13, minutes=47))  # nowhere on Earth: marks a time printed without a zone
_EPOCH = "1970-01-01T00:00:00"  # what allotropy says where the file prints no time
_SKIPPED = re.compile(r"UNC path|file name|ASM .*|\$asm\..*|(?:measurement|calculated data) identifier")
_PLACEHOLDERS = ("N/A", "Value not provided in instrument file")  # allotropy's, where its model wants a text
_XML_CELLS = re.compile(r">([^<>]+)<|=\"([^\"]*)\"")
_PERSON = re.compile(
    r"(?:analyst|operator|user|owner|author|experimenter|technician|computer|person)\b", re.I
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d|Z)")
_MARK = re.compile(
    r"\s*(?:[<>≤≥]=?\s*[+-]?[\d.,]+.*|err(?:or)?\b.*|fail(?:ed)?\b.*|invalid\b.*|nan|[+-]?inf(?:inity)?|undetermined"
    r"|.*\b(?:overflow|ovrflw|saturated)\b.*|.*\bout of (?:optimal |test )?range\b.*|no result|warning\b.*"
    r"|[*?]{2,}|#(?:N/A|DIV/0!|REF!|VALUE!|NAME\?|NUM!|NULL!))\s*",
    re.IGNORECASE,
)
_MEASUREMENTS = "measurement aggregate document"


def vendor_of(path: Path) -> str | None:
    """The instrument whose export this is, by allotropy's name; None where it is none of the list."""
    ending = path.suffix.lower().lstrip(".")
    try:
        with path.open("rb") as handle:
            head = as_utf8(handle.read(1 << 16)).replace(b"\r\n", b"\n")
    except OSError:
        return None
    for vendor, endings, mark in _TEXTS:
        if ending in endings and mark.search(head):
            return vendor
    if ending not in _BOOKS or not head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return None
    from allotropy.named_file_contents import NamedFileContents  # costly
    from allotropy.parser_factory import Vendor

    for vendor in _BOOKS[ending]:
        parser = Vendor[vendor].get_parser()
        with path.open("rb") as handle, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if parser.sniff(NamedFileContents(handle, path.name)) and _fits(vendor, path):
                return vendor
    return None


def _fits(vendor: str, path: Path) -> bool:
    """Where allotropy's own look is content with the name of a file or sheet, one word inside it too."""
    words = {
        "BECKMAN_VI_CELL_XR": "Viability",
        "APPBIO_QUANTSTUDIO_DESIGNANDANALYSIS": "Well Position",
        "REVVITY_MATRIX": "Viability",
        "CYTIVA_UNICORN": "",
    }
    word = words.get(vendor, "")
    return not word or any(word in cell for _, cells in _cells(path, path.read_bytes()) for cell in cells)


class Allotrope:
    """Exports that allotropy maps: plate readers, qPCR, ELISpot, Bio-Plex, UNICORN, NanoDrop, Qubit and others."""

    name = "allotrope"

    def recognises(self, head: bytes, filename: str) -> bool:
        """Text exports by their first lines; workbooks and archives need the whole file (`vendor_of`)."""
        ending = filename.rpartition(".")[2].lower()
        head = head.replace(b"\r\n", b"\n")
        return any(ending in endings and mark.search(head) for _, endings, mark in _TEXTS)

    def read(self, path: Path, options: Options) -> Reading:
        """Every measurement and calculated value that allotropy finds, and every marked line of the file."""
        data = whole(path)
        vendor = vendor_of(path)
        if vendor is None:
            raise UnreadableFile(
                path,
                "first bytes",
                "no export of an instrument in the list of format allotrope",
                "Name another format, or leave it out.",
            )
        model, text = _model(path, data, vendor, options)
        collector = Collector(path, self.name, options)
        rows = _Rows(collector)
        for key, document in model.items():
            if key.endswith("aggregate document") and isinstance(document, dict):
                rows.technique(key.removesuffix(" aggregate document"), document)
        measured = len(collector.records)
        if not measured:
            raise UnreadableFile(
                path, vendor, "allotropy finds no measurement in it", "Check that the export is whole."
            )
        rows.cross_references()
        lines = 0
        for place, cells in _cells(path, data):
            lines += 1
            marks = [cell.strip() for cell in cells if _MARK.fullmatch(cell)]
            if marks:
                record = collector.record(len(collector.records) + 1)
                record.values |= {"record_kind": "marked_line", "place": place, "text": "; ".join(marks)}
                for mark in marks:
                    collector.flag(record, "text", mark)
        received = text.count('"measurement identifier":') + text.count('"calculated data identifier":')
        marked = len(collector.records) - measured
        header = {
            "vendor": vendor,
            "manifest": model.get("$asm.manifest"),
            "measurements": measured,
            "lines": lines,
            "marked_lines": marked,
        }
        return collector.reading(received + marked, header)


def _model(path: Path, data: bytes, vendor: str, options: Options) -> tuple[dict[str, Any], str]:
    """The Allotrope model of the file, and the same as text with its numbers as printed."""
    import json

    from allotropy.to_allotrope import allotrope_from_io  # costly

    ending = path.suffix.lower()
    contents = (
        data
        if ending in (".xlsx", ".xls", ".zip", ".xml")
        else decode(path, data, options, "cp1252").encode()
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = allotrope_from_io(io.BytesIO(contents), path.name, vendor, default_timezone=_NO_ZONE)
    except Exception as failed:
        said = " ".join(str(failed).split())[:300] or type(failed).__name__
        raise UnreadableFile(
            path, vendor, f"allotropy cannot read it: {said}", "Export it again, or in another layout."
        ) from failed
    return model, json.dumps(model, ensure_ascii=False)


class _Rows:
    """The documents of the model, into records."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.known: dict[str, str] = {}  # allotropy's random identifiers: what they mean here

    def technique(self, technique: str, document: dict[str, Any]) -> None:
        """One aggregate document: groups of measurements, and what was calculated from them."""
        shared = {key: value for key, value in document.items() if key != f"{technique} document"}
        calculated = [shared.pop("calculated data aggregate document", None)]
        for group in document.get(f"{technique} document", []):
            own = dict(group)
            calculated.append(own.pop("calculated data aggregate document", None))
            aggregate = dict(own.pop(_MEASUREMENTS, {}))
            calculated.append(aggregate.pop("calculated data aggregate document", None))
            measurements = aggregate.pop("measurement document", [])
            for measurement in measurements:
                mine = dict(measurement)
                calculated.append(mine.pop("calculated data aggregate document", None))
                self._record("measurement", technique, {**shared, **own, **aggregate, **mine})
        for values in calculated:
            for value in (values or {}).get("calculated data document", []):
                self._record("calculated", technique, value)

    def _record(self, kind: str, technique: str, document: dict[str, Any]) -> None:
        record = self.collector.record(len(self.collector.records) + 1)
        record.values |= {"record_kind": kind, "technique": technique}
        own = document.get("measurement identifier") or document.get("calculated data identifier")
        if isinstance(own, str):
            self.known[own] = f"record {record.row}"
        for name, value in _flat(document, ""):
            self._field(record, name, value)

    def _field(self, record: Record, name: str, value: Any) -> None:
        last = name.rpartition(".")[2]
        if _SKIPPED.fullmatch(last) or value is None or value in _PLACEHOLDERS:
            return
        if isinstance(value, str) and _TIME.fullmatch(value):
            if value.startswith(_EPOCH):
                self.collector.flag(record, name, "no time in the file")
                return
            zoneless = value.endswith("+13:47")
            pattern = "%Y-%m-%dT%H:%M:%S.%f" if "." in value else "%Y-%m-%dT%H:%M:%S"
            self.collector.time(record, name, value[:-6] if zoneless else value, (pattern, pattern + "%z"))
            return
        if isinstance(value, str) and _PERSON.search(last):
            record.values[name] = self.collector.person(value)
            return
        record.values[name] = value if isinstance(value, str) else dump(value)
        if last in ("error", "flag") and isinstance(value, str):
            self.collector.flag(record, name, value)

    def cross_references(self) -> None:
        """Identifiers drawn at random become the record they stand for; others of that kind are left out."""
        for record in self.collector.records:
            for name, value in list(record.values.items()):
                if isinstance(value, str) and _UUID.search(value):
                    said = _UUID.sub(lambda m: self.known.get(m[0], ""), value)
                    record.values[name] = said or None


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A document as names and plain values; a value with its unit becomes `name` and `name_unit`."""
    if isinstance(value, dict):
        if "value" in value and "unit" in value:
            number = value["value"]
            # minus nought is allotropy's sign for a number that the file does not have
            if number is not None and str(number) not in ("-0.0", "nan"):
                yield path, number
                yield f"{path}_unit", value["unit"]
            value = {key: inner for key, inner in value.items() if key not in ("value", "unit")}
        if "cube-structure" in value:
            yield path, dump(value)
            return
        for key, inner in value.items():
            name = re.sub(r" (?:aggregate )?document$", "", key)
            outer = path.rpartition(".")[2]
            same = name == re.sub(r"\[\d+\]$", "", outer)
            yield from _flat(inner, path if same else f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value, 1):
            yield from _flat(inner, path if len(value) == 1 else f"{path}[{number}]")
    elif isinstance(value, list):
        yield path, dump(value)
    else:
        yield path, value


def _cells(path: Path, data: bytes) -> Iterator[tuple[str, list[str]]]:
    """The light reading: every line (row of a sheet, element) with its cells as text, and where it stands."""
    ending = path.suffix.lower()
    if ending in (".xlsx", ".xls"):
        yield from _sheets(path, data)
    elif ending == ".xml":
        for number, line in enumerate(as_utf8(data).decode("utf-8", "replace").splitlines(), 1):
            yield f"line {number}", [text or other for text, other in _XML_CELLS.findall(line)]
    elif ending != ".zip":
        for number, line in enumerate(decode(path, data, Options(), "cp1252").splitlines(), 1):
            if line.strip():
                yield f"line {number}", [cell.strip(' "') for cell in re.split(r"[\t;,]", line)]


def _sheets(path: Path, data: bytes) -> Iterator[tuple[str, list[str]]]:
    """Rows of every sheet; a row that is hidden says so."""
    import fastexcel  # costly

    try:
        book = fastexcel.read_excel(data)
        hidden = _hidden(path, data)
        for name in book.sheet_names:
            sheet = book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
            for number, row in enumerate(sheet.to_polars().iter_rows(), 1):
                cells = [cell for cell in row if cell is not None]
                if cells:
                    said = ["warning: hidden row"] if (name, number) in hidden else []
                    yield f"sheet {name}, row {number}", [*cells, *said]
    except (fastexcel.FastExcelError, zipfile.BadZipFile, ValueError, KeyError) as failed:
        raise UnreadableFile(
            path, "", f"not a whole workbook: {failed}", "Save it again and send that."
        ) from failed


def _hidden(path: Path, data: bytes) -> set[tuple[str, int]]:
    """Sheets and numbers of hidden rows."""
    if path.suffix.lower() == ".xls":
        import xlrd  # costly

        try:
            book = xlrd.open_workbook(file_contents=data, formatting_info=True)
        except (xlrd.XLRDError, AssertionError, IndexError, NotImplementedError):
            return set()
        return {
            (s.name, row + 1) for s in book.sheets() for row, info in s.rowinfo_map.items() if info.hidden
        }
    found: set[tuple[str, int]] = set()
    import openpyxl  # costly

    try:
        sheets = openpyxl.load_workbook(io.BytesIO(data)).worksheets
    except (ValueError, TypeError, KeyError, AttributeError):
        return found  # styles that it cannot read; the values came from another reader
    for sheet in sheets:
        found |= {(sheet.title, number) for number, row in sheet.row_dimensions.items() if row.hidden}
    return found
