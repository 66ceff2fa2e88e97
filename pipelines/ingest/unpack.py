"""Archives that a site sends (zip, gz): kept whole in the vault, their members read as files of their own.

A member is called `<archive>/<member>` and counts as written when its archive was: times inside a zip have no zone.
Does not belong here: which archives are new (`pipelines/connectors`), what a member means (`pipelines/formats`).
"""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from pipelines.connectors.arriving import UNFINISHED

CHUNK = 1 << 20
# An archive may be this much larger unpacked before it is taken for one that was made to fill a disk.
MOST_BYTES = 64 << 30
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"


class NotUnpackedError(Exception):
    """Why an archive cannot be unpacked, with the mend."""


def members(
    archive: Path, name: str, pattern: str, scratch: Path, sent_at: datetime
) -> Iterator[tuple[str, Path]]:
    """(name, unpacked file) of each member that the pattern names, one at a time; the file is the caller's to remove.

    Raises NotUnpackedError where the archive is damaged, encrypted, no archive, or holds no such member.
    """
    with archive.open("rb") as handle:
        head = handle.read(4)
    written = sent_at.timestamp()
    if head.startswith(GZIP):
        inner = name.rsplit("/", 1)[-1].removesuffix(".gz")
        if not fnmatchcase(inner, pattern):
            raise NotUnpackedError(f"Its member {inner} is not one that `members` ({pattern}) names.")
        with gzip.open(archive) as source:
            yield f"{name}/{inner}", _written(source, scratch / "member", written)
    elif head in (ZIP, EMPTY_ZIP):
        yield from _zipped(archive, name, pattern, scratch, written)
    else:
        raise NotUnpackedError(
            "It is neither a zip nor a gzip archive. Check `members`, and ask for the file again."
        )


def only_member(archive: Path, scratch: Path) -> Path | None:
    """The one file that an archive holds, unpacked under its own name; None where the file is no archive.

    Raises NotUnpackedError where it holds several, with their names, or cannot be unpacked.
    """
    with archive.open("rb") as handle:
        head = handle.read(4)
    if not head.startswith((GZIP, ZIP)):
        return None
    if head == ZIP:
        try:
            with zipfile.ZipFile(archive) as opened:
                held = [member.filename for member in opened.infolist() if not member.is_dir()]
        except zipfile.BadZipFile as error:
            raise NotUnpackedError(f"It is damaged ({error}). Ask the site to send it again.") from error
        if len(held) > 1:
            named = ", ".join(held[:5]) + (" …" if len(held) > 5 else "")
            raise NotUnpackedError(f"It holds {len(held)} files ({named}). Unpack it and read each.")
    sent_at = datetime.fromtimestamp(archive.stat().st_mtime, UTC)
    name, member = next(members(archive, archive.name, "*", scratch, sent_at))
    return member.rename(scratch / name.rsplit("/", 1)[-1])


def _zipped(
    archive: Path, name: str, pattern: str, scratch: Path, written: float
) -> Iterator[tuple[str, Path]]:
    try:
        opened = zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise NotUnpackedError(f"It is damaged ({error}). Ask the site to send it again.") from error
    with closing(opened):
        chosen = [
            m
            for m in opened.infolist()
            if not m.is_dir()
            and fnmatchcase(m.filename.rsplit("/", 1)[-1], pattern)
            and not m.filename.rsplit("/", 1)[-1].startswith(".")
            and not m.filename.endswith(UNFINISHED)
        ]
        if not chosen:
            raise NotUnpackedError(f"No member is one that `members` ({pattern}) names.")
        for member in sorted(chosen, key=lambda m: m.filename):
            if member.flag_bits & 1:
                raise NotUnpackedError("It is encrypted. Ask the site to send it without a password.")
            with opened.open(member) as source:
                yield f"{name}/{member.filename}", _written(source, scratch / "member", written)


def _written(source: IO[bytes] | gzip.GzipFile, target: Path, written: float) -> Path:
    """Unpack into `target`, in bounded memory and to a bounded size."""
    try:
        with target.open("wb") as out:
            while chunk := source.read(CHUNK):
                out.write(chunk)
                if out.tell() > MOST_BYTES:
                    raise NotUnpackedError(
                        f"Unpacked it takes more than {MOST_BYTES >> 30} GiB. Ask for smaller archives."
                    )
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, NotImplementedError) as error:
        raise NotUnpackedError(f"It is damaged ({error}). Ask the site to send it again.") from error
    os.utime(target, (written, written))
    return target
