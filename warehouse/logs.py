"""What happened, as JSON lines in `<home>/logs/cellfleet-<UTC day>.jsonl`, the same for every part of cellfleet.

One id runs through all of it: `run_id` is that of the Dagster run. The runner and each step bind it, rows of the lake
and the published snapshot carry it, and a command or a page that reads a snapshot logs the id of the run that
published it. No line holds a value of a record: fields are those of FIELDS, an error is told by its type and place.
Does not belong here: what a run shows on its page (Dagster's events), the servers' own output.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars
from structlog.typing import FilteringBoundLogger

from warehouse.settings import Settings

__all__ = ["FIELDS", "bind_contextvars", "bound_contextvars", "error_told", "logger"]
# What a line may say. A new name is added here by someone who has asked whether it can name a person.
FIELDS = frozenset(
    {
        "at", "level", "event", "process", "run_id", "command", "exit_code", "seconds", "job", "success", "site",
        "feed", "received", "promoted", "superseded", "duplicate", "quarantined", "fields_quarantined", "findings",
        "files_refused", "rows", "snapshot", "request_id", "method", "route", "status", "ms", "error", "place", "scale",
        "seed", "problem", "entries", "added", "head",
    }
)  # fmt: skip
Line = MutableMapping[str, Any]


def logger(chosen: Settings) -> FilteringBoundLogger:
    """The logger of a home (structlog). Where there is no home yet nothing is written."""
    return _logger(chosen.home_path)


def error_told(error: BaseException) -> dict[str, str]:
    """What a log line says of an error: its type and where it arose. Its message may quote a record and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return {"error": type(error).__name__, "place": place}


@cache
def _logger(home: Path) -> FilteringBoundLogger:
    wrapped: FilteringBoundLogger = structlog.wrap_logger(
        _DayFile(home),
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return wrapped


def _rendered(_: Any, __: str, line: Line) -> str:
    unknown = sorted(set(line) - FIELDS)
    if unknown:
        raise ValueError(
            f"log line {line.get('event')!r} has fields {', '.join(unknown)}, which FIELDS lacks"
        )
    first = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "process": os.getpid()}
    return json.dumps(first | dict(line), ensure_ascii=False, default=str)


class _DayFile:
    """Appends whole lines to the file of the day; several processes may do so at once."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def info(self, line: str) -> None:
        if not self.home.is_dir():
            return
        folder = self.home / "logs"
        try:
            folder.mkdir(exist_ok=True)
            path = folder / f"cellfleet-{datetime.now(UTC):%Y-%m-%d}.jsonl"
            # One write a line, appended by the system: lines of two processes never mix.
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            try:
                os.write(handle, line.encode() + b"\n")
            finally:
                os.close(handle)
        except OSError as error:
            # A disk that is full or read-only must not fail what is being done; but it is said.
            print(f"The log in {folder} cannot be written ({error.strerror}): {line}", file=sys.stderr)

    warning = error = info
