"""SQL that turns a feed's records, as text, into typed rows of a core table, and says what is wrong with each.

One pass does both: every row comes out with its typed fields and a list of problems. The same expressions serve a
hundred records and a hundred million. Does not belong here: what happens to rows with problems (`pipelines/ingest`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipelines.harmonise.contract import Column, Contract, Each, Feed, Mapping, Time
from pipelines.harmonise.units import Inconvertible, conversion
from warehouse.dictionary import Dictionary, Field, Table
from warehouse.dictionary.render import SQL_TYPES, quoted

OFFSET = r"(Z|[+-]\d{2}:?\d{2})$"
PROBLEM = "STRUCT(reason_code VARCHAR, field_name VARCHAR, value_seen VARCHAR, value_wanted VARCHAR, whole_record BOOLEAN)"
TRUE_WORDS, FALSE_WORDS = ("true", "1", "t"), ("false", "0", "f")


@dataclass(frozen=True)
class Problem:
    """`when` (SQL condition) it holds, the field was refused for `reason`."""

    when: str
    reason: str
    source: str
    seen: str
    wanted: str


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


def case(text: str, words: dict[str, str]) -> str:
    """CASE over SQL literals; NULL where nothing matches."""
    if not words:
        return "NULL"
    whens = " ".join(f"WHEN {quoted(code)} THEN {value}" for code, value in words.items())
    return f"CASE {text} {whens} END"


class Compiler:
    """Compiles one mapping of one feed. `sources` are the columns that the staged records have."""

    def __init__(self, d: Dictionary, contract: Contract, feed: Feed, mapping: Mapping) -> None:
        self.d, self.contract, self.feed, self.mapping = d, contract, feed, mapping
        self.table: Table = d.tables[mapping.table]
        self.decimal = feed.decimal or contract.decimal
        self.hidden = {*feed.identifying, *feed.free_text}

    def selects(self) -> list[str]:
        """One SELECT over `staged AS s` for each row a record gives, with `problems` and the technical inputs."""
        return [self._select(each) for each in self.mapping.each or [None]]

    def _select(self, each: Each | None) -> str:
        fields: dict[str, Expression] = {"site_id": Expression(quoted(self.contract.site_id))}
        if each is not None:
            fields |= self._each(each)
        for name, column in self.mapping.columns.items():
            if name == "result":
                fields |= self._result(column, fields)
            else:
                fields[name] = self._column(name, column, fields)
        typed = [
            f"{fields[name].sql if name in fields else f'CAST(NULL AS {SQL_TYPES[self.d.fields[name].type]})'} AS {ident(name)}"
            for name in self.table.fields
        ]
        where = " AND ".join(f"{text_of(c)} = {quoted(v)}" for c, v in self.mapping.where.items()) or "true"
        if each is not None:
            # A result that the record does not print is no result; one that it prints and cannot be read is refused.
            where += f" AND {text_of(each.source)} IS NOT NULL"
        return (
            f"SELECT s.*, {', '.join(typed)}, {self._problems(fields, each)} AS problems, "
            f"{self._offset()} AS utc_offset_minutes FROM staged AS s WHERE {where}"
        )

    def _problems(self, fields: dict[str, Expression], each: Each | None) -> str:
        entries: list[tuple[str, str]] = []
        for name, expression in fields.items():
            # In a wide record each result stands alone: one that fails does not take the others with it.
            whole = name in self.table.required and each is None
            whole = whole or (each is None and self.table.name == "assay_result" and name in ("value", "operator"))
            for p in expression.problems:
                seen = p.seen if self._may_show(name, p.source) else "NULL"
                entries.append((p.when, self._entry(p, seen, whole)))
            if name in self.table.required and name in self.mapping.columns:
                column = self.mapping.columns[name]
                empty = self._text(column, fields)
                entries.append((f"{empty} IS NULL", self._entry(Problem("", "missing_value", _label(column, name), "NULL", "a value"), "NULL", whole)))
        if not entries:
            return f"CAST([] AS {PROBLEM}[])"
        listed = ", ".join(f"CASE WHEN {when} THEN {entry} END" for when, entry in entries)
        anything = " OR ".join(f"coalesce({when}, false)" for when, _ in entries)
        return f"CASE WHEN {anything} THEN list_filter([{listed}], lambda p: p IS NOT NULL) ELSE CAST([] AS {PROBLEM}[]) END"

    @staticmethod
    def _entry(p: Problem, seen: str, whole: bool) -> str:
        return (
            f"CAST({{'reason_code': {quoted(p.reason)}, 'field_name': {quoted(p.source)}, 'value_seen': {seen}, "
            f"'value_wanted': {quoted(p.wanted)}, 'whole_record': {str(whole).lower()}}} AS {PROBLEM})"
        )

    def _may_show(self, name: str, source: str) -> bool:
        f = self.d.fields.get(name)
        return source not in self.hidden and f is not None and f.privacy in ("open", "operational")

    def _text(self, column: Column, fields: dict[str, Expression]) -> str:
        if column.value is not None:
            return quoted(str(column.value))
        if column.template is not None:
            parts = re.split(r"\{([^}]*)\}", column.template)
            pieces = [
                quoted(part) if i % 2 == 0 else f"CAST({fields[part].sql} AS VARCHAR)" if part in fields else text_of(part)
                for i, part in enumerate(parts)
                if part
            ]
            return " || ".join(pieces)
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
            return self._number(f, column, text, label, fields)
        if f.type == "integer":
            number = f"TRY_CAST({text} AS DOUBLE)"
            if column.decade:
                moment = self._moment(text, column, label)
                return Expression(f"CAST(floor(year({moment.sql}) / 10) * 10 AS BIGINT)", moment.problems)
            bad = f"{text} IS NOT NULL AND ({number} IS NULL OR {number} <> floor({number}))"
            return Expression(f"CAST({number} AS BIGINT)", [Problem(bad, "number_format", label, text, "a whole number"), *self._range(f, number, label, text)])
        if f.type == "boolean":
            yes, no = (", ".join(map(quoted, words)) for words in (TRUE_WORDS, FALSE_WORDS))
            sql = f"CASE WHEN lower({text}) IN ({yes}) THEN true WHEN lower({text}) IN ({no}) THEN false END"
            return Expression(sql, [Problem(f"{text} IS NOT NULL AND {sql} IS NULL", "boolean_format", label, text, "true or false")])
        if f.type in ("timestamp", "date"):
            moment = self._moment(text, column, label)
            if f.type == "date":
                # A date has no zone: take it as printed.
                return Expression(f"CAST({self._local(text, self._time(column))} AS DATE)", moment.problems[:1])
            return moment
        problems: list[Problem] = []
        if f.vocabulary and column.value is None:
            words = self.d.vocabularies[f.vocabulary]
            listed = ", ".join(map(quoted, words))
            problems.append(Problem(f"{text} IS NOT NULL AND {text} NOT IN ({listed})", "code_unknown", label, text, ", ".join(words)))
        if f.pattern:
            problems.append(Problem(f"{text} IS NOT NULL AND NOT regexp_full_match({text}, {quoted(f.pattern)})", "pattern", label, text, f.pattern))
        return Expression(text, problems)

    def _coded(self, f: Field, text: str, label: str, codes: str) -> Expression:
        words = {c: v for c, v in self.contract.codes[codes].items()}
        literals = {c: quoted(v) if isinstance(v, str) else str(v).lower() for c, v in words.items()}
        sql = f"CAST({case(text, literals)} AS {SQL_TYPES[f.type]})"
        retired = self.contract.retired.get(codes, [])
        problems: list[Problem] = []
        unknown = f"{text} IS NOT NULL AND {case(text, literals)} IS NULL"
        if retired:
            is_retired = f"{text} IN ({', '.join(map(quoted, retired))})"
            problems.append(Problem(is_retired, "code_retired", label, text, "a code in use: " + ", ".join(words)))
            unknown += f" AND NOT {is_retired}"
        problems.append(Problem(unknown, "code_unknown", label, text, ", ".join(words)))
        return Expression(sql, problems)

    def plain_number(self, text: str) -> str:
        """A printed number as DOUBLE; NULL where it is not one in the declared decimal mark."""
        if self.decimal == ",":
            return f"CASE WHEN NOT contains({text}, '.') THEN TRY_CAST(replace({text}, ',', '.') AS DOUBLE) END"
        return f"TRY_CAST({text} AS DOUBLE)"

    def _number(self, f: Field, column: Column, text: str, label: str, fields: dict[str, Expression]) -> Expression:
        number = self.plain_number(text)
        problems = [Problem(f"{text} IS NOT NULL AND ({number} IS NULL OR NOT isfinite({number}))", "number_format", label, text, f"a number with decimal mark {self.decimal}")]
        target = "NULL"
        if f.name == "reading":
            target = fields["quantity_name"].sql
        factor, offset, unit_problems = self._factor(f, column, target, label)
        value = f"({number} * {factor} + {offset})" if offset != "0.0" else f"({number} * {factor})" if factor != "1.0" else number
        problems += unit_problems
        if f.name == "reading":
            problems += self._range_by(self.d.channels, target, value, label, text)
        else:
            problems += self._range(f, value, label, text)
        return Expression(value, problems)

    def _factor(self, f: Field, column: Column, target: str, label: str) -> tuple[str, str, list[Problem]]:
        """SQL of factor and offset to the field's unit, or to the unit of the quantity or attribute in `target`."""
        if column.unit is not None and f.unit is not None:
            c = conversion(column.unit, f.unit, f.molar_mass)
            return str(c.factor), str(c.offset), []
        targets = self.d.channels if f.name == "reading" else self.d.attributes if f.name == "value" else {}
        if column.unit is None and column.unit_from is None and column.unit_by is None:
            return "1.0", "0.0", []
        if not targets:
            targets = {f.name: f}
            target = quoted(f.name)
        printed, units, source = self._unit(column)
        rows: dict[str, tuple[str, str]] = {}
        for text, ucum in units.items():
            for name, t in targets.items():
                if t.unit is None:
                    continue
                try:
                    c = conversion(ucum, t.unit, t.molar_mass)
                except Inconvertible:
                    continue
                rows[f"{name}|{text}"] = (str(c.factor), str(c.offset))
        key = f"{target} || '|' || {printed}"
        factor = case(key, {k: v[0] for k, v in rows.items()})
        offset = case(key, {k: v[1] for k, v in rows.items() if v[1] != "0.0"})
        declared = ", ".join(map(quoted, units)) or "NULL"
        numeric = f"{target} IN ({', '.join(quoted(n) for n, t in targets.items() if t.type == 'float')})"
        problems = [
            Problem(f"{numeric} AND ({printed} IS NULL OR {printed} NOT IN ({declared}))", "unit_not_declared", source, printed, ", ".join(units)),
            Problem(f"{numeric} AND {printed} IN ({declared}) AND ({factor}) IS NULL", "unit_not_convertible", source, printed, f"a unit of the quantity in {label}"),
        ]
        return f"({factor})", f"coalesce({offset}, 0.0)" if any(v[1] != "0.0" for v in rows.values()) else "0.0", problems

    def _unit(self, column: Column) -> tuple[str, dict[str, str], str]:
        """(SQL of the printed unit or of the text it follows from, printed → UCUM, column name)."""
        if column.unit_by is not None:
            source, codes = next(iter(column.unit_by.items()))
            return text_of(source), {k: str(v) for k, v in self.contract.codes[codes].items()}, source
        if column.unit_from is not None:
            return text_of(column.unit_from), dict(self.contract.units), column.unit_from
        assert column.unit is not None
        return quoted(column.unit), {column.unit: column.unit}, "unit"

    def _range(self, f: Field, value: str, label: str, text: str) -> list[Problem]:
        return self._range_by({f.name: f}, quoted(f.name), value, label, text) if f.minimum is not None or f.maximum is not None else []

    def _range_by(self, fields: dict[str, Field], target: str, value: str, label: str, text: str) -> list[Problem]:
        low = case(target, {n: str(float(f.minimum)) for n, f in fields.items() if f.minimum is not None})
        high = case(target, {n: str(float(f.maximum)) for n, f in fields.items() if f.maximum is not None})
        wanted = "; ".join(f"{n} {f.minimum:g} to {f.maximum:g}" for n, f in fields.items() if f.minimum is not None and f.maximum is not None)
        return [Problem(f"{value} < {low} OR {value} > {high}", "out_of_range", label, text, wanted)]

    def _time(self, column: Column) -> Time:
        return column.time or self.feed.time or self.contract.time

    @staticmethod
    def _local(text: str, time: Time) -> str:
        """The moment as printed, without its offset (TIMESTAMP)."""
        if time.format == "iso":
            return f"TRY_CAST(regexp_replace({text}, {quoted(OFFSET)}, '') AS TIMESTAMP)"
        if time.format == "epoch_ms":
            return f"make_timestamp(TRY_CAST({text} AS BIGINT) * 1000)"
        return f"try_strptime({text}, {quoted(time.format)})"

    def _moment(self, text: str, column: Column, label: str) -> Expression:
        """An instant. A local time that occurs twice or never is refused, never guessed."""
        time = self._time(column)
        local = self._local(text, time)
        unread = Problem(f"{text} IS NOT NULL AND {local} IS NULL", "time_format", label, text, time.format)
        if time.format == "epoch_ms":
            return Expression(f"timezone('UTC', {local})", [unread])
        stamped = f"regexp_matches({text}, {quoted(OFFSET)})"
        if time.zone is None:
            naive = Problem(f"{text} IS NOT NULL AND {local} IS NOT NULL AND NOT {stamped}", "zone_missing", label, text, "a time with its offset, or `zone` in the contract")
            return Expression(f"CASE WHEN {stamped} THEN TRY_CAST({text} AS TIMESTAMPTZ) END", [unread, naive])
        zone = quoted(time.zone)
        if time.zone == "UTC":
            plain = f"timezone('UTC', {local})"
            return Expression(f"CASE WHEN {stamped} THEN TRY_CAST({text} AS TIMESTAMPTZ) ELSE {plain} END" if time.format == "iso" else plain, [unread])
        instant = f"timezone({zone}, {local})"
        bare = f"NOT {stamped} AND " if time.format == "iso" else ""
        never = Problem(f"{bare}timezone({zone}, {instant}) <> {local}", "nonexistent_local_time", label, text, f"a time that exists in {time.zone}")
        twice = Problem(
            f"{bare}(timezone({zone}, {instant} + INTERVAL 1 HOUR) = {local} OR timezone({zone}, {instant} - INTERVAL 1 HOUR) = {local})",
            "ambiguous_local_time", label, text, f"an offset: this hour occurs twice in {time.zone}",
        )  # fmt: skip
        sql = f"CASE WHEN {stamped} THEN TRY_CAST({text} AS TIMESTAMPTZ) ELSE {instant} END" if time.format == "iso" else instant
        return Expression(sql, [unread, never, twice])

    def _offset(self) -> str:
        """Offset of the record's first time from UTC, at the source, in minutes."""
        if self.table.volume == "large":
            return "CAST(NULL AS BIGINT)"
        for name, column in self.mapping.columns.items():
            if name != "result" and self.d.fields[name].type == "timestamp" and isinstance(column.source, str):
                text = text_of(column.source)
                instant = self._moment(text, column, name).sql
                return f"date_diff('minute', timezone('UTC', {instant}), {self._local(text, self._time(column))})"
        return "CAST(NULL AS BIGINT)"

    def _each(self, each: Each) -> dict[str, Expression]:
        column = Column.model_validate({"from": each.source, "unit": each.unit})
        fields = {"attribute": Expression(quoted(each.attribute)), "method_id": Expression(quoted(each.method_id))}
        return fields | self._result(column, fields)

    def _result(self, column: Column, fields: dict[str, Expression]) -> dict[str, Expression]:
        """value, operator, result_code and both as given, from one printed result."""
        text, label = self._text(column, fields), _label(column, "result")
        attribute = fields["attribute"].sql
        numeric = f"{attribute} IN ({', '.join(quoted(n) for n, f in self.d.attributes.items() if f.type == 'float')})"
        bare = f"trim(regexp_replace({text}, '^[<>=]+', ''))"
        number = self.plain_number(bare)
        marked = text_of(column.operator_from) if column.operator_from else f"left({text}, 1)"
        operator = f"CASE WHEN {marked} = '<' THEN '<' WHEN {marked} = '>' THEN '>' WHEN {numeric} THEN '=' END"
        factor, offset, unit_problems = self._factor(self.d.fields["value"], column, attribute, label)
        value = f"CASE WHEN {numeric} THEN {number} * {factor} + {offset} END"
        words = {c: quoted(str(v)) for c, v in self.contract.codes.get(column.words or "", {}).items()}
        code = f"CASE WHEN NOT ({numeric}) THEN {case(text, words)} END"
        limited = ", ".join(quoted(n) for n, f in self.d.attributes.items() if f.detection_limited)
        implausible = case(attribute, {n: str(f.plausible_minimum) for n, f in self.d.attributes.items() if f.plausible_minimum})
        problems = [
            Problem(f"{text} IS NULL", "missing_value", label, "NULL", "a result"),
            Problem(f"{numeric} AND {text} IS NOT NULL AND ({number} IS NULL OR NOT isfinite({number}))", "number_format", label, text, f"a number with decimal mark {self.decimal}, or < or > before one"),
            Problem(f"{attribute} IN ({limited}) AND {number} = 0", "zero_below_detection", label, text, "the limit with its operator, e.g. <0.05"),
            Problem(f"({operator}) = '=' AND ({value}) > 0 AND ({value}) < {implausible}", "unit_implausible", label, text, "a value in the printed unit; this looks like a fraction"),
            *unit_problems,
            *self._range_by({n: f for n, f in self.d.attributes.items() if f.type == "float"}, attribute, f"({value})", label, text),
        ]  # fmt: skip
        unknown = [Problem(f"NOT ({numeric}) AND {text} IS NOT NULL AND {case(text, words)} IS NULL", "code_unknown", label, text, ", ".join(words))]
        printed = self._unit(column)[0] if column.unit or column.unit_from or column.unit_by else "CAST(NULL AS VARCHAR)"
        return {
            "value": Expression(value, problems + unknown),
            "operator": Expression(operator),
            "result_code": Expression(code),
            "value_as_given": Expression(text),
            "unit_as_given": Expression(printed),
        }


def _label(column: Column, name: str) -> str:
    if isinstance(column.source, list):
        return "|".join(column.source)
    return column.source or name


def columns_used(feed: Feed) -> dict[str, set[str]]:
    """Source columns that the feed's mappings read → names of the fields they fill."""
    used: dict[str, set[str]] = {}
    for column in [feed.record, feed.version]:
        for name in [column] if isinstance(column, str) else column or []:
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
    yield from filter(None, (c.unit_from, c.operator_from))
    yield from c.unit_by or {}
    # A template names columns and fields filled before it; the latter are not read from the file.
    yield from (part for part in re.findall(r"\{([^}]*)\}", c.template or "") if part not in earlier)
