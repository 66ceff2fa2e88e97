"""A lot of a reagent or a collection, and the batches made of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class MaterialLot:
    """What is told of a lot or a collection. One that only its uses name has no row of its own: `told` is False."""

    site: str
    lot_id: str
    kind: str
    told: bool
    material: str | None
    supplier: str | None
    gtin: str | None
    lot_status: str | None
    received_on: date | None
    expires_on: date | None
    collected_at: datetime | None
    order_id: str | None
    record_id: str | None
    source_file: str | None
    source_row: int | None


@dataclass(frozen=True)
class Use:
    """One use of a lot in a batch, where that batch stands, and the row that tells of the use."""

    batch_id: str
    state: str | None
    failed_attributes: str | None
    batch_started_at: datetime | None
    infused_at: datetime | None
    phase: str | None
    quantity: float | None
    after_expiry: bool | None
    record_id: str
    source_file: str
    source_row: int
