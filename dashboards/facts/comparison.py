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
    approved_by_role: str | None
    effective_from: datetime | None


@dataclass(frozen=True)
class Range:
    """One range drawn from the lots of a site, in the attribute's unit, and how many of whose lots lie inside."""

    site: str
    range: str
    of_site: str
    measured_as: str
    low: float | None
    high: float | None
    method: str | None
    n: int | None
    n_inside: int | None
    n_judged: int | None
    share_wanted: float | None
    passes: bool | None
    chance_if_same: float | None
    chance_at_margin: float | None
    note: str | None


@dataclass(frozen=True)
class Member:
    """One attribute of a family of the plan at one site: what may be claimed of the family together."""

    site: str
    family: str
    claim: str
    adjustment: str
    attribute: str
    verdict: str
    p_comparable: float | None
    p_adjusted: float | None
    holds: bool | None
    family_verdict: str | None
    sentence: str


@dataclass(frozen=True)
class Together:
    """One site with all sites judged at once: a simultaneous interval, on the analysis scale, and the sites' share."""

    site: str
    scale: str
    sites: int | None
    estimate: float | None
    low: float | None
    high: float | None
    inside: bool | None
    all_inside: bool | None
    all_pairs_inside: bool | None
    site_share: float | None
    site_share_upper: float | None
    wellek_p: float | None
    pooled_estimate: float | None
    pooled_low: float | None
    pooled_high: float | None
    probability_inside: float | None
    pooled_rule_size: float | None
    probability_all_inside: float | None
    note: str | None


@dataclass(frozen=True)
class Look:
    """The verdict as it stood after the lots of one month, at the level that was spent on that look."""

    site: str
    month: date
    fraction: float | None
    nominal: float | None
    n_reference: int | None
    n_site: int | None
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    verdict: str


@dataclass(frozen=True)
class Share:
    """One part of the spread of an attribute over the fleet; `sd` on the analysis scale."""

    measured_as: str
    component: str
    levels: int | None
    sd: float | None
    sd_low: float | None
    sd_high: float | None
    share: float | None
    n_results: int | None
    n_batches: int | None
    method: str | None
    refusal: str | None


@dataclass(frozen=True)
class Analysis:
    """What one analysis says of an attribute at a site; only one of them decides."""

    site: str
    analysis: str
    decides: bool
    scale: str
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    n_reference: int | None
    n_site: int | None
    place: str | None
    probability_inside: float | None
    rule_size: float | None
    note: str | None


@dataclass(frozen=True)
class FailedLots:
    """The share of a site's lots that were terminated or rejected, against the reference's."""

    site: str
    n: int
    n_failed: int
    share: float | None
    difference: float | None
    low: float | None
    high: float | None
    n_deviations: int | None
    rate_ratio: float | None
    rate_low: float | None
    rate_high: float | None
    method: str | None


@dataclass(frozen=True)
class BelowDetection:
    """The level of an attribute with results below detection at one site, never by half the limit."""

    attribute: str
    site: str
    unit: str | None
    n: int
    n_below: int
    highest_limit: float | None
    mle_median: float | None
    ros_mean: float | None
    km_mean: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    note: str | None


@dataclass(frozen=True)
class Pull:
    """One lot or donor that pulls most on a verdict's estimate: the comparison without it.

    `unit_site` is the site whose batch it is; None for a donor.
    """

    site: str
    unit_left_out: str
    unit_site: str | None
    shift_in_se: float | None
    place_without: str | None
    changes_place: bool | None
    note: str | None
