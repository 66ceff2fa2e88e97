"""FHIR R4 bulk data from a server: kick-off, polling, the manifest's output, deleted and error files, over HTTP.

Files come as the server wrote them and are read as those of a folder are (`pipelines/formats/fhir.py`); what the
server deleted comes as Bundles. The cursor is the server's own clock (`transactionTime`), and, while an export of many
files is being taken in, which of them are still to come. Signing in: `smart.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from pipelines.connectors.protocol import Offer, Seen, patiently
from pipelines.connectors.smart import Door
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import FhirBulkSystem, System

SECONDS = httpx.Timeout(60, connect=20)
CHUNK = 1 << 18
# Between looks at an export that says nothing of when to look again: growing from the first to the second.
FIRST_LOOK, LAST_LOOK = 2.0, 60.0
SHORTEST = 0.05
GONE = (404, 410)
# What may pass by itself: too many requests, time-outs, a server that is away.
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Part:
    """One file of an export, as the manifest names it."""

    kind: str  # output, deleted or error
    type: str
    url: str
    count: int | None
    name: str


class _ExpiredError(Exception):
    """The export, or a file of it, is no longer there."""


class FhirBulk:
    """A FHIR server with the bulk data export operation."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Offer the files of an export of what changed since the last; an unfinished one is gone on with."""
        del sources
        assert isinstance(system, FhirBulkSystem)
        since = seen.cursor.get("since")
        with httpx.Client(timeout=SECONDS, follow_redirects=True) as http:
            export = _Export(system, feed, http)
            pending = seen.cursor.get("pending")
            # An export that expired is asked for anew, from the same moment on.
            for tries_left in (1, 0) if pending is None else (2, 1, 0):
                try:
                    yield from export.files(pending or export.made(since), since, scratch)
                    # Not in a `finally`: an export of which more is to be taken later must stay.
                    export.forget()
                    return
                except _ExpiredError as expired:
                    pending = None
                    export.forget()
                    if not tries_left:
                        raise TransientFailure(
                            f"{export.where}: the export expired before its files were taken ({expired}).",
                            "It is tried again; ask the server's operator to keep exports longer.",
                        ) from expired


class _Export:
    """One export, from kick-off to the last file."""

    def __init__(self, system: FhirBulkSystem, feed: Feed, http: httpx.Client) -> None:
        self.system, self.feed, self.http = system, feed, http
        self.where = f"FHIR server {urlsplit(system.url).netloc}"
        self.door = Door(system, http)
        self.status: str | None = None

    def made(self, since: str | None) -> dict[str, Any]:
        """The manifest of a new export, once the server has made it."""
        self.status = patiently(lambda: self._kicked_off(since))
        end = time.monotonic() + self.system.wait_hours * 3600
        pause, manifest = FIRST_LOOK, dict[str, Any]()
        address: str | None = self.status
        while address is not None:
            page, wait = patiently(lambda address=address: self._looked(address))  # type: ignore[misc]
            if page is None:
                wait = pause if wait is None else wait
                if time.monotonic() + wait > end:
                    self.forget()
                    raise TransientFailure(
                        f"{self.where}: the export was not made within {self.system.wait_hours:g} h.",
                        "It is asked for again at the next run; raise `wait_hours` where exports take longer.",
                    )
                time.sleep(max(wait, SHORTEST))
                pause = min(pause * 2, LAST_LOOK)
                continue
            for kind in ("output", "deleted", "error"):
                manifest.setdefault(kind, []).extend(page.get(kind) or [])
            manifest = {**page, **{k: manifest[k] for k in ("output", "deleted", "error")}}
            address = next((n["url"] for n in page.get("link") or [] if n.get("relation") == "next"), None)
        return {
            "at": str(manifest["transactionTime"]),
            "status": self.status,
            "token": bool(manifest.get("requiresAccessToken", False)),
            "parts": [vars(p) for p in self._parts(manifest)],
        }

    def forget(self) -> None:
        """Tell the server that the export is no longer needed."""
        if self.status is not None:
            with suppress(httpx.HTTPError, PermanentFailure, TransientFailure):
                self.http.delete(self.status, headers=self.door.headers())
            self.status = None

    def files(self, made: dict[str, Any], since: str | None, scratch: Path) -> Generator[Offer, None, None]:
        """Offers of an export's files: what is there, then what is gone.

        Raises PermanentFailure in the end where the server could not export everything; then the next export starts
        from the same moment. Raises _ExpiredError.
        """
        self.status = made["status"]
        parts = [Part(**p) for p in made["parts"]]
        wrong = [p for p in parts if p.kind == "error"]
        kept = [p for p in parts if p.kind != "error"]
        troubles = [t for p in wrong for t in self._troubles(self._fetched(p, made, scratch))]
        for n, part in enumerate(kept, 1):
            path = self._fetched(part, made, scratch)
            # A cursor goes into the lake with the records of its file, so a killed run goes on with the next file.
            rest = {**made, "parts": [vars(p) for p in [*kept[n:], *wrong]]}
            done = n == len(kept) and not troubles
            cursor = {"since": made["at"]} if done else {"since": since, "pending": rest}
            if n == len(kept) and troubles:
                cursor = {"since": since}
            yield Offer(part.name, path=path, cursor=cursor, extract=True)
        if troubles:
            self.forget()
            raise PermanentFailure(
                f"{self.where} could not export everything: {'; '.join(sorted(set(troubles))[:3])}.",
                "What came is taken in, and the next run asks for all of it again. Ask the server's operator.",
            )

    def _kicked_off(self, since: str | None) -> str:
        asked = {"_outputFormat": "application/fhir+ndjson", "_type": ",".join(self.feed.resources)}
        if since:
            asked["_since"] = since
        url = f"{self.system.url.rstrip('/')}/{self.system.export}"
        headers = {"Accept": "application/fhir+json", "Prefer": "respond-async", **self.door.headers()}
        with self._told():
            answer = self.http.get(url, params=asked, headers=headers)
        if answer.status_code != httpx.codes.ACCEPTED or "Content-Location" not in answer.headers:
            raise self._refused(answer, "does not start an export")
        return urljoin(url, answer.headers["Content-Location"])

    def _looked(self, address: str) -> tuple[dict[str, Any] | None, float | None]:
        """The manifest, or None and how long the server asks to wait."""
        with self._told():
            answer = self.http.get(address, headers={"Accept": "application/json", **self.door.headers()})
        if answer.status_code in (httpx.codes.ACCEPTED, httpx.codes.TOO_MANY_REQUESTS):
            return None, _seconds(answer.headers.get("Retry-After"))
        if answer.status_code in GONE:
            raise _ExpiredError("its status is gone")
        if answer.status_code != httpx.codes.OK:
            raise self._refused(answer, "failed to make the export")
        try:
            page = answer.json()
        except ValueError:
            page = None
        if (
            not isinstance(page, dict)
            or not isinstance(page.get("output"), list)
            or "transactionTime" not in page
        ):
            raise PermanentFailure(
                f"{self.where}: the answer to an export is no manifest with `transactionTime` and `output`.",
                "Ask the server's operator whether it serves FHIR bulk data.",
            )
        return page, None

    def _parts(self, manifest: dict[str, Any]) -> Iterator[Part]:
        stamp = "".join(c for c in str(manifest["transactionTime"]) if c.isalnum())
        for kind in ("output", "deleted", "error"):
            numbers: dict[str, int] = {}
            for told in manifest[kind]:
                resource = str(told.get("type") or "Bundle")
                if kind == "output" and resource not in self.feed.resources:
                    continue
                numbers[resource] = n = numbers.get(resource, 0) + 1
                kept = "" if kind == "output" else f"{kind}."
                name = f"{stamp}/{kept}{resource}.{n}.ndjson"
                yield Part(kind, resource, str(told["url"]), told.get("count"), name)

    def _fetched(self, part: Part, made: dict[str, Any], scratch: Path) -> Path:
        target = scratch / "arriving.ndjson"
        patiently(lambda: self._fetch(part, made["token"], target))
        if (written := _moment(made["at"])) is not None:
            os.utime(target, (written.timestamp(), written.timestamp()))
        return target

    def _fetch(self, part: Part, with_token: bool, target: Path) -> None:
        # A token is shown to the server it is for, never to another that a manifest names.
        own = urlsplit(part.url)[:2] == urlsplit(self.system.url)[:2]
        headers = {"Accept": "application/fhir+ndjson"} | (self.door.headers() if with_token and own else {})
        lines = 0
        with self._told(), self.http.stream("GET", part.url, headers=headers) as answer:
            if answer.status_code in GONE:
                raise _ExpiredError(f"{part.name} is gone")
            if answer.status_code != httpx.codes.OK:
                raise self._refused(answer, f"does not give {part.name}")
            last = b"\n"
            with target.open("wb") as out:
                for chunk in answer.iter_bytes(CHUNK):
                    out.write(chunk)
                    lines += chunk.count(b"\n")
                    last = chunk[-1:]
        lines += last != b"\n"
        if part.count is not None and lines < part.count:
            raise TransientFailure(
                f"{self.where}: {part.name} has {lines} lines, its manifest says {part.count}.",
                "It is fetched again; ask the server's operator if it stays so.",
            )

    @staticmethod
    def _troubles(path: Path) -> list[str]:
        """What could not be exported: issues of level error, by their codes; their texts may name a patient."""
        troubles = []
        with path.open("rb") as lines:
            for line in lines:
                with suppress(ValueError):
                    told = json.loads(line) if line.strip() else {}
                    for issue in told.get("issue") or [] if isinstance(told, dict) else []:
                        if issue.get("severity") in ("error", "fatal"):
                            troubles.append(f"{issue['severity']} {issue.get('code', 'without a code')}")
        return troubles

    def _refused(self, answer: httpx.Response, what: str) -> PermanentFailure | TransientFailure:
        code = answer.status_code
        if code in TRANSIENT:
            return TransientFailure(f"{self.where} {what} (HTTP {code}).", "It is tried again.")
        mend = "Check `url`, `export` and `resources`."
        if code in (401, 403):
            mend = "Check the token or the key, and what the account may read."
        return PermanentFailure(f"{self.where} {what} (HTTP {code}).", mend)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """httpx's failures as ours."""
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise PermanentFailure(f"{self.where}: {error}.", "Ask the server's operator.") from error
        except httpx.HTTPError as error:
            raise TransientFailure(
                f"{self.where}: {error or type(error).__name__}.", "It is tried again."
            ) from error


def _seconds(said: str | None) -> float | None:
    """`Retry-After`, in seconds or as a date; None where it says nothing."""
    if said is None:
        return None
    with suppress(ValueError):
        return max(float(said), 0.0)
    with suppress(ValueError, TypeError):
        return max((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _moment(text: str) -> datetime | None:
    with suppress(ValueError):
        read = datetime.fromisoformat(text)
        return read if read.tzinfo else read.replace(tzinfo=UTC)
    return None
