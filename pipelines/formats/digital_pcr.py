"""Digital PCR exports: Applied Biosystems Absolute Q and QIAGEN QIAcuity CSV.

Here: their columns. An Absolute Q row whose well is "Average" is an aggregate of the wells that follow it
and is marked as one, so that nobody counts it twice. A summary prints the dyes beside each other: one record is
one well in one dye. Vector copy numbers are computed elsewhere.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pipelines.formats.collect import Collector, Column, Record, wrong_layout
from pipelines.formats.protocol import Options, Reading, UnreadableFile, reading
from pipelines.formats.text import decode, whole
from pipelines.formats.vendor_table import VendorTable, vendor_encoding

_WELL = re.compile(r"[A-Z]{1,2}\d{1,2}")


class AbsoluteQ(VendorTable):
    """QuantStudio Absolute Q."""

    name = "absolute_q"
    required: tuple[str, ...] = ("run|run name", "dye|channels", "target", "conc. cp/ul", "positives|count")
    columns: ClassVar[Mapping[str, Column]] = {
        "run": Column("instrument_run_name"),
        "run name": Column("instrument_run_name"),
        "date": Column("result_at", "time"),
        "instrument": Column("instrument_serial_number"),
        "plate": Column("plate_id"),
        "group": Column("group_name"),
        "name": Column("sample_id"),
        "sample": Column("sample_id"),
        "well": Column("well"),
        "well id": Column("well"),
        "total": Column("partitions_valid", "number"),
        "dye": Column("dye"),
        "channels": Column("dye"),
        "target": Column("target"),
        "conc. cp/ul": Column("concentration_copies_per_ul", "number"),
        "positives": Column("partitions_positive", "number"),
        "count": Column("partitions_positive", "number"),
    }

    def finish(self, collector: Collector, record: Record, row: dict[str, str]) -> None:
        """Mark rows that summarise others."""
        del row
        if "well" not in record.values:
            return
        well = record.values.get("well") or ""
        aggregate = _WELL.fullmatch(well) is None  # Average, Pooled, or the line of a group without a well
        record.values["is_aggregate"] = "true" if aggregate else "false"
        if aggregate:
            collector.flag(record, "well", f"summary row: {well or 'group'}")


class AbsoluteQSummary(AbsoluteQ):
    """Absolute Q summaries: a line of dyes above the names, each over the columns of its results."""

    name = "absolute_q_summary"
    required = ("run name", "well", "dye", "target", "conc.", "positives")
    columns: ClassVar[Mapping[str, Column]] = {
        **AbsoluteQ.columns,
        "conc.": Column("concentration_copies_per_ul", "number"),
        "qc": Column("instrument_status", "status", fine=frozenset({"", "pass"})),
        "threshold": Column("partition_threshold", "number"),
    }

    def recognises(self, head: bytes, filename: str) -> bool:
        """Dyes alone on the first line, the names on the second."""
        try:
            lines = decode(Path(filename), head, Options(), "cp1252").splitlines()[:2]
        except UnreadableFile:
            return False
        rows = list(csv.reader(lines))
        return len(rows) == 2 and _is_summary(*rows)

    def read(self, path: Path, options: Options) -> Reading:
        """Read every well in every dye."""
        data = whole(path)
        text = decode(path, data, vendor_encoding(path, data, options))
        rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
        if len(rows) < 2 or not _is_summary(*rows[:2]):
            raise wrong_layout(path, self.name, "no line of dyes above the names")
        dyes, names, *wells = rows
        starts = [n for n, dye in enumerate(dyes) if dye.strip()]
        # the columns of a dye are as many as lie between two dyes, or as many as its names before they are others
        if len(starts) == 1 and "Threshold" not in names[starts[0] :]:
            raise wrong_layout(path, self.name, "the dye's columns do not end with its threshold")
        wide = (
            starts[1] - starts[0] if len(starts) > 1 else names.index("Threshold", starts[0]) + 1 - starts[0]
        )
        own = {start: range(start, start + wide) for start in starts}
        taken = {n for span in own.values() for n in span}
        common = [n for n in range(len(names)) if n not in taken]
        first = names[starts[0] : starts[0] + wide]
        if any(names[span.start : span.stop] != first for span in own.values()):
            raise wrong_layout(path, self.name, "the dyes have unlike columns")
        if ragged := [n for n, row in enumerate(wells, 3) if len(row) != len(names)]:
            raise UnreadableFile(
                path, f"line {ragged[0]}", "another number of values than names", "Export it again."
            )
        long = [[names[n] for n in common] + ["Dye"] + first]
        for row in wells:
            long += [
                [row[n] for n in common] + [dyes[start].strip()] + [row[n] for n in span]
                for start, span in own.items()
            ]
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            with copy.open("w", encoding="utf-8", newline="") as out:
                csv.writer(out).writerows(long)
            found = super().read(copy, options.model_copy(update={"encoding": "utf-8"}))
        lines = sum(1 for line in text.split("\n") if line.strip(" ,\r"))
        received = (lines - 2) * len(starts)
        header = {"columns": names, "dyes": [dyes[n].strip() for n in starts]}
        return reading(
            path, self.name, found.records, received, flags=found.flags, refused=found.refused, header=header
        )


def _is_summary(dyes: list[str], names: list[str]) -> bool:
    found = [n for n, dye in enumerate(dyes) if dye.strip()]
    return bool(found) and found[-1] < len(names) and all(names[n] == "Target" for n in found)


class AbsoluteQCombinations(VendorTable):
    """Absolute Q: how many partitions are positive in each combination of dyes (none named: in none)."""

    name = "absolute_q_combinations"
    required = ("run", "channels", "count", "copies per microliter", "total")
    columns: ClassVar[Mapping[str, Column]] = {
        **{
            name: AbsoluteQ.columns[name]
            for name in ("run", "date", "instrument", "plate", "sample", "total")
        },
        "channels": Column("dye"),
        "count": Column("Count", "number"),
        "copies per microliter": Column("concentration_copies_per_ul", "number"),
    }


class Qiacuity(VendorTable):
    """QIAcuity Software Suite; the first line is Excel's "sep=", the column of wells has no name."""

    name = "qiacuity"
    required = ("sample/ntc/control", "reaction mix", "partitions (valid)", "partitions (positive)")
    delimiters = ",;"
    columns: ClassVar[Mapping[str, Column]] = {
        "column_1": Column("well"),
        "well": Column("well"),
        "sample/ntc/control": Column("sample_id"),
        "type": Column("sample_type"),
        "plate id": Column("plate_id"),
        "plate name": Column("plate_name"),
        "reaction mix": Column("reaction_mix"),
        "target": Column("target"),
        "target (name)": Column("target"),
        "target (ic)": Column("internal_control"),
        "target (control)": Column("control_type"),
        "ic": Column("internal_control"),
        "control type": Column("control_type"),
        "concentration (copies/ul)": Column("concentration_copies_per_ul", "number"),
        "conc. [copies/ul]": Column("concentration_copies_per_ul", "number"),
        "conc. [copies/\ufffdl]": Column("concentration_copies_per_ul", "number"),
        "conc. [cp/ul] (dpcr reaction)": Column("concentration_copies_per_ul", "number"),
        "partitions (valid)": Column("partitions_valid", "number"),
        "partitions (positive)": Column("partitions_positive", "number"),
        "partitions (negative)": Column("partitions_negative", "number"),
        "threshold": Column("partition_threshold", "number"),
    }

    def header(self, base: dict[str, Any]) -> dict[str, Any]:
        """Nothing of the "sep=" line is about the samples."""
        return {key: value for key, value in base.items() if key != "preamble"}
