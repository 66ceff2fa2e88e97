"""What a contract must agree with: the dictionary, the units, itself. Each problem has its mend.

Does not belong here: the shape of a contract (`contract.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.harmonise.systems import NEEDED, WRITTEN
from pipelines.harmonise.units import InconvertibleError, conversion
from warehouse.dictionary import Field as DictionaryField
from warehouse.dictionary import dictionary

if TYPE_CHECKING:
    from pipelines.harmonise.contract import Column, Contract, Feed, Mapping

# What one printed result fills: a number with its operator, or a word of a qualitative test.
RESULT_FIELDS = ("value", "operator", "result_code", "value_as_given", "unit_as_given")
# Fields whose unit is that of the attribute or quantity which the row names.
NAMED = ("low", "high", "lod", "loq", "validated_low", "validated_high", "reading")
# A problem: where in the contract, and the sentence.
Found = list[tuple[tuple[str, ...], str]]


class Contradictions(ValueError):  # noqa: N818  # several errors, told one by one
    """Everything in which a contract contradicts the dictionary or itself."""

    def __init__(self, problems: Found) -> None:
        self.problems = problems
        super().__init__(" ".join(f"{'.'.join(path)}: {text}" for path, text in problems))


def known_zone(name: str) -> None:
    """Raise ValueError where the zone is not in the IANA database."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone {name!r}; use an IANA name such as Europe/Berlin") from error


def problems_of(c: Contract) -> Found:
    """What contradicts the dictionary or the contract itself: (path, sentence with the mend)."""
    found: Found = []
    try:
        known_zone(c.time_zone)
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


def _feed_problems(c: Contract, feed: Feed) -> Found:
    found: Found = []
    if feed.system not in c.systems:
        found.append((("system",), f"no system {feed.system!r}; declared: {', '.join(c.systems)}"))
    else:
        kind = c.systems[feed.system].kind
        key, said = NEEDED.get(kind, ("system", ""))
        if not getattr(feed, key):
            found.append(((key,), f"a feed of a {kind} system needs {said}"))
        if WRITTEN.get(kind, feed.format.name) != feed.format.name:
            found.append(
                (("format",), f"what comes from a {kind} system is `format: {{name: {WRITTEN[kind]}}}`")
            )
        if kind == "relational" and (problem := _extract_problem(feed)):
            found.append((("format",), problem))
    if feed.files is not None and "**" in feed.files:
        found.append((("files",), "`**` is not understood: name each folder, e.g. `*/results_*.csv`"))
    found += _deletion_problems(feed)
    for m in feed.maps:
        found += [(("tables", m.table, *path), text) for path, text in _mapping_problems(c, m)]
    return found


def _extract_problem(feed: Feed) -> str | None:
    """What is wrong with the format of an extract, which is ours to write."""
    tables = dictionary().tables
    large = any(m.table in tables and tables[m.table].volume == "large" for m in feed.maps)
    if feed.format.name not in ("jsonl", "delimited") or (large and feed.format.name != "delimited"):
        return "extracts are written as `delimited`" + ("" if large else " or `jsonl`") + "; name that"
    if feed.format.model_fields_set - {"name"}:
        return "extracts have one layout (UTF-8, commas, a header); name the format only"
    return None


def _deletion_problems(feed: Feed) -> Found:
    stated = "compare_keys" if feed.compare_keys else "deleted" if feed.deleted else None
    if stated is None:
        return []
    tables = dictionary().tables
    if any(m.table in tables and tables[m.table].volume == "large" for m in feed.maps):
        return [((stated,), "readings are never deleted; leave it out")]
    if not feed.compare_keys:
        return []
    if feed.query_table is None:
        return [(("compare_keys",), "keys can be compared in a relational table only")]
    record = {feed.record} if isinstance(feed.record, str) else set(feed.record)
    patients = {c.source for m in feed.maps for c in m.columns.values() if c.patient}
    if hidden := sorted(record & (set(feed.identifying) | {p for p in patients if isinstance(p, str)})):
        said = f"{', '.join(hidden)} identifies a person, and such keys are not kept to be compared"
        return [(("compare_keys",), said)]
    return []


def _mapping_problems(c: Contract, m: Mapping) -> Found:
    d = dictionary()
    table = d.tables.get(m.table)
    if table is None or table.layer != "core":
        known = ", ".join(name for name, t in d.tables.items() if t.layer == "core")
        return [((), f"no table {m.table!r}; tables: {known}")]
    found: Found = []
    given = set(m.columns) | {"site_id"}
    if "result" in given or m.each:
        given |= set(RESULT_FIELDS)
    if m.each:
        given |= {"attribute", "method_id"}
    for name in table.required:
        if name not in given:
            found.append((("columns",), f"field {name}, without which a row says nothing, has no source"))
    for name, needed in (
        ("result", "attribute"),
        *((n, "attribute") for n in NAMED if n != "reading"),
        ("reading", "quantity_name"),
    ):
        if name in m.columns and needed not in given:
            found.append((("columns", name), f"needs {needed}, which gives its unit"))
    for name, column in m.columns.items():
        if name != "result" and name not in table.fields:
            found.append(
                (("columns", name), f"{m.table} has no field {name}; fields: {', '.join(table.fields)}")
            )
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
            f"code map {column.codes}: {code!r} → {word!r} is not in vocabulary {f.vocabulary} "
            f"({', '.join(words)})"
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
