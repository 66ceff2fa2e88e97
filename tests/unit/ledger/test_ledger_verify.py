"""The one-file verifier: its Ed25519 against RFC 8032 and `cryptography`, and that it stands alone."""

import ast
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.ledger import (
    Entry,
    Refused,
    accept,
    append,
    check_proof,
    cosign,
    erase,
    prove,
    sign_head,
    verify,
)
from warehouse.ledger.heads import public_hex
from warehouse.ledger.verify import check_signature

START = datetime(2026, 3, 1, tzinfo=UTC)

# RFC 8032 section 7.1, tests 1 to 3 and SHA(abc): public key, message, signature.
RFC8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.reference
@pytest.mark.parametrize(("key", "message", "signature"), RFC8032)
def test_signatures_of_rfc_8032(key, message, signature):
    parts = [bytes.fromhex(part) for part in (key, message, signature)]
    assert check_signature(*parts)
    assert not check_signature(parts[0], parts[1] + b"x", parts[2])


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 64 * 8 - 1))
def test_signatures_agree_with_cryptography_and_a_flipped_bit_does_not_fit(seed, message, bit):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert check_signature(public, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not check_signature(public, message, bytes(flipped))


def test_a_signature_made_longer_by_the_group_order_is_refused():
    key, message, signature = (bytes.fromhex(part) for part in RFC8032[1])
    order = 2**252 + 27742317777372353535851937790883648493
    longer = int.from_bytes(signature[32:], "little") + order
    assert not check_signature(key, message, signature[:32] + longer.to_bytes(32, "little"))
    assert not check_signature(b"\xff" * 32, message, signature)
    assert not check_signature(key[:31], message, signature)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Three days of entries, signed each day, the last head cosigned; one entry erased."""
    folder, site = tmp_path_factory.mktemp("ledger"), tmp_path_factory.mktemp("alpha")
    key, own = (
        Ed25519PrivateKey.from_private_bytes(b"k" * 32),
        Ed25519PrivateKey.from_private_bytes(b"w" * 32),
    )
    heads = []
    for day in range(3):
        entries = [Entry(f"e{day}-{n}", "custody_event", {"place": "Zürich", "n": n}) for n in range(5)]
        append(folder, entries, at=START + timedelta(days=day))
        if day == 2:
            erase(folder, "e0-3", "asked for", at=START + timedelta(days=day))
        heads.append(sign_head(folder, key, START + timedelta(days=day, hours=1)))
    seen = cosign(
        site, heads[-1], [], site="alpha", key=own, keeper=public_hex(key), seen_at=START + timedelta(days=3)
    )
    accept(folder, seen)
    return folder, public_hex(key), public_hex(own), heads


def run(tmp_path, proof, *arguments):
    """Run the verifier as an outsider does: a copy of one file, isolated from every installed package."""
    program, file = tmp_path / "verify.py", tmp_path / "proof.json"
    shutil.copy(Path(verify.__file__), program)
    file.write_text(proof if isinstance(proof, str) else json.dumps(proof))
    return subprocess.run(
        [sys.executable, "-I", "-S", program, file, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )


def test_it_runs_alone_and_says_what_is_proved(ledger, tmp_path):
    folder, key, witness, heads = ledger
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(heads[1].content))
    proof = prove(folder, "e0-2", kept=heads[1])
    done = run(tmp_path, proof, "--key", key, "--witness", witness, "--head", str(kept))
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"id":"e0-2"' in done.stdout
    assert f"since {heads[0].at}" in done.stdout
    assert f"unchanged up to {heads[2].at}" in done.stdout
    assert "cosigned by alpha" in done.stdout


def test_an_erased_entry_is_proved_without_its_content(ledger, tmp_path):
    folder, key, _, _ = ledger
    proof = prove(folder, "e0-3")
    assert "salt" not in proof
    assert "Zürich" not in json.dumps(proof, ensure_ascii=False)
    done = run(tmp_path, proof, "--key", key)
    assert done.returncode == 0
    assert "content not shown or erased" in done.stdout


def test_the_wrong_key_witness_or_kept_head_is_not_proved(ledger, tmp_path):
    folder, key, _, heads = ledger
    proof = prove(folder, "e0-2")
    kept = tmp_path / "kept.json"
    for content in ({**heads[0].content, "root": "0" * 64}, heads[1].content):
        kept.write_text(json.dumps(content))
        assert run(tmp_path, proof, "--head", str(kept)).returncode == 1
    assert run(tmp_path, proof, "--key", "0" * 64).returncode == 1
    assert run(tmp_path, proof, "--key", key, "--witness", "0" * 64).returncode == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "cellfleet ledger proof 1"}', "\xff", "[" * 100_000]
)
def test_what_is_no_proof_is_said_to_be_none(text, tmp_path):
    done = run(tmp_path, text)
    assert done.returncode == 2
    assert "cannot be read as a proof" in done.stderr
    assert "Traceback" not in done.stderr


def leaves_of(value, way=()):
    """Every place in a JSON document that holds no list or mapping."""
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves_of(inner, (*way, step))
    else:
        yield way


def test_no_value_of_a_proof_can_be_changed(ledger):
    folder, key, witness, heads = ledger
    whole = prove(folder, "e0-2", kept=heads[1])
    check_proof(whole, key, [witness], heads[1].content)
    for way in leaves_of(whole):
        proof = json.loads(json.dumps(whole))
        inside = proof
        for step in way[:-1]:
            inside = inside[step]
        value = inside[way[-1]]
        inside[way[-1]] = (
            value + 1 if isinstance(value, int) else value[:-1] + ("1" if value[-1] == "0" else "0")
        )
        with pytest.raises((Refused, ValueError)):
            check_proof(proof, key, [witness], heads[1].content)
    for step in range(len(whole["heads"])):
        proof = json.loads(json.dumps(whole))
        del proof["heads"][step]
        with pytest.raises(Refused):
            check_proof(proof, key, [witness], heads[1].content)


def test_the_file_is_short_and_imports_the_standard_library_only():
    source = Path(verify.__file__).read_text()
    assert len(source.splitlines()) < 300
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert names <= sys.stdlib_module_names
