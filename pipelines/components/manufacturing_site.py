"""One manufacturing site as Dagster definitions: assets, checks, freshness and jobs from its contract.

Adding a site adds a contract, no code. A contract that cannot be used loads as one failing asset that says why, so that
every other site still runs. Does not belong here: what ingesting does (`pipelines/ingest`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from pipelines.harmonise.contract import Contract, ContractError, load_contract
from pipelines.ingest.accounting import is_large
from pipelines.ingest.arrivals import arrival_sensors
from pipelines.ingest.asset import feed_asset

WRITERS = "lake_writer"


class SiteAttributes(BaseModel):
    """What `dg check yaml` checks a contract against (the contract's JSON schema).

    Loading accepts anything: the contract itself is checked when definitions are built, where a wrong one becomes a
    failing asset instead of taking the whole code location down.
    """

    model_config = ConfigDict(extra="allow")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        del schema
        return handler(Contract.__pydantic_core_schema__)


class ManufacturingSite(dg.Component):
    """A site of the fleet, described by its contract (`defs.yaml`)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Model whose JSON schema `dg check yaml` uses."""
        return SiteAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> ManufacturingSite:
        """Made by Dagster from a `defs.yaml`; the contract is read from the file itself, for its line numbers."""
        del attributes
        return cls(context.path / "defs.yaml")

    def build_defs(self, context: dg.ComponentLoadContext | None = None) -> dg.Definitions:
        """Definitions of the site, or of one asset that shows what is wrong with its contract."""
        del context
        try:
            contract = load_contract(self.path)
        except ContractError as error:
            return dg.Definitions(assets=[_refused(self.path.parent.name, error)])
        return site_definitions(contract)


def site_definitions(contract: Contract) -> dg.Definitions:
    """Assets `[raw, site, feed]` and `[core, site, feed]`; jobs: the site's small feeds, its readings; its sensor."""
    assets = [feed_asset(contract, name) for name in contract.feeds]
    site = contract.site_id
    small = [
        dg.AssetKey([layer, site, name])
        for name, f in contract.feeds.items()
        if not is_large(f)
        for layer in ("raw", "core")
    ]
    large = [
        dg.AssetKey([layer, site, name])
        for name, f in contract.feeds.items()
        if is_large(f)
        for layer in ("raw", "core")
    ]
    said = f"Everything new from {contract.name} but readings."
    tags = {"site": site}
    jobs = [
        dg.define_asset_job(f"{site}_records", dg.AssetSelection.assets(*small), description=said, tags=tags)
    ]
    if large:
        said = f"Sensor readings of {contract.name}, by UTC month."
        jobs.append(
            dg.define_asset_job(
                f"{site}_readings", dg.AssetSelection.assets(*large), description=said, tags=tags
            )
        )
    return dg.Definitions(assets=assets, jobs=jobs, sensors=arrival_sensors(contract))


def _refused(site: str, error: ContractError) -> dg.AssetsDefinition:
    sentence = "\n".join(error.problems)

    @dg.asset(
        key=dg.AssetKey(["contract", site]),
        group_name=site if site.isidentifier() else "contract",
        owners=["team:data-engineering"],
        kinds={"yaml"},
        description=f"The contract of {site} is refused; nothing of the site is read until it is mended.\n\n{sentence}",
    )
    def refused_contract() -> None:
        raise dg.Failure(description=sentence, allow_retries=False)

    return refused_contract


def sites_definitions(paths: list[Path]) -> dg.Definitions:
    """Definitions of every contract."""
    return dg.Definitions.merge(*(ManufacturingSite(path).build_defs() for path in paths))


def sound_contracts(paths: list[Path]) -> list[Contract]:
    """Contracts that can be used; a refused one is told by its failing asset."""
    sound: list[Contract] = []
    for path in paths:
        try:
            sound.append(load_contract(path))
        except ContractError:
            continue
    return sound
