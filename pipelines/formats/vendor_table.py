"""Instrument exports that are one table with a line of names: a vendor's columns into dictionary terms.

Here: the declarative reader. The lists of columns belong in the vendors' modules.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pipelines.formats.collect import Collector, Column, Record, date_order, wrong_layout
from pipelines.formats.delimited import Delimited
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.text import decode, encoding_of

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

    def _missing(self, names: Collection[str]) -> list[str]:
        return [either for either in self.required if not any(name in names for name in either.split("|"))]

    def read(self, path: Path, options: Options) -> Reading:
        """Read every row."""
        data = _bytes(path)
        layout = vendor_encoding(path, data, options).model_copy(update={"quote": '"', "skip_rows": 0})
        lines = decode(path, data, layout).splitlines() if data else []
        at = self._header_line(lines) or 1
        layout = layout.model_copy(update={"header_row": at})
        units = self.units_line(lines[at - 1 :])
        layout = layout.model_copy(update={"skip_rows": 1 if units else 0})
        base = Delimited().read(path, _with_unnamed_last(lines, layout, self.delimiters))
        present = {plain_name(name): name for name in base.header["columns"]}
        if missing := self._missing(present):
            raise wrong_layout(path, self.name, f"no column {', '.join(missing)}")
        known = {real: self.columns[plain] for plain, real in present.items() if plain in self.columns}
        collector = Collector(path, self.name, options)
        collector.refused.extend(base.refused)
        orders = {
            real: date_order([d for d in base.records[real].to_list() if d and d.strip()], options)
            for real, column in known.items()
            if column.kind == "time"
        }
        for row in base.records.iter_rows(named=True):
            record = collector.record(row.pop("source_row"))
            for name, printed in row.items():
                collector.take(record, known.get(name, Column(name)), printed, orders.get(name))
                if unit := units.get(name):
                    record.values[f"{record_name(known, name)}_unit"] = unit
            self.finish(collector, record, row)
        before = {"preamble": lines[: at - 1]} if at > 1 else {}
        return collector.reading(base.received, self.header({**base.header, **before}))

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
