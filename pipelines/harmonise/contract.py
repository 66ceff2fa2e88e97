"""The contract: everything cellfleet knows about one site, as data.

Belongs here: the model of a contract, and reading it with line numbers. Does not belong here: what it must
agree with (`checks.py`), applying it (`mapping.py`), speaking to its systems (`pipelines/connectors`).
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from pipelines.formats.protocol import Options
from pipelines.formats.registry import FORMATS
from pipelines.harmonise.checks import Contradictions, known_zone, problems_of
from pipelines.harmonise.systems import KINDS, Part, System
from warehouse.yaml_text import parsed

TYPE = "pipelines.components.ManufacturingSite"
# Column of an extract that says that a key is gone from its table.
KEY_GONE = "@deleted"
SPAN = re.compile(r"\d+(\.\d+)? (minute|hour|day)s?")
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Time(Part):
    """How times are printed. `zone` is for text without an offset; without it such a time is refused."""

    format: str = Field(description="`iso`, `epoch_ms`, or a strptime pattern such as `%d.%m.%Y %H:%M`.")
    zone: str | None = Field(default=None, description="IANA zone of times printed without an offset.")

    @model_validator(mode="after")
    def _zone_known(self) -> Time:
        if self.zone is not None:
            known_zone(self.zone)
        if self.zone is None and self.format not in ("iso", "epoch_ms") and "%z" not in self.format:
            raise ValueError(f"times in the format {self.format!r} carry no offset: declare their `zone`")
        return self


class Column(Part):
    """Where a field of the dictionary comes from. A plain text stands for `from: that text`.

    A column that holds JSON is followed by a path into it: `code$.coding[0].code`, `identifier$[0].value`.
    """

    source: str | list[str] | None = Field(
        default=None, alias="from", description="Column, or columns joined by `|`."
    )
    first: list[str] | None = Field(
        default=None, description="The first of these columns that has a text; a file may lack any of them."
    )
    value: str | int | float | bool | None = Field(
        default=None, description="The same value for every record."
    )
    template: str | None = Field(
        default=None, description="Text made of columns and earlier fields, `{Probe}/{attribute}`."
    )
    part: str | None = Field(
        default=None, description="Regular expression with one group: the part of the text that is meant."
    )
    codes: str | None = Field(default=None, description="Code map (under `codes`) that translates the text.")
    unit: str | None = Field(default=None, description="Unit printed by the source for this column, in UCUM.")
    unit_from: str | None = Field(
        default=None, description="Column that prints the unit; translated by `units`."
    )
    unit_by: dict[str, str] | None = Field(
        default=None,
        description="`{column or other field of the row: code map}`: the unit follows from its text.",
    )
    operator_from: str | None = Field(
        default=None, description="Column that prints <, = or >; else it is read off the value."
    )
    words: str | None = Field(default=None, description="Code map of a qualitative result's words.")
    time: Time | None = Field(
        default=None, description="How this column prints times, where it differs from the site."
    )
    decade: bool = Field(default=False, description="Keep only the decade of this date (birth dates).")
    patient: bool = Field(
        default=False, description="A record number to be replaced by the site's random patient key."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Column:
        given = [n for n in ("source", "first", "value", "template") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("say where it comes from by exactly one of `from`, `first`, `value`, `template`")
        if self.part is not None and _groups(self.part) != 1:
            raise ValueError(f"`part` {self.part!r} must be a regular expression with exactly one group")
        if sum(u is not None for u in (self.unit, self.unit_from, self.unit_by)) > 1:
            raise ValueError("give the unit once: `unit`, `unit_from` or `unit_by`")
        if self.unit_by is not None and len(self.unit_by) != 1:
            raise ValueError("`unit_by` names exactly one column or field and its code map")
        if self.patient and not isinstance(self.source, str):
            raise ValueError("a record number comes `from` one column")
        return self


def _groups(pattern: str) -> int | None:
    try:
        return re.compile(pattern).groups
    except re.error:
        return None


def _column(value: Any) -> Any:
    return {"from": value} if isinstance(value, str | list) else value


Columns = dict[
    str, Annotated[Column, BeforeValidator(_column, json_schema_input_type=str | list[str] | Column)]
]


class Each(Part):
    """One of several results that a wide record carries."""

    attribute: str
    method_id: str
    source: str = Field(alias="from")
    unit: str


class Mapping(Part):
    """One table that a feed's records fill."""

    table: str
    where: dict[str, str] = Field(
        default_factory=dict, description="Only records whose column has this text."
    )
    columns: Columns
    each: list[Each] = Field(default_factory=list, description="Results of a wide record, one row each.")


class FormatChoice(Options):
    """Format of a feed's files and what is special about their layout."""

    name: str

    @model_validator(mode="after")
    def _format_known(self) -> FormatChoice:
        known = sorted(f.name for f in FORMATS)
        if self.name not in known:
            raise ValueError(f"unknown format {self.name!r}; known: {', '.join(known)}")
        return self


class Feed(Part):
    """One stream of records of a site."""

    system: str
    files: str | None = Field(default=None, description="Glob of the feed's files in the system's folder.")
    members: str | None = Field(
        default=None,
        description="The files are archives (zip, gz): glob of the files inside that are the feed's, e.g. `*.csv`.",
    )
    query_table: str | None = Field(default=None, description="Table of a relational system.")
    modified: str | None = Field(default=None, description="High-water column of a relational table.")
    overlap: str = Field(default="2 days", description="How far below the high water an extract reads again.")
    resources: list[Annotated[str, Field(pattern="^[A-Z][A-Za-z]+$")]] = Field(
        default_factory=list,
        description="Resource types of a FHIR server; records of another type are left out.",
    )
    compare_keys: bool = Field(
        default=False,
        description="Of a relational table: read every key each time; a record whose key is gone was deleted.",
    )
    deleted: dict[str, str] = Field(
        default_factory=dict,
        description="Records whose column has this text say that the source deleted them, e.g. `{IS_DELETED: Y}`.",
    )
    nodes: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Variables of an OPC UA server: browse names from the Objects folder on, joined by `/`; "
        "`*` stands for any part of a name, e.g. `Suite 1/*/Temperature`.",
    )
    batch_variable: str | None = Field(
        default=None,
        description="Browse name of the variable beside each of `nodes` whose history says which batch was running; "
        "its text is the column `batch`. A reading taken while none was running is not taken in.",
    )
    since: str = Field(
        default="1970-01-01",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="First UTC day whose history is read.",
    )
    format: FormatChoice = FormatChoice(name="jsonl")
    only: dict[str, str] = Field(
        default_factory=dict,
        description="Of files with several kinds of records: those whose column has this text.",
    )
    record: str | list[str] = Field(description="Column or columns that identify a record.")
    version: str | None = Field(
        default=None, description="Column whose time says which version of a record is newer."
    )
    day: str | None = Field(
        default=None,
        description="Regular expression with one group: the day in the name, where there is a file a day.",
    )
    late_after: str | None = Field(
        default=None, description="How long after its day a file may come, e.g. `36 hours`."
    )
    accepted: dict[str, Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]] = Field(
        default_factory=dict,
        description="Field or attribute whose values moved for good → day (YYYY-MM-DD) of the first such file: from "
        "then on they are not taken for another unit.",
    )
    identifying: list[str] = Field(
        default_factory=list, description="Columns with direct identifiers; never leave the vault."
    )
    free_text: list[str] = Field(
        default_factory=list,
        description="Columns with free text; never leave the vault, searched for identifiers.",
    )
    ignore: list[str] = Field(
        default_factory=list, description="Further columns that are known and not used."
    )
    optional: list[str] = Field(
        default_factory=list, description="Columns that a file may lack without being set aside."
    )
    time: Time | None = None
    decimal: Literal[".", ","] | None = None
    maps: list[Mapping] = Field(alias="tables", min_length=1)

    @model_validator(mode="after")
    def _readable(self) -> Feed:
        if self.day is not None and _groups(self.day) != 1:
            raise ValueError(f"`day` {self.day!r} must be a regular expression with exactly one group")
        for name, text in (("overlap", self.overlap), ("late_after", self.late_after)):
            if text is not None and not SPAN.fullmatch(text):
                raise ValueError(f"`{name}` {text!r} must be like `36 hours` or `2 days`")
        return self


def marks_of_deletion(feed: Feed) -> dict[str, str]:
    """Column → text by which a record of the feed says that the source deleted it."""
    own = {"fhir": {"deleted": "true"}}.get(feed.format.name, {})
    return own | feed.deleted | ({KEY_GONE: "true"} if feed.compare_keys else {})


class Patients(Part):
    """Where the site keeps its record number → patient key list; at the edge, never in the lake."""

    key_file: str


class Contract(Part):
    """One manufacturing site: who it is, its systems, its words, its feeds."""

    site_id: Identifier
    name: str
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")]
    role: Literal["control", "spoke", "contract_manufacturer", "bench"]
    time_zone: str
    owner: str = Field(pattern=r"^team:[a-z0-9_-]+$|^[^@\s]+@[^@\s]+$")
    starts_on: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="First day with data.")
    deadline: str = Field(
        default="0 7 * * *", description="Cron, in the site's time zone: when last night's data must be in."
    )
    decimal: Literal[".", ","] = "."
    time: Time
    dates: str = Field(
        default="iso", description="How dates without a clock are printed: `iso` or a strptime pattern."
    )
    patients: Patients | None = None
    systems: dict[Identifier, System]
    units: dict[str, str] = Field(default_factory=dict, description="Unit as printed → UCUM.")
    codes: dict[Identifier, dict[str, str | bool | int]] = Field(default_factory=dict)
    retired: dict[Identifier, list[str]] = Field(
        default_factory=dict, description="Codes of a map that the site retired."
    )
    feeds: dict[Identifier, Feed]

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        if problems := problems_of(self):
            raise Contradictions(problems)
        return self

    @cached_property
    def version_hash(self) -> str:
        """Hash of the contract's content: which words were in force."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[
            :12
        ]


class ContractError(ValueError):
    """A contract that is refused: one sentence a problem, with file and line."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(problems))


def load_contract(path: Path) -> Contract:
    """The contract in a `defs.yaml`.

    Raises ContractError with one line a problem: `file:line: what is wrong; the mend`.
    """
    return _read(path, path.read_text("utf-8"))


@lru_cache(maxsize=512)
def _read(path: Path, text: str) -> Contract:
    """`load_contract` of a text; kept, since a run reads each contract several times."""
    try:
        tree, document = parsed(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ContractError(path, [f"{path}:{line}: not YAML: {getattr(error, 'problem', error)}"]) from error
    if (
        tree is None
        or not isinstance(document, dict)
        or document.get("type") != TYPE
        or "attributes" not in document
    ):
        raise ContractError(path, [f"{path}:1: a contract starts with `type: {TYPE}` and has `attributes`"])
    try:
        return Contract.model_validate(document["attributes"])
    except ValidationError as error:
        raise ContractError(path, _sentences(path, tree, document["attributes"], error)) from error


def _sentences(path: Path, tree: yaml.Node, attributes: dict[str, Any], error: ValidationError) -> list[str]:
    sentences: list[str] = []
    for problem in error.errors():
        place = [str(part) for part in problem["loc"]]
        message = problem["msg"].removeprefix("Value error, ")
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, Contradictions):
            for where, text in cause.problems:
                line = line_of(tree, ["attributes", *where])
                sentences.append(f"{path}:{line}: {'.'.join(where)}: {text}")
            continue
        if problem["type"] == "extra_forbidden":
            message = f"unknown key {place[-1]!r}; see docs/contract.md"
        if problem["type"] == "missing":
            message = f"`{place[-1]}` is missing"
        if problem["type"].startswith("union_tag"):
            message = f"`kind` is one of {', '.join(KINDS)}"
        if place[0] == "systems" and len(place) > 2:
            del place[2]  # the kind, which stands in no path of the file
        sentences.append(f"{path}:{line_of(tree, ['attributes', *place])}: {'.'.join(place)}: {message}")
    return sentences


def line_of(node: yaml.Node, place: list[str]) -> int:
    """Line (from 1) of the deepest part of `place` that the YAML tree has."""
    line = node.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node, line = value, key.start_mark.line + 1
                    break
        elif isinstance(node, yaml.SequenceNode):
            step = _step(node, part)
            if step is not None:
                node, line = step, step.start_mark.line + 1
    return line


def _step(node: yaml.SequenceNode, part: str) -> yaml.Node | None:
    if part.isdigit() and int(part) < len(node.value):
        found: yaml.Node = node.value[int(part)]
        return found
    for item in node.value:
        if isinstance(item, yaml.MappingNode) and any(
            k.value == "table" and v.value == part for k, v in item.value
        ):
            return item
    return None
