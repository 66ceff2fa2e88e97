"""JSON lines: one object a line, each bad line refused alone.

Here: lines into records of text. Numbers keep their digits, nested values stay JSON text. What a FHIR or
any other resource means belongs in that format's own module.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.formats.delimited import unique_names
from pipelines.formats.protocol import Options, Reading, Reason, Refused, UnreadableFile, reading
from pipelines.formats.text import decode, encoding_of, whole

_CORRECT = "Correct the line in the source and send the file again; the other lines are taken."


class Number(str):
    """A JSON number with the digits it was printed with."""

    __slots__ = ()


class NotTakenError(Exception):
    """Why one JSON text is not a record."""

    def __init__(self, reason: Reason, mend: str) -> None:
        self.reason: Reason = reason
        self.mend = mend
        super().__init__(mend)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotTakenError("bad_json", "A key appears twice in one object. " + _CORRECT)
    return result


def _constant(word: str) -> Any:
    raise NotTakenError("bad_json", f"{word} is not JSON. " + _CORRECT)


def parse(text: str) -> Any:
    """JSON text into Python values, numbers as `Number`; raises NotTakenError with the reason."""
    try:
        return json.loads(
            text, parse_int=Number, parse_float=Number, parse_constant=_constant, object_pairs_hook=_pairs
        )
    except json.JSONDecodeError as wrong:
        raise NotTakenError("bad_json", f"{wrong.msg} at character {wrong.pos + 1}. " + _CORRECT) from wrong
    except RecursionError as deep:
        raise NotTakenError("bad_json", "Nested too deeply. " + _CORRECT) from deep


def dump(value: Any) -> str:
    """Python values back into compact JSON text, numbers with the digits they came with."""
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{dump(v)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(dump(v) for v in value) + "]"
    if isinstance(value, Number):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def as_text(value: Any) -> str | None:
    """A JSON value as a record keeps it: text and numbers as printed, nested values as JSON text."""
    if value is None:
        return None
    return str(value) if isinstance(value, str) else dump(value)


def object_of(text: str) -> dict[str, Any]:
    """A JSON object; raises NotTakenError."""
    value = parse(text)
    if not isinstance(value, dict):
        raise NotTakenError("not_an_object", "The line is JSON but not an object. " + _CORRECT)
    return value


def frame(rows: Iterable[tuple[int, dict[str, str | None]]]) -> pl.DataFrame:
    """Records of text into a frame: source_row, then every field in the order first seen; absent is null."""
    numbers: list[int] = []
    columns: dict[str, list[str | None]] = {}
    for count, (number, row) in enumerate(rows):
        numbers.append(number)
        for name, value in row.items():
            if name not in columns:
                columns[name] = [None] * count
            columns[name].append(value)
        for values in columns.values():
            if len(values) <= count:
                values.append(None)
    names = unique_names(list(columns))
    data = {
        name: pl.Series(name, v, dtype=pl.String) for name, v in zip(names, columns.values(), strict=True)
    }
    return pl.DataFrame({"source_row": pl.Series("source_row", numbers, dtype=pl.Int64), **data})


def lines_of(path: Path, options: Options) -> list[bytes]:
    """The lines with something on them, as UTF-8 bytes (UTF-16 and declared encodings are converted)."""
    data = whole(path)
    encoding, mark = encoding_of(path, data[:4], options)
    data = data[mark:] if encoding == "utf-8" else decode(path, data, options).encode()
    if options.ends_with_newline and not data.endswith(b"\n"):
        raise UnreadableFile(
            path,
            f"byte {len(data)}",
            "the last line has no line end: the file is half-written",
            "It is read when it has arrived whole.",
        )
    lines = [line for line in data.split(b"\n") if line.strip()]
    if not lines:
        raise UnreadableFile(path, f"{len(data)} bytes", "nothing but blank lines", "Ask for the file again.")
    return lines


def objects(path: Path, options: Options) -> tuple[list[tuple[int, dict[str, Any]]], list[Refused], int]:
    """Numbered objects of a JSON lines file, the lines refused, and how many lines came."""
    lines = lines_of(path, options)
    good: list[tuple[int, dict[str, Any]]] = []
    refused: list[Refused] = []
    for number, line in enumerate(lines, 1):
        try:
            good.append((number, object_of(line.decode())))
        except UnicodeDecodeError as wrong:
            mend = f"Byte {wrong.start + 1} of the line is not UTF-8. " + _CORRECT
            refused.append(Refused(number, None, None, "bad_encoding", mend))
        except NotTakenError as wrong:
            refused.append(Refused(number, None, None, wrong.reason, wrong.mend))
    if not good:
        raise UnreadableFile(
            path, f"all {len(lines)} lines", "not one line is a JSON object", "Check the format and the file."
        )
    return good, refused, len(lines)


class JsonLines:
    """One JSON object a line."""

    name = "jsonl"

    def recognises(self, head: bytes, filename: str) -> bool:
        """The first line is a JSON object by itself and the name says lines, or there are more such lines."""
        lines = [line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
        if not lines:
            return False
        try:
            object_of(lines[0].decode())
        except (NotTakenError, UnicodeDecodeError):
            return filename.lower().endswith((".jsonl", ".ndjson")) and lines[0].lstrip().startswith(b"{")
        return filename.lower().endswith((".jsonl", ".ndjson")) or len(lines) > 1

    def read(self, path: Path, options: Options) -> Reading:
        """Read every line."""
        good, refused, received = objects(path, options)
        records = frame((n, {key: as_text(value) for key, value in o.items()}) for n, o in good)
        return reading(path, self.name, records, received, refused=refused)
