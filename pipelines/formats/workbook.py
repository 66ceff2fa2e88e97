"""Workbooks of any layout (.xlsx, .xlsm, .xls): the rows of every sheet as text, and which rows are hidden.

Here: two readings that know nothing of each other, so that one counts what the other reads: the cells by
fastexcel; filled and hidden rows by the XML of the sheets (by xlrd for Excel 97 to 2003). What a sheet means
belongs in the formats; a table in a sheet that a contract describes in `excel`.
"""

from __future__ import annotations

import functools
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from pipelines.formats.protocol import UnreadableFile

_ZIP, _OLD = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_PREVIEWED_SHEETS, _PREVIEWED_ROWS = 20, 60
_DAMAGED = (zipfile.BadZipFile, zlib.error, etree.XMLSyntaxError, KeyError, ValueError, IndexError, EOFError)


class Row(NamedTuple):
    """A row with something in it: its number in the sheet, from 1, and its cells as text ("" where empty)."""

    number: int
    cells: list[str]


class _Mark(NamedTuple):
    number: int
    hidden: bool


def is_workbook(data: bytes, name: str) -> bool:
    """Whether the first bytes and the name are those of a workbook."""
    if data.startswith(_OLD):
        return True
    return data.startswith(_ZIP) and (name.lower().endswith((".xlsx", ".xlsm")) or b"xl/" in data)


class Workbook:
    """A workbook; raises UnreadableFile where it is not whole."""

    def __init__(self, path: Path, data: bytes) -> None:
        import fastexcel  # costly

        self.path, self.data = path, data
        try:
            self._book = fastexcel.read_excel(data)
        except (fastexcel.FastExcelError, ValueError) as failed:
            raise self._damaged(failed) from failed
        self.names: list[str] = list(self._book.sheet_names)

    def rows(self, sheet: str, most: int | None = None) -> list[Row]:
        """The rows of a sheet that hold something, at most so many from its top."""
        import fastexcel  # costly

        try:
            table = self._book.load_sheet(
                sheet, header_row=None, skip_rows=0, dtypes="string", n_rows=most
            ).to_polars()
        except (fastexcel.FastExcelError, ValueError) as failed:
            raise self._damaged(failed) from failed
        cells = ([cell or "" for cell in row] for row in table.iter_rows())
        return [Row(n, row) for n, row in enumerate(cells, 1) if any(cell.strip() for cell in row)]

    def filled(self, sheet: str) -> int:
        """How many rows of a sheet hold something, by the other reading."""
        return len(self._marks(sheet))

    def hidden(self, sheet: str) -> set[int]:
        """Numbers of the rows that hold something and are hidden."""
        return {mark.number for mark in self._marks(sheet) if mark.hidden}

    def preview(self) -> bytes:
        """The first rows of each sheet as tab-separated text below the sheet's name in brackets."""
        lines: list[str] = []
        for name in self.names[:_PREVIEWED_SHEETS]:
            lines.append(f"[{name}]")
            lines += [" ".join("\t".join(row.cells).split("\n")) for row in self.rows(name, _PREVIEWED_ROWS)]
        return "\n".join([*lines, ""]).encode()

    def only_sheet(self) -> str:
        """The one sheet that holds something; UnreadableFile where there are others."""
        filled = [name for name in self.names if self.rows(name, 1) or self.rows(name)]
        if len(filled) != 1:
            found = ", ".join(filled) or "none"
            mend = "Save the sheet with the results alone."
            raise UnreadableFile(self.path, f"sheets with values: {found}", "not exactly one", mend)
        return filled[0]

    @functools.cache  # noqa: B019  # lives as long as the reading of one file
    def _marks(self, sheet: str) -> tuple[_Mark, ...]:
        try:
            return tuple(
                _old_marks(self.data, sheet) if self.data.startswith(_OLD) else self._xml_marks(sheet)
            )
        except _DAMAGED as failed:
            raise self._damaged(failed) from failed

    def _xml_marks(self, sheet: str) -> list[_Mark]:
        found: list[_Mark] = []
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            part = _part_of(archive, sheet)
            texts = _shared_texts(archive)
            last = 0
            with archive.open(part) as source:
                for _, row in etree.iterparse(source, tag="{*}row", resolve_entities=False):
                    last = int(row.get("r") or last + 1)
                    if any(_holds_something(cell, texts) for cell in row):
                        found.append(_Mark(last, row.get("hidden") in ("1", "true")))
                    row.clear()
        return found

    def _damaged(self, failed: Exception) -> UnreadableFile:
        return UnreadableFile(
            self.path, "", f"not a whole workbook: {failed}", "Save it again and send that."
        )


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """The part of the archive that a sheet is in."""
    book = etree.fromstring(archive.read("xl/workbook.xml"))
    relations = etree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    targets = {relation.get("Id"): str(relation.get("Target")) for relation in relations}
    target = next(targets[one.get(_RELATION)] for one in book.iter("{*}sheet") if one.get("name") == sheet)
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _shared_texts(archive: zipfile.ZipFile) -> list[bool]:
    """Of each shared text, whether it is more than blanks."""
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    root = etree.fromstring(archive.read("xl/sharedStrings.xml"))
    return [bool("".join(one.itertext()).strip()) for one in root.iter("{*}si")]


def _holds_something(cell: Any, texts: list[bool]) -> bool:
    inner = "".join(
        text for child in cell if etree.QName(child).localname in ("v", "is") for text in child.itertext()
    ).strip()
    return texts[int(inner)] if cell.get("t") == "s" and inner else bool(inner)


def _old_marks(data: bytes, sheet: str) -> list[_Mark]:
    import xlrd  # costly

    try:
        book = xlrd.open_workbook(file_contents=data, formatting_info=True, logfile=io.StringIO())
    except (xlrd.XLRDError, AssertionError, NotImplementedError):
        book = xlrd.open_workbook(file_contents=data, logfile=io.StringIO())  # its styles cannot be read
    table = book.sheet_by_name(sheet)
    return [
        _Mark(row + 1, bool(row in table.rowinfo_map and table.rowinfo_map[row].hidden))
        for row in range(table.nrows)
        if any(str(cell.value).strip() for cell in table.row(row))
    ]
