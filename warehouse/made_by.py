"""What made a snapshot: a hash of this package's code and of the versions of what it computes with.

What an earlier snapshot knows is taken over only where this is the same: a changed rule never lives on in its results.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
COMPUTES = ("numpy", "scipy", "polars", "duckdb")


@cache
def code() -> str:
    """Hash of every source file of `warehouse`, and of the versions of `COMPUTES`."""
    told = hashlib.sha256()
    for path in sorted(p for p in HERE.rglob("*") if p.suffix in (".py", ".sql", ".yaml")):
        told.update(f"{path.relative_to(HERE)}\0".encode() + path.read_bytes() + b"\0")
    told.update(repr([(name, version(name)) for name in COMPUTES]).encode())
    return told.hexdigest()
