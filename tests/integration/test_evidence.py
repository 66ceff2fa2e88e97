"""Evidence packs of a fleet that ran: the same bytes twice, whole for an outsider, re-run, every change seen."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.evidence import EvidenceError, check, pack
from warehouse.ledger import read_heads
from warehouse.publish import newest
from warehouse.settings import Settings

PLAN = "CP-CAR19"
TOLD = ("comparability", "custody_chain", "release_readiness", "vein_to_vein", "vein_hours", "vein_measure",
        "vein_incidence", "order_forecast", "audit_trail")  # fmt: skip


@pytest.fixture(scope="module")
def made(published_home: Path) -> tuple[Settings, str, bytes]:
    """A pack about the first batch that was infused."""
    chosen = Settings(home=str(published_home))
    snapshot = newest(chosen.published_path)
    assert snapshot is not None
    with duckdb.connect(str(snapshot), read_only=True) as con:
        found = con.execute(
            "SELECT min(batch_id) FROM mart.release_readiness WHERE infused_at IS NOT NULL"
        ).fetchone()
    assert found is not None
    return chosen, found[0], pack(chosen, found[0])


def changed(archive: bytes, name: str, content: bytes) -> bytes:
    """The archive with another content of one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.infolist():
            new.writestr(item, content if item.filename == name else old.read(item))
    return out.getvalue()


def test_a_pack_is_the_same_bytes_again_and_comes_out_again_from_the_lake(
    made: tuple[Settings, str, bytes],
) -> None:
    chosen, batch, archive = made
    assert pack(chosen, batch) == archive
    key = read_heads(chosen.ledger_path / "log" / "heads.jsonl")[0].key
    told = check(archive, chosen, key)
    assert told.fails == []
    assert any("re-run" in sentence for sentence in told.holds)


def test_as_it_was_known_at_a_time_is_the_same_bytes_whenever_it_is_asked(
    made: tuple[Settings, str, bytes],
) -> None:
    chosen, batch, archive = made
    with zipfile.ZipFile(io.BytesIO(archive)) as now:
        known = datetime.fromisoformat(json.loads(now.read("manifest.json"))["known_at"])
        then = pack(chosen, batch, known)
        with zipfile.ZipFile(io.BytesIO(then)) as old:
            tables = [n for n in now.namelist() if n.startswith("data/")]
            assert [n for n in tables if old.read(n) != now.read(n)] == []
    assert pack(chosen, batch, known + timedelta(days=1)) != then  # the time stands in the manifest
    told = check(then, chosen)
    assert told.fails == []
    with pytest.raises(EvidenceError, match="no batch and no plan"):
        pack(chosen, batch, known - timedelta(days=1))


def test_a_plan_s_pack_holds_what_is_told_of_every_order_and_comes_out_again(
    made: tuple[Settings, str, bytes],
) -> None:
    chosen, *_ = made
    archive = pack(chosen, PLAN)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        rows = {n: opened.read(f"data/mart.{n}.csv").count(b"\n") - 1 for n in TOLD}
    assert min(rows.values()) > 0, rows
    assert pack(chosen, PLAN) == archive
    assert check(archive, chosen).fails == []


def test_an_outsider_reads_it_and_checks_its_proofs_with_the_file_inside(
    made: tuple[Settings, str, bytes], tmp_path: Path
) -> None:
    _, batch, archive = made
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        opened.extractall(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    assert manifest["about"]["batch"] == batch
    assert (tmp_path / "report" / "report.pdf").read_bytes().startswith(b"%PDF")
    assert f"Batch {batch}" in (tmp_path / "report" / "report.md").read_text("utf-8")
    proofs = sorted((tmp_path / "proofs").glob("*.json"))
    assert len(proofs) > 8
    alone = [sys.executable, "-I", str(tmp_path / "proofs" / "verify.py"), str(proofs[0])]
    assert subprocess.run(alone, capture_output=True, check=False).returncode == 0


def test_every_change_is_named(made: tuple[Settings, str, bytes]) -> None:
    _, _, archive = made
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    for name, content in files.items():
        if name != "manifest.json":
            told = check(changed(archive, name, content + b" "))
            assert f"manifest: {name} was changed" in told.fails
    # A pack whose manifest was written anew to fit: the ledger knows another snapshot.
    manifest = json.loads(files["manifest.json"])
    manifest["snapshot"]["sha256"] = "0" * 64
    told = check(changed(archive, "manifest.json", json.dumps(manifest).encode()))
    assert told.fails == ["proof: no proof shows the snapshot's hash"]
    with pytest.raises(EvidenceError, match="no whole archive"):
        check(archive[:-100])
    with pytest.raises(EvidenceError, match="no evidence pack"):
        check(changed(archive, "manifest.json", b"{}"))


def test_an_unknown_subject_is_refused_with_what_there_is(made: tuple[Settings, str, bytes]) -> None:
    chosen, batch, _ = made
    with pytest.raises(EvidenceError, match="plans are CP-CAR19"):
        pack(chosen, "nothing")
    with pytest.raises(EvidenceError, match="no batch and no plan"):
        pack(chosen, f"nowhere/{batch}")
