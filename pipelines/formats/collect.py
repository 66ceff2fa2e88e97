"""What the readers of instrument files share: printed numbers, local times, flags and masked names.

Here: turning printed text into dictionary terms without losing what was printed. Which column is which term
belongs in the vendor's module; which site an instrument stands in belongs in no format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pipelines.formats.jsonl import frame
from pipelines.formats.protocol import Flag, Options, Reading, Reason, Refused, UnreadableFile, reading

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?")
_CENSORED = re.compile(r"([<>≤≥]=?)\s*(.+)")
_REMARK = re.compile(r"(\S+)\s*(\(.+\)|\*+)")
# Words by which instruments say that there is no value; anything else that is not a number is refused.
_NO_VALUE = {
    "-", "--", "---", "*****", "err", "error", "failed", "inf", "invalid", "n/a", "na", "nan", "no result",
    "none", "not available", "not determined", "out of range", "overflow", "undetermined",
}  # fmt: skip
# Zone abbreviations that instruments print and that have one meaning in their vendors' countries.
_ABBREVIATIONS = {
    "UTC": 0, "GMT": 0, "Z": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
    "PST": -8, "PDT": -7, "CET": 1, "CEST": 2, "WET": 0, "WEST": 1, "EET": 2, "EEST": 3, "JST": 9,
}  # fmt: skip


def plain(value: Decimal) -> str:
    """A number without exponent and without zeros that multiplication added."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def printed_number(printed: str, options: Options) -> Decimal | None:
    """The number a text prints, by the contract's marks (default: point, and blanks between thousands)."""
    text = re.sub(r"(?<=\d)[\u00a0\u202f\u2009 ](?=\d{3}(?!\d))", "", printed.strip())
    if options.thousands:
        text = text.replace(options.thousands, "")
    if options.decimal == ",":
        text = text.replace(",", ".") if "." not in text else "not a number"
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def zone_of(word: str) -> tzinfo | None:
    """The offset an abbreviation or an offset such as +02:00 or 2 stands for."""
    text = word.strip().upper()
    if text in _ABBREVIATIONS:
        return timezone(timedelta(hours=_ABBREVIATIONS[text])) if _ABBREVIATIONS[text] else UTC
    found = re.fullmatch(r"(?:UTC|GMT)?([+-]?)(\d{1,2})(?::?(\d{2}))?", text)
    if not found:
        return None
    sign = -1 if found[1] == "-" else 1
    delta = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    return timezone(sign * delta) if delta <= timedelta(hours=14) else None


_CLOCKS = (" %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S.%f", "")


def date_patterns(order: str | None) -> tuple[str, ...]:
    """strptime patterns of numeric dates in an order (month first where it is not known)."""
    day_month = ("%d", "%m") if order == "day_first" else ("%m", "%d")
    dates = [sep.join((*day_month, year)) for sep in "/-." for year in ("%Y", "%y")]
    plain = (date + clock for date in ("%Y-%m-%d", "%Y/%m/%d", "%d %b %Y", *dates) for clock in _CLOCKS)
    return (*plain, *(f"%Y-%m-%d{blank}%H:%M:%S{part}%z" for blank in " T" for part in ("", ".%f")))


def date_order(dates: list[str], options: Options) -> str | None:
    """Which part of 03/04/2022 is the month: the contract's word, else what the file proves, or None."""
    if options.date_order:
        return options.date_order
    if dates and all(re.match(r"\s*(?:\d{4}\D|\d{1,2}[ -][A-Za-z]{3})", date) for date in dates):
        return "month_first"  # year first, or a month by its name: nothing to decide
    parts = [re.match(r"\s*(\d{1,2})\D(\d{1,2})\D\d{2,4}", date) for date in dates]
    first = any(p and int(p[1]) > 12 for p in parts)
    second = any(p and int(p[2]) > 12 for p in parts)
    if first == second:
        return None
    return "day_first" if first else "month_first"


MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class Column:
    """How a column is read.

    kind: text as printed; number (times factor, in the unit of the term); time; person (masked); status
    (kept, and a flag unless it is one of `fine`).
    """

    term: str
    kind: Literal["text", "number", "time", "person", "status"] = "text"
    factor: Decimal = Decimal(1)
    fine: frozenset[str] = frozenset({"", "ok"})


@dataclass
class Record:
    """One record on the way; `row` is its source_row."""

    row: int
    values: dict[str, str | None] = field(default_factory=dict)


class Collector:
    """Collects the records, flags and refusals of one file."""

    def __init__(self, path: Path, name: str, options: Options) -> None:
        self.path = path
        self.name = name
        self.options = options
        self.records: list[Record] = []
        self.flags: list[Flag] = []
        self.refused: list[Refused] = []
        self._persons: dict[str, str] = {}

    def record(self, row: int) -> Record:
        """Begin a record."""
        record = Record(row)
        self.records.append(record)
        return record

    def flag(self, record: Record, name: str, text: str) -> None:
        """Keep what the file says about a value."""
        self.flags.append(Flag(record.row, name, text))

    def refuse(self, record: Record, name: str, value: str | None, reason: Reason, mend: str) -> None:
        """Refuse one field of a record."""
        self.refused.append(Refused(record.row, name, value, reason, mend))

    def text(self, record: Record, term: str, printed: str | None) -> None:
        """Text as printed, without blanks around it."""
        record.values[term] = None if printed is None else printed.strip()

    def person(self, printed: str | None) -> str | None:
        """A name of a person or computer, masked: the same name gets the same number within the file."""
        if printed is None or not printed.strip():
            return printed if printed is None else ""
        return self._persons.setdefault(printed.strip(), f"masked {len(self._persons) + 1}")

    def unnamed(self, text: str) -> str:
        """A text as it is, masked where it is the name of a person that the file was found to hold."""
        return self._persons.get(text.strip(), text)

    def number(self, record: Record, term: str, printed: str | None, factor: Decimal = Decimal(1)) -> None:
        """A number in the unit of the term (printed times factor), and the text where it is anything else."""
        record.values[term] = None
        if printed is None or not printed.strip():
            return
        text = printed.strip()
        value = printed_number(text, self.options)
        if value is None and (remark := _REMARK.fullmatch(text)):
            value = printed_number(remark[1], self.options)
            if value is not None:
                self.flag(record, term, remark[2].strip("()"))
        if value is not None:
            as_is = factor == 1 and _PLAIN.fullmatch(text)
            record.values[term] = text if as_is else plain(value * factor)
        elif (limit := _CENSORED.fullmatch(text)) and (
            bound := printed_number(limit[2], self.options)
        ) is not None:
            record.values[f"{term}_operator"] = limit[1]
            record.values[f"{term}_limit"] = plain(bound * factor)
            self.flag(record, term, text)
        else:
            self.flag(record, term, text)
            if text.casefold() not in _NO_VALUE:
                mend = (
                    "Not a number, nor a word instruments are known to print: correct it at the instrument."
                )
                self.refuse(record, term, text, "bad_number", mend)
        if record.values[term] != text:
            record.values[f"{term}_as_printed"] = text

    def time(
        self,
        record: Record,
        term: str,
        printed: str | None,
        patterns: tuple[str, ...],
        zone: tzinfo | None = None,
        *,
        order_known: bool = True,
    ) -> None:
        """A time with its offset, from the file or the contract's zone; else `<term>_local` keeps the text.

        A date without a clock becomes `<term>_date` and no time.
        """
        record.values[term] = None
        if printed is None or not printed.strip():
            return
        text = " ".join(printed.split())
        record.values[f"{term}_as_printed"] = printed.strip()
        fits = _first_that_fits(text, patterns)
        if fits is None:
            self.refuse(
                record,
                term,
                printed.strip(),
                "bad_time",
                "Not a time that exists: correct it at the instrument.",
            )
            return
        local, has_clock = fits
        if not order_known:
            record.values[f"{term}_local"] = printed.strip()
            self.flag(record, term, "date_order_unknown")
            return
        if not has_clock:
            record.values[f"{term}_date"] = local.date().isoformat()
            return
        if local.tzinfo is not None:
            record.values[term] = local.isoformat()
            return
        if zone is None and self.options.zone:
            zone = ZoneInfo(self.options.zone)
        if zone is None:
            record.values[f"{term}_local"] = printed.strip()
            self.flag(record, term, "no_time_zone")
            return
        early, late = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
        if early.utcoffset() == late.utcoffset():
            record.values[term] = early.isoformat()
        elif early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
            mend = f"The clock skips this time in {self.options.zone}: correct the clock or the zone."
            self.refuse(record, term, printed.strip(), "bad_time", mend)
        else:
            record.values[f"{term}_local"] = printed.strip()
            self.flag(record, term, "ambiguous_time")

    def take(self, record: Record, column: Column, printed: str, order: str | None = "month_first") -> None:
        """Read one printed value as its column says; `order` is the file's date order, None if unknown."""
        if column.kind == "number":
            self.number(record, column.term, printed, column.factor)
        elif column.kind == "time":
            self.time(record, column.term, printed, date_patterns(order), order_known=order is not None)
        elif column.kind == "person":
            record.values[column.term] = self.person(printed)
        else:
            self.text(record, column.term, printed)
            if column.kind == "status" and printed.strip().casefold() not in column.fine:
                self.flag(record, column.term, printed.strip())

    def reading(self, received: int, header: dict[str, Any] | None = None) -> Reading:
        """All that was collected."""
        rows = sorted(self.records, key=lambda r: r.row)
        records = frame((r.row, r.values) for r in rows)
        return reading(
            self.path,
            self.name,
            records,
            received,
            flags=self.flags,
            refused=sorted(self.refused, key=lambda r: r.source_row or 0),
            header=header,
        )


def _first_that_fits(text: str, patterns: tuple[str, ...]) -> tuple[datetime, bool] | None:
    """The time by the first pattern that fits, and whether the pattern has a clock."""
    for pattern in patterns:
        try:
            clock = "%H" in pattern or "%I" in pattern
            return datetime.strptime(text, pattern), clock  # noqa: DTZ007  # the zone comes from elsewhere
        except ValueError:
            continue
    return None


def wrong_layout(path: Path, name: str, missing: str) -> UnreadableFile:
    """The failure of a file of another version than the reader knows."""
    return UnreadableFile(
        path,
        missing,
        f"not the layout of {name} exports this reader knows",
        "Nothing of it was taken: export it in a layout the documentation lists, or name another format.",
    )
