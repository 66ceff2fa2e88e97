"""Applied Biosystems QuantStudio text exports (qPCR): every row of every section.

Here: the header and the sections. A Ct of "Undetermined" stays absent with a flag; nothing is matched between
sections, so a result whose well is not in the sample setup is not lost. Copy numbers are computed elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.formats.collect import Collector, Column, Record, wrong_layout, zone_of
from pipelines.formats.protocol import Options, Reading
from pipelines.formats.sectioned import add_to_all, collect_sections, counted, split_sections
from pipelines.formats.text import decode, whole

_FACT = re.compile(r"(?!\* )[^\t=\[]+ = [^\t]*")
_SECTION = re.compile(r"\[(.+)\]\s*")
_COLUMNS = {
    "well position": Column("well"),
    "well": Column("well_number"),
    "sample name": Column("sample_id"),
    "target name": Column("target"),
    "ct": Column("ct", "number"),
}
_TIMES = ("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %H:%M:%S", "%m-%d-%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p")
_PEOPLE = {"User Name", "Operator", "Computer Name"}


class QuantStudio:
    """QuantStudio Real-Time PCR software 1."""

    name = "quantstudio"

    def recognises(self, head: bytes, filename: str) -> bool:
        """Lines "* name = value" with an instrument or block type, then sections in brackets."""
        del filename
        return head.lstrip(b"\xef\xbb\xbf").startswith(b"* ") and (
            re.search(rb"(?m)^\* (?:Block Type|Instrument Type) *=", head) is not None
        )

    def read(self, path: Path, options: Options) -> Reading:
        """Read every row of every section."""
        text = decode(path, whole(path), options, "cp1252")
        lines = text.splitlines()
        stars = [line for line in lines if line.startswith("* ")]
        # after the rows of a section some versions print facts: a line without tabs, "name = value"
        facts_after = [line for line in lines if _FACT.fullmatch(line)]
        body = [line if not line.startswith("* ") and not _FACT.fullmatch(line) else "" for line in lines]
        before, sections = split_sections(body, "\t", _title)
        if before or not any(section.name == "Results" for section in sections):
            raise wrong_layout(path, self.name, "no section [Results]")
        collector = Collector(path, self.name, options)
        header: dict[str, object] = {"header": [_masked(line, collector) for line in stars]}
        collect_sections(collector, sections, _COLUMNS, whole=text.endswith("\n"), last_line=len(lines))
        facts = {k.strip("* ").strip(): v.strip() for k, _, v in (line.partition("=") for line in stars)}
        self._result_time(collector, facts)
        if facts_after:
            header["facts"] = facts_after
        header["sections"] = {section.name: len(section.rows) for section in sections}
        received = counted("\n".join(body), lambda line: _SECTION.fullmatch(line.strip()) is not None)
        return collector.reading(received, header)

    def _result_time(self, collector: Collector, facts: dict[str, str]) -> None:
        """The run's end is the time of all results."""
        printed = facts.get("Experiment Run End Time", "")
        moment, _, zone = printed.rpartition(" ")
        offset = (
            zone_of(zone)
            if re.fullmatch(r"[A-Za-z]{3,4}", zone) and zone.upper() not in ("AM", "PM")
            else None
        )
        # 00:51:26 AM and 15:02:50 PM are printed by some versions: a 24-hour clock with a needless half-day
        moment = re.sub(
            r" (00:\d\d:\d\d) AM| ((?:1[3-9]|2[0-3]):\d\d:\d\d) PM", r" \1\2", moment if offset else printed
        )
        time = Record(1)
        if printed.casefold() not in ("", "not started", "na", "n/a"):
            collector.time(time, "result_at", moment, _TIMES, offset)
            time.values["result_at_as_printed"] = printed
        model = {"instrument_model": facts.get("Instrument Type")}
        add_to_all(collector, {**model, **time.values})


def _title(cells: list[str]) -> str | None:
    found = _SECTION.fullmatch(cells[0]) if cells and not any(cells[1:]) else None
    return found[1] if found else None


def _masked(line: str, collector: Collector) -> str:
    name, equals, value = line.partition("=")
    if name.strip("* ").strip() in _PEOPLE and value.strip() and value.strip() != "NA":
        return f"{name}{equals} {collector.person(value)}"
    return line
