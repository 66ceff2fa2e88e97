"""A FHIR bulk data server as a program of its own: `python fhir_server.py <port> <folder>`.

`resources.jsonl` in the folder is what it holds (with `meta.lastUpdated`), `deleted.jsonl` what it deleted (type, id,
at), `how.json` how it behaves, read at every request. What was asked of it is appended to `asked.jsonl`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

FOLDER = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()
LOCK = threading.Lock()


def lines(name: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []


def how() -> dict[str, Any]:
    told: dict[str, Any] = json.loads((FOLDER / "how.json").read_text())
    return told


def once(name: str) -> bool:
    """Whether something that `how.json` counts is still to happen; counts it down."""
    with LOCK:
        told = how()
        left = int(told.get(name, 0))
        if left:
            (FOLDER / "how.json").write_text(json.dumps(told | {name: left - 1}))
        return left > 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {k: v[0] for k, v in parse_qs(url.query).items()}
        self._note(url.path, asked)
        token = how().get("token")
        if token and self.headers.get("Authorization") != f"Bearer {token}":
            return self._answer(401)
        if url.path.endswith("$export"):
            return self._kick_off(asked)
        if url.path.startswith("/status/"):
            return self._status(url.path.rsplit("/", 1)[1])
        return self._file(*url.path.split("/")[2:4])

    def do_DELETE(self) -> None:
        self._note(self.path, {"method": "DELETE"})
        (FOLDER / f"job-{self.path.rsplit('/', 1)[1]}.json").unlink(missing_ok=True)
        self._answer(202)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._note(self.path, {k: v[0] for k, v in parse_qs(body).items()})
        self._answer(200, {"access_token": how()["token"], "expires_in": 300})

    def _kick_off(self, asked: dict[str, str]) -> None:
        if once("busy"):
            return self._answer(503)
        if self.headers.get("Prefer") != "respond-async":
            return self._answer(400)
        number = len(list(FOLDER.glob("job-*.json"))) + int(time.time() * 1000) * 10
        (FOLDER / f"job-{number}.json").write_text(json.dumps(asked))
        return self._answer(202, headers={"Content-Location": f"/status/{number}"})

    def _status(self, number: str) -> None:
        job = FOLDER / f"job-{number}.json"
        if not job.exists():
            return self._answer(404)
        if once("polls"):
            wait = how().get("retry_after", "0")
            return self._answer(202, headers={"Retry-After": wait, "X-Progress": "working"})
        asked = json.loads(job.read_text())
        told, base = how(), f"http://127.0.0.1:{self.server.server_port}/files/{number}"
        manifest: dict[str, Any] = {
            "transactionTime": told["now"], "request": "", "requiresAccessToken": bool(told.get("token")),
            "output": [], "deleted": [], "error": [],
        }  # fmt: skip
        for kind in sorted({r["resourceType"] for r in lines("resources.jsonl")}):
            if kind in asked["_type"].split(",") and (found := self._held(kind, asked.get("_since", ""))):
                half = (len(found) + 1) // int(told.get("files", 1))
                for n, start in enumerate(range(0, len(found), half)):
                    part = found[start : start + half]
                    name = f"{kind}-{n}"
                    (FOLDER / f"{number}-{name}").write_text("".join(json.dumps(r) + "\n" for r in part))
                    manifest["output"].append({"type": kind, "url": f"{base}/{name}", "count": len(part)})
        gone = [d for d in lines("deleted.jsonl") if d["at"] > asked.get("_since", "9")]
        if gone:
            entries = [{"request": {"method": "DELETE", "url": f"{d['type']}/{d['id']}"}} for d in gone]
            bundle = {
                "resourceType": "Bundle", "type": "transaction",
                "meta": {"lastUpdated": max(d["at"] for d in gone)}, "entry": entries,
            }  # fmt: skip
            (FOLDER / f"{number}-gone").write_text(json.dumps(bundle) + "\n")
            manifest["deleted"].append({"type": "Bundle", "url": f"{base}/gone", "count": 1})
        if told.get("error"):
            issue = {
                "severity": "error",
                "code": "processing",
                "diagnostics": "Ann Example could not be exported",
            }
            outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
            (FOLDER / f"{number}-errors").write_text(json.dumps(outcome) + "\n")
            manifest["error"].append({"type": "OperationOutcome", "url": f"{base}/errors"})
        return self._answer(200, manifest)

    @staticmethod
    def _held(kind: str, since: str) -> list[dict[str, Any]]:
        held = lines("resources.jsonl")
        return [r for r in held if r["resourceType"] == kind and r["meta"]["lastUpdated"] > since]

    def _file(self, number: str, name: str) -> None:
        if once("expired"):
            return self._answer(410)
        body = (FOLDER / f"{number}-{name}").read_bytes()
        delay = float(how().get("delay", 0))
        given = body[: body.rindex(b"\n", 0, -1) + 1] if body.count(b"\n") > 1 and once("truncated") else body
        dropped = once("dropped")
        self.send_response(200)
        self.send_header("Content-Length", str(len(given)))
        self.end_headers()
        bite = int(how().get("bite", 1000))
        for start in range(0, len(given), bite):
            if dropped and start:
                self.close_connection = True
                return None
            self.wfile.write(given[start : start + bite])
            time.sleep(delay)
        return None

    def _note(self, path: str, told: dict[str, str]) -> None:
        signed = self.headers.get("Authorization")
        with LOCK, (FOLDER / "asked.jsonl").open("a") as log:
            log.write(json.dumps({"path": path, "authorization": signed, **told}) + "\n")

    def _answer(self, code: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode() if body is not None else b""
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *said: object) -> None:
        del said


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
