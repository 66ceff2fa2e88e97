"""Appending, erasing, signing and proving through the ledger's public face."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.ledger import (
    KINDS,
    Entry,
    LedgerError,
    append,
    audit,
    check_proof,
    erase,
    new_key,
    prove,
    public_hex,
    read_heads,
    read_key,
    sign_head,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def entry(name, **payload):
    return Entry(name, "custody_event", payload or {"name": name})


def every_file(folder):
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".sqlite"
    }


def test_a_second_append_of_the_same_changes_nothing(tmp_path):
    entries = [entry(f"e{n}") for n in range(30)]
    first = append(tmp_path, entries, at=START)
    before = every_file(tmp_path)
    again = append(tmp_path, [*entries[10:], *entries[:10], entries[0]], at=START + timedelta(days=1))
    assert (first.added, first.already, again.added, again.already) == (30, 0, 0, 31)
    assert (again.size, again.root) == (first.size, first.root)
    assert every_file(tmp_path) == before


def test_files_only_grow_and_old_bytes_stay(tmp_path):
    append(tmp_path, [entry(f"e{n}") for n in range(7)], at=START)
    before = every_file(tmp_path)
    append(tmp_path, [entry("e3"), entry("new"), entry("e4")], at=START)
    after = every_file(tmp_path)
    assert after != before
    assert all(after[path].startswith(content) for path, content in before.items())
    assert audit(tmp_path).size == 8


def test_the_log_holds_commitments_only(tmp_path):
    append(tmp_path, [entry("named-event", patient="P-0007")], at=START)
    sign_head(tmp_path, KEY, START)
    public = b"".join(path.read_bytes() for path in (tmp_path / "log").iterdir())
    assert b"named-event" not in public
    assert b"P-0007" not in public
    again = tmp_path / "again"
    append(again, [entry("named-event", patient="P-0007")], at=START)
    assert (again / "log/tree.bin").read_bytes() != (tmp_path / "log/tree.bin").read_bytes()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Entry("", "snapshot", {}), "1 to 200"),
        (Entry("a", "gossip", {}), "gossip"),
        (Entry("a", "erasure", {"entry": 0}), "erasure"),
        (Entry("a", "snapshot", {"t": -150.2}), "decimal numbers"),
        (Entry("a", "snapshot", {"deep": [{"t": START}]}), "datetime"),
        (Entry("a", "snapshot", {"deep": {1: "x"}}), "field name"),
        (Entry("a", "snapshot", {"x": "\ud800"}), "UTF-8"),
        (Entry("a", "snapshot", {"x": "y" * 70_000}), "SHA-256"),
    ],
)
def test_a_refused_entry_is_named_and_nothing_is_written(tmp_path, wrong, said):
    append(tmp_path, [entry("before")], at=START)
    before = every_file(tmp_path)
    with pytest.raises(LedgerError, match=said):
        append(tmp_path, [entry("beside"), wrong], at=START)
    assert every_file(tmp_path) == before


def test_an_id_with_another_content_is_refused(tmp_path):
    append(tmp_path, [entry("a", place="dock 1")], at=START)
    with pytest.raises(LedgerError, match="entry a is in the ledger already"):
        append(tmp_path, [entry("b"), entry("a", place="dock 2")], at=START)
    with pytest.raises(LedgerError, match="entry c comes twice"):
        append(tmp_path, [entry("c", place="dock 1"), entry("c", place="dock 2")], at=START)
    assert audit(tmp_path).size == 1


def test_nothing_is_recorded_before_what_is_there(tmp_path):
    append(tmp_path, [entry("a")], at=START)
    sign_head(tmp_path, KEY, START + timedelta(hours=1))
    with pytest.raises(LedgerError, match="use a later time"):
        append(tmp_path, [entry("b")], at=START + timedelta(minutes=59))
    with pytest.raises(LedgerError, match="zone"):
        append(tmp_path, [entry("b")], at=datetime(2026, 5, 1))  # noqa: DTZ001 - the missing zone is the test
    with pytest.raises(LedgerError, match="not later"):
        sign_head(tmp_path, KEY, START)


def test_erasing_takes_salt_and_text_and_leaves_the_log(tmp_path):
    append(tmp_path, [entry(f"e{n}", patient=f"P-{n}") for n in range(9)], at=START)
    head = sign_head(tmp_path, KEY, START)
    tree = (tmp_path / "log/tree.bin").read_bytes()
    salt = prove(tmp_path, "e4")["salt"]
    erase(tmp_path, "e4", "request 17", at=START + timedelta(days=1))
    erase(tmp_path, "e4", "request 17", at=START + timedelta(days=2))
    everything = b"".join(every_file(tmp_path).values())
    assert b"P-4" not in everything
    assert salt.encode() not in everything
    assert (tmp_path / "log/tree.bin").read_bytes().startswith(tree)
    report = audit(tmp_path, key=public_hex(KEY))
    assert report.ok
    assert (report.size, report.erased) == (10, 1)
    assert check_proof(prove(tmp_path, "e4"), public_hex(KEY), kept=head.content)
    assert append(tmp_path, [entry("e4", patient="P-4")]).already == 1
    with pytest.raises(LedgerError, match="stays"):
        erase(tmp_path, "erasure:4", "cover up")
    with pytest.raises(LedgerError, match="not in the ledger"):
        erase(tmp_path, "e99", "typing error")


def test_heads_are_signed_once_with_one_key_and_only_over_what_was_signed_before(tmp_path):
    with pytest.raises(LedgerError, match="no entry yet"):
        sign_head(tmp_path, KEY, START)
    append(tmp_path, [entry("a")], at=START)
    head = sign_head(tmp_path, KEY, START)
    assert sign_head(tmp_path, KEY, START) == head
    assert sign_head(tmp_path, KEY, START + timedelta(days=1)).size == 1
    assert len(read_heads(tmp_path / "log/heads.jsonl")) == 2
    with pytest.raises(LedgerError, match="use that key"):
        sign_head(tmp_path, Ed25519PrivateKey.generate(), START + timedelta(days=2))


def test_a_key_file_is_private_and_never_overwritten(tmp_path):
    path = tmp_path / "keys/ledger.pem"
    public = new_key(path)
    assert path.stat().st_mode & 0o077 == 0
    assert public_hex(read_key(path)) == public
    with pytest.raises(LedgerError, match="never overwritten"):
        new_key(path)
    path.write_text("nothing")
    with pytest.raises(LedgerError, match="cannot be read"):
        read_key(path)


def test_what_cannot_be_proved_is_said(tmp_path):
    with pytest.raises(LedgerError, match="holds no ledger"):
        prove(tmp_path / "none", "a")
    with pytest.raises(LedgerError, match="holds no ledger"):
        audit(tmp_path / "none")
    append(tmp_path, [entry("a")], at=START)
    with pytest.raises(LedgerError, match="sign one first"):
        prove(tmp_path, "a")
    head = sign_head(tmp_path, KEY, START)
    with pytest.raises(LedgerError, match="not in the ledger"):
        prove(tmp_path, "b")
    other = tmp_path / "other"
    append(other, [entry("a")], at=START)
    sign_head(other, KEY, START)
    with pytest.raises(LedgerError, match="none that this ledger signed"):
        prove(other, "a", kept=head)


def test_a_lost_or_damaged_catalogue_is_written_again(tmp_path):
    append(tmp_path, [entry(f"e{n}") for n in range(9)], at=START)
    catalogue = tmp_path / "private/catalogue.sqlite"
    for damage in (catalogue.unlink, lambda: catalogue.write_bytes(b"nonsense" * 999)):
        damage()
        assert not audit(tmp_path).ok
        assert append(tmp_path, [entry("e5")]).already == 1
        assert audit(tmp_path).ok


def test_a_public_copy_can_be_audited_without_the_private_folder(tmp_path):
    append(tmp_path, [entry(f"e{n}") for n in range(9)], at=START)
    sign_head(tmp_path, KEY, START)
    for path in (tmp_path / "private").iterdir():
        path.unlink()
    report = audit(tmp_path, key=public_hex(KEY), public_only=True)
    assert report.ok
    assert (report.size, report.heads) == (9, 1)
    assert not audit(tmp_path).ok


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
payload = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner),
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(text.filter(bool), st.sampled_from(KINDS), st.dictionaries(text, payload, max_size=3)),
        min_size=1,
        max_size=12,
        unique_by=lambda one: one[0],
    )
)
def test_whatever_was_appended_comes_back_in_its_proof(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("ledger")
    half = len(contents) // 2
    for part, day in ((contents[:half], 0), (contents[half:], 1)):
        if part:
            append(folder, [Entry(*one) for one in part], at=START + timedelta(days=day))
            sign_head(folder, KEY, START + timedelta(days=day))
    assert audit(folder, key=public_hex(KEY)).ok
    for name, kind, content in contents:
        proof = prove(folder, name)
        check_proof(proof, public_hex(KEY))
        shown = json.loads(proof["entry"])
        assert (shown["id"], shown["kind"], shown["payload"]) == (name, kind, content)
        assert "salt" not in prove(folder, name, show=False)
