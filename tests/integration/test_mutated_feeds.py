"""Valid feeds spoilt at random: never a crash, never a value of core changed in silence.

A site sends a sound file and, mostly, the same again with bytes, cells, rows, columns or the whole file changed. What
is in force afterwards is compared with the bytes by a reader of this test's own: each row says what its file says; a
row that differs from the sound one names what it supersedes and why, and where its stamp did not move, a finding says
so. All records are accounted for (`Site.run` asserts it); what is not in force waits in quarantine with a reason.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from small_site import Site, attributes

from warehouse.settings import Settings

WHOLE = os.environ.get("CELLFLEET_FAULTS") == "all"
EXAMPLES = 150 if WHOLE else 6
HEADER = ["id", "sample", "test", "result", "unit", "at", "changed"]
ROWS = 24
NUMBER = count(1)
Grid = list[list[str]]
Mutation = Callable[[Grid], bytes]
PRINTED = re.compile(r"(?:(<|>)=?|=)?\s*([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")
STRANGE = st.sampled_from(
    ["", " ", "n/a", "NULL", "NaN", "inf", "-1", "0", "<5", "> 99", "1e2", "91,5", "1.234,5", "0.915", "9150", "91.5.1",
     "٩١", "\u221291.5", "'91.5", "=1+1", "viabb", "%", "mg", "2026-02-30T09:00:00Z", "01.02.2026 10:00", "2026-02-01",
     "2026-02-01T10:00:00", "2030-01-01T00:00:00Z", "R1", "S1", 'a"b', "a,b", "a\nb", "\x00", "é", "1" * 400]
)  # fmt: skip
ANY = st.one_of(STRANGE, st.text(max_size=12), st.floats(width=32).map(str), st.integers().map(str))


def sound(prefix: str) -> Grid:
    at, changed = "2026-02-01T09:00:00Z", "2026-02-01T10:00:00Z"
    results = [
        [f"{prefix}R{n}", f"{prefix}S{n}", "viab", f"{88 + n / 4:.2f}", "%", at, changed] for n in range(ROWS)
    ]
    return [HEADER, *results]


def as_csv(grid: Grid) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(grid)
    return out.getvalue().encode("utf-8", "surrogatepass")


def as_jsonl(grid: Grid) -> bytes:
    return "".join(json.dumps(dict(zip(grid[0], row, strict=False))) + "\n" for row in grid[1:]).encode()


@st.composite
def cells(draw: st.DrawFn) -> Mutation:
    """Some cells say something else, or two change places."""
    places = draw(st.lists(st.tuples(st.integers(0, ROWS), st.integers(0, 6), ANY), min_size=1, max_size=4))
    swapped = draw(st.booleans())

    def change(grid: Grid) -> bytes:
        for row, column, text in places:
            if swapped:
                other = (row + 1) % len(grid)
                grid[row][column], grid[other][column] = grid[other][column], grid[row][column]
            else:
                grid[row][column] = text
        return as_csv(grid)

    return change


@st.composite
def rows(draw: st.DrawFn) -> Mutation:
    """Rows lost, repeated, in another order, torn or too long; the header among them."""
    kind = draw(st.sampled_from(["drop", "repeat", "shuffle", "tear", "lengthen", "header again", "empty"]))
    some = draw(st.lists(st.integers(0, ROWS), min_size=1, max_size=4))
    order = draw(st.permutations(range(ROWS + 1)))

    def change(grid: Grid) -> bytes:
        if kind == "drop":
            return as_csv([r for n, r in enumerate(grid) if n not in some])
        if kind == "repeat":
            return as_csv(grid + [grid[n] for n in some])
        if kind == "shuffle":
            return as_csv([grid[n] for n in order])
        for n in some:
            extra = {"tear": grid[n][:3], "lengthen": [*grid[n], "more"], "header again": HEADER, "empty": []}
            grid[n] = extra[kind]
        return as_csv(grid)

    return change


@st.composite
def columns(draw: st.DrawFn) -> Mutation:
    """Columns lost, in another order, under another's name, renamed, twice, added, or scaled as by another unit."""
    kind = draw(
        st.sampled_from(["drop", "move", "swap names", "rename", "twice", "add", "scale", "all the same"])
    )
    a, b = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    text, factor = draw(ANY), draw(st.sampled_from([0.01, 0.1, 0.5, 2, 10, 1000]))

    def change(grid: Grid) -> bytes:
        if kind == "swap names":
            grid[0] = list(grid[0])
            grid[0][a], grid[0][b] = grid[0][b], grid[0][a]
        return as_csv([changed(n, list(row)) for n, row in enumerate(grid)])

    def changed(n: int, row: list[str]) -> list[str]:
        if kind == "drop":
            return row[:a] + row[a + 1 :]
        if kind == "move":
            moved = row[:a] + row[a + 1 :]
            return [*moved[:b], row[a], *moved[b:]]
        if (kind == "rename" and n == 0) or (kind == "all the same" and n):
            row[a] = text
        elif kind == "scale" and n:
            row[3] = f"{float(row[3]) * factor:.4g}"
        more = {"twice": [row[a]], "add": [text if n else "new"]}
        return row + more.get(kind, [])

    return change


@st.composite
def raw_bytes(draw: st.DrawFn) -> Mutation:
    """Bytes flipped, lost, put in or written twice."""
    places = draw(st.lists(st.floats(0, 0.999), min_size=1, max_size=5))
    kind, size = draw(st.sampled_from(["flip", "lose", "put in", "twice"])), draw(st.integers(1, 40))
    stuff = draw(st.binary(min_size=1, max_size=4))

    def change(grid: Grid) -> bytes:
        data = bytearray(as_csv(grid))
        for place in places:
            at = int(place * len(data))
            if kind == "flip":
                data[at] ^= stuff[0] or 1
            elif kind == "lose":
                del data[at : at + size]
            elif kind == "put in":
                data[at:at] = stuff
            else:
                data[at:at] = data[at : at + size]
        return bytes(data)

    return change


@st.composite
def whole_files(draw: st.DrawFn) -> Mutation:
    """The whole file is another: cut, empty, packed, in another encoding or layout, twice, or another's."""
    kind, cut = draw(st.sampled_from(range(12))), draw(st.floats(0, 1))

    def change(grid: Grid) -> bytes:
        data = as_csv(grid)
        made = [
            data[: int(cut * len(data))], b"", b"\xef\xbb\xbf" + data, data.decode().encode("utf-16"),
            gzip.compress(data), data.replace(b",", b";"), data.replace(b"\n", b"\r\n"), data + data,
            data.replace(b".", b","), as_jsonl(grid), b"id,mrn,name,born\n1,2,3,4\n", data.replace(b"\n", b"\n\n"),
        ]  # fmt: skip
        return made[kind]

    return change


MUTATIONS = st.one_of(cells(), rows(), columns(), raw_bytes(), whole_files())


class Shared(Site):
    """A site beside others in one lake."""

    @property
    def settings(self) -> Settings:
        home = str(self.folder.parent / "home")
        return Settings(home=home, sites=str(self.folder / "sites"), sources=str(self.folder / "sources"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


def said(data: bytes) -> set[tuple[Any, ...]]:
    """What bytes say of results, to a reader that knows nothing of ours: (id, sample, operator, value, time, stamp)."""
    for encoding in ("utf-8-sig", "utf-16"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeError:
            continue
    else:
        return set()
    plain = text.replace("\x00", "")
    found = set()
    # A site may well send another delimiter: what it says is then the same.
    tables = ([r for r in csv.reader(io.StringIO(plain), delimiter=d, strict=False) if r] for d in ",;")
    for read, header in ((t, r) for t in tables for r in t if "id" in [c.strip() for c in r]):
        names = [c.strip() for c in header]
        for cells_ in read:
            told = dict(zip(names, (c.strip() for c in cells_), strict=False))
            number = PRINTED.fullmatch(told.get("result", ""))
            factor = {"%": 1.0, "1": 100.0}.get(told.get("unit", ""))
            if number is not None and factor is not None:
                value = round(float(number.group(2)) * factor, 6)
                stamps = (_time(told.get("at", "")), _time(told.get("changed", "")))
                found.add((told["id"], told.get("sample"), number.group(1) or "=", value, *stamps))
    return found


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo("Europe/Berlin"))


IN_FORCE = """
SELECT result_id, sample_id, operator, round(value, 6), result_at, source_version, source_file_sha256,
       supersedes IS NOT NULL AND reason IS NOT NULL, source_file
FROM current.assay_result WHERE site_id = '{site}'"""


@pytest.mark.timeout(3600)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not WHOLE,  # the sample is the same everywhere; the whole run draws anew
    phases=[Phase.explicit, Phase.generate],  # an example takes a second: a failure is shown as it was found
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(MUTATIONS, st.sampled_from(["after", "after", "alone", "before"]))
def test_no_mutation_crashes_or_changes_a_value_in_silence(
    folder: Path, mutation: Mutation, when: str
) -> None:
    name = f"site{next(NUMBER)}"
    site = Shared(folder / name, attributes(name))
    grid = sound(name)
    spoilt = mutation([list(row) for row in grid])
    note(f"{when}: {spoilt[:3000]!r}")
    if when != "alone":
        site.send("results_1.csv", as_csv(grid), 24)
    site.send("results_2.csv", spoilt, 48 if when == "after" else 0)
    site.run()
    spoken = {"results_1.csv": said(as_csv(grid)), "results_2.csv": said(spoilt)}
    before = {row[0]: row for row in spoken["results_1.csv"]} if when != "alone" else {}
    after = {row[0]: row for row in site.rows(IN_FORCE.format(site=name))}
    noticed = {
        row[0]
        for row in site.rows(
            "SELECT subject FROM lake.quality.finding WHERE reason_code = 'changed_without_notice' "
            f"AND site_id = '{name}'"
        )
    }
    for key, row in after.items():
        assert row[:6] in spoken[row[8]], f"{row} is not what {row[8]} says"
        old = before.get(key)
        if old is not None and row[:5] != old[:5]:
            assert row[7], f"{row} supersedes {old} without saying so"
            assert row[5] > old[5] or key in noticed, f"{row} stands for {old}, and no finding says so"
    assert set(before) <= set(after), "a result is gone"
    # What came and is not promoted says why.
    silent = site.rows(
        f"SELECT source_file, received FROM lake.raw.file WHERE site_id = '{name}' AND file_state = 'refused' "
        f"AND source_file NOT IN (SELECT source_file FROM lake.quality.quarantine WHERE site_id = '{name}')"
    )
    assert silent == []
