"""Digital PCR exports: Applied Biosystems Absolute Q and QIAGEN QIAcuity CSV.

Here: their columns. An Absolute Q row whose well is "Average" is an aggregate of the wells that follow it
and is marked as one, so that nobody counts it twice. Vector copy numbers are computed elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pipelines.formats.collect import Collector, Column, Record
from pipelines.formats.vendor_table import VendorTable

_WELL = re.compile(r"[A-Z]{1,2}\d{1,2}")


class AbsoluteQ(VendorTable):
    """QuantStudio Absolute Q."""

    name = "absolute_q"
    required = ("run|run name", "dye|channels", "target", "conc. cp/ul", "positives|count")
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
