"""Defects of sensors and of whole files: frozen and drifting channels, wrong hours, late, re-sent, renamed.

Belongs here: how each class spoils a stretch of readings or a file. Does not belong here: single records
(spoil_records.py).
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta

from .disposal import KIND as DISPOSED
from .plan import Chooser, Planted
from .sensors import CHANNELS
from .sites import FLEET_START, PRAIRIE_SPRING, day_start
from .world import Culture, Row, SensorDefect, key_of, minute
from .writers import meridian, northgate, prairie, rhein

_PRINT = {"northgate": northgate, "rhein": rhein, "prairie": prairie, "meridian": meridian}
_DATED = {"rhein": rhein, "prairie": prairie, "meridian": meridian}
_STEADY = ("temp", "ph", "agit", "co2")  # channels with a set point: only there a drift is one


def _cultures(c: Chooser, running: timedelta) -> list[Culture]:
    """Untouched cultures of which at least `running` lies in the window."""
    return [
        k
        for k in c.site.cultures
        if (c.name, "sensor", k.batch_id) not in c.plan.used
        and min(k.end, c.until) - max(k.start, c.after) >= running
    ]


def _fault(c: Chooser, culture: Culture, fault: SensorDefect, kind: str, note: str) -> None:
    c.plan.used.add((c.name, "sensor", culture.batch_id))
    c.site.sensor_defects.setdefault(culture.batch_id, []).append(fault)
    subject = f"{culture.batch_id}|{_PRINT[c.name].sensor_label(fault.channel, culture.reactor)}"
    c.plan.add(Planted(kind, c.name, "sensor", subject, round(fault.magnitude, 2), note))
    for other in {"sensor_flat_line", "sensor_drift"} - {kind}:
        c.plan.follows(other, c.name, "sensor", [subject])


def flat_line(c: Chooser) -> bool:
    """A channel that repeats one value for 6 to 24 hours."""
    longest = 24.0 if c.until - c.after > timedelta(days=4) else 12.0
    choices = _cultures(c, timedelta(hours=24 if longest < 24 else 72))
    if not choices:
        return False
    culture = choices[int(c.rng.integers(0, len(choices)))]
    span = c.log_uniform(6.0, longest)
    begin, end = max(culture.start, c.after), min(culture.end, c.until) - timedelta(hours=span + 1)
    start = minute(begin + (end - begin) * float(c.rng.uniform(0.05, 0.95)))
    channel = list(CHANNELS)[int(c.rng.integers(0, c.world.scale.channels))]
    _fault(c, culture, SensorDefect("flat_line", channel, start, span, span), "sensor_flat_line", "hours")
    return True


def drift(c: Chooser) -> bool:
    """A channel that leaves its set point by 2 to 12 noise SDs over two days and stays there."""
    choices = _cultures(c, timedelta(days=6))
    if not choices:
        return False
    culture = choices[int(c.rng.integers(0, len(choices)))]
    steady = [n for n in list(CHANNELS)[: c.world.scale.channels] if n in _STEADY]
    channel = steady[int(c.rng.integers(0, len(steady)))]
    start = minute(max(culture.start, c.after) + timedelta(hours=float(c.rng.uniform(48, 80))))
    sign = 1 if c.rng.random() < 0.5 else -1
    size = c.log_uniform(2.0, 12.0)
    fault = SensorDefect("drift", channel, start, 48.0, sign * size)
    _fault(c, culture, fault, "sensor_drift", "noise SDs")
    return True


def wrong_hour(c: Chooser) -> bool:
    """Readings stamped in the hour that the clocks of Chicago skipped."""
    if not c.after < PRAIRIE_SPRING + timedelta(days=1) <= c.until:
        return False
    running = [
        k
        for k in c.site.cultures
        if k.start < PRAIRIE_SPRING - timedelta(hours=6)
        and k.end > PRAIRIE_SPRING + timedelta(hours=6)
        and (c.name, "sensor", k.batch_id) not in c.plan.used
    ]
    if not running:
        return False
    culture = running[0]
    c.plan.used.add((c.name, "sensor", culture.batch_id))
    names = list(CHANNELS)[: c.world.scale.channels]
    file = prairie.sensor_file_name((PRAIRIE_SPRING - FLEET_START).days)
    for channel in (names[0], names[2]):
        c.site.sensor_defects.setdefault(culture.batch_id, []).append(
            SensorDefect("dst", channel, PRAIRIE_SPRING, 1.0, 60.0)
        )
        for offset in range(0, 60, c.world.scale.minutes):
            wall = prairie.wall_of_wrong_hour(PRAIRIE_SPRING + timedelta(minutes=offset))
            subject = f"{culture.batch_id}|{prairie.sensor_label(channel, culture.reactor)}|{wall}"
            c.plan.add(Planted("dst", c.name, "sensor", subject, 60.0, "minutes", file=file))
    return True


def late_file(c: Chooser) -> bool:
    """A day's sensor file that lies there days late."""
    touched = {b for s, f, b in c.plan.used if s == c.name and f == "sensor"}
    spoiled = [k for k in c.site.cultures if k.batch_id in touched]
    days: list[int] = []
    for culture in c.site.cultures:
        for day in range((culture.start - FLEET_START).days + 1, (culture.end - FLEET_START).days):
            noon = day_start(day) + timedelta(hours=12)
            clear = all(not k.start - timedelta(days=1) < noon < k.end + timedelta(days=1) for k in spoiled)
            name = _PRINT[c.name].sensor_file_name(day)
            if (
                day >= 0
                and clear
                and name not in c.site.late
                and c.after < noon
                and day_start(day + 12) < c.until
            ):
                days.append(day)
    if not days:
        return False
    day = days[int(c.rng.integers(0, len(days)))]
    name = _PRINT[c.name].sensor_file_name(day)
    c.site.late[name] = round(c.log_uniform(2.5, 10.0), 1)
    c.plan.add(Planted("late_file", c.name, "sensor", name, c.site.late[name], "days late", file=name))
    return True


def _sent(c: Chooser, feed: str, disposed: bool = False) -> dict[int, list[Row]]:
    """Rows new or changed in each regular export of the window, by export day; without the last export.

    Disposals do not bear on which file is chosen; with `disposed` they are told too.
    """
    days = c.world.export_days(_DATED[c.name].EXPORT_DAYS)
    newest: dict[tuple[int, str], Row] = {}
    for row in c.site.tables[feed]:
        if row.get("kind") == DISPOSED and not disposed:
            continue
        place = bisect_left(days, (row["modified"] - FLEET_START) / timedelta(days=1))
        if place < len(days):
            newest[days[place], key_of(feed, row)] = row
    sent: dict[int, list[Row]] = {}
    for (day, _), row in newest.items():
        if day < c.world.base_days - 1 and c.after < day_start(day) < c.until:
            sent.setdefault(day, []).append(row)
    return dict(sorted(sent.items()))


def resent(c: Chooser) -> bool:
    """A results file sent again under a new name, one row changed and its modification time not."""
    sent = {
        d: rows
        for d, rows in _sent(c, "assay").items()
        if d not in c.site.resends
        and ("assay", d) not in c.site.renames
        and all(c.free("assay", r) for r in rows)
    }
    options = [
        (d, r)
        for d, rows in sent.items()
        for r in rows
        if r["test"] in ("CAR", "IFNG", "CD4CD8", "FOLD") and r["modified"] == r["_seen"] and not r["reason"]
    ]
    if not options:
        return False
    day, row = options[int(c.rng.integers(0, len(options)))]
    if c.name != "prairie":
        c.reserve("assay", sent[day])
    change = c.log_uniform(1.5, 20.0)
    changed = {
        **row,
        "value": row["value"] * (1 + change / 100),
        "_seen": day_start(day) + timedelta(hours=6),
    }
    c.take("assay", changed)
    c.site.tables["assay"].append(changed)
    c.site.sort()
    c.site.resends.add(day)
    stem, end = _DATED[c.name].file_name(c.world, "assay", day).rsplit(".", 1)
    c.plan.add(
        Planted(
            "resent_changed_row",
            c.name,
            "assay",
            row["result_id"],
            round(change, 2),
            "relative change in %",
            (f"{stem}_r2.{end}",),
        )
    )
    return True


_RENAMES = {
    "rhein": (("assay", "Ergebnis", "Messergebnis"), ("custody", "Zeitpunkt", "Uhrzeit")),
    "prairie": (("assay", "result", "test_result"), ("infusion", "infused_at", "infusion_time")),
    "meridian": (("assay", "value", "resultValue"), ("collection", "cd3E9", "cd3CellsE9")),
}


def renamed_column(c: Chooser) -> bool:
    """A column that bears another name in one file."""
    done = len(c.site.renames)
    feed, old, new = _RENAMES[c.name][done % 2]
    # Full exports repeat their rows in the next file; elsewhere rows are lost with the file: keep them clean.
    full = c.name == "prairie"
    sent = {
        d: rows
        for d, rows in _sent(c, feed).items()
        if d not in c.site.resends
        and (feed, d) not in c.site.renames
        and (full or all(c.free(feed, r) for r in rows))
    }
    if not sent:
        return False
    early = list(sent)[:4]
    day = early[int(c.rng.integers(0, len(early)))] if full else min(sent, key=lambda d: (len(sent[d]), d))
    c.site.renames[feed, day] = (old, new)
    if not full:
        c.reserve(feed, _sent(c, feed, disposed=True)[day])
    name = _DATED[c.name].file_name(c.world, feed, day)
    c.plan.add(Planted("renamed_column", c.name, feed, name, None, f"{old} -> {new}", file=name))
    return True
