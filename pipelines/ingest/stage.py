"""Files of a small feed as staged text records, at the site's edge: pseudonyms in, direct identifiers out.

What leaves this module carries no direct identifier: record numbers have become patient keys, identifying
columns and free text are gone (after a search of the text for identifiers, which is reported, not quoted).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import duckdb
import polars as pl

from pipelines.formats.delimited import repeated_names
from pipelines.formats.protocol import Flag, Options, Refused, UnreadableFile
from pipelines.formats.registry import format_named
from pipelines.harmonise.contract import Contract, Feed, marks_of_deletion
from pipelines.harmonise.identifiers import patient_keys
from pipelines.harmonise.mapping import column_of, columns_used, optional_columns, split_path
from warehouse.settings import Settings
from warehouse.vault import Arrival

MINIMUM_IDENTIFIER = 4
TECHNICAL = {
    "source_file": pl.String(),
    "source_file_sha256": pl.String(),
    "source_row": pl.Int64(),
    "sent_at": pl.Datetime("us", "UTC"),
    "column_missing": pl.Boolean(),
    "deleted_at_source": pl.Boolean(),
    "quality_flag": pl.String(),
}
NUMERALS = re.compile(r"\d")


@dataclass
class FileRead:
    """One file and what came of reading it. `missing` names declared columns that the file lacks."""

    arrival: Arrival
    format: str
    received: int
    refusal: str | None = None
    reason_code: str = "file_unreadable"
    field_name: str = ""
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: tuple[Refused, ...] = ()
    flags: tuple[Flag, ...] = ()
    # Texts of unknown columns where others are missing: compared with what the missing ones said, stored nowhere.
    strange: dict[str, list[str]] = field(default_factory=dict)

    def unpacked(self) -> None:
        """Say what became of an archive: its members are files of their own, or it could not be unpacked."""
        self.format, self.received, self.refusal = "archive", 0, self.arrival.problem
        if self.refusal is not None:
            self.received = 1


@dataclass
class Staged:
    """Files read, and the relation `staged`; `identified` are records whose free text names someone."""

    files: list[FileRead]
    records: int
    identified: list[dict[str, Any]]
    remarks: list[tuple[Any, ...]] = field(default_factory=list)


def options_of(contract: Contract, feed: Feed) -> Options:
    """Reader options of a feed: its own layout, the site's zone and decimal mark where it says nothing."""
    stated = feed.format.model_dump(exclude={"name"}, exclude_unset=True)
    defaults = {"zone": contract.time_zone, "decimal": feed.decimal or contract.decimal}
    return Options(**(defaults | stated))


def stage(
    con: duckdb.DuckDBPyConnection,
    contract: Contract,
    feed: Feed,
    arrivals: list[Arrival],
    settings: Settings,
) -> Staged:
    """Read the files and create `staged`: file, sha256, row, sent_at, patient keys and usable columns."""
    used = columns_used(feed)
    wanted = set(used) | set(feed.identifying) | set(feed.free_text)
    marks = marks_of_deletion(feed)
    known = {column_of(name) for name in wanted} | set(feed.ignore) | set(marks)
    needed = {column_of(name) for name in set(used) - optional_columns(feed)}
    files: list[FileRead] = []
    frames: list[pl.DataFrame] = []
    for arrival in arrivals:
        files.append(read := FileRead(arrival, feed.format.name, 1))
        if arrival.archive:
            read.unpacked()
            continue
        try:
            reading = format_named(feed.format.name).read(arrival.path, options_of(contract, feed))
        except UnreadableFile as error:
            read.refusal = f"{error.problem} {error.mend}".replace(arrival.path.name, arrival.name)
            continue
        if feed.format.name == "delimited" and (
            twice := repeated_names(tuple(reading.records.columns), {column_of(name) for name in wanted})
        ):
            read.refusal = (
                f"Column {', '.join(twice)} stands twice among the names; which is meant cannot be told. "
                "Ask for the file again, or state `columns` in the contract."
            )
            continue
        columns = set(reading.records.columns) - {"source_row"}
        records = _only(feed, reading.records)
        read.received = reading.received - (reading.records.height - records.height)
        rows = set(records["source_row"])
        read.flags = tuple(g for g in reading.flags if g.source_row in rows)
        read.refused = tuple(r for r in reading.refused if r.field is None or r.source_row in rows)
        gone = _deleted(records, marks)
        # A deletion names what it deletes and says nothing of it.
        read.missing = sorted(needed - columns) if not gone.all() else []
        read.unknown = sorted(columns - known) if feed.format.name in SELF_NAMED else []
        if read.missing:
            read.strange = {c: records[c].cast(pl.String).drop_nulls().to_list() for c in read.unknown}
        texts = [_text(name) for name in sorted(wanted) if column_of(name) in columns]
        frames.append(
            records.select(
                pl.lit(arrival.name).alias("source_file"),
                pl.lit(arrival.sha256).alias("source_file_sha256"),
                "source_row",
                pl.lit(arrival.sent_at).cast(pl.Datetime("us", "UTC")).alias("sent_at"),
                (pl.lit(bool(read.missing)) & ~gone).alias("column_missing"),
                gone.alias("deleted_at_source"),
                pl.col("source_row")
                .replace_strict(_flagged(read.flags), default=None, return_dtype=pl.String)
                .alias("quality_flag"),
                *texts,
            )
        )
    frame = pl.concat([pl.DataFrame(schema=TECHNICAL), *frames], how="diagonal")
    frame = frame.with_columns(
        pl.lit(None, dtype=pl.String).alias(c) for c in sorted(wanted - set(frame.columns))
    )
    identified = _identified(contract, feed, frame)
    frame = _pseudonymised(contract, feed, used, frame, settings)
    frame = frame.drop(set(feed.free_text) | (set(feed.identifying) - set(used)))
    con.register("staged_frame", frame)
    con.execute("CREATE OR REPLACE TABLE staged AS SELECT * FROM staged_frame")
    con.unregister("staged_frame")
    return Staged(files, frame.height, identified)


def _flagged(flags: tuple[Flag, ...]) -> dict[int, str]:
    """What the file itself says about a row, by row."""
    told: dict[int, list[str]] = {}
    for g in flags:
        told.setdefault(g.source_row, []).append(f"{g.field}: {g.text}")
    return {row: "; ".join(texts) for row, texts in told.items()}


def _deleted(records: pl.DataFrame, marks: dict[str, str]) -> pl.Series:
    """Which of the records say that the source deleted what they name."""
    said = [
        pl.col(name).cast(pl.String).str.strip_chars() == text
        for name, text in marks.items()
        if name in records.columns
    ]
    gone = pl.any_horizontal(*said).fill_null(value=False) if said else pl.repeat(False, pl.len())
    return records.select(gone.alias("gone"))["gone"]


def _only(feed: Feed, records: pl.DataFrame) -> pl.DataFrame:
    """Of a file that holds several kinds of records, those that are this feed's."""
    for name, wanted in feed.only.items():
        if name not in records.columns:
            return records.clear()
        records = records.filter(pl.col(name).cast(pl.String) == wanted)
    if feed.resources and "resourceType" in records.columns:
        records = records.filter(pl.col("resourceType").is_in(feed.resources))
    return records


def _text(name: str) -> pl.Expr:
    """A source column as text; of a column that holds JSON, what its path points to."""
    column, path = split_path(name)
    text = pl.col(column).cast(pl.String)
    return text.str.json_path_match(path).alias(name) if path else text


# Formats whose columns are named by the site; a vendor's format names its own and may give more than is used.
SELF_NAMED = ("delimited", "jsonl", "excel", "parquet")


def _pseudonymised(
    contract: Contract, feed: Feed, used: dict[str, set[str]], frame: pl.DataFrame, settings: Settings
) -> pl.DataFrame:
    numbers = sorted(
        {
            s
            for m in feed.maps
            for c in m.columns.values()
            if c.patient
            for s in [c.source]
            if isinstance(s, str)
        }
    )
    if not numbers or contract.patients is None:
        return frame
    file = settings.sources_path / contract.patients.key_file
    values = pl.concat([frame[c] for c in numbers]).drop_nulls().unique().sort().to_list()
    keys = patient_keys(file, values)
    return frame.with_columns(
        pl.col(c).replace_strict(keys, default=None, return_dtype=pl.String) for c in numbers
    )


def _identified(contract: Contract, feed: Feed, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Records whose free text holds an identifier of that record: record number, name or birth date."""
    del contract
    found: list[dict[str, Any]] = []
    if not feed.free_text:
        return found
    record = [feed.record] if isinstance(feed.record, str) else feed.record
    for row in frame.iter_rows(named=True):
        text = " ".join(str(row[c]) for c in feed.free_text if row[c]).lower()
        if not text:
            continue
        told = [c for c in feed.identifying if row[c] and any(part in text for part in _traces(str(row[c])))]
        if told:
            subject = "|".join(str(row[c] or "") for c in record)
            found.append(
                {
                    "subject": subject,
                    "columns": told,
                    "source_file": row["source_file"],
                    "source_row": row["source_row"],
                }
            )
    return found


def _traces(identifier: str) -> list[str]:
    """How an identifier shows in free text: whole, or by a name of some length; never by a year's digits."""
    whole = identifier.lower().strip()
    traces = [whole] if len(whole) >= MINIMUM_IDENTIFIER else []
    family, comma, given = whole.partition(",")
    if comma and family.strip() and given.strip():
        # However short its parts are: `Chua, Jun Jie` as people say it.
        traces += [f"{given.strip()} {family.strip()}", f"{family.strip()} {given.strip()}"]
    if not NUMERALS.search(whole):
        traces += [part.strip(",.") for part in whole.split() if len(part.strip(",.")) > MINIMUM_IDENTIFIER]
    return traces
