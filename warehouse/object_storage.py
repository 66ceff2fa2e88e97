"""S3: keys and address for DuckDB (the lake's data) and for boto3 (published snapshots), from one place.

Belongs here: who we are at the object store, and where it is. Does not belong here: what lies there (`lake.py`,
`publish.py`), buckets that sites drop files into (`pipelines/connectors/s3.py`).

Keys are found as boto3 finds them: the environment, a shared file, the machine's role. Those of a role expire; they are
renewed by boto3, and handed to DuckDB anew whenever a connection is asked for.
"""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlsplit

import duckdb

from warehouse.dictionary.render import quoted
from warehouse.settings import Settings

SCHEME = "s3://"
SECONDS = 20
DEFAULT_REGION = "us-east-1"
SECRET = "lake_data"  # noqa: S105 - its name, not a secret


class ObjectStorageError(RuntimeError):
    """The object store cannot be used as it is set; the sentence says what to do."""


def lies_there(place: str) -> bool:
    """Whether a setting names a place in the object store."""
    return place.startswith(SCHEME)


def bucket_and_prefix(place: str) -> tuple[str, str]:
    """Bucket of an `s3://bucket/prefix` and what its keys begin with: empty, or ending in a slash."""
    bucket, _, prefix = place.removeprefix(SCHEME).partition("/")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


@cache
def _session() -> Any:
    import boto3

    return boto3.Session()


def client(settings: Settings) -> Any:
    """A boto3 client of the object store, with bounded retries."""
    from botocore.config import Config

    return _session().client(
        "s3", endpoint_url=settings.s3_endpoint or None, region_name=_session().region_name or DEFAULT_REGION,
        config=Config(
            connect_timeout=SECONDS, read_timeout=SECONDS, retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": "path" if settings.s3_endpoint else "auto"},
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
        ),
    )  # fmt: skip


def give_keys(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Let a connection that has httpfs loaded reach the object store. Raises ObjectStorageError without keys."""
    found = _session().get_credentials()
    if found is None:
        raise ObjectStorageError(
            f"The lake's data lie in {settings.lake_data}, but no keys are found. Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give the machine a role."
        )
    keys = found.get_frozen_credentials()
    told = {
        "TYPE": "s3", "KEY_ID": quoted(keys.access_key), "SECRET": quoted(keys.secret_key),
        "REGION": quoted(_session().region_name or DEFAULT_REGION),
    }  # fmt: skip
    if keys.token:
        told["SESSION_TOKEN"] = quoted(keys.token)
    if settings.s3_endpoint:
        address = urlsplit(settings.s3_endpoint)
        told |= {
            "ENDPOINT": quoted(address.netloc), "URL_STYLE": "'path'",
            "USE_SSL": str(address.scheme == "https").lower(),
        }  # fmt: skip
    given = ", ".join(f"{name} {value}" for name, value in told.items())
    con.execute(f"CREATE OR REPLACE SECRET {SECRET} ({given})")
