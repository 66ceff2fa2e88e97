"""A site's sensor: files that arrived in its folders, on its SFTP servers or in its buckets start a run of their feed.

The cursor is what was seen: a digest of each listing (names, sizes, times as the server says them), never the wall
clock. Where a system's files may still be written (`settle_seconds`), a listing must be the same at two ticks.
Does not belong here: which of the files are new (the lake knows), bringing them (`take.py`).
"""

import hashlib
import json
from collections import defaultdict
from typing import Any

import dagster as dg

from pipelines.connectors.arriving import Listed
from pipelines.failures import PipelineFailure
from pipelines.harmonise.contract import Contract, Feed
from pipelines.ingest.accounting import is_large
from pipelines.ingest.asset import months_of
from pipelines.ingest.days import day_in
from pipelines.ingest.take import LISTINGS
from warehouse.settings import settings

SECONDS_BETWEEN_LOOKS = 30
RANGE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# By feed and month (of readings, where the name says the day): the digest a run was asked for, the last one seen.
Cursor = dict[str, dict[str, list[str]]]


def arrival_sensors(contract: Contract) -> list[dg.SensorDefinition]:
    """The site's sensor; none where no system of the site is a place where files lie."""
    site = contract.site_id
    watched = [n for n, f in contract.feeds.items() if contract.systems[f.system].kind in LISTINGS]
    if not watched:
        return []

    @dg.sensor(
        name=f"{site}_arrivals",
        target=[dg.AssetKey([layer, site, feed]) for feed in watched for layer in ("raw", "core")],
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        description=f"Files that arrive at {contract.name}: {', '.join(watched)}. Starts a run of the feeds whose "
        "listing changed and stands still.",
        tags={"site": site},
    )
    def arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return look(contract, watched, context.cursor)

    return [arrivals]


def look(contract: Contract, watched: list[str], cursor: str | None) -> dg.SensorResult:
    """What to run for what arrived since the cursor. A system that cannot be reached does not hold the others up.

    Raises the first system's failure where nothing else is to be done, so that the tick shows it.
    """
    known: Cursor = json.loads(cursor) if cursor else {}
    changed: dict[str, list[str]] = {}
    failures: list[PipelineFailure] = []
    after = dict(known)
    for system, feeds in _by_system(contract, watched).items():
        try:
            listings = _listings(contract, system, feeds)
        except PipelineFailure as failure:
            failures.append(failure)
            continue
        settles = getattr(contract.systems[system], "settle_seconds", 0) > 0
        for name, listed in zip(feeds, listings, strict=True):
            after[name], changed[name] = _compared(contract.feeds[name], listed, known.get(name, {}), settles)
    small = [n for n, months in changed.items() if months and not is_large(contract.feeds[n])]
    large = {n: months for n, months in changed.items() if months and is_large(contract.feeds[n])}
    requests = [_request(contract, small)] if small else []
    requests += [_request(contract, [name], months) for name, months in large.items()]
    if failures and not requests and after == known:
        raise failures[0]
    said = "; ".join(str(f) for f in failures) or "nothing new that stands still"
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(said),
        cursor=json.dumps(after, sort_keys=True),
    )


def _by_system(contract: Contract, watched: list[str]) -> dict[str, list[str]]:
    by_system: dict[str, list[str]] = defaultdict(list)
    for name in watched:
        by_system[contract.feeds[name].system].append(name)
    return by_system


def _listings(contract: Contract, system: str, feeds: list[str]) -> list[list[Listed]]:
    place = contract.systems[system]
    return LISTINGS[place.kind].listings(place, [contract.feeds[n] for n in feeds], settings().sources_path)


def _compared(
    feed: Feed, listed: list[Listed], known: dict[str, list[str]], settles: bool
) -> tuple[dict[str, list[str]], list[str]]:
    """The feed's part of the cursor, and its months for which to ask for a run."""
    by_month: dict[str, list[Listed]] = defaultdict(list)
    for f in listed:
        day = day_in(feed, f.name) if is_large(feed) else None
        by_month[day.isoformat()[:7] if day else ""].append(f)
    after, changed = dict[str, list[str]](), []
    for month, files in sorted(by_month.items()):
        digest = _digest(files)
        asked, last = known.get(month, ["", ""])
        if digest != asked and (digest == last or not settles):
            asked = digest
            changed.append(month)
        after[month] = [asked, digest]
    return after, changed


def _digest(files: list[Listed]) -> str:
    told: list[Any] = [(f.name, f.size, f.written.timestamp()) for f in sorted(files)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _request(contract: Contract, feeds: list[str], months: list[str] | None = None) -> dg.RunRequest:
    """A run of the feeds; of readings, over the months that files arrived for."""
    keys = [dg.AssetKey([layer, contract.site_id, feed]) for feed in feeds for layer in ("raw", "core")]
    tags = {"site": contract.site_id}
    if months and (partitions := months_of(contract, contract.feeds[feeds[0]])) is not None:
        span = f"{min(months)}-01", f"{max(months)}-01"
        if not all(map(partitions.has_partition_key, span)):
            months_there = partitions.get_partition_keys()
            span = months_there[0], months_there[-1]
        tags |= dict(zip(RANGE, span, strict=True))
    return dg.RunRequest(asset_selection=keys, tags=tags)
