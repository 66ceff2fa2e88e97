"""SQL that turns a feed's records, as text, into typed rows of a core table, and what is wrong with each.

One pass does both: every row comes out with its typed fields and a list of problems. The same expressions
serve a hundred records and a hundred million. Does not belong here: what happens to rows with problems
(`pipelines/ingest`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.harmonise.contract import Column, Contract, Each, Feed, Mapping, Time
from pipelines.harmonise.moments import instant_sql, local_sql, moment
from pipelines.harmonise.quantities import Quantities
from pipelines.harmonise.sql import PROBLEM, Expression, Problem, Steps, case, ident, listed, text_of
from warehouse.dictionary import Dictionary, Field, Table
from warehouse.dictionary.render import SQL_TYPES, quoted

__all__ = [
    "Compiler", "column_of", "columns_used", "ident", "optional_columns", "split_path", "text_of",
    "version_sql",
]  # fmt: skip
TRUE_WORDS, FALSE_WORDS = ("true", "1", "t"), ("false", "0", "f")
# Fields that others of the same row depend on; they are compiled first, wherever the contract names them.
FIRST = ("attribute", "quantity_name", "method_id")


class Compiler:
    """Compiles one mapping of one feed."""

    def __init__(self, d: Dictionary, contract: Contract, feed: Feed, mapping: Mapping) -> None:
        self.d, self.contract, self.feed, self.mapping = d, contract, feed, mapping
        self.table: Table = d.tables[mapping.table]
        self.steps: Steps
        self.quantities: Quantities
        self.hidden = {*feed.identifying, *feed.free_text}

    def selects(self) -> list[str]:
        """One SELECT over `staged AS s` for each row a record gives, with `problems` and file and row."""
        if self.mapping.each:
            return [self._select(each) for each in self.mapping.each]
        return [self._select(None)]

    def _select(self, each: Each | None) -> str:
        self.steps = Steps()
        self.quantities = Quantities(self.d, self.contract, self.feed, self.steps)
        fields: dict[str, Expression] = {"site_id": Expression(quoted(self.contract.site_id))}
        if each is not None:
            fields |= self._each(each)
        for name, column in self.ordered():
            if name == "result":
                fields |= self._result(column, fields)
            else:
                fields[name] = self._column(name, column, fields)
        typed = ", ".join(
            f"{fields[name].sql if name in fields else self._nothing(name)} AS {ident(name)}"
            for name in self.table.fields
        )
        where = " AND ".join(f"{text_of(c)} = {quoted(v)}" for c, v in self.mapping.where.items()) or "true"
        if each is not None:
            # A result that the record does not print is none; one printed that cannot be read is refused.
            where += f" AND {text_of(each.source)} IS NOT NULL"
        # Source columns are left out: one that bears a field's name would stand in for the field.
        problems, offset = self._problems(fields, each), self._offset()
        rows = self.steps.source(f"SELECT s.* FROM staged AS s WHERE {where}")
        left_out = ", ".join(map(ident, [*sorted(columns_used(self.feed)), *self.steps.aliases]))
        return (
            f"SELECT s.* EXCLUDE ({left_out}), {typed}, {problems} AS problems, "
            f"{offset} AS utc_offset_minutes FROM {rows}"
        )

    def ordered(self) -> list[tuple[str, Column]]:
        """The mapping's columns, those first that others depend on."""
        return sorted(self.mapping.columns.items(), key=lambda item: item[0] not in FIRST)

    def _nothing(self, name: str) -> str:
        return f"CAST(NULL AS {SQL_TYPES[self.d.fields[name].type]})"

    def _problems(self, fields: dict[str, Expression], each: Each | None) -> str:
        found: list[tuple[str, str]] = []
        for name, expression in fields.items():
            # In a wide record each result stands alone: one that fails does not take the others with it.
            essential = name in self.table.required or (
                self.table.name in ("assay_result", "study_result") and name in ("value", "operator")
            )
            whole = essential and each is None
            for p in expression.problems:
                found.append((p.when, p.entry(show=self._may_show(name, p.source), whole=whole)))
            if name in self.table.required and name in self.mapping.columns:
                column = self.mapping.columns[name]
                empty = f"{self._text(column, fields)} IS NULL"
                missing = Problem(empty, "missing_value", _label(column, name), "NULL", "a value")
                found.append((empty, missing.entry(show=False, whole=whole)))
        if not found:
            return f"CAST([] AS {PROBLEM}[])"
        entries = ", ".join(f"CASE WHEN {when} THEN {entry} END" for when, entry in found)
        anything = " OR ".join(f"coalesce({when}, false)" for when, _ in found)
        return (
            f"CASE WHEN {anything} THEN list_filter([{entries}], lambda p: p IS NOT NULL) "
            f"ELSE CAST([] AS {PROBLEM}[]) END"
        )

    def _may_show(self, name: str, source: str) -> bool:
        f = self.d.fields.get(name)
        return source not in self.hidden and f is not None and f.privacy in ("open", "operational")

    def _text(self, column: Column, fields: dict[str, Expression]) -> str:
        """The text that a column stands for, before it is read as a number, a time or a code."""
        text = self.steps.name(self._whole_text(column, fields))
        if column.part is None:
            return text
        return self.steps.name(f"nullif(regexp_extract({text}, {quoted(column.part)}, 1), '')")

    @staticmethod
    def _whole_text(column: Column, fields: dict[str, Expression]) -> str:
        if column.value is not None:
            return quoted(str(column.value))
        if column.template is not None:
            parts = re.split(r"\{([^}]*)\}", column.template)
            pieces = [
                quoted(part)
                if i % 2 == 0
                else f"CAST({fields[part].sql} AS VARCHAR)"
                if part in fields
                else text_of(part)
                for i, part in enumerate(parts)
                if part
            ]
            return f"({' || '.join(pieces)})"
        if column.first is not None:
            return f"coalesce({', '.join(map(text_of, column.first))})"
        if isinstance(column.source, list):
            joined = " || '|' || ".join(f"coalesce({text_of(c)}, '')" for c in column.source)
            return f"nullif({joined}, {quoted('|' * (len(column.source) - 1))})"
        assert column.source is not None
        return text_of(column.source)

    def _column(self, name: str, column: Column, fields: dict[str, Expression]) -> Expression:
        f = self.d.fields[name]
        text, label = self._text(column, fields), _label(column, name)
        if column.codes is not None:
            return self._coded(f, text, label, column.codes)
        if f.type == "float":
            return self.quantities.number(f, column, text, label, fields)
        if column.decade:
            local = self.steps.name(local_sql(text, self._date(column)))
            unread = f"{text} IS NOT NULL AND {local} IS NULL"
            problem = Problem(unread, "time_format", label, text, self._date(column).format)
            return Expression(f"CAST(floor(year({local}) / 10) * 10 AS BIGINT)", [problem])
        if f.type == "timestamp":
            return moment(text, self._time(column), label, self.steps)
        simple = {"integer": self._integer, "boolean": _boolean, "date": self._day, "string": self._string}
        return simple[f.type](f, column, text, label)

    def _integer(self, f: Field, column: Column, text: str, label: str) -> Expression:
        number = self.steps.name(f"TRY_CAST({text} AS DOUBLE)")
        bad = f"{text} IS NOT NULL AND ({number} IS NULL OR {number} <> floor({number}))"
        ranged = self.quantities.outside({f.name: f}, quoted(f.name), number, label, text)
        problems = [Problem(bad, "number_format", label, text, "a whole number"), *ranged]
        return Expression(f"CAST({number} AS BIGINT)", problems)

    def _day(self, f: Field, column: Column, text: str, label: str) -> Expression:
        """A date has no zone: it is taken as printed."""
        local = self.steps.name(local_sql(text, self._date(column)))
        unread = f"{text} IS NOT NULL AND {local} IS NULL"
        problem = Problem(unread, "time_format", label, text, self._date(column).format)
        return Expression(f"CAST({local} AS DATE)", [problem])

    def _string(self, f: Field, column: Column, text: str, label: str) -> Expression:
        problems: list[Problem] = []
        if f.vocabulary and column.value is None:
            words = self.d.vocabularies[f.vocabulary]
            unknown = f"{text} IS NOT NULL AND {text} NOT IN ({listed(words)})"
            problems.append(Problem(unknown, "code_unknown", label, text, ", ".join(words)))
        if f.pattern:
            odd = f"{text} IS NOT NULL AND NOT regexp_full_match({text}, {quoted(f.pattern)})"
            problems.append(Problem(odd, "pattern", label, text, f.pattern))
        return Expression(text, problems)

    def _coded(self, f: Field, text: str, label: str, codes: str) -> Expression:
        words = self.contract.codes[codes]
        literals = {c: quoted(v) if isinstance(v, str) else str(v).lower() for c, v in words.items()}
        sql = self.steps.name(f"CAST({case(text, literals)} AS {SQL_TYPES[f.type]})")
        retired = self.contract.retired.get(codes, [])
        in_use = ", ".join(words)
        problems: list[Problem] = []
        unknown = f"{text} IS NOT NULL AND {sql} IS NULL"
        if retired:
            is_retired = f"{text} IN ({listed(retired)})"
            problems.append(Problem(is_retired, "code_retired", label, text, f"a code in use: {in_use}"))
            unknown += f" AND NOT {is_retired}"
        problems.append(Problem(unknown, "code_unknown", label, text, in_use))
        return Expression(sql, problems)

    def _time(self, column: Column) -> Time:
        return column.time or self.feed.time or self.contract.time

    def _date(self, column: Column) -> Time:
        return column.time or Time(format=self.contract.dates, zone="UTC")

    def _offset(self) -> str:
        """Offset of the record's first time from UTC, at the source, in minutes."""
        if self.table.volume == "large":
            return "CAST(NULL AS BIGINT)"
        for name, column in self.mapping.columns.items():
            if name != "result" and self.d.fields[name].type == "timestamp" and column.value is None:
                text, time = self._text(column, {}), self._time(column)
                utc = f"timezone('UTC', {self.steps.name(instant_sql(text, time))})"
                return f"date_diff('minute', {utc}, {self.steps.name(local_sql(text, time))})"
        return "CAST(NULL AS BIGINT)"

    def _each(self, each: Each) -> dict[str, Expression]:
        column = Column.model_validate({"from": each.source, "unit": each.unit})
        fields = {
            "attribute": Expression(quoted(each.attribute)),
            "method_id": Expression(quoted(each.method_id)),
        }
        return fields | self._result(column, fields)

    def _result(self, column: Column, fields: dict[str, Expression]) -> dict[str, Expression]:
        return self.quantities.result(column, self._text(column, fields), _label(column, "result"), fields)


def _boolean(f: Field, column: Column, text: str, label: str) -> Expression:
    del f, column
    yes, no = listed(TRUE_WORDS), listed(FALSE_WORDS)
    sql = f"CASE WHEN lower({text}) IN ({yes}) THEN true WHEN lower({text}) IN ({no}) THEN false END"
    bad = f"{text} IS NOT NULL AND {sql} IS NULL"
    return Expression(sql, [Problem(bad, "boolean_format", label, text, "true or false")])


def _label(column: Column, name: str) -> str:
    """How a problem names the source: its column or columns."""
    if column.first is not None:
        return "|".join(column.first)
    if isinstance(column.source, list):
        return "|".join(column.source)
    return column.source or name


def version_sql(contract: Contract, feed: Feed) -> str:
    """SQL of the source's own version stamp over `staged AS s`; NULL where it gives none."""
    if feed.version is None:
        return "CAST(NULL AS TIMESTAMPTZ)"
    time = feed.time or contract.time
    return instant_sql(text_of(feed.version), time)


def split_path(name: str) -> tuple[str, str | None]:
    """A source column's name, and the path into the JSON that it holds (`code$.coding[0].code`)."""
    column, mark, path = name.partition("$")
    return (column, f"${path}") if mark and path[:1] in (".", "[") else (name, None)


def column_of(name: str) -> str:
    """The column of the file behind a source name."""
    return split_path(name)[0]


def optional_columns(feed: Feed) -> set[str]:
    """Source names that a file of the feed may lack."""
    alternatives = {s for m in feed.maps for c in m.columns.values() for s in c.first or []}
    each = {e.source for m in feed.maps for e in m.each}
    return alternatives | each | {name for name in columns_used(feed) if column_of(name) in feed.optional}


def columns_used(feed: Feed) -> dict[str, set[str]]:
    """Source columns that the feed's mappings read → names of the fields they fill."""
    used: dict[str, set[str]] = {}
    for column in [feed.record, feed.version]:
        for name in [column] if isinstance(column, str) else column or []:
            used.setdefault(name, set())
    for name in feed.only:
        used.setdefault(name, set())
    for m in feed.maps:
        earlier = {*m.columns, "attribute", "method_id"}
        for name in m.where:
            used.setdefault(name, set())
        for name, c in m.columns.items():
            for source in _sources(c, earlier):
                used.setdefault(source, set()).add(name)
        for e in m.each:
            used.setdefault(e.source, set()).add("value")
    return used


def _sources(c: Column, earlier: set[str]) -> Iterator[str]:
    if isinstance(c.source, str):
        yield c.source
    yield from c.source if isinstance(c.source, list) else []
    yield from c.first or []
    yield from filter(None, (c.unit_from, c.operator_from))
    # A unit or a template may name fields filled before it; these are not read from the file.
    yield from (name for name in c.unit_by or {} if name not in earlier)
    yield from (part for part in re.findall(r"\{([^}]*)\}", c.template or "") if part not in earlier)
