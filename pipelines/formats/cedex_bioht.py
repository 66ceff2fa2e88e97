"""Roche Cedex Bio HT archive files, software 5 and 6/7.

Here: the two column orders; one record is one result row. The unit is kept as printed (OD is not mAU), a
result outside the range keeps its operator and limit, and the instrument's flag is never lost.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pipelines.formats.collect import Collector, wrong_layout
from pipelines.formats.protocol import Options, Reading, Refused
from pipelines.formats.text import decode, whole

_RESULT = "40"
_ORDER_5 = ("sample_id", 5), ("sample_role", 6), ("analyte_code", 2), ("result_unit", 7)
_ORDER_6 = (
    ("sample_id", 2),
    ("batch_id_printed", 3),
    ("sample_role", 4),
    ("analyte_code", 6),
    ("result_unit", 8),
)
_CODE = re.compile(r"[A-Z][A-Z0-9]{1,7}")
_KEPT = {5: (3, 4), 6: (5, 7)}  # columns without a name that some results fill: predilution, kit
_WIDTH = {5: 12, 6: 13}
_FLAG_AT = {5: 8, 6: 9}


class CedexBioHt:
    """Cedex Bio HT."""

    name = "cedex_bioht"

    def recognises(self, head: bytes, filename: str) -> bool:
        """The first line marks an archive file of this instrument."""
        del filename
        first = head.split(b"\n", 1)[0]
        return b"#ARC-FILE#" in first and b"CEDEX BIO HT" in first

    def read(self, path: Path, options: Options) -> Reading:
        """Read every result row."""
        text = decode(path, whole(path), options, "cp1252")
        lines = [line.split("\t") for line in text.splitlines()]
        lines = [[value.strip() for value in line] for line in lines if any(v.strip() for v in line)]
        collector = Collector(path, self.name, options)
        header, layout = self._header(path, lines[0], collector)
        for row, line in enumerate(lines[1:], 1):
            if reason := self._not_a_result(line, layout):
                collector.refused.append(Refused(row, None, None, "damaged_element", reason))
                continue
            self._result(collector, row, line, layout)
        on_bytes = sum(1 for line in text.encode().split(b"\n") if line.strip())
        return collector.reading(on_bytes - 1, header)

    def _header(self, path: Path, line: list[str], collector: Collector) -> tuple[dict[str, Any], int]:
        if len(line) < 10 or line[2] != "#ARC-FILE#":
            raise wrong_layout(path, self.name, "line 1")
        version = line[8]
        layout = {"5": 5, "6": 6, "7": 6}.get(version.split(".")[0], 0)
        if not layout:
            raise wrong_layout(path, self.name, f"software {version}")
        header = {
            "instrument_model": line[6],
            "instrument_serial_number": line[7],
            "instrument_software_version": version,
            "archived_at_local": line[1],
            "instrument_operator": collector.person(line[9]),
        }
        return header, layout

    def _not_a_result(self, line: list[str], layout: int) -> str | None:
        if line[0] != _RESULT:
            return f"Row type {line[0]!r} is not a result: export results only."
        if len(line) < _WIDTH[layout]:
            return f"The row ends after {len(line)} of {_WIDTH[layout]} columns: export the file again."
        code = dict(_ORDER_5 if layout == 5 else _ORDER_6)["analyte_code"]
        if not _CODE.fullmatch(line[code]):
            return (
                f"Column {code + 1} should hold a test code and holds {line[code]!r}: wrong software version."
            )
        return None

    def _result(self, collector: Collector, row: int, line: list[str], layout: int) -> None:
        record = collector.record(row)
        flag_at = _FLAG_AT[layout]
        collector.time(record, "result_at", line[1], ("%Y-%m-%d %H:%M:%S",))
        for term, at in _ORDER_5 if layout == 5 else _ORDER_6:
            record.values[term] = line[at]
        for at in _KEPT[layout]:
            record.values[f"column_{at + 1}"] = line[at]
        if layout == 6:
            record.values["predilution"] = record.values.pop("column_6")
        collector.number(record, "result_value", line[flag_at + 1])
        record.values["instrument_flag"] = flag = line[flag_at]
        if flag and not any(f.source_row == row and f.text == flag for f in collector.flags):
            collector.flag(record, "result_value", flag)
        collector.number(record, "absorbance", line[flag_at + 2])
        record.values["result_kind"] = line[flag_at + 3]
