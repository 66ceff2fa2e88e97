"""The application's files on their way to the browser: compressed once, kept by the browser, asked for again by hash.

Belongs here: scripts, styles and pictures of the application, which hold no data. Does not belong here: answers with
data; they are sent as they are, since compressing a secret beside what a stranger chose tells of the secret.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import brotli
from flask import Flask, Response, request

RULES = ("/assets/", "/_dash-component-suites/")
KINDS = ("text/javascript", "application/javascript", "text/css", "image/svg+xml", "application/json")
SMALLEST = 1024
# The first visit is not made to wait for the smallest: it gets a quick one, and what is kept is made meanwhile.
QUICK, BEST = 5, 11


def register(server: Flask, folder: Path) -> None:
    """Send the application's files compressed; what was compressed is kept in `folder`, for all workers and starts."""
    kept = Kept(folder)

    @server.after_request
    def send(response: Response) -> Response:
        if not request.path.startswith(RULES) or response.status_code != 200 or request.method != "GET":
            return response
        if response.mimetype not in KINDS or response.headers.get("Content-Encoding"):
            return response
        response.direct_passthrough = False
        content = response.get_data()
        digest = hashlib.sha256(content).hexdigest()
        response.vary.add("Accept-Encoding")
        if len(content) >= SMALLEST and request.accept_encodings.quality("br") > 0:
            response.set_data(kept.compressed(digest, content))
            response.headers["Content-Encoding"] = "br"
            digest += "-br"
        response.set_etag(digest, weak=True)
        # Files without their change time in the address are asked for again, and answered by "not modified".
        response.make_conditional(request)
        return response


class Kept:
    """Compressed files by the hash of what they were, in memory and in a folder that all processes share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, bytes] = {}
        self._making: set[str] = set()
        self._lock = threading.Lock()

    def compressed(self, digest: str, content: bytes) -> bytes:
        """`content` compressed by Brotli: the kept one, else a quick one while the one to keep is being made."""
        with self._lock:
            if digest not in self._read:
                try:
                    self._read[digest] = (self.folder / f"{digest}-{BEST}.br").read_bytes()
                except OSError:
                    if digest not in self._making:
                        self._making.add(digest)
                        threading.Thread(target=self._make, args=(digest, content), daemon=True).start()
            found = self._read.get(digest)
        return found if found is not None else bytes(brotli.compress(content, quality=QUICK))

    def _make(self, digest: str, content: bytes) -> None:
        made = bytes(brotli.compress(content, quality=BEST))
        path = self.folder / f"{digest}-{BEST}.br"
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(made)
            part.replace(path)
        except OSError:
            # A home that cannot be written to is served all the same; each process then compresses for itself.
            part.unlink(missing_ok=True)
        with self._lock:
            self._read[digest] = made
