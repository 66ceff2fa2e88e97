"""Runs reference cases against `warehouse.statistics` and says, value by value, what agrees.

Belongs here: reading a folder of cases, calling the adapter registered for a case's method, comparing at the
stated tolerance. Does not belong here: statistics, and knowledge of any single case.

A case is a JSON file {id, title, method, parameters, expected, tolerance{rel, abs}, data_files{name: csv}}.
Adapters live in `methods_*.py` of this package, each with `METHODS: dict[str, Callable[[Case], dict]]` from a
method id to a function that returns the same nested keys as the case's `expected`; a case of several methods
("a, b") gets the answers of all. Adapters compute from
`parameters` and `tables`; they may read from `expected` only what is an input kept there (counts, group
sizes, a level), never a result.

Rules of comparison: |got - want| <= abs + rel * |want|. A key under `published...` holds printed digits,
sometimes worked from unrounded data, so it is compared to one unit of its last digit or 0.2 %, whichever is
wider; an adapter need not repeat it, the value beside it with the same name is used. A text under a key
`column_...` names a column of the case's table that holds the expected values.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np

from warehouse.statistics.refusal import StatisticsRefusal

Status = Literal["ok", "mismatch", "not implemented", "error"]
Adapter = Callable[["Case"], dict[str, Any]]

SHIPPED = Path(__file__).parent / "cases"
REGISTRIES = ("methods_means", "methods_mixed", "methods_monitoring")
PUBLISHED_RELATIVE = 0.002


@dataclass(frozen=True)
class Case:
    """One reference case. `tables` maps a data file's name to its columns, as texts in file order."""

    id: str
    method: str
    parameters: dict[str, Any]
    expected: dict[str, Any]
    tables: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    title: str = ""
    relative: float = 1e-6
    absolute: float = 1e-9

    def table(self, name: str | None = None) -> dict[str, list[str]]:
        """The named table, or the only (else the first) one."""
        if not self.tables:
            raise StatisticsRefusal(f"Case {self.id} has no data file.")
        return self.tables[name] if name is not None else next(iter(self.tables.values()))

    def numbers(self, column: str, table: str | None = None) -> list[float]:
        """A column as numbers; an empty cell or NA is left out."""
        return [float(text) for text in self.table(table)[column] if text not in {"", "NA"}]

    def numeric_columns(self, table: str | None = None) -> list[str]:
        """The columns that hold numbers only (or are empty), in file order."""
        found = []
        for name, texts in self.table(table).items():
            try:
                [float(text) for text in texts if text not in {"", "NA"}]
            except ValueError:
                continue
            found.append(name)
        return found

    def groups(self, value: str, by: str, table: str | None = None) -> dict[str, list[float]]:
        """The values of one column, split by the labels of another, in order of first appearance."""
        found: dict[str, list[float]] = {}
        columns = self.table(table)
        for text, label in zip(columns[value], columns[by], strict=True):
            if text not in {"", "NA"}:
                found.setdefault(label, []).append(float(text))
        return found


@dataclass(frozen=True)
class Check:
    """One expected value beside what our function gave."""

    case: str
    key: str
    got: Any
    want: Any
    tolerance: float
    ok: bool
    status: Status


def methods() -> dict[str, Adapter]:
    """Every registered adapter by method id. A registry that is not installed is simply absent."""
    found: dict[str, Adapter] = {}
    for name in REGISTRIES:
        address = f"{__package__}.{name}"
        if find_spec(address) is not None:
            found.update(import_module(address).METHODS)
    return found


def read_case(path: Path) -> Case:
    """A case from its JSON file and the CSV files it names beside it. Raises ValueError naming the file."""
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        tables: dict[str, dict[str, list[str]]] = {}
        for name, file in (text.get("data_files") or {}).items():
            with (path.parent / file).open(newline="", encoding="utf-8-sig") as handle:
                header, *rows = [row for row in csv.reader(handle) if row]
            tables[name] = {column: [row[i] for row in rows] for i, column in enumerate(header)}
        tolerance = text.get("tolerance") or {}
        return Case(
            id=text["id"],
            method=text["method"],
            # R writes an empty list of parameters as [].
            parameters=text.get("parameters") or {},
            expected=text["expected"],
            tables=tables,
            title=text.get("title", ""),
            relative=float(tolerance.get("rel") or 0.0),
            absolute=float(tolerance.get("abs") or 0.0),
        )
    except (KeyError, IndexError, ValueError, OSError) as error:
        raise ValueError(f"{path.name} is not a readable reference case: {error!r}") from error


def read_cases(folder: Path | None = None) -> list[Case]:
    """Every case of a folder, by file name (None: the shipped ones). Raises ValueError when there is none."""
    where = SHIPPED if folder is None else folder
    paths = sorted(where.glob("*.json"))
    if not paths:
        raise ValueError(f"No reference cases (*.json) in {where}.")
    return [read_case(path) for path in paths]


def _flatten(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flatten(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _flatten(inner, f"{key}[{index}]")
    else:
        yield key, value.item() if isinstance(value, np.generic) else value


def _expected(case: Case) -> dict[str, Any]:
    """The case's expected values, with columns named by `column_...` put in place of their names."""
    expanded = {
        key: case.numbers(value) if key.startswith("column_") and isinstance(value, str) else value
        for key, value in case.expected.items()
    }
    return dict(_flatten(expanded))


def _published(key: str) -> bool:
    return any(part.startswith("published") for part in key.split("."))


def _tolerance(case: Case, key: str, want: float) -> float:
    stated = case.absolute + case.relative * abs(want)
    if not _published(key):
        return stated
    exponent = Decimal(repr(want)).as_tuple().exponent
    unit = 10.0 ** int(exponent) if isinstance(exponent, int) else 0.0
    return max(stated, unit, PUBLISHED_RELATIVE * abs(want))


def _beside(key: str, got: dict[str, Any]) -> str:
    """The key to compare a published value with: its own when the adapter gave it, else its full twin."""
    if key in got:
        return key
    # `published` itself may be a list; otherwise the twin has the same path without the published part.
    parts = [part for part in key.split(".") if not part.startswith("published")]
    return ".".join(parts)


def _check(case: Case, key: str, want: Any, got: dict[str, Any]) -> Check:
    address = _beside(key, got) if _published(key) else key
    numeric = isinstance(want, (int, float)) and not isinstance(want, bool)
    tolerance = _tolerance(case, key, float(want)) if numeric else 0.0
    if address not in got:
        refusal = got.get("refusal")
        if refusal is None:
            return Check(case.id, key, None, want, tolerance, False, "not implemented")
        # A refused input has no value: right where none was expected, an error where one was.
        ok = want is None
        return Check(case.id, key, refusal, want, tolerance, ok, "ok" if ok else "error")
    value = got[address]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not numeric:
        ok = bool(value == want) and isinstance(value, bool) == isinstance(want, bool)
    else:
        ok = isfinite(value) and abs(float(value) - float(want)) <= tolerance
    return Check(case.id, key, value, want, tolerance, ok, "ok" if ok else "mismatch")


def check_case(case: Case, registry: dict[str, Adapter] | None = None) -> list[Check]:
    """One row per expected value. Unknown methods are "not implemented", exceptions "error" with words."""
    known = methods() if registry is None else registry
    wanted = _expected(case)
    adapters = [known.get(name.strip()) for name in case.method.split(",")]
    if None in adapters:
        return [
            Check(case.id, key, None, want, 0.0, False, "not implemented") for key, want in wanted.items()
        ]
    try:
        got = {key: value for adapter in adapters if adapter for key, value in _flatten(adapter(case))}
    except StatisticsRefusal as refusal:
        got = {"refused": True, "refusal": str(refusal)}
    except Exception as error:  # noqa: BLE001 - whatever an adapter does, the other cases still run
        words = f"{type(error).__name__}: {error}"
        return [Check(case.id, key, words, want, 0.0, False, "error") for key, want in wanted.items()]
    return [_check(case, key, want, got) for key, want in wanted.items()]


def verify(cases_dir: Path | None = None) -> list[Check]:
    """Every expected value of every case in `cases_dir` (None: the shipped cases), in file order."""
    registry = methods()
    return [check for case in read_cases(cases_dir) for check in check_case(case, registry)]


def as_json(checks: list[Check]) -> str:
    """The checks as a JSON list of {case, key, got, want, tolerance, ok, status}."""
    rows = [asdict(check) for check in checks]
    for row in rows:
        if isinstance(row["got"], float) and not isfinite(row["got"]):
            row["got"] = str(row["got"])  # JSON has no NaN; the row is a mismatch and says what was given
    return json.dumps(rows, indent=1, allow_nan=False)
