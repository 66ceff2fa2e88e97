"""The US regional hospital: comma CSV re-sent in full each month, local times without zone, US units.

Belongs here: prairie's headers, words, units and layouts. Does not belong here: what happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.simulator.sensors import by_day
from pipelines.simulator.sites import day_start
from pipelines.simulator.world import SiteWorld, World, key_of

from .common import Export, Notes, OutFile, csv_bytes, exports, local
from .northgate import keys_file
from .prairie_tables import FEEDS, TZ

EXPORT_DAYS = 30


def file_name(world: World, feed: str, day: int) -> str:
    """Name of the full export of a feed on a fleet day."""
    return f"{FEEDS[feed][0]}_{day_start(day):%Y%m%d}.csv"


def files(world: World, site: SiteWorld, notes: Notes) -> Iterator[OutFile]:
    """All files but the sensor days, as they lie there at the end of the fleet's last lived day."""
    now = day_start(world.lived)
    for export in exports(world, site, EXPORT_DAYS, full=True):
        for feed in ("assay",) if export.resent else FEEDS:
            yield from _export(world, site, feed, export, notes)
    yield from _custody(site, now, notes)
    yield keys_file(site, now)


def _export(world: World, site: SiteWorld, feed: str, export: Export, notes: Notes) -> Iterator[OutFile]:
    rows = export.rows(site, feed)
    if not rows:
        return
    name = export.name(file_name(world, feed, export.day))
    data, n = csv_bytes(
        feed, rows, FEEDS[feed][1], name, notes=notes, rename=export.rename(site, feed), tz=TZ
    )
    yield OutFile(f"outbound/{name}", data, export.at + timedelta(hours=1), {feed: n})


def _custody(site: SiteWorld, now: datetime, notes: Notes) -> Iterator[OutFile]:
    lines: dict[str, list[str]] = {}
    written: dict[str, datetime] = {}
    for row in site.state("custody", now):
        wall, twice = local(row["happened_at"], TZ)
        name = f"custody_{local(row['_seen'], TZ)[0]:%Y%m}.jsonl"
        if twice:
            notes.ambiguous["custody", key_of("custody", row)] = name
        made = lines.setdefault(name, [])
        made.append(
            json.dumps(
                {
                    "event_id": row["event_id"],
                    "coi_id": row["coi"],
                    "object": row["object"],
                    "kind": row["kind"],
                    "from_party": row["giver"],
                    "to_party": row["taker"],
                    "place": row["place"],
                    "happened_at": f"{wall:%Y-%m-%dT%H:%M:%S}",
                    "verified_by_two": row["verified"],
                    "temp_f": round(row["temp_c"] * 9 / 5 + 32, 1),
                    "seq": row["seq"],
                    "prev_hash": row["prev_hash"],
                    "leaf_hash": row["leaf_hash"],
                }
            )
        )
        notes.place("custody", row, name, len(made))
        written[name] = row["_seen"]
    for name, made in lines.items():
        yield OutFile(
            f"custody/{name}",
            ("\n".join(made) + "\n").encode(),
            written[name] + timedelta(minutes=1),
            {"custody": len(made)},
        )


_TAGS = {
    "temp": "temp",
    "ph": "ph",
    "do": "do",
    "agit": "agit",
    "glucose": "glucose",
    "lactate": "lactate",
    "vcd": "vcd",
    "co2": "co2",
}
_UNITS = {
    "temp": "degF",
    "ph": "",
    "do": "%",
    "agit": "rpm",
    "glucose": "mg/dL",
    "lactate": "mg/dL",
    "vcd": "10^6/mL",
    "co2": "%",
}
_GLUCOSE_MG_PER_MMOL, _LACTATE_MG_PER_MMOL = 180.156, 90.078


def sensor_label(channel: str, reactor: int) -> str:
    """The tag under which a channel is recorded (the same in every suite)."""
    return _TAGS[channel]


def wall_of_wrong_hour(at: datetime) -> str:
    """How a logger whose clock did not spring forward prints an instant of that hour."""
    return f"{local(at, TZ)[0] - timedelta(hours=1):%m/%d/%Y %H:%M:%S}"


def sensor_file_name(day: int) -> str:
    """Name of the file with the readings of a fleet day."""
    return f"telemetry_{day_start(day):%Y-%m-%d}.csv"


def sensor_files(world: World, site: SiteWorld, first: int, last: int, notes: Notes) -> Iterator[OutFile]:
    """Telemetry files, one per Chicago calendar day (the last lived day is not over yet in Chicago)."""
    wall = pl.col("ts").dt.convert_time_zone(TZ)
    naive = wall.dt.replace_time_zone(None) - pl.when(pl.col("dst")).then(pl.duration(hours=1)).otherwise(
        pl.duration(hours=0)
    )
    value = pl.col("value")
    for day, frame in by_day(world, site, first - 1, last - 1, wall.dt.date()):
        made = frame.select(
            "batch",
            pl.col("channel").alias("tag"),
            naive.dt.strftime("%m/%d/%Y %H:%M:%S").alias("local_time"),
            pl.when(pl.col("channel") == "temp")
            .then((value * 1.8 + 32).round(3))
            .when(pl.col("channel") == "glucose")
            .then((value * _GLUCOSE_MG_PER_MMOL / 10).round(2))
            .when(pl.col("channel") == "lactate")
            .then((value * _LACTATE_MG_PER_MMOL / 10).round(2))
            .otherwise(value)
            .alias("value"),
            pl.col("channel").replace_strict(_UNITS).alias("unit"),
            pl.col("quality").replace_strict({0: "GOOD", 1: "UNCERTAIN", 2: "BAD"}).alias("quality"),
        )
        name = sensor_file_name(day)
        _note_ambiguous(frame, made, name, notes)
        yield OutFile(
            f"telemetry/{name}",
            made.write_csv(line_terminator="\r\n").encode(),
            day_start(day + 1) + timedelta(hours=8),
            {"sensor": made.height},
        )


def _note_ambiguous(frame: pl.DataFrame, made: pl.DataFrame, name: str, notes: Notes) -> None:
    """Remember readings in the hour that the clocks of Chicago repeat: 1 o'clock, first and second time."""
    times = frame["ts"].unique().sort()
    zone = ZoneInfo(TZ)
    if times[0].astimezone(zone).utcoffset() == times[-1].astimezone(zone).utcoffset():
        return
    twice = [t for t in times if local(t, TZ)[1]]
    for row in made.filter(frame["ts"].is_in(twice)).select("batch", "tag", "local_time").iter_rows():
        notes.ambiguous["sensor", "|".join(row)] = name
