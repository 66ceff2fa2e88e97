"""Patient keys: random, drawn once, kept in a key file at the site's edge; never a record number's hash."""

from __future__ import annotations

import csv
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
HEADER = ("record_number", "patient_key")


def draw() -> str:
    """A new random key: P and 60 random bits."""
    return "P" + "".join(secrets.choice(ALPHABET) for _ in range(12))


def patient_keys(file: Path, record_numbers: Iterable[str]) -> dict[str, str]:
    """Keys of the given record numbers; unknown ones are drawn and kept in the file, which stays at the site.

    Written under another name and renamed, so that a crash never leaves half a key file.
    """
    known: dict[str, str] = {}
    if file.exists():
        with file.open(encoding="utf-8", newline="") as f:
            known = {row["record_number"]: row["patient_key"] for row in csv.DictReader(f)}
    fresh = {number: draw() for number in dict.fromkeys(record_numbers) if number not in known}
    if fresh:
        known |= fresh
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        with part.open("w", encoding="utf-8", newline="") as f:
            rows = csv.writer(f)
            rows.writerow(HEADER)
            rows.writerows(sorted(known.items()))
            f.flush()
            os.fsync(f.fileno())
        part.replace(file)
    return known
