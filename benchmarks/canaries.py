"""Names, record numbers, birth dates and free text planted in every feed of a fleet, and looked for wherever one reads.

    python benchmarks/canaries.py [--home FOLDER] [--seed 5]

A tiny fleet is written; into each file of each feed go the canaries, in the way that its format has for what nobody
asked for (a further column, key, element, comment or table column) and into every column of names and free text. The
fleet is run and published, evidence packs are made, and everything outside the vault and the sites' edge is searched:
lake, catalog, snapshot, ledger, Dagster's metadata and events, logs, Data Docs, packs, reports, and what was printed.
Ends with 1 where a canary is found, where a feed took none, or where the vault does not hold each of them: a search
that finds nothing there proves nothing. Belongs here: planting; the search is `tests/leaks.py`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import polars as pl
from openpyxl.comments import Comment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipelines.harmonise.contract import Contract, Feed, load_contract
from pipelines.harmonise.mapping import columns_used
from tests.leaks import leaks, words_in
from warehouse.plan import load_plan
from warehouse.settings import ROOT

CANARIES = {
    "name": "Kanarienvogel, Zebedäus",
    "number": "MRN-99417735",
    "born": "1931-03-29",
    "text": "tells of her canary Pipsqueak",
}
NAME = "staff remark"
SAID = " / ".join(CANARIES.values())
WORDS = [part for text in CANARIES.values() for part in text.split(", ")]


def hidden(feed: Feed) -> set[str]:
    """Columns of names and free text that no field is made of."""
    return (set(feed.identifying) | set(feed.free_text)) - set(columns_used(feed))


def in_delimited(path: Path, feed: Feed) -> None:
    """A further column, and every column of names and free text overwritten."""
    encoding = feed.format.model_dump().get("encoding") or "utf-8"
    text = path.read_bytes().decode(encoding)
    first = text.splitlines()[0]
    mark = max(";,\t|", key=first.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=mark))
    header = rows[0]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=mark, lineterminator="\n")
    writer.writerow([*header, NAME])
    for row in rows[1:]:
        said = [SAID if name in hidden(feed) else value for name, value in zip(header, row, strict=False)]
        # A row of another length stays one.
        writer.writerow([*said, SAID] if len(row) == len(header) else row)
    path.write_bytes(out.getvalue().encode(encoding))


def in_json_lines(path: Path, feed: Feed) -> None:
    """A further key in each object, a name and a note in each resource of FHIR."""
    lines = []
    for line in path.read_text("utf-8").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            lines.append(line)
            continue
        if "resourceType" in told:
            told["text"] = {
                "status": "generated",
                "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{SAID}</div>',
            }
        else:
            told |= {NAME: SAID} | {name: SAID for name in hidden(feed) if name in told}
        lines.append(json.dumps(told, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def in_epcis(path: Path, _: Feed) -> None:
    """An extension in each event."""
    told = json.loads(path.read_text("utf-8"))
    for event in told["epcisBody"]["eventList"]:
        event["cellfleet:remark"] = SAID
    path.write_text(json.dumps(told, ensure_ascii=False), "utf-8")


def in_xml(path: Path, _: Feed) -> None:
    """A comment after the root's first tag."""
    text = path.read_text("utf-8")
    root = text.index(">", text.index("<", text.index("?>") + 2 if text.startswith("<?") else 0)) + 1
    path.write_text(f"{text[:root]}<!-- {SAID} -->{text[root:]}", "utf-8")


def in_parquet(path: Path, _: Feed) -> None:
    """A further column."""
    pl.read_parquet(path).with_columns(pl.lit(SAID).alias(NAME)).write_parquet(path)


def in_sheet(path: Path, _: Feed) -> None:
    """An instrument's own page of names and values: its operator."""
    lines = path.read_bytes().decode("latin-1").splitlines()
    said = [f"Operator;{SAID};" if line.startswith("Operator;") else line for line in lines]
    path.write_bytes(("\r\n".join(said) + "\r\n").encode("latin-1"))


def in_table_of_counts(path: Path, _: Feed) -> None:
    """An instrument's own table: who analysed."""
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"))))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows({k: SAID if k.lower() == "analysis by" else v for k, v in row.items()} for row in rows)
    path.write_bytes(out.getvalue().encode("utf-8"))


def in_workbook(path: Path, feed: Feed) -> None:
    """A further column of the sheet, a comment on a cell, and the file's own author and title."""
    told = feed.format.model_dump()
    book = openpyxl.load_workbook(path)
    sheet, header = book[told["sheet"]], told["header_row"]
    column = sheet.max_column + 1
    sheet.cell(header, column, NAME)
    for row in range(header + 1, sheet.max_row + 1):
        sheet.cell(row, column, SAID)
    sheet.cell(header, 1).comment = Comment(SAID, CANARIES["name"])
    book.properties.creator = book.properties.title = SAID
    book.save(path)


PLANT = {
    "delimited": in_delimited, "jsonl": in_json_lines, "fhir": in_json_lines, "epcis": in_epcis, "b2mml": in_xml,
    "parquet": in_parquet, "nucleoview": in_sheet, "vicell_blu": in_table_of_counts,
    "excel": in_workbook,
}  # fmt: skip


def in_database(path: Path, contract: Contract) -> set[str]:
    """A further column in each table, and every column of names and free text; names of the feeds."""
    feeds = {n: f for n, f in contract.feeds.items() if f.query_table}
    with sqlite3.connect(path) as con:
        for feed in feeds.values():
            con.execute(f'ALTER TABLE "{feed.query_table}" ADD COLUMN "{NAME}" TEXT')
            held = {row[1] for row in con.execute(f'PRAGMA table_info("{feed.query_table}")')}
            for column in {NAME} | (hidden(feed) & held):
                con.execute(f'UPDATE "{feed.query_table}" SET "{column}" = ?', [SAID])
    return set(feeds)


def plant(sources: Path, sites: Path) -> tuple[list[str], list[str]]:
    """Plant in every file that a contract takes; feeds that took a canary, and those that did not."""
    took, left = [], []
    for file in sorted(sites.glob("*/defs.yaml")):
        contract = load_contract(file)
        done: set[str] = set()
        for path in sources.glob(f"{contract.site_id}/**/*.db"):
            done |= in_database(path, contract)
        for name, feed in contract.feeds.items():
            system: Any = contract.systems[feed.system]
            for path in sorted((sources / str(getattr(system, "path", ""))).glob(feed.files or "\0")):
                if feed.format.name in PLANT and path.is_file():
                    before = path.stat()
                    PLANT[feed.format.name](path, feed)
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
                    done.add(name)
        took += [f"{contract.site_id}/{n}" for n in contract.feeds if n in done]
        left += [f"{contract.site_id}/{n}" for n in contract.feeds if n not in done]
    return took, left


def cellfleet(home: Path, *words: str) -> str:
    """The real command, in a process of its own; what it printed."""
    environment = os.environ | {"CELLFLEET_HOME": str(home), "CELLFLEET_SOURCES": str(home / "sources")}
    command = [sys.executable, "-m", "pipelines.cli", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=home)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def some_batch(home: Path) -> str:
    """A batch that was given to somebody."""
    snapshot = (home / "published" / "fleet.duckdb").resolve()
    with duckdb.connect(str(snapshot), read_only=True) as con:
        row = con.execute(
            "SELECT min(batch_id) FROM mart.release_readiness WHERE infused_at IS NOT NULL"
        ).fetchone()
    assert row is not None
    return str(row[0])


def in_vault(home: Path) -> set[str]:
    """The words that the sites' vaults hold."""
    kept: set[str] = set()
    for path in (home / "vault").rglob("*"):
        if path.is_file() and kept != set(WORDS):
            kept |= words_in(path, WORDS)
    return kept


def main() -> None:
    """Plant, run, publish, pack, search; the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="canaries-", dir=given.home))
    try:
        cellfleet(home, "simulate", "--scale", "tiny", "--seed", str(given.seed))
        took, left = plant(home / "sources", ROOT / "pipelines" / "defs" / "sites")
        printed = [cellfleet(home, "run")]
        batch = some_batch(home)
        (home / "packs").mkdir()
        plan = load_plan(ROOT / "pipelines" / "defs" / "sites" / "fleet.yaml").plan.id
        for subject in (batch, plan):
            printed.append(
                cellfleet(home, "evidence", subject, "--out", str(home / "packs" / f"{subject}.zip"))
            )
        printed += [
            cellfleet(home, *words)
            for words in (("status",), ("findings",), ("quarantine", "list"), ("trace", batch))
        ]
        (home / "packs" / "printed.txt").write_text("\n".join(printed), "utf-8")
        found, kept = leaks(home, WORDS), in_vault(home)
        said = {
            "feeds with canaries": len(took), "feeds without": left, "kept in the vault": sorted(kept),
            "found outside the edge": found,
        }  # fmt: skip
        sys.stdout.write(json.dumps(said, ensure_ascii=False, indent=1) + "\n")
    finally:
        shutil.rmtree(home)
    sys.exit(1 if found or left or kept != set(WORDS) else 0)


if __name__ == "__main__":
    main()
