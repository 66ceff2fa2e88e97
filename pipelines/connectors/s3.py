"""Files that arrive in an S3 bucket, fetched with boto3; a download that breaks off goes on where it stopped.

An object appears whole or not at all, so there is nothing to wait for; one replaced while it is fetched is left for
the next run. Which files are new: `arriving.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

from pipelines.connectors.arriving import Listed, fresh, is_of
from pipelines.connectors.protocol import Offer, Seen, patiently
from pipelines.failures import PermanentFailure, TransientFailure
from pipelines.harmonise.contract import Feed
from pipelines.harmonise.systems import S3System, System

CHUNK = 1 << 20
SECONDS = 20
# What trying again cannot help: S3's error codes, as servers word them.
PERMANENT = {
    "NoSuchBucket", "AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch",
    "InvalidBucketName", "PermanentRedirect", "AuthorizationHeaderMalformed", "403", "404", "301", "400",
}  # fmt: skip
REPLACED = {"PreconditionFailed", "NoSuchKey", "InvalidRange", "412", "416"}


class S3:
    """A bucket, or a prefix of one."""

    def offers(
        self, system: System, feed: Feed, sources: Path, seen: Seen, scratch: Path
    ) -> Generator[Offer, None, None]:
        """Offer every object of the feed's glob that was not taken at this size and time; see the protocol."""
        del sources
        assert isinstance(system, S3System)
        client = _client(system)
        for f in fresh(lambda: _listing(client, system, feed), seen, 0):
            yield Offer(f.name, bring=_fetching(client, system, f, scratch))

    def listings(self, system: System, feeds: list[Feed], sources: Path) -> list[list[Listed]]:
        """Every object of each feed."""
        del sources
        assert isinstance(system, S3System)
        client = _client(system)
        return [_listing(client, system, feed) for feed in feeds]


def _client(system: S3System) -> Any:
    import boto3
    from botocore.config import Config

    keys = {}
    if system.access_key_env and system.secret_key_env:
        keys = {
            "aws_access_key_id": _secret(system, system.access_key_env),
            "aws_secret_access_key": _secret(system, system.secret_key_env),
        }
    return boto3.client(
        "s3", endpoint_url=system.endpoint, region_name=system.region, **keys,
        config=Config(
            connect_timeout=SECONDS, read_timeout=SECONDS, retries={"mode": "standard", "max_attempts": 2},
            s3={"addressing_style": "path" if system.endpoint else "auto"},
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
        ),
    )  # fmt: skip


def _secret(system: S3System, variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise PermanentFailure(
            f"Environment variable {variable} is not set.", f"Set it before bucket {system.bucket} is asked."
        )
    return value


@contextmanager
def _told(system: S3System) -> Iterator[None]:
    """boto3's failures as ours."""
    from botocore import exceptions as boto
    from urllib3.exceptions import HTTPError

    where = f"Bucket {system.bucket}" + (f" at {system.endpoint}" if system.endpoint else "")
    try:
        yield
    except boto.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in PERMANENT:
            raise PermanentFailure(
                f"{where}: {code}.",
                "Check the contract's `bucket`, `endpoint` and keys, and the account's rights.",
            ) from error
        raise TransientFailure(f"{where}: {code or error}.", "It is tried again.") from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        raise PermanentFailure(
            f"{where}: no keys.", "Name `access_key_env` and `secret_key_env`, or give the machine a role."
        ) from error
    except (boto.BotoCoreError, HTTPError, OSError) as error:
        raise TransientFailure(f"{where}: {error}.", "It is tried again.") from error


def _listing(client: Any, system: S3System, feed: Feed) -> list[Listed]:
    assert feed.files is not None
    literal = feed.files[: min((feed.files.find(c) for c in "*?[" if c in feed.files), default=None)]

    def look() -> list[Listed]:
        found = []
        with _told(system):
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=system.bucket, Prefix=system.prefix + literal
            )
            for page in pages:
                for item in page.get("Contents", []):
                    name = item["Key"][len(system.prefix) :]
                    if is_of(feed, name):
                        found.append(Listed(item["LastModified"].astimezone(UTC), name, item["Size"]))
        return found

    return patiently(look)


def _fetching(client: Any, system: S3System, f: Listed, scratch: Path) -> Callable[[], Path | None]:
    def bring() -> Path | None:
        target = scratch / "arriving"
        target.unlink(missing_ok=True)
        etag: list[str] = []
        if not patiently(lambda: _fetch(client, system, f, target, etag)):
            return None
        os.utime(target, (f.written.timestamp(), f.written.timestamp()))
        return target

    return bring


def _fetch(client: Any, system: S3System, f: Listed, target: Path, etag: list[str]) -> bool:
    """Bring the rest of an object; False where it is not the one that was listed, or not the one begun."""
    from botocore.exceptions import ClientError

    with _told(system), target.open("ab") as out:
        done = out.tell()
        if done == f.size and etag:
            return True
        wanted = {"Range": f"bytes={done}-", "IfMatch": etag[0]} if done else {}
        try:
            answer = client.get_object(Bucket=system.bucket, Key=system.prefix + f.name, **wanted)
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code", "")) in REPLACED:
                return False
            raise
        # A header's time has no fractions of a second, a listing's may.
        written = answer["LastModified"].astimezone(UTC)
        if written != f.written.replace(microsecond=0) or (etag and answer["ETag"] != etag[0]):
            return False
        etag[:] = [answer["ETag"]]
        for chunk in answer["Body"].iter_chunks(CHUNK):
            out.write(chunk)
    return target.stat().st_size == f.size
