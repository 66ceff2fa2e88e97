"""Delimited text: any delimiter, quoting and encoding, with each malformed row refused alone.

Here: layout (names, preamble, encoding), the hand-over to DuckDB for files of any size, and `read` for
small ones. Numbers stay text: decimal commas, units and times are the contract's to map. Row boundaries
are found in `rows`.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from pipelines.formats.protocol import Flag, Options, Reading, Refused, UnreadableFile, reading
from pipelines.formats.rows import BLOCK, Data, FileBytes, Rows, count_regular, find_rows
from pipelines.formats.text import check_text, decode, encoding_of

DELIMITERS = ",;\t|"
_DUCKDB_ENCODING = {"utf-8": "utf-8", "ascii": "utf-8", "iso8859-1": "latin-1"}
# encodings in which delimiters and line ends are the bytes they look like
_ONE_BYTE = (
    "utf-8",
    "ascii",
    "iso8859",
    "cp125",
    "mac-",
)
_LONGEST_LINE = 2 << 20
# Of files from this size on a line is taken of so many bytes, where two lines are not longer than the last number.
SAMPLED_FROM, SAMPLED = 4 << 20, 32 << 10
_SAMPLED_LINES = 2 << 10
_LINES_OF_NAMES = 50  # a line of names that goes on over more lines is an unclosed quote
# Stands for the file, or a list of files, in SQL that reads them; no path holds a NUL character.
FILES = "\0files"


@cache
def engine() -> duckdb.DuckDBPyConnection:
    """The DuckDB that small files are parsed in, one a process (opening one costs more than a file); take a cursor.

    On one core: to share a small file out costs more than it gives.
    """
    return duckdb.connect(config={"threads": 1})


@dataclass(frozen=True)
class Scan:
    """A file ready for DuckDB.

    sql: goes after FROM; gives source_row (BIGINT) and then `columns`, all VARCHAR for text.
    unnumbered: the same rows in file order without source_row. DuckDB reads it on all cores, while
        numbering rows takes one: copy it to Parquet first (order is kept) and use `numbered` on that.
    gaps: (k, n) pairs: from the k-th well-formed record on, n records before it were refused.
    """

    sql: str
    unnumbered: str
    columns: tuple[str, ...]
    gaps: tuple[tuple[int, int], ...]
    received: int
    refused: tuple[Refused, ...]
    header: dict[str, Any]
    flags: tuple[Flag, ...] = ()
    # `unnumbered` with FILES in place of the file: files that share it can be read in one go. And which file that is.
    together: str = ""
    file: Path | None = None
    # Of a long file a short one with some of its lines, from all over it; None where there is none.
    sample: Path | None = None


def numbered(rows: str, position: str, gaps: tuple[tuple[int, int], ...]) -> str:
    """FROM-clause that adds source_row to well-formed rows; `position` is the SQL of their number from 1."""
    if not gaps:
        return f"(SELECT {position} AS source_row, * FROM {rows})"
    pairs = ", ".join(f"({first}, {skipped})" for first, skipped in ((0, 0), *gaps))
    return (
        f"(SELECT k + skipped AS source_row, good.* EXCLUDE (k) "
        f"FROM (SELECT {position} AS k, * FROM {rows}) AS good "
        f"ASOF JOIN (VALUES {pairs}) AS gaps (first, skipped) ON good.k >= gaps.first)"
    )


@dataclass(frozen=True)
class _Layout:
    names: tuple[str, ...]
    delimiter: str
    encoding: str
    start: int  # byte of the first record
    lines_before: int | None  # lines to skip to it, None when a name holds a line end
    preamble: tuple[str, ...]


def scan(path: Path, options: Options, scratch: Path | None = None, *, quick: bool = False) -> Scan:
    """Check a file of any size and say how DuckDB reads it.

    A file with malformed rows (or an encoding DuckDB cannot read) is copied without them into
    `scratch`, a folder that must live until the SQL has run; without one such a file raises ValueError.
    With `quick` records are only counted where all look alike; a row that is malformed nonetheless stops DuckDB.
    """
    with _opened(path, options) as (data, encoding, transcoded):
        layout = _layout(path, data, encoding, options)
        rows = _rows(path, data, layout, options, quick=quick)
        refused = tuple(_refusal(bad, layout) for bad in rows.bad)
        irregular = (
            bool(rows.bad)
            or transcoded
            or layout.lines_before is None
            or layout.encoding not in _DUCKDB_ENCODING
            or (bool(rows.blank) and len(layout.names) == 1)
            or any(c in str(path) for c in "*?[")
        )
        if irregular:
            if scratch is None:
                raise ValueError(f"{path.name} has rows to leave out: give scan a scratch folder")
            file = _clean_copy(data, layout, rows, scratch)
            together = _read_csv(layout, options, rows, skip=0, encoding="utf-8")
        else:
            file = path
            known = _DUCKDB_ENCODING[layout.encoding]
            together = _read_csv(layout, options, rows, skip=layout.lines_before or 0, encoding=known)
        sample = None
        if quick and not irregular and scratch is not None:
            sample = _sample(data, layout, rows, scratch)
    header: dict[str, Any] = {
        "columns": list(layout.names),
        "delimiter": layout.delimiter,
        "encoding": layout.encoding,
    }
    if layout.preamble:
        header["preamble"] = list(layout.preamble)
    gaps = _gaps(rows)
    rows_sql = together.replace(FILES, _literal(str(file)))
    sql = numbered(rows_sql, "row_number() OVER ()", gaps)
    return Scan(
        sql, rows_sql, layout.names, gaps, rows.received, refused, header, together=together, file=file,
        sample=sample,
    )  # fmt: skip


def scan_sql(path: Path, options: Options, scratch: Path | None = None) -> str:
    """What goes after FROM to read the file in DuckDB; see `scan` for the count and the refusals."""
    return scan(path, options, scratch).sql


def count_records(path: Path, options: Options) -> int:
    """Records in the file, malformed ones included, counted on the bytes without DuckDB."""
    with _opened(path, options) as (data, encoding, _):
        layout = _layout(path, data, encoding, options)
        return _rows(path, data, layout, options).received


class Delimited:
    """Any delimited file, as text."""

    name = "delimited"

    def recognises(self, head: bytes, filename: str) -> bool:
        """A name that says so, and a first line with a delimiter."""
        if not filename.lower().endswith((".csv", ".tsv", ".txt", ".tab")):
            return False
        try:
            text = decode(Path(filename), head[: head.rfind(b"\n") + 1] or head, Options(), "cp1252")
        except UnreadableFile:
            return False
        return _delimiter(text.splitlines()[:20]) is not None

    def read(self, path: Path, options: Options) -> Reading:
        """Read every record as text."""
        with tempfile.TemporaryDirectory() as folder:
            found = scan(path, options, Path(folder))
            try:
                with engine().cursor() as connection:
                    records = connection.sql(f"SELECT * FROM {found.sql} ORDER BY source_row").pl()
            except duckdb.Error as failed:
                raise UnreadableFile(
                    path,
                    "",
                    f"the parser stopped: {str(failed).splitlines()[0]}",
                    "Check delimiter and quote.",
                ) from failed
        return reading(path, self.name, records, found.received, refused=found.refused, header=found.header)


@contextmanager
def _opened(path: Path, options: Options) -> Iterator[tuple[Data, str, bool]]:
    """The file's bytes in an ASCII-compatible encoding, without its byte order mark, in bounded memory."""
    try:
        handle = path.open("rb")
    except OSError as failed:
        raise UnreadableFile(path, "", f"cannot be opened: {failed.strerror}", "Check the path.") from failed
    with handle:
        size = os.fstat(handle.fileno()).st_size
        if size == 0:
            raise UnreadableFile(
                path,
                "0 bytes",
                "the file is empty",
                "The file is kept as sent; ask the site to send it again.",
            )
        encoding, mark = encoding_of(path, handle.read(4), options)
        if not encoding.startswith(_ONE_BYTE):
            yield memoryview(decode(path, path.read_bytes(), options).encode()), "utf-8", True
        elif size == mark:
            raise UnreadableFile(path, f"{mark} bytes", "nothing but a byte order mark", "Send it again.")
        else:
            yield FileBytes(handle, mark), encoding, False


def _layout(path: Path, data: Data, encoding: str, options: Options) -> _Layout:
    """Names, delimiter and where the records begin."""
    head = bytes(data[:BLOCK])
    end = b"\n" if b"\n" in head else b"\r"
    check_text(path, head[: head.rfind(end) + 1] or head, encoding, 0)
    before = (options.header_row - 1) if options.header_row else 0
    lines = head.split(end, before + options.skip_rows + _LINES_OF_NAMES)
    if before >= len(lines):
        raise UnreadableFile(
            path,
            f"line {before + 1}",
            "the file ends before its column names",
            "Check header_row in the contract.",
        )
    at = sum(len(line) + 1 for line in lines[:before])
    preamble = tuple(line.decode(encoding).rstrip("\r") for line in lines[:before])
    taken = 0
    names: list[str] = []
    delimiter = options.delimiter
    if delimiter is None:
        sample = [line.decode(encoding, "replace").rstrip("\r") for line in lines[before : before + 20]]
        delimiter = _delimiter(sample) or ","
    if options.header_row:
        text, taken = _header_record(path, lines[before:], end, encoding, options)
        reader = _csv_reader([text], delimiter, options)
        try:
            names = next(reader, [])
        except csv.Error as wrong:
            raise UnreadableFile(
                path, f"line {before + 1}", f"column names: {wrong}", "Check quote."
            ) from wrong
        unnamed = sum(not name.strip() for name in names)
        if unnamed > max(1, len(names) // 3) or unnamed == len(names):
            raise UnreadableFile(
                path,
                f"line {before + 1}",
                f"{unnamed} of {len(names)} columns have no name on this line",
                "Set header_row to the line of the column names.",
            )
    if options.columns is not None:
        if names and len(names) != len(options.columns):
            raise UnreadableFile(
                path,
                f"line {before + 1}",
                f"{len(options.columns)} columns are declared, the file has {len(names)}",
                "Make columns in the contract agree with the file.",
            )
        names = list(options.columns)
    if not names:
        raise UnreadableFile(path, "", "no column names", "State columns in the contract, or header_row.")
    skipped = taken + options.skip_rows
    at += sum(len(line) + 1 for line in lines[before : before + skipped])
    plain = taken <= 1 and not any(not line.strip() for line in lines[: before + skipped])
    return _Layout(
        unique_names(names),
        delimiter,
        encoding,
        min(at, len(data)),
        before + skipped if plain else None,
        preamble,
    )


def _csv_reader(lines: list[str], delimiter: str, options: Options) -> Iterator[list[str]]:
    if not options.quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=options.quote)


def _header_record(
    path: Path, lines: list[bytes], end: bytes, encoding: str, options: Options
) -> tuple[str, int]:
    """The line of names, joined with the next while a quote is open."""
    quote = options.quote.encode()
    record = b""
    for taken, line in enumerate(lines[:_LINES_OF_NAMES], 1):
        record += line + end
        if not quote or record.count(quote) % 2 == 0:
            return record.decode(encoding).rstrip("\r\n"), taken
    raise UnreadableFile(path, "column names", "a quote that never closes", "Check quote in the contract.")


def _delimiter(lines: list[str]) -> str | None:
    """The delimiter that splits the first line into most names and the following lines alike."""
    lines = [line for line in lines if line.strip()]
    if not lines:
        return None
    best, most = None, 0
    for candidate in DELIMITERS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=candidate)]
        except csv.Error:  # a line end where none can be, a field without end
            continue
        usual = Counter(counts).most_common(1)[0][0]
        if counts[0] > 1 and usual > 1 and counts.count(usual) * 2 > len(counts) and usual > most:
            best, most = candidate, usual
    return best


def repeated_names(names: tuple[str, ...], used: set[str]) -> list[str]:
    """Which of the columns in use a file names twice: nobody can tell which of the two is meant."""
    return sorted(name for name in used if name in names and f"{name}_2" in names and f"{name}_2" not in used)


def unique_names(names: list[str]) -> tuple[str, ...]:
    """Column names without blanks around them, each different (also to engines that ignore case)."""
    taken = {"source_row"}
    result = []
    for position, name in enumerate(names, 1):
        base = name.strip() or f"column_{position}"
        candidate, again = base, 2
        while candidate.casefold() in taken:
            candidate = f"{base}_{again}"
            again += 1
        taken.add(candidate.casefold())
        result.append(candidate)
    return tuple(result)


def _rows(path: Path, data: Data, layout: _Layout, options: Options, *, quick: bool = False) -> Rows:
    at = layout.start
    while at < len(data):
        block = bytes(data[at : at + BLOCK])
        if at + BLOCK < len(data):
            block = block[: block.rfind(b"\n") + 1] or block  # never cut within a character
        check_text(path, block, layout.encoding, at)
        at += len(block)
    if options.ends_with_newline and not _ends_with(data, b"\n"):
        raise UnreadableFile(
            path,
            f"byte {len(data)}",
            "the last line has no line end: the file is half-written",
            "It is read when it has arrived whole.",
        )
    if quick and (
        regular := count_regular(
            data,
            layout.start,
            delimiter=layout.delimiter,
            quote=options.quote,
            values=len(layout.names),
        )
    ):
        return regular
    return find_rows(
        data,
        layout.start,
        delimiter=layout.delimiter,
        quote=options.quote,
        values=len(layout.names),
        path=path,
    )


def _ends_with(data: Data, end: bytes) -> bool:
    return bytes(data[-len(end) :]) == end


def _refusal(bad: Any, layout: _Layout) -> Refused:
    if bad.reason == "ragged_row":
        mend = (
            f"The row has {bad.found} values for {len(layout.names)} column names: correct it in the source."
        )
    elif bad.reason == "stray_line_end":
        mend = "A carriage return stands inside a value: quote the value or take it out in the source."
    else:
        mend = "A quote stands inside a value or never closes: correct the row, or declare quote: ''."
    return Refused(bad.row, None, None, bad.reason, mend)


def _clean_copy(data: Data, layout: _Layout, rows: Rows, scratch: Path) -> Path:
    """The well-formed records alone, as UTF-8, for DuckDB."""
    handle, name = tempfile.mkstemp(suffix=".csv", dir=scratch)
    cuts = sorted([(bad.start, bad.end) for bad in rows.bad] + rows.blank)
    with os.fdopen(handle, "wb") as out:
        at = layout.start
        for start, end in [*cuts, (len(data), len(data))]:
            for part in range(at, start, BLOCK):
                block = bytes(data[part : min(part + BLOCK, start)])
                if layout.encoding not in ("utf-8", "ascii"):
                    block = block.decode(layout.encoding).encode()
                out.write(block)
            at = end
    return Path(name)


def _sample(data: Data, layout: _Layout, rows: Rows, scratch: Path) -> Path | None:
    """The head of a file and, of every `SAMPLED` bytes of records, the first whole line; None of a short file."""
    if len(data) < SAMPLED_FROM or rows.inner or rows.returns:
        return None
    handle, name = tempfile.mkstemp(suffix=".csv", dir=scratch)
    with os.fdopen(handle, "wb") as out:
        out.write(bytes(data[: layout.start]))
        for at in range(layout.start, len(data), SAMPLED):
            # The lines that lie in it whole: of which the first, but where the records begin, is the rest of one.
            lines = bytes(data[at : at + _SAMPLED_LINES]).split(b"\n")[:-1]
            line = lines[0 if at == layout.start else 1 :][:1]
            out.writelines(one + b"\n" for one in line)
    return Path(name)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _read_csv(layout: _Layout, options: Options, rows: Rows, *, skip: int, encoding: str) -> str:
    columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in layout.names)
    names = ", ".join(_literal(name) for name in layout.names)
    quote = _literal(options.quote)
    # line ends of several kinds are well-formed here, and only DuckDB's tolerant parser takes them
    strict = str(not (rows.crlf > 0 and (rows.lf > 0 or rows.inner))).lower()
    # said, because DuckDB takes a carriage return in a quoted value for the line end; \r\n it cannot be told
    end = ", new_line='\\r'" if rows.returns else ", new_line='\\n'" if rows.lf > 0 and not rows.crlf else ""
    return (
        f"read_csv({FILES}, auto_detect=false, header=false, skip={skip}, "
        f"delim={_literal(layout.delimiter)}, quote={quote}, escape={quote}, encoding={_literal(encoding)}, "
        f"columns={{{columns}}}, force_not_null=[{names}], "
        f"max_line_size={max(_LONGEST_LINE, 2 * rows.longest)}, compression='none', "
        f"strict_mode={strict}{end})"
    )


def _gaps(rows: Rows) -> tuple[tuple[int, int], ...]:
    """From which well-formed record on how many were refused before it."""
    steps: dict[int, int] = {}
    for refused_before, bad in enumerate(rows.bad):
        steps[bad.row - refused_before] = refused_before + 1
    return tuple(sorted(steps.items()))
