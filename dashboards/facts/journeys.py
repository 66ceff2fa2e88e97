"""Orders on their way from vein to vein."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Journey:
    """One order from order to infusion, with the hours of each interval that has ended, and where it stands."""

    site: str
    order_id: str
    status: str
    attempts: int
    batch_id: str | None
    ordered_at: datetime | None
    collected_at: datetime | None
    received_at: datetime | None
    started_at: datetime | None
    harvested_at: datetime | None
    released_at: datetime | None
    infused_at: datetime | None
    observed_until: datetime | None
    order_to_collection_h: float | None
    collection_to_receipt_h: float | None
    receipt_to_start_h: float | None
    start_to_harvest_h: float | None
    harvest_to_release_h: float | None
    release_to_infusion_h: float | None
    vein_to_vein_h: float | None
    order_to_infusion_h: float | None
    late: str | None
    due_at: datetime | None
    risk: str | None
    in_time: float | None
    in_time_low: float | None
    in_time_high: float | None
    expected_at: datetime | None
    basis: str | None
    alike: int | None
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Contrast:
    """One measure of sites that make for themselves against contract manufacturers, with its 95 % interval."""

    measure: str
    kind: str
    local: float | None
    central: float | None
    estimate: float | None
    low: float | None
    high: float | None
    n_local: int
    n_central: int
    method: str
