"""Replay and reprocess of sites and feeds as people name them: which feeds, under which run.

Does not belong here: reading one feed again (`pipelines/ingest/reprocess.py`).
"""

from __future__ import annotations

import uuid
from datetime import date

from pipelines.harmonise.contract import Contract, load_contract
from pipelines.ingest.accounting import is_large
from pipelines.ingest.reprocess import Reread, reread
from pipelines.real_files import contract_path, contract_paths
from warehouse import lake, logs
from warehouse.alone import alone
from warehouse.settings import Settings


def reread_feeds(
    chosen: Settings,
    site: str | None,
    feed: str | None,
    *,
    since: date | None = None,
    only_open: bool = False,
    apply: bool = False,
    run_id: str | None = None,
) -> list[Reread]:
    """Read feeds again, each in its own transaction; see `reread`.

    With `only_open` of all sites, or of one, those feeds that have something open. Raises KeyError for a feed that
    the site has not, FileNotFoundError for a site without a contract, ContractError, and what `reread` raises.
    """
    run = run_id or str(uuid.uuid4())
    log = logs.logger(chosen)
    told = []
    for contract, name in _feeds(chosen, site, feed, only_open=only_open):
        with alone(chosen, f"{contract.site_id}/{name}"):
            done = reread(chosen, contract, name, run, since=since, only_open=only_open, apply=apply)
        log.info(
            "feed read again" if done.applied else "feed read again, nothing written",
            run_id=run,
            site=done.site,
            feed=done.feed,
            rows=sum(sum(counts.values()) for counts in done.rows.values()),
        )
        told.append(done)
    return told


def _feeds(
    chosen: Settings, site: str | None, feed: str | None, *, only_open: bool
) -> list[tuple[Contract, str]]:
    paths = contract_paths(chosen) if site is None else [contract_path(chosen, site)]
    if site is not None and not paths[0].exists():
        raise FileNotFoundError(f"There is no site {site!r}: {paths[0]} does not exist.")
    with lake.opened(chosen) as con:
        waiting = set(con.execute("SELECT DISTINCT site_id, feed FROM current.quarantine").fetchall())
    found = []
    for contract in map(load_contract, paths):
        if feed is not None and feed not in contract.feeds:
            known = ", ".join(contract.feeds)
            raise KeyError(f"{contract.site_id} has no feed {feed!r}. Its feeds: {known}.")
        for name, declared in contract.feeds.items():
            if feed is not None and name != feed:
                continue
            if is_large(declared):
                if feed is not None:
                    raise KeyError(f"{contract.site_id}/{name} holds readings, which are not read again yet.")
                continue
            if not only_open or (contract.site_id, name) in waiting:
                found.append((contract, name))
    return found
