"""Printed numbers into the dictionary's units: decimal marks, factors, ranges, censored and coded results.

Belongs here: SQL of numbers and of results. Does not belong here: other fields (`mapping.py`), what a
unit is (`units.py`).
"""

from __future__ import annotations

from pipelines.harmonise.contract import Column, Contract, Feed
from pipelines.harmonise.sql import Expression, Problem, Steps, case, listed, text_of
from pipelines.harmonise.units import InconvertibleError, conversion
from warehouse.dictionary import Dictionary, Field
from warehouse.dictionary.render import quoted

# Fields whose unit is that of the attribute or quantity which the row names, and the field that names it.
NAMED_BY = {
    **dict.fromkeys(("value", "low", "high", "lod", "loq", "validated_low", "validated_high"), "attribute"),
    "reading": "quantity_name",
}


class Quantities:
    """Numbers and results of one feed of a site."""

    def __init__(self, d: Dictionary, contract: Contract, feed: Feed, steps: Steps) -> None:
        self.d, self.contract, self.steps = d, contract, steps
        self.decimal = feed.decimal or contract.decimal

    def plain(self, text: str) -> str:
        """A printed number as DOUBLE; NULL where it is not one in the declared decimal mark."""
        if self.decimal == ",":
            return (
                f"CASE WHEN NOT contains({text}, '.') THEN TRY_CAST(replace({text}, ',', '.') AS DOUBLE) END"
            )
        return f"TRY_CAST({text} AS DOUBLE)"

    def number(
        self, f: Field, column: Column, text: str, label: str, fields: dict[str, Expression]
    ) -> Expression:
        """A number in the unit of its field, or of the attribute or quantity that the row names."""
        number = self.steps.name(self.plain(text))
        wanted = f"a number with decimal mark {self.decimal}"
        bad = f"{text} IS NOT NULL AND ({number} IS NULL OR NOT isfinite({number}))"
        problems = [Problem(bad, "number_format", label, text, wanted)]
        factor, offset, unit_problems = self.factor(f, column, label, fields)
        if factor != "1.0":
            number = f"{number} * {factor}"
        value = self.steps.name(f"{number} + {offset}" if offset != "0.0" else number)
        ranged = {f.name: f} if f.name != "reading" else self.d.channels
        target = quoted(f.name) if f.name != "reading" else fields["quantity_name"].sql
        return Expression(
            value, [*problems, *unit_problems, *self.outside(ranged, target, value, label, text)]
        )

    def outside(
        self, fields: dict[str, Field], target: str, value: str, label: str, text: str
    ) -> list[Problem]:
        """What lies outside the range of the field that `target` (SQL) names."""
        limited = {n: f for n, f in fields.items() if f.minimum is not None or f.maximum is not None}
        if not limited:
            return []
        low, high = self.limits(fields, target)
        wanted = case(target, {n: quoted(_range(f)) for n, f in limited.items()})
        beyond = f"({value} < {low} OR {value} > {high})"
        return [Problem(beyond, "out_of_range", label, text, "", wanted_sql=wanted)]

    @staticmethod
    def limits(fields: dict[str, Field], target: str) -> tuple[str, str]:
        """SQL of the least and the greatest value of the field that `target` (SQL) names; NULL where it has none."""
        low = case(target, {n: str(float(f.minimum)) for n, f in fields.items() if f.minimum is not None})
        high = case(target, {n: str(float(f.maximum)) for n, f in fields.items() if f.maximum is not None})
        return low, high

    def result(
        self, column: Column, text: str, label: str, fields: dict[str, Expression]
    ) -> dict[str, Expression]:
        """value, operator, result_code and both as given, from one printed result.

        A result below or above a limit keeps its operator and the limit; it never becomes 0 or half of it.
        """
        attribute = fields["attribute"].sql
        floats = {n: f for n, f in self.d.attributes.items() if f.type == "float"}
        numeric = self.steps.name(f"{attribute} IN ({listed(floats)})")
        number = self.steps.name(self.plain(self.steps.name(f"trim(regexp_replace({text}, '^[<>=]+', ''))")))
        marked = text_of(column.operator_from) if column.operator_from else f"left({text}, 1)"
        signs = "WHEN '<' THEN '<' WHEN '>' THEN '>'"
        operator = self.steps.name(f"CASE WHEN {numeric} THEN CASE {marked} {signs} ELSE '=' END END")
        factor, offset, unit_problems = self.factor(self.d.fields["value"], column, label, fields)
        value = self.steps.name(f"CASE WHEN {numeric} THEN {number} * {factor} + {offset} END")
        words = {c: quoted(str(v)) for c, v in self.contract.codes.get(column.words or "", {}).items()}
        code = self.steps.name(f"CASE WHEN NOT {numeric} THEN {case(text, words)} END")
        limited = listed(n for n, f in floats.items() if f.detection_limited)
        least = {n: str(f.plausible_minimum) for n, f in floats.items() if f.plausible_minimum}
        implausible = f"{operator} = '=' AND {value} > 0 AND {value} < {case(attribute, least)}"
        unread = f"{numeric} AND {text} IS NOT NULL AND ({number} IS NULL OR NOT isfinite({number}))"
        mark = f"a number with decimal mark {self.decimal}, or < or > before one"
        share = "a value in the printed unit; this looks like a fraction"
        problems = [
            Problem(f"{text} IS NULL", "missing_value", label, "NULL", "a result"),
            Problem(unread, "number_format", label, text, mark),
            Problem(f"{attribute} IN ({limited}) AND {number} = 0", "zero_below_detection", label, text,
                    "the limit with its operator, e.g. <0.05"),
            Problem(implausible, "unit_implausible", label, text, share),
            *unit_problems,
            *self.outside(floats, attribute, value, label, text),
            Problem(f"NOT {numeric} AND {text} IS NOT NULL AND {code} IS NULL", "code_unknown", label, text,
                    ", ".join(words)),
        ]  # fmt: skip
        return {
            "value": Expression(value, problems),
            "operator": Expression(operator),
            "result_code": Expression(code),
            "value_as_given": Expression(text),
            "unit_as_given": Expression(self._as_given(column, fields)),
        }

    def factor(
        self, f: Field, column: Column, label: str, fields: dict[str, Expression]
    ) -> tuple[str, str, list[Problem]]:
        """SQL of factor and offset to the unit of the field, or of what the row names."""
        if column.unit is None and column.unit_from is None and column.unit_by is None:
            return "1.0", "0.0", []
        if column.unit is not None and f.unit is not None:
            c = conversion(column.unit, f.unit, f.molar_mass)
            return str(c.factor), str(c.offset), []
        target, targets = quoted(f.name), {f.name: f}
        if f.name in NAMED_BY:
            target = fields[NAMED_BY[f.name]].sql
            targets = self.d.channels if f.name == "reading" else self.d.attributes
        targets = {n: t for n, t in targets.items() if t.type == "float"}
        printed, units, source = self._unit(column, fields)
        factors: dict[str, dict[str, str]] = {}
        offsets: dict[str, dict[str, str]] = {}
        for name, t in targets.items():
            for text, ucum in units.items():
                try:
                    c = conversion(ucum, t.unit or "", t.molar_mass)
                except InconvertibleError:
                    continue
                factors.setdefault(name, {})[text] = str(c.factor)
                if c.offset:
                    offsets.setdefault(name, {})[text] = str(c.offset)
        factor = self.steps.name(case(target, {n: case(printed, by) for n, by in factors.items()}))
        offset = case(target, {n: case(printed, by) for n, by in offsets.items()})
        numeric = self.steps.name(f"{target} IN ({listed(targets)})")
        declared = f"{printed} IN ({listed(units)})"
        problems = [
            Problem(f"{numeric} AND coalesce(NOT {declared}, true)", "unit_not_declared", source, printed,
                    ", ".join(filter(None, units))),
            Problem(f"{numeric} AND {declared} AND {factor} IS NULL", "unit_not_convertible", source, printed,
                    f"a unit of the quantity in {label}"),
        ]  # fmt: skip
        return factor, self.steps.name(f"coalesce({offset}, 0.0)") if offsets else "0.0", problems

    def _unit(self, column: Column, fields: dict[str, Expression]) -> tuple[str, dict[str, str], str]:
        """(SQL of the printed unit or of the text it follows from, printed → UCUM, column name)."""
        if column.unit_by is not None:
            source, codes = next(iter(column.unit_by.items()))
            sql = fields[source].sql if source in fields else self.steps.name(text_of(source))
            return sql, {k: str(v) for k, v in self.contract.codes[codes].items()}, source
        if column.unit_from is not None:
            units = dict(self.contract.units)
            # A site that prints nothing for some unit (pH) declares it as "".
            printed = self.steps.name(text_of(column.unit_from))
            if "" in units:
                printed = self.steps.name(f"coalesce({printed}, '')")
            return printed, units, column.unit_from
        assert column.unit is not None
        return quoted(column.unit), {column.unit: column.unit}, "unit"

    def _as_given(self, column: Column, fields: dict[str, Expression]) -> str:
        if column.unit or column.unit_from or column.unit_by:
            return self._unit(column, fields)[0]
        return "CAST(NULL AS VARCHAR)"


def _range(f: Field) -> str:
    if f.minimum is None:
        return f"at most {f.maximum:g}"
    return f"{f.minimum:g} to {f.maximum:g}" if f.maximum is not None else f"at least {f.minimum:g}"
