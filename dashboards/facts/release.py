"""Batches as release sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
