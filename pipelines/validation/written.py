"""Drift of how a feed is written: another type, precision or order of rows, new codes, a column that is gone.

Belongs here: comparing the texts of a file with those of the files before it, file by file, and the contract line
that would accept it. What cannot be read any more is set aside by the mapping; here it is told once a file, as what it
is. What can still be read (fewer decimals, another order) is promoted and told. Does not belong here: another unit or
name (`drift.py`), values out of range (`harmonise`), the rate of a sensor (`rules/sampling_rate.sql`).

Nothing is judged on less than 5 texts of a file, or on less than 20 before it. A type has changed where all texts of a
file are of one kind and none before was; decimals are fewer where as few in all of them would happen less than once in
10,000 files, more where half of them have more than any before. In either case digits must have moved the same way,
so that a writer of so many significant digits is not held for another when the level moves.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import duckdb

from pipelines.harmonise.contract import Contract, Feed, Mapping
from pipelines.harmonise.mapping import columns_used
from pipelines.harmonise.sql import MARK
from pipelines.validation.drift import Remark
from warehouse.dictionary import dictionary
from warehouse.dictionary.render import quoted

FEWEST, ENOUGH, NEWEST, SAMPLE = 5, 20, 200, 200
BY_CHANCE, HALF = 1e-4, 0.5
ROWS, FILES, IN_ORDER, DISORDER = 10, 5, 1.0, 0.9
NUMBER = re.compile(r"[+-]?(\d+)(?:[.,](\d+))?")
# What a text can be: a pattern, its name, and the contract line that reads it.
KINDS: tuple[tuple[str, str, str], ...] = (
    (r"\d{4}-\d\d-\d\d", "days as 2026-03-01", '`time: {format: "%Y-%m-%d"}`'),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", "times as 2026-03-01T09:00", "`time: {format: iso}`"),
    (r"\d\d?\.\d\d?\.\d{4}", "days as 01.03.2026", '`time: {format: "%d.%m.%Y"}`'),
    (r"\d\d?\.\d\d?\.\d{4} \d\d?:\d\d", "times as 01.03.2026 09:00", '`time: {format: "%d.%m.%Y %H:%M"}`'),
    (r"\d\d?/\d\d?/\d{4}", "days as 03/01/2026", '`time: {format: "%m/%d/%Y"}` or `"%d/%m/%Y"`'),
    (r"\d\d?/\d\d?/\d{4} .*", "times as 03/01/2026 9:00 AM", '`time: {format: "%m/%d/%Y %I:%M %p"}`'),
    (r"1\d{12}", "milliseconds since 1970", "`time: {format: epoch_ms}`"),
    (r"[<>]?=? ?[+-]?\d+,\d+", "numbers with a decimal comma", '`decimal: ","`'),
    (r"[<>]?=? ?[+-]?\d+\.\d+([eE][+-]?\d+)?", "numbers with a decimal point", '`decimal: "."`'),
    (r"[+-]?\d+([eE][+-]?\d+)?", "whole numbers", "another field, or the source's own layout"),
    (r"(?i)true|false|yes|no|ja|nein|[yn]", "yes or no", "a code map under `codes`"),
)  # fmt: skip
PATTERNS = tuple((re.compile(pattern), name) for pattern, name, _ in KINDS)
LINE = {name: line for _, name, line in KINDS}
TEXTS = "texts"
# Whole numbers are written alike with a point and with a comma.
ALIKE = {"whole numbers": {"numbers with a decimal point", "numbers with a decimal comma"}}
Series = dict[tuple[str, str], list[str]]


@dataclass(frozen=True)
class File:
    """New texts of one file by column (and by what is measured, where the column holds several things)."""

    name: str
    day: str
    series: Series


def written_otherwise(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed_name: str,
    relations: Sequence[tuple[Mapping, str]],
) -> list[Remark]:
    """Remarks on types, decimals, codes and order of rows that are not as they were; `relations` are mapped records.

    Needs the tables of `look_up`.
    """
    feed = contract.feeds[feed_name]
    # Of a feed that is new the lake has nothing, and is not asked.
    known = con.execute("SELECT 1 FROM past_record LIMIT 1").fetchone() is not None
    past = _past(con, contract, feed_name, feed) if known else defaultdict(list)
    remarks: list[Remark] = []
    now: dict[tuple[str, str], set[str]] = defaultdict(set)
    for file in _files(con, feed):
        for key, texts in file.series.items():
            now[file.name, key[0]].update(texts)
            before = past[key]
            if len(texts) >= FEWEST and len(before) >= ENOUGH:
                remarks += _kind_changed(file, key, texts, before)
                remarks += _precision_changed(feed, file, key, texts, before)
            past[key] = (before + texts)[-NEWEST:]
    for mapping, relation in relations:
        remarks += _new_codes(con, contract, mapping, relation, past, now)
    return remarks + list(_order_changed(con, contract, feed_name, feed, known=known))


def dropped(
    site: str,
    feed_name: str,
    name: str,
    missing: Iterable[str],
    new: Sequence[str],
    renamed: Iterable[Remark],
) -> list[Remark]:
    """Remarks on columns that a file lacks and that no new column of it looks like."""
    told = {r[3] for r in renamed}
    remarks: list[Remark] = []
    for column in missing:
        if f"{name}:{column}" in told:
            continue
        said = f"column {column} is missing and nothing else of the file looks like it; "
        if new:
            said += f"if it is one of the new ones ({', '.join(new)}), write `first: [{column}, …]` in the contract; "
        said += (
            f"if the source no longer has it, name it under `optional` of the feed, or take it out of `tables`; "
            f"then `cellfleet quarantine replay {site} {feed_name}`"
        )
        remarks.append(_remark("column_dropped", "error", name, (column, ""), said))
    return remarks


def _grouping(feed: Feed) -> dict[str, str]:
    """Columns whose texts are of several things → the column that says of which."""
    found: dict[str, str] = {}
    for m in feed.maps:
        result = m.columns.get("result") or m.columns.get("reading")
        named = m.columns.get("attribute") or m.columns.get("quantity_name")
        if result and named and isinstance(result.source, str) and isinstance(named.source, str):
            found[result.source] = named.source
    return found


def _series(feed: Feed, payloads: Iterable[str]) -> Series:
    grouping, used, found = _grouping(feed), columns_used(feed), defaultdict(list)
    for payload in payloads:
        record: dict[str, Any] = json.loads(payload)
        for column in used:
            text = record.get(column)
            if isinstance(text, str) and text.strip():
                found[column, str(record.get(grouping.get(column, ""), ""))].append(text.strip())
    return found


def _past(con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, feed: Feed) -> Series:
    """Texts of the newest records that the lake holds of the feed, those that are read now left out; oldest first."""
    rows = con.execute(f"""
        SELECT CAST(payload AS VARCHAR) FROM lake.raw.record
        WHERE site_id = {quoted(contract.site_id)} AND feed = {quoted(feed_name)} AND payload IS NOT NULL
          AND record_id NOT IN (SELECT record_id FROM to_map)
          AND json_extract_string(payload, {quoted(f'$."{MARK}"')}) IS NULL
        ORDER BY sent_at DESC, source_row DESC LIMIT {2 * NEWEST}""").fetchall()
    return defaultdict(list, _series(feed, (row[0] for row in reversed(rows))))


def _files(con: duckdb.DuckDBPyConnection, feed: Feed) -> Iterator[File]:
    """Files with new records, oldest first; of each the first records."""
    rows = con.execute(f"""
        SELECT source_file, CAST(CAST(sent_at AS DATE) AS VARCHAR), CAST(payload AS VARCHAR) FROM mappable
        QUALIFY row_number() OVER (PARTITION BY source_file, source_file_sha256 ORDER BY source_row) <= {SAMPLE}
        ORDER BY sent_at, source_file, source_file_sha256, source_row""").fetchall()
    for (name, day), of_file in groupby(rows, key=lambda row: row[:2]):
        yield File(name, day, _series(feed, (row[2] for row in of_file)))


def _kind(text: str) -> str:
    return next((name for pattern, name in PATTERNS if pattern.fullmatch(text)), TEXTS)


def _kind_changed(file: File, key: tuple[str, str], texts: list[str], before: list[str]) -> list[Remark]:
    kinds, old = {_kind(t) for t in texts}, Counter(_kind(t) for t in before)
    usual = set(old) | {other for name in old for other in ALIKE.get(name, ())}
    if len(kinds) != 1 or len(old) != 1 or kinds & usual or any(usual & ALIKE.get(k, set()) for k in kinds):
        return []
    (now,), (was,) = kinds, old
    mend = LINE.get(now, "another field, or ask for the file as it was")
    said = f"{_of(key)} now holds {now}, before only {was} ({len(texts)} against {len(before)}); {mend} would accept it"
    return [_remark("column_retyped", "error", file.name, key, said)]


def _precision_changed(
    feed: Feed, file: File, key: tuple[str, str], texts: list[str], before: list[str]
) -> list[Remark]:
    now, was = [p for t in texts if (p := _precision(t))], [p for t in before if (p := _precision(t))]
    if len(now) < FEWEST or len(was) < ENOUGH or len(now) < len(texts) / 2:
        return []
    coarser = all(
        (1 - share) ** len(now) < BY_CHANCE
        for place in (0, 1)
        for share in [sum(p[place] > max(n[place] for n in now) for p in was) / len(was)]
    )
    finer = all(
        sum(n[place] > max(p[place] for p in was) for n in now) >= HALF * len(now) for place in (0, 1)
    )
    accepted = _accepted(feed, key[0])
    if not (coarser or finer) or (accepted is not None and file.day >= accepted):
        return []
    said = (
        f"{_of(key)} now has at most {max(n[0] for n in now)} decimals in {len(now)} values, before up to "
        f"{max(p[0] for p in was)} in {len(was)}: {'rounded' if coarser else 'written finer'} than it was; if it stays "
        f"so, `accepted: {{{_target(feed, key[0])}: {file.day}}}` of the feed says so"
    )
    return [_remark("precision_changed", "warning", file.name, key, said)]


def _precision(text: str) -> tuple[int, int] | None:
    """(decimals, digits) of a number as printed; None of anything else."""
    match = NUMBER.fullmatch(text.lstrip("<>= "))
    if match is None:
        return None
    decimals = match[2] or ""
    return len(decimals), len((match[1] + decimals).lstrip("0"))


def _target(feed: Feed, column: str) -> str:
    """The field that a column fills, as `accepted` of the feed names it."""
    return min(columns_used(feed).get(column) or {column})


def _accepted(feed: Feed, column: str) -> str | None:
    return next((feed.accepted[f] for f in columns_used(feed).get(column, ()) if f in feed.accepted), None)


def _new_codes(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    mapping: Mapping,
    relation: str,
    past: Series,
    now: dict[tuple[str, str], set[str]],
) -> list[Remark]:
    """Codes that nothing translates, once a file and column, as the usual code that stopped coming where one did."""
    rows = con.execute(f"""
        SELECT source_file, p.field_name, list_sort(list(DISTINCT p.value_seen)), count(*)
        FROM (SELECT source_file, unnest(problems) AS p FROM {relation})
        WHERE p.reason_code = 'code_unknown' AND p.value_seen IS NOT NULL GROUP BY ALL ORDER BY ALL""").fetchall()
    remarks: list[Remark] = []
    for name, column, codes, n in rows:
        target, map_name = _code_map(mapping, column)
        words = contract.codes.get(map_name or "", {})
        came = {t for (c, _), texts in past.items() if c == column for t in texts}
        gone = [code for code in words if code in came and code not in now.get((name, column), set())]
        likely = str(words[gone[0]]) if len(gone) == 1 and len(codes) == 1 else "…"
        told = f"; {gone[0]}, which came until now, no longer does" if likely != "…" else ""
        lines = ", ".join(f"{code}: {likely}" for code in codes[:3])
        said = (
            f"column {column} holds {', '.join(codes[:3])} ({n} records), which nothing translates{told}; write "
            f"`{map_name or target}: {{{lines}}}` under `codes` with the dictionary's word, then replay"
        )
        remarks.append(_remark("code_new", "error", name, (column, "|".join(codes[:3])), said))
    return remarks


def _code_map(mapping: Mapping, label: str) -> tuple[str, str | None]:
    """Field and code map of a column as problems name it."""
    for name, column in mapping.columns.items():
        if label in (column.source, "|".join(column.first or [])):
            return name, column.codes or column.words
    return dictionary().tables[mapping.table].key[-1], None


def _order_changed(
    con: duckdb.DuckDBPyConnection, contract: Contract, feed_name: str, feed: Feed, *, known: bool
) -> Iterator[Remark]:
    """Files whose rows are not in the order in which all files before them were."""
    site, name = quoted(contract.site_id), quoted(feed_name)
    columns = "source_file, source_file_sha256, source_row, sent_at, subject, source_version"
    before_them = f"""
          UNION ALL BY NAME
          SELECT {columns}, false AS now
          FROM lake.raw.record WHERE site_id = {site} AND feed = {name} AND source_file_sha256 IN (
            SELECT source_file_sha256 FROM lake.raw.file WHERE site_id = {site} AND feed = {name} AND received >= {ROWS}
            ORDER BY sent_at DESC LIMIT {2 * FILES})"""
    rows = con.execute(f"""
        WITH row AS (
          SELECT {columns}, true AS now FROM arrived {before_them if known else ""}
        ), step AS (
          SELECT *, subject >= lag(subject) OVER w AS by_subject,
                 source_version >= lag(source_version) OVER w AS by_stamp
          FROM row WINDOW w AS (PARTITION BY now, source_file, source_file_sha256 ORDER BY source_row)
        )
        SELECT source_file, bool_or(now), avg(by_subject::INT), avg(by_stamp::INT) FROM step
        GROUP BY source_file, source_file_sha256 HAVING count(*) >= {ROWS}
        ORDER BY min(sent_at), source_file""").fetchall()
    keys = ("what identifies a record", "its version stamp")
    before: list[list[float]] = [[], []]
    for file, now, *shares in rows:
        for place, share in enumerate(shares):
            if share is None:
                continue
            usual = before[place][-2 * FILES :]
            if now and len(usual) >= FILES and min(usual) >= IN_ORDER and share < DISORDER:
                rests = (
                    "nothing rests on the order"
                    if feed.version
                    else "of two rows of one record the later counts: declare `version` if the source has a stamp"
                )
                said = f"rows are no longer in order of {keys[place]} as in the {len(usual)} files before; {rests}"
                severity = "info" if feed.version else "warning"
                yield _remark("row_order_changed", severity, file, (keys[place], ""), said)
            before[place].append(share)


def _of(key: tuple[str, str]) -> str:
    return f"column {key[0]}" + (f" ({key[1]})" if key[1] else "")


def _remark(code: str, severity: str, file: str, key: tuple[str, str], said: str) -> Remark:
    subject = ":".join(part for part in (file, *key) if part)
    return ("", code, severity, subject, said, file, None, None)
