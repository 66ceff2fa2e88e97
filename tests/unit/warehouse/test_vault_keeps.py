"""The vault: bytes as sent, kept once, never changed, altered ones told."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from warehouse.vault import Vault, sha256_of

SENT = b"id;wert\r\n1;91,5\r\n\xff\x00"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault" / "a")


def sent(folder: Path, name: str, content: bytes = SENT) -> Path:
    path = folder / name
    path.write_bytes(content)
    os.utime(path, (1_770_000_000, 1_770_000_000))
    return path


def test_bytes_are_kept_as_sent_with_origin_and_time(vault: Vault, tmp_path: Path) -> None:
    source = sent(tmp_path, "x.csv")
    arrival = vault.keep(source, "export/x.csv")
    assert arrival.path.read_bytes() == SENT
    assert (arrival.name, arrival.size, arrival.sha256) == ("export/x.csv", len(SENT), sha256_of(source))
    assert arrival.sent_at == datetime.fromtimestamp(1_770_000_000, UTC)
    assert arrival.path.suffix == ".csv"


def test_the_same_bytes_are_stored_once_under_whatever_name(vault: Vault, tmp_path: Path) -> None:
    first = vault.keep(sent(tmp_path, "x.csv"), "x.csv")
    again = vault.keep(sent(tmp_path, "y.csv"), "y.csv")
    assert first.path == again.path
    assert len(list(vault.folder.glob("??/*"))) == 1


def test_a_kept_file_is_for_its_owner_to_read_only(vault: Vault, tmp_path: Path) -> None:
    kept = vault.keep(sent(tmp_path, "x.csv"), "x.csv").path
    assert stat.S_IMODE(kept.stat().st_mode) == 0o400
    assert stat.S_IMODE(vault.folder.stat().st_mode) == 0o700


def test_what_a_crash_left_is_never_taken_for_a_file(vault: Vault, tmp_path: Path) -> None:
    vault.folder.mkdir(parents=True)
    (vault.folder / ".arriving-x.part").write_bytes(b"half")
    kept = vault.keep(sent(tmp_path, "x.csv"), "x.csv")
    assert kept.path.read_bytes() == SENT
    # Nothing of its own is left; what is left of others, who may be at work, is maintenance's.
    assert [p.name for p in vault.folder.glob(".arriving*")] == [".arriving-x.part"]
    assert vault.verify() == []


def test_an_altered_file_is_named(vault: Vault, tmp_path: Path) -> None:
    kept = vault.keep(sent(tmp_path, "x.csv"), "x.csv").path
    vault.keep(sent(tmp_path, "y.csv", b"other"), "y.csv")
    kept.chmod(0o600)
    kept.write_bytes(SENT.replace(b"91,5", b"99,5"))
    assert vault.verify() == [kept]


def test_a_source_that_cannot_be_read_leaves_nothing(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        vault.keep(tmp_path / "gone.csv", "gone.csv")
    assert list(vault.folder.glob("??/*")) == []
