"""A site's vault: every file as sent, byte for byte, with its SHA-256, origin and arrival.

The vault lies at the site's edge (`<home>/vault/<site>/`), is never part of the lake, the snapshot or the hub's backup,
and is the only place where direct identifiers exist. Files are stored once by content; nothing is changed or removed.
Does not belong here: reading what the files mean (`pipelines/formats`).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkstemp

CHUNK = 1 << 20
# What follows a point in a longer text is part of a name, such as that of `results of Dr. Meier and others`.
LONGEST_SUFFIX = 10


@dataclass(frozen=True)
class Arrival:
    """One file as it arrived: where it lies now, what it was called, when the site wrote it (UTC).

    An `archive` is not read itself: its members follow as files of their own. `problem` says why it cannot be read.
    """

    path: Path
    name: str
    sha256: str
    size: int
    sent_at: datetime
    archive: bool = False
    problem: str | None = None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in bounded memory."""
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file that was renamed into it is found after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Vault:
    """The vault of one site."""

    folder: Path

    def keep(self, source: Path, name: str) -> Arrival:
        """Keep a copy of `source`, which the site calls `name`; the same bytes are stored once.

        A crash leaves a `.part` file at most, which maintenance removes; the copy appears under its hash only when it
        is whole and on disk. Several processes may keep files of a site at once. Raises OSError where the source
        cannot be read or the vault cannot be written.
        """
        written = source.stat()
        # Patients' names lie in here: nobody but the account that runs the pipelines looks in.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name_of_part = mkstemp(prefix=".arriving-", suffix=".part", dir=self.folder)
        part = Path(name_of_part)
        try:
            return self._kept(source, name, part, handle, written.st_mtime)
        finally:
            part.unlink(missing_ok=True)

    def _kept(self, source: Path, name: str, part: Path, handle: int, written_at: float) -> Arrival:
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as write, source.open("rb") as read:
            while chunk := read.read(CHUNK):
                digest.update(chunk)
                write.write(chunk)
            write.flush()
            os.fsync(write.fileno())
        sha256 = digest.hexdigest()
        kept = self.path(sha256, name)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            part.chmod(0o400)
            part.replace(kept)
            sync_folder(kept.parent)
        return Arrival(kept, name, sha256, kept.stat().st_size, datetime.fromtimestamp(written_at, UTC))

    def path(self, sha256: str, name: str) -> Path:
        """Where the bytes with this hash lie; the suffix is kept because readers of formats look at it."""
        suffix = "".join(s for s in Path(name).suffixes[-2:] if len(s) <= LONGEST_SUFFIX)
        return self.folder / sha256[:2] / (sha256 + suffix)

    def verify(self) -> list[Path]:
        """Files whose bytes no longer match their name: each was altered after it was kept."""
        files = (p for p in sorted(self.folder.glob("??/*")) if p.is_file())
        return [p for p in files if sha256_of(p) != p.name.split(".")[0]]
