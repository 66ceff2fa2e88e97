"""FHIR bulk data from a server process: polled, slow, dropped, truncated, expired, refused; what it deleted goes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from live_servers import free_port, running
from small_site import Site, attributes

from pipelines.connectors import fhir_bulk, protocol
from pipelines.connectors.fhir_bulk import FhirBulk
from pipelines.connectors.protocol import Seen
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import FhirBulkSystem
from pipelines.ingest import take as taking

SERVER = Path(__file__).parent / "fhir_server.py"
TOKEN = "bulk-token-secret"


def feed(**changed: Any) -> dict[str, Any]:
    return {
        "system": "ehr", "resources": ["Patient"], "format": {"name": "fhir"}, "record": "id",
        "version": "meta$.lastUpdated", "identifying": ["identifier", "identifier$[0].value", "name", "birthDate"],
        "tables": [{"table": "patient", "columns": {
            "patient_key": {"from": "identifier$[0].value", "patient": True},
            "sex": {"from": "gender", "codes": "gender"},
            "birth_decade": {"from": "birthDate", "decade": True},
        }}],
    } | changed  # fmt: skip


def patient(number: int, day: int = 1, gender: str = "female") -> dict[str, Any]:
    return {
        "resourceType": "Patient", "id": f"p{number}", "meta": {"lastUpdated": f"2026-03-{day:02}T08:00:00Z"},
        "identifier": [{"value": f"MRN-{number:06}"}], "name": [{"family": f"Example{number}"}],
        "gender": gender, "birthDate": "1961-07-04",
    }  # fmt: skip


@dataclass
class Server:
    """A FHIR server's process, its folder, and the port it answers on."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def hold(self, *resources: dict[str, Any]) -> None:
        (self.folder / "resources.jsonl").write_text("".join(json.dumps(r) + "\n" for r in resources))

    def delete(self, identity: str, at: str) -> None:
        with (self.folder / "deleted.jsonl").open("a") as out:
            out.write(json.dumps({"type": "Patient", "id": identity, "at": at}) + "\n")

    def behave(self, day: int = 10, **how: Any) -> None:
        (self.folder / "how.json").write_text(json.dumps({"now": f"2026-03-{day:02}T12:00:00Z", **how}))

    @property
    def asked(self) -> list[dict[str, str]]:
        return [json.loads(x) for x in (self.folder / "asked.jsonl").read_text().splitlines()]

    def system(self, **changed: Any) -> dict[str, Any]:
        return {"kind": "fhir_bulk", "url": f"http://127.0.0.1:{self.port}/r4", **changed}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(fhir_bulk, "FIRST_LOOK", 0.05)
    monkeypatch.setenv("BULK_TOKEN", TOKEN)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    made = Server(folder, free_port())
    made.hold(*(patient(n) for n in range(1, 41)))
    made.behave()
    with running(sys.executable, str(SERVER), str(made.port), str(folder), port=made.port) as made.process:
        yield made


def taken(
    server: Server, scratch: Path, cursor: dict[str, Any] | None = None, **changed: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every resource of an export as it came, and the cursor in the end."""
    system = FhirBulkSystem.model_validate(server.system(**changed))
    came, cursor = [], dict(cursor or {})
    for offer in FhirBulk().offers(system, Feed.model_validate(feed()), Path(), Seen(cursor=cursor), scratch):
        path = offer.file()
        assert path is not None
        came += [json.loads(line) for line in path.read_text().splitlines()]
        assert path.stat().st_mtime == datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()
        cursor = offer.cursor or cursor
    return came, cursor


SENT = [patient(n) for n in range(1, 41)]
DONE = {"since": "2026-03-10T12:00:00Z"}


@pytest.mark.parametrize(
    "how",
    [{}, {"polls": 3, "retry_after": "0.1"}, {"busy": 2}, {"delay": 0.02}, {"dropped": 1}, {"truncated": 2},
     {"expired": 1}, {"files": 4, "dropped": 3}],
    ids=["normal", "polled", "busy", "slow", "dropped", "truncated", "expired", "many files"],
)  # fmt: skip
def test_everything_that_was_exported_comes(server: Server, tmp_path: Path, how: dict[str, Any]) -> None:
    server.behave(**how)
    came, cursor = taken(server, tmp_path)
    assert came == SENT
    assert cursor == DONE
    assert server.asked[-1]["method"] == "DELETE", "the export is not wanted any more, and was not said to be"
    assert not list(server.folder.glob("job-*.json"))


def test_an_export_is_not_waited_for_without_end(server: Server, tmp_path: Path) -> None:
    server.behave(polls=10_000, retry_after="120")
    with pytest.raises(TransientFailure, match="was not made within"):
        taken(server, tmp_path, wait_hours=0.01)
    assert server.asked[-1]["method"] == "DELETE"


def test_only_what_changed_since_the_last_export_is_asked_for(server: Server, tmp_path: Path) -> None:
    server.hold(patient(1), patient(2, day=11))
    came, _ = taken(server, tmp_path, DONE)
    assert came == [patient(2, day=11)]
    assert server.asked[0]["_since"] == "2026-03-10T12:00:00Z"
    assert server.asked[0]["_type"] == "Patient"


def test_a_server_that_restarts_between_files_goes_on(server: Server, tmp_path: Path) -> None:
    server.behave(files=4)
    system = FhirBulkSystem.model_validate(server.system())
    offers = FhirBulk().offers(system, Feed.model_validate(feed()), Path(), Seen(), tmp_path)
    first = next(offers)
    path = first.file()
    assert path is not None
    came = [json.loads(line) for line in path.read_text().splitlines()]
    offers.close()  # this run was killed, after the first file was promoted with its cursor
    assert first.cursor is not None
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    with running(sys.executable, str(SERVER), str(server.port), str(server.folder), port=server.port):
        rest, cursor = taken(server, tmp_path, first.cursor)
    assert came + rest == SENT
    assert cursor == DONE
    assert sum("_type" in a for a in server.asked) == 1, "the export was asked for twice"


def test_a_token_is_needed_and_shown_to_its_own_server_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behave(token=TOKEN)
    came, _ = taken(server, tmp_path, token_env="BULK_TOKEN")
    assert came == SENT
    monkeypatch.setenv("BULK_TOKEN", "another")
    with pytest.raises(PermanentFailure, match="HTTP 401") as refused:
        taken(server, tmp_path, token_env="BULK_TOKEN")
    assert "another" not in str(refused.value).replace("another host", "")
    monkeypatch.delenv("BULK_TOKEN")
    with pytest.raises(PermanentFailure, match="BULK_TOKEN is not set"):
        taken(server, tmp_path, token_env="BULK_TOKEN")


@pytest.mark.parametrize("kind", ["RSA", "EC"])
def test_a_signed_assertion_gets_a_token(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    key: Any = (
        rsa.generate_private_key(65537, 2048) if kind == "RSA" else ec.generate_private_key(ec.SECP384R1())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    monkeypatch.setenv("BULK_KEY", str(tmp_path / "key.pem"))
    server.behave(token=TOKEN)
    at = f"http://127.0.0.1:{server.port}/token"
    came, _ = taken(
        server, tmp_path, token_url=at, client_id="cellfleet", key_file_env="BULK_KEY", key_id="k1"
    )
    assert came == SENT
    (asked,) = [a for a in server.asked if a["path"] == "/token"]
    signed, _, last = asked["client_assertion"].rpartition(".")
    head, claims = (json.loads(base64.urlsafe_b64decode(p + "==")) for p in signed.split("."))
    assert head == {"typ": "JWT", "alg": "RS384" if kind == "RSA" else "ES384", "kid": "k1"}
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("cellfleet", "cellfleet", at)
    given = base64.urlsafe_b64decode(last + "==")
    if kind == "RSA":
        key.public_key().verify(given, signed.encode(), padding.PKCS1v15(), hashes.SHA384())
    else:
        pair = encode_dss_signature(int.from_bytes(given[:48], "big"), int.from_bytes(given[48:], "big"))
        key.public_key().verify(pair, signed.encode(), ec.ECDSA(hashes.SHA384()))


def test_what_could_not_be_exported_stops_and_is_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.behave(error=True)
    system = FhirBulkSystem.model_validate(server.system())
    offers = FhirBulk().offers(system, Feed.model_validate(feed()), Path(), Seen(), tmp_path)
    assert next(offers).cursor == {"since": None}
    with pytest.raises(PermanentFailure, match="error processing") as told:
        next(offers)
    assert "Ann" not in str(told.value)


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Site:
    content = attributes(
        systems={"ehr": server.system()},
        codes={"gender": {"female": "female", "male": "male"}},
        feeds={"patient": feed()},
    )
    return Site(tmp_path / "site", content)


def test_what_the_server_deleted_goes_and_what_is_invalid_is_refused(
    server: Server, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "AT_ONCE_BYTES", 100)  # each file is promoted by itself
    server.behave(files=4)
    invalid = patient(99) | {"birthDate": "July 1961"}
    server.hold(*SENT[:6], invalid)
    counts = site.run("patient").accounting
    assert (counts["received"], counts["promoted"], counts["quarantined"]) == (7, 6, 1)
    assert site.rows("SELECT count(DISTINCT cursor), count(*) FROM lake.raw.cursor") == [(4, 4)]
    server.behave(day=20)
    server.hold(*SENT[1:6], patient(3, day=12, gender="male"))
    server.delete("p1", "2026-03-12T09:00:00Z")
    counts = site.run("patient").accounting
    assert (counts["received"], counts["promoted"], counts["superseded"]) == (9, 6, 2)
    sexes = site.rows("SELECT sex, count(*) FROM current.patient GROUP BY sex ORDER BY sex")
    assert sexes == [("female", 4), ("male", 1)]
    assert site.run("patient").accounting["received"] == 9
    vault = site.settings.home_path / "vault" / site.name
    assert any(b'"DELETE"' in p.read_bytes() for p in vault.glob("??/*"))
    lake = site.settings.home_path / "lake"
    assert not [p for p in lake.rglob("*") if p.is_file() and b"Example3" in p.read_bytes()]
