"""Where sites stand: what needs somebody, how many batches are where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Need:
    """One thing that needs somebody at a site today."""

    site: str
    kind: str
    batch_id: str
    subject: str
    state: str
    what: str
    owner_role: str
    severity: str
    since: datetime | None
    age_h: float | None
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class SiteCounts:
    """How many batches of a site stand where."""

    site: str
    in_process: int
    waiting: int
    blocked: int
    released: int
    failed: int
    vein_to_vein_d: float | None
    n_vein_to_vein: int
