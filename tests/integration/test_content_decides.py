"""Core rows depend on what was sent, and on nothing else: not on its order, batches, repeats, units, zone or locale."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from small_site import Site, attributes

from warehouse.settings import Settings

EXAMPLES = 60 if os.environ.get("CELLFLEET_FAULTS") == "all" else 4
START = datetime(2026, 2, 1, 12, tzinfo=UTC)
# What a row says, without where it was read and what it replaced when it came.
SAID = (
    "result_id, sample_id, attribute, operator, round(value, 9), result_at, source_version, "
    "reason IS NOT DISTINCT FROM 'deleted at the source'"
)
NUMBER = count(1)


@dataclass(frozen=True)
class Version:
    """One version of one result: its record, its stamp (h after the start), what it says; no value: deleted."""

    record: int
    stamp: int
    tenths: int | None


@dataclass(frozen=True)
class Locale:
    """How a site prints: decimal mark, delimiter, unit, zone, format of times."""

    decimal: str
    delimiter: str
    percent: bool
    zone: str
    time: str

    def number(self, tenths: int) -> str:
        printed = f"{tenths / 10:.1f}" if self.percent else f"{tenths / 1000:.3f}"
        return printed.replace(".", self.decimal)

    def at(self, hours: float) -> str:
        moment = (START + timedelta(hours=hours)).astimezone(ZoneInfo(self.zone))
        return moment.isoformat() if self.time == "iso" else moment.strftime(self.time)

    def line(self, v: Version) -> str:
        value = "" if v.tenths is None else self.number(v.tenths)
        cells = [f"R{v.record}", f"S{v.record}", "viab", value, "%" if self.percent else "1", self.at(v.record),
                 self.at(100 + v.stamp), "gone" if v.tenths is None else ""]  # fmt: skip
        return self.delimiter.join(cells) + "\n"


HEADER = ("id", "sample", "test", "result", "unit", "at", "changed", "state")
PLAIN = Locale(".", ",", percent=True, zone="UTC", time="iso")
LOCALES = st.builds(
    Locale,
    decimal=st.sampled_from(".,"),
    delimiter=st.just(";"),
    percent=st.booleans(),
    zone=st.sampled_from(["Europe/Berlin", "America/Chicago", "Asia/Singapore", "UTC"]),
    time=st.sampled_from(["iso", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p"]),
)
# A record and a stamp say one thing: a source that says two is told by a finding, and then its files' times decide.
CONTENT = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(0, 5)),
    st.one_of(st.integers(400, 1000), st.none()),
    min_size=1,
    max_size=8,
).map(lambda d: [Version(r, s, t) for (r, s), t in d.items()])


@st.composite
def arrangements(draw: st.DrawFn) -> tuple[list[Version], list[list[list[Version]]]]:
    """Content, and runs of files that send it: in any order, some of it again."""
    content = draw(CONTENT)
    again = draw(st.lists(st.sampled_from(content), max_size=4))
    sent = draw(st.permutations(content + again))
    runs: list[list[list[Version]]] = [[[]], [[]]]
    for version in sent:
        run = draw(st.integers(0, 1))
        if draw(st.booleans()):
            runs[run].append([])
        runs[run][-1].append(version)
    return content, [files for run in runs if (files := [f for f in run if f])]


class Shared(Site):
    """A site beside others in one lake."""

    @property
    def settings(self) -> Settings:
        return Settings(
            home=str(self.folder.parent / "home"),
            sites=str(self.folder / "sites"),
            sources=str(self.folder / "sources"),
        )


def promoted(
    folder: Path, locale: Locale, runs: list[list[list[Version]]]
) -> dict[str, list[tuple[Any, ...]]]:
    """What core holds, and what is in force, after a site has sent these files in these runs."""
    site_id = f"site{next(NUMBER)}"
    content = attributes(site_id, decimal=locale.decimal, time_zone=locale.zone)
    content["time"] = {"format": locale.time, "zone": locale.zone}
    content["feeds"] = {
        "assay": content["feeds"]["assay"]
        | {"deleted": {"state": "gone"}, "ignore": ["state"],
           "format": {"name": "delimited", "encoding": "utf-8", "delimiter": locale.delimiter}}
    }  # fmt: skip
    site = Shared(folder / site_id, content)
    for number, run in enumerate(runs):
        for n, file in enumerate(run):
            lines = [locale.delimiter.join(HEADER) + "\n", *map(locale.line, file)]
            site.send(f"results_{number}_{n}.csv", "".join(lines), hours=number * 10 + n)
        site.run()
    return {
        where: site.rows(f"SELECT {SAID} FROM {where} WHERE site_id = '{site_id}' ORDER BY ALL")
        for where in ("lake.core.assay_result", "current.assay_result")
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("content")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # an example takes seconds: a failure is shown as it was found
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(arrangements(), LOCALES)
def test_core_rows_depend_on_the_content_alone(
    folder: Path, arranged: tuple[list[Version], list[list[list[Version]]]], locale: Locale
) -> None:
    content, runs = arranged
    together = promoted(folder, PLAIN, [[content]])
    assert promoted(folder, locale, runs) == together
    last = {v.record: v for v in sorted(content, key=lambda v: v.stamp)}
    in_force = sorted((f"R{v.record}", v.tenths / 10) for v in last.values() if v.tenths is not None)
    assert sorted((row[0], row[4]) for row in together["current.assay_result"]) == in_force
