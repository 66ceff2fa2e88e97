"""Beckman Coulter Vi-CELL XR text reports (2.04 and 2.06), one sample a file.

Here: the report's lines. Viability is by trypan blue; densities are printed in millions per mL. The
workbooks of the same instrument are read as `excel` with the layout the contract states.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pipelines.formats.collect import MILLION, Collector, Column, Record
from pipelines.formats.key_value import KeyValueReport


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
