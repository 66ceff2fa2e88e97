"""Excel workbooks: a named sheet with one table, merged headers and hidden rows decided on purpose.

Here: cells into records of text. Which sheet holds what is the contract's to say. Values come from openpyxl,
which knows hidden rows and merged cells; the rows are counted by fastexcel, another reader.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from pipelines.formats.delimited import unique_names
from pipelines.formats.jsonl import frame
from pipelines.formats.protocol import Flag, Options, Reading, Refused, UnreadableFile, reading
from pipelines.formats.text import whole

_OLD = b"\xd0\xcf\x11\xe0"
_ERRORS = {"#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!"}


class Excel:
    """Workbooks of Excel 2007 and later (.xlsx, .xlsm)."""

    name = "excel"

    def recognises(self, head: bytes, filename: str) -> bool:
        """A zip archive named as a workbook, or the older binary format (which is refused with the mend)."""
        workbook = filename.lower().endswith((".xlsx", ".xlsm"))
        return (head.startswith(b"PK\x03\x04") and (workbook or b"xl/" in head)) or head.startswith(_OLD)

    def read(self, path: Path, options: Options) -> Reading:
        """Read the rows of one sheet."""
        data = whole(path)
        sheet, formulas = _sheet(path, data, options)
        first = (options.header_row or 0) + (options.header_rows - 1 if options.header_row else 0)
        first += options.skip_rows + 1
        merged = _merged(sheet)
        names, width = _names(path, sheet, merged, options, first)
        flags: list[Flag] = []
        refused: list[Refused] = []
        rows: list[tuple[int, dict[str, str | None]]] = []
        hidden = {number for number, row in sheet.row_dimensions.items() if row.hidden and number >= first}
        number = 0
        for at, cells in enumerate(sheet.iter_rows(min_row=first, max_col=width), first):
            if all(cell.value is None for cell in cells):
                continue
            number += 1
            if at in hidden:
                if options.hidden_rows is None:
                    raise UnreadableFile(
                        path,
                        f"sheet {sheet.title}, row {at}",
                        "a hidden row with values",
                        "Set hidden_rows to keep or skip in the contract.",
                    )
                if options.hidden_rows == "skip":
                    mend = f"Row {at} is hidden in the sheet: show it there if it is meant to count."
                    refused.append(Refused(number, None, None, "hidden_row", mend))
                    continue
                flags.append(Flag(number, "", "hidden row"))
            rows.append((number, _record(cells, names, merged, formulas, flags=flags, number=number)))
        received = _counted(path, data, sheet.title, first, width)
        header = {"sheet": sheet.title, "columns": names, "first_row": first}
        return reading(path, self.name, frame(rows), received, flags=flags, refused=refused, header=header)


def _sheet(path: Path, data: bytes, options: Options) -> tuple[Any, Any]:
    """The sheet with its values and, where cells hold formulas, the same sheet with these."""
    import openpyxl  # costly

    if data.startswith(_OLD):
        raise UnreadableFile(
            path, "byte 1", "a workbook of Excel 97 to 2003", "Save it as .xlsx and send that."
        )
    try:
        workbook = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
        formulas = openpyxl.load_workbook(io.BytesIO(data), data_only=False)
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        OSError,
        SyntaxError,
        AttributeError,
        EOFError,
        NotImplementedError,
        zlib.error,
    ) as failed:
        raise UnreadableFile(
            path, "", f"not a whole workbook: {failed}", "Save it again in Excel and send that."
        ) from failed
    names = workbook.sheetnames
    if options.sheet is not None:
        if options.sheet not in names:
            raise UnreadableFile(
                path,
                f"sheets {', '.join(names)}",
                f"no sheet {options.sheet!r}",
                "Set sheet in the contract.",
            )
        return workbook[options.sheet], formulas[options.sheet]
    filled = [s for s in workbook.worksheets if any(v is not None for row in s.values for v in row)]
    if len(filled) != 1:
        found = ", ".join(sheet.title for sheet in filled) or "none"
        raise UnreadableFile(
            path, f"sheets with values: {found}", "not exactly one", "Name the sheet in the contract."
        )
    return filled[0], formulas[filled[0].title]


def _merged(sheet: Any) -> dict[tuple[int, int], Any]:
    """Every cell of a merged range but its first, with the first cell."""
    return {
        (row, column): sheet.cell(area.min_row, area.min_col)
        for area in sheet.merged_cells.ranges
        for row, column in area.cells
        if (row, column) != (area.min_row, area.min_col)
    }


def _names(
    path: Path, sheet: Any, merged: dict[tuple[int, int], Any], options: Options, first: int
) -> tuple[list[str], int]:
    """Column names and how many columns there are; values in a column without a name refuse the sheet."""
    width = sheet.max_column
    if options.header_row is None:
        if options.columns is None:
            raise UnreadableFile(path, sheet.title, "no column names", "State columns or header_row.")
        return list(unique_names(list(options.columns))), len(options.columns)
    found: list[str] = []
    for column in range(1, width + 1):
        parts: list[str] = []
        for row in range(options.header_row, options.header_row + options.header_rows):
            cell = merged.get((row, column)) or sheet.cell(row, column)
            text = " ".join((_text(cell) or "").split())
            if text and text not in parts:
                parts.append(text)
        found.append(" / ".join(parts))
    while found and not found[-1]:
        found.pop()
    for column in range(1, width + 1):
        if column <= len(found) and found[column - 1]:
            continue
        for (value,) in sheet.iter_rows(min_row=first, min_col=column, max_col=column, values_only=True):
            if value is not None:
                raise UnreadableFile(
                    path,
                    f"sheet {sheet.title}, column {column}",
                    f"values but no name in row {options.header_row}",
                    "Set header_row (and header_rows for names over several rows) in the contract.",
                )
    if not any(found):
        raise UnreadableFile(path, sheet.title, "no column names", "Set header_row in the contract.")
    return list(unique_names(list(options.columns) if options.columns else found)), len(found)


def _record(
    cells: Iterable[Any],
    names: list[str],
    merged: dict[tuple[int, int], Any],
    formulas: Any,
    *,
    flags: list[Flag],
    number: int,
) -> dict[str, str | None]:
    record: dict[str, str | None] = {}
    for name, cell in zip(names, cells, strict=False):
        source = merged.get((cell.row, cell.column), cell)
        if source is not cell and source.value is not None:
            flags.append(Flag(number, name, f"merged with row {source.row}"))
        record[name] = text = _text(source) if source.value is not None else ""
        if text in _ERRORS:
            flags.append(Flag(number, name, text))
        if source.value is None and formulas.cell(source.row, source.column).data_type == "f":
            flags.append(Flag(number, name, "formula without a stored value"))
    return record


def _text(cell: Any) -> str | None:
    """A cell's value as text; dates as ISO 8601, whole numbers without a point."""
    value = cell.value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        only_date = not any(mark in (cell.number_format or "").casefold() for mark in ("h", "ss"))
        return value.date().isoformat() if only_date and value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _counted(path: Path, data: bytes, sheet: str, first: int, width: int) -> int:
    """Rows with a value from `first` on, counted by another reader than the one that made the records."""
    import fastexcel  # costly
    import polars as pl

    try:
        loaded = fastexcel.read_excel(data).load_sheet(
            sheet, header_row=None, skip_rows=0, dtypes="string", skip_whitespace_tail_rows=False
        )
        table = pl.DataFrame(loaded)
    except (fastexcel.FastExcelError, ValueError) as failed:
        raise UnreadableFile(
            path, sheet, f"not a whole workbook: {failed}", "Save it again in Excel."
        ) from failed
    body = table.slice(first - 1).select(table.columns[:width])
    if body.is_empty() or not body.columns:
        return 0
    return body.filter(pl.any_horizontal(pl.all().is_not_null())).height
