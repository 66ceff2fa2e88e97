"""Pieces of SQL that mapping is made of: source columns as text, code tables, typed expressions with their problems.

Does not belong here: what a field, a unit or a time means (`mapping.py`, `quantities.py`, `moments.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from warehouse.dictionary.render import quoted

PROBLEM = (
    "STRUCT(reason_code VARCHAR, field_name VARCHAR, value_seen VARCHAR, value_wanted VARCHAR, "
    "whole_record BOOLEAN)"
)


@dataclass(frozen=True)
class Problem:
    """Where `when` (SQL condition) holds, the field was refused for `reason`."""

    when: str
    reason: str
    source: str
    seen: str
    wanted: str

    def entry(self, *, show: bool, whole: bool) -> str:
        """SQL of the problem as a struct; the value is left out where it may not be shown."""
        seen = self.seen if show else "NULL"
        return (
            f"CAST({{'reason_code': {quoted(self.reason)}, 'field_name': {quoted(self.source)}, "
            f"'value_seen': {seen}, 'value_wanted': {quoted(self.wanted)}, "
            f"'whole_record': {str(whole).lower()}}} AS {PROBLEM})"
        )


@dataclass
class Expression:
    """A typed SQL expression of one field and what can be wrong with it."""

    sql: str
    problems: list[Problem] = field(default_factory=list)


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
