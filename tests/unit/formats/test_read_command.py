"""`cellfleet read`: archives, and what cannot be read, each with a sentence and an exit code that means something."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app

from . import samples


def told(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["read", *words])
    assert found.exception is None or isinstance(found.exception, SystemExit)
    return found.exit_code, " ".join(found.output.split())


def test_what_an_archive_holds_is_read(tmp_path: Path) -> None:
    text = samples.VICELL_BLU.encode()
    (tmp_path / "blu.csv.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as one:
        one.writestr("out/blu.csv", text)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as two:
        two.writestr("a.csv", text)
        two.writestr("b.csv", text)
    for name in ("blu.csv.gz", "one.zip"):
        code, said = told(str(tmp_path / name), "--json")
        assert code == 0
        assert json.loads(said)["format"] == "vicell_blu"
        assert len(json.loads(said)["records"]) == 2
    code, said = told(str(tmp_path / "two.zip"))
    assert code == 1
    assert "holds 2 files (a.csv, b.csv). Unpack it and read each." in said


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("blank.csv", b"  \n", "the file is empty"),
        ("a.xml", b'<e:EPCISDocument xmlns:e="urn:epcglobal:epcis:xsd:1"/>', "EPCIS in XML"),
        ("a.xml", b'<Patient xmlns="http://hl7.org/fhir"/>', "FHIR in XML"),
        ("a.cm", b"\xd0\xcf\x11\xe0 something else", "no workbook"),
        ("a.zip", b"PK\x03\x04 cut", "It is damaged"),
        ("a.bin", bytes(range(256)), "no format recognises it"),
    ],
)
def test_what_is_not_read_says_why(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    code, said = told(str(tmp_path / name))
    assert code == 1
    assert says in said


def test_folders_and_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    for wrong in (tmp_path, tmp_path / "no.csv", tmp_path / "link.csv"):
        code, said = told(str(wrong))
        assert code == 1
        assert "cannot be opened" in said
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert told(str(tmp_path / "a.csv"), "--format", "nosuch")[0] == 2
    assert told(str(tmp_path / "a.csv"), "--tz", "Mars/Olympus")[0] == 2
