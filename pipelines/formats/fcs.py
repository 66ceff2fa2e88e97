"""Flow cytometry standard files 2.0 to 3.2: events as measured, keywords, spillover, compensation.

Here: an own reader, because 24-bit and bit-packed integers defeat the usual libraries. One record is one
event, in channel values as stored, typed; of a file with several data sets each event says which it is of.
What stands beside the events and cannot be read (a spillover matrix that does not add up, a supplement that
holds no keywords) is refused alone. Gating belongs in `gating_ml`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.formats.delimited import unique_names
from pipelines.formats.protocol import Options, Reading, Refused, UnreadableFile, reading
from pipelines.formats.text import whole

_SEND_AGAIN = "Export the file again from the cytometer."
_FLOATS = {"F": 32, "D": 64}
_MOST_DATA_SETS = 100  # a chain of offsets that leads back into the file ends here
_VERSIONS = ("FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2")
_PERSONS = {
    "$OP",
    "EXPORT USER NAME",
    "USER NAME",
    "OPERATOR",
    "$LAST_MODIFIER",
    "AUTHOR",
    "COMPUTER",
    "WORKSTATION",
}
_SPILL = ("$SPILLOVER", "SPILLOVER", "SPILL", "$SPILL", "$COMP")


class Fcs:
    """FCS list mode."""

    name = "fcs"

    def recognises(self, head: bytes, filename: str) -> bool:
        """The version stands in the first bytes."""
        del filename
        return re.match(rb"FCS\d\.\d ", head) is not None

    def read(self, path: Path, options: Options) -> Reading:
        """Read every event of every data set."""
        del options
        data = whole(path)
        refused: list[Refused] = []
        sets: list[tuple[pl.DataFrame, dict[str, Any]]] = []
        received = at = 0
        while True:
            if len(sets) == _MOST_DATA_SETS:
                raise UnreadableFile(path, "$NEXTDATA", f"more than {len(sets)} data sets", _SEND_AGAIN)
            events, header, following = _data_set(path, data[at:], refused)
            sets.append((events, header))
            received += header["events"]
            if not following:
                break
            at += following
        if len(sets) == 1:
            records, header = sets[0]
        else:
            numbered = [e.insert_column(0, pl.lit(n).alias("data_set")) for n, (e, _) in enumerate(sets, 1)]
            records = pl.concat(numbered, how="diagonal_relaxed")
            header = {**sets[0][1], "events": received, "data_sets": [header for _, header in sets]}
        rows = pl.int_range(1, records.height + 1, dtype=pl.Int64, eager=True).alias("source_row")
        records = records.insert_column(0, rows)
        return reading(path, self.name, records, received, refused=refused, header=header)


def _data_set(path: Path, data: bytes, refused: list[Refused]) -> tuple[pl.DataFrame, dict[str, Any], int]:
    """The events of the data set at the start of `data`, its header, and where the next one begins (0: none)."""
    version, keywords, begin, end = _segments(path, data, refused)
    channels = _channels(path, keywords)
    events, count = _events(path, data, keywords, channels, (begin, end))
    names = unique_names([channel["name"] for channel in channels])
    table = pl.DataFrame({name: pl.Series(name, events[i]) for i, name in enumerate(names)})
    header = {
        "version": version,
        "events": count,
        "cytometer": keywords.get("$CYT", ""),
        "date": keywords.get("$DATE", ""),
        "begin_time": keywords.get("$BTIM", ""),
        "end_time": keywords.get("$ETIM", ""),
        "datatype": keywords["$DATATYPE"],
        "byteord": keywords["$BYTEORD"],
        "channels": channels,
        "spillover": _spillover_or_refusal(path, keywords, refused),
        "keywords": {
            key: ("masked" if key in _PERSONS and value.strip() else value) for key, value in keywords.items()
        },
    }
    following = _integer(path, keywords, "$NEXTDATA", 0)
    # some programs write an offset to nothing; one behind the end is a file cut off
    if following > len(data):
        raise UnreadableFile(path, "$NEXTDATA", "a further data set is missing", _SEND_AGAIN)
    return table, header, following if following > 0 and data[following : following + 3] == b"FCS" else 0


def _spillover_or_refusal(
    path: Path, keywords: dict[str, str], refused: list[Refused]
) -> dict[str, Any] | None:
    """The spillover matrix; one that does not add up is refused and the events stay, uncompensated."""
    try:
        return spillover_of(path, keywords)
    except UnreadableFile as wrong:
        key = next(key for key in _SPILL if keywords.get(key))
        mend = f"{wrong.problem} The events are as measured. {wrong.mend}"
        refused.append(Refused(None, key, keywords[key], "damaged_element", mend))
        return None


def _segments(path: Path, data: bytes, refused: list[Refused]) -> tuple[str, dict[str, str], int, int]:
    """Version, keywords (bytes one to one as Latin-1 characters) and the bytes [begin, end] of the data."""
    version = data[:6].decode("ascii", "replace")
    if version not in _VERSIONS:
        raise UnreadableFile(
            path, "byte 1", f"{version!r} is no version this reader knows", "Export as FCS 3.1."
        )
    try:
        text_begin, text_end = (int(data[at : at + 8] or b"x") for at in (10, 18))
        # blank where they do not fit into eight digits: the keywords have them
        begin, end = (int(data[at : at + 8].strip() or b"0") for at in (26, 34))
    except ValueError as wrong:
        raise UnreadableFile(path, "bytes 11 to 42", "offsets that are no numbers", _SEND_AGAIN) from wrong
    if not 58 <= text_begin < text_end < len(data):
        raise UnreadableFile(path, f"byte {len(data)}", "the file ends before its keywords", _SEND_AGAIN)
    keywords = _keywords(path, data[text_begin : text_end + 1])
    if version != "FCS2.0":
        begin = _integer(path, keywords, "$BEGINDATA", begin) or begin
        end = _integer(path, keywords, "$ENDDATA", end) or end
        extra = _integer(path, keywords, "$BEGINSTEXT", 0), _integer(path, keywords, "$ENDSTEXT", 0)
        if 0 < extra[0] < extra[1] < len(data) and extra[0] != text_begin:
            try:
                keywords.update(_keywords(path, data[extra[0] : extra[1] + 1]))
            except UnreadableFile as wrong:
                if "$PAR" not in keywords:
                    raise
                mend = f"The supplement holds no keywords; those of the file are read. {wrong.mend}"
                refused.append(Refused(None, "$BEGINSTEXT", None, "damaged_element", mend))
    if keywords.get("$MODE", "L").upper() != "L":
        raise UnreadableFile(path, "$MODE", "histograms, not events", "Export events (list mode).")
    return version, keywords, begin, end


def _keywords(path: Path, text: bytes) -> dict[str, str]:
    """Keyword and value pairs between delimiters.

    By the standard a doubled delimiter is one in the value and no value is empty; some programs write
    empty values instead, which also doubles it. The reading that gives whole pairs is taken.
    """
    mark, body = text[:1], text[1:].rstrip(b"\x00 \r\n")
    body = body.removesuffix(mark)
    doubled = body.replace(mark * 2, b"\x00").split(mark)
    standard = [part.replace(b"\x00", mark) for part in doubled]
    for parts in (standard, body.split(mark)):
        if len(parts) % 2 and not parts[-1].strip():
            parts.pop()
        names = {name.strip().upper() for name in parts[::2]}
        if len(parts) % 2 == 0 and (b"$PAR" in names or b"$BEGINSTEXT" not in names):
            clean = [part.decode("latin-1").strip() for part in parts]
            return {key.upper(): value for key, value in zip(clean[::2], clean[1::2], strict=True)}
    raise UnreadableFile(path, "keywords", "keywords and values do not pair up", _SEND_AGAIN)


def _integer(path: Path, keywords: dict[str, str], key: str, default: int | None = None) -> int:
    text = keywords.get(key, "")
    if not text and default is not None:
        return default
    try:
        return int(text)
    except ValueError as wrong:
        raise UnreadableFile(path, key, f"{text!r} is no whole number", _SEND_AGAIN) from wrong


def _channels(path: Path, keywords: dict[str, str]) -> list[dict[str, Any]]:
    for key in ("$PAR", "$DATATYPE", "$BYTEORD"):
        if key not in keywords:
            raise UnreadableFile(path, key, "a required keyword is missing", _SEND_AGAIN)
    channels = []
    for i in range(1, _integer(path, keywords, "$PAR") + 1):
        channels.append(
            {
                "name": _utf8(keywords.get(f"$P{i}N", "")),
                "label": _utf8(keywords.get(f"$P{i}S", "")),
                "bits": _integer(path, keywords, f"$P{i}B"),
                "datatype": keywords.get(f"$P{i}DATATYPE", keywords["$DATATYPE"]).upper(),
                "range": keywords.get(f"$P{i}R", ""),
                "amplification": keywords.get(f"$P{i}E", ""),
                "gain": keywords.get(f"$P{i}G", ""),
            }
        )
    if not channels:
        raise UnreadableFile(path, "$PAR", "no channels", _SEND_AGAIN)
    return channels


def _utf8(text: str) -> str:
    """Keywords are UTF-8 where that makes sense of the bytes, else Latin-1."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text


def _events(
    path: Path, data: bytes, keywords: dict[str, str], channels: list[dict[str, Any]], extent: tuple[int, int]
) -> tuple[list[npt.NDArray[Any]], int]:
    """One array a channel, and the number of events by the length of the data segment."""
    order = _byte_order(path, keywords["$BYTEORD"])
    kinds = {channel["datatype"] for channel in channels}
    if unknown := kinds - {"I", "F", "D"}:
        what = f"events of type {', '.join(sorted(unknown))}"
        raise UnreadableFile(path, "$DATATYPE", what, "Export them as numbers, not text.")
    bits = [channel["bits"] for channel in channels]
    per_event = sum(bits)
    begin, end = extent
    length = end - begin + 1
    if begin <= 0 or length < 0 or per_event <= 0:
        raise UnreadableFile(path, "data offsets", "the data segment is nowhere", _SEND_AGAIN)
    stated = _integer(path, keywords, "$TOT", length * 8 // per_event)
    needed = (stated * per_event + 7) // 8
    # vendors count the last byte in two ways: one byte more or less than stated is the same data
    if abs(needed - length) > 1 and (length * 8 // per_event != stated or needed > length):
        raise UnreadableFile(
            path,
            "$TOT",
            f"{stated} events stated, {length} bytes of {per_event} bits each there",
            _SEND_AGAIN,
        )
    if begin + needed > len(data):
        missing = begin + needed - len(data)
        raise UnreadableFile(path, f"byte {len(data)}", f"{missing} bytes of events are missing", _SEND_AGAIN)
    body = data[begin : begin + needed]
    for channel in channels:
        if channel["datatype"] in _FLOATS and channel["bits"] != _FLOATS[channel["datatype"]]:
            what = f"{channel['bits']} bits in floating point data"
            raise UnreadableFile(path, "$PnB", what, _SEND_AGAIN)
    if "I" not in kinds and len(kinds) == 1:
        table = np.frombuffer(body, dtype=f"{order}f{bits[0] // 8}").reshape(stated, len(bits))
        return [
            np.ascontiguousarray(column).astype(column.dtype.newbyteorder("=")) for column in table.T
        ], stated
    if all(width % 8 == 0 for width in bits):
        columns = _whole_bytes(body, bits, order, stated)
    else:
        columns = _packed_bits(body, bits, stated)
    return [_typed(column, channel) for column, channel in zip(columns, channels, strict=True)], stated


def _typed(column: npt.NDArray[np.uint64], channel: dict[str, Any]) -> npt.NDArray[Any]:
    """Integers without the bits above their range; bytes of a floating point channel among them as its numbers."""
    size = _FLOATS.get(channel["datatype"], 0) // 8
    return column.astype(f"=u{size}").view(f"=f{size}") if size else column & _mask(channel)


def _byte_order(path: Path, stated: str) -> str:
    """'<' where the first byte is the lowest, '>' where it is the highest; mixed orders are refused."""
    order = [part.strip() for part in stated.split(",")]
    rising = [str(n) for n in range(1, len(order) + 1)]
    if order not in (rising, rising[::-1]):
        raise UnreadableFile(path, "$BYTEORD", f"bytes in the order {stated}", "Export as FCS 3.1.")
    return "<" if order == rising and len(order) > 1 else ">"


def _whole_bytes(body: bytes, bits: list[int], order: str, count: int) -> list[npt.NDArray[np.uint64]]:
    """Integers of 8, 16, 24 … 64 bits, mixed as they come."""
    table = np.frombuffer(body, dtype=np.uint8).reshape(count, sum(bits) // 8)
    columns = []
    at = 0
    for width in bits:
        size = width // 8
        value = np.zeros(count, dtype=np.uint64)
        for byte in range(size):
            place = byte if order == "<" else size - 1 - byte
            value |= table[:, at + byte].astype(np.uint64) << np.uint64(8 * place)
        columns.append(value)
        at += size
    return columns


def _packed_bits(body: bytes, bits: list[int], count: int) -> list[npt.NDArray[np.uint64]]:
    """Integers of any width, packed bit by bit, highest bit first (FCS 2.0)."""
    stream = np.unpackbits(np.frombuffer(body, dtype=np.uint8))[: count * sum(bits)].reshape(count, sum(bits))
    columns = []
    at = 0
    for width in bits:
        value = np.zeros(count, dtype=np.uint64)
        for bit in range(width):
            value = (value << np.uint64(1)) | stream[:, at + bit].astype(np.uint64)
        columns.append(value)
        at += width
    return columns


def _mask(channel: dict[str, Any]) -> np.uint64:
    """Bits above the stated range are not data."""
    bits = channel["bits"]
    try:
        top = int(float(channel["range"]))
    except (ValueError, OverflowError):
        top = 0
    if top <= 0 or top >= 1 << bits:
        return np.uint64((1 << min(bits, 64)) - 1)
    return np.uint64((1 << (top - 1).bit_length()) - 1)


def spillover_of(path: Path, keywords: dict[str, str]) -> dict[str, Any] | None:
    """The spillover matrix: channels, and rows (fluorochrome) by columns (detector); None without one."""
    text = next((keywords[key] for key in _SPILL if keywords.get(key)), None)
    if text is None or text.strip(" ,") == "0":
        return None
    parts = [part.strip() for part in text.rstrip(" ,").split(",")]
    try:
        n = int(parts[0])
        if len(parts) == 1 + n * n:  # $COMP of FCS 2.0 names no channels: it stays among the keywords
            return None
        matrix = [[float(v) for v in parts[1 + n + i * n : 1 + n + (i + 1) * n]] for i in range(n)]
    except ValueError as wrong:
        raise UnreadableFile(path, "spillover matrix", "not numbers", _SEND_AGAIN) from wrong
    if len(parts) != 1 + n + n * n:
        raise UnreadableFile(path, "spillover matrix", f"{len(parts)} values for {n} channels", _SEND_AGAIN)
    return {"channels": [_utf8(name) for name in parts[1 : 1 + n]], "matrix": matrix}


def compensate(fcs: Reading) -> pl.DataFrame:
    """Events with the file's spillover taken out: measured values times the inverse of the matrix.

    Returns the records with the matrix's channels replaced (Float64), the others as they were. Raises
    ValueError where the file has no matrix, the matrix names other channels, or it has no inverse.
    """
    spillover = fcs.header["spillover"]
    if spillover is None:
        raise ValueError("the file has no spillover matrix")
    names = dict(zip([c["name"] for c in fcs.header["channels"]], fcs.records.columns[1:], strict=True))
    if missing := [channel for channel in spillover["channels"] if channel not in names]:
        raise ValueError(f"the spillover matrix names channels the file has not: {', '.join(missing)}")
    columns = [names[channel] for channel in spillover["channels"]]
    try:
        inverse = np.linalg.inv(np.array(spillover["matrix"], dtype=np.float64))
    except np.linalg.LinAlgError as singular:
        raise ValueError("the spillover matrix has no inverse") from singular
    clean = fcs.records.select(pl.col(columns).cast(pl.Float64)).to_numpy() @ inverse
    return fcs.records.with_columns(pl.Series(name, clean[:, i]) for i, name in enumerate(columns))
