"""RFC 3161 time stamps from a real authority: `openssl ts`, asked over HTTP."""

import random
import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.ledger_asset import _stamped
from warehouse.ledger import (
    Entry,
    LedgerError,
    append,
    audit,
    check_proof,
    check_stamp,
    http_authority,
    prove,
    public_hex,
    read_certificates,
    read_heads,
    sign_head,
    stamp,
)
from warehouse.ledger.files import Place, parsed
from warehouse.ledger.stamps import read_stamp, stamped_bytes
from warehouse.settings import Settings

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
START = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = """
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[tsa]
extendedKeyUsage = critical, timeStamping
[ts]
default_tsa = here
[here]
serial = {home}/serial
signer_cert = {home}/tsa.pem
signer_key = {home}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")


def openssl(home, *arguments, **given):
    return subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True, **given).stdout


def new_authority(home):
    home.mkdir()
    (home / "config").write_text(CONFIG.format(home=home))
    (home / "serial").write_text("01\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(home, "req", *curve, "-keyout", "ca.key", "-out", "ca.csr", "-subj", "/CN=test root")
    sign = ["-extfile", "config", "-extensions"]
    openssl(home, "x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-out", "ca.pem", *sign, "ca")
    openssl(home, "req", *curve, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=test authority")
    issuer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl(home, "x509", "-req", "-in", "tsa.csr", *issuer, "-out", "tsa.pem", *sign, "tsa")
    chain = home / "authority.pem"
    chain.write_bytes((home / "tsa.pem").read_bytes() + (home / "ca.pem").read_bytes())
    return read_certificates(chain)


def answer(home, request):
    (home / "request").write_bytes(request)
    return openssl(home, "ts", "-reply", "-config", "config", "-section", "here", "-queryfile", "request")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority's folder, its certificates, and its address on this machine."""
    home = tmp_path_factory.mktemp("authority") / "tsa"
    certificates = new_authority(home)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = answer(home, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield home, certificates, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ledger(tmp_path, authority):
    """Two days, both heads stamped."""
    folder = tmp_path / "ledger"
    for day in range(2):
        append(folder, [Entry(f"e{day}", "snapshot", {"sha256": "0" * 64})], at=START + timedelta(days=day))
        sign_head(folder, KEY, START + timedelta(days=day, hours=1))
        at = stamp(folder, http_authority(authority[2]), authority[1])
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=2)
    return folder


def test_a_stamped_head_is_audited_and_proved(ledger, authority, tmp_path):
    report = audit(ledger, authority=authority[1])
    assert report.ok, report.findings
    assert report.stamps == 2
    proof = prove(ledger, "e0")
    assert [len(step["stamps"]) for step in proof["heads"]] == [1, 1]
    assert check_proof(proof, public_hex(KEY))


def test_openssl_itself_accepts_the_stamp_kept(ledger, authority, tmp_path):
    head = Place(ledger)
    _, _, response = parsed(head.stamps, read_stamp)[0]
    (tmp_path / "data").write_bytes(stamped_bytes(read_heads(head.heads)[0]))
    (tmp_path / "response").write_bytes(response)
    home = authority[0]
    said = openssl(
        tmp_path,
        *(
            "ts",
            "-verify",
            "-data",
            "data",
            "-in",
            "response",
            "-CAfile",
            home / "ca.pem",
            "-untrusted",
            home / "tsa.pem",
        ),
    )
    assert b"Verification: OK" in said


def test_another_authority_or_head_does_not_hold(ledger, authority, tmp_path):
    place = Place(ledger)
    other = new_authority(tmp_path / "other")
    assert {finding.check for finding in audit(ledger, authority=other).findings} == {"stamp"}
    first, second = read_heads(place.heads)
    _, _, response = parsed(place.stamps, read_stamp)[0]
    assert check_stamp(first, response, authority[1])
    with pytest.raises(LedgerError, match="does not hold"):
        check_stamp(second, response, authority[1])
    with pytest.raises(LedgerError, match="does not hold"):
        check_stamp(first, b"nothing", authority[1])


def test_an_answer_to_another_question_is_not_kept(ledger, authority):
    before = Place(ledger).stamps.read_bytes()
    old = parsed(Place(ledger).stamps, read_stamp)[-1][2]
    with pytest.raises(LedgerError, match="does not hold"):
        stamp(ledger, lambda _: old, authority[1])
    with pytest.raises(LedgerError, match="no http address"):
        http_authority("file:///etc/passwd")
    with pytest.raises(OSError, match="refused"):
        stamp(ledger, http_authority("http://127.0.0.1:9/"), authority[1])
    assert Place(ledger).stamps.read_bytes() == before


def test_a_flipped_bit_or_moved_line_among_the_stamps_is_seen(ledger):
    path, draw = Place(ledger).stamps, random.Random(3)
    clean = path.read_bytes()
    for _ in range(200):
        data = bytearray(clean)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        assert [finding.check for finding in audit(ledger).findings[:1]] == ["stamp"]
    lines = clean.splitlines(keepends=True)
    for changed in (lines[::-1], lines[1:], [lines[0], *lines]):
        path.write_bytes(b"".join(changed))
        assert not audit(ledger).ok


def test_the_settings_authority_stamps_and_one_that_is_away_stops_nothing(ledger, authority, tmp_path):
    home, _, url = authority
    given = {"home": str(tmp_path), "time_stamp_certificates": str(home / "authority.pem")}
    assert _stamped(Settings(home=str(tmp_path))) == "no authority is set"
    append(ledger, [Entry("later", "snapshot", {"sha256": "1" * 64})], at=START + timedelta(days=5))
    sign_head(ledger, KEY, START + timedelta(days=5, hours=1))
    assert "did not answer" in _stamped(Settings(time_stamp_url="http://127.0.0.1:9/", **given))
    assert _stamped(Settings(time_stamp_url=url, **given)).startswith("20")
    with pytest.raises(LedgerError, match="certificates are not set"):
        _stamped(Settings(home=str(tmp_path), time_stamp_url=url))
    report = audit(ledger, key=public_hex(KEY), authority=read_certificates(home / "authority.pem"))
    assert (report.ok, report.stamps) == (True, 3)
