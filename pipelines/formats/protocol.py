"""What every file format gives: records, what the file says about them, and what it refused.

Here: the result types, the options a contract may state about a file's layout, and the protocol. A format
turns the bytes of one file into records; it knows no site, no lake and no orchestration, and it does not
judge whether a record is true. Reading a particular format belongs in that format's own module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipelines.failures import PermanentFailure

Reason = Literal[
    "ragged_row",  # more or fewer values than the header has names
    "stray_quote",  # a quote character inside a value that is not quoted, or a quote that never closes
    "stray_line_end",  # a carriage return inside a value that is not quoted
    "bad_encoding",  # bytes that are not text in the file's encoding
    "hidden_row",  # a row hidden in the worksheet, left out as the contract says
    "bad_json",  # the line is not JSON
    "not_an_object",  # JSON, but not an object
    "bad_number",  # text where the format prints a number
    "bad_time",  # a time that does not exist, such as 1999-09-99
    "missing_field",  # a field the format requires is absent
    "unknown_term",  # a word outside the vocabulary the format prescribes
    "wrong_type",  # a value of another JSON type than the format prescribes
    "invalid_resource",  # does not validate under FHIR R4
    "invalid_identifier",  # an identifier whose shape or check character is wrong
    "unknown_unit",  # the file prints a unit that is not in the format's own list
    "conflicting_header",  # the file contradicts itself about this record
    "damaged_element",  # an element that cannot be read although the file around it can
]


class UnreadableFile(PermanentFailure):
    """The file as a whole cannot be read: corrupt, truncated, empty, wrongly encoded, unknown."""

    def __init__(self, file: Path | str, place: str, problem: str, mend: str) -> None:
        self.file = Path(file).name
        self.place = place
        at = f" ({place})" if place else ""
        super().__init__(f"{self.file}{at}: {problem}.", mend)


@dataclass(frozen=True)
class Flag:
    """What the file itself says about a value (ERROR, "<8", "Out of optimal range", Warning …)."""

    source_row: int
    field: str
    text: str


@dataclass(frozen=True)
class Refused:
    """A record (field is None) or one field of a record that cannot be read, with why and the mend."""

    source_row: int | None
    field: str | None
    value: str | None
    reason: Reason
    mend: str


@dataclass(frozen=True)
class Reading:
    """One file, read.

    records: one row per record; first column `source_row` (Int64): the n-th record of the file, from 1, in
    file order (data row after the header, event, element, line). Text formats keep every other column as
    text, exactly as printed: "" where the file prints nothing, null where the record has no such field.
    received: records counted on the bytes without the parser that made `records`.
    header: what the file says once for all its records.
    """

    format: str
    records: pl.DataFrame
    flags: tuple[Flag, ...]
    refused: tuple[Refused, ...]
    received: int
    header: dict[str, Any]


class Options(BaseModel):
    """What a contract may say about the layout of a file. Nothing stated: the format's own rules apply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone: str | None = Field(
        default=None,
        description="IANA time zone of times printed without (Europe/Berlin). None: they stay local text.",
    )
    encoding: str | None = Field(
        default=None,
        description="Text encoding (utf-8, latin-1, cp1252, utf-16). None: byte order mark, else UTF-8.",
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="Character between values. None: found from the header.",
    )
    quote: str = Field(
        default='"', max_length=1, description='Character around values; "" when the file never quotes.'
    )
    decimal: Literal[".", ","] | None = Field(
        default=None, description="Decimal mark, for formats that turn printed numbers into dictionary units."
    )
    thousands: str | None = Field(
        default=None, max_length=1, description="Mark between thousands, for the same formats."
    )
    date_order: Literal["month_first", "day_first"] | None = Field(
        default=None,
        description="Order of 03/04/2022 where the locale decides. None: the vendor's default.",
    )
    sheet: str | None = Field(
        default=None, description="Name of the worksheet. None: the only sheet with values."
    )
    header_row: int | None = Field(
        default=1, ge=1, description="Line (or sheet row) of the column names, from 1. None: there is none."
    )
    header_rows: int = Field(
        default=1,
        ge=1,
        le=5,
        description="Sheet rows the names take up: merged headers are joined with ' / '.",
    )
    skip_rows: int = Field(
        default=0, ge=0, description="Lines between the names and the first record (units, rules)."
    )
    columns: tuple[str, ...] | None = Field(
        default=None,
        description="Column names to use instead of the file's own; needed where there is no header.",
    )
    hidden_rows: Literal["keep", "skip"] | None = Field(
        default=None,
        description="What to do with rows hidden in a worksheet. None: a sheet with hidden rows is refused.",
    )
    ends_with_newline: bool | None = Field(
        default=None,
        description="True: a file whose last line has no line end is half-written: refused.",
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                "".encode(value)
            except LookupError as unknown:
                raise ValueError(
                    f"unknown encoding {value!r}; use utf-8, latin-1, cp1252 or utf-16"
                ) from unknown
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            from zoneinfo import ZoneInfo  # only contracts that name a zone need the database

            try:
                ZoneInfo(value)
            except (KeyError, ValueError, OSError) as unknown:
                raise ValueError(
                    f"unknown time zone {value!r}; use an IANA name such as Europe/Berlin"
                ) from unknown
        return value


class Format(Protocol):
    """One family of files."""

    name: str

    def recognises(self, head: bytes, filename: str) -> bool:
        """Say from the first bytes (up to 64 KiB) and the name whether the file is of this format."""
        ...

    def read(self, path: Path, options: Options) -> Reading:
        """Read the whole file; raises UnreadableFile, and nothing else, when it cannot be read."""
        ...


def reading(
    path: Path,
    format_name: str,
    records: pl.DataFrame,
    received: int,
    *,
    flags: Sequence[Flag] = (),
    refused: Sequence[Refused] = (),
    header: dict[str, Any] | None = None,
) -> Reading:
    """Put a Reading together; a file whose records and refusals do not add up to what came is refused."""
    whole = {r.source_row for r in refused if r.field is None and r.source_row is not None}
    if received != records.height + len(whole):
        raise UnreadableFile(
            path,
            f"{received} records on the bytes, {records.height} read, {len(whole)} refused",
            f"the file does not have the layout that format {format_name} knows",
            "Nothing of it was taken: check that the export is whole and the format is the right one.",
        )
    if records.columns[:1] != ["source_row"]:
        raise ValueError(f"format {format_name} must give source_row as its first column")
    return Reading(format_name, records, tuple(flags), tuple(refused), received, header or {})
