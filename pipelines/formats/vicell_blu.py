"""Beckman Coulter Vi-CELL BLU CSV exports.

Here: the export's columns. Viability is by trypan blue; densities are printed in millions per mL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pipelines.formats.collect import MILLION, Column
from pipelines.formats.vendor_table import VendorTable


class ViCellBlu(VendorTable):
    """Vi-CELL BLU."""

    name = "vicell_blu"
    required = ("sample id", "viable (x10^6) cells/ml", "viability (%)", "analysis date/time")
    columns: ClassVar[Mapping[str, Column]] = {
        "sample id": Column("sample_id"),
        "cell count": Column("total_cell_count", "number"),
        "viable cells": Column("viable_cell_count", "number"),
        "total (x10^6) cells/ml": Column("total_cell_density_per_ml", "number", MILLION),
        "viable (x10^6) cells/ml": Column("viable_cell_density_per_ml", "number", MILLION),
        "viability (%)": Column("viability_trypan_blue_pct", "number"),
        "average diameter (um)": Column("mean_cell_diameter_um", "number"),
        "average viable diameter (um)": Column("mean_viable_cell_diameter_um", "number"),
        "average circularity": Column("mean_circularity", "number"),
        "average viable circularity": Column("mean_viable_circularity", "number"),
        "images": Column("image_count", "number"),
        "cell type": Column("cell_type_setting"),
        "dilution": Column("dilution_factor", "number"),
        "analysis date/time": Column("result_at", "time"),
        "reanalysis date/time": Column("reanalysed_at", "time"),
        "analysis by": Column("instrument_operator", "person"),
        "reanalysis by": Column("instrument_reanalysis_operator", "person"),
    }
