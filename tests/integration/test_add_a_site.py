"""A fifth site from the guide's own blocks: docs/add-a-site.md runs as it stands, and nothing but the site is new."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from tests.conftest import ROOT

GUIDE = ROOT / "docs" / "add-a-site.md"
SITE = "turia"
BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
TABLES = ("site", "patient", "therapy_order", "batch", "sample", "assay_result", "reading")


@dataclass(frozen=True)
class Walked:
    """The folder in which the guide was walked, what it printed, and the other sites' rows before it."""

    folder: Path
    printed: str
    before: dict[str, tuple[object, ...] | None]

    @property
    def snapshot(self) -> Path:
        return self.folder / ".cellfleet" / "published" / "fleet.duckdb"


def as_script(guide: str) -> str:
    """The guide as one shell script: files are written where their block says, commands run in order."""
    lines = ["set -eu"]
    for block in BLOCK.finditer(guide):
        if block["file"]:
            target = shlex.quote(block["file"])
            lines += [
                f"mkdir -p $(dirname {target})",
                f"cat > {target} <<'END_OF_BLOCK'",
                block["text"] + "END_OF_BLOCK",
            ]
        elif block["language"] == "console":
            commands = [
                line.removeprefix("$ ") for line in block["text"].splitlines() if line.startswith("$ ")
            ]
            assert commands, f"a console block without a command: {block['text']}"
            lines += commands
    return "\n".join(lines)


def fingerprints(folder: Path) -> dict[str, str]:
    """Hash of every file of a folder by its path."""
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def other_sites(snapshot: Path) -> dict[str, tuple[object, ...] | None]:
    """Rows of the other sites by table: how many, and a hash over what they say."""
    with duckdb.connect(str(snapshot.resolve()), read_only=True) as con:
        return {
            t: con.execute(
                f"SELECT count(*), bit_xor(hash(t)) FROM core.{t} t WHERE site_id <> ?", [SITE]
            ).fetchone()
            for t in TABLES
        }


@pytest.fixture(scope="module")
def walked(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """The guide, walked once beside a copy of a fleet that ran."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copytree(published_home, folder / ".cellfleet", symlinks=True)
    (folder / "pipelines").symlink_to(ROOT / "pipelines")
    before = other_sites(folder / ".cellfleet" / "published" / "fleet.duckdb")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CELLFLEET_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-c", as_script(GUIDE.read_text("utf-8"))],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Walked(folder, done.stdout, before)


def test_the_new_site_s_batches_are_published(walked: Walked) -> None:
    with duckdb.connect(str(walked.snapshot.resolve()), read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        batches = con.execute(
            "SELECT batch_id, order_id, batch_status, strftime(batch_started_at, '%Y-%m-%dT%H:%M') "
            "FROM core.batch WHERE site_id = ? ORDER BY batch_id",
            [SITE],
        ).fetchall()
        assert batches == [
            ("TU-L-01", "TU-P-01", "complete", "2026-02-16T10:05"),
            ("TU-L-02", "TU-P-02", "complete", "2026-02-18T09:20"),
            ("TU-L-03", "TU-P-03", "in_process", "2026-03-02T09:45"),
        ]
        results = con.execute(
            "SELECT result_id, attribute, operator, round(value, 6), value_as_given FROM core.assay_result "
            "WHERE site_id = ? ORDER BY result_id",
            [SITE],
        ).fetchall()
        assert results == [
            ("TU-R-01", "viability_trypan_blue_pct", "=", 91.4, "0,914"),
            ("TU-R-02", "viability_trypan_blue_pct", "=", 88.7, "0,887"),
            ("TU-R-03", "endotoxin_eu_ml", "<", 0.05, "<0,05"),
        ]
        refused = con.execute("SELECT subject, reason_code FROM quality.quarantine WHERE site_id = ?", [SITE])
        assert refused.fetchall() == [("TU-R-04", "number_format")]
        verdicts = con.execute("SELECT DISTINCT verdict FROM mart.comparability WHERE site = ?", [SITE])
        assert verdicts.fetchall() == [("inconclusive",)]


def test_everything_received_is_accounted_for(walked: Walked) -> None:
    with duckdb.connect(str(walked.snapshot.resolve()), read_only=True) as con:
        told = con.execute(
            "SELECT feed, received, promoted, quarantined FROM quality.accounting WHERE site_id = ? ORDER BY feed",
            [SITE],
        ).fetchall()
    assert told == [("assay", 4, 3, 1), ("batch", 3, 3, 0), ("order", 3, 3, 0), ("sample", 2, 2, 0)]


def test_nobody_s_name_left_the_vault(walked: Walked) -> None:
    canaries = [b"Ejemplo", b"HC-55", b"04/07/1961", b"1961-07-04"]
    home = walked.folder / ".cellfleet"
    leaked = [
        f"{path.relative_to(home)}: {word.decode()}"
        for part in ("lake", "published", "dagster")
        for path in (home / part).rglob("*")
        if path.is_file() and not path.is_symlink()
        for word in canaries
        if word in path.read_bytes()
    ]
    assert leaked == []
    assert not any(word.decode() in walked.printed for word in canaries)


def test_nothing_but_the_site_is_new(walked: Walked) -> None:
    assert other_sites(walked.snapshot) == walked.before
    sites = fingerprints(walked.folder / "my-sites")
    assert sites.pop(f"{SITE}/defs.yaml")
    assert sites == fingerprints(ROOT / "pipelines" / "defs" / "sites")
    assert {p.name for p in walked.folder.iterdir()} == {".cellfleet", "my-sites", "pipelines"}


def test_the_preview_said_what_then_happened(walked: Walked) -> None:
    assert f"{SITE}/batch: 3 records read, 3 would be promoted" in walked.printed
    assert f"{SITE}/assay: 4 records read, 3 would be promoted" in walked.printed
