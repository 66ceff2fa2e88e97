"""Instrument exports that are one table with a line of names: a vendor's columns into dictionary terms.

Here: the declarative reader, of text and of a workbook with that table alone. The lists of columns belong in
the vendors' modules.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from pipelines.formats.collect import Collector, Column, Record, date_order, wrong_layout
from pipelines.formats.delimited import Delimited
from pipelines.formats.protocol import Flag, Options, Reading, UnreadableFile
from pipelines.formats.text import decode, encoding_of
from pipelines.formats.workbook import Row, Workbook, is_workbook

_PREAMBLE = 40  # lines among which the line of names is looked for


def plain_name(name: str) -> str:
    """A column name for comparison: case, blanks and the two signs for micro do not matter."""
    return " ".join(name.replace("\u03bc", "u").replace("\u00b5", "u").casefold().split())


def vendor_encoding(path: Path, data: bytes, options: Options) -> Options:
    """Options with the encoding vendors fall back to (Windows-1252) where the bytes are not UTF-8."""
    if options.encoding is None and encoding_of(path, data[:4], options) == ("utf-8", 0):
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            return options.model_copy(update={"encoding": "cp1252"})
    return options


def record_name(known: Mapping[str, Column], name: str) -> str:
    """The field a column of the file ends up in."""
    return known[name].term if name in known else name


class VendorTable:
    """A format given by its columns; a file without the required ones is not of it."""

    name: str
    columns: ClassVar[Mapping[str, Column]]
    required: tuple[str, ...]  # "a|b": either name, as versions differ
    delimiters: str = ","
    footer: re.Pattern[str] | None = None  # the line behind the table from which on nothing is a record

    def recognises(self, head: bytes, filename: str) -> bool:
        """All required columns stand in a line of names, which may follow a preamble."""
        try:
            lines = decode(
                Path(filename), head[: head.rfind(b"\n") + 1] or head, Options(), "cp1252"
            ).splitlines()
        except UnreadableFile:
            return False
        return self._header_line(lines) is not None

    def _header_line(self, lines: list[str]) -> int | None:
        """The line of names, from 1, looked for among the first lines of the file."""
        for number, line in enumerate(lines[:_PREAMBLE], 1):
            for mark in self.delimiters:
                if not self._missing(
                    {plain_name(name) for name in next(csv.reader([line], delimiter=mark), [])}
                ):
                    return number
        return None

    def _likeliest_header(self, lines: list[str]) -> int:
        """The line that names most of the required columns, where none names them all."""

        def missing(number: int) -> int:
            names = {
                plain_name(name)
                for mark in self.delimiters
                for name in next(csv.reader([lines[number - 1]], delimiter=mark), [])
            }
            return len(self._missing(names))

        return min(range(1, min(len(lines), _PREAMBLE) + 1), key=missing, default=1)

    def _missing(self, names: Collection[str]) -> list[str]:
        return [either for either in self.required if not any(name in names for name in either.split("|"))]

    def read(self, path: Path, options: Options) -> Reading:
        """Read every row."""
        data = _bytes(path)
        if is_workbook(data, path.name):
            return self._read_workbook(path, data, options)
        layout = vendor_encoding(path, data, options)
        return self._read_text(path, decode(path, data, layout).splitlines() if data else [], options, layout)

    def _read_workbook(self, path: Path, data: bytes, options: Options) -> Reading:
        """The one sheet with values, as the text it would be saved as; a hidden row says so."""
        book = Workbook(path, data)
        sheet = book.only_sheet()
        sent = book.rows(sheet)
        if len(sent) != book.filled(sheet):
            place = f"{book.filled(sheet)} rows in sheet {sheet}, {len(sent)} read"
            raise UnreadableFile(path, place, "two readers disagree", "Save it again in Excel and send that.")
        rows = self.arranged(sent)
        width = max((len(row.cells) for row in rows), default=0)
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / path.name
            with text.open("w", encoding="utf-8", newline="") as out:
                csv.writer(out).writerows([*row.cells, *[""] * (width - len(row.cells))] for row in rows)
            layout = options.model_copy(update={"delimiter": ",", "encoding": "utf-8"})
            lines = text.read_text(encoding="utf-8").splitlines()
            found = self._read_text(text, lines, options, layout)
        below = [row.number for row in rows][-found.received :] if found.received else []
        hidden = book.hidden(sheet)
        flags = [Flag(n, "", "hidden row") for n, number in enumerate(below, 1) if number in hidden]
        header = {**found.header, "sheet": sheet}
        return replace(found, flags=(*found.flags, *flags), header=header)

    def arranged(self, rows: list[Row]) -> list[Row]:
        """The rows of a sheet with its names in one of them."""
        return rows

    def _read_text(self, path: Path, lines: list[str], options: Options, layout: Options) -> Reading:
        layout = layout.model_copy(update={"quote": '"', "skip_rows": 0})
        at = self._header_line(lines) or self._likeliest_header(lines)
        layout = layout.model_copy(update={"header_row": at})
        units = self.units_line(lines[at - 1 :])
        layout = layout.model_copy(update={"skip_rows": 1 if units else 0})
        base = Delimited().read(path, _with_unnamed_last(lines, layout, self.delimiters))
        present = {plain_name(name): name for name in base.header["columns"]}
        if missing := self._missing(present):
            raise wrong_layout(path, self.name, f"no column {', '.join(missing)}")
        known = {real: self.columns[plain] for plain, real in present.items() if plain in self.columns}
        behind = self._behind(lines)
        last = base.received - len(behind)
        collector = Collector(path, self.name, options)
        collector.refused.extend(r for r in base.refused if (r.source_row or 0) <= last)
        orders = {
            real: date_order([d for d in base.records[real].to_list() if d and d.strip()], options)
            for real, column in known.items()
            if column.kind == "time"
        }
        before = {"preamble": lines[: at - 1]} if at > 1 else {}
        shared = self.shared(lines[: at - 1])
        for row in base.records.filter(pl.col("source_row") <= last).iter_rows(named=True):
            record = collector.record(row.pop("source_row"))
            record.values.update(shared)
            for name, printed in row.items():
                collector.take(record, known.get(name, Column(name)), printed, orders.get(name))
                if unit := units.get(name):
                    record.values[f"{record_name(known, name)}_unit"] = unit
            self.finish(collector, record, row)
        after = {"footer": behind} if behind else {}
        return collector.reading(last, self.header({**base.header, **before, **after}))

    def _behind(self, lines: list[str]) -> list[str]:
        """The lines behind the table, blank ones left out."""
        if self.footer is None:
            return []
        at = next((n for n, line in enumerate(lines) if self.footer.match(line)), len(lines))
        return [line for line in lines[at:] if line.strip()]

    def shared(self, preamble: list[str]) -> dict[str, str | None]:
        """What the lines before the names say of every record."""
        del preamble
        return {}

    def units_line(self, lines: list[str]) -> dict[str, str]:
        """Units by column name where a line of units follows the names (empty: there is none)."""
        del lines
        return {}

    def finish(self, collector: Collector, record: Record, row: dict[str, str]) -> None:
        """What a vendor adds when all columns of a record are read."""

    def header(self, base: dict[str, Any]) -> dict[str, Any]:
        """What the file says for all its records."""
        return base


def _with_unnamed_last(lines: list[str], layout: Options, delimiters: str) -> Options:
    """Some software versions leave out the name of the last column: name it, so that its rows fit."""
    at = (layout.header_row or 1) - 1
    if len(lines) < at + 2:
        return layout
    for mark in delimiters:
        names, first = (next(csv.reader([line], delimiter=mark), []) for line in lines[at : at + 2])
        if len(names) > 1 and len(first) == len(names) + 1:
            update = {
                "columns": (*names, f"column_{len(first)}"),
                "header_row": None,
                "skip_rows": at + 1 + layout.skip_rows,
                "delimiter": mark,
            }
            return layout.model_copy(update=update)
    return layout


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failed:
        raise UnreadableFile(path, "", f"cannot be opened: {failed.strerror}", "Check the path.") from failed
