"""What pages show, as frozen dataclasses: providers make them, figures and pages take them.

Belongs here: plain values and what follows from them alone. Does not belong here: SQL, layout, colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


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


@dataclass(frozen=True)
class Source:
    """One stored version of a record: the file and row it came from, that file's hash, and what was read."""

    site: str
    feed: str
    table: str
    record_id: str
    source_system: str | None
    source_file: str
    source_row: int | None
    sha256: str | None
    source_version: datetime | None
    sent_at: datetime | None
    recorded_at: datetime | None
    in_force: bool
    supersedes: str | None
    superseded_by: str | None
    reason: str | None
    fields: tuple[tuple[str, Any], ...]
    hidden: int


@dataclass(frozen=True)
class Limit:
    """The newest specification limit of one attribute at one site, in the attribute's unit."""

    site: str
    attribute: str
    low: float | None
    high: float | None
    spec_id: str
    spec_version: str


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


@dataclass(frozen=True)
class Run:
    """One batch among those looked at on the Sensors page, and the moment that its hour 0 is."""

    site: str
    batch_id: str
    zero: datetime

    @property
    def key(self) -> str:
        """The batch in the address of a page."""
        return f"{self.site}/{self.batch_id}"


@dataclass(frozen=True)
class Trace:
    """One channel of one batch as drawn: hours since its hour 0, and values in the quantity's unit.

    A gap in the readings is a None. `bad_hours` are where the source calls a reading anything but good.
    """

    run: Run
    channel: str
    quantity: str
    hours: tuple[float, ...]
    values: tuple[float | None, ...]
    bad_hours: tuple[float, ...] = ()


@dataclass(frozen=True)
class Envelope:
    """What the site's other batches showed, hour by hour: 5th, 50th and 95th percentile and ends of hourly means."""

    quantity: str
    hours: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    n_batches: int


@dataclass(frozen=True)
class Channel:
    """One channel of a batch in numbers; minimum, mean and maximum are of its good readings."""

    channel: str
    quantity: str
    n: int
    n_good: int
    first_at: datetime
    last_at: datetime
    minimum: float | None
    mean: float | None
    maximum: float | None
    usual_step_s: float | None


@dataclass(frozen=True)
class Event:
    """A stretch of a batch's readings to look at: a gap, hours outside the others' range, or a finding of a rule."""

    kind: str
    quantity: str
    channel: str
    from_at: datetime
    to_at: datetime
    from_h: float
    to_h: float
    what: str
    record_id: str | None = None


@dataclass(frozen=True)
class ReadingFile:
    """One file that readings of a batch came from, with its hash and the rows they stand in."""

    feed: str | None
    source_file: str | None
    sha256: str
    first_row: int
    last_row: int
    n: int
    from_at: datetime
    to_at: datetime


@dataclass(frozen=True)
class Feed:
    """One feed of one site: its newest accounting and its files. `lag_h` runs to the fleet's newest file."""

    site: str
    feed: str
    received: int | None
    promoted: int | None
    superseded: int | None
    duplicate: int | None
    quarantined: int | None
    fields_quarantined: int | None
    findings: int | None
    files: int
    files_refused: int
    last_file_at: datetime | None
    lag_h: float | None
    usual_h: float | None

    @property
    def adds_up(self) -> bool:
        """Whether every record received stands in one of the four states."""
        parts = (self.promoted, self.superseded, self.duplicate, self.quarantined)
        return self.received is not None and self.received == sum(p or 0 for p in parts)

    @property
    def late(self) -> bool:
        """Whether its next file is overdue: three of its usual intervals, and more than two days, behind."""
        return (
            self.lag_h is not None and self.usual_h is not None and self.lag_h > max(3 * self.usual_h, 48.0)
        )


@dataclass(frozen=True)
class Held:
    """One record or field that waits in quarantine. `age_h` runs to the fleet's newest file."""

    site: str
    feed: str
    reason_code: str
    subject: str | None
    field_name: str | None
    value_seen: str | None
    value_wanted: str | None
    whole_record: bool
    source_file: str | None
    source_row: int | None
    sha256: str | None
    sent_at: datetime | None
    age_h: float | None
    record_id: str | None


@dataclass(frozen=True)
class Tally:
    """How many entries of one reason a site has, and how old the oldest is."""

    site: str
    reason_code: str
    severity: str | None
    n: int
    oldest_h: float | None


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


@dataclass(frozen=True)
class Readiness:
    """One batch as release sees it: ready, blocked or terminated at `evaluated_at`, and what is followed after it."""

    site: str
    batch_id: str
    order_id: str | None
    attempt_no: int | None
    readiness: str
    n_blockers: int
    blockers: str | None
    spec_id: str | None
    spec_version: str | None
    rule_version: str | None
    evaluated_at: datetime | None
    decision: str | None
    signed_at: datetime | None
    conditional_on: str | None
    let_go_despite: str | None
    tests_wanted: int | None
    tests_done: int | None
    failing_not_blocking: str | None
    changes: int | None
    changes_unexplained: int | None
    oos_path: str | None
    pending_after_release: str | None
    failed_after_release: str | None
    after_release: str | None
    infused_at: datetime | None
    record_id: str
    source_file: str | None
    source_row: int | None

    @property
    def undecided(self) -> bool:
        """Whether a person still has to decide: no decision on record, and not terminated."""
        return self.decision is None and self.readiness != "terminated"


@dataclass(frozen=True)
class Blocker:
    """One thing that blocks a batch at its evaluation, and the row that shows it."""

    site: str
    batch_id: str
    code: str
    subject: str | None
    detail: str | None
    since: datetime | None
    decision: str | None
    evaluated_at: datetime | None
    record_id: str | None
    source_file: str | None
    source_row: int | None


@dataclass(frozen=True)
class Followed:
    """One test that may come after release, followed to its end."""

    site: str
    batch_id: str
    attribute: str
    signed_at: datetime | None
    due_at: datetime | None
    result_at: datetime | None
    outcome: str
    overdue: bool | None
    given_before: bool | None
    record_id: str | None
    source_file: str | None
    source_row: int | None
