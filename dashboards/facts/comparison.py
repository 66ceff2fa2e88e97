"""What is compared: the plan, verdicts, what moved, lots and limits behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class PlanEntry:
    """One attribute of the comparability plan; margins are on the analysis scale."""

    attribute: str
    title: str
    scale: str
    margin_low: float | None
    margin_high: float | None
    reads_as: str | None
    measured_by: str
    sample_point: str
    criticality: str
    rationale: str
    basis: str
    plan_id: str
    plan_version: str
    dated: date
    approved_by_role: str
    reference: str


@dataclass(frozen=True)
class Verdict:
    """One site against the reference on one attribute; differences are site - reference on the analysis scale."""

    attribute: str
    reference: str
    site: str
    verdict: str
    reason: str | None
    design: str
    scale: str
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    margin_low: float | None
    margin_high: float | None
    n_reference: int
    n_site: int
    lots_needed: int | None
    method: str
    measured_as: str
    sentence: str

    def in_margins(self, difference: float | None) -> float | None:
        """A difference in units of the margin on its side: -1 and 1 are the margins. None without a margin."""
        if difference is None or self.margin_low is None or self.margin_high is None:
            return None
        return difference / (self.margin_high if difference >= 0 else -self.margin_low)

    def as_read(self, difference: float | None) -> float | None:
        """A difference as people read it: itself, a ratio (log scale) or an odds ratio (logit scale)."""
        if difference is None:
            return None
        return difference if self.scale == "identity" else math.exp(difference)


READS: dict[str, str] = {"identity": "difference", "log": "ratio", "logit": "odds ratio"}


@dataclass(frozen=True)
class Change:
    """One verdict that moved, or whose lots or plan changed, since the previous snapshot, and why."""

    attribute: str
    title: str
    site: str
    verdict_before: str | None
    verdict_after: str | None
    reason_before: str | None
    reason_after: str | None
    n_site_before: int | None
    n_site_after: int | None
    moved: bool
    why: str


@dataclass(frozen=True)
class Lot:
    """One lot behind a verdict. `value` is in the attribute's unit; one that is not `used` says why."""

    attribute: str
    measured_as: str
    site: str
    batch_id: str
    unit: str | None
    value: float | None
    used: bool
    left_out_because: str | None
    replicates: int
    lot_at: datetime | None
    disposition: str | None
    labs: str
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Limit:
    """The newest specification limit of one attribute at one site, in the attribute's unit."""

    site: str
    attribute: str
    low: float | None
    high: float | None
    spec_id: str
    spec_version: str
