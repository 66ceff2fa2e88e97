"""Errors of disks, catalogs and networks in words: what happened, and what mends it.

The libraries say such things in many ways, seldom with a mend. Belongs here: knowing them by their text. Does not
belong here: our own failures, which say their mend themselves.
"""

from __future__ import annotations

import re

# How it shows, and what to do. The first that fits is said.
KNOWN = (
    (
        r"no space left on device|database or disk is full|errno 28|disk quota exceeded|could not write all bytes",
        "The disk is full. Nothing was promoted: make room, or run `cellfleet maintenance`, then run again.",
    ),
    (
        r"read-only file system|errno 30|readonly database|permission denied|errno 13",
        "The disk or folder cannot be written. Nothing was promoted: mount it for writing, or give this account the "
        "right to write, then run again.",
    ),
    (
        r"input/output error|disk i/o error|errno 5\b|stale file handle|transport endpoint",
        "The disk failed, went away or is full (SQLite does not always tell which). Nothing was promoted: check it "
        "with `cellfleet doctor`, then run again.",
    ),
    (
        r"\.parquet.*(no such file|not found|too small|no magic bytes|404)|(no such file|cannot open file).*\.parquet"
        r"|(too small|no magic bytes).*\.parquet",
        "A file of the lake is missing or cut. Nothing was promoted: `cellfleet doctor` names it, `cellfleet restore "
        "BACKUP --missing` brings it back, then run again.",
    ),
    (
        r"corrupt database file|checksum .* does not match|database disk image is malformed|not a valid duckdb"
        r"|file is not a database",
        "A database file was damaged. `cellfleet doctor` names it: a snapshot is made anew by `cellfleet publish`, a "
        "catalog comes back with `cellfleet restore`.",
    ),
    (
        r"could not connect|connection refused|connection reset|server closed the connection|terminating connection"
        r"|could not establish connection|no connection to the server|is starting up|shutting down|timeout was reached"
        r"|http error|http get error|http put error|error for http|service unavailable|couldn't connect to server"
        r"|failure when receiving data|failed sending data|empty reply from server|operation timed out"
        # What is left of it where DuckLake kept the first error for itself: its own transaction in the catalog.
        r"|ducklake: .*current transaction is aborted|fetch from an unsuccessful query result",
        "The catalog's or the data's server did not answer. Nothing was promoted: see that it runs, then run again.",
    ),
)  # fmt: skip


def in_words(told: str) -> str | None:
    """The sentence for an error's text, followed by what was said; None for one that is not known here."""
    text = " ".join(told.split())
    for pattern, sentence in KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return f"{sentence} ({text[:300]})"
    return None
