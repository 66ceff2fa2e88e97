"""The ledger through the command line, on a fleet that really ran: log, prove, verify alone, cosign, tamper."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, cellfleet

VERIFIER = ROOT / "warehouse" / "ledger" / "verify.py"


def test_log_prove_witness_and_tamper(fleet_home: Path, tmp_path: Path) -> None:
    shutil.rmtree(fleet_home / "ledger")
    nothing = cellfleet(fleet_home, "ledger", "witness", str(tmp_path / "w"), "--site", "rhein",
                        "--key", str(tmp_path / "site.pem"), "--keeper", "00" * 32, check=False)  # fmt: skip
    assert nothing.returncode == 1
    assert "run `cellfleet ledger append` first" in nothing.stderr

    first = cellfleet(fleet_home, "ledger", "append").stdout
    assert not first.startswith("0 entries")
    assert cellfleet(fleet_home, "ledger", "append").stdout.startswith("0 entries added")
    head = json.loads(cellfleet(fleet_home, "ledger", "head").stdout)
    store = fleet_home / "ledger" / "private" / "entries.jsonl"
    logged = [json.loads(line[65:]) for line in store.read_text(encoding="utf-8").splitlines()]
    assert head["size"] == len(logged)
    assert {e["kind"] for e in logged} == {"custody_event", "release_decision", "specification", "snapshot"}

    event = next(e for e in logged if e["kind"] == "custody_event")
    proof = tmp_path / "proof.json"
    cellfleet(fleet_home, "ledger", "prove", event["id"], "--out", str(proof))
    assert "PROVED" in cellfleet(fleet_home, "ledger", "verify", str(proof), "--key", head["key"]).stdout
    alone = [sys.executable, "-I", str(VERIFIER), str(proof), "--key", head["key"]]
    assert subprocess.run(alone, capture_output=True, check=False).returncode == 0
    wrong = cellfleet(fleet_home, "ledger", "verify", str(proof), "--key", "00" * 32, check=False)
    assert wrong.returncode == 1
    unknown = cellfleet(fleet_home, "ledger", "prove", "custody_event:nowhere:1", check=False)
    assert unknown.returncode == 1
    assert "custody_event:nowhere:1 is not in the ledger" in unknown.stderr
    unreadable = cellfleet(fleet_home, "ledger", "verify", str(VERIFIER), check=False)
    assert unreadable.returncode == 2
    assert "verify.py cannot be read as a proof" in unreadable.stderr

    witness = tmp_path / "witness"
    cellfleet(fleet_home, "ledger", "witness", str(witness), "--site", "rhein",
              "--key", str(tmp_path / "site.pem"), "--keeper", head["key"])  # fmt: skip
    audited = cellfleet(fleet_home, "ledger", "audit", "--witness", str(witness), "--key", head["key"])
    assert "0 findings" in audited.stdout

    gone = [e for e in logged if e["kind"] == "custody_event"][1]
    lines = {json.loads(line[65:])["id"]: line for line in store.read_text(encoding="utf-8").splitlines()}
    cellfleet(fleet_home, "ledger", "erase", gone["id"], "--reason", "request 17 of the hospital")
    left = store.read_text(encoding="utf-8")
    assert lines[gone["id"]][:64] not in left  # the salt: without it nothing leads from the leaf to the text
    assert gone["id"] not in left
    assert "0 findings" in cellfleet(fleet_home, "ledger", "audit", "--key", head["key"]).stdout
    cellfleet(
        fleet_home, "ledger", "append"
    )  # signs a head over the erasure; what was erased does not come back
    assert lines[gone["id"]][:64] not in store.read_text(encoding="utf-8")
    cellfleet(fleet_home, "ledger", "prove", event["id"], "--out", str(proof))
    assert "PROVED" in cellfleet(fleet_home, "ledger", "verify", str(proof), "--key", head["key"]).stdout

    changed = store.read_bytes().replace(b'"custody_kind":"collected"', b'"custody_kind":"collectee"', 1)
    assert changed != store.read_bytes()
    store.write_bytes(changed)
    found = cellfleet(fleet_home, "ledger", "audit", check=False)
    assert found.returncode == 1
    assert "entry" in found.stderr


def test_a_lost_key_is_refused_and_nothing_is_signed(fleet_home: Path) -> None:
    (fleet_home / "keys" / "ledger.pem").unlink()
    cellfleet(fleet_home, "publish")
    refused = cellfleet(fleet_home, "ledger", "append", check=False)
    assert refused.returncode == 1
    assert "is missing and the ledger was signed with" in refused.stderr
    assert "CELLFLEET_LEDGER_KEY" in refused.stderr
