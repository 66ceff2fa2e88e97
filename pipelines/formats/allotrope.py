"""Instruments without a reader of their own here, through allotropy, and a light reading beside it.

Here: the Allotrope model as flat records, and the light reading, which knows nothing of allotropy: it keeps every
line of the file that bears a mark (ERROR, a limit, an overflow, a hidden row) and every line with a number that the
model does not have, so that nothing is dropped silently where allotropy leaves it out. One record is one
measurement document, one calculated value, or such lines. Identifiers that allotropy draws at random and paths
of this machine are left out: the same file gives the same records. Which instrument it is, `instruments` says;
meaning is the contract's to give.
"""

from __future__ import annotations

import io
import json
import math
import re
import warnings
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

from pipelines.formats.collect import Collector, Record
from pipelines.formats.instruments import vendors_in, vendors_of
from pipelines.formats.jsonl import dump
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.text import as_utf8, decode, whole
from pipelines.formats.workbook import Workbook, is_workbook

_NO_ZONE = timezone(timedelta(hours=13, minutes=47))  # nowhere on Earth: marks a time printed without a zone
_EPOCH = "1970-01-01T00:00:00"  # what allotropy says where the file prints no time
_SKIPPED = re.compile(r"UNC path|file name|ASM .*|\$asm\..*|(?:measurement|calculated data) identifier")
_BLOCK = 200
_OTHERWISE = "Export it again, or in another layout."
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


class Allotrope:
    """Exports that allotropy maps: plate readers, qPCR, ELISpot, Bio-Plex, UNICORN, NanoDrop, Qubit and others."""

    name = "allotrope"

    def recognises(self, head: bytes, filename: str) -> bool:
        """By the first lines; of a workbook, by those of its sheets."""
        return bool(vendors_in(head, filename))

    def read(self, path: Path, options: Options) -> Reading:
        """Every measurement and calculated value that allotropy finds, and the lines it leaves out."""
        data = whole(path)
        vendors = vendors_of(path, data)
        if not vendors:
            raise UnreadableFile(
                path,
                "first bytes",
                "no export of an instrument in the list of format allotrope",
                "Name another format, or leave it out.",
            )
        vendor, model = _model(path, data, vendors, options)
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
        lines, kept = _keep_lines(collector, path, data, options, _numbers(model))
        text = json.dumps(model, ensure_ascii=False)
        received = text.count('"measurement identifier":') + text.count('"calculated data identifier":')
        header = {
            "vendor": vendor,
            "manifest": model.get("$asm.manifest"),
            "measurements": measured,
            "lines": lines,
            "kept": kept,
        }
        return collector.reading(received + kept, header)


def _model(path: Path, data: bytes, vendors: tuple[str, ...], options: Options) -> tuple[str, dict[str, Any]]:
    """The Allotrope model of the file by the first of the parsers that reads it, and whose it is."""
    binary = is_workbook(data, path.name) or path.suffix.lower() in (".zip", ".xml")
    contents = data if binary else decode(path, data, options, "cp1252").encode()
    said: list[str] = []
    for vendor in vendors:
        try:
            return vendor, _parsed(path, contents, vendor)
        except UnreadableFile as failed:
            said.append(failed.problem)
    raise UnreadableFile(path, "", f"allotropy cannot read it: {' '.join(said)}".rstrip("."), _OTHERWISE)


def _parsed(path: Path, contents: bytes, vendor: str) -> dict[str, Any]:
    from allotropy.to_allotrope import allotrope_from_io  # costly

    name = path.stem + path.suffix.lower()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return allotrope_from_io(io.BytesIO(contents), name, vendor, default_timezone=_NO_ZONE)
    except Exception as failed:
        said = " ".join(str(failed).split())[:300].rstrip(".") or type(failed).__name__
        raise UnreadableFile(path, vendor, said, _OTHERWISE) from failed


def _numbers(value: Any) -> set[float]:
    """Every number of the model, texts that are numbers among them, to nine digits."""
    if isinstance(value, dict):
        return set().union(*(_numbers(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(_numbers(inner) for inner in value))
    number = _number(str(value))
    return set() if number is None else {number}


def _number(text: str) -> float | None:
    try:
        number = float(f"{float(text):.9g}")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _keep_lines(
    collector: Collector, path: Path, data: bytes, options: Options, known: set[float]
) -> tuple[int, int]:
    """Keep the lines that bear a mark or a number which is not known; how many lines there are, and records made.

    A marked line is a record of its own; others that follow each other are one, up to `_BLOCK` of them.
    """
    lines, before = 0, len(collector.records)
    block: Record | None = None
    size = 0
    for place, cells in _cells(path, data, options):
        lines += 1
        marks = [cell.strip() for cell in cells if _MARK.fullmatch(cell)]
        unknown = any(number not in known for cell in cells if (number := _number(cell)) is not None)
        text = "\t".join(map(collector.unnamed, cells))
        if marks:
            record = collector.record(len(collector.records) + 1)
            record.values |= {"record_kind": "marked_line", "place": place, "text": "; ".join(marks)}
            record.values["lines"] = text if unknown else None
            for mark in marks:
                collector.flag(record, "text", mark)
            block = None
        elif not unknown:
            block = None
        elif block is None or size == _BLOCK:
            block, size = collector.record(len(collector.records) + 1), 1
            block.values |= {"record_kind": "unmapped_lines", "place": place, "lines": text}
        else:
            size += 1
            block.values["lines"] = f"{block.values['lines']}\n{text}"
    return lines, len(collector.records) - before


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


def _cells(path: Path, data: bytes, options: Options) -> Iterator[tuple[str, list[str]]]:
    """The light reading: every line (row of a sheet, element) with its cells as text, and where it stands."""
    if is_workbook(data, path.name):
        book = Workbook(path, data)
        for sheet in book.names:
            hidden = book.hidden(sheet)
            for row in book.rows(sheet):
                cells = [cell.strip() for cell in row.cells if cell.strip()]
                said = ["warning: hidden row"] if row.number in hidden else []
                yield f"sheet {sheet}, row {row.number}", [*cells, *said]
    elif path.suffix.lower() == ".xml":
        for number, line in enumerate(as_utf8(data).decode("utf-8", "replace").splitlines(), 1):
            yield f"line {number}", [text or other for text, other in _XML_CELLS.findall(line)]
    elif path.suffix.lower() != ".zip":
        for number, line in enumerate(decode(path, data, options, "cp1252").splitlines(), 1):
            if line.strip():
                yield f"line {number}", [cell.strip(' "') for cell in re.split(r"[\t;,]", line)]
