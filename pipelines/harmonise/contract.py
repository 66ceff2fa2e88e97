"""The contract: everything cellfleet knows about one site, as data.

Belongs here: the model of a contract, checked against the dictionary, and reading it with line numbers.
Does not belong here: applying it (`mapping.py`), speaking to its systems (`pipelines/connectors`).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipelines.formats.protocol import Options
from pipelines.formats.registry import FORMATS
from pipelines.harmonise.units import InconvertibleError, conversion
from warehouse.dictionary import Field as DictionaryField
from warehouse.dictionary import dictionary

TYPE = "pipelines.components.ManufacturingSite"
SPAN = re.compile(r"\d+(\.\d+)? (minute|hour|day)s?")
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
# The ways a result is told: a number with its operator, a word of a qualitative test.
NAMED = ("low", "high", "reading")  # their unit is that of the attribute or quantity which the row names
RESULT_FIELDS = ("value", "operator", "result_code", "value_as_given", "unit_as_given")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Time(_Part):
    """How times are printed. `zone` applies where the text carries no offset; without it such a time is refused."""

    format: str = Field(description="`iso`, `epoch_ms`, or a strptime pattern such as `%d.%m.%Y %H:%M`.")
    zone: str | None = Field(default=None, description="IANA zone of times printed without an offset.")

    @model_validator(mode="after")
    def _zone_known(self) -> Time:
        if self.zone is not None:
            _zone(self.zone)
        if self.zone is None and self.format not in ("iso", "epoch_ms") and "%z" not in self.format:
            raise ValueError(f"times in the format {self.format!r} carry no offset: declare their `zone`")
        return self


class Column(_Part):
    """Where a field of the dictionary comes from. A plain text stands for `from: that text`.

    A column that holds JSON is followed by a path into it: `code$.coding[0].code`, `identifier$[0].value`.
    """

    source: str | list[str] | None = Field(
        default=None, alias="from", description="Column, or columns joined by `|`."
    )
    first: list[str] | None = Field(
        default=None, description="The first of these columns that has a text; a file may lack any of them."
    )
    value: str | int | float | bool | None = Field(default=None, description="The same value for every record.")
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


Columns = dict[str, Annotated[Column, BeforeValidator(_column)]]


class Each(_Part):
    """One of several results that a wide record carries."""

    attribute: str
    method_id: str
    source: str = Field(alias="from")
    unit: str


class Mapping(_Part):
    """One table that a feed's records fill."""

    table: str
    where: dict[str, str] = Field(default_factory=dict, description="Only records whose column has this text.")
    columns: Columns
    each: list[Each] = Field(default_factory=list, description="Results of a wide record, one row each.")


class System(_Part):
    """A system of the site and how it is reached. Secrets are named (`url_env`), never written."""

    kind: Literal["folder", "relational"]
    path: str | None = Field(default=None, description="Folder or SQLite file, relative to the sources folder.")
    url_env: str | None = Field(default=None, description="Environment variable that holds the database URL.")

    @model_validator(mode="after")
    def _reachable(self) -> System:
        if (self.path is None) == (self.url_env is None):
            raise ValueError("give either `path` or `url_env` (the name of an environment variable)")
        return self


class FormatChoice(Options):
    """Format of a feed's files and what is special about their layout."""

    name: str

    @model_validator(mode="after")
    def _format_known(self) -> FormatChoice:
        known = sorted(f.name for f in FORMATS)
        if self.name not in known:
            raise ValueError(f"unknown format {self.name!r}; known: {', '.join(known)}")
        return self


class Feed(_Part):
    """One stream of records of a site."""

    system: str
    files: str | None = Field(default=None, description="Glob of the feed's files in the system's folder.")
    query_table: str | None = Field(default=None, description="Table of a relational system.")
    modified: str | None = Field(default=None, description="High-water column of a relational table.")
    overlap: str = Field(default="2 days", description="How far below the high water an extract reads again.")
    format: FormatChoice = FormatChoice(name="jsonl")
    only: dict[str, str] = Field(
        default_factory=dict,
        description="Of files that hold several kinds of records: those whose column has this text are this feed's.",
    )
    record: str | list[str] = Field(description="Column or columns that identify a record.")
    version: str | None = Field(
        default=None, description="Column whose time says which version of a record is newer."
    )
    day: str | None = Field(
        default=None,
        description="Regular expression with one group: the day in the file's name, where there is a file a day.",
    )
    late_after: str | None = Field(
        default=None, description="How long after its day a file may come, e.g. `36 hours`."
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


class Patients(_Part):
    """Where the site keeps its record number → patient key list; at the edge, never in the lake."""

    key_file: str


class Contract(_Part):
    """One manufacturing site: who it is, its systems, its words, its feeds."""

    site_id: Identifier
    name: str
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")]
    role: Literal["control", "spoke", "contract_manufacturer"]
    time_zone: str
    owner: str = Field(pattern=r"^team:[a-z0-9_-]+$|^[^@\s]+@[^@\s]+$")
    starts_on: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="First day with data.")
    deadline: str = Field(default="0 7 * * *", description="Cron, in the site's time zone: when last night's data must be in.")
    decimal: Literal[".", ","] = "."
    time: Time
    dates: str = Field(default="iso", description="How dates without a clock are printed: `iso` or a strptime pattern.")
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
        problems = list(problems_of(self))
        if problems:
            raise ValueError("; ".join(f"{'.'.join(path)}: {text}" for path, text in problems))
        return self

    @property
    def version_hash(self) -> str:
        """Hash of the contract's content: which words were in force."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]


def _zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone {name!r}; use an IANA name such as Europe/Berlin") from error


def problems_of(c: Contract) -> list[tuple[tuple[str, ...], str]]:
    """What contradicts the dictionary or the contract itself: (path in the contract, sentence with the mend)."""
    found: list[tuple[tuple[str, ...], str]] = []
    try:
        _zone(c.time_zone)
    except ValueError as error:
        found.append((("time_zone",), str(error)))
    for printed, ucum in c.units.items():
        if problem := _unit_problem(ucum):
            found.append((("units", printed), problem))
    for name in c.retired:
        if name not in c.codes:
            found.append((("retired", name), f"no code map {name!r} under `codes`"))
    for name, feed in c.feeds.items():
        found += [(("feeds", name, *path), text) for path, text in _feed_problems(c, feed)]
    return found


def _unit_problem(ucum: str) -> str | None:
    try:
        conversion(ucum, ucum)
    except InconvertibleError:
        return f"{ucum!r} is not a UCUM unit; write e.g. `[EU]/mL`, `mg/dL`, `%`"
    return None


def _feed_problems(c: Contract, feed: Feed) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str]] = []
    if feed.system not in c.systems:
        found.append((("system",), f"no system {feed.system!r}; declared: {', '.join(c.systems)}"))
    elif c.systems[feed.system].kind == "folder" and feed.files is None:
        found.append((("files",), "a feed of a folder needs `files`, e.g. `results_*.csv`"))
    elif c.systems[feed.system].kind == "relational" and feed.query_table is None:
        found.append((("query_table",), "a feed of a relational system needs `query_table`"))
    for m in feed.maps:
        found += [(("tables", m.table, *path), text) for path, text in _mapping_problems(c, m)]
    return found


def _mapping_problems(c: Contract, m: Mapping) -> list[tuple[tuple[str, ...], str]]:
    d = dictionary()
    table = d.tables.get(m.table)
    if table is None or table.layer != "core":
        known = ", ".join(name for name, t in d.tables.items() if t.layer == "core")
        return [((), f"no table {m.table!r}; tables: {known}")]
    found: list[tuple[tuple[str, ...], str]] = []
    given = set(m.columns) | {"site_id"}
    if "result" in given or m.each:
        given |= set(RESULT_FIELDS)
    if m.each:
        given |= {"attribute", "method_id"}
    for name in table.required:
        if name not in given:
            found.append((("columns",), f"field {name}, without which a row says nothing, has no source"))
    for name, needed in (("result", "attribute"), ("low", "attribute"), ("reading", "quantity_name")):
        if name in m.columns and needed not in given:
            found.append((("columns", name), f"needs {needed}, which gives its unit"))
    for name, column in m.columns.items():
        if name != "result" and name not in table.fields:
            found.append((("columns", name), f"{m.table} has no field {name}; fields: {', '.join(table.fields)}"))
            continue
        found += [(("columns", name), text) for text in _column_problems(c, name, column)]
    for i, each in enumerate(m.each):
        if each.attribute not in d.attributes:
            found.append((("each", str(i)), f"{each.attribute!r} is not an attribute of the dictionary"))
        elif problem := _conversion_problem(each.unit, d.attributes[each.attribute]):
            found.append((("each", str(i)), problem))
    return found


def _column_problems(c: Contract, name: str, column: Column) -> list[str]:
    d = dictionary()
    found: list[str] = []
    f = d.fields.get(name)
    units = next(iter((column.unit_by or {}).values()), None)
    for used in filter(None, (column.codes, column.words, units)):
        if used not in c.codes:
            found.append(f"no code map {used!r} under `codes`")
    for text, ucum in c.codes.get(units or "", {}).items():
        if problem := _unit_problem(str(ucum)):
            found.append(f"code map {units}: {text!r}: {problem}")
    if f is not None and f.vocabulary and column.codes in c.codes:
        words = d.vocabularies[f.vocabulary]
        found += [
            f"code map {column.codes}: {code!r} → {word!r} is not in vocabulary {f.vocabulary} ({', '.join(words)})"
            for code, word in c.codes[column.codes].items()
            if str(word) not in words
        ]
    if f is not None and column.unit is not None and (problem := _conversion_problem(column.unit, f)):
        found.append(problem)
    stated = column.unit or column.unit_from or column.unit_by
    if f is not None and f.type == "float" and not stated and column.value is None:
        if f.unit:
            found.append(f"declare the unit the source prints (`unit: {f.unit}` or another)")
        elif name in NAMED:
            found.append("declare the unit the source prints: `unit`, `unit_from` or `unit_by`")
    if column.patient and c.patients is None:
        found.append("a record number needs `patients: {key_file: …}`")
    if f is not None and f.privacy == "identifying":
        found.append("this field would carry a direct identifier; leave it out")
    return found


def _conversion_problem(unit: str, f: DictionaryField) -> str | None:
    if f.unit is None:
        return _unit_problem(unit)
    try:
        conversion(unit, f.unit, f.molar_mass)
    except InconvertibleError as error:
        return str(error)
    return None


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
    text = path.read_text("utf-8")
    try:
        tree = yaml.compose(text)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ContractError(path, [f"{path}:{line}: not YAML: {getattr(error, 'problem', error)}"]) from error
    if tree is None or not isinstance(document, dict) or document.get("type") != TYPE or "attributes" not in document:
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
        if not place:
            # The model as a whole: each part is `dotted.path: sentence`.
            for part in message.split("; "):
                where, _, text = part.partition(": ")
                sentences.append(f"{path}:{line_of(tree, ['attributes', *where.split('.')])}: {where}: {text}")
            continue
        if problem["type"] == "extra_forbidden":
            message = f"unknown key {place[-1]!r}; see docs/contract.md"
        if problem["type"] == "missing":
            message = f"`{place[-1]}` is missing"
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
        if isinstance(item, yaml.MappingNode) and any(k.value == "table" and v.value == part for k, v in item.value):
            return item
    return None
