"""One batch: where it stands, its results, steps, custody, materials, what was changed, what followed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class Batch:
    """One batch: where it stands and since when. Ages run to `as_of`, the newest event that its site has told of."""

    site: str
    batch_id: str
    attempt_no: int | None
    order_id: str | None
    product_id: str | None
    suite_id: str | None
    protocol_version: str | None
    state: str
    state_since: datetime | None
    state_age_h: float | None
    usual_h: float | None
    slow: bool
    late: bool
    pending_attributes: str | None
    failed_attributes: str | None
    open_deviations: int
    termination_cause: str | None
    decision: str | None
    signed_at: datetime | None
    spec_id: str | None
    spec_version: str | None
    ordered_at: datetime | None
    collection_id: str | None
    collection_started_at: datetime | None
    collection_ended_at: datetime | None
    batch_started_at: datetime | None
    harvested_at: datetime | None
    formulated_at: datetime | None
    infused_at: datetime | None
    infusion_id: str | None
    dose_e6_per_kg: float | None
    as_of: datetime | None
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Decision:
    """One release decision, with the specification it was taken by."""

    decision: str
    conditional_on: str | None
    signer_role: str | None
    signed_at: datetime | None
    spec_id: str | None
    spec_version: str | None
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Result:
    """One result in force with the limit it falls under, in the attribute's unit. `passes` is None where unknown."""

    result_id: str
    sample_point: str | None
    taken_at: datetime | None
    attribute: str
    unit: str | None
    scale: str | None
    value: float | None
    operator: str | None
    result_code: str | None
    value_as_given: str | None
    unit_as_given: str | None
    low: float | None
    high: float | None
    inclusive: bool | None
    blocking: bool | None
    passes: bool | None
    stage: str | None
    spec_id: str | None
    spec_version: str | None
    approved_by_role: str | None
    effective_from: datetime | None
    replicate: int | None
    method_id: str | None
    lab_site: str | None
    result_at: datetime | None
    identity_conflict: bool
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Measured:
    """Results of a batch by one method at one point: its replicates, and the site's other lots beside them."""

    results: tuple[Result, ...]
    others: tuple[float, ...]

    @property
    def first(self) -> Result:
        """The result that names attribute, point, method and limit of all."""
        return self.results[0]

    @property
    def passes(self) -> bool | None:
        """False if any result fails, None if none can be judged."""
        told = [r.passes for r in self.results if r.passes is not None]
        return all(told) if told else None


@dataclass(frozen=True)
class Step:
    """One unit operation of a batch."""

    unit_procedure: str | None
    operation: str | None
    phase: str | None
    operation_started_at: datetime | None
    operation_ended_at: datetime | None
    equipment_id: str | None
    operator_role: str | None
    automation_level: str | None
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Custody:
    """One custody event of an order's chain, with the gap to the one before and what is wrong with the link."""

    event_id: str
    place_in_chain: int
    custody_kind: str
    custody_object: str | None
    from_party: str | None
    to_party: str | None
    place: str | None
    happened_at: datetime | None
    custody_temperature_c: float | None
    gap_h: float | None
    usual_gap_h: float | None
    out_of_order: bool
    long_gap: bool
    giver_differs: bool
    forked: bool
    hash_broken: bool
    not_verified_by_two: bool
    reasons: str | None
    record_id: str
    source_file: str
    source_row: int

    @property
    def breaks(self) -> tuple[str, ...]:
        """What breaks the chain here, in words."""
        codes = (self.reasons or "").split(", ")
        told = (
            (self.hash_broken, "hash does not follow"),
            (self.forked, "chain forks"),
            (self.giver_differs, "giver is not the last taker"),
            (self.out_of_order, "earlier than the event before"),
            (self.not_verified_by_two, "not verified by two"),
            ("custody_overlap" in codes, "in two hands at once"),
            ("swap_suspicion" in codes, "fits another patient's record"),
            ("impossible_order" in codes, "cannot come after what was before"),
            ("custody_contradiction" in codes, "another record of the order tells otherwise"),
        )
        return tuple(words for broken, words in told if broken)


@dataclass(frozen=True)
class Material:
    """What a batch was made of: its collection, or a lot of a reagent, and the other batches that used it."""

    kind: str
    material_id: str
    material: str | None
    supplier: str | None
    lot_status: str | None
    expires_on: date | None
    used_by: tuple[str, ...]
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Deviation:
    """One deviation of a batch."""

    deviation_id: str
    deviation_class: str | None
    cause: str | None
    opened_at: datetime | None
    closed_at: datetime | None
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Finding:
    """One thing that a rule found in stored data."""

    site: str
    feed: str
    table_name: str
    reason_code: str
    severity: str
    subject: str
    detail: str
    record_id: str | None
    source_file: str | None
    source_row: int | None


@dataclass(frozen=True)
class Edit:
    """One field that a later version of a row says otherwise."""

    table_name: str
    subject: str
    field_name: str
    old_value: str | None
    new_value: str | None
    changed_by: str | None
    changed_at: datetime | None
    why: str | None
    record_id: str
    source_file: str
    source_row: int


@dataclass(frozen=True)
class Outcome:
    """One outcome after the infusion of a batch."""

    endpoint: str
    outcome_day: int | None
    outcome_value: str | None
    censored: bool | None
    record_id: str
    source_file: str
    source_row: int
