"""What the fleet declares in `fleet.yaml`: comparability plan, reference site, deadlines, small cells.

Belongs here: the model of that file, reading it with line numbers, the plan's hash. Does not belong here:
applying it (`warehouse.marts`), what one site declares (its contract).
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from warehouse.dictionary import dictionary
from warehouse.statistics.scales import Margin, Scale, read
from warehouse.yaml_text import parsed

# Milestones of a batch's journey that a deadline may run between: columns of `mart.batch_wide`.
Milestone = Literal[
    "ordered_at",
    "collection_started_at",
    "collection_ended_at",
    "batch_started_at",
    "harvested_at",
    "formulated_at",
    "signed_at",
    "infused_at",
]

# What may be known of a patient and adjusted for: columns of `mart.batch_wide`, and how they enter the model.
COVARIATES: dict[str, Literal["number", "logarithm", "word"]] = {
    "prior_lines": "number",
    "ecog": "number",
    "cd3_collected_e9": "logarithm",
    "bendamustine_180d": "word",
    "ldh_band": "word",
    "indication": "word",
    "sex": "word",
}


# What a patient brings, as numbers of `mart.batch_wide`; nothing that the process can move.
Covariate = Literal[
    "prior_lines", "birth_decade", "ecog", "tnc_e9", "cd3_collected_e9", "cd3_collected_pct", "volume_ml"
]


class PlanError(ValueError):
    """A fleet file that is refused: one line a problem, `file:line: what is wrong; the mend`."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlannedAttribute(_Part):
    """One attribute of the plan. Margins are of the difference site - reference on the analysis scale."""

    title: str = Field(min_length=1, description="As people say it.")
    measured_by: tuple[str, ...] = Field(
        min_length=1,
        description="Attributes of the dictionary that measure it; unlike ones are never pooled.",
    )
    methods: tuple[str, ...] = Field(
        default=(), description="method_ids whose results count; all where none is named."
    )
    sample_point: str = Field(description="Point of the process whose result is judged.")
    scale: Scale = Field(description="Analysis scale.")
    design: Literal["routine", "adjusted"] = Field(
        default="routine",
        description="Which comparison decides: routine lots as they are, or adjusted for `covariates`.",
    )
    covariates: tuple[str, ...] = Field(
        default=(), description="What is known of the patient that the adjusted comparison allows for."
    )
    margin_low: float | None = Field(description="Lower margin on the scale; null: no verdict can be given.")
    margin_high: float | None = Field(description="Upper margin on the scale.")
    reads_as: str | None = Field(default=None, description="The margin in words.")
    sd_ratio_max: float | None = Field(
        default=None,
        gt=1,
        description="Largest ratio of SDs, site to reference, that would not matter; null: spread is not judged.",
    )
    criticality: str = Field(min_length=1, description="What the fleet's risk assessment calls it.")
    rationale: str = Field(min_length=1, description="Why this margin.")

    @field_validator("measured_by")
    @classmethod
    def _measured(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        attributes = dictionary().attributes
        for name in names:
            if name not in attributes:
                raise ValueError(f"{name!r} is no attribute of the dictionary; see docs/data-dictionary.md")
            if attributes[name].type != "float":
                raise ValueError(f"{name!r} is no number; put a qualitative test under `limits_only`")
        return names

    @field_validator("covariates")
    @classmethod
    def _covariates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in COVARIATES:
                raise ValueError(f"{name!r} is no covariate of the patient; use {', '.join(COVARIATES)}")
        return names

    @model_validator(mode="after")
    def _adjusts(self) -> PlannedAttribute:
        if (self.design == "adjusted") != bool(self.covariates):
            raise ValueError("`design: adjusted` and `covariates` go together; give both or neither")
        return self

    @field_validator("sample_point")
    @classmethod
    def _point(cls, point: str) -> str:
        points = dictionary().vocabularies["sample_point"]
        if point not in points:
            raise ValueError(f"{point!r} is no sample point; use one of {', '.join(points)}")
        return point

    @model_validator(mode="after")
    def _margins(self) -> PlannedAttribute:
        if (self.margin_low is None) != (self.margin_high is None):
            raise ValueError("give both margin_low and margin_high, or null for both")
        low, high = self.margin_low, self.margin_high
        if low is not None and high is not None and not low < 0 < high:
            raise ValueError(
                "margins are of the difference on the scale (natural logarithm, log odds), margin_low below "
                "0 and margin_high above, e.g. -0.2231 and 0.2231 for a ratio of 0.8 to 1.25"
            )
        if self.scale == "logit" and any(dictionary().attributes[m].unit != "%" for m in self.measured_by):
            raise ValueError("the logit scale is for percentages; use log for this attribute")
        return self

    @property
    def margin(self) -> Margin | None:
        """Both limits as read (a difference, ratio or odds ratio); None where the plan gives none."""
        if self.margin_low is None or self.margin_high is None:
            return None
        return Margin(read(self.margin_low, self.scale), read(self.margin_high, self.scale))

    @property
    def spread_margin(self) -> Margin | None:
        """Limits of the ratio of SDs: only a noisier site is held back. None where spread is not judged."""
        return None if self.sd_ratio_max is None else Margin(0.0, self.sd_ratio_max)


class Bridging(_Part):
    """A study that showed laboratories to measure alike, so that their results may be compared across sites."""

    study: str = Field(min_length=1, description="Its number in the fleet's own records.")
    sites: tuple[str, ...] = Field(min_length=2, description="site_ids whose laboratories it joined.")
    attributes: tuple[str, ...] = Field(min_length=1, description="Attributes of the plan that it covers.")
    found: str = Field(min_length=1, description="What it found, in one sentence; printed with the verdict.")


class Watch(_Part):
    """Looking at routine lots again and again: how far, and how its error is spent."""

    lots_reference: int = Field(ge=2, description="Reference lots that the watch runs to.")
    lots_site: int = Field(ge=2, description="Lots of a site that it runs to.")
    spending: Literal["obrien-fleming", "pocock"] = Field(
        default="obrien-fleming", description="Lan-DeMets spending function of the error."
    )


class Study(_Part):
    """A split-apheresis study: donors' cells divided between the reference and one site."""

    study: str = Field(min_length=1, description="study_id of its results.")
    site: str = Field(min_length=1, description="Site whose lots stand against the reference's.")
    attributes: tuple[str, ...] = Field(min_length=1, description="Attributes of the plan that it measured.")
    decides: tuple[str, ...] = Field(
        default=(), description="Of these, whose means it decides; the others are shown beside routine lots."
    )
    borrow_history: bool = Field(
        default=False,
        description="Whether historical reference lots may be borrowed where the test of exchangeability allows.",
    )

    @model_validator(mode="after")
    def _measured(self) -> Study:
        for name in self.decides:
            if name not in self.attributes:
                raise ValueError(f"study {self.study} decides {name!r}, which is not among its attributes")
        return self


class Family(_Part):
    """Attributes that are judged together, and what is claimed of them."""

    name: str = Field(min_length=1, description="As people say it.")
    attributes: tuple[str, ...] = Field(min_length=1, description="Attributes of the plan in it.")
    claim: Literal["all", "each"] = Field(
        default="all",
        description="all: comparable where every one is (intersection-union, nothing to adjust); each: single ones may "
        "be called comparable, p-values adjusted.",
    )
    adjustment: Literal["bonferroni", "holm", "hochberg", "hommel", "bh", "by"] = Field(
        default="holm", description="For `each`: how p-values are adjusted."
    )


class Ranges(_Part):
    """Ranges shown beside the verdicts; none of them decides."""

    quality_k: float = Field(default=3.0, gt=0, description="Quality range: reference mean ± this many SDs.")
    quality_share: float = Field(
        default=0.9, gt=0, lt=1, description="Share of a site's lots that must lie inside it."
    )
    coverage: float = Field(
        default=0.95, gt=0, lt=1, description="Share of lots that a tolerance range holds."
    )
    confidence: float = Field(
        default=0.95, gt=0, lt=1, description="Confidence of tolerance and prediction ranges."
    )
    next_lots: int = Field(default=5, ge=2, le=50, description="Next lots that a prediction range is for.")


class Plan(_Part):
    """A version of the comparability plan. `attributes` in the order in which they are shown."""

    id: str = Field(min_length=1)
    version: str = Field(min_length=1, coerce_numbers_to_str=True)
    dated: date = Field(description="Day it was approved.")
    approved_by_role: str = Field(min_length=1)
    basis: str = Field(min_length=1, description="What the margins rest on, in one sentence.")
    attributes: dict[str, PlannedAttribute] = Field(min_length=1)
    limits_only: tuple[str, ...] = Field(
        default=(), description="Attributes judged by limits and never compared."
    )
    shared_laboratories: tuple[str, ...] = Field(
        default=(),
        description="Laboratory names that mean the same place at every site; all others are a site's own.",
    )
    bridging: tuple[Bridging, ...] = Field(default=(), description="Studies that join sites' laboratories.")
    studies: tuple[Study, ...] = Field(default=(), description="Split-apheresis studies.")
    watch: Watch | None = Field(
        default=None,
        description="Looks at each month's lots with the error held over all of them; null: none.",
    )

    families: tuple[Family, ...] = Field(
        default=(), description="Attributes judged together; declared before the data, like the margins."
    )
    ranges: Ranges = Field(default=Ranges(), description="Ranges shown beside the verdicts.")

    @model_validator(mode="after")
    def _bridged(self) -> Plan:
        for f in self.families:
            for name in f.attributes:
                if name not in self.attributes:
                    raise ValueError(f"family {f.name}: {name!r} is no attribute of this plan")
        for b in self.bridging:
            for name in b.attributes:
                if name not in self.attributes:
                    raise ValueError(f"bridging {b.study}: {name!r} is no attribute of this plan")
        for s in self.studies:
            for name in s.attributes:
                if name not in self.attributes:
                    raise ValueError(f"study {s.study}: {name!r} is no attribute of this plan")
        return self

    def study_of(self, attribute: str, site: str) -> Study | None:
        """The split study of an attribute at a site."""
        return next((s for s in self.studies if s.site == site and attribute in s.attributes), None)

    def bridge(self, attribute: str, *sites: str) -> Bridging | None:
        """The study that joined the laboratories of these sites for an attribute."""
        return next(
            (b for b in self.bridging if attribute in b.attributes and set(sites) <= set(b.sites)), None
        )

    @field_validator("limits_only")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in dictionary().attributes:
                raise ValueError(f"{name!r} is no attribute of the dictionary; see docs/data-dictionary.md")
        return names


class Deadline(_Part):
    """An allowed time between two milestones of a batch."""

    begins: Milestone = Field(alias="from")
    ends: Milestone = Field(alias="to")
    hours: float = Field(gt=0)
    severity: Literal["warning", "error"]
    why: str = Field(min_length=1)


class Charts(_Part):
    """What control charts rest on: the declared baseline, and the role that answers for it."""

    dated: date = Field(description="Day on which the baseline was declared.")
    approved_by_role: str = Field(min_length=1, description="Role that declared the baseline; never a name.")
    baseline_batches: int = Field(
        ge=8, description="First batches of each phase (protocol, measured attribute) that limits rest on."
    )
    ewma_weight: float = Field(default=0.2, gt=0, le=1)
    mewma_weight: float = Field(default=0.1, gt=0, le=1)
    cusum_allowance: float = Field(default=0.5, ge=0, description="In standard deviations.")
    cusum_decision: float = Field(default=5.0, gt=0, description="In standard deviations.")
    subgroup_batches: int = Field(
        default=5, ge=2, description="Successive batches of one point of Xbar, S, p and u."
    )
    false_alarms_per_year: float = Field(
        default=4.0, gt=0, description="Allowed over all ringing charts of the fleet."
    )
    rings: tuple[Literal["I", "EWMA", "T2"], ...] = Field(
        default=("I", "EWMA", "T2"), description="Charts whose points outside raise a signal."
    )
    adjusted: dict[str, tuple[Covariate, ...]] = Field(
        default_factory=dict, description="Patient covariates taken out of an attribute before it is judged."
    )
    together: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Correlated attributes charted together, by the name of the chart."
    )
    capability_batches: int = Field(default=30, ge=10, description="Batches of one period of capability.")


class ExcursionLimit(_Part):
    """Where a quantity's readings must stay while cells are in culture."""

    low: float | None = None
    high: float | None = None
    gap_minutes: float = Field(default=130, gt=0, description="A longer gap between readings ends a stretch.")
    shortest_minutes: float = Field(default=30, ge=0, description="What lasted less is left out.")

    @model_validator(mode="after")
    def _sides(self) -> ExcursionLimit:
        if self.low is None and self.high is None:
            raise ValueError("give low, high or both")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        return self


class Trajectories(_Part):
    """What sensor trajectories are held against."""

    dated: date = Field(description="Day on which the good batches were declared.")
    approved_by_role: str = Field(min_length=1, description="Role that declared them; never a name.")
    good_batches: tuple[str, ...] = Field(
        default=(),
        description="batch_ids of the good batches; where none is named, those released without a major deviation.",
    )
    good_until: date | None = Field(
        default=None, description="Batches that started later never enter the path of the good ones."
    )
    good_minimum: int = Field(default=5, ge=3, description="Good batches that a moment of the path needs.")
    bin_hours: float = Field(default=4.0, ge=1, le=24, description="Hours of one roll-up.")
    components: int = Field(default=3, ge=1, description="Principal components of the multiway model.")
    excursions: dict[str, ExcursionLimit] = Field(default_factory=dict)

    @field_validator("excursions")
    @classmethod
    def _channels(cls, limits: dict[str, ExcursionLimit]) -> dict[str, ExcursionLimit]:
        for name in limits:
            if name not in dictionary().channels:
                raise ValueError(f"{name!r} is no channel quantity; see docs/data-dictionary.md")
        return limits


class CustodyLimit(_Part):
    """How material may be kept: temperature at a kind of custody event, hours since the event before."""

    low_c: float | None = Field(default=None, description="Lowest temperature allowed, Cel.")
    high_c: float | None = Field(default=None, description="Highest temperature allowed, Cel.")
    within_hours: float | None = Field(
        default=None, gt=0, description="Hours allowed since the event before."
    )

    @model_validator(mode="after")
    def _order(self) -> CustodyLimit:
        if self.low_c is not None and self.high_c is not None and self.low_c >= self.high_c:
            raise ValueError("low_c must lie below high_c")
        return self


class ReleaseRule(_Part):
    """A version of what the fleet asks for release beside the specification, from a day on."""

    version: str = Field(min_length=1, coerce_numbers_to_str=True)
    effective_from: date = Field(description="Day from which it is in force; the newest such one holds.")
    holding_deviations: tuple[str, ...] = Field(
        default=("major", "critical"),
        description="Classes of deviation that hold a batch while they are open.",
    )
    tests_after_release: tuple[str, ...] = Field(
        default=(),
        description="Attributes whose results may come after release and are followed to their end.",
    )
    due_days: float = Field(default=21.0, gt=0, description="Days after the decision by which they are due.")

    @field_validator("holding_deviations")
    @classmethod
    def _classes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = dictionary().vocabularies["deviation_class"]
        for name in names:
            if name not in known:
                raise ValueError(f"{name!r} is no class of deviation; use one of {', '.join(known)}")
        return names

    @field_validator("tests_after_release")
    @classmethod
    def _tests(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in dictionary().attributes:
                raise ValueError(f"{name!r} is no attribute of the dictionary; see docs/data-dictionary.md")
        return names


class Fleet(_Part):
    """The fleet file."""

    name: str
    reference_site: str = Field(min_length=1, description="Site that every other one is compared with.")
    small_cell_limit: int = Field(default=5, ge=1, description="Smaller counts are not shown across sites.")
    plan: Plan
    charts: Charts | None = Field(default=None, description="Control charts; none are made without it.")
    trajectories: Trajectories | None = Field(
        default=None, description="Good batches and limits of sensor readings; nothing is made without it."
    )
    deadlines: dict[str, Deadline] = Field(default_factory=dict)
    custody: dict[str, CustodyLimit] = Field(
        default_factory=dict, description="Limits by kind of custody event; what has none is not judged."
    )

    release: tuple[ReleaseRule, ...] = Field(
        default=(), description="What release asks for beside the specification, one entry a version."
    )

    @field_validator("custody")
    @classmethod
    def _kinds(cls, limits: dict[str, CustodyLimit]) -> dict[str, CustodyLimit]:
        kinds = dictionary().vocabularies["custody_kind"]
        for kind in limits:
            if kind not in kinds:
                raise ValueError(f"{kind!r} is no kind of custody event; use one of {', '.join(kinds)}")
        return limits

    @model_validator(mode="after")
    def _charted(self) -> Fleet:
        charts = self.charts
        named = (
            [] if charts is None else [*charts.adjusted, *(n for g in charts.together.values() for n in g)]
        )
        for name in named:
            if name not in self.plan.attributes:
                raise ValueError(
                    f"charts: {name!r} is no attribute of the plan; use one of {', '.join(self.plan.attributes)}"
                )
        return self

    @property
    def plan_hash(self) -> str:
        """SHA-256 of plan and reference site: the same however the same plan is written down."""
        return hashlib.sha256(self.plan_text.encode()).hexdigest()

    @property
    def plan_text(self) -> str:
        """Plan and reference site as canonical JSON: what is hashed and locked.

        Defaults are left out, so that a later release's new optional key does not change the hash of a locked plan.
        """
        told = {
            "reference_site": self.reference_site,
            "plan": self.plan.model_dump(mode="json", exclude_defaults=True),
        }
        # The order of attributes is only one of showing.
        return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def load_plan(path: Path) -> Fleet:
    """The fleet's declarations, comparability plan included, from a `fleet.yaml`.

    Raises PlanError with one line a problem: `file:line: what is wrong; the mend`.
    """
    if not path.exists():
        raise PlanError([f"{path}:1: there is no such file; write the fleet's plan there"])
    text = path.read_text("utf-8")
    try:
        tree, document = parsed(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise PlanError([f"{path}:{line}: not YAML: {getattr(error, 'problem', error)}"]) from error
    try:
        return Fleet.model_validate(document)
    except ValidationError as error:
        raise PlanError([_sentence(path, tree, dict(problem)) for problem in error.errors()]) from error


def _sentence(path: Path, tree: yaml.Node | None, problem: dict[str, Any]) -> str:
    place = [str(part) for part in problem["loc"]]
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key; remove it"
    if problem["type"] == "missing":
        message = "is missing; add it"
    return f"{path}:{_line(tree, place)}: {'.'.join(place) or 'fleet.yaml'}: {message}"


def _line(node: yaml.Node | None, place: list[str]) -> int:
    """Line (from 1) of the deepest part of `place` that the YAML tree has."""
    line = node.start_mark.line + 1 if node else 1
    for part in place:
        found: tuple[int, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            found = next(((k.start_mark.line, v) for k, v in node.value if k.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            found = node.value[int(part)].start_mark.line, node.value[int(part)]
        if found is None:
            break
        line, node = found[0] + 1, found[1]
    return line
