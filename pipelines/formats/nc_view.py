"""ChemoMetec NC-View (NC-202 and later) CSV exports.

Here: the export's columns. Viability is by acridine orange and DAPI; thousands are set apart by a blank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pipelines.formats.collect import Column
from pipelines.formats.vendor_table import VendorTable


class NcView(VendorTable):
    """NC-View."""

    name = "nc_view"
    required = ("name", "sample id", "total (cells/ml)", "live (cells/ml)", "viability (%)", "status")
    delimiters = ",;\t"
    columns: ClassVar[Mapping[str, Column]] = {
        "name": Column("result_name"),
        "sample id": Column("sample_id"),
        "user": Column("instrument_user", "person"),
        "operator": Column("instrument_operator", "person"),
        "signed by": Column("signed_by", "person"),
        "instrument": Column("instrument_serial_number"),
        "status": Column("instrument_status", "status"),
        "total (cells/ml)": Column("total_cell_density_per_ml", "number"),
        "live (cells/ml)": Column("viable_cell_density_per_ml", "number"),
        "dead (cells/ml)": Column("dead_cell_density_per_ml", "number"),
        "viability (%)": Column("viability_ao_dapi_pct", "number"),
        "diameter (um)": Column("mean_cell_diameter_um", "number"),
        "aggregates (%)": Column("aggregates_pct", "number"),
        "debris index": Column("debris_index", "number"),
        "dilution factor": Column("dilution_factor", "number"),
        "date": Column("result_at", "time"),
        "date time": Column("result_at", "time"),
    }
