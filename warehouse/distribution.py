"""Published snapshots on other machines: copied to S3 by the publisher, brought from there by who reads.

A snapshot is one object that is never changed; `newest.json` beside them names the one that readers want, with its
SHA-256, and is written when that object is whole. So a reader has the old or the new one, never half of one, as on one
machine. Belongs here: copying. Does not belong here: making a snapshot (`publish.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from warehouse.object_storage import ObjectStorageError, bucket_and_prefix, client, lies_there
from warehouse.publish import file_name, hash_beside, newest, numbers, switch
from warehouse.settings import Settings
from warehouse.vault import sha256_of

NEWEST = "newest.json"
CHUNK = 1 << 20
ABSENT = {"NoSuchKey", "404", "NoSuchBucket"}


def distribute(settings: Settings, snapshot: Path) -> None:
    """Copy a published snapshot to where other machines fetch it, and name it the newest; older ones are kept by count.

    Raises ObjectStorageError; what readers have then stays the newest.
    """
    bucket, prefix = _place(settings)
    store = client(settings)
    told = {"name": snapshot.name, "bytes": snapshot.stat().st_size, "sha256": sha256_of(snapshot)}
    with _plainly(settings):
        store.upload_file(str(snapshot), bucket, prefix + snapshot.name)
        store.put_object(Bucket=bucket, Key=prefix + NEWEST, Body=json.dumps(told).encode())
        kept = {file_name(n) for n in numbers(snapshot.parent)[-max(int(settings.snapshots_kept), 1) :]}
        there = store.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        for key in (item["Key"] for item in there):
            name = key.removeprefix(prefix)
            if name.endswith(".duckdb") and name not in kept:
                store.delete_object(Bucket=bucket, Key=key)


def fetch(settings: Settings) -> Path | None:
    """Bring the newest snapshot into this machine's folder and switch readers to it; None before the first.

    Nothing is brought twice, and never an older one than is here. A copy that does not have its hash is thrown away.
    Raises ObjectStorageError where the store cannot be reached, or the bytes are not those that were published.
    """
    bucket, prefix = _place(settings)
    folder = settings.published_path
    folder.mkdir(parents=True, exist_ok=True)
    with _plainly(settings):
        told = _newest(client(settings), bucket, prefix)
        if told is None:
            return newest(folder)
        final = folder / Path(str(told["name"])).name
        if not final.exists():
            part = folder / f"{final.name}.part"
            client(settings).download_file(bucket, prefix + final.name, str(part))
            _require(part, str(told["sha256"]))
            hash_beside(final).write_text(f"{told['sha256']}\n", encoding="ascii")
            part.rename(final)
    here = newest(folder)
    if here is None or _number(here) < _number(final):
        switch(folder, final)
        for old in numbers(folder)[: -max(int(settings.snapshots_kept), 1)]:
            (folder / file_name(old)).unlink()
            hash_beside(folder / file_name(old)).unlink(missing_ok=True)
    return newest(folder)


def _place(settings: Settings) -> tuple[str, str]:
    if not lies_there(settings.published):
        raise ObjectStorageError(
            f"CELLFLEET_PUBLISHED is {settings.published!r}; it is `s3://bucket/prefix`."
        )
    return bucket_and_prefix(settings.published)


def _newest(store: Any, bucket: str, prefix: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        answer = store.get_object(Bucket=bucket, Key=prefix + NEWEST)
    except ClientError as error:
        if str(error.response.get("Error", {}).get("Code", "")) in ABSENT:
            return None
        raise
    told: dict[str, Any] = json.loads(answer["Body"].read())
    return told


def _require(part: Path, sha256: str) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    if found != sha256:
        part.unlink()
        raise ObjectStorageError(
            f"{part.stem} came with other bytes than were published; it is not used. Fetch it again."
        )


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("fleet-"))


@contextmanager
def _plainly(settings: Settings) -> Iterator[None]:
    """boto3's failures in one sentence."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise ObjectStorageError(
            f"{settings.published} at {settings.s3_endpoint or 'Amazon S3'}: {error}. "
            "Check the address, the keys and the bucket; what is here stays in use."
        ) from error
