"""Printed times into instants: never guessed, so a local time that occurs twice or never is refused.

Belongs here: SQL of moments in a declared format and zone. Does not belong here: which column holds a time.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from pipelines.harmonise.contract import Time
from pipelines.harmonise.sql import Expression, Problem, Steps
from warehouse.dictionary.render import quoted

# PostgreSQL prints whole hours alone (`12:00:00+00`); after a date alone that would be a day of the month.
OFFSET = r"(?:(:\d{2}(?:\.\d+)?)[+-]\d{2}|(?:Z|[+-]\d{2}:?\d{2}))$"
MINUTES = r"([T ]\d{2}:\d{2})(Z|[+-]\d{2}(?::?\d{2})?)$"
# Years whose clock changes are looked up; a time outside them is checked against the zone's rules one by one.
YEARS = (1950, 2060)


def local_sql(text: str, time: Time) -> str:
    """The moment as printed, without its offset (TIMESTAMP); NULL where the text is not of that format."""
    if time.format == "iso":
        return f"TRY_CAST(regexp_replace({text}, {quoted(OFFSET)}, '\\1') AS TIMESTAMP)"
    if time.format == "epoch_ms":
        return f"make_timestamp(TRY_CAST({text} AS BIGINT) * 1000)"
    return f"try_strptime({text}, {quoted(time.format)})"


def instant_sql(text: str, time: Time) -> str:
    """The instant (TIMESTAMPTZ). Where a local time occurs twice this is one of both: `moment` refuses it."""
    local = local_sql(text, time)
    if time.format == "epoch_ms":
        return f"timezone('UTC', {local})"
    if "%z" in time.format:
        return local
    unstamped = f"timezone({quoted(time.zone)}, {local})" if time.zone else "CAST(NULL AS TIMESTAMPTZ)"
    if time.format != "iso":
        return unstamped
    # DuckDB reads no offset after minutes without seconds.
    whole = f"regexp_replace({text}, {quoted(MINUTES)}, '\\1:00\\2')"
    return f"CASE WHEN {stamped(text)} THEN TRY_CAST({whole} AS TIMESTAMPTZ) ELSE {unstamped} END"


def stamped(text: str) -> str:
    """Whether an ISO time carries its offset."""
    return f"regexp_matches({text}, {quoted(OFFSET)})"


def moment(text: str, time: Time, label: str, steps: Steps) -> Expression:
    """An instant and why it may be refused."""
    local = steps.name(local_sql(text, time))
    instant = steps.name(instant_sql(text, time))
    problems = [Problem(f"{text} IS NOT NULL AND {local} IS NULL", "time_format", label, text, time.format)]
    if time.format == "epoch_ms" or "%z" in time.format:
        return Expression(instant, problems)
    if time.zone is None:
        wanted = "a time with its offset, or `zone` in the contract"
        naive = f"{local} IS NOT NULL AND NOT {stamped(text)}"
        return Expression(instant, [*problems, Problem(naive, "zone_missing", label, text, wanted)])
    bare = f"NOT {stamped(text)} AND " if time.format == "iso" else ""
    zone = quoted(time.zone)
    days, repeated = clock_changes(time.zone)
    if not days:
        return Expression(instant, problems)
    # The zone's rules are costly to ask: only on days when clocks change can an hour be missing or double.
    near = (
        f"CAST({local} AS DATE) IN ({', '.join(f'DATE {quoted(d.isoformat())}' for d in days)}) "
        f"OR year({local}) NOT BETWEEN {YEARS[0]} AND {YEARS[1]}"
    )
    at = steps.name(f"timezone({zone}, {local})")
    never = f"timezone({zone}, {at}) <> {local}"
    twice = " OR ".join(
        f"timezone({zone}, {at} {sign} INTERVAL {minutes} MINUTE) = {local}"
        for minutes in repeated
        for sign in "+-"
    )
    return Expression(
        instant,
        [
            *problems,
            Problem(
                f"{bare}CASE WHEN {near} THEN {never} ELSE false END",
                "nonexistent_local_time", label, text, f"a time that exists in {time.zone}",
            ),
            Problem(
                f"{bare}CASE WHEN {near} THEN {twice or 'false'} ELSE false END",
                "ambiguous_local_time", label, text, f"an offset: this hour occurs twice in {time.zone}",
            ),
        ],
    )  # fmt: skip


@cache
def clock_changes(zone: str) -> tuple[tuple[date, ...], tuple[int, ...]]:
    """Local days on which the zone's offset changes, and those beside them; empty where it never does.

    Also by how many minutes its clocks are put back, so that a stretch of local time is repeated.
    """
    info = ZoneInfo(zone)
    found: set[date] = set()
    repeated: set[int] = set()
    at = datetime(YEARS[0], 1, 1, tzinfo=UTC)
    end = datetime(YEARS[1] + 1, 1, 2, tzinfo=UTC)
    before = at.astimezone(info).utcoffset()
    while at < end:
        at += timedelta(days=1)
        offset = at.astimezone(info).utcoffset()
        if offset != before:
            found |= {at.date() - timedelta(days=n) for n in (-1, 0, 1, 2)}
            if offset is not None and before is not None and offset < before:
                repeated.add(round((before - offset).total_seconds() / 60))
            before = offset
    return tuple(sorted(found)), tuple(sorted(repeated))
