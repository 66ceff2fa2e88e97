"""A site's vault: every file as sent, byte for byte, with its SHA-256, origin and arrival.

The vault lies at the site's edge (`<home>/vault/<site>/`), is never part of the lake, the snapshot or the hub's backup,
and is the only place where direct identifiers exist. Files are stored once by content; nothing is changed or removed.
Does not belong here: reading what the files mean (`pipelines/formats`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

CHUNK = 1 << 20


@dataclass(frozen=True)
class Arrival:
    """One file as it arrived: where it lies now, what it was called, when the site wrote it (UTC)."""

    path: Path
    name: str
    sha256: str
    size: int
    sent_at: datetime


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in bounded memory."""
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class Vault:
    """The vault of one site."""

    folder: Path

    def keep(self, source: Path, name: str) -> Arrival:
        """Keep a copy of `source`, which the site calls `name`; the same bytes are stored once.

        A crash leaves a `.part` file at most; the copy appears under its hash only when it is whole and on disk.
        Raises OSError where the source cannot be read or the vault cannot be written.
        """
        written = source.stat()
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{os.getpid()}-{source.name}.part"
        digest = hashlib.sha256()
        with source.open("rb") as read, part.open("wb") as write:
            while chunk := read.read(CHUNK):
                digest.update(chunk)
                write.write(chunk)
            write.flush()
            os.fsync(write.fileno())
        sha256 = digest.hexdigest()
        kept = self.path(sha256, name)
        if kept.exists():
            part.unlink()
        else:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part.replace(kept)
        return Arrival(kept, name, sha256, kept.stat().st_size, datetime.fromtimestamp(written.st_mtime, UTC))

    def path(self, sha256: str, name: str) -> Path:
        """Where the bytes with this hash lie; the suffix is kept because readers of formats look at it."""
        return self.folder / sha256[:2] / (sha256 + "".join(Path(name).suffixes[-2:]))

    def verify(self) -> list[Path]:
        """Files whose bytes no longer match their name: each was altered after it was kept."""
        files = (p for p in sorted(self.folder.glob("??/*")) if p.is_file())
        return [p for p in files if sha256_of(p) != p.name.split(".")[0]]

    def free(self) -> int:
        """Bytes free where the vault lies."""
        return shutil.disk_usage(self.folder.parent).free
