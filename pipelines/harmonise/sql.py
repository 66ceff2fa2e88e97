"""Pieces of SQL that mapping is made of: source columns as text, code tables, expressions with problems.

Does not belong here: what a field, a unit or a time means (`mapping.py`, `quantities.py`, `moments.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from warehouse.dictionary.render import quoted

NAME = re.compile(r's\."(~\d+)"')
CONSTANT = re.compile(r"'[^']*'|[\d.]+|NULL|CAST\(NULL AS \w+\)")
PROBLEM = (
    "STRUCT(reason_code VARCHAR, field_name VARCHAR, value_seen VARCHAR, value_wanted VARCHAR, "
    "whole_record BOOLEAN)"
)

# How a deletion is known again among the lake's records.
MARK = "@deleted"
IS_DELETION = f"json_extract_string(payload, '$.\"{MARK}\"') IS NOT NULL"


@dataclass(frozen=True)
class Problem:
    """Where `when` (SQL condition) holds, the field was refused for `reason`."""

    when: str
    reason: str
    source: str
    seen: str
    wanted: str
    wanted_sql: str | None = None  # where what is wanted depends on the record

    def entry(self, *, show: bool, whole: bool) -> str:
        """SQL of the problem as a struct; the value is left out where it may not be shown."""
        seen = self.seen if show else "NULL"
        wanted = self.wanted_sql or quoted(self.wanted)
        return (
            f"CAST({{'reason_code': {quoted(self.reason)}, 'field_name': {quoted(self.source)}, "
            f"'value_seen': {seen}, 'value_wanted': {wanted}, "
            f"'whole_record': {str(whole).lower()}}} AS {PROBLEM})"
        )


@dataclass
class Expression:
    """A typed SQL expression of one field and what can be wrong with it."""

    sql: str
    problems: list[Problem] = field(default_factory=list)


class Steps:
    """Intermediate columns of one SELECT: each expression is written once and named.

    Copied into all that use them, the expressions of a result with its units are 140 kB of SQL, which DuckDB
    takes 14 s to plan; named, a quarter of a second.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._levels: list[dict[str, str]] = []
        self._level_of: dict[str, int] = {}

    def name(self, sql: str) -> str:
        """A reference to the value of `sql`, which may refer to earlier names and to source columns."""
        if NAME.fullmatch(sql) or CONSTANT.fullmatch(sql):
            return sql
        if sql not in self._names:
            alias = f"~{len(self._names) + 1}"
            level = 1 + max((self._level_of[used] for used in NAME.findall(sql)), default=-1)
            if level == len(self._levels):
                self._levels.append({})
            self._levels[level][alias] = sql
            self._level_of[alias] = level
            self._names[sql] = f's."{alias}"'
        return self._names[sql]

    @property
    def aliases(self) -> list[str]:
        """Names of all intermediate columns."""
        return list(self._level_of)

    def source(self, inner: str) -> str:
        """FROM clause, known as `s`, that adds the intermediate columns to the rows of the SELECT `inner`."""
        for level in self._levels:
            columns = ", ".join(f"{sql} AS {ident(alias)}" for alias, sql in level.items())
            inner = f"SELECT s.*, {columns} FROM ({inner}) AS s"
        return f"({inner}) AS s"


def ident(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_of(column: str) -> str:
    """A source column as trimmed text; blank is NULL."""
    return f"nullif(trim(CAST(s.{ident(column)} AS VARCHAR)), '')"


def listed(words: Iterable[str]) -> str:
    """Literals of an IN list, which matches nothing where there are none."""
    return ", ".join(map(quoted, words)) or "NULL"


def case(text: str, words: dict[str, str]) -> str:
    """CASE over SQL literals; NULL where nothing matches."""
    if not words:
        return "NULL"
    whens = " ".join(f"WHEN {quoted(code)} THEN {value}" for code, value in words.items())
    return f"CASE {text} {whens} END"
