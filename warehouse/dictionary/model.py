"""Model of the dictionary, checked when it is read: a field, table or vocabulary that contradicts itself is refused."""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Declared

from warehouse.yaml_text import parsed

HERE = Path(__file__).parent
FieldType = Literal["string", "integer", "float", "boolean", "timestamp", "date", "json"]
Layer = Literal["raw", "core", "quality"]
Privacy = Literal["open", "operational", "pseudonymous", "identifying"]
TECHNICAL = (
    "record_id", "source_system", "source_file", "source_file_sha256", "source_row", "source_version", "sent_at",
    "utc_offset_minutes", "recorded_at", "recorded_by", "supersedes", "reason", "quality_flag", "run_id",
)  # fmt: skip
# A reading is found again by file and row; a text identity for each would outweigh the readings themselves.
TECHNICAL_LARGE = ("source_system", "source_file_sha256", "source_row", "sent_at", "recorded_at", "run_id")
NOT_CONTENT = frozenset({"recorded_at", "run_id"})


class Field(BaseModel):
    """One field. `unit` is UCUM; `digits` are significant digits shown; limits are in `unit`.

    Attributes of one `partition` are the parts of one whole: together they are 100 %.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    type: FieldType
    description: str
    privacy: Privacy
    unit: str | None = None
    digits: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    plausible_minimum: float | None = None
    pattern: str | None = None
    vocabulary: str | None = None
    molar_mass: float | None = None
    attribute: bool = False
    channel: bool = False
    detection_limited: bool = False
    partition: str | None = None
    scale: Literal["identity", "log", "logit"] | None = None


class Table(BaseModel):
    """One table: what a row is, its key, its own fields in order (technical fields are added by `columns`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layer: Layer
    name: str
    row: str
    key: tuple[str, ...]
    fields: tuple[str, ...]
    volume: Literal["small", "large"] = "small"
    essential: tuple[str, ...] = ()
    references: Annotated[dict[str, str], Declared(default_factory=dict)]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns in order: the table's own, then the technical ones."""
        if self.layer != "core":
            return self.fields
        return self.fields + (TECHNICAL_LARGE if self.volume == "large" else TECHNICAL)

    @property
    def required(self) -> tuple[str, ...]:
        """Fields without which a row says nothing: a record that lacks one is set aside whole."""
        return tuple(dict.fromkeys(self.key + self.essential))

    @property
    def qualified(self) -> str:
        """Name with its schema, e.g. `core.batch`."""
        return f"{self.layer}.{self.name}"


class Dictionary(BaseModel):
    """Fields, tables and vocabularies."""

    model_config = ConfigDict(frozen=True)
    fields: dict[str, Field]
    tables: dict[str, Table]
    vocabularies: dict[str, tuple[str, ...]]

    def columns(self, table: str) -> list[Field]:
        """Fields of a table's columns, in order."""
        return [self.fields[name] for name in self.tables[table].columns]

    @cached_property
    def attributes(self) -> dict[str, Field]:
        """Fields that an assay result may be of."""
        return {name: f for name, f in self.fields.items() if f.attribute}

    @cached_property
    def channels(self) -> dict[str, Field]:
        """Fields that a reading may be of."""
        return {name: f for name, f in self.fields.items() if f.channel}


@cache
def dictionary() -> Dictionary:
    """The dictionary as declared in the YAML files beside this module.

    Raises ValueError naming the field or table that contradicts another declaration.
    """
    fields: dict[str, Field] = {}
    for path in sorted((HERE / "fields").glob("*.yaml")):
        for name, declared in parsed(path.read_text("utf-8"))[1].items():
            if name in fields:
                raise ValueError(f"{path.name}: field {name} is declared twice; keep one declaration")
            fields[name] = Field(name=name, **declared)
    words: dict[str, tuple[str, ...]] = {
        name: tuple(values)
        for name, values in parsed((HERE / "vocabularies.yaml").read_text("utf-8"))[1].items()
    }
    words["attribute"] = tuple(name for name, f in fields.items() if f.attribute)
    words["channel"] = tuple(name for name, f in fields.items() if f.channel)
    tables = {
        name: Table(layer=layer, name=name, **{"references": {}, **declared})
        for layer, declared_tables in parsed((HERE / "tables.yaml").read_text("utf-8"))[1].items()
        for name, declared in declared_tables.items()
    }
    _check(fields, tables, words)
    return Dictionary(fields=fields, tables=tables, vocabularies=words)


def _check(fields: dict[str, Field], tables: dict[str, Table], words: dict[str, tuple[str, ...]]) -> None:
    for f in fields.values():
        if f.vocabulary and f.vocabulary not in words:
            raise ValueError(f"field {f.name}: vocabulary {f.vocabulary} is not in vocabularies.yaml")
        if f.partition and not (f.attribute and f.unit == "%"):
            raise ValueError(f"field {f.name}: only attributes in % are parts of a partition")
    for t in tables.values():
        for name in t.columns:
            if name not in fields:
                raise ValueError(f"table {t.name}: field {name} is not declared in fields/*.yaml")
        for name in t.key + t.essential:
            if name not in t.fields:
                raise ValueError(f"table {t.name}: key or essential field {name} is not one of its fields")
        for name, target in t.references.items():
            if name not in t.fields or target not in tables:
                raise ValueError(f"table {t.name}: reference {name} → {target} names no field or no table")
