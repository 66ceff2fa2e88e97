"""ChemoMetec NucleoView (NC-200, NC-250, NC-3000) and single-result NC-View reports.

Here: the two layouts, "name;value;" and "name:<tab>value". Viability is by acridine orange and DAPI. The
time is printed with its offset or as UTC, so no contract is asked for a zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any, ClassVar

from pipelines.formats.collect import Collector, Column, Record, zone_of
from pipelines.formats.key_value import KeyValueReport
from pipelines.formats.protocol import UnreadableFile

_COUNTS: dict[str, Column] = {
    "viability (%)": Column("viability_ao_dapi_pct", "number"),
    "live (cells/ml)": Column("viable_cell_density_per_ml", "number"),
    "dead (cells/ml)": Column("dead_cell_density_per_ml", "number"),
    "total (cells/ml)": Column("total_cell_density_per_ml", "number"),
    "operator": Column("instrument_operator", "person"),
}
_EXPECTED = (
    "result_at",
    "viable_cell_density_per_ml",
    "dead_cell_density_per_ml",
    "total_cell_density_per_ml",
)


class NucleoView(KeyValueReport):
    """NucleoView: the sample is the name of the image."""

    name = "nucleoview"
    required = ("image", "viability (%)", "operator")
    expected = _EXPECTED
    separator = re.compile(r"[;,]")
    counted = re.compile(rb"(?m)^ *Viability \(%\)[;,]")
    columns: ClassVar[Mapping[str, Column]] = {
        **_COUNTS,
        "image": Column("sample_id"),
        "estimated cell diameter (um)": Column("mean_cell_diameter_um", "number"),
        "estimated cell diameter [um]": Column("mean_cell_diameter_um", "number"),
        "cell diameter standard deviation (um)": Column("cell_diameter_sd_um", "number"),
        "(%) of cells in aggregates with five or more cells": Column("aggregates_pct", "number"),
        "sample volume (ul)": Column("sample_volume_ul", "number"),
        "dilution volume (ul)": Column("dilution_volume_ul", "number"),
        "multiplication factor": Column("dilution_factor", "number"),
        "instrument type": Column("instrument_model"),
        "instrument s/n": Column("instrument_serial_number"),
        "application sw version": Column("instrument_software_version"),
        "login id": Column("instrument_user", "person"),
        "pc": Column("instrument_computer", "person"),
    }

    def take(
        self, collector: Collector, record: Record, name: str, printed: str, header: dict[str, Any]
    ) -> bool:
        """The title is the line without a value; time and offset belong together; // is a checksum."""
        if name.startswith("//"):
            header["checksum"] = name.strip("/[],")
            return True
        if "title" not in header and "//" not in name and name != "Image" and not printed.strip("; ,"):
            header["title"] = name
            return True
        return name in ("Date time", "Time zone offset")

    def finish(self, collector: Collector, record: Record, lines: Mapping[str, str]) -> None:
        """Put time and offset together; a report ends with its checksum."""
        if not any(name.startswith("//[") for name in lines):
            raise UnreadableFile(
                collector.path, "last line", "no checksum at the end: cut off", "Export the result again."
            )
        if "date time" not in lines:
            return
        offset = lines.get("time zone offset", "")
        zone = zone_of(offset) if offset else None
        collector.time(record, "result_at", lines["date time"], ("%Y%m%d %H%M%S",), zone)
        record.values["time_zone_offset_as_printed"] = offset


class NcViewReport(KeyValueReport):
    """One result of an NC-202 as text, its time in UTC."""

    name = "nc_view_report"
    required = ("source id", "sample id", "viability (%)", "time (utc)", "status")
    expected = _EXPECTED
    separator = re.compile(r":\t|:$")
    counted = re.compile(rb"(?m)^Viability \(%\):")
    columns: ClassVar[Mapping[str, Column]] = {
        **_COUNTS,
        "source id": Column("result_name"),
        "sample id": Column("sample_id"),
        "diameter (um)": Column("mean_cell_diameter_um", "number"),
        "aggregates (%)": Column("aggregates_pct", "number"),
        "debris index": Column("debris_index", "number"),
        "dilution factor": Column("dilution_factor", "number"),
        "status": Column("instrument_status", "status"),
        "instrument": Column("instrument_serial_number"),
        "software version": Column("instrument_software_version"),
        "user": Column("instrument_user", "person"),
        "signed by": Column("signed_by", "person"),
    }

    def take(
        self, collector: Collector, record: Record, name: str, printed: str, header: dict[str, Any]
    ) -> bool:
        """The time says that it is UTC."""
        del header
        if name != "Time (UTC)":
            return False
        collector.time(record, "result_at", printed, ("%Y-%m-%d %H:%M:%S",), UTC)
        return True
