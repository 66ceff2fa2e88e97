"""Nova Biomedical BioProfile FLEX2 CSV exports.

Here: the export's columns. Densities are in millions per mL and gases in mmHg on every FLEX2; the units of
the chemistry are a setting of the instrument which the file does not name, so these keep the file's own
names and the contract says their units.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import ClassVar

from pipelines.formats.collect import MILLION, Column
from pipelines.formats.delimited import unique_names
from pipelines.formats.vendor_table import VendorTable

_CHEMISTRY = ("Gln", "Glu", "Gluc", "Lac", "NH4+", "Na+", "K+", "Ca++", "HCO3")


class NovaFlex2(VendorTable):
    """BioProfile FLEX2."""

    name = "nova_flex2"
    required = ("date & time", "sample id", "sample type", "gluc", "lac")
    columns: ClassVar[Mapping[str, Column]] = {
        "date & time": Column("result_at", "time"),
        "sample time": Column("taken_at", "time"),
        "sample id": Column("sample_id"),
        "sample type": Column("sample_type"),
        "vessel id": Column("reactor_id"),
        "batch id": Column("batch_id_printed"),
        "operator": Column("instrument_operator", "person"),
        "ph": Column("ph", "number"),
        "po2": Column("po2_mmhg", "number"),
        "pco2": Column("pco2_mmhg", "number"),
        "osm": Column("osmolality_mosm_kg", "number"),
        **{name.casefold(): Column(name, "number") for name in _CHEMISTRY},
        "total density": Column("total_cell_density_per_ml", "number", MILLION),
        "viable density": Column("viable_cell_density_per_ml", "number", MILLION),
        "viability": Column("viability_trypan_blue_pct", "number"),
        "avg. live diameter": Column("mean_viable_cell_diameter_um", "number"),
        "total live count": Column("viable_cell_count", "number"),
        "total cell count": Column("total_cell_count", "number"),
        "vessel temperature (°c)": Column("vessel_temperature_cel", "number"),
    }

    def units_line(self, lines: list[str]) -> dict[str, str]:
        """Some exports print a line of units: no time and no sample, but "mmol / L" and the like."""
        if len(lines) < 2:
            return {}
        names, units = (next(csv.reader([line])) for line in lines[:2])
        pairs = dict(zip(unique_names(names), (unit.strip() for unit in units), strict=False))
        if any(pairs.get(name) for name in names[:3]) or "/" not in "".join(pairs.values()):
            return {}
        return {name: unit for name, unit in pairs.items() if unit not in ("", "-")}
