"""Luminex multiplex exports: INTELLIFLEX (one table) and xPONENT (sections by data type).

Here: both layouts. One record is one well, of one data type in xPONENT; analyte columns keep the file's
names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pipelines.formats.collect import Collector, Column, Record, date_order, date_patterns, wrong_layout
from pipelines.formats.protocol import Options, Reading
from pipelines.formats.sectioned import add_to_all, collect_sections, counted, header_value, split_sections
from pipelines.formats.text import decode, whole
from pipelines.formats.vendor_table import VendorTable

_PEOPLE = {"Operator", "ComputerName"}
_COLUMNS = {"location": Column("well"), "sample": Column("sample_id")}


class Intelliflex(VendorTable):
    """INTELLIFLEX, one row a well; some versions sign the document below the table."""

    name = "luminex_intelliflex"
    footer = re.compile(r"--DOCUMENT SIGNATURE--")
    required = ("instrument type", "serial number", "plate name", "well location", "sample id")
    columns: ClassVar[Mapping[str, Column]] = {
        "instrument type": Column("instrument_model"),
        "serial number": Column("instrument_serial_number"),
        "software version": Column("instrument_software_version"),
        "plate name": Column("plate_id"),
        "plate start": Column("result_at", "time"),
        "well location": Column("well"),
        "sample id": Column("sample_id"),
        "user": Column("instrument_operator", "person"),
        "operator": Column("instrument_operator", "person"),
    }


class Xponent:
    """xPONENT, and INTELLIFLEX exports in its layout."""

    name = "luminex_xponent"

    def recognises(self, head: bytes, filename: str) -> bool:
        """The first line names the program."""
        del filename
        return head.lstrip(b"\xef\xbb\xbf").replace(b'"', b"").startswith(b"Program,xPONENT")

    def read(self, path: Path, options: Options) -> Reading:
        """Read every row of every data type."""
        text = decode(path, whole(path), options, "cp1252")
        lines = text.splitlines()
        crc = next((n for n, line in enumerate(lines) if "-- CRC --" in line), len(lines))
        before, sections = split_sections(lines[:crc], ",", _title)
        if not sections:
            raise wrong_layout(path, self.name, "no DataType")
        collector = Collector(path, self.name, options)
        facts: dict[str, str] = {}
        for _, cells in before:
            name, value = header_value(cells)
            facts.setdefault(name, (collector.person(value) or "") if name in _PEOPLE else value)
        collect_sections(collector, sections, _COLUMNS, whole=text.endswith("\n"), last_line=len(lines))
        time = Record(1)
        printed = facts.get("BatchStopTime", "")
        order = date_order([printed] if printed else [], options)
        collector.time(time, "result_at", printed, date_patterns(order), order_known=order is not None)
        once = {
            "instrument_serial_number": facts.get("SN"),
            "batch_id_printed": facts.get("Batch"),
            "instrument_operator": facts.get("Operator"),
        }
        add_to_all(collector, {**once, **time.values})
        received = counted("\n".join(lines[:crc]), _opens, ",")
        if crc < len(lines):
            facts["CRC"] = " ".join(line.strip('", ') for line in lines[crc + 1 :]).strip()
        header = {"facts": facts, "sections": {s.name: len(s.rows) for s in sections}}
        return collector.reading(received, header)


def _title(cells: list[str]) -> str | None:
    return cells[1] if len(cells) > 1 and cells[0] == "DataType:" else None


def _opens(line: str) -> bool:
    return line.replace('"', "").startswith("DataType:,")
