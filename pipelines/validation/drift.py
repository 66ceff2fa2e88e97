"""Drift of a feed against the site's own past, told by its cause: another unit, a renamed column.

Belongs here: comparing what a run brought with what the feed brought before, file by file, and the contract line that
would accept it. What moved by the factor of another unit is set aside until the contract says which it is. Does not
belong here: drift of the product itself (`warehouse/marts/drift.py`), single values out of range (`harmonise`).

A file is taken for one in another unit where at least nine tenths of its values (three at least) lie outside the range
of the newest 200 values of the site (twenty at least), their median by a factor of three or more, and in one other
unit of the same quantity they lie inside. Both must hold, so that a process that merely moved is not held up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from pipelines.harmonise.contract import Contract, Feed, Mapping
from pipelines.harmonise.sql import PROBLEM, ident
from pipelines.harmonise.units import Conversion, InconvertibleError, conversion
from warehouse.dictionary import Field, dictionary
from warehouse.dictionary.render import quoted

FEWEST, ENOUGH, NEWEST = 3, 20, 200
NEARLY_ALL, FAR, MARGIN = 0.9, 3.0, 0.25
# Units that instruments and laboratories print of what is measured here; those of another quantity fall out.
PRINTED = (
    "1", "%", "[ppth]", "g/L", "mg/dL", "mg/L", "mmol/L", "umol/L", "ug/mL", "ng/mL", "ng/L", "pg/mL",
    "10*3/uL", "10*6/mL", "10*9/L", "10*6", "10*9", "Cel", "[degF]", "K", "s", "min", "h", "d", "L", "mL", "uL",
    "kg", "g", "mg", "[lb_av]",
)  # fmt: skip
Values = npt.NDArray[np.float64]
Remark = tuple[Any, ...]
SAME_SHAPE, SAME_WORDS, SHARES_APART, SAMPLE = 0.9, 0.5, 0.25, 500


@dataclass(frozen=True)
class Moved:
    """Values of one file that look like another unit than the one declared."""

    target: str
    source_file: str
    sha256: str
    n: int
    median: float
    usual: float
    unit: str
    declared: str

    @property
    def sentence(self) -> str:
        """What is seen."""
        return (
            f"{self.target} now looks like {self.unit} instead of {self.declared}: median {self.median:.4g} over "
            f"{self.n} values against {self.usual:.4g} in the site's newest results"
        )

    @property
    def mend(self) -> str:
        """The contract lines that would accept it."""
        return (
            f'if it is, declare it (`unit: "{self.unit}"`, or under `units` what the source prints); if the values '
            f"moved for good, `accepted: {{{self.target}: <day>}}` of the feed; then replay"
        )


def set_aside_other_units(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, mapping: Mapping, relation: str
) -> list[Remark]:
    """Add the problem `unit_drift` to rows of mapped `relation` whose file is in another unit; remarks that say so."""
    remarks: list[Remark] = []
    for moved in _moved(con, contract, feed, mapping, relation):
        result = mapping.table == "assay_result"
        rows = f"source_file = {quoted(moved.source_file)} AND source_file_sha256 = {quoted(moved.sha256)}"
        rows += (
            f" AND attribute = {quoted(moved.target)}"
            if result
            else f" AND {ident(moved.target)} IS NOT NULL"
        )
        seen = "CAST(value AS VARCHAR)" if result else f"CAST({ident(moved.target)} AS VARCHAR)"
        f = dictionary().fields[moved.target]
        shown = seen if f.privacy in ("open", "operational") else "NULL"
        con.execute(f"""
            UPDATE {relation} SET problems = list_append(problems, CAST({{
              'reason_code': 'unit_drift', 'field_name': {quoted(moved.target)}, 'value_seen': {shown},
              'value_wanted': {quoted(f"a value in {moved.declared}; {moved.mend}")}, 'whole_record': {not mapping.each}
            }} AS {PROBLEM})) WHERE {rows} AND len(problems) = 0""")
        said = f"{moved.sentence}; {moved.mend}"
        subject = f"{moved.source_file}:{moved.target}"
        remarks.append((mapping.table, "unit_drift", "error", subject, said, moved.source_file, None, None))
    return remarks


def _moved(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed: Feed, mapping: Mapping, relation: str
) -> Iterator[Moved]:
    """Files in another unit, oldest first; values of files before count as the site's past."""
    targets = _targets(mapping)
    if not targets:
        return
    past = _past(con, mapping, targets)
    for target, name, sha, day, printed, listed in _files(con, mapping, relation, targets):
        values, before = np.asarray(listed, dtype=float), past.get(target, np.empty(0))
        f, accepted = dictionary().fields[target], feed.accepted.get(target)
        if accepted is None or day < accepted:
            declared = contract.units.get(printed or "", printed) or f.unit or ""
            unit = _other_unit(values, before, f, declared, contract)
            if unit is not None:
                usual = float(np.median(before))
                yield Moved(target, name, sha, len(values), float(np.median(values)), usual, unit, declared)
                continue
        past[target] = np.concatenate([before, values])[-NEWEST:]


def _targets(mapping: Mapping) -> list[str]:
    """Fields with a unit that the mapping fills; of results each attribute with one."""
    d = dictionary()
    if mapping.table == "assay_result":
        return [n for n, f in d.attributes.items() if f.type == "float" and f.unit]
    return [n for n in mapping.columns if n != "result" and d.fields[n].type == "float" and d.fields[n].unit]


def _files(
    con: duckdb.DuckDBPyConnection, mapping: Mapping, relation: str, targets: list[str]
) -> list[tuple[str, str, str, str, str | None, list[float]]]:
    """(target, file, hash, day written, unit as printed, values) of files with values enough, as they were written."""
    file = "source_file, source_file_sha256, CAST(CAST(any_value(sent_at) AS DATE) AS VARCHAR) AS written"
    if mapping.table == "assay_result":
        measured = (
            f"value IS NOT NULL AND operator = '=' AND attribute IN ({', '.join(map(quoted, targets))})"
        )
        selects = [
            f"SELECT attribute AS target, {file}, mode(unit_as_given) AS printed, list(value) AS seen "
            f"FROM {relation} WHERE {measured} GROUP BY ALL"
        ]
    else:
        selects = [
            f"SELECT {quoted(t)} AS target, {file}, {quoted(mapping.columns[t].unit or '')} AS printed, "
            f"list({ident(t)}) AS seen FROM {relation} WHERE {ident(t)} IS NOT NULL GROUP BY ALL"
            for t in targets
        ]
    return con.execute(
        f"SELECT * FROM ({' UNION ALL '.join(selects)}) WHERE len(seen) >= {FEWEST} ORDER BY written, source_file"
    ).fetchall()


def _past(con: duckdb.DuckDBPyConnection, mapping: Mapping, targets: list[str]) -> dict[str, Values]:
    """Newest values in force of each target, records that are read now left out."""
    of_site = f"FROM past_{mapping.table} WHERE record_id NOT IN (SELECT record_id FROM to_map)"
    if mapping.table == "assay_result":
        rows = con.execute(f"""
            SELECT attribute, list(value ORDER BY sent_at, source_row) FROM (
              SELECT attribute, value, sent_at, source_row {of_site} AND value IS NOT NULL AND operator = '='
              QUALIFY row_number() OVER (PARTITION BY attribute ORDER BY sent_at DESC) <= {NEWEST})
            GROUP BY attribute""").fetchall()
    else:
        lists = ", ".join(f"list({ident(t)}) FILTER ({ident(t)} IS NOT NULL)" for t in targets)
        newest = f"SELECT {', '.join(map(ident, targets))} {of_site} ORDER BY sent_at DESC LIMIT {NEWEST}"
        rows = list(zip(targets, con.execute(f"SELECT {lists} FROM ({newest})").fetchall()[0], strict=True))
    return {target: np.asarray(values or [], dtype=float) for target, values in rows}


def _other_unit(values: Values, past: Values, f: Field, declared: str, contract: Contract) -> str | None:
    """The unit in which the values lie where the site's others lie; None where they lie there as declared."""
    values, past = values[np.isfinite(values)], past[np.isfinite(past)]
    if len(values) < FEWEST or len(past) < ENOUGH:
        return None
    low, high = float(past.min()), float(past.max())
    if np.mean((values < low) | (values > high)) < NEARLY_ALL:
        return None
    middle, usual = float(np.median(values)), float(np.median(past))
    offset_scale = f.unit == "Cel"
    if not offset_scale and (middle <= 0 or usual <= 0 or 1 / FAR < middle / usual < FAR):
        return None
    room = MARGIN * (high - low)
    best: tuple[float, str] | None = None
    # Of units that are the same, the one that is written like the declared one.
    per = declared.rpartition("/")[2]
    candidates = dict.fromkeys((*contract.units.values(), *PRINTED))
    for unit in sorted(candidates, key=lambda u: u.rpartition("/")[2] != per):
        moved = _as_if(values, f, declared, unit)
        if moved is None or np.mean((moved >= low - room) & (moved <= high + room)) < NEARLY_ALL:
            continue
        distance = abs(float(np.median(moved)) - usual)
        if best is None or distance < best[0] * (1 - 1e-9):
            best = (distance, unit)
    return best[1] if best else None


def _as_if(values: Values, f: Field, declared: str, unit: str) -> Values | None:
    """The values had the source printed them in `unit`; None where that is no unit of the quantity, or the same."""
    try:
        was, now = (
            conversion(declared, f.unit or "", f.molar_mass),
            conversion(unit, f.unit or "", f.molar_mass),
        )
    except InconvertibleError:
        return None
    same = np.isclose(was.factor, now.factor, rtol=0.01) and np.isclose(was.offset, now.offset)
    return None if same else _converted((values - was.offset) / was.factor, now)


def _converted(values: Values, by: Conversion) -> Values:
    moved: Values = values * by.factor + by.offset
    return moved


def renamed(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    name: str,
    missing: Sequence[str],
    unknown: dict[str, list[str]],
) -> list[Remark]:
    """Remarks on columns that a file lacks and another column of it looks like; `unknown` are texts by new column."""
    remarks: list[Remark] = []
    for column in missing:
        past = _texts(con, contract, feed_name, column)
        likeness = {
            u: told for u, texts in unknown.items() if (told := _alike(past, texts, contract.decimal))
        }
        if len(likeness) == 1:
            ((new, told),) = likeness.items()
            said = (
                f"column {column} is missing and {new} looks like it ({told}); if it was renamed, write "
                f"`first: [{column}, {new}]` in the contract and `cellfleet quarantine replay {contract.site_id} "
                f"{feed_name}`"
            )
            remarks.append(("", "column_renamed", "error", f"{name}:{column}", said, name, None, None))
    return remarks


def _texts(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, column: str) -> list[str]:
    """What the column said in the newest records of the feed, and in those that came with this file."""
    path = quoted(f'$."{column}"')
    rows = con.execute(f"""
        SELECT json_extract_string(payload, {path}) AS told FROM (
          SELECT CAST(payload AS JSON) AS payload, sent_at FROM arrived WHERE NOT column_missing
          UNION ALL
          SELECT payload, sent_at FROM lake.raw.record
          WHERE site_id = {quoted(contract.site_id)} AND feed = {quoted(feed_name)} AND payload IS NOT NULL)
        WHERE told IS NOT NULL ORDER BY sent_at DESC LIMIT {SAMPLE}""").fetchall()
    return [str(row[0]) for row in rows]


def _alike(past: list[str], texts: list[str], decimal: str) -> str | None:
    """Why texts look like those of the past, without quoting any; None where they do not."""
    if not past or not texts:
        return None
    before, now = _numbers(past, decimal), _numbers(texts, decimal)
    share, usual_share = len(now) / len(texts), len(before) / len(past)
    if share >= SAME_SHAPE and usual_share >= SAME_SHAPE:
        return _like_level(before, now)
    if len(now) and len(before) and usual_share < SAME_SHAPE:
        # Results of several tests: numbers and words side by side, in about the same shares.
        other = [t for t in texts if not len(_numbers([t], decimal))]
        same_words = np.mean([t in set(past) for t in other]) >= SAME_SHAPE if other else True
        return _like_level(before, now) if same_words and abs(share - usual_share) <= SHARES_APART else None
    if len(now) or usual_share >= SAME_SHAPE:
        return None
    words = set(past)
    if np.mean([t in words for t in texts]) >= SAME_WORDS:
        return "the same words"
    shapes = {_shape(t) for t in past}
    return "texts of the same shape" if np.mean([_shape(t) in shapes for t in texts]) >= SAME_SHAPE else None


def _like_level(before: Values, now: Values) -> str | None:
    usual, middle = float(np.median(before)), float(np.median(now))
    inside = np.mean((now >= before.min()) & (now <= before.max()))
    return f"median {middle:.4g} against {usual:.4g}" if inside >= SAME_SHAPE else None


def _numbers(texts: list[str], decimal: str) -> Values:
    found = []
    for text in texts:
        plain = text.strip().lstrip("<>=")
        plain = plain.replace(".", "").replace(",", ".") if decimal == "," else plain
        if re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", plain):
            found.append(float(plain))
    return np.asarray(found, dtype=float)


def _shape(text: str) -> str:
    """Letters as a, digits as 9."""
    return re.sub(r"\d", "9", re.sub(r"[^\W\d_]", "a", text.strip()))
