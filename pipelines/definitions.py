"""Assembles what Dagster loads: every site's contract and the fleet's own assets. Assembles, nothing else."""

from __future__ import annotations

import dagster as dg

from pipelines.components.manufacturing_site import sites_definitions, sound_contracts
from pipelines.fleet import fleet_definitions
from pipelines.real_files import contract_paths
from warehouse.settings import Settings, settings


def build_defs(chosen: Settings) -> dg.Definitions:
    """Definitions of the fleet whose contracts the settings name."""
    paths = contract_paths(chosen)
    sites = sites_definitions(paths)
    core = sorted(k for k in sites.resolve_all_asset_keys() if k.path[0] == "core")
    # A process for each step would import everything anew, ten seconds each time; a run is one process's work.
    one_process = dg.Definitions(executor=dg.in_process_executor)
    return dg.Definitions.merge(sites, fleet_definitions(core, sound_contracts(paths)), one_process)


@dg.definitions
def defs() -> dg.Definitions:
    """Definitions under the environment's settings."""
    return build_defs(settings())
