"""Beckman Coulter Vi-CELL XR (2.04 and 2.06): text reports of one sample, and workbooks of results, one a row.

Here: the report's lines and the workbook's columns, whose names stand in two rows. Viability is by trypan blue;
densities are printed in millions per mL. A workbook that holds one report with its distributions is read as
`allotrope`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pipelines.formats.collect import MILLION, Collector, Column, Record
from pipelines.formats.key_value import KeyValueReport
from pipelines.formats.vendor_table import VendorTable
from pipelines.formats.workbook import Row


class ViCellXr(KeyValueReport):
    """Vi-CELL XR."""

    name = "vicell_xr"
    # the last is the last line of a report: without it the file is cut off
    required = ("sample id", "viability (%)", "imagebasename")
    expected = (
        "result_at",
        "viable_cell_count",
        "total_cell_count",
        "total_cell_density_per_ml",
        "viable_cell_density_per_ml",
    )
    separator = re.compile(r" ?:(?: |$)")
    counted = re.compile(rb"(?m)^Sample ID :")
    columns: ClassVar[Mapping[str, Column]] = {
        "sample id": Column("sample_id"),
        "rundate": Column("result_at", "time"),
        "unit s/n": Column("instrument_serial_number"),
        "user": Column("instrument_operator", "person"),
        "analysis version": Column("analysis_version"),
        "images": Column("image_count", "number"),
        "total cells": Column("total_cell_count", "number"),
        "viable cells": Column("viable_cell_count", "number"),
        "nonviable cells": Column("dead_cell_count", "number"),
        "viability (%)": Column("viability_trypan_blue_pct", "number"),
        "total cells / ml (x 10^6)": Column("total_cell_density_per_ml", "number", MILLION),
        "total viable cells / ml (x 10^6)": Column("viable_cell_density_per_ml", "number", MILLION),
        "average diameter (microns)": Column("mean_cell_diameter_um", "number"),
        "average circularity": Column("mean_circularity", "number"),
        "cell type": Column("cell_type_setting"),
        "dilution": Column("dilution_factor", "number"),
        # other versions of the software
        "sample date": Column("result_at", "time"),
        "sample date/time": Column("result_at", "time"),
        "sample data/time": Column("result_at", "time"),
        "total cells/ml (x10^6)": Column("total_cell_density_per_ml", "number", MILLION),
        "viable cells/ml (x10^6)": Column("viable_cell_density_per_ml", "number", MILLION),
        "avg. diam. (microns)": Column("mean_cell_diameter_um", "number"),
        "avg. circ.": Column("mean_circularity", "number"),
        "dilution factor": Column("dilution_factor", "number"),
    }

    def take(
        self, collector: Collector, record: Record, name: str, printed: str, header: dict[str, Any]
    ) -> bool:
        """The first line names the software; lines such as "Results:" begin a section."""
        del collector
        if name.startswith("Vi-CELL XR"):
            record.values["instrument_model"] = "Vi-CELL XR"
            record.values["instrument_software_version"] = name.removeprefix("Vi-CELL XR").strip()
            return True
        if name in ("Results", "Settings") and not printed:
            header.setdefault("sections", []).append(name)
            return True
        return False


class ViCellXrResults(VendorTable):
    """Vi-CELL XR workbooks of results."""

    name = "vicell_xr_results"
    required = ("sample id", "sample date|sample date/time|sample data/time")
    columns: ClassVar[Mapping[str, Column]] = {
        **ViCellXr.columns,
        "total cells /ml (x10^6)": Column("total_cell_density_per_ml", "number", MILLION),
        "viable cells /ml (x10^6)": Column("viable_cell_density_per_ml", "number", MILLION),
    }

    def recognises(self, head: bytes, filename: str) -> bool:
        """The sheet begins with the software's name, and a row of names with the sample's."""
        del filename
        return re.match(rb"\[[^\n]*\]\nVi-CELL XR(?s:.{0,2000}?)\nSample ID\t\S", head) is not None

    def arranged(self, rows: list[Row]) -> list[Row]:
        """Names of two rows in one; the row of column numbers that the program hides below them goes before them."""
        at = next((n for n, row in enumerate(rows) if row.cells[0].strip() == "Sample ID"), None)
        if at is None:
            return rows
        names, below = rows[at], rows[at + 1 :]
        if below and not below[0].cells[0].strip():
            joined = [" ".join(f"{a} {b}".split()) for a, b in zip(names.cells, below[0].cells, strict=True)]
            names, below = Row(names.number, joined), below[1:]
        numbers = 1 if below and below[0].cells[:3] == ["0", "1", "2"] else 0
        return [*rows[:at], *below[:numbers], names, *below[numbers:]]

    def shared(self, preamble: list[str]) -> dict[str, str | None]:
        """Software and serial number of the instrument."""
        text = "\n".join(line.rstrip(", ") for line in preamble)
        version = re.search(r"(?m)^Vi-CELL XR (\S+)", text)
        serial = re.search(r"(?m)^Unit S/N: *(\S+)", text)
        return {
            "instrument_model": "Vi-CELL XR",
            "instrument_software_version": version[1] if version else None,
            "instrument_serial_number": serial[1] if serial else None,
        }
