"""A night of a small site in a process of its own: every feed, then publication, to be broken meanwhile.

`python -m tests.faults.night CONTRACT` does the same with the settings of the environment, for what must be set
before a process starts.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import sys
from contextlib import closing
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import duckdb

from pipelines.harmonise.contract import load_contract
from pipelines.ingest.asset import ingest
from pipelines.publication import publish_fleet
from tests.integration.small_site import ORDERS, RESULTS, Site, result
from warehouse import lake
from warehouse.dictionary import dictionary
from warehouse.publish import is_sound, newest
from warehouse.settings import Settings, settings
from warehouse.trouble import in_words

# Its processes are copies of one that has everything in memory: a trial costs what the night costs.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.night"])
FILES, ROWS = 6, 30
SECONDS = 300
# What tells of runs, not of what was sent.
OF_RUNS = ("accounting", "cursor")


@dataclass
class Night:
    """A site under way in a process. `end` waits for it and gives what it said: nothing where all went well."""

    process: BaseProcess
    hears: Connection

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.join()

    def end(self) -> str:
        """What the process said of its end: a sentence for what failed, or nothing."""
        try:
            assert self.hears.poll(SECONDS), "the night does not end"
            said = str(self.hears.recv())
        except EOFError:
            said = "killed"
        self.process.join()
        return said


@dataclass(frozen=True)
class Place:
    """A folder with a site's contract and files, where its fleet keeps its state, and a night's environment."""

    folder: Path
    settings: Settings
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def contract(self) -> Path:
        [found] = self.folder.glob("sites/*/defs.yaml")
        return found

    @property
    def sources(self) -> Path:
        """Where the site's own files lie."""
        return self.folder / "sources"

    def send_another(self) -> None:
        """One more file, of one result that is new."""
        [export] = self.sources.glob("*/export")
        (export / "results_late.csv").write_text(RESULTS + result(7777, "87.5"), "utf-8")

    def begin(self) -> Night:
        """Start a night."""
        hears, says = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(
            target=_work, args=(self.settings, self.contract, self.environment, says), daemon=True
        )
        process.start()
        says.close()
        return Night(process, hears)

    def whole(self) -> str:
        """A night to its end."""
        return self.begin().end()

    def hashes(self) -> dict[str, str]:
        """Content of every table of the lake, without what differs from run to run."""
        with closing(lake.attach(self.settings, read_only=True)) as con:
            tables = [t for t in dictionary().tables.values() if t.name not in OF_RUNS]
            return {t.qualified: lake.content_hash(con, dictionary(), t) for t in tables}

    def published(self) -> int | None:
        """Number of results in the newest snapshot, which must be whole and add up; None where there is none."""
        path = newest(self.settings.published_path) if self.settings.published_path.exists() else None
        if path is None:
            return None
        assert is_sound(path)
        with duckdb.connect(str(path), read_only=True) as con:
            off = con.execute(
                "FROM quality.accounting WHERE received <> promoted + superseded + duplicate + quarantined"
            ).fetchall()
            assert off == []
            row = con.execute("SELECT count(*) FROM core.assay_result").fetchone()
        assert row is not None
        return int(row[0])


def place(folder: Path, template: Path, environment: dict[str, str] | None = None, **changed: str) -> Place:
    """A copy of a template's contract and files, with a home that has nothing yet. `changed`: settings."""
    for part in ("sites", "sources"):
        shutil.copytree(template / part, folder / part)
    named = Settings(home=str(folder / "home"), sites=str(folder / "sites"), sources=str(folder / "sources"))
    return Place(folder, replace(named, **changed), environment or {})  # type: ignore[arg-type]


def template(folder: Path) -> Path:
    """A small site's contract and files: plain ones, one sent twice, one with a row that is refused, orders.

    Its patients have their keys already: keys are drawn, and what is compared must be the same site.
    """
    site = Site(folder)
    for n in range(FILES):
        rows = [result(n * ROWS + k, f"{80 + (n * ROWS + k) % 17}.5") for k in range(ROWS)]
        site.send(f"results_{n}.csv", RESULTS + "".join(rows), n)
    site.send("results_again.csv", (site.export / "results_0.csv").read_bytes(), FILES)
    site.send("results_bad.csv", RESULTS + result(9000, "ninety") + result(9001, "88.0"), FILES + 1)
    orders = (f"O{n},M{n % 4},Name {n % 4},196{n % 4}-01-01,p,,2026-02-01T10:00:00Z\n" for n in range(8))
    site.send("orders_0.csv", ORDERS + "".join(orders))
    site.run("order")
    shutil.rmtree(site.settings.home_path)
    return folder


def _work(chosen: Settings, contract: Path, environment: dict[str, str], says: Connection) -> None:
    os.environ.update(environment)
    says.send(night(chosen, contract))


def night(chosen: Settings, contract: Path) -> str:
    """Every feed, then publication; what failed in the words that a user reads."""
    loaded = load_contract(contract)
    try:
        for feed in loaded.feeds:
            ingest(loaded, feed, chosen, "night", progress=lambda _: None)
        publish_fleet(chosen, "night")
    except Exception as error:
        logging.exception("the night failed")
        return in_words(str(error)) or f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(night(settings(), Path(sys.argv[1])) or None)
