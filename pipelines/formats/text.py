"""Bytes of a text file into text, strictly: which encoding it has, and refusal when it has another.

Here: encodings, byte order marks and signs of damage. What the text means belongs in the formats.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from pipelines.formats.protocol import Options, UnreadableFile

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SEND_AGAIN = "The file is kept as sent; ask the site to send it again."


def whole(path: Path) -> bytes:
    """The bytes of a file that must have some."""
    try:
        data = path.read_bytes()
    except OSError as failed:
        raise UnreadableFile(
            path, "", f"cannot be opened: {failed.strerror}", "Check the path and its rights."
        ) from failed
    if not data:
        raise UnreadableFile(path, "0 bytes", "the file is empty", _SEND_AGAIN)
    return data


def _unmarked(head: bytes) -> str | None:
    """UTF-16 without its mark: of the first two characters, each has one byte that is nought and one that is not."""
    if len(head) < 4 or head.count(0, 0, 4) != 2:
        return None
    return "utf-16-le" if head[1] == head[3] == 0 else "utf-16-be" if head[0] == head[2] == 0 else None


def as_utf8(head: bytes) -> bytes:
    """The first bytes of a file for recognising it: UTF-16 as UTF-8, byte order marks left out."""
    if head.startswith(codecs.BOM_UTF8):
        return head[len(codecs.BOM_UTF8) :]
    wide = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else _unmarked(head)
    return head.decode(wide, "ignore").encode("utf-8", "ignore") if wide else head


def encoding_of(path: Path, head: bytes, options: Options) -> tuple[str, int]:
    """Encoding of a file and the length of its byte order mark; a mark against the contract is refused."""
    declared = codecs.lookup(options.encoding).name if options.encoding else None
    for mark, name in _MARKS:
        if head.startswith(mark):
            if declared and not declared.startswith(name):
                raise UnreadableFile(
                    path,
                    "byte 1",
                    f"the file is marked as {name} but {options.encoding} is declared",
                    f"Set encoding to {name} in the contract, if the site has changed its export.",
                )
            return name, len(mark)
    return declared or _unmarked(head) or "utf-8", 0


def check_text(path: Path, block: bytes, encoding: str, offset: int) -> None:
    """Refuse bytes that cannot be, or plainly are not, text of this encoding."""
    if (nul := block.find(0)) >= 0:
        raise UnreadableFile(
            path,
            f"byte {offset + nul + 1}",
            "a NUL byte in a text file: half-written, or UTF-16 without its mark",
            _SEND_AGAIN,
        )
    if block.isascii():
        return
    if encoding == "utf-8":
        try:
            block.decode("utf-8")
        except UnicodeDecodeError as wrong:
            raise UnreadableFile(
                path,
                f"byte {offset + wrong.start + 1}",
                "not UTF-8",
                "Declare the encoding of the export (latin-1, cp1252, utf-16) in the contract.",
            ) from wrong
        return
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        raise UnreadableFile(
            path,
            f"byte {offset + 1}",
            f"declared {encoding}, but every character is well-formed UTF-8",
            "Set encoding to utf-8 in the contract, if the site has changed its export.",
        )
    if encoding == "iso8859-1" and any(0x80 <= b < 0xA0 for b in block):
        raise UnreadableFile(
            path,
            f"block at byte {offset + 1}",
            "control characters that Latin-1 text has not",
            "Declare cp1252.",
        )
    try:
        block.decode(encoding)
    except UnicodeDecodeError as wrong:
        raise UnreadableFile(
            path,
            f"byte {offset + wrong.start + 1}",
            f"not {encoding}",
            "Declare the encoding in the contract.",
        ) from wrong


def decode(path: Path, data: bytes, options: Options, fallback: str | None = None) -> str:
    """Text of a whole file; `fallback` is what a vendor's unmarked export is in when it is not UTF-8."""
    text = _decoded(path, data, options, fallback)
    if not text.strip():
        raise UnreadableFile(
            path, f"{len(data)} bytes", "nothing but blanks in it: the file is empty", _SEND_AGAIN
        )
    return text


def _decoded(path: Path, data: bytes, options: Options, fallback: str | None) -> str:
    encoding, mark = encoding_of(path, data[:4], options)
    if encoding.startswith(("utf-16", "utf-32")):
        try:
            text = data.decode("utf-16" if mark else encoding)
        except UnicodeDecodeError as wrong:
            at = f"byte {wrong.start + 1}"
            raise UnreadableFile(path, at, "not whole UTF-16", _SEND_AGAIN) from wrong
        if "\x00" in text:
            at = f"character {text.index(chr(0)) + 1}"
            raise UnreadableFile(path, at, "a NUL character in a text file: half-written", _SEND_AGAIN)
        return text
    body = data[mark:]
    if fallback and options.encoding is None and not mark:
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            encoding = codecs.lookup(fallback).name
    check_text(path, body, encoding, mark)
    return body.decode(encoding)
