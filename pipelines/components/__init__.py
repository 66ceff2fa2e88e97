"""Dagster components: what a YAML file under `defs/` may be an instance of."""

from pipelines.components.manufacturing_site import ManufacturingSite

__all__ = ["ManufacturingSite"]
