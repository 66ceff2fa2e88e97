"""Control charts: series, points, limits, what a chart rings by chance, capability."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class Series:
    """One chart series of one site in its newest phase: whether it signals, and since when."""

    site: str
    attribute: str
    measured_as: str
    kind: str
    phase: int
    state: str
    refusal: str | None
    n_points: int
    n_outside: int
    newest_outside_at: datetime | None
    last_at: datetime | None

    @property
    def key(self) -> str:
        """The series in the address of a page, within its site."""
        return f"{self.attribute}|{self.measured_as}"


@dataclass(frozen=True)
class ChartPoint:
    """One point of one control chart, on the scale of its limits."""

    chart: str
    batch_id: str
    phase: int
    batch_started_at: datetime | None
    n_batches: int
    in_baseline: bool
    value: float | None
    centre: float | None
    lower: float | None
    upper: float | None
    z: float | None
    outside: bool | None
    side: int | None
    driver: str | None
    nelson_rules: str | None
    western_electric_rules: str | None
    record_ids: str | None


@dataclass(frozen=True)
class ChartLimit:
    """One version of the limits of one phase, with who declared, froze and approved it, and when."""

    phase: int
    phase_key: str
    protocol_version: str | None
    scale: str | None
    phase_from: datetime | None
    n_points: int
    n_left_out: int | None
    version: int
    state: str
    in_force: bool
    n_baseline: int | None
    baseline_from: datetime | None
    baseline_until: datetime | None
    centre: float | None
    sigma: float | None
    covariates: str | None
    explained: float | None
    frozen_at: datetime | None
    frozen_by_role: str | None
    frozen_because: str | None
    approved_at: datetime | None
    approved_by_role: str | None
    approved_because: str | None
    declared_on: date | None
    declared_by_role: str | None
    refusal: str | None


@dataclass(frozen=True)
class ChartBudget:
    """What one chart of a series rings by chance."""

    chart: str
    rings: bool
    in_control_arl: float | None
    false_alarms_per_year: float | None
    nelson_per_year: float | None
    western_electric_per_year: float | None
    allowed_per_year: float | None
    fleet_false_alarms_per_year: float | None


@dataclass(frozen=True)
class Capability:
    """What a site delivers of one attribute against the limits in force, which are in its unit."""

    site: str
    attribute: str
    stage: str
    unit: str | None
    specification: str | None
    approved_by_role: str | None
    effective_from: datetime | None
    low: float | None
    high: float | None
    n: int
    ppk: float | None
    ppk_low: float | None
    ppk_high: float | None
    cpk: float | None
    cpk_low: float | None
    cpk_high: float | None
    p_out: float | None
    p_out_low: float | None
    p_out_high: float | None
    p_next_inside: float | None
    trend: str | None
    refusal: str | None
    cpk_refusal: str | None
