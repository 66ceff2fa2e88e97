"""Columns of the marts with types, units and descriptions, read from `columns.yaml` and the dictionary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from warehouse.dictionary import Field, dictionary
from warehouse.dictionary.render import described, quoted
from warehouse.yaml_text import parsed

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Mart:
    """A mart: what a row is, its key, its columns in order."""

    name: str
    row: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]

    @property
    def description(self) -> str:
        """What a row is, and its key."""
        return f"{self.row} Key: {', '.join(self.key)}."

    @property
    def columns(self) -> dict[str, str]:
        """Description of each column with its unit, in order."""
        return {f.name: described(f) for f in self.fields}


@cache
def mart_columns() -> dict[str, Mart]:
    """Every mart by name. Raises KeyError where `columns.yaml` names a field that the dictionary lacks."""
    declared = parsed((HERE / "columns.yaml").read_text("utf-8"))[1]
    return {
        name: Mart(
            name, m["row"], tuple(m["key"]), tuple(f for entry in m["columns"] for f in _fields(entry))
        )
        for name, m in declared.items()
    }


def _fields(entry: Any) -> list[Field]:
    if isinstance(entry, list):
        return [dictionary().fields[name] for name in entry]
    if entry == "attributes":
        return attribute_columns()
    if isinstance(entry, str):
        return [dictionary().fields[entry]]
    return [Field(name=name, **{"privacy": "operational", **told}) for name, told in entry.items()]


def attribute_columns() -> list[Field]:
    """One column an attribute of the dictionary, and the operator of those with a limit of detection."""
    columns: list[Field] = []
    for f in dictionary().attributes.values():
        columns.append(f)
        if f.detection_limited:
            told = f"= where {f.name} was measured, < or > where it is a limit of detection that bounds it."
            columns.append(
                Field(
                    name=f"{f.name}_operator",
                    type="string",
                    vocabulary="operator",
                    description=told,
                    privacy=f.privacy,
                )
            )
    return columns


def attribute_sql() -> str:
    """Select list of `batch_wide` that turns rows of one attribute into its columns."""
    lines = []
    for f in dictionary().attributes.values():
        source = "number" if f.type == "float" else "code"
        lines.append(f'max({source}) FILTER (attribute = {quoted(f.name)}) AS "{f.name}"')
        if f.detection_limited:
            lines.append(f'max(sign) FILTER (attribute = {quoted(f.name)}) AS "{f.name}_operator"')
    return ",\n".join("           " + line for line in lines)


def comments(mart: Mart, table: str) -> list[str]:
    """COMMENT statements of a built mart under its qualified name."""
    columns = [f'COMMENT ON COLUMN {table}."{c}" IS {quoted(told)}' for c, told in mart.columns.items()]
    return [f"COMMENT ON TABLE {table} IS {quoted(mart.description)}", *columns]
