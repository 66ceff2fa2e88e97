"""Instrument reports that print one value a line behind its name: "Viability (%);68.2" or "Images : 50".

Here: the declarative reader of such reports, one record a file. The names belong in the vendors' modules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pipelines.formats.collect import Collector, Column, Record, wrong_layout
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.text import decode, whole
from pipelines.formats.vendor_table import plain_name


class KeyValueReport:
    """A report given by its names; one without the required ones is not of this format."""

    name: str
    columns: ClassVar[Mapping[str, Column]]
    required: tuple[str, ...]
    expected: tuple[str, ...] = ()  # terms every report prints; their absence is said
    separator: re.Pattern[str]
    counted: re.Pattern[bytes]  # a line that stands once in each record

    def recognises(self, head: bytes, filename: str) -> bool:
        """All required names stand at the start of lines."""
        try:
            pairs = self.pairs(
                decode(Path(filename), head[: head.rfind(b"\n") + 1] or head, Options(), "cp1252")
            )
        except UnreadableFile:
            return False
        names = {plain_name(name) for name, _ in pairs}
        return set(self.required) <= names

    def pairs(self, text: str) -> list[tuple[str, str]]:
        """Names and values in file order; a value with an open bracket goes on in the next line."""
        found: list[tuple[str, str]] = []
        lines = iter(text.splitlines())
        for line in lines:
            joined = line
            while joined.count("(") > joined.count(")") and (more := next(lines, None)) is not None:
                joined += " " + more
            parts = self.separator.split(joined, maxsplit=1)
            if parts[0].strip():
                found.append((parts[0].strip(), parts[1].rstrip(";, ").strip() if len(parts) > 1 else ""))
        return found

    def read(self, path: Path, options: Options) -> Reading:
        """Read the one record of the file."""
        data = whole(path)
        text = decode(path, data, options, "cp1252")
        pairs = self.pairs(text)
        names = [plain_name(name) for name, _ in pairs]
        missing = [name for name in self.required if name not in names]
        if missing:
            raise wrong_layout(path, self.name, f"no line {', '.join(missing)}")
        twice = [name for name in self.required if names.count(name) > 1]
        if twice:
            raise wrong_layout(path, self.name, f"{', '.join(twice)} stands twice")
        collector = Collector(path, self.name, options)
        record = collector.record(1)
        header: dict[str, Any] = {}
        for name, printed in pairs:
            if self.take(collector, record, name, printed, header):
                continue
            column = self.columns.get(plain_name(name), Column(name))
            if column.term in record.values and record.values[column.term] is not None:
                column = Column(f"{name} ({len(record.values)})")
            collector.take(record, column, printed)
        self.finish(collector, record, {plain_name(name): value for name, value in pairs})
        for term in self.expected:
            if term not in record.values:
                record.values[term] = None
                mend = "Every export of this instrument prints it: export the result again."
                collector.refuse(record, term, None, "missing_field", mend)
        received = len(self.counted.findall(text.encode()))
        return collector.reading(received, header)

    def take(
        self, collector: Collector, record: Record, name: str, printed: str, header: dict[str, Any]
    ) -> bool:
        """Lines a vendor reads in its own way; True when done."""
        del collector, record, name, printed, header
        return False

    def finish(self, collector: Collector, record: Record, lines: Mapping[str, str]) -> None:
        """What a vendor adds when all lines are read."""
