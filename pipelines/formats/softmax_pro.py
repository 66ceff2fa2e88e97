"""Molecular Devices SoftMax Pro text exports: plates, groups and notes, line by line.

Here: which block and table each line belongs to. One record is one line with something on it, so that every
format of plate (endpoint, kinetic, spectrum; plate or time order) is kept whole; the rows of a plate in plate
order carry the row of wells, those of a group the group's own names.
"""

from __future__ import annotations

import re
import string
from pathlib import Path

from pipelines.formats.collect import Collector, wrong_layout
from pipelines.formats.delimited import unique_names
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.text import decode, whole

_BLOCK = re.compile(r"(Plate|Group|Note|Cuvette|CuvetteSet):?\s*(.*)")


class SoftMaxPro:
    """SoftMax Pro 5 to 7."""

    name = "softmax_pro"

    def recognises(self, head: bytes, filename: str) -> bool:
        """The first line counts the blocks."""
        del filename
        return head.replace(b"\x00", b"").lstrip(b"\xff\xfe\xef\xbb\xbf").startswith(b"##BLOCKS=")

    def read(self, path: Path, options: Options) -> Reading:
        """Read every line of every block."""
        text = decode(path, whole(path), options, "latin-1")
        lines = text.splitlines()
        stated = re.fullmatch(r"##BLOCKS=\s*(\d+)\s*", lines[0])
        if not stated:
            raise wrong_layout(path, self.name, "line 1")
        collector = Collector(path, self.name, options)
        block = _Blocks(collector)
        for number, line in enumerate(lines, 1):
            if line.strip():
                block.line(number, line)
        if block.ended < int(stated[1]) or block.kind:
            raise UnreadableFile(
                path,
                f"line {len(lines)}",
                f"{stated[1]} blocks stated, {block.ended} whole ones found: cut off",
                "Export the file again.",
            )
        received = sum(1 for line in text.encode().split(b"\n") if line.strip())
        header = {
            "first_line": lines[0],
            "lines": len(lines),
            "blocks": int(stated[1]),
            "plate_lines": block.plate_lines,
        }
        return collector.reading(received, header)


class _Blocks:
    """The block a line is in, and how its next line is to be read."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.kind = ""
        self.name = ""
        self.names: list[str] = []
        self.plate_order = False
        self.read = 0
        self.well_row = 0
        self.ended = 0
        self.plate_lines: list[list[str]] = []

    def line(self, number: int, line: str) -> None:
        """Take one line."""
        record = self.collector.record(len(self.collector.records) + 1)
        cells = [cell.strip() for cell in line.split("\t")]
        opened = _BLOCK.fullmatch(line.strip()) if not self.kind else None
        values: dict[str, str | None] = {"line": str(number), "text": line.strip()}
        if line.startswith("~End"):
            self.kind, values["line_kind"] = "", "end"
            self.ended += 1
        elif opened:
            self._open(opened, cells)
            values["line_kind"] = "block"
        elif self.kind == "Group" and not self.names and len(cells) > 1:
            self.names, values["line_kind"] = list(unique_names([c for c in cells if c])), "names"
        elif self.kind == "Group" and self.names and len(cells) > 1:
            values["line_kind"] = "group_row"
            values |= dict(zip(self.names, cells, strict=False))
        elif self.kind in ("Plate", "Cuvette", "CuvetteSet"):
            values |= self._plate(cells)
        else:
            values["line_kind"] = "text"
        record.values = {"block_kind": self.kind, "block": self.name, **values}
        if "NaN" in cells[2:]:
            self.collector.flag(record, "text", "NaN")

    def _open(self, opened: re.Match[str], cells: list[str]) -> None:
        self.kind = opened[1]
        self.name = (cells[1] if self.kind != "Group" and len(cells) > 1 else opened[2]).strip("; ")
        self.names, self.read, self.well_row = [], 0, 0
        self.plate_order = "PlateFormat" in cells
        if self.kind == "Plate":
            self.plate_lines.append(cells)

    def _plate(self, cells: list[str]) -> dict[str, str | None]:
        """A line of column numbers begins a table of measured (first) or reduced (second) values."""
        numbers = [cell for cell in cells if cell]
        if (numbers and numbers[0].startswith("Temperature")) or numbers == [
            str(i + 1) for i in range(len(numbers))
        ]:
            self.names = ["", "temperature", *[cell for cell in cells[2:] if cell]]
            self.read, self.well_row = self.read + 1, 0
            return {"line_kind": "names"}
        values: dict[str, str | None] = {
            "line_kind": "values",
            "read": "measured" if self.read < 2 else "reduced",
        }
        if self.plate_order and self.names and self.well_row < len(string.ascii_uppercase):
            values["well_row"] = string.ascii_uppercase[self.well_row]
            self.well_row += 1
        values |= {name: cell for name, cell in zip(self.names, cells, strict=False) if name}
        return values
