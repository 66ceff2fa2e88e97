"""What the panels of the Vein-to-vein page share: intervals, sites, hours."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.facts.journeys import Journey
from dashboards.shell.visit import Visit

STEPS = {
    "order_to_collection_h": "order to collection",
    "collection_to_receipt_h": "collection to receipt",
    "receipt_to_start_h": "receipt to start",
    "start_to_harvest_h": "start to harvest",
    "harvest_to_release_h": "harvest to release",
    "release_to_infusion_h": "release to infusion",
}
WHOLE = {"vein_to_vein_h": "vein to vein", "order_to_infusion_h": "order to infusion"}
LEAST = 5


def names_of(visit: Visit) -> dict[str, str]:
    """Sites by name."""
    return {s.id: s.name for s in visit.snapshot.sites}


def sites_of(visit: Visit, journeys: Sequence[Journey]) -> list[str]:
    """Sites with orders, the reference first, as on every page."""
    known = {j.site for j in journeys}
    return [s for s in visit.scope.sites if s in known]


def hours_of(journeys: Sequence[Journey], site: str | None, step: str) -> list[float]:
    """Hours of an interval that has ended, of one site or all."""
    return [h for j in journeys if (site is None or j.site == site) and (h := getattr(j, step)) is not None]
