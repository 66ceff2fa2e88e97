"""Meso Scale Discovery exports: Discovery Workbench tables and Methodical Mind plate texts.

Here: both layouts. One record is one spot of one well. "Above Detection Range" and the like are flags.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pipelines.formats.collect import (
    Collector,
    Column,
    Record,
    date_order,
    date_patterns,
    wrong_layout,
    zone_of,
)
from pipelines.formats.protocol import Options, Reading, Refused, UnreadableFile
from pipelines.formats.text import decode, whole
from pipelines.formats.vendor_table import VendorTable

_IN_RANGE = frozenset({"", "in detection range"})
_NUMBERS = (
    "Signal", "Adjusted Signal", "Mean", "Adj. Sig. Mean", "CV", "Concentration", "Calc. Concentration",
    "Calc. Conc. Mean", "Calc. Conc. CV", "% Recovery", "% Recovery Mean",
)  # fmt: skip


class MsdWorkbench(VendorTable):
    """Discovery Workbench: the plate on the first line, then one table."""

    name = "msd_workbench"
    required = ("sample", "assay", "well", "spot", "signal")
    columns: ClassVar[Mapping[str, Column]] = {
        **{name.casefold(): Column(name, "number") for name in _NUMBERS},
        "sample": Column("sample_id"),
        "assay": Column("analyte"),
        "well": Column("well"),
        "spot": Column("spot"),
        "dilution": Column("dilution_factor", "number"),
        "detection range": Column("detection_range", "status", fine=_IN_RANGE),
        "signal": Column("spot_signal", "number"),
        "calc. concentration": Column("calculated_concentration", "number"),
    }

    def header(self, base: dict[str, Any]) -> dict[str, Any]:
        """The first line is the plate."""
        plate = base.get("preamble", [""])[0].rstrip(", ")
        return {**base, "plate": plate}


_LINE = re.compile(r"([^:]{1,20}?)\s*:(?:\\t|\s)*(.*)")
_RULE = re.compile(r"=+([A-Za-z/ ]+)=+\s*")


class MethodicalMind:
    """Methodical Mind: a header, then a grid of wells with a line for each spot; plates follow each other."""

    name = "methodical_mind"

    def recognises(self, head: bytes, filename: str) -> bool:
        """A FileName line, a Det Param line and a ruled Data line."""
        del filename
        return all(
            re.search(mark, head) for mark in (rb"(?m)^FileName :", rb"Det Param:", rb"=====Data=====")
        )

    def read(self, path: Path, options: Options) -> Reading:
        """Read every spot of every well."""
        text = decode(path, whole(path), options, "cp1252")
        collector = Collector(path, self.name, options)
        plates: list[dict[str, str]] = []
        part = "Header"
        grid: _Grid | None = None
        rows = itertools.count(1)
        for line in text.splitlines():
            if rule := _RULE.fullmatch(line.strip()):
                part = rule[1].strip()
                grid = _Grid(collector, plates[-1], len(plates), rows) if part == "Data" and plates else None
                continue
            found = _LINE.fullmatch(line.strip())
            if found and found[1].strip() == "FileName":
                plates.append({})
                part = "Header"
            if part == "Data" and grid is not None:
                grid.line(line)
            elif part == "Header" and plates and line.strip():
                name = found[1].strip() if found else "Legend"
                value = found[2].strip() if found else line.strip()
                plates[-1][name] = f"{plates[-1][name]} {value}" if name in plates[-1] else value
        if not plates or not collector.records:
            raise wrong_layout(path, self.name, "no plate")
        for plate in plates:
            if plate.get("User"):
                plate["User"] = collector.person(plate["User"]) or ""
        received = _spots_on_lines(text)
        return collector.reading(received, {"plates": plates, **plates[0]})


class _Grid:
    """The Data part of one plate."""

    def __init__(self, collector: Collector, facts: dict[str, str], plate: int, rows: Iterator[int]) -> None:
        self.path, self.name, self.collector, self.plate = collector.path, collector.name, collector, plate
        self.rows = rows
        self.columns: list[str] = []
        self.well_row = ""
        self.spot = 0
        self.shared = _plate_facts(collector, facts)

    def line(self, line: str) -> None:
        cells = [cell.strip() for cell in line.split("\t")]
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            return
        if not self.columns:
            self.columns = cells[1:]
            if not self.columns or not all(cell.isdigit() for cell in self.columns):
                raise wrong_layout(self.path, self.name, "column numbers of the Data part")
            return
        self.spot = 1 if cells[0] else self.spot + 1
        self.well_row = cells[0] or self.well_row
        if len(cells) - 1 != len(self.columns):
            raise UnreadableFile(
                self.path,
                f"plate {self.plate}, row {self.well_row}, spot {self.spot}",
                f"{len(cells) - 1} values for {len(self.columns)} columns: cut off",
                "Export the plate again.",
            )
        for column, printed in zip(self.columns, cells[1:], strict=True):
            row = next(self.rows)
            record = Record(row, dict(self.shared))
            record.values.update(
                {
                    "well": f"{self.well_row}{column}",
                    "spot_position": str(self.spot),
                    "plate_number": str(self.plate),
                }
            )
            if not printed:
                mend = "A well without a value: export the plate again."
                self.collector.refused.append(Refused(row, None, None, "missing_field", mend))
                continue
            self.collector.records.append(record)
            self.collector.number(record, "spot_signal", printed)


def _plate_facts(collector: Collector, facts: dict[str, str]) -> dict[str, str | None]:
    """What a plate's header says of all its wells; the zone is printed behind the time."""
    time = Record(1)
    printed = " ".join(facts.get("Read Time", "").split())
    moment, _, zone = printed.rpartition(" ")
    offset = zone_of(zone) if re.fullmatch(r"[A-Za-z]{3,4}", zone) and zone not in ("AM", "PM") else None
    order = date_order([printed] if printed else [], collector.options)
    collector.time(
        time,
        "result_at",
        moment if offset else printed,
        date_patterns(order),
        offset,
        order_known=order is not None,
    )
    if printed:
        time.values["result_at_as_printed"] = facts["Read Time"]
    return {
        "plate_id": facts.get("Barcode1", "").strip("<>") or None,
        "instrument_serial_number": facts.get("Serial #"),
        "instrument_model": facts.get("Model"),
        "spot_id": facts.get("SpotID"),
        **time.values,
    }


def _spots_on_lines(text: str) -> int:
    """Whole numbers between tabs in the Data parts, the line of column numbers left out."""
    count = 0
    for part in re.split(r"(?m)^=+Data=+\s*$", text)[1:]:
        body = re.split(r"(?m)^=+[A-Za-z/ ]+=+\s*$|^FileName :", part)[0]
        rows = [line for line in body.split("\n") if line.strip()]
        count += sum(len(re.findall(r"\t\s*[^\t\s]+", row)) for row in rows[1:])
    return count
