"""Builds the fleet's world up to a day: who is ordered when, all journeys, custody chains.

Belongs here: the schedule of orders and the hash chain over custody events. Does not belong here: one
journey's content (process.py) or defects, which come between journeys and chains (defects.py).
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo

import numpy as np

from .care import add_care
from .disposal import add_disposals
from .process import Journey
from .programme import add_programme
from .sites import FLEET_START, PRAIRIE_SPRING, SCALES, SITES
from .studies import add_study
from .supply import add_equipment, add_lots, add_specifications
from .world import Row, SiteWorld, World, minute

_LEAD = timedelta(days=9)  # orders precede the fleet's first day so that batches begin with it
_ORDERS_PER_BATCH = 1.07  # some orders are withdrawn before anything is collected
_GENESIS = "0" * 64


def build(seed: int, scale_name: str, lived: int) -> World:
    """Draw the fleet after `lived` days, without defects and without custody chains."""
    scale = SCALES[scale_name]
    sites = {}
    for site in SITES.values():
        world = SiteWorld(site)
        add_lots(world, seed, lived)
        add_equipment(world, seed, lived)
        add_specifications(world, scale.days)
        add_programme(world, seed, scale.days)
        _journeys(world, seed, scale.days, round(scale.batches * _ORDERS_PER_BATCH), lived)
        add_disposals(world, seed)
        add_care(world, seed)
        sites[site.name] = world
    add_study(sites, seed)
    for world in sites.values():
        world.sort()
    return World(seed, scale_name, scale, scale.days, lived, sites)


def _journeys(world: SiteWorld, seed: int, base_days: int, orders: int, lived: int) -> None:
    spacing = timedelta(days=base_days) / orders
    chosen = -1
    if world.site.sicker:
        # The batch that runs through the change of clocks: about 13 days lie between order and start.
        chosen = round((PRAIRIE_SPRING - timedelta(days=17.5) - FLEET_START + _LEAD) / spacing)
    counter: dict[str, int] = {}
    number = 0
    while True:
        jitter = float(np.random.default_rng((seed, world.site.index, 3, number)).random())
        ordered = FLEET_START - _LEAD + spacing * (number + 0.9 * jitter)
        if number == chosen:
            ordered = PRAIRIE_SPRING - timedelta(days=17.5)
        if ordered > FLEET_START + timedelta(days=lived):
            return
        ordered = minute(ordered.replace(hour=(9 + number % 8 - world.site.hours_east) % 24))
        Journey(world, counter, seed=seed, number=number, base_days=base_days).run(
            ordered, certain=number == chosen
        )
        number += 1


def chain_custody(world: SiteWorld) -> None:
    """Number the custody events of each chain of identity and link them by hash, in the order they are held.

    leaf_hash = sha256 of `prev_hash|event_id|coi|object|kind|giver|taker|place|time|seq`, time as ISO (UTC
    with Z at northgate, local without zone elsewhere). A row with `_fork` repeats the last place.
    """
    local = None if world.site.name == "northgate" else ZoneInfo(world.site.tz)
    heads: dict[str, tuple[int, str]] = {}
    before: dict[str, tuple[int, str]] = {}
    for row in world.tables["custody"]:
        coi = row["coi"]
        if row.get("_fork"):
            seq, previous = before[coi]
            row.update(_leaf(row, seq, previous, local))
            continue
        seq, previous = heads.get(coi, (0, _GENESIS))
        before[coi] = (seq + 1, previous)
        row.update(_leaf(row, seq + 1, previous, local))
        heads[coi] = (seq + 1, row["leaf_hash"])


def _leaf(row: Row, seq: int, previous: str, local: ZoneInfo | None) -> Row:
    at = row["happened_at"]
    time = (
        at.strftime("%Y-%m-%dT%H:%M:%SZ")
        if local is None
        else at.astimezone(local).strftime("%Y-%m-%dT%H:%M:%S")
    )
    parts = (
        previous,
        row["event_id"],
        row["coi"],
        row["object"],
        row["kind"],
        row["giver"],
        row["taker"],
        row["place"],
        time,
        str(seq),
    )
    return {"seq": seq, "prev_hash": previous, "leaf_hash": sha256("|".join(parts).encode()).hexdigest()}
