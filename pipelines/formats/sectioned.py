"""Text exports made of sections, each a table with its own line of names.

Here: cutting the lines into sections and rows into fields. What a section is called and what its columns mean
belongs in the vendors' modules.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.formats.collect import Collector, Column
from pipelines.formats.delimited import unique_names
from pipelines.formats.protocol import Refused


@dataclass
class Section:
    """A section: its name, the line of its column names from 1, the names, and its rows with their lines."""

    name: str
    names: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[str]]] = field(default_factory=list)


def split_sections(
    lines: list[str], delimiter: str, title: Callable[[list[str]], str | None]
) -> tuple[list[tuple[int, list[str]]], list[Section]]:
    """The rows before the first section, and the sections; `title` names the section a row opens."""
    before: list[tuple[int, list[str]]] = []
    sections: list[Section] = []
    for number, line in enumerate(lines, 1):
        if not line.strip().strip(delimiter).strip():
            continue
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        name = title(cells)
        if name is not None:
            sections.append(Section(name))
        elif not sections:
            before.append((number, cells))
        elif not sections[-1].names:
            while cells and not cells[-1]:
                cells.pop()
            sections[-1].names = list(unique_names(cells))
        else:
            sections[-1].rows.append((number, cells))
    return before, sections


def collect_sections(
    collector: Collector, sections: list[Section], columns: dict[str, Column], *, whole: bool, last_line: int
) -> None:
    """One record a row, with its section. Cells that a program left out at the end of a row are absent.

    A row with more cells than names is refused, and so is a short last row of a file without a last line end:
    that file may be cut off.
    """
    number = 0
    for section in sections:
        for line, cells in section.rows:
            number += 1
            extra = any(cell for cell in cells[len(section.names) :])
            if extra or (line == last_line and not whole and len(cells) < len(section.names)):
                mend = f"Line {line}: {len(cells)} cells for {len(section.names)} names. Export it again."
                collector.refused.append(Refused(number, None, None, "ragged_row", mend))
                continue
            record = collector.record(number)
            record.values["section"] = section.name
            record.values["line"] = str(line)
            for name, cell in zip(section.names, cells, strict=False):
                collector.take(record, columns.get(name.casefold(), Column(name)), cell)


def counted(text: str, opens: Callable[[str], bool], blank: str = "") -> int:
    """Rows of all sections, counted by lines: each section has one line that opens it and one of names."""
    rows = 0
    since = -1
    for line in text.split("\n"):
        bare = line.strip().strip(blank).strip() if blank else line.strip()
        if not bare:
            continue
        if opens(line):
            since = 0
        elif since >= 0:
            since += 1
            rows += since > 1
    return rows


def header_value(cells: list[str]) -> tuple[str, str]:
    """A line of a preamble as name and value."""
    rest = [cell for cell in cells[1:] if cell]
    return cells[0], " ".join(rest)


def add_to_all(collector: Collector, fields: dict[str, str | None]) -> None:
    """Repeat in every record what the file says once."""
    for record in collector.records:
        record.values.update({k: v for k, v in fields.items() if k not in record.values})
