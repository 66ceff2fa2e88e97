"""Times: zones, offsets, hours that occur twice or never, dates, and what a birth date leaves behind."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_harness import feed_of, mapped, reasons

CHICAGO = {"format": "%m/%d/%Y %I:%M %p", "zone": "America/Chicago"}


def sampled(*printed: str, time: dict[str, Any]) -> list[dict[str, Any]]:
    """Samples taken at the printed times."""
    columns = {"sample_id": "id", "batch_id": "batch", "taken_at": {"from": "at", "time": time}}
    rows = [{"id": str(n), "batch": "B", "at": at} for n, at in enumerate(printed)]
    return mapped(rows, feeds={"sample": feed_of("sample", columns)})


def test_local_times_become_instants_and_keep_their_offset() -> None:
    winter, summer = sampled("3/5/2026 2:05 PM", "7/5/2026 2:05 PM", time=CHICAGO)
    assert winter["taken_at"] == datetime(2026, 3, 5, 20, 5, tzinfo=UTC)
    assert summer["taken_at"] == datetime(2026, 7, 5, 19, 5, tzinfo=UTC)
    assert (winter["utc_offset_minutes"], summer["utc_offset_minutes"]) == (-360, -300)


@pytest.mark.parametrize(
    ("printed", "instant"),
    [
        ("2026-03-05 12:00:00+00", datetime(2026, 3, 5, 12, tzinfo=UTC)),  # as PostgreSQL prints whole hours
        ("2026-03-05 12:00:00.5-05", datetime(2026, 3, 5, 17, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-05T12:00+05:30", datetime(2026, 3, 5, 6, 30, tzinfo=UTC)),
        ("2026-03-05T12:00Z", datetime(2026, 3, 5, 12, tzinfo=UTC)),
        ("2026-03-05T12:00+05", datetime(2026, 3, 5, 7, tzinfo=UTC)),
        ("2026-03-05", datetime(2026, 3, 4, 23, tzinfo=UTC)),
    ],
)
def test_an_iso_offset_is_read_however_short(printed: str, instant: datetime) -> None:
    (row,) = sampled(printed, time={"format": "iso", "zone": "Europe/Berlin"})
    assert row["taken_at"] == instant
    assert reasons(row) == []


def test_an_hour_that_never_was_is_refused() -> None:
    before, gap, after = sampled("3/8/2026 1:59 AM", "3/8/2026 2:30 AM", "3/8/2026 3:00 AM", time=CHICAGO)
    assert [reasons(r) for r in (before, gap, after)] == [[], ["nonexistent_local_time"], []]


def test_an_hour_that_was_twice_is_refused() -> None:
    found = sampled(
        "11/1/2026 12:59 AM", "11/1/2026 1:00 AM", "11/1/2026 1:59 AM", "11/1/2026 2:00 AM", time=CHICAGO
    )
    twice = ["ambiguous_local_time"]
    assert [reasons(r) for r in found] == [[], twice, twice, []]


START = datetime(2025, 1, 1, tzinfo=UTC).replace(tzinfo=None)
SECONDS = st.integers(0, 3 * 366 * 86400)
DAYS = ((3, 8), (3, 29), (4, 5), (10, 4), (10, 25), (11, 1))  # when clocks change somewhere in 2026
CHANGES = [datetime(2026, m, d, tzinfo=UTC).replace(tzinfo=None) for m, d in DAYS]
NEAR_A_CHANGE = st.builds(
    lambda day, s: int((day - START).total_seconds()) + s, st.sampled_from(CHANGES), st.integers(0, 4 * 3600)
)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["America/Chicago", "Europe/London", "Asia/Singapore", "Australia/Lord_Howe", "UTC"]),
    st.lists(st.one_of(SECONDS, NEAR_A_CHANGE), min_size=1, max_size=20),
)
def test_every_local_time_is_its_instant_or_refused(zone: str, seconds: list[int]) -> None:
    """Against the standard library: the same instant, and refused where the wall time is not one instant."""
    info = ZoneInfo(zone)
    walls = [START + timedelta(seconds=s) for s in seconds]
    rows = sampled(*(f"{w:%Y-%m-%dT%H:%M:%S}" for w in walls), time={"format": "iso", "zone": zone})
    for wall, row in zip(walls, rows, strict=True):
        early, late = (wall.replace(tzinfo=info, fold=fold) for fold in (0, 1))
        exists = early.astimezone(UTC).astimezone(info).replace(tzinfo=None) == wall
        if early.utcoffset() == late.utcoffset():
            assert (reasons(row), row["taken_at"]) == ([], early.astimezone(UTC))
        else:
            assert reasons(row) == ["ambiguous_local_time" if exists else "nonexistent_local_time"]


def test_an_iso_time_without_an_offset_needs_a_declared_zone() -> None:
    bare, stamped = sampled("2026-03-05T14:05:00", "2026-03-05T14:05:00+01:00", time={"format": "iso"})
    assert (reasons(bare), bare["taken_at"]) == (["zone_missing"], None)
    assert (reasons(stamped), stamped["taken_at"]) == ([], datetime(2026, 3, 5, 13, 5, tzinfo=UTC))


def test_an_offset_settles_the_hour_that_was_twice() -> None:
    row, bare = sampled(
        "2026-11-01T01:30:00-06:00", "2026-11-01T01:30:00", time={"format": "iso", "zone": "America/Chicago"}
    )
    assert (reasons(row), row["taken_at"]) == ([], datetime(2026, 11, 1, 7, 30, tzinfo=UTC))
    assert reasons(bare) == ["ambiguous_local_time"]


def test_epoch_milliseconds() -> None:
    row, wrong = sampled("1772719500000", "yesterday", time={"format": "epoch_ms"})
    assert row["taken_at"] == datetime(2026, 3, 5, 14, 5, tzinfo=UTC)
    assert reasons(wrong) == ["time_format"]


def test_a_birth_date_leaves_its_decade_and_is_never_shown() -> None:
    columns = {"patient_key": "key", "birth_decade": {"from": "born", "decade": True}}
    feed = feed_of("patient", columns, identifying=["born"])
    good, bad = mapped(
        [
            {"id": "1", "key": "PAAAAAAAAAAAA", "born": "31.12.1959"},
            {"id": "2", "key": "PAAAAAAAAAAAB", "born": "1959"},
        ],
        feeds={"order": feed},
    )
    assert (good["birth_decade"], good["problems"]) == (1950, [])
    assert [(p["reason_code"], p["value_seen"]) for p in bad["problems"]] == [("time_format", None)]


@pytest.mark.parametrize(("printed", "expected"), [("05.03.2026", date(2026, 3, 5)), ("2026-03-05", None)])
def test_dates_are_taken_as_printed(printed: str, expected: date | None) -> None:
    columns = {"equipment_id": "id", "qualification_due_on": "due"}
    [row] = mapped([{"id": "E", "due": printed}], feeds={"equipment": feed_of("equipment", columns)})
    assert row["qualification_due_on"] == expected
    assert bool(row["problems"]) == (expected is None)
