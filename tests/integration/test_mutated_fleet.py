"""Files of every kind that the demo's sites send, spoilt at random: never a crash, never a value changed in silence.

A feed's newest files are brought in as they were written; then one of them comes again, later, with bytes, lines,
cells, words or values changed, or its database has cells changed. Whatever came is accounted for; no row is gone; a row
that says something else names what it supersedes and why, or a finding names its file; a file that could not be read
waits in quarantine. That a row says what its file says is what `test_mutated_feeds.py` holds against the bytes.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from pipelines.failures import PipelineFailure
from pipelines.harmonise.contract import Contract, Feed, load_contract
from pipelines.harmonise.systems import FolderSystem, RelationalSystem
from pipelines.ingest.accounting import is_large
from pipelines.ingest.asset import ingest
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.settings import ROOT, Settings

WHOLE = os.environ.get("CELLFLEET_FAULTS") == "all"
NEWEST, LATER = 3, 86_400.0
STATES = ("promoted", "superseded", "duplicate", "quarantined")
STRANGE = [
    "", " ", "n/a", "NULL", "NaN", "-1", "0", "<5", "1e9", "91,5", "0.915", "9150", "٩١", "2026-02-30", "x" * 300,
    "2030-01-01T00:00:00Z", "31.12.2030 10:00", 'a"b', "a;b,c", "é\x00",
]  # fmt: skip
NUMBER = re.compile(rb"\d+(?:[.,]\d+)?")
CONTRACTS = {
    p.parent.name: load_contract(p) for p in sorted((ROOT / "pipelines/defs/sites").glob("*/defs.yaml"))
}


def kind_of(feed: Feed) -> str:
    return (
        "database"
        if feed.query_table
        else f"readings, {feed.format.name}"
        if is_large(feed)
        else feed.format.name
    )


KINDS: dict[str, list[tuple[str, str]]] = {}
for _site, _contract in CONTRACTS.items():
    for _name, _feed in _contract.feeds.items():
        KINDS.setdefault(kind_of(_feed), []).append((_site, _name))


class Fed:
    """A feed of one of the demo's sites in a home of its own."""

    def __init__(self, folder: Path, site: str, feed: str) -> None:
        self.folder, self.site, self.name, self.runs = folder, site, feed, 0
        self.contract: Contract = CONTRACTS[site]
        self.feed = self.contract.feeds[feed]
        self.system: Any = self.contract.systems[self.feed.system]
        self.settings = Settings(home=str(folder / "home"), sources=str(folder / "sources"))

    @property
    def files(self) -> list[Path]:
        if isinstance(self.system, RelationalSystem):
            return [self.folder / "sources" / str(self.system.path)]
        assert isinstance(self.system, FolderSystem)
        found = (self.folder / "sources" / self.system.path).glob(self.feed.files or "")
        return sorted(found, key=lambda p: (p.stat().st_mtime, p.name))

    def run(self) -> None:
        self.runs += 1
        done = ingest(self.contract, self.name, self.settings, f"run-{self.runs}", progress=lambda _: None)
        assert done.accounting["received"] == sum(done.accounting[s] for s in STATES)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with lake.opened(self.settings) as con:
            return con.execute(sql).fetchall()

    def in_force(self) -> dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]:
        """Of each table the rows in force: key → (fields, hash of the file, whether it says what it supersedes)."""
        d, found = dictionary(), {}
        for name in dict.fromkeys(m.table for m in self.feed.maps):
            table = d.tables[name]
            said = "false" if table.volume == "large" else "supersedes IS NOT NULL AND reason IS NOT NULL"
            key, fields = (", ".join(f'"{n}"' for n in names) for names in (table.key, table.fields))
            found[name] = {
                row[0]: row[1:]
                for row in self.rows(
                    f"SELECT row({key}), row({fields}), source_file_sha256, {said} FROM current.{name} "
                    f"WHERE site_id = '{self.site}'"
                )
            }
        return found


@pytest.fixture(scope="module")
def fed(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The home of a feed after its newest files, made once, to be copied."""
    made: dict[tuple[str, str], Path] = {}

    def make(site: str, feed: str) -> Path:
        if (site, feed) not in made:
            folder = tmp_path_factory.mktemp(f"{site}_{feed}")
            one, sent = Fed(folder, site, feed), Fed(published_home, site, feed)
            shutil.copytree(published_home / "sources" / site / "edge", folder / "sources" / site / "edge")
            for path in sent.files[-NEWEST:]:
                to = folder / path.relative_to(published_home)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to)
            one.run()
            made[site, feed] = folder
        return made[site, feed]

    return make


def bytes_spoilt(data: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, lost, put in, or written twice; or the end is missing."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at, size = draw.randrange(len(out) or 1), draw.randint(1, 40)
        kind = draw.choice(["flip", "lose", "put in", "twice", "cut"])
        if kind == "flip" and out:
            out[at] ^= 1 << draw.randrange(8)
        elif kind == "lose":
            del out[at : at + size]
        elif kind == "put in":
            out[at:at] = draw.randbytes(3)
        elif kind == "twice":
            out[at:at] = out[at : at + size]
        elif kind == "cut" and draw.random() < 0.3:
            del out[at:]
    return bytes(out)


def lines_spoilt(data: bytes, draw: random.Random) -> bytes:
    """Lines lost, repeated, exchanged, torn, or all in another order."""
    lines = data.splitlines(keepends=True)
    a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.choice(["drop", "repeat", "exchange", "tear", "shuffle", "empty"])
    if kind == "drop":
        del lines[a]
    elif kind == "repeat":
        lines.insert(a, lines[b])
    elif kind == "exchange":
        lines[a], lines[b] = lines[b], lines[a]
    elif kind == "tear":
        lines[a] = lines[a][: len(lines[a]) // 2] + b"\n"
    elif kind == "shuffle":
        draw.shuffle(lines)
    else:
        lines.insert(a, b"\n")
    return b"".join(lines)


def words_spoilt(data: bytes, draw: random.Random) -> bytes:
    """Numbers that say something else: another number, none, or a word; one for all, or names exchanged."""
    found = list(NUMBER.finditer(data))
    if not found:
        return bytes_spoilt(data, draw)
    for match in sorted(draw.sample(found, min(len(found), draw.randint(1, 5))), key=lambda m: -m.start()):
        text = draw.choice([*STRANGE, str(draw.randint(0, 10**6)), str(draw.uniform(0, 100))]).encode()
        data = data[: match.start()] + text + data[match.end() :]
    return data


def as_workbook(data: bytes, draw: random.Random) -> bytes:
    """Cells of a workbook that say something else, rows lost."""
    book = openpyxl.load_workbook(io.BytesIO(data))
    sheet = book[draw.choice(book.sheetnames)]
    for _ in range(draw.randint(1, 4)):
        row, column = draw.randint(1, sheet.max_row), draw.randint(1, sheet.max_column)
        if draw.random() < 0.2:
            sheet.delete_rows(row)
        else:
            sheet.cell(row, column).value = draw.choice([None, 0, 12.5, True, *STRANGE[:10]])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def as_parquet(data: bytes, draw: random.Random) -> bytes:
    """A column scaled, emptied, as text, renamed or gone; rows lost, repeated or in another order."""
    frame = pl.read_parquet(io.BytesIO(data))
    name = draw.choice(frame.columns)
    kind = draw.choice(["scale", "empty", "text", "rename", "drop", "lose", "repeat", "shuffle"])
    numeric = [c for c in frame.columns if frame[c].dtype.is_float()]
    if kind == "scale" and numeric:
        frame = frame.with_columns(pl.col(numeric[0]) * draw.choice([0.01, 1.1, 100]))
    elif kind == "empty":
        frame = frame.with_columns(pl.lit(None, dtype=frame[name].dtype).alias(name))
    elif kind == "text":
        frame = frame.with_columns(pl.col(name).cast(pl.String))
    elif kind == "rename":
        frame = frame.rename({name: f"{name}_2"})
    elif kind == "drop":
        frame = frame.drop(name)
    elif kind == "lose":
        frame = frame.head(draw.randrange(frame.height))
    elif kind == "repeat":
        frame = pl.concat([frame, frame.tail(10)])
    else:
        frame = frame.sample(fraction=1, shuffle=True, seed=draw.randrange(99))
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def as_json(data: bytes, draw: random.Random) -> bytes:
    """Values of a document or of its lines that are of another kind, or keys that are gone."""
    whole = data.lstrip()[:1] == b"{" and b"\n{" not in data.strip()
    told = [json.loads(data)] if whole else [json.loads(x) for x in data.splitlines() if x.strip()]
    for _ in range(draw.randint(1, 4)):
        at = draw.choice(told)
        while isinstance(at, dict | list) and at:
            key = draw.choice(list(at)) if isinstance(at, dict) else draw.randrange(len(at))
            if isinstance(at[key], dict | list) and at[key] and draw.random() < 0.85:
                at = at[key]
                continue
            if draw.random() < 0.2:
                del at[key]
            else:
                at[key] = draw.choice([None, True, [], {}, 0, -1, 1e300, *STRANGE])
            break
    return "\n".join(json.dumps(x, ensure_ascii=False) for x in told).encode("utf-8", "surrogatepass") + b"\n"


BY_FORMAT = {
    "excel": [as_workbook],
    "parquet": [as_parquet],
    "jsonl": [as_json],
    "fhir": [as_json],
    "epcis": [as_json],
}


def spoil(fed: Fed, draw: random.Random) -> str:
    """Send the newest file again, spoilt, a day later, under its own name or another."""
    path = fed.files[-1]
    sent = path.stat().st_mtime
    if isinstance(fed.system, RelationalSystem):
        return spoil_table(path, fed.feed, draw)
    binary = fed.feed.format.name in ("excel", "parquet")
    ways = [bytes_spoilt, *([] if binary else [lines_spoilt, words_spoilt, words_spoilt]),
            *3 * BY_FORMAT.get(fed.feed.format.name, [])]  # fmt: skip
    way = draw.choice(ways)
    data = way(path.read_bytes(), draw)
    other = path.with_name(f"{path.stem}_x{path.suffix}")
    if draw.random() < 0.5 and other.match(Path(fed.feed.files or "").name):
        path = other
    path.write_bytes(data)
    os.utime(path, (sent + LATER, sent + LATER))
    return f"{way.__name__}: {data[:2000]!r}"


def spoil_table(path: Path, feed: Feed, draw: random.Random) -> str:
    """Cells of a table that say something else; of half of them the stamp says so."""
    done = []
    with sqlite3.connect(path) as con:
        columns = [row[1] for row in con.execute(f'PRAGMA table_info("{feed.query_table}")')]
        last = con.execute(f'SELECT max("{feed.modified}") FROM "{feed.query_table}"').fetchone()[0]
        for _ in range(draw.randint(1, 4)):
            column, value = draw.choice(columns), draw.choice([None, 0, -3.5, b"\x00\xff", *STRANGE])
            (row,) = draw.choice(con.execute(f'SELECT rowid FROM "{feed.query_table}"').fetchall())
            stamp = f', "{feed.modified}" = ?' if draw.random() < 0.5 and column != feed.modified else ""
            told = [value, *([last] if stamp else []), row]
            try:
                con.execute(f'UPDATE "{feed.query_table}" SET "{column}" = ?{stamp} WHERE rowid = ?', told)
            except sqlite3.IntegrityError:
                continue
            done.append((column, value, row, bool(stamp)))
    return repr(done)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(
    max_examples=60,
    deadline=None,
    # The sample is the same everywhere; the whole run draws anew.
    phases=[Phase.explicit, Phase.generate] if WHOLE else [Phase.explicit],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
@example(seed=1)
def test_a_spoilt_file_of_any_kind_is_read_told_of_or_set_aside(
    fed: Callable[[str, str], Path], tmp_path: Path, kind: str, seed: int
) -> None:
    draw = random.Random(seed)
    site, name = draw.choice(KINDS[kind])
    sound = fed(site, name)
    folder = tmp_path / f"{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder, symlinks=True)
    one = Fed(folder, site, name)
    one.runs = 1
    before = one.in_force()
    note(f"{site}/{name} {spoil(one, draw)}")
    try:
        one.run()
    except PipelineFailure:
        # A source that cannot be read stops the feed; nothing has changed.
        assert one.in_force() == before
        return
    told = {
        f
        for (f,) in one.rows(
            "SELECT source_file_sha256 FROM lake.quality.finding JOIN lake.raw.file USING (source_file)"
        )
    }
    for table, rows in one.in_force().items():
        gone = set(before[table]) - set(rows)
        assert not gone, f"{table} lost {sorted(map(str, gone))[:3]}"
        for key, (fields, sha, said) in rows.items():
            was = before[table].get(key)
            if was is not None and was[0] != fields:
                assert said or sha in told, f"{table} {key}: {fields} stands for {was[0]} in silence"
    silent = one.rows(
        "SELECT source_file, refusal FROM lake.raw.file WHERE file_state = 'refused' "
        "AND source_file NOT IN (SELECT source_file FROM lake.quality.quarantine)"
    )
    assert silent == []
    shutil.rmtree(folder)
