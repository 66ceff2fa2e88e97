"""Roche (Innovatis) Cedex HiRes CSV exports.

Here: the export's columns, with the vendor's spelling ("Reactor identifer"). Viability is by trypan blue;
concentrations are printed per mL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pipelines.formats.collect import Column
from pipelines.formats.vendor_table import VendorTable


class CedexHiRes(VendorTable):
    """Cedex HiRes."""

    name = "cedex_hires"
    required = ("cedex id", "viability", "viable cell conc.", "date finished")
    delimiters = ",;\t"
    columns: ClassVar[Mapping[str, Column]] = {
        "cedex id": Column("instrument_serial_number"),
        "system name": Column("instrument_system_name"),
        "sample identifer": Column("sample_id"),
        "sample identifier": Column("sample_id"),
        "reactor identifer": Column("reactor_id"),
        "reactor identifier": Column("reactor_id"),
        "dilution": Column("dilution_factor", "number"),
        "cell type name": Column("cell_type_setting"),
        "sample draw time": Column("taken_at", "time"),
        "date finished": Column("result_at", "time"),
        "username": Column("instrument_operator", "person"),
        "avg diameter": Column("mean_cell_diameter_um", "number"),
        "avg compactness": Column("mean_compactness", "number"),
        "viable cell count": Column("viable_cell_count", "number"),
        "dead cell count": Column("dead_cell_count", "number"),
        "total cell count": Column("total_cell_count", "number"),
        "viability": Column("viability_trypan_blue_pct", "number"),
        "viable cell conc.": Column("viable_cell_density_per_ml", "number"),
        "dead cell conc.": Column("dead_cell_density_per_ml", "number"),
        "total cell conc.": Column("total_cell_density_per_ml", "number"),
        "aggregate rate": Column("aggregates_pct", "number"),
    }
