"""Servers that speak SFTP and S3 properly and lie: they list a file at one size and give less of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import paramiko

STAMP = 1_770_000_000
LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>drop</Name><Prefix></Prefix>
<KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>a/results_1.csv</Key>
<LastModified>2026-02-02T02:40:00.000Z</LastModified><ETag>"e"</ETag><Size>{size}</Size>
<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"""


@contextmanager
def lying_s3(whole: bytes, given: int) -> Iterator[int]:
    """An S3 server with one object, `a/results_1.csv`, of which it gives the first bytes; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listing = "list-type" in self.path
            body = LISTING.format(size=len(whole)).encode() if listing else whole[:given]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/xml" if listing else "binary/octet-stream")
            self.send_header("Last-Modified", "Mon, 02 Feb 2026 02:40:00 GMT")
            self.send_header("ETag", '"e"')
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *said: object) -> None:
            del said

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Door(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        del username, password
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del kind, chanid
        return paramiko.OPEN_SUCCEEDED


@contextmanager
def lying_sftp(whole: bytes, given: int, host_key: Path) -> Iterator[int]:
    """An SFTP server with one file, `a/results_1.csv`, that ends early when it is read; the port."""

    class Held(paramiko.SFTPServerInterface):
        def list_folder(self, path: str) -> list[paramiko.SFTPAttributes]:
            return [
                _attributes("results_1.csv", len(whole)) if path.endswith("a") else _attributes("a", None)
            ]

        def stat(self, path: str) -> paramiko.SFTPAttributes:
            return _attributes(path, len(whole))

        def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle:
            del path, attr
            handle = paramiko.SFTPHandle(flags)
            handle.readfile = BytesIO(whole[:given])
            handle.stat = lambda: _attributes("results_1.csv", len(whole))  # type: ignore[method-assign]
            return handle

    door = socket.create_server(("127.0.0.1", 0))
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                transport = paramiko.Transport(client)
                transport.add_server_key(paramiko.RSAKey.from_private_key_file(str(host_key)))
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Held)
                transport.start_server(server=_Door())
                transports.append(transport)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield door.getsockname()[1]
    finally:
        door.close()
        for transport in transports:
            transport.close()


def _attributes(name: str, size: int | None) -> paramiko.SFTPAttributes:
    made = paramiko.SFTPAttributes()
    made.filename = name
    made.st_mode = 0o040755 if size is None else 0o100644
    made.st_size, made.st_mtime, made.st_atime = size or 0, STAMP, STAMP
    return made
