"""Frames of evidence about files as they came: what was received, refused and remarked. One row a file, refusal or remark."""

from __future__ import annotations

from typing import Any

import polars as pl

from pipelines.harmonise.contract import Feed
from pipelines.ingest.days import late
from pipelines.ingest.stage import FileRead


def file_frame(files: list[FileRead], feed: Feed) -> pl.DataFrame:
    rows = [
        (
            feed.system,
            f.arrival.name,
            f.arrival.sha256,
            f.arrival.size,
            f.arrival.sent_at,
            f.format,
            f.received,
            "refused" if f.refusal else "read",
            f.refusal,
        )
        for f in files
    ]
    names = [
        "source_system",
        "source_file",
        "source_file_sha256",
        "bytes",
        "sent_at",
        "format",
        "received",
        "file_state",
        "refusal",
    ]
    types = [
        pl.String,
        pl.String,
        pl.String,
        pl.Int64,
        pl.Datetime("us", "UTC"),
        pl.String,
        pl.Int64,
        pl.String,
        pl.String,
    ]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def refused_frame(files: list[FileRead]) -> pl.DataFrame:
    """Records and fields that the reader refused, and whole files (which count as one record)."""
    rows: list[tuple[Any, ...]] = []
    for f in files:
        a = f.arrival
        if f.refusal:
            # Where the file could be counted each of its records is set aside, else the file counts as one.
            whole = range(1, f.received + 1) if f.reason_code == "column_missing" else range(1)
            rows += [
                (f"{a.sha256[:24]}:{n}:{a.name}", a.name, a.name, a.sha256, n, a.sent_at, f.reason_code, f.field_name, f.refusal, True)
                for n in whole
            ]  # fmt: skip
        rows += [
            (f"{a.sha256[:24]}:{r.source_row}:{a.name}", f"{a.name}:{r.source_row}", a.name, a.sha256, r.source_row, a.sent_at, r.reason, r.field or "", r.mend, r.field is None)
            for r in f.refused
        ]  # fmt: skip
    names = [
        "record_id",
        "subject",
        "source_file",
        "source_file_sha256",
        "source_row",
        "sent_at",
        "reason_code",
        "field_name",
        "value_wanted",
        "whole_record",
    ]
    types = [
        pl.String,
        pl.String,
        pl.String,
        pl.String,
        pl.Int64,
        pl.Datetime("us", "UTC"),
        pl.String,
        pl.String,
        pl.String,
        pl.Boolean,
    ]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def remark_frame(feed: Feed, files: list[FileRead], identified: list[dict[str, Any]]) -> pl.DataFrame:
    """What is remarkable about files and rows as they came: late, new columns, the file's own flags, identifiers in free text."""
    rows: list[tuple[Any, ...]] = []
    for f in files:
        a = f.arrival
        rows += [
            (
                "",
                "column_added",
                "warning",
                c,
                f"column {c} is not in the contract; map it or add it to `ignore`",
                a.name,
                None,
                None,
            )
            for c in f.unknown
        ]
        rows += [
            (
                "",
                "source_flag",
                "info",
                f"{a.name}:{g.source_row}:{g.field}",
                f"{g.field}: {g.text}",
                a.name,
                g.source_row,
                None,
            )
            for g in f.flags
        ]
    rows += _late_files(feed, [f.arrival for f in files])
    rows += [
        ("", "identifier_in_free_text", "critical", hit["subject"], f"free text holds what column {', '.join(hit['columns'])} says; it stayed in the vault", hit["source_file"], hit["source_row"], None)
        for hit in identified
    ]  # fmt: skip
    names = [
        "table_name",
        "reason_code",
        "severity",
        "subject",
        "detail",
        "source_file",
        "source_row",
        "record_id",
    ]
    types = [pl.String, pl.String, pl.String, pl.String, pl.String, pl.String, pl.Int64, pl.String]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def _late_files(feed: Feed, arrivals: list[Any]) -> list[tuple[Any, ...]]:
    """Findings for files that were written later after their day than the contract allows."""
    return [
        (
            "",
            "late_file",
            "warning",
            a.name,
            f"written {hours:.0f} h after the end of its day; allowed {feed.late_after}",
            a.name,
            None,
            None,
        )
        for a in arrivals
        if (hours := late(feed, a)) is not None
    ]
